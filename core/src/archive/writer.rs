//! Writing DKMS archives: the classic's layout (docs/contract.md 2.7), the same bytes for the same content.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::FlockOperation;

use super::codec::{self, Format};
use super::layout::{BINARIES_ONLY, MAIN_TREE, SOURCE_TREE};
use super::{links, secret};
use crate::digest::Digest;
use crate::durable;
use crate::names::{Kernel, Package};

/// The classic gives up naming every kernel when their list gets longer than about this.
const MAX_KERNEL_LIST: usize = 200;

/// What to archive.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The package.
    pub package: &'a Package,
    /// What stands for its source.
    pub source: Source<'a>,
    /// Its kernels and their artefacts' directories; empty for source only. Any order.
    pub artefacts: Vec<(Kernel, PathBuf)>,
    /// Every file's modification time in seconds since 1970, usually `SOURCE_DATE_EPOCH`;
    /// without it, the newest of the archived files' times.
    pub mtime: Option<i64>,
    /// Files that must not get in (the signing key, wherever it is configured to be); missing ones don't matter.
    pub forbidden: &'a [PathBuf],
}

/// What stands for the source in an archive.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// All of it: its directory (itself, not a link to it).
    Tree(&'a Path),
    /// Only the dkms.conf, at this path (`--binaries-only`).
    ConfOnly(&'a Path),
}

/// Why no archive was written. Nothing is left at its place, and an older one there is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Reading or writing failed.
    #[error("the archive cannot be written: {0}")]
    Io(#[from] io::Error),
    /// A private key.
    #[error("{} is not archived because it is {what}.\nMove it out of the package; private keys never enter an archive.", path.display())]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// How it was recognised.
        what: &'static str,
    },
    /// A link that the reader would refuse.
    #[error("{} is a link to {} and cannot be archived: {why}.\nReplace it with a copy of its target.", path.display(), target.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A socket, pipe or device.
    #[error("{} is neither a file, a directory nor a link, and cannot be archived.", .0.display())]
    Kind(PathBuf),
    /// A name that the reader would refuse.
    #[error("{} cannot be archived: its name is not printable UTF-8.", .0.display())]
    Name(PathBuf),
}

/// The file name that the classic gives an archive of these kernels.
pub fn file_name(package: &Package, kernels: &[Kernel]) -> String {
    let start = format!("{}-{}", package.name, package.version);
    if kernels.is_empty() {
        return format!("{start}-source-only.dkms.tar.gz");
    }
    let list: Vec<_> = kernels.iter().map(|k| format!("{}-{}", k.release, k.arch)).collect();
    let list = list.join("-");
    if list.len() > MAX_KERNEL_LIST {
        return format!("{start}-manykernels.dkms.tar.gz");
    }
    format!("{start}-kernel{list}.dkms.tar.gz")
}

/// Writes the archive to `target`, compressed as its name says, by way of a temporary file beside it.
pub fn write(plan: &Plan<'_>, target: &Path) -> Result<(), WriteError> {
    let mut entries = entries(plan)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let newest = entries.iter().map(|e| e.mtime).max().unwrap_or(0);
    let mtime = u64::try_from(plan.mtime.unwrap_or(newest)).unwrap_or(0);
    let forbidden = Forbidden::new(plan.forbidden);
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Of killed runs.
    durable::sweep(parent);
    let temporary = Temporary::beside(target)?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary.0)?;
    // Others see by it that this run lives, also from another process-id namespace.
    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    let mut file = codec::encode(Format::of_name(target), io::BufWriter::new(file), |out| {
        let mut tar = tar::Builder::new(out);
        for entry in &entries {
            append(&mut tar, entry, mtime, &forbidden)?;
        }
        tar.finish().map_err(WriteError::from)
    })?;
    file.flush()?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&temporary.0, target)?;
    // The name has to last too.
    fs::File::open(parent)?.sync_all()?;
    Ok(())
}

/// Removed when dropped, unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(target: &Path) -> io::Result<Self> {
        let name =
            target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the archive has no name"))?;
        let path = target.with_file_name(format!(".dkms-new-{}-{}", std::process::id(), name.to_string_lossy()));
        let _ = std::fs::remove_file(&path);
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Entry {
    name: String,
    from: PathBuf,
    mtime: i64,
    what: What,
}

enum What {
    Directory,
    File { executable: bool },
    Text(String),
    Link(PathBuf),
}

fn entries(plan: &Plan<'_>) -> Result<Vec<Entry>, WriteError> {
    let mut all = Vec::new();
    let directory = |name: String| Entry { name, from: PathBuf::new(), mtime: 0, what: What::Directory };
    // Always there: the classic tells its own archives by it.
    all.push(directory(format!("./{MAIN_TREE}")));
    match plan.source {
        Source::Tree(dir) => {
            if !fs::symlink_metadata(dir)?.is_dir() {
                return Err(WriteError::Kind(dir.to_owned()));
            }
            if let Some(stray) = links::first_stray(dir)? {
                return Err(WriteError::Link { path: dir.join(stray.link), target: stray.target, why: stray.why });
            }
            collect(dir, &format!("./{SOURCE_TREE}"), &mut all)?;
        }
        Source::ConfOnly(conf) => {
            let text = |name: &str, text: &str| Entry {
                name: format!("./{BINARIES_ONLY}/{name}"),
                from: PathBuf::new(),
                mtime: 0,
                what: What::Text(format!("{text}\n")),
            };
            all.push(directory(format!("./{BINARIES_ONLY}")));
            all.push(text("PACKAGE_NAME", plan.package.name.as_str()));
            all.push(text("PACKAGE_VERSION", plan.package.version.as_str()));
            // dkms.conf may be a link in a source tree; its content is what counts here.
            all.push(Entry {
                name: format!("./{BINARIES_ONLY}/dkms.conf"),
                from: conf.to_owned(),
                mtime: fs::metadata(conf)?.mtime(),
                what: What::File { executable: false },
            });
        }
    }
    let mut releases = std::collections::BTreeSet::new();
    for (kernel, dir) in &plan.artefacts {
        let release = format!("./{MAIN_TREE}/{}", kernel.release);
        if releases.insert(release.clone()) {
            all.push(directory(release.clone()));
        }
        collect(dir, &format!("{release}/{}", kernel.arch), &mut all)?;
    }
    Ok(all)
}

