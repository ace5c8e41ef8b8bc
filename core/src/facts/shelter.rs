//! Where the files of packages are evaluated when we are root: by a user that owns nothing, with a system that can only be read.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::conf;
use crate::conf::framework::BuildAs;
use crate::conf::{Evaluator, Launcher};
use crate::context::Context;
use crate::journal;
use crate::process::{Confine, Environment};
use crate::sandbox::{Looks, confine};
use crate::tree::Trees;
use crate::world::{World, environment::only_listed};

/// The largest dkms.conf that is copied, in bytes; what it sets has about the same limit.
const LARGEST: u64 = 1 << 20;

/// The evaluator of packages' files in `world`: that of `ctx`, or this machine itself.
pub fn evaluator(ctx: &Context, world: &World) -> Evaluator {
    let mut launcher = Launcher::new(world.environment().clone());
    let mut argv = world.prefix();
    argv.append(&mut launcher.argv);
    launcher.argv = argv;
    launcher.dir = Some(PathBuf::from("/"));
    launcher.trusting = ctx.framework.build_as == BuildAs::Root;
    // Whoever is not root has nothing to lose to another user that it could become.
    launcher.shelter = ctx.machine.root.then(|| Arc::new(Shelter::new(ctx, world)) as _);
    Evaluator::new(launcher)
}

/// What is needed to keep packages' files apart.
#[derive(Debug)]
struct Shelter {
    world: World,
    trees: Trees,
    environment: Environment,
    /// What files may have to do with, as outer paths.
    needed: Vec<PathBuf>,
    copies: Mutex<Vec<journal::WorkDir>>,
}

impl Shelter {
    fn new(ctx: &Context, world: &World) -> Self {
        let trees = ctx.trees.clone();
        let mut environment = world.environment().clone();
        only_listed(&mut environment);
        let mut needed: Vec<PathBuf> =
            [&trees.dkms, &trees.source, &trees.install].map(|place| place.outer.clone()).into();
        let given = [&ctx.options.kernel_source_dir, &ctx.options.kernel_config];
        needed.extend(given.into_iter().flatten().map(|path| world.outer(path)));
        Self { world: world.clone(), trees, environment, needed, copies: Mutex::default() }
    }

    /// The directory of ours on the way to what packages need that is not for other users.
    fn closed(&self) -> Option<PathBuf> {
        let top = if self.world.is_inside() { self.trees.root.dir() } else { Path::new("/") };
        let open = |dir: &Path| std::fs::metadata(dir).map_or(true, |meta| meta.permissions().mode() & 0o001 != 0);
        let above = [&self.trees.dkms.outer, &self.trees.source.outer];
        let above = above.map(|dir| fs_err::canonicalize(dir).unwrap_or_else(|_| dir.clone()));
        let mut dirs = above.iter().flat_map(|dir| dir.ancestors().take_while(|part| part.starts_with(top)));
        dirs.find(|dir| !open(dir)).map(Path::to_owned)
    }
}

impl conf::Shelter for Shelter {
    fn confinement(&self, refused: usize, files: &[PathBuf]) -> Option<Box<dyn Confine>> {
        // What is confined starts as this program.
        if !confine::is_ready() || !Path::new("/proc/self/exe").exists() {
            log::debug!(
                "dkms.conf files are evaluated as root, since this program can't be started again (is /proc mounted?)"
            );
            return None;
        }
        if let Some(closed) = self.closed() {
            log::debug!("dkms.conf files are evaluated as root, since {} is closed to other users", closed.display());
            return None;
        }
        let files = files.iter().map(|file| self.world.outer(file));
        let needed: Vec<PathBuf> = self.needed.iter().cloned().chain(files).collect();
        let looks = |emptied| Looks { emptied, hears: true };
        Some(Box::new(match refused {
            0 => self.world.lookout(looks(self.world.shared(&needed)), true),
            1 => self.world.lookout(looks(Vec::new()), false),
            _ => return None,
        }))
    }

    fn environment(&self) -> &Environment {
        &self.environment
    }

    fn refused(&self, refused: usize, why: &str) {
        static SAID: [Once; 2] = [Once::new(), Once::new()];
        match refused {
            0 => SAID[0].call_once(|| {
                log::info!(
                    "dkms.conf files see this machine's network and processes, since it refuses namespaces: {why}"
                );
            }),
            _ => SAID[1].call_once(|| {
                log::warn!(
                    "dkms.conf files are evaluated as root, since this system lets us have no other user: {why}"
                );
            }),
        }
    }

    fn copy(&self, file: &Path) -> Option<PathBuf> {
        let attempt = || -> Result<PathBuf, conf::ConfError> {
            let bad = |source| conf::ConfError::Read { file: file.to_owned(), source };
            // A link could lead to what the package must not read, a pipe would be waited for.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = openat(CWD, self.world.outer(file), flags, Mode::empty());
            let opened = std::fs::File::from(opened.map_err(|error| bad(error.into()))?);
            if !opened.metadata().map_err(bad)?.is_file() {
                return Err(conf::ConfError::Unreadable { file: file.to_owned() });
            }
            let mut text = Vec::new();
            opened.take(LARGEST + 1).read_to_end(&mut text).map_err(bad)?;
            if text.len() as u64 > LARGEST {
                return Err(conf::ConfError::TooLarge { file: file.to_owned() });
            }
            let work = journal::WorkDir::new(&self.trees).map_err(|error| bad(std::io::Error::other(error)))?;
            let copy = work.path().join("dkms.conf");
            fs_err::write(&copy, text).map_err(bad)?;
            // A way through, not a look inside.
            for dir in [self.trees.own(), self.trees.work(), work.path().to_owned()] {
                fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o711)).map_err(bad)?;
            }
            fs_err::set_permissions(&copy, std::fs::Permissions::from_mode(0o444)).map_err(bad)?;
            self.copies.lock().unwrap_or_else(PoisonError::into_inner).push(work);
            Ok(self.world.called(&self.trees, &copy))
        };
        attempt().inspect_err(|error| log::debug!("{} is not copied: {error}", file.display())).ok()
    }
}

impl Drop for Shelter {
    fn drop(&mut self) {
        for copy in self.copies.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            copy.remove();
        }
    }
}
