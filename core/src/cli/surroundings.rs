//! The one place that reads this process's environment, the machine and the clock, and makes
//! of them, and of the command line, what the rest works with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anstream::{AutoStream, ColorChoice};

use super::args::Args;
use crate::assignments;
use crate::conf::{Evaluator, Framework, Launcher};
use crate::context::{Context, Machine, Options};
use crate::error::Error;
use crate::host::Distribution;
use crate::host::caller::{MaintainerScript, RpmScriptlet};
use crate::lock;
use crate::names::Release;
use crate::process::Environment;
use crate::process::ancestry::{Stat, above};
use crate::root::Root;
use crate::sandbox::Namespaces;
use crate::sign::chroot::in_chroot;
use crate::tree::{Place, Trees, fallback};
use crate::world::{World, clean_environment};

/// How much memory a compiler of kernel modules may need, in bytes: a job more than fits is one too many.
const MEMORY_PER_JOB: u64 = 512 * 1024 * 1024;
/// How many descriptors a job may need: make, the compiler and our pipes.
const FILES_PER_JOB: u64 = 16;

/// Makes the context of a run.
pub fn context(args: &Args) -> Result<Context, Error> {
    // Namespaces are found out by a child that tries; who only reads does not need to know.
    make(args, args.verb.is_some_and(|verb| verb.rules.writes) || args.flag("repair"))
}

/// The same for a program that has no words. `changes`: it is going to change something.
pub fn without_words(changes: bool) -> Result<Context, Error> {
    make(&Args::default(), changes)
}

fn make(args: &Args, changes: bool) -> Result<Context, Error> {
    let caller: Environment = environment();
    let root = match args.path("root") {
        Some(dir) => Root::at(&dir)?,
        None => Root::host(),
    };
    let distribution = Distribution::of(&root)?;
    let mut environment = clean_environment(caller.clone());
    start_within(&mut environment);
    let mut trees = Trees::new(root);
    let namespaces = (!changes && trees.root.is_host()).then(Namespaces::default);
    let world = World::of(&trees.root, environment.clone(), namespaces);
    let framework = framework(&trees, &world)?;
    place_trees(&mut trees, args, &framework)?;
    let fallback_from = if trees.is_another { None } else { fallback::place(&mut trees) };
    let now = now();
    Ok(Context {
        machine: machine(&trees, args, &caller, &framework),
        options: options(args, &framework)?,
        trees,
        fallback_from,
        distribution,
        framework,
        world,
        environment: caller,
        now,
    })
}

/// The environment of this process.
#[allow(clippy::disallowed_methods)] // the one place that reads the environment
pub fn environment() -> Environment {
    std::env::vars_os().collect()
}

#[allow(clippy::disallowed_methods)] // the one place that reads the clock
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn framework(trees: &Trees, world: &World) -> Result<Framework, Error> {
    let mut launcher = Launcher::new(world.environment().clone());
    let mut argv = world.prefix();
    argv.append(&mut launcher.argv);
    launcher.argv = argv;
    launcher.dir = Some(PathBuf::from("/"));
    let seen = |inside: &Path| world.called(trees, &trees.outer(inside));
    Ok(Framework::load(&mut Evaluator::new(launcher), trees, &seen, std::collections::BTreeMap::new())?)
}

/// The command line wins over framework.conf. Paths are inside the root.
fn place_trees(trees: &mut Trees, args: &Args, framework: &Framework) -> Result<(), Error> {
    let chosen = |option: &str, configured: &Option<PathBuf>| args.path(option).or_else(|| configured.clone());
    let root = trees.root.clone();
    trees.is_another = args.path("dkmstree").is_some();
    for (place, path) in [
        (&mut trees.dkms, chosen("dkmstree", &framework.dkms_tree)),
        (&mut trees.source, chosen("sourcetree", &framework.source_tree)),
        (&mut trees.install, chosen("installtree", &framework.install_tree)),
    ] {
        if let Some(path) = path {
            // A relative one is meant from where the user is, as long as that is this system.
            let path = if path.is_absolute() { path } else { std::env::current_dir()?.join(path) };
            *place = Place::new(&root, path);
        }
    }
    Ok(())
}

