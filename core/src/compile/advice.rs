//! What may help a build that failed, or went on although something was refused to it: from its log, and from a look at the
//! files that the log names. Nothing here decides anything.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::refusal::{self, Kind, Refusal};
use super::{diagnostic, fetch};
use crate::context::Context;
use crate::durable;
use crate::host::{headers_package, tools};
use crate::lint::flags::{self, Lost};
use crate::names::Package;
use crate::run::script::{self, interpreter, source_place, unrunnable};
use crate::run::target::Target;
use crate::sandbox::beneath::Beneath;
use crate::workdir::{WorkDir, privilege};

/// How much of a script is looked at.
const LOOK: u64 = 64 << 10;
/// Less than this is as good as nothing, in bytes.
const FULL: u64 = 1 << 20;

/// A build that may need advice.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The run's surroundings.
    pub ctx: &'a Context,
    /// What is built.
    pub target: &'a Target,
    /// Where.
    pub work: &'a WorkDir,
    /// The same directory, opened for untrusted content.
    pub contents: &'a Beneath,
    /// What gives it the network; `None`: it has none.
    pub network: Option<&'a str>,
}

impl Build<'_> {
    /// What may help after a command that failed, and said `last`; `all` is what was said until then.
    pub fn failure(&self, all: &str, last: &str) -> Option<String> {
        self.full_disk()
            .or_else(|| self.other_names(last))
            .or_else(|| self.network(all))
            .or_else(|| self.running_kernel(last))
            .or_else(|| self.incomplete_headers(last))
            .or_else(|| self.not_there(last))
            .or_else(|| self.no_proc())
            .or_else(|| self.odd_name())
            .or_else(|| self.program_before(all, last))
            .or_else(|| self.quiet_network(all))
            .or_else(|| self.refused(&refusal::last_before_the_end(last, |found| found.kind.is_refusal())?))
    }

    /// What may help where the compiler said what is wrong with the source: that has nothing to do with who builds it.
    pub fn compiler_error(&self, all: &str, last: &str) -> Option<String> {
        self.network(all)
            .or_else(|| self.not_there(last))
            .or_else(|| self.program_before(all, last))
            .or_else(|| self.lost_flags())
            .or_else(|| self.quiet_network(all))
    }

    /// What is worth a warning although the command, which said `last`, ended well.
    pub fn success(&self, last: &str) -> Option<String> {
        self.network(last).or_else(|| {
            let found = refusal::refusals(last).into_iter().find(|found| found.kind.is_refusal())?;
            self.refused(&found)
        })
    }

    /// What is wrong with the script at `path`, which failed.
    pub fn script(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(self.work.path()).ok();
        let text = match inside {
            Some(inside) => read_start(self.contents.file(inside).ok()?),
            None => durable::open_regular(path).map(read_start).ok()?,
        };
        let shown = inside.map_or_else(|| self.ctx.trees.shown(path), |inside| self.in_source(inside));
        unrunnable(&text, &shown, &|program| self.ctx.world.has(program))
    }

    /// A file system that is full takes the log with it: it is looked at, not looked for.
    fn full_disk(&self) -> Option<String> {
        let space = durable::space(self.work.path())?;
        let shown = self.ctx.trees.shown(self.work.seen_at());
        (space.free < FULL).then(|| format!("The file system of {} is full: {space}.", shown.display()))
    }

    /// The package is registered by another name or version than its dkms.conf has, and looks for its files there.
    fn other_names(&self, last: &str) -> Option<String> {
        let conf = &self.target.evaluated.conf;
        let package = &self.target.package;
        if conf.name == package.name.as_str() && conf.version == package.version.as_str() {
            return None;
        }
        let tree = self.ctx.world.called(&self.ctx.trees, &self.ctx.trees.dkms.outer);
        let elsewhere = tree.join(&conf.name).join(&conf.version);
        last.contains(&format!("{}/", elsewhere.display())).then(|| {
            format!(
                "Its dkms.conf is that of {}/{}, and looks for its files in {}; the package is registered as {package}.\n\
                 PACKAGE_NAME and PACKAGE_VERSION must be the name and version that it is added under.",
                conf.name,
                conf.version,
                elsewhere.display()
            )
        })
    }

    fn network(&self, log: &str) -> Option<String> {
        let host = diagnostic::unreachable(log)?;
        if self.network.is_some() || !self.ctx.world.can_cut_network() {
            let host = if host.is_empty() { "what it looked for".to_owned() } else { host };
            return Some(format!("It could not reach {host} on the network."));
        }
        let host = if host.is_empty() { String::new() } else { format!(": this one tried to reach {host}") };
        Some(self.no_network(&host))
    }

    fn no_network(&self, what: &str) -> String {
        let name = &self.target.package.name;
        format!(
            "Builds have no network{what}.\nThe package has to bring the files, or put them into its source before. \
             If you trust {name} with the network, write DKMS_BUILD_NETWORK=\"yes\" in /etc/dkms/{name}.conf"
        )
    }

    /// Something that fetches files and says nothing where it can't: in the package's script, in its make command, or among the
    /// commands that make shows.
    fn quiet_network(&self, all: &str) -> Option<String> {
        if self.network.is_some() || !self.ctx.world.can_cut_network() {
            return None;
        }
        let recipe = &self.target.evaluated.recipe;
        let in_script = recipe.scripts.pre_build.as_deref().and_then(|line| self.fetcher_in_script(line));
        let in_make = || fetch::fetcher(&recipe.make.text).or_else(|| fetch::fetcher(all));
        let what = match in_script {
            Some(fetcher) => format!(", and its pre_build script calls {fetcher}"),
            None => format!(", and this one calls {}", in_make()?),
        };
        Some(self.no_network(&what))
    }

    fn fetcher_in_script(&self, line: &str) -> Option<&'static str> {
        let found = script::find(self.ctx, &self.target.package, line, self.work.path()).ok()?;
        let file = Path::new(line.split_whitespace().next()?.trim_start_matches('/'));
        let text = if found.dir == self.work.path() {
            read_start(self.contents.file(file).ok()?)
        } else {
            read_start(durable::open_regular(&found.dir.join(file)).ok()?)
        };
        fetch::fetcher(&String::from_utf8_lossy(&text))
    }

    fn running_kernel(&self, last: &str) -> Option<String> {
        let other = diagnostic::other_kernel(last, self.target.kernel.release.as_str())?;
        Some(format!(
            "It looked for the headers of kernel {other}: does the package's Makefile ask `uname -r`?\n\
             It is to build for KERNELRELEASE, or for what MAKE in dkms.conf hands it ($kernelver, $kernel_source_dir)."
        ))
    }

    /// Programs of the kernel's own that the headers lack.
    fn incomplete_headers(&self, last: &str) -> Option<String> {
        const NEEDED: [&str; 3] = ["scripts/basic/fixdep", "scripts/mod/modpost", "tools/objtool/objtool"];
        let dir = &self.target.facts.source_dir;
        let missing = |file: &&&str| last.contains(**file) && !privilege::outer(self.ctx, &dir.join(file)).exists();
        let file = NEEDED.iter().find(missing)?;
        let trees = &self.ctx.trees;
        let release = &self.target.kernel.release;
        let package = headers_package::advise(&self.ctx.distribution, release, trees).package;
        let again = package.map_or_else(String::new, |package| format!("install the package {package} again, or "));
        Some(format!(
            "The headers of kernel {release} are not whole: {} does not exist.\n\
             To complete them, {again}run in their directory: make modules_prepare",
            dir.join(file).display()
        ))
    }

    /// Files that the build did not find, where the reason is known.
    fn not_there(&self, last: &str) -> Option<String> {
        let is_explained = |found: &Refusal<'_>| found.kind == Kind::Missing && self.why_not_there(found).is_some();
        refusal::last_before_the_end(last, is_explained).and_then(|found| self.why_not_there(&found))
    }

    /// The Makefile keeps compiler flags where this kernel's kbuild does not look for them.
    fn lost_flags(&self) -> Option<String> {
        let lost = flags::lost(&self.ctx.trees.source_of(&self.target.package))?;
        let kbuild = privilege::outer(self.ctx, &self.target.facts.source_dir.join("scripts/Makefile.lib"));
        let is_read = durable::text(&kbuild).map_or(true, |text| text.contains(lost.name));
        let Lost { name, instead, file, line } = lost;
        let release = &self.target.kernel.release;
        let file = self.in_source(&file);
        (!is_read).then(|| {
            format!(
                "{}, line {line}, sets {name}. Linux ignores that since 6.15, so for kernel {release} its flags are lost.\n\
                 Look for a newer version of {}. To try this one: sed -i 's/\\b{name}\\b/{instead}/g' {}",
                file.display(),
                self.target.package.name,
                file.display()
            )
        })
    }

    /// A program that an earlier command, which went on and ended well, did not find, where a file is missing now.
    fn program_before(&self, all: &str, last: &str) -> Option<String> {
        let lacks = last.contains("No such file or directory") || last.contains("No rule to make target");
        lacks.then(|| self.not_there(all)).flatten()
    }

    fn why_not_there(&self, found: &Refusal<'_>) -> Option<String> {
        let name = found.name?;
        let by_shell = found.line.ends_with("not found") || found.line.starts_with("make");
        if by_shell && !name.contains(['/', '.']) && !found.line.contains("No rule to make") {
            // pahole is what most lack: without it make deletes the finished module.
            return (!self.ctx.world.has(name)).then(|| {
                let advice = tools::advise(&self.ctx.distribution, name);
                format!("{name} is needed to build this for kernel {}. {advice}", self.target.kernel.release)
            });
        }
        let scripts = found.line.split([' ', ':']).filter(|word| word.contains('/'));
        for name in std::iter::once(name).chain(scripts) {
            let Some(inside) = self.inside(&self.called(name, found.dir)) else { continue };
            let file = self.work.path().join(&inside);
            let Ok(meta) = std::fs::symlink_metadata(&file) else { continue };
            if meta.is_symlink() && !file.exists() {
                let target = std::fs::read_link(&file).unwrap_or_default();
                let shown = self.in_source(&inside);
                return Some(format!(
                    "{} is a link to {}, which does not exist where it is built: the source is not whole.",
                    shown.display(),
                    target.display()
                ));
            }
            let text = self.contents.file(&inside).map(read_start).unwrap_or_default();
            if let Some(why) = unrunnable(&text, &self.in_source(&inside), &|program| self.ctx.world.has(program)) {
                return Some(why);
            }
        }
        None
    }

    /// As in a chroot that somebody made by hand, or rpm --root: objtool of Linux 7.2 is one that needs it.
    fn no_proc(&self) -> Option<String> {
        let there = self.ctx.trees.outer("/proc/self").exists() || Path::new("/proc/self").exists();
        let text = "/proc is not mounted here. Some kernels can't be built for without it: mount -t proc proc /proc";
        (!there).then(|| text.to_owned())
    }

    /// What make takes for something else where it is a part of a directory's name (Linux 7.2 refuses it).
    fn odd_name(&self) -> Option<String> {
        let Package { name, version } = &self.target.package;
        let odd = [name.as_str(), version.as_str()].into_iter().find(|word| word.contains(['%', ':', '#', '=']))?;
        Some(format!(
            "The build directory has {odd} in its name, which make may take for something else. Give the package another \
             name or version."
        ))
    }

    /// What was refused and why; being root is advised only where root would be let through.
    fn refused(&self, found: &Refusal<'_>) -> Option<String> {
        let name = &self.target.package.name;
        let root = |what: &str| {
            self.work
                .user()
                .is_some()
                .then(|| format!("The build does not run as root, and {what}. {}", privilege::advice(name)))
        };
        let Some(file) = found.name else { return root(&format!("was refused something: {}", found.line)) };
        let called = self.called(file, found.dir);
        let inside = self.inside(&called);
        let outer = match &inside {
            Some(inside) => self.work.path().join(inside),
            None => privilege::outer(self.ctx, &called),
        };
        let shown = inside.as_deref().map_or_else(|| called.clone(), |inside| self.in_source(inside));
        if inside.is_some() && std::fs::symlink_metadata(&outer).is_err() {
            // It may write there: the program looked for it elsewhere, and does not say where.
            return root(&format!("was refused {file}: {}", found.line));
        }
        let outer = std::fs::canonicalize(&outer).unwrap_or(outer);
        let link_leads_out = !outer.starts_with(self.work.path());
        if let Ok(meta) = std::fs::metadata(&outer) {
            if meta.is_file() && meta.permissions().mode() & 0o111 == 0 && is_program(&outer, file) {
                let shown = shown.display();
                return Some(format!(
                    "{shown} was refused: it lacks the permission to execute. To set it: chmod +x {shown}"
                ));
            }
            if inside.is_some() && !link_leads_out {
                // Its own: no user would get it.
                return Some(format!(
                    "{} was refused to the build, although it is its own: {}",
                    shown.display(),
                    found.line
                ));
            }
        }
        if found.kind == Kind::ReadOnly {
            return Some(format!("{} was refused: its file system is read-only, for root, too.", shown.display()));
        }
        let source = std::fs::canonicalize(self.ctx.trees.source_of(&self.target.package));
        let why = if source.is_ok_and(|source| outer.starts_with(source)) {
            format!("it works in its source instead of in {}", self.called_build().display())
        } else {
            why_closed(self.ctx, &outer).unwrap_or_else(|| found.line.to_owned())
        };
        root(&format!("was refused {}: {why}", shown.display()))
    }

    /// The absolute path that a program of the build calls `name`, in the directory that make had entered.
    fn called(&self, name: &str, dir: Option<&str>) -> PathBuf {
        let name = name.strip_prefix("./").unwrap_or(name);
        let build = self.called_build();
        let dirs = [dir.map(Path::new), Some(build.as_path()), Some(self.target.facts.source_dir.as_path())];
        let places: Vec<PathBuf> = dirs.into_iter().flatten().map(|dir| dir.join(name)).collect();
        let there = |path: &&PathBuf| {
            let outer = match self.inside(path) {
                Some(inside) => self.work.path().join(inside),
                None => privilege::outer(self.ctx, path),
            };
            std::fs::symlink_metadata(outer).is_ok()
        };
        places.iter().find(there).unwrap_or(&places[0]).clone()
    }

    /// A path of the build directory, relative to it.
    fn inside(&self, called: &Path) -> Option<PathBuf> {
        called.strip_prefix(self.called_build()).ok().map(Path::to_owned)
    }

    /// What users call a file of the build directory: that of the source, if there is one.
    fn in_source(&self, inside: &Path) -> PathBuf {
        let trees = &self.ctx.trees;
        let source = source_place(self.ctx, &self.target.package).join(inside);
        let there = std::fs::symlink_metadata(trees.outer(&source)).is_ok();
        if there { source } else { trees.shown(&self.work.seen_at().join(inside)) }
    }

    fn called_build(&self) -> PathBuf {
        self.ctx.world.called(&self.ctx.trees, self.work.seen_at())
    }
}

