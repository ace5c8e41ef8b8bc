//! Locks between processes: flock(2) on a file that says who holds it.
//!
//! The kernel releases a lock when its holder ends, however it ends, and the file is not inherited
//! by programs (close-on-exec), so no lock is ever stale. The words in the file only inform.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub mod gate;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::durable;
use crate::process::ancestry::above;
use crate::process::stop::{self, Stop};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

impl Holder {
    /// Another thread of this process.
    pub fn is_this_process(&self) -> bool {
        self.pid == std::process::id()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// How long to wait for a lock that is taken.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// At most this long; `None`: for ever; zero: not at all.
    pub limit: Option<Duration>,
    /// Told once whom we wait for, as soon as we know.
    pub on_wait: &'a dyn Fn(&Holder),
}

impl std::fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Patience({:?})", self.limit)
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it for too long.
    #[error(
        "{} is held by {}, which did not end within {} s; try again when it has",
        .path.display(), who(.holder.as_ref()), .waited.as_secs()
    )]
    Timeout {
        /// The lock's file.
        path: PathBuf,
        /// Who holds it, if known.
        holder: Option<Holder>,
        /// How long we waited.
        waited: Duration,
    },
    /// This run was asked to end while it waited.
    #[error("{} is held by {}, and this run was interrupted by {stop}", .path.display(), who(.holder.as_ref()))]
    Interrupted {
        /// The lock's file.
        path: PathBuf,
        /// Who holds it, if known.
        holder: Option<Holder>,
        /// The signal.
        stop: Stop,
    },
    /// One of the processes that started this one holds it: waiting would never end.
    #[error(
        "{} is held by {holder}, which started this command and waits for it; \
         a module's script must not work on the package and kernel it runs for", .path.display()
    )]
    Nested {
        /// The lock's file.
        path: PathBuf,
        /// Who holds it.
        holder: Holder,
    },
    /// Another run has taken away what this one was about to add to.
    #[error("{} was closed by {} meanwhile", .path.display(), who(.holder.as_ref()))]
    Closed {
        /// The gate's file.
        path: PathBuf,
        /// Who has closed it, if known.
        holder: Option<Holder>,
    },
    /// The tree can't be changed.
    #[error("cannot lock {}: the file system is read-only; mount it writable and try again", .path.display())]
    ReadOnly {
        /// The lock's file.
        path: PathBuf,
    },
    /// The tree may not be changed by this user.
    #[error("cannot lock {}: permission denied; this needs root", .path.display())]
    NotAllowed {
        /// The lock's file.
        path: PathBuf,
    },
    /// Something else.
    #[error("cannot lock {}: {source}", .path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn who(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), ToString::to_string)
}

/// A lock that is held; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// What was in the file.
    before: Vec<u8>,
    /// What is to be left in it.
    mark: Option<String>,
}

/// The shortest and the longest pause between two tries. Polling, and not a blocking flock in a
/// thread: a thread can't be called back, and the holder's name must be looked at again anyway.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// How the words begin that are in the file of a lock which nobody holds: no holder's words do.
pub const MARK: &str = "left by ";

/// Whether these words from a lock's file say that this process holds it.
pub fn is_own(words: &[u8]) -> bool {
    words.starts_with(format!("{} ", std::process::id()).as_bytes())
}

/// The dkms processes that this one was started within, by their own words: in a private process namespace, /proc does not
/// tell.
static STARTED_WITHIN: OnceLock<Vec<u32>> = OnceLock::new();

/// Notes, once, the processes that this one was started within: waiting for one of them would never end.
pub fn started_within(pids: Vec<u32>) {
    let _ = STARTED_WITHIN.set(pids);
}

/// Whether another run of ours may wait for this one to end.
fn is_within_another() -> bool {
    STARTED_WITHIN.get().is_some_and(|pids| !pids.is_empty())
}

/// Takes the lock that the file at `path` stands for, waiting for another holder as `patience`
/// says. The file and the directories above it are made; `.dkms` and below for root alone.
pub fn lock(path: &Path, patience: Patience<'_>) -> Result<Lock, LockError> {
    take(path, patience, FlockOperation::NonBlockingLockExclusive)
}

/// The same. The words `mark`, which begin with [`MARK`], are left in the file when the lock is released; gives what was there
/// before.
pub fn lock_marked(path: &Path, patience: Patience<'_>, mark: String) -> Result<(Lock, Vec<u8>), LockError> {
    let mut lock = lock(path, patience)?;
    lock.mark = Some(mark);
    let before = std::mem::take(&mut lock.before);
    Ok((lock, before))
}

/// Takes the lock at `path` together with others who share it; who wants it alone waits for all of them.
pub fn share(path: &Path, patience: Patience<'_>) -> Result<Lock, LockError> {
    take(path, patience, FlockOperation::NonBlockingLockShared)
}

