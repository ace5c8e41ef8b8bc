//! A small system to be tortured: a bed without its kernels, with two mini kernels, some packages, a signing key and a
//! stand-in for initramfs-tools. It stays alive from point to point, in memory; its state is saved and brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::{Context, Result, ensure};
use dkms_tests::bed::Base;
use dkms_tests::hello::{Package, module, package};
use dkms_tests::mini_kernel::MiniKernel;
use dkms_tests::run::{Outcome, command, run};
use dkms_tests::settings::{self, Subject};
use tempfile::TempDir;

use crate::tracer::{self, Call, Scope, Then, Traced};

/// The kernels.
pub const KERNELS: [&str; 2] = ["6.1.0-torture", "6.6.0-torture"];

/// The program under test, in the system.
pub const PROGRAM: &str = "/usr/sbin/dkms";

/// What a command may change, and what is saved. Sources come first: they are older than what was built of them.
const AREAS: [&str; 6] = ["/usr/src", "/var/lib/dkms", "/usr/lib/modules", "/etc/dkms", "/boot", "/root"];

/// A command that takes longer than this many seconds has hung.
const PATIENCE: &str = "60";

/// The system.
#[derive(Debug)]
pub struct World {
    holder: Child,
    /// Its first process.
    inner: u32,
    scratch: TempDir,
    scope: Scope,
}

/// Kernels and packages, made once.
fn ingredients() -> Result<PathBuf> {
    static MADE: Mutex<Option<TempDir>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.is_none() {
        let dir = tempfile::tempdir()?;
        let (modules, headers, sources) =
            (dir.path().join("modules"), dir.path().join("headers"), dir.path().join("sources"));
        for (release, suffix) in KERNELS.iter().zip([".xz", ".zst"]) {
            let kernel = MiniKernel::new(release).compressed(suffix).stock("kernel/drivers/net/dummy", "0.9");
            let laid = kernel.stock("kernel/lib/other", "").build_in(&modules, &headers)?;
            fs_err::remove_file(laid.modules.join("build"))?;
            fs_err::os::unix::fs::symlink(format!("/usr/src/linux-headers-{release}"), laid.modules.join("build"))?;
        }
        let replaces = |version: &str| package("dummy").version(version).module(module("dummy"));
        let packages: [Package; 7] = [
            package("hello"),
            package("hello").version("2.0"),
            replaces("1.0"),
            replaces("2.0"),
            package("base").module(module("base_one")).module(module("base_two")),
            package("needs").depends_on("base"),
            package("fails").that_fails(),
        ];
        for package in packages {
            package.build_in(&sources)?;
        }
        *made = Some(dir);
    }
    Ok(made.as_ref().context("just made")?.path().to_owned())
}