fn machine(trees: &Trees, args: &Args, caller: &Environment, framework: &Framework) -> Machine {
    let uname = rustix::system::uname();
    let text = |key: &str| caller.get(OsStr::new(key)).map(|value| value.to_string_lossy().into_owned());
    let fakechroot = caller.keys().any(|key| key.to_string_lossy().starts_with("FAKECHROOT"));
    let asked = args.value("jobs").and_then(|jobs| jobs.parse().ok());
    let configured = framework.parallel_jobs.or_else(|| text("parallel_jobs").and_then(|jobs| jobs.parse().ok()));
    Machine {
        name: uname.machine().to_string_lossy().into_owned(),
        running: Release::new(uname.release().to_string_lossy()).ok(),
        running_build: Some(uname.version().to_string_lossy().into_owned()),
        jobs: jobs(asked.or(configured)),
        in_chroot: in_chroot(Path::new("/proc"), Path::new("/"), fakechroot),
        root: rustix::process::geteuid().is_root(),
        grandparent: if args.flag("rpm_safe_upgrade") { grandparent() } else { None },
        addon_modules_dir: text("ADDON_MODULES_DIR").filter(|dir| !dir.is_empty()).or_else(|| addon_modules_dir(trees)),
        maintainer_script: MaintainerScript::of(caller, Path::new("/proc"), std::process::id()),
        rpm_scriptlet: RpmScriptlet::of(Path::new("/proc"), std::process::id()),
        terminal: is_terminal(),
        columns: columns(),
        utf8: rustix::termios::isatty(std::io::stdout()) && is_utf8(&text),
        journal: is_journal(),
        no_weak_modules: text("NO_WEAK_MODULES").is_some_and(|value| !value.is_empty()),
    }
}

/// The process that started the one that started us, and when it began: a number alone would be used again.
fn grandparent() -> Option<String> {
    let proc = Path::new("/proc");
    let pid = *above(proc, std::process::id()).get(1)?;
    Some(format!("{pid}-{}", Stat::of(proc, pid)?.began))
}

/// How many jobs may run at once: what was asked for, or one a processor; never more than memory and file
/// descriptors allow. "No limit" (0) is as many as those allow.
fn jobs(asked: Option<usize>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = match asked {
        Some(0) => usize::MAX,
        Some(jobs) => jobs,
        None => processors,
    };
    let memory = available_memory().map_or(u64::MAX, |bytes| bytes / MEMORY_PER_JOB);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .map_or(u64::MAX, |limit| limit / FILES_PER_JOB);
    let allowed = usize::try_from(memory.min(files)).unwrap_or(usize::MAX);
    wanted.min(allowed).clamp(1, 4096)
}

/// What of the memory may still be used, in bytes: `MemAvailable` of /proc/meminfo (proc_meminfo(5)), or what the control
/// groups around us leave, as in a container.
fn available_memory() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    let group = fs_err::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::/").map(str::to_owned)));
    let left = group.and_then(|group| left_by_groups(Path::new("/sys/fs/cgroup"), &group));
    Some((kibibytes * 1024).min(left.unwrap_or(u64::MAX)))
}

/// The least that the control group `group` below `top` and those above it leave, in bytes: `memory.max` less
/// `memory.current` without the files' pages in it, which the kernel lets go ("Memory Interface Files",
/// Documentation/admin-guide/cgroup-v2.rst); `None` without a limit.
fn left_by_groups(top: &Path, group: &str) -> Option<u64> {
    let number = |file: &Path| fs_err::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let dir = top.join(group);
    dir.ancestors()
        .take_while(|dir| dir.starts_with(top))
        .filter_map(|dir| {
            let limit = number(&dir.join("memory.max"))?;
            let stat = fs_err::read_to_string(dir.join("memory.stat")).unwrap_or_default();
            let cached = stat
                .lines()
                .filter_map(|line| line.strip_prefix("active_file ").or(line.strip_prefix("inactive_file ")))
                .filter_map(|bytes| bytes.trim().parse::<u64>().ok())
                .sum();
            let used = number(&dir.join("memory.current")).unwrap_or(0).saturating_sub(cached);
            Some(limit.saturating_sub(used))
        })
        .min()
}

fn options(args: &Args, framework: &Framework) -> Result<Options, Error> {
    let absolute = |option: &str| args.path(option).map(std::path::absolute).transpose();
    Ok(Options {
        force: args.flag("force"),
        force_version_override: args.flag("force-version-override"),
        no_depmod: args.flag("no-depmod"),
        symlink_modules: args.flag("symlink-modules") || framework.symlink_modules,
        modprobe_on_install: args.flag("modprobe-on-install") || framework.modprobe_on_install,
        rpm_safe_upgrade: args.flag("rpm_safe_upgrade"),
        verbose: args.flag("verbose") || framework.verbose,
        quiet: args.flag("quiet"),
        dry_run: args.flag("dry-run"),
        conf: absolute("conf")?,
        directives: args.values("directive"),
        kernel_source_dir: absolute("kernelsourcedir")?,
        kernel_config: absolute("config")?,
        lock_patience: Some(Duration::from_secs(3600)),
    })
}

/// Whether standard output and error are terminals on which a line can be wiped.
pub fn is_terminal() -> bool {
    let caller = environment();
    rustix::termios::isatty(std::io::stderr())
        && rustix::termios::isatty(std::io::stdout())
        && caller.contains_key(OsStr::new("TERM"))
        && !is_plain(&caller)
}

