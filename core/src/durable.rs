//! Files that survive a kill and a power loss: write, fsync, rename, fsync the directory.

mod read;

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

pub use read::{bytes, named, open_regular, read, read_at_most, text};

/// What begins the name of everything that is being put in place. Readers pass over dot names.
pub const NEW: &str = ".dkms-new-";
/// What begins the name of everything that is being taken away.
pub const OLD: &str = ".dkms-old-";

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}{}", .path.display(), advice(.source, .path))]
pub struct FileError {
    /// The operation, as it follows "cannot".
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Gives an I/O error its operation and its path; made for `map_err`.
pub fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { doing, path, source }
}

fn advice(error: &io::Error, path: &Path) -> String {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "; mount the file system writable and try again".to_owned(),
        ErrorKind::StorageFull => {
            let there = path.ancestors().find(|dir| dir.exists()).and_then(space);
            let left = there.map_or_else(String::new, |space| format!(", which has {space},"));
            format!("; free some space on the file system{left} and try again")
        }
        ErrorKind::QuotaExceeded => "; free some of the quota and try again".to_owned(),
        ErrorKind::PermissionDenied => "; this needs root".to_owned(),
        _ => String::new(),
    }
}

/// The room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is left for those who are not root.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// What caches leave free of a file system: this part of it, or so many bytes where that is less. A full disk is worse than work
/// that is done again.
const LEFT_FREE_PART: u64 = 20;
const LEFT_FREE: u64 = 1 << 30;

impl Space {
    /// Whether a cache may write `bytes` more.
    pub fn has_room_for_cache(self, bytes: u64) -> bool {
        self.free >= bytes.saturating_add(LEFT_FREE.min(self.total / LEFT_FREE_PART))
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} left", size(self.free), size(self.total))
    }
}

/// A number of bytes in the largest unit that leaves a digit before the point.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes >> shift > 0);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

/// The room on the file system of `path`; `None` if it does not tell.
pub fn space(path: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let space =
        Space { free: stat.f_bavail.checked_mul(stat.f_frsize)?, total: stat.f_blocks.checked_mul(stat.f_frsize)? };
    (space.total > 0).then_some(space)
}

/// A word that no other change, of any process, has: `<pid>-<16 hexadecimal digits>`.
pub fn unique() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{random:016x}", std::process::id())
}

/// Writes a file under a name that does not exist yet, with exactly `mode`, without fsync. After an error it is not there.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<fs::File, FileError> {
    fill_new(path, mode, |file| file.write_all(bytes))
}

/// Copies a regular file to a name that does not exist yet, with exactly `mode`, without fsync. After an error it is not there.
pub fn copy_new(from: &Path, to: &Path, mode: u32) -> Result<fs::File, FileError> {
    let mut source = open_regular(from).map_err(at("open", from))?;
    fill_new(to, mode, |file| io::copy(&mut source, file).map(drop))
}

fn fill_new(path: &Path, mode: u32, fill: impl FnOnce(&mut fs::File) -> io::Result<()>) -> Result<fs::File, FileError> {
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at("create", path))?;
    // As long as it is being written: see `sweep`.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    // Not left to open(2): the umask of whoever started us must not decide.
    let mode_set = file.set_permissions(fs::Permissions::from_mode(mode)).map_err(at("set the mode of", path));
    let filled = mode_set.and_then(|()| fill(&mut file).map_err(at("write", path)));
    or_remove(path, filled)?;
    Ok(file)
}

/// Deletes the new file `path` if what was to be done with it has failed.
fn or_remove<T>(path: &Path, done: Result<T, FileError>) -> Result<T, FileError> {
    if done.is_err() {
        let _ = fs::remove_file(path);
    }
    done
}

/// Gives `file`, which is at `temp`, the name `path`, in a directory on the same file system, when its content is durable.
/// After an error before that it has no name; its directory is the caller's to sync.
pub fn put_in_place(file: &fs::File, temp: &Path, path: &Path) -> Result<(), FileError> {
    or_remove(temp, file.sync_all().map_err(at("write", temp)))?;
    name(temp, path)
}

