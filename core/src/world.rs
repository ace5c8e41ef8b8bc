//! Where programs run: on this host, inside another root, or outside a root that has no tools.
//!
//! With `--root`, dkms.conf, scripts and make run inside that root when it has what they need (docs/laws.md 9);
//! otherwise here, with the headers relocated and this host's own trees hidden.

pub mod environment;

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use environment::clean_environment;

use crate::process::{Confine, DEFAULT_PATH, Environment, Task};
use crate::root::Root;
use crate::sandbox::{Bind, BuildUser, Confinement, Demotion, Looks, Namespaces};
use crate::tree::Trees;

/// Where everybody may make files, by names of their choice.
pub const SHARED: [&str; 4] = ["tmp", "var/tmp", "dev/shm", "run/lock"];
/// Where services have their sockets (hier(7)). A network namespace takes those away that have no path, and no others (unix(7)).
pub const SERVICES: &str = "run";

/// What a build has of its own.
#[derive(Debug, Clone, Copy)]
pub struct Seclusion<'a> {
    /// Its work directory, an outer path.
    pub work: &'a Path,
    /// Where that is seen, an outer path.
    pub build: &'a Path,
    /// Who it is; `None`: who we are.
    pub user: Option<BuildUser>,
    /// What it sees in the place of the directories for temporary files ([`SHARED`]) and of services ([`SERVICES`]); `None`:
    /// those themselves.
    pub tmp: Option<&'a Path>,
    /// Whether it has the network that we have.
    pub network: bool,
    /// What else it sees where, if it has mounts of its own.
    pub binds: &'a [Bind],
}

/// A place for programs to run in.
#[derive(Debug, Clone)]
pub struct World {
    kind: Kind,
    namespaces: Option<Namespaces>,
    environment: Environment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The root is this host's.
    Host,
    /// Chrooted into the root.
    Inside(Root),
    /// On this host, for a root that can't run programs.
    Outside,
}

impl World {
    /// The world for programs that serve `root`. `environment` is the caller's, already cleaned;
    /// `namespaces` what this process may use; `None`: found out when something needs it, which takes a process.
    pub fn of(root: &Root, mut environment: Environment, namespaces: Option<Namespaces>) -> Self {
        let kind = if root.is_host() {
            Kind::Host
        } else if namespaces.unwrap_or_else(Namespaces::available).mounts
            && ["bash", "make"].iter().all(|program| in_path(Some(root), DEFAULT_PATH.as_ref(), program).is_some())
        {
            Kind::Inside(root.clone())
        } else {
            Kind::Outside
        };
        if matches!(kind, Kind::Inside(_)) || !environment.contains_key(OsStr::new("PATH")) {
            environment.insert("PATH".into(), DEFAULT_PATH.into());
        }
        Self { kind, namespaces, environment }
    }

    /// The same on this machine, whatever root it serves.
    #[must_use]
    pub fn on_host(&self) -> Self {
        Self { kind: Kind::Outside, ..self.clone() }
    }

    fn namespaces(&self) -> Namespaces {
        self.namespaces.unwrap_or_else(Namespaces::available)
    }

    /// Whether programs see the root's files under their inside paths.
    pub fn is_inside(&self) -> bool {
        self.kind != Kind::Outside
    }

    /// The environment every program gets.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether a build directory can be private: several builds of one package may then run at once.
    pub fn has_private_mounts(&self) -> bool {
        self.namespaces().mounts
    }

    /// Whether builds can be kept off the network.
    pub fn can_cut_network(&self) -> bool {
        self.namespaces().network
    }

    /// What programs call the file at `outer`.
    pub fn called(&self, trees: &Trees, outer: &Path) -> PathBuf {
        match self.kind {
            Kind::Host | Kind::Inside(_) => trees.shown(outer),
            Kind::Outside => outer.to_owned(),
        }
    }

    /// Where what programs call `called` is for us.
    pub fn outer(&self, called: &Path) -> PathBuf {
        match &self.kind {
            Kind::Inside(root) => root.outer(called),
            Kind::Host | Kind::Outside => called.to_owned(),
        }
    }

    /// Whether `program` (a name or a path) can be run there.
    pub fn has(&self, program: &str) -> bool {
        self.find(program).is_some()
    }