/// Whether a refused file that can't be executed was to be: it has a first line that names its program, or is named as one
/// of the build's own scripts.
fn is_program(outer: &Path, name: &str) -> bool {
    let text = durable::open_regular(outer).map(read_start).unwrap_or_default();
    interpreter(&text).is_some() || text.starts_with(b"\x7fELF") || name.ends_with(".sh")
}

/// Who is kept from the file at `outer`, and by what.
fn why_closed(ctx: &Context, outer: &Path) -> Option<String> {
    let owner =
        |meta: &std::fs::Metadata| if meta.uid() == 0 { "root".to_owned() } else { format!("user {}", meta.uid()) };
    for dir in outer.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
        let Ok(meta) = std::fs::metadata(dir) else { break };
        if meta.permissions().mode() & 0o001 == 0 {
            return Some(format!("{} is closed to other users", ctx.trees.shown(dir).display()));
        }
    }
    let Ok(meta) = std::fs::metadata(outer) else {
        let above = outer.ancestors().skip(1).find(|dir| dir.is_dir())?;
        let owner = owner(&std::fs::metadata(above).ok()?);
        return Some(format!("{} belongs to {owner}", ctx.trees.shown(above).display()));
    };
    let mode = meta.permissions().mode() & 0o777;
    Some(format!("it belongs to {} and has mode {mode:04o}", owner(&meta)))
}

/// The beginning of a script.
fn read_start(file: std::fs::File) -> Vec<u8> {
    let mut text = Vec::new();
    if file.metadata().is_ok_and(|meta| meta.is_file()) {
        let _ = file.take(LOOK).read_to_end(&mut text);
    }
    text
}