/// Run inside before anything else, as root. Two images are there, so that they are kept up to date.
const FURNISH: &str = r#"
rm -rf /usr/lib/modules/* /usr/src/* /boot/* /var/lib/dkms/*
mkdir -p /etc/dkms/framework.conf.d /srv/torture; cp -a /mnt/modules/. /usr/lib/modules/; cp -a /mnt/headers/. /usr/src/
cp -a /mnt/sources/. /srv/torture/; chown -R 0:0 /usr/lib/modules /usr/src /srv/torture
cat >/usr/sbin/update-initramfs <<'E'
#!/bin/bash
kernel=${@: -1}; cd /usr/lib/modules/$kernel || exit 1; new=/boot/.new-$kernel.$$
{ find . -name '*.ko*' ! -name '.*' -exec md5sum {} + | sort -k2; grep -E '^(updates|extra)/' modules.dep || [ $? = 1 ]; } >$new || { rm -f $new; exit 1; }
mv $new /boot/initrd.img-$kernel
E
printf '#!/bin/bash\nexit 1\n' >/usr/sbin/mkinitramfs
printf '#!/bin/bash\nsed "s/.* \\.//" "$1"\n' >/usr/bin/lsinitramfs
chmod 755 /usr/sbin/update-initramfs /usr/sbin/mkinitramfs /usr/bin/lsinitramfs
dkms generate_mok >/dev/null
for k in 6.1.0-torture 6.6.0-torture; do depmod $k; update-initramfs -u -k $k; done
"#;

impl World {
    /// A new one with the program under test.
    pub fn new() -> Result<Self> {
        let base = Base::trixie()?;
        let from = ingredients()?;
        // The overlay's upper half is in memory: the file system of this machine is none of the tests' business.
        let scratch = TempDir::with_prefix_in("dkms-torture-", "/dev/shm").or_else(|_| tempfile::tempdir())?;
        for name in ["upper", "work"] {
            fs_err::create_dir(scratch.path().join(name))?;
        }
        fs_err::set_permissions(scratch.path().join("upper"), fs_err::metadata(&base.root)?.permissions())?;
        let mut start = command(settings::project().join("tests/scripts/in-bed.sh"));
        start.arg("--over").arg(&base.root).arg(scratch.path()).env("BED_BIND", &from);
        // Process 1 waits for what loses its parent, and ends with its input.
        start.args(["bash", "-c", "echo ready; read -r _"]);
        let mut holder = start.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the system")?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("it has an output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "the system did not start");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let inner = fs_err::read_to_string(children)?.trim().parse()?;
        let subject = settings::subject();
        let scope = if subject == Subject::Classic { Scope::Children } else { Scope::Program };
        let world = Self { holder, inner, scratch, scope };
        if let Subject::Ours(program) = subject {
            fs_err::copy(program, world.outer(PROGRAM))?;
        }
        world.sh(FURNISH)?.ok().context("furnish the system")?;
        world.save("empty")?;
        Ok(world)
    }

    /// A path of the system, seen from here.
    pub fn outer(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.inner))
    }

    /// A command that runs `words` inside.
    fn inside(&self, words: &[&str]) -> Vec<String> {
        let mut line: Vec<String> =
            ["nsenter", "--mount", "--pid", "--root", "--wd", "--target", &self.inner.to_string(), "--"]
                .map(str::to_owned)
                .to_vec();
        line.extend(["timeout", "--signal=KILL", PATIENCE].map(str::to_owned));
        line.extend(words.iter().map(|word| (*word).to_owned()));
        line
    }

    fn environment(command: &mut Command) -> &mut Command {
        command
            .env_clear()
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// Runs a command inside.
    pub fn run(&self, words: &[&str]) -> Result<Outcome> {
        let line = self.inside(words);
        run(Self::environment(command(&line[0]).args(&line[1..])), b"")
    }

    /// Runs a script inside, each command of which has to succeed.
    pub fn sh(&self, script: &str) -> Result<Outcome> {
        self.run(&["bash", "-ec", script])
    }

    /// Runs the program under test, asking `then` at each of its calls; also gives what it said.
    pub fn traced(&self, words: &[&str], then: &mut dyn FnMut(usize, &Call) -> Then) -> Result<(Traced, String)> {
        let mut line: Vec<&str> = vec![PROGRAM];
        line.extend(words);
        let line = self.inside(&line);
        let said = self.scratch.path().join("said");
        let out = fs_err::File::create(&said)?.into_parts().0;
        let mut start = command(tracer::STOPPED[0]);
        start.args(&tracer::STOPPED[1..]).arg("bash").args(&line).stdout(out.try_clone()?).stderr(out);
        let prefix = self.scratch.path().join("root");
        let prefix = prefix.to_str().context("a path of this machine")?;
        let traced = tracer::trace(Self::environment(&mut start), (PROGRAM, prefix), self.scope, then)?;
        Ok((traced, String::from_utf8_lossy(&fs_err::read(&said)?).into_owned()))
    }

    /// Starts the program under test in a thread of its own, and gives what it ends with.
    pub fn start(&self, words: &[&str]) -> mpsc::Receiver<Result<Outcome>> {
        let line = self.inside(&[&[PROGRAM], words].concat());
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = run(Self::environment(command(&line[0]).args(&line[1..])), b"");
            let _ = give.send(outcome);
        });
        take
    }

    /// Keeps the state under a name.
    pub fn save(&self, name: &str) -> Result<()> {
        let areas = AREAS.join(" ");
        self.sh(&format!("rm -rf /tmp/states/{name}; mkdir -p /tmp/states/{name}; cd /; for a in {areas}; do cp -a --parents .$a /tmp/states/{name}; done"))?.ok()?;
        Ok(())
    }

    /// Ends whatever still runs, and brings a state back.
    pub fn restore(&self, name: &str) -> Result<()> {
        let areas = AREAS.join(" ");
        // `kill -1`: everybody but the caller and process 1. timeout(1) is one of them, and of no use here.
        let script = format!(
            "trap '' TERM; for a in {areas}; do find $a -mindepth 1 -delete; cp -a /tmp/states/{name}$a/. $a; done; rm -rf /run/dkms /run/lock/dkms*"
        );
        self.sh("kill -KILL -1 || :")?;
        self.sh(&script)?.ok().with_context(|| format!("bring {name} back"))?;
        Ok(())
    }

    /// What is there now.
    pub fn look(&self) -> Result<State> {
        let mut state = State::default();
        for area in AREAS {
            state.walk(&self.outer(area), area)?;
        }
        Ok(state)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Every file of a system that a command may change, with what it holds where that is always the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Path to kind, mode, and content.
    files: BTreeMap<String, String>,
    /// Modules, by path: a digest of the content.
    pub modules: BTreeMap<String, u64>,
}

/// Not part of a state: lock files and kept-back space hold nothing; whether a source is remembered that had to be read
/// depends on the clock; and a stand-in for update-initramfs whose caller was
/// killed may still be at work.
fn is_passed_over(path: &str) -> bool {
    let own = path.strip_prefix("/var/lib/dkms/.dkms").unwrap_or_default();
    ["/lock", "/reserve"].contains(&own)
        || own.starts_with("/locks")
        || path.ends_with("/.dkms-source.json")
        || path.starts_with("/boot/.new-")
        || path.ends_with("/calls")
}

/// Files of more bytes than this are sparse ones that a case has made: they differ by their length from whatever they were.
const SPARSE: u64 = 64 << 20;

fn digest(path: &Path, length: u64) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    if length > SPARSE {
        length.hash(&mut hasher);
    } else {
        fs_err::read(path)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The same of a `modules.dep`, but for lines whose file is gone. Where those of the kernel's own are, dkms leaves the index as it is,
/// until something else calls for depmod: an index that can't be read does. Lines that a command leaves in vain are looked for
/// elsewhere ([`crate::sweep`]).
fn digest_of_list(path: &Path) -> Result<u64> {
    let text = fs_err::read_to_string(path)?;
    let dir = path.parent().unwrap_or(path);
    let is_there = |line: &&str| dir.join(line.split(':').next().unwrap_or(line)).exists();
    let mut hasher = DefaultHasher::new();
    text.lines().filter(is_there).collect::<Vec<_>>().hash(&mut hasher);
    Ok(hasher.finish())
}

/// Directories that are made when there is something to put in them, and stay.
const PLACES: [&str; 6] = [
    "/.dkms/records",
    "/.dkms/compilers",
    "/.dkms/initramfs",
    "/.dkms/owed",
    "/.dkms/owed/depmod",
    "/.dkms/owed/initramfs",
];

/// Files whose content differs from run to run: times, inodes, process numbers.
fn varies(path: &str) -> bool {
    let ends = [".json", ".log", ".bin", "mok.key", "mok.pub", ".tar.gz", ".tgz", "/lock"];
    ends.iter().any(|end| path.ends_with(end)) || path.contains("/.dkms/pending/")
}

impl State {
    fn walk(&mut self, outer: &Path, inside: &str) -> Result<()> {
        let Ok(entries) = fs_err::read_dir(outer) else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let path = format!("{inside}/{}", entry.file_name().to_string_lossy());
            if is_passed_over(&path) {
                continue;
            }
            let meta = fs_err::symlink_metadata(entry.path())?;
            let mode = meta.permissions().mode() & 0o7777;
            let is_module = path.contains(".ko") && !entry.file_name().to_string_lossy().starts_with('.');
            let what = if meta.is_dir() {
                // Opened to the users of builds by the first one.
                let mode = if path.ends_with("/.dkms/work") { 0o711 } else { mode };
                format!("directory {mode:o} {}", meta.uid())
            } else if meta.is_symlink() {
                format!("link to {}", fs_err::read_link(entry.path())?.display())
            } else if !meta.is_file() {
                "something else".to_owned()
            } else {
                let is_list = path.ends_with("/modules.dep");
                let digest = if is_list { digest_of_list(&entry.path())? } else { digest(&entry.path(), meta.len())? };
                if is_module {
                    self.modules.insert(path.clone(), digest);
                }
                let content = if varies(&path) { String::new() } else { format!("{digest:016x}") };
                format!("file {mode:o} {} {content}", meta.uid())
            };
            if meta.is_dir() {
                let count = self.files.len();
                self.walk(&entry.path(), &path)?;
                // Where builds appear: the classic, too, leaves an empty one now and then.
                let is_empty = self.files.len() == count;
                if is_empty && (path.ends_with("/build") || PLACES.iter().any(|place| path.ends_with(place))) {
                    continue;
                }
            }
            self.files.insert(path, what);
        }
        Ok(())
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<String> {
        self.files.iter().filter(|(_, what)| what.starts_with("file ")).map(|(path, _)| path.clone()).collect()
    }

    /// The lines in which `other` differs from it, but for those files that `may`; empty if none.
    pub fn difference(&self, other: &Self, may: impl Fn(&str) -> bool) -> String {
        let mut lines = String::new();
        let paths: BTreeSet<&String> = self.files.keys().chain(other.files.keys()).collect();
        for path in paths.into_iter().filter(|path| !may(path)) {
            match (self.files.get(path), other.files.get(path)) {
                (Some(what), None) => lines += &format!("  - {path}: {what}\n"),
                (None, Some(now)) => lines += &format!("  + {path}: {now}\n"),
                (Some(what), Some(now)) if what != now => lines += &format!("  * {path}: {what} -> {now}\n"),
                _ => {}
            }
        }
        lines
    }

    /// The names of the modules that a kernel would find, with the digests of their files.
    pub fn in_kernels(&self) -> BTreeMap<(String, String), Vec<u64>> {
        let mut found: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        for (path, digest) in &self.modules {
            let Some((kernel, file)) = path.strip_prefix("/usr/lib/modules/").and_then(|below| below.split_once('/'))
            else {
                continue;
            };
            let name = file.rsplit('/').next().unwrap_or(file).split(".ko").next().unwrap_or(file);
            found.entry((kernel.to_owned(), name.to_owned())).or_default().push(*digest);
        }
        found
    }
}