    /// Where `program` is found there, as an outer path.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let path = self.environment.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
        let root = match &self.kind {
            Kind::Inside(root) => Some(root),
            Kind::Host | Kind::Outside => None,
        };
        in_path(root, path, program)
    }

    /// A task that runs `argv` in the directory `cwd` (as programs call it).
    pub fn task<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>, cwd: &Path) -> Task {
        let mut task = Task::new(argv, cwd, &self.environment);
        task.confinement = self.around().map(|around| Box::new(around) as _);
        task
    }

    /// The program and arguments that, put in front of a program, run it there: for the evaluator of dkms.conf.
    pub fn prefix(&self) -> Vec<OsString> {
        match self.around() {
            Some(confinement) => confinement.prefix(Path::new("/")),
            None => Vec::new(),
        }
    }

    /// How builds can be kept from being root; found out when first asked for.
    pub fn demotion(&self) -> Demotion {
        Demotion::available(self.namespaces())
    }

    /// Gives a build task its private world: its work directory appears at the build directory, nothing of it
    /// survives us, it has no network unless it may, and it is who it is to be. Without privileges the task runs as it is.
    pub fn seclude(&self, trees: &Trees, task: &mut Task, seclusion: &Seclusion<'_>) {
        let Seclusion { work, build, user, tmp, network, binds } = *seclusion;
        if !self.namespaces().mounts && user.is_none() {
            return;
        }
        let mut confinement = self.around().unwrap_or_default();
        confinement.namespaces = Namespaces { network: self.namespaces().network && !network, ..self.namespaces() };
        confinement.user = user;
        if self.kind == Kind::Outside {
            confinement.binds.extend(Self::hidden(trees));
        }
        if work != build {
            confinement.binds.push(Bind { from: work.to_owned(), to: build.to_owned() });
        }
        if let Some(tmp) = tmp.filter(|_| self.namespaces().mounts) {
            let base = confinement.chroot.as_deref().unwrap_or(Path::new("/"));
            // Whoever may have the network finds its names by way of files and services there (resolved, nscd).
            let services = (!network).then_some(&SERVICES);
            let public = SHARED.iter().chain(services).map(|dir| base.join(dir));
            let public = public.filter(|dir| dir.is_dir() && !dir.is_symlink());
            let binds: Vec<Bind> = public.map(|to| Bind { from: tmp.to_owned(), to }).collect();
            confinement.binds.extend(binds);
        }
        if self.namespaces().mounts {
            confinement.binds.extend_from_slice(binds);
        }
        task.confinement = Some(Box::new(confinement));
    }

    /// What keeps a task apart that is nobody in particular and only looks. Where it is not `apart`, it has no namespaces, and
    /// sees what we see.
    pub fn lookout(&self, looks: Looks, apart: bool) -> Confinement {
        Confinement {
            user: Some(BuildUser::reader()),
            looks: Some(looks),
            namespaces: Namespaces { mounts: apart, pids: apart, network: apart },
            ..self.around().unwrap_or_default()
        }
    }

    /// The directories in which everybody may make files, and those of services, as outer paths, but for those that have something of `needed`.
    pub fn shared(&self, needed: &[PathBuf]) -> Vec<PathBuf> {
        let base = match &self.kind {
            Kind::Inside(root) => root.dir(),
            Kind::Host | Kind::Outside => Path::new("/"),
        };
        let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let needed: Vec<PathBuf> = needed.iter().flat_map(|path| [path.clone(), real(path)]).collect();
        let dirs =
            SHARED.iter().chain([&SERVICES]).map(|dir| base.join(dir)).filter(|dir| dir.is_dir() && !dir.is_symlink());
        dirs.filter(|dir| !needed.iter().any(|path| path.starts_with(dir))).collect()
    }

    fn around(&self) -> Option<Confinement> {
        let Kind::Inside(root) = &self.kind else { return None };
        Some(Confinement {
            chroot: Some(root.dir().to_owned()),
            namespaces: Namespaces { network: false, ..self.namespaces() },
            ..Confinement::default()
        })
    }

    /// This host's own trees, each covered by the root's, so that nothing of the host's gets into a build.
    fn hidden(trees: &Trees) -> Vec<Bind> {
        ["/usr/src", "/lib/modules", "/var/lib/dkms", "/etc/dkms"]
            .iter()
            .map(|dir| Bind { from: trees.outer(dir), to: PathBuf::from(dir) })
            .filter(|bind| bind.from.is_dir() && bind.to.is_dir() && !bind.from.starts_with(&bind.to))
            .collect()
    }
}

/// The program `name` on `path`, as an outer path; below `root` if there is one.
fn in_path(root: Option<&Root>, path: &OsStr, name: &str) -> Option<PathBuf> {
    let outer = |inside: &Path| root.map_or_else(|| inside.to_owned(), |root| root.outer(inside));
    let runs = |file: &Path| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let file = outer(Path::new(name));
        return runs(&file).then_some(file);
    }
    std::env::split_paths(path).map(|dir| outer(&dir.join(name))).find(|file| runs(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_tools_is_served_from_outside() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        let all = Namespaces { mounts: true, pids: true, network: true };
        assert!(!World::of(&root, Environment::new(), Some(all)).is_inside());
        for program in ["bash", "make"] {
            let file = tmp.path().join("usr/bin").join(program);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(&file, "").unwrap();
            fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let world = World::of(&root, Environment::new(), Some(all));
        assert!(world.is_inside() && world.has("make") && !world.has("gcc"));
        assert!(!World::of(&root, Environment::new(), Some(Namespaces::default())).is_inside());
    }
}