fn collect(path: &Path, name: &str, all: &mut Vec<Entry>) -> Result<(), WriteError> {
    let meta = fs::symlink_metadata(path)?;
    let what = if meta.is_dir() {
        What::Directory
    } else if meta.is_symlink() {
        What::Link(fs::read_link(path)?)
    } else if meta.is_file() {
        What::File { executable: meta.mode() & 0o111 != 0 }
    } else {
        return Err(WriteError::Kind(path.to_owned()));
    };
    all.push(Entry { name: name.to_owned(), from: path.to_owned(), mtime: meta.mtime(), what });
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            match path.file_name().and_then(|n| n.to_str()) {
                Some(leaf) if !leaf.chars().any(char::is_control) => {
                    collect(&path, &format!("{name}/{leaf}"), all)?;
                }
                _ => return Err(WriteError::Name(path)),
            }
        }
    }
    Ok(())
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    entry: &Entry,
    mtime: u64,
    forbidden: &Forbidden,
) -> Result<(), WriteError> {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    let kind = match entry.what {
        What::Directory => tar::EntryType::Directory,
        What::Link(_) => tar::EntryType::Symlink,
        What::File { .. } | What::Text(_) => tar::EntryType::Regular,
    };
    header.set_entry_type(kind);
    match &entry.what {
        What::Directory => {
            header.set_mode(0o755);
            put_entry(tar, &mut header, &format!("{}/", entry.name), None, &[])?;
        }
        What::Link(target) => {
            header.set_mode(0o777);
            put_entry(tar, &mut header, &entry.name, Some(target), &[])?;
        }
        What::Text(text) => {
            header.set_mode(0o644);
            put_entry(tar, &mut header, &entry.name, None, text.as_bytes())?;
        }
        What::File { executable } => {
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            let content = forbidden.read(&entry.from)?;
            put_entry(tar, &mut header, &entry.name, None, &content)?;
        }
    }
    Ok(())
}

/// Writes one entry, whose `header` needs its kind, mode, owner and time only, under exactly this name: the crate's own
/// `append_data` would drop the leading `./`, which
/// the classic's archives have. What doesn't fit in a header goes in front as GNU tar does it.
pub fn put_entry(
    tar: &mut tar::Builder<impl Write>,
    header: &mut tar::Header,
    name: &str,
    link: Option<&Path>,
    content: &[u8],
) -> io::Result<()> {
    let link = link.map(|l| l.as_os_str().as_bytes()).unwrap_or_default();
    for (kind, text, start) in [(b'K', link, 157), (b'L', name.as_bytes(), 0)] {
        let short = &text[..text.len().min(100)];
        header.as_mut_bytes()[start..start + short.len()].copy_from_slice(short);
        if text.len() > 99 {
            let mut long = tar::Header::new_gnu();
            long.set_entry_type(tar::EntryType::new(kind));
            long.as_mut_bytes()[..13].copy_from_slice(b"././@LongLink");
            long.set_mode(0o644);
            long.set_uid(0);
            long.set_gid(0);
            long.set_mtime(0);
            long.set_size(text.len() as u64 + 1);
            long.set_cksum();
            tar.append(&long, &*[text, b"\0"].concat())?;
        }
    }
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(header, content)
}

/// Files that must not get in, by identity and by content.
struct Forbidden {
    files: Vec<((u64, u64), u64, Option<Digest>)>,
}

impl Forbidden {
    fn new(paths: &[PathBuf]) -> Self {
        let files = paths.iter().filter_map(|path| {
            let meta = fs::metadata(path).ok()?;
            Some(((meta.dev(), meta.ino()), meta.len(), Digest::of_file(path).ok()))
        });
        Self { files: files.collect() }
    }

    /// The content of `path`, unless it is a private key. It is checked as read, so that a file that is
    /// replaced in between can't slip through.
    fn read(&self, path: &Path) -> Result<Vec<u8>, WriteError> {
        let refused = |what| WriteError::PrivateKey { path: path.to_owned(), what };
        let mut file = fs::File::open(path)?;
        let meta = file.metadata()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        for (identity, length, digest) in &self.files {
            let same_content = *length == content.len() as u64 && *length > 0 && *digest == Some(Digest::of(&content));
            if *identity == (meta.dev(), meta.ino()) || same_content {
                return Err(refused("the signing key"));
            }
        }
        secret::private_key(&content).map_or(Ok(content), |what| Err(refused(what)))
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