/// Gives the file at `temp`, whose content is durable, the name `path` in the same directory. After an error it has no name; the
/// directory is the caller's to sync.
pub fn name(temp: &Path, path: &Path) -> Result<(), FileError> {
    or_remove(temp, fs::rename(temp, path).map_err(at("replace", path)))
}

/// Copies a regular file or a symbolic link with mode, modification time and, where allowed,
/// owner, to a name that does not exist yet, without fsync.
pub fn copy_as_is(from: &Path, to: &Path) -> Result<(), FileError> {
    let meta = fs::symlink_metadata(from).map_err(at("look at", from))?;
    if meta.is_symlink() {
        let target = fs::read_link(from).map_err(at("read the link", from))?;
        return std::os::unix::fs::symlink(target, to).map_err(at("create the link", to));
    }
    let file = copy_new(from, to, meta.permissions().mode() & 0o7777)?;
    let _ = fchown(&file, Some(meta.uid()), Some(meta.gid()));
    if let Ok(time) = meta.modified() {
        file.set_modified(time).map_err(at("set the time of", to))?;
    }
    Ok(())
}

/// Replaces (or creates) a file so that it is there with the old content or the new, whatever
/// happens. Its directory must exist.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write_atomic_by(&path.with_file_name(format!("{NEW}{}", unique())), path, bytes, mode)
}

/// The same by way of `temp` in the same directory, a name that whoever cleans up after a kill knows.
pub fn write_atomic_by(temp: &Path, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let file = write_new(temp, bytes, mode)?;
    put_in_place(&file, temp, path)?;
    sync(path.parent().unwrap_or(Path::new(".")))
}

/// Makes a file's content, or a directory's list of names, survive a power loss.
pub fn sync(path: &Path) -> Result<(), FileError> {
    let file = fs::File::open(path).map_err(at("open", path))?;
    match file.sync_all() {
        // A file system that can't fsync a directory says so with EINVAL (fsync(2)).
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        end => end.map_err(at("write", path)),
    }
}

/// As [`sync`], for a whole tree; symbolic links are not followed.
pub fn sync_tree(path: &Path) -> Result<(), FileError> {
    let meta = fs::symlink_metadata(path).map_err(at("look at", path))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(at("read", path))? {
            sync_tree(&entry.map_err(at("read", path))?.path())?;
        }
    } else if !meta.is_file() {
        return Ok(());
    }
    sync(path)
}

/// What anybody may read below `.dkms`: what came of builds, and sources that a package's link leads to. Build directories,
/// journals and locks are nobody else's business.
const PUBLIC: [&str; 3] = ["images", "records", "superseded"];

/// Makes the directory `path` and the missing ones above it. A component called `.dkms` may be passed through by anybody
/// (0711); what is below it is for root alone (0700) but for [`PUBLIC`] (0755, as what is above).
pub fn own_dirs(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut here = PathBuf::new();
    let mut mode = 0o755;
    for part in path.components() {
        let word = part.as_os_str();
        mode = match mode {
            _ if word == ".dkms" => 0o711,
            0o711 if PUBLIC.iter().any(|name| word == *name) => 0o755,
            0o711 => 0o700,
            above => above,
        };
        here.push(part);
        match fs::DirBuilder::new().mode(mode).create(&here) {
            // Whatever the umask is.
            Ok(()) => {
                fs::set_permissions(&here, fs::Permissions::from_mode(mode)).map_err(at("set the mode of", &here))?;
            }
            Err(_) if here.is_dir() => {}
            Err(error) => return Err(at("create the directory", &here)(error)),
        }
    }
    Ok(())
}

/// Makes the directory `path` and the missing ones above it, each with this `mode` whatever the umask is.
pub fn make_dirs(path: &Path, mode: u32) -> Result<(), FileError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.is_dir()).collect();
    for dir in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(mode).create(dir) {
            Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(at("set the mode of", dir))?,
            Err(_) if dir.is_dir() => {}
            Err(error) => return Err(at("create the directory", dir)(error)),
        }
    }
    Ok(())
}

/// Whether `path` is a directory of this process's user that nobody else may write to.
pub fn is_own_dir(path: &Path) -> bool {
    let is_ours = |meta: &fs::Metadata| {
        meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
    };
    fs::symlink_metadata(path).is_ok_and(|meta| is_ours(&meta))
}