fn take(path: &Path, patience: Patience<'_>, how: FlockOperation) -> Result<Lock, LockError> {
    if let Some(dir) = path.parent() {
        durable::own_dirs(dir).map_err(|e| failure(path, e.source))?;
    }
    // Unlinked or replaced since we opened it: a lock on nothing.
    wait(path, patience, how, &|| open(path), &|file| is_at(file, path))
}

/// Waits for a lock on the file that `open` gives, which counts if `is_right`; `path` is what it is called.
fn wait(
    path: &Path,
    patience: Patience<'_>,
    how: FlockOperation,
    open: &dyn Fn() -> io::Result<File>,
    is_right: &dyn Fn(&File) -> io::Result<bool>,
) -> Result<Lock, LockError> {
    let fail = |error: io::Error| failure(path, error);
    let start = Instant::now();
    let mut pause = PAUSES.0;
    let mut named = false;
    loop {
        let released = Released::so_far();
        let file = open().map_err(fail)?;
        match flock(&file, how) {
            Ok(()) => {
                if is_right(&file).map_err(fail)? {
                    return Lock::claim(file).map_err(fail);
                }
                continue;
            }
            Err(Errno::WOULDBLOCK) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(fail(error.into())),
        }
        let holder = holder(file);
        if let Some(holder) = &holder {
            if above(Path::new("/proc"), std::process::id()).contains(&holder.pid)
                || STARTED_WITHIN.get().is_some_and(|pids| pids.contains(&holder.pid))
            {
                return Err(LockError::Nested { path: path.to_owned(), holder: holder.clone() });
            }
        }
        if let Some(stop) = stop::requested() {
            return Err(LockError::Interrupted { path: path.to_owned(), holder, stop });
        }
        let waited = start.elapsed();
        let left = patience.limit.map(|limit| limit.saturating_sub(waited));
        if left == Some(Duration::ZERO) {
            return Err(LockError::Timeout { path: path.to_owned(), holder, waited });
        }
        if let (false, Some(holder)) = (named, &holder) {
            (patience.on_wait)(holder);
            named = true;
        }
        released.wait(left.map_or(pause, |left| pause.min(left)));
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Deletes the file of a lock that nobody will want again, unless somebody holds it. Who waits for it makes a new one.
pub fn discard(path: &Path) {
    let at_once = Patience { limit: Some(Duration::ZERO), on_wait: &|_| {} };
    if path.exists() && lock(path, at_once).is_ok_and(|_held| fs::remove_file(path).is_err()) {
        log::info!("{} stays", path.display());
    }
}

/// [`discard`]s the locks in `dir` whose names are meant.
pub fn discard_all(dir: &Path, meant: &dyn Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(meant) {
            discard(&entry.path());
        }
    }
}

impl Lock {
    fn claim(mut file: File) -> io::Result<Self> {
        let command = std::env::args_os()
            .map(|word| word.to_string_lossy().replace(char::is_control, " "))
            .collect::<Vec<_>>()
            .join(" ");
        let text: String = format!("{} {command}", std::process::id()).chars().take(500).collect();
        let mut before = Vec::new();
        file.read_to_end(&mut before)?;
        file.set_len(0)?;
        file.rewind()?;
        // A full disk must not keep anybody from removing things: the words only inform.
        let _ = file.write_all(text.as_bytes());
        Ok(Self { file, before, mark: None })
    }

    /// Makes a shared lock one's own, if nobody else shares it; says whether it is. If not, the lock may be
    /// lost (flock(2): a conversion first gives up what there was).
    pub fn is_last(&self) -> bool {
        flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It must not name us as its holder any more.
        let _ = self.file.set_len(0);
        if let Some(mark) = &self.mark {
            let _ = self.file.rewind().and_then(|()| self.file.write_all(mark.as_bytes()));
        }
        // Explicitly: a child between fork and exec may still have the file open.
        let _ = flock(&self.file, FlockOperation::Unlock);
        Released::again();
    }
}

/// How many locks this process had released at some time. Its own threads wait for each other most, and for milliseconds: they need
/// not sleep through the end of that.
struct Released(u64);

static RELEASED: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

impl Released {
    fn so_far() -> Self {
        Self(*RELEASED.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn again() {
        *RELEASED.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        RELEASED.1.notify_all();
    }

    /// Waits until this process releases a lock, but no longer than `limit`: the holder may be another process.
    fn wait(self, limit: Duration) {
        let now = RELEASED.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = RELEASED.1.wait_timeout_while(now, limit, |now| *now == self.0);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(same(&ours, &there)),
        Err(error) if durable::missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn holder(mut file: File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let (pid, command) = text.split_once(' ')?;
    Some(Holder { pid: pid.parse().ok()?, command: command.to_owned() })
}

fn failure(path: &Path, source: io::Error) -> LockError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::ReadOnlyFilesystem => LockError::ReadOnly { path },
        ErrorKind::PermissionDenied => LockError::NotAllowed { path },
        _ => LockError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc;

    const QUIET: Patience<'static> = Patience { limit: Some(Duration::ZERO), on_wait: &|_| {} };

    fn place() -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join(".dkms/locks/a@1");
        (tmp, path)
    }

    #[test]
    fn one_holder_at_a_time_and_its_name_is_known() {
        let (_tmp, path) = place();
        let first = lock(&path, QUIET).unwrap();
        let named = RefCell::new(Vec::new());
        let patience = Patience {
            limit: Some(Duration::from_millis(500)),
            on_wait: &|holder| named.borrow_mut().push(holder.pid),
        };
        let error = lock(&path, patience).unwrap_err();
        let LockError::Timeout { holder: Some(holder), .. } = error else { unreachable!("{error}") };
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.command.is_empty());
        assert_eq!(*named.borrow(), [std::process::id()]);
        drop(first);
        assert_eq!(fs::read(&path).unwrap(), b"");
        lock(&path, QUIET).unwrap();
    }

    #[test]
    fn a_mark_tells_whether_anybody_else_has_held_it() {
        let (_tmp, path) = place();
        let before = |mark: &str| String::from_utf8(lock_marked(&path, QUIET, mark.to_owned()).unwrap().1).unwrap();
        assert_eq!([before("left by 1"), before("left by 2"), before("left by 1")], ["", "left by 1", "left by 2"]);
        assert_eq!(holder(open(&path).unwrap()), None);
        let held = lock_marked(&path, QUIET, "left by 3".to_owned()).unwrap().0;
        assert!(holder(open(&path).unwrap()).unwrap().is_this_process());
        assert!(is_own(&fs::read(&path).unwrap()));
        // Killed: nothing is left in its name.
        flock(&held.file, FlockOperation::Unlock).unwrap();
        std::mem::forget(held);
        assert!(is_own(before("left by 4").as_bytes()));
        drop(lock(&path, QUIET).unwrap());
        assert_eq!(before("left by 5"), "");
    }

    #[test]
    fn whoever_waits_gets_it() {
        let (_tmp, path) = place();
        let first = lock(&path, QUIET).unwrap();
        let (waiting, is_waiting) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let patience = Patience { limit: None, on_wait: &|_| waiting.send(()).unwrap() };
            lock(&path, patience).unwrap();
        });
        is_waiting.recv().unwrap();
        drop(first);
        thread.join().unwrap();
    }

    #[test]
    fn our_parents_lock_is_an_error_at_once() {
        let (_tmp, path) = place();
        durable::own_dirs(path.parent().unwrap()).unwrap();
        let mut held = open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        write!(held, "{} make all", std::os::unix::process::parent_id()).unwrap();
        let forever = Patience { limit: None, on_wait: &|_| {} };
        let error = lock(&path, forever).unwrap_err();
        assert!(matches!(error, LockError::Nested { .. }), "{error}");
    }

    #[test]
    fn a_file_unlinked_by_somebody_is_no_lock() {
        let (_tmp, path) = place();
        let first = lock(&path, QUIET).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&first.file, &path).unwrap());
        let second = lock(&path, QUIET).unwrap();
        assert!(is_at(&second.file, &path).unwrap());
    }

    #[test]
    fn only_what_nobody_holds_is_discarded() {
        let (_tmp, path) = place();
        let held = lock(&path, QUIET).unwrap();
        discard(&path);
        assert!(path.exists());
        drop(held);
        discard(&path);
        assert!(!path.exists());
        discard(&path);
        assert!(!path.exists());
    }

    #[test]
    fn a_program_does_not_inherit_it() {
        let (_tmp, path) = place();
        let held = lock(&path, QUIET).unwrap();
        let mut child = crate::process::command("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        // Without the explicit unlock of drop: closing must be enough when nobody inherited it.
        let file = held.file.try_clone().unwrap();
        std::mem::forget(held);
        let fds = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
        let inherited = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).any(|target| target == path);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!inherited);
        drop(file);
    }

    #[test]
    fn a_read_only_place_is_named() {
        let error = failure(Path::new("/x/lock"), ErrorKind::ReadOnlyFilesystem.into());
        assert!(error.to_string().contains("read-only"), "{error}");
        let error = lock(Path::new("/proc/.dkms/lock"), QUIET).unwrap_err();
        assert!(error.to_string().contains("/proc/.dkms/lock"), "{error}");
    }
}