/// Whether escape codes do harm: where a terminal does not know them (`unknown` is what agetty(8) sets where it can't tell), and in a
/// maintainer script, whose terminal is one of apt's that ends in /var/log/apt/term.log.
fn is_plain(caller: &Environment) -> bool {
    let term = caller.get(OsStr::new("TERM"));
    let knows_none = term.is_some_and(|term| ["", "dumb", "unknown"].iter().any(|name| term == OsStr::new(name)));
    knows_none || caller.contains_key(OsStr::new("DPKG_MAINTSCRIPT_NAME"))
}

/// The columns of standard output's terminal (tty_ioctl(4)); a serial console may not tell, and has 80.
fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        Ok(_) => 80,
        Err(_) => usize::MAX,
    }
}

/// Whether the caller's locale has UTF-8 (locale(7): the first of these that is set counts).
fn is_utf8(text: &impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|key| text(key).filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| locale.to_lowercase().replace('-', "").contains("utf8"))
}

/// Whether standard error is the journal of systemd, which tells so by `JOURNAL_STREAM` (systemd.exec(5)).
pub fn is_journal() -> bool {
    let caller = environment();
    let Some(stream) = caller.get(OsStr::new("JOURNAL_STREAM")) else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream.to_string_lossy() == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether standard error shows colours: NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM (no-color.org, bixense.com/clicolors).
pub fn wants_colour() -> bool {
    has_colour(AutoStream::choice(&std::io::stderr()))
}

/// The same of standard output.
pub fn wants_coloured_lists() -> bool {
    has_colour(AutoStream::choice(&std::io::stdout()))
}

/// Whether a stream for which anstream has chosen so is coloured: it colours a dumb terminal where CI is set.
fn has_colour(choice: ColorChoice) -> bool {
    let caller = environment();
    let is_forced = caller.get(OsStr::new("CLICOLOR_FORCE")).is_some_and(|value| value != OsStr::new("0"));
    choice != ColorChoice::Never && (!is_plain(&caller) || is_forced)
}

/// The words of the command line, without the program's name.
pub fn words() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

/// What the file of older Red Hat systems assigns (docs/contract.md 1.7); plain values only.
fn addon_modules_dir(trees: &Trees) -> Option<String> {
    let text = crate::durable::text(&trees.outer("/etc/sysconfig/module-init-tools")).ok()?;
    assignments::value(&text, "ADDON_MODULES_DIR").filter(|dir| !dir.is_empty())
}

/// The variable that tells a dkms which others it was started within: their process ids.
const WITHIN: &str = "DKMS_WITHIN";

/// Learns whom we must not wait for, and leaves word for the programs that we start.
fn start_within(environment: &mut Environment) {
    let text =
        environment.get(OsStr::new(WITHIN)).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
    lock::started_within(text.split(' ').filter_map(|pid| pid.parse().ok()).collect());
    let ours = std::process::id();
    environment.insert(WITHIN.into(), format!("{text} {ours}").trim().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_control_groups_leave() {
        let top = tempfile::tempdir().unwrap();
        let group = |name: &str, max: &str, current: &str, stat: &str| {
            let dir = top.path().join(name);
            fs_err::create_dir_all(&dir).unwrap();
            for (file, text) in [("memory.max", max), ("memory.current", current), ("memory.stat", stat)] {
                fs_err::write(dir.join(file), format!("{text}\n")).unwrap();
            }
        };
        group("a", "1000", "300", "");
        group("a/b", "max", "200", "");
        group("a/b/c", "900", "100", "");
        group("free", "max", "1", "");
        group("full", "10", "11", "");
        group("cached", "1000", "900", "anon 100\nactive_file 300\ninactive_file 500");
        for (name, left) in [
            ("a/b/c", Some(700)),
            ("a/b", Some(700)),
            ("free", None),
            ("full", Some(0)),
            ("cached", Some(900)),
            ("none", None),
        ] {
            assert_eq!(left_by_groups(top.path(), name), left, "{name}");
        }
    }

    #[test]
    fn where_red_hats_modules_go() {
        let root = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(root.path()).unwrap());
        assert_eq!(addon_modules_dir(&trees), None);
        fs_err::create_dir_all(root.path().join("etc/sysconfig")).unwrap();
        for (text, expected) in [
            ("ADDON_MODULES_DIR=\n", None),
            ("# ADDON_MODULES_DIR=no\nADDON_MODULES_DIR=\"weak-updates\"\n", Some("weak-updates")),
            ("ADDON_MODULES_DIR=a\nADDON_MODULES_DIR=b\n", Some("b")),
        ] {
            fs_err::write(root.path().join("etc/sysconfig/module-init-tools"), text).unwrap();
            assert_eq!(addon_modules_dir(&trees).as_deref(), expected);
        }
    }
}