/// Deletes a file, a link or a whole directory; one that is not there is no error.
pub fn remove_any(path: &Path) -> Result<(), FileError> {
    let meta = match fs::symlink_metadata(path) {
        // Nor is it there if something above it is no directory.
        Err(error) if missing(&error) || error.kind() == ErrorKind::NotADirectory => return Ok(()),
        other => other.map_err(at("look at", path))?,
    };
    let gone = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    let gone = match gone {
        // It keeps each directory on its way open: some are nested more deeply than that goes (getrlimit(2)).
        Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => flatten(path),
        other => other,
    };
    match gone {
        Err(error) if missing(&error) => Ok(()),
        other => other.map_err(at("delete", path)),
    }
}

/// Deletes a directory, however deep it is: what is two levels down is taken up one level until nothing is.
fn flatten(top: &Path) -> io::Result<()> {
    let mut count = 0_u64;
    loop {
        let mut found = false;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            found = true;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    count += 1;
                    fs::rename(inner.path(), top.join(format!("{OLD}{}-{count}", unique())))?;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(entry.path())?;
        }
        if !found {
            return fs::remove_dir(top);
        }
    }
}

/// Deletes the temporary files that [`write_atomic`] of killed processes left in `dir`.
pub fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(NEW)) else { continue };
        // Its process number means nothing in another namespace, nor does a lock in the moment before it is taken.
        let gone = rest.split('-').next().is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        let is_free = |file: fs::File| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if gone && open_regular(&entry.path()).is_ok_and(is_free) {
            if let Err(error) = remove_any(&entry.path()) {
                log::warn!("{error}");
            }
        }
    }
}

/// Removes `dir` and the directories above it as long as they are empty; never `up_to` itself
/// nor anything above or outside it.
pub fn prune(dir: &Path, up_to: &Path) -> Result<(), FileError> {
    for dir in dir.ancestors() {
        if dir == up_to || !dir.starts_with(up_to) {
            break;
        }
        match fs::remove_dir(dir) {
            Ok(()) => {}
            Err(error) if missing(&error) => {}
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => break,
            // A link or a file where a directory was: not ours.
            Err(error) if error.kind() == ErrorKind::NotADirectory => break,
            Err(error) => return Err(at("remove the directory", dir)(error)),
        }
    }
    Ok(())
}

