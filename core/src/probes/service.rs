//! Root's side of one build: the stubs that it finds in front of its PATH, and what gives them answers that are not there yet.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::ask;
use super::question::{LONGEST, Question};
use super::settings::{CACHE, DIRECTORY, FILE, PROGRAM, SOCKET, Settings};
use super::store::Store;
use crate::compilers::Compilers;
use crate::digest::Digest;
use crate::durable::{self, FileError};
use crate::journal;
use crate::launchers::Launched;
use crate::process::{DEFAULT_PATH, Environment};
use crate::sandbox::{Bind, BuildUser, Looks, confine};
use crate::tree::Trees;
use crate::tree::identity::Identity;
use crate::world::World;

/// Where nothing else is written to, in the service's directory: what an asked compiler has for its files.
const SCRATCH: &str = "scratch";
/// This program, whatever has become of its file. It belongs to another namespace's mounts: to be shown elsewhere (mount(2),
/// EINVAL) it needs its path.
const THIS: &str = "/proc/self/exe";
/// How many new questions one build may have answered. A kernel has some 35, few have more than twice as many.
const MOST: usize = 256;
/// How long a question may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one build has of it. Ends with this.
#[derive(Debug)]
pub struct Service {
    /// What is to be seen where in the build's world.
    pub binds: Vec<Bind>,
    /// The directory to be put in front of PATH, as programs call it.
    pub path: PathBuf,
    /// The launcher behind the stubs, as the build finds it.
    pub launched: Option<Launched>,
    /// Closed when the build has ended.
    running: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    _dir: journal::WorkDir,
}

/// Why a build goes without.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// No file.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Service {
    /// Sets up what a build of the user `user` needs to find answers (if it `answers`), and a launcher, whose cache
    /// is given as an outer path. `None`: this system does not let it, or there is no compiler.
    pub fn begin(
        world: &World,
        trees: &Trees,
        compilers: &Compilers,
        user: Option<BuildUser>,
        answers: bool,
        launched: Option<Launched>,
    ) -> Result<Option<Self>, Error> {
        let stubs = stubs(world, compilers);
        if !world.has_private_mounts() || !confine::is_ready() || !Path::new(THIS).exists() || stubs.is_empty() {
            return Ok(None);
        }
        // Of a program whose file is gone nothing can be shown elsewhere.
        let this = fs::read_link(THIS)?;
        if fs::metadata(&this).map(|meta| Identity::of(&meta)).ok() != Some(Identity::of(&fs::metadata(THIS)?)) {
            return Ok(None);
        }
        let program = world.called(trees, &trees.state(DIRECTORY)).join(PROGRAM);
        let Some((stub, time)) = stub_file(&program, compilers.identity()) else { return Ok(None) };
        let store = answers.then(|| Store::open(trees, compilers.identity())).transpose()?;
        let work = journal::WorkDir::new(trees)?;
        let dir = work.path().join(DIRECTORY);
        let seen_at = trees.state(DIRECTORY);
        for new in [&seen_at, &dir, &dir.join(CACHE), &work.path().join(SCRATCH)] {
            fs::create_dir_all(new)?;
            fs::set_permissions(new, std::fs::Permissions::from_mode(0o755))?;
        }
        // A way through, not a look inside.
        for dir in [trees.own(), trees.work(), work.path().to_owned()] {
            fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
        }
        let path = world.called(trees, &seen_at);
        let settings = Settings {
            compilers: stubs,
            parts: compilers.files.iter().map(|part| (part.path.clone(), part.identity)).collect(),
            answers: store.as_ref().map(|store| world.called(trees, &store.dir)),
            launched: launched.clone().map(|launched| Launched { cache: path.join(CACHE), ..launched }),
        };
        durable::write_new(&dir.join(FILE), &serde_json::to_vec(&settings).map_err(io::Error::other)?, 0o644)
            .and_then(|_| durable::write_new(&dir.join(PROGRAM), b"", 0o755))?;
        for name in settings.compilers.keys() {
            let file = durable::write_new(&dir.join(name), stub.as_bytes(), 0o755)?;
            file.set_modified(time)?;
        }
        let mut binds = vec![
            Bind { from: dir.clone(), to: seen_at.clone() },
            Bind { from: this.clone(), to: seen_at.join(PROGRAM) },
        ];
        binds.extend(launched.map(|launched| Bind { from: launched.cache, to: seen_at.join(CACHE) }));
        let launched = settings.launched.clone();
        let (mut running, mut thread) = (None, None);
        if let Some(store) = store {
            let listener = UnixListener::bind(dir.join(SOCKET))?;
            // Of all other builds none can connect to it.
            fs::set_permissions(dir.join(SOCKET), std::fs::Permissions::from_mode(0o600))?;
            if let Some(user) = user {
                std::os::unix::fs::lchown(dir.join(SOCKET), Some(user.base), Some(user.base))?;
            }
            let (ended, open) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
            let desk = Desk {
                world: world.clone(),
                trees: trees.clone(),
                this,
                program: dir.join(PROGRAM),
                scratch: work.path().join(SCRATCH),
                settings,
                parts: compilers.files.iter().map(|part| (part.outer.clone(), part.identity)).collect(),
                store,
                left: MOST,
                kept: 0,
            };
            running = Some(open);
            thread = Some(
                std::thread::Builder::new().name("compilers".into()).spawn(move || desk.serve(&listener, &ended))?,
            );
        }
        Ok(Some(Self { binds, path, launched, running, thread, _dir: work }))
    }

    /// Puts the stubs in front of an environment's PATH.
    pub fn enter(&self, environment: &mut Environment) {
        let path = environment.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
        let mut with = self.path.clone().into_os_string();
        with.push(":");
        with.push(&*path);
        *path = with;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.running.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The text of a stub, and the time of its last change: both are others for other compilers, as of a compiler that is replaced.
/// Compiler caches that a package or a site calls itself go by that (ccache(1), `compiler_check`). `None`: the path of
/// `program` can't be in it (execve(2), "Interpreter scripts").
fn stub_file(program: &Path, identity: &Digest) -> Option<(String, SystemTime)> {
    const LONGEST_LINE: usize = 127;
    let path = program.to_str().filter(|path| !path.contains(char::is_whitespace) && path.len() + 3 < LONGEST_LINE)?;
    let digits = identity.to_string();
    // Somewhere between 1970 and 2004.
    let seconds = u64::from_str_radix(digits.get(..15)?, 16).ok()? % (1 << 30);
    Some((format!("#!{path}\n# {digits}\n"), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// The compilers that get a stub, by name. Not what is a compiler's name only (ccache(1), "run modes"): it looks for the
/// compiler in PATH by that.
fn stubs(world: &World, compilers: &Compilers) -> BTreeMap<String, PathBuf> {
    let is_one = |path: &Path| {
        let real = fs::canonicalize(world.outer(path)).unwrap_or_default();
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        name.contains("gcc") || name.contains("clang")
    };
    let all = compilers.all.iter().filter(|compiler| !compiler.name.contains('/') && is_one(&compiler.path));
    all.map(|compiler| (compiler.name.clone(), compiler.path.clone())).collect()
}

/// What answers one build.
struct Desk {
    world: World,
    trees: Trees,
    /// This program.
    this: PathBuf,
    /// Where this program is seen by those that ask compilers.
    program: PathBuf,
    scratch: PathBuf,
    settings: Settings,
    parts: Vec<(PathBuf, Option<Identity>)>,
    store: Store,
    /// How many more questions the build may have answered.
    left: usize,
    kept: usize,
}

/// The questions that are being put to a compiler, for all builds of this run.
static BEING_ASKED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
static DONE: Condvar = Condvar::new();

/// One question being asked, by the file of its answer.
struct Turn(PathBuf);

impl Turn {
    /// Waits until nobody else asks the same.
    fn wait(file: PathBuf) -> Self {
        let mut asked = BEING_ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        while !asked.get_or_insert_default().insert(file.clone()) {
            asked = DONE.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
        Self(file)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut asked = BEING_ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get_or_insert_default().remove(&self.0);
        DONE.notify_all();
    }
}

impl Desk {
    fn serve(mut self, listener: &UnixListener, ended: &OwnedFd) {
        loop {
            let mut fds = [PollFd::new(ended, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if !fds[0].revents().is_empty() => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
            let Ok((stream, _)) = listener.accept() else { continue };
            // Who asks may have gone.
            let _ = self.one(stream);
        }
        if self.kept > 0 {
            self.store.collect();
        }
    }

    fn one(&mut self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut text = Vec::new();
        (&mut stream).take(LONGEST as u64 + 1).read_to_end(&mut text)?;
        let there = Question::parse(&text).is_some_and(|question| self.answer(&question));
        stream.write_all(&[u8::from(there)])
    }

    /// Sees to it that the answer to `question` is in the store; false: it is not.
    fn answer(&mut self, question: &Question) -> bool {
        let Some(compiler) = self.settings.compilers.get(&question.name) else { return false };
        let _turn = Turn::wait(super::store::place(&self.store.dir, &question.key()));
        if self.store.get(question).is_some() {
            return true;
        }
        if self.left == 0 || !self.hold() {
            return false;
        }
        self.left -= 1;
        let called = |path: &Path| self.world.called(&self.trees, path);
        let looks = Looks { emptied: vec![self.scratch.clone()], hears: false };
        let mut confinement = self.world.lookout(looks, true);
        confinement.binds.push(Bind { from: self.this.clone(), to: self.program.clone() });
        let path = self.world.environment().get(std::ffi::OsStr::new("PATH")).cloned();
        let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
        let mut task = ask::task(question, compiler, &called(&self.program), &called(&self.scratch), path);
        task.confinement = Some(Box::new(confinement));
        // One that was replaced meanwhile has answered for nobody.
        let Some(answer) = ask::understand(task).filter(|_| self.hold()) else { return false };
        match self.store.put(question, &answer) {
            Ok(()) => {
                self.kept += 1;
                true
            }
            Err(error) => {
                log::debug!("compilers' answers can't be kept: {error}");
                self.left = 0;
                false
            }
        }
    }

    /// Whether the compilers are still those whose answers the store has.
    fn hold(&self) -> bool {
        self.parts.iter().all(|(path, identity)| Identity::of_path(path).ok() == *identity)
    }
}