/// Whether an error means that the file is not there.
pub fn missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// No file of ours is longer, in bytes.
const LONGEST: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests of caches count on it, as far as their disk has a GiB.
    #[test]
    fn caches_leave_room_for_others() {
        let (mib, gib) = (1 << 20, 1 << 30);
        for (free, total, bytes, fits) in [
            (5 * mib, 100 * mib, 0, true),
            (5 * mib, 100 * mib, 1, false),
            (4 * mib, 100 * mib, 0, false),
            (2 * gib, 250 * gib, gib, true),
            (2 * gib, 250 * gib, gib + 1, false),
            (gib, u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(Space { free, total }.has_room_for_cache(bytes), fits, "{bytes} with {free} of {total}");
        }
    }

    /// A new file that can't be filled, or can't be given its name, is not left.
    #[test]
    fn what_fails_leaves_no_temporary_file() {
        let tmp = tempfile::tempdir().unwrap();
        let temp = tmp.path().join("temp");
        fill_new(&temp, 0o644, |_| Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(!temp.exists());
        let file = write_new(&temp, b"1", 0o644).unwrap();
        // Somebody else's file of that name is not ours to delete.
        write_new(&temp, b"2", 0o644).unwrap_err();
        assert_eq!(fs::read(&temp).unwrap(), b"1");
        put_in_place(&file, &temp, &tmp.path().join("nowhere/a")).unwrap_err();
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    fn atomic_writing_replaces_and_leaves_nothing_else() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a");
        write_atomic(&path, b"1", 0o640).unwrap();
        write_atomic(&path, b"2", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }

    /// What somebody else has put where a file of ours should be neither stops us nor fills the memory.
    #[test]
    fn only_regular_files_of_some_length_are_read() {
        let tmp = tempfile::tempdir().unwrap();
        let path = |name: &str| tmp.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        std::os::unix::fs::symlink(path("pipe"), path("link")).unwrap();
        fs::create_dir(path("dir")).unwrap();
        fs::File::create(path("long")).unwrap().set_len(LONGEST + 1).unwrap();
        for name in ["pipe", "zero", "link", "dir", "long"] {
            let error = read(&path(name)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            if name != "long" {
                assert!(copy_new(&path(name), &path("copy"), 0o644).is_err(), "{name}");
                assert!(crate::digest::Digest::of_file(&path(name)).is_err(), "{name}");
                assert!(crate::compress::read_module(&path(name)).is_err(), "{name}");
                assert!(crate::tree::compare::same_bytes(&path(name), &path("long")).is_err(), "{name}");
            }
        }
        fs::write(path("file"), "1").unwrap();
        assert_eq!(read(&path("file")).unwrap().unwrap(), b"1");
        assert_eq!(read(&path("none")).unwrap(), None);
        assert_eq!(read(&path("file/none")).unwrap(), None);
    }

    #[test]
    fn a_failed_write_says_where_and_leaves_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        fs::create_dir_all(path.join("full")).unwrap();
        let error = write_atomic(&path, b"1", 0o644).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }

    /// More deeply nested than files may be open.
    #[test]
    fn deep_directories_can_be_deleted() {
        let tmp = tempfile::tempdir().unwrap();
        let top = tmp.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut here = fs::File::open(&top).unwrap();
        for depth in 0..3000 {
            rustix::fs::mkdirat(&here, "d", rustix::fs::Mode::RWXU).unwrap();
            if depth % 100 == 0 {
                let file = rustix::fs::openat(
                    &here,
                    "f",
                    rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
                    rustix::fs::Mode::RUSR,
                );
                drop(file.unwrap());
            }
            let next =
                rustix::fs::openat(&here, "d", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
            here = fs::File::from(next);
        }
        drop(here);
        // Whatever the limit is.
        flatten(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn what_killed_writers_left_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let path = |name: &str| tmp.path().join(name);
        // No process has such a number (proc_sys_kernel(5), pid_max).
        let dead = path(&format!("{NEW}99999999-0"));
        fs::write(&dead, "half").unwrap();
        let writing = path(&format!("{NEW}99999998-0"));
        let file = write_new(&writing, b"half", 0o600).unwrap();
        fs::write(path("other"), "").unwrap();
        sweep(tmp.path());
        assert!(!dead.exists() && writing.exists() && path("other").exists());
        drop(file);
        sweep(tmp.path());
        assert!(!writing.exists());
    }

    #[test]
    fn pruning_stops_at_the_limit_and_at_company() {
        let tmp = tempfile::tempdir().unwrap();
        let top = tmp.path().join("m");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        prune(&top.join("a/b/c"), &top).unwrap();
        assert!(top.is_dir() && !top.join("a").exists());
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::write(top.join("a/file"), "").unwrap();
        prune(&top.join("a/b/c"), &top).unwrap();
        assert!(top.join("a/file").exists() && !top.join("a/b").exists());
    }

    #[test]
    fn who_may_see_own_directories() {
        let tmp = tempfile::tempdir().unwrap();
        for dir in ["journal", "work/1-a", "records/m/1", "superseded/m"] {
            own_dirs(&tmp.path().join("t/.dkms").join(dir)).unwrap();
        }
        let mode = |p: &str| fs::metadata(tmp.path().join(p)).unwrap().permissions().mode() & 0o777;
        for (dir, expected) in [
            ("t", 0o755),
            ("t/.dkms", 0o711),
            ("t/.dkms/journal", 0o700),
            ("t/.dkms/work", 0o700),
            ("t/.dkms/work/1-a", 0o700),
            ("t/.dkms/records", 0o755),
            ("t/.dkms/records/m/1", 0o755),
            ("t/.dkms/superseded/m", 0o755),
        ] {
            assert_eq!(mode(dir), expected, "{dir}: {:o}", mode(dir));
        }
    }
}
