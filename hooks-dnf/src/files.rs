//! The packages' files: where they are before rpm gets them, and what their headers say. The payload is left alone.
//!
//! Reading takes the rpm crate, which takes a newer compiler than the rest: it is a feature, `read-rpm`. Without it, and
//! of files that are not there yet, names are all there is to go by.

use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::transaction::Package;

/// Why a file tells nothing. Nobody needs to hear of it: the name is gone by then.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read, or is no package, or not all of it is there.
    #[cfg(feature = "read-rpm")]
    #[error("{path}: {source}", path = .path.display())]
    Rpm {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rpm::Error,
    },
    /// It is another package than the one that was looked for.
    #[cfg(feature = "read-rpm")]
    #[error("{} is another package", .0.display())]
    Another(PathBuf),
    /// There is no such file, or this program was built without what reads it.
    #[error("there is no file to read")]
    Absent,
}

/// Looks into the file of every package that comes, where there is one. `cache` is where dnf keeps what it has downloaded:
/// `<repository>-<digest>/packages/` in it (libdnf5's layout; dnf4 tells where each file is).
pub fn look_into(packages: &mut [Package], cache: Option<&Path>) {
    for package in packages.iter_mut().filter(|package| package.comes()) {
        if let Ok((contents, size)) = read_one(package, cache) {
            package.contents = Some(contents);
            package.install_size = size;
        }
    }
}

fn read_one(package: &Package, cache: Option<&Path>) -> Result<(Contents, u64), FileError> {
    for path in candidates(package, cache) {
        if let Ok(found) = read(&path, package) {
            return Ok(found);
        }
    }
    Err(FileError::Absent)
}

/// The files that may be the package's. What they are, their headers say.
fn candidates(package: &Package, cache: Option<&Path>) -> Vec<PathBuf> {
    let Package { name, version, release, arch, repo_id, location, .. } = package;
    let location = Path::new(location.strip_prefix("file://").unwrap_or(location));
    let usual = format!("{name}-{version}-{release}.{arch}.rpm");
    let file = location.file_name().map_or(Path::new(&usual), Path::new);
    let mut found = vec![location.to_path_buf()];
    // The digest in the directory's name is of the repository's addresses: dnf's own business.
    let start = format!("{repo_id}-");
    let ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&start);
    for entry in cache.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten().filter(ours) {
        found.push(entry.path().join("packages").join(file));
    }
    found.retain(|path| path.is_file());
    found
}

/// What the header of the file says, and the size of what is in it.
///
/// The file need not be a trusted one: its signature may be checked later, or not at all. Should the rpm crate panic over
/// its header, this process dies (`panic=abort`), and the transaction goes on without the look: dnf5 logs "Terminated by
/// signal" and no more (`raise_error=0`; tried with 5.4 and actions that die at once, after an answer, and in the middle
/// of a line), dnf4's plugin takes a program that failed for no answer. A stop is sent when all files have been read.
#[cfg(feature = "read-rpm")]
fn read(path: &Path, package: &Package) -> Result<(Contents, u64), FileError> {
    let broken = |source| FileError::Rpm { path: path.to_owned(), source };
    let header = rpm::PackageMetadata::open(path).map_err(broken)?;
    let is = |value: Result<&str, rpm::Error>, wanted: &str| value.is_ok_and(|value| value == wanted);
    let same = is(header.get_name(), &package.name)
        && is(header.get_version(), &package.version)
        && is(header.get_release(), &package.release)
        && is(header.get_arch(), &package.arch);
    if !same {
        return Err(FileError::Another(path.to_owned()));
    }
    let paths = header.get_file_paths().map_err(broken)?;
    let paths = paths.iter().filter_map(|path| path.to_str());
    Ok((Contents::of(paths, &package.version), header.get_installed_size().unwrap_or(package.install_size)))
}

#[cfg(not(feature = "read-rpm"))]
fn read(_: &Path, _: &Package) -> Result<(Contents, u64), FileError> {
    Err(FileError::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "kernel-ml".into(),
            version: "9.9".into(),
            release: "1".into(),
            arch: "x86_64".into(),
            repo_id: "elrepo".into(),
            location: "k/kernel-ml-9.9-1.x86_64.rpm".into(),
            ..Package::default()
        }
    }

    #[test]
    fn looks_where_dnf_keeps_them() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = "kernel-ml-9.9-1.x86_64.rpm";
        let cached = dir.path().join("cache/elrepo-0123456789abcdef/packages").join(file);
        let other = dir.path().join("cache/other-0123/packages").join(file);
        for path in [&cached, &other] {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        assert_eq!(candidates(&package(), Some(&dir.path().join("cache"))), [cached]);
        // A file that the user named.
        let location = format!("file://{}", other.display());
        assert_eq!(candidates(&Package { location, ..package() }, None), [other]);
        assert_eq!(candidates(&package(), None), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_is_no_package_is_left_to_its_name() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("x.rpm");
        fs_err::write(&path, b"\xed\xab\xee\xdb\x03\x00 and no more").unwrap();
        let mut packages = [Package { location: path.to_string_lossy().into_owned(), ..package() }];
        look_into(&mut packages, None);
        assert_eq!(packages[0].contents, None);
    }

    #[cfg(feature = "read-rpm")]
    mod real {
        use super::*;

        /// A package with a kernel in it, written by the same crate.
        fn written(dir: &Path) -> PathBuf {
            let mut builder = rpm::PackageBuilder::new("kernel-ml", "9.9", "GPL-2.0-only", "x86_64", "A kernel");
            builder
                .using_config(rpm::BuildConfig::v4().compression(rpm::CompressionWithLevel::None))
                .release("1")
                .with_file_contents("image", rpm::FileOptions::new("/lib/modules/9.9-1.elrepo.x86_64/vmlinuz"))
                .unwrap();
            let path = dir.join("whatever.rpm");
            let mut bytes = Vec::new();
            builder.build().unwrap().write(&mut bytes).unwrap();
            fs_err::write(&path, bytes).unwrap();
            path
        }

        #[test]
        fn the_header_tells() {
            let dir = tempfile::TempDir::new().unwrap();
            let path = written(dir.path());
            let mut packages = [Package { location: path.to_string_lossy().into_owned(), ..package() }];
            look_into(&mut packages, None);
            let contents = packages[0].contents.clone().unwrap();
            assert_eq!(contents.kernels, std::collections::BTreeSet::from(["9.9-1.elrepo.x86_64".to_owned()]));
            assert_eq!(packages[0].install_size, 5);
        }

        #[test]
        fn another_package_or_half_of_one_tells_nothing() {
            let dir = tempfile::TempDir::new().unwrap();
            let path = written(dir.path());
            let other = Package { version: "9.10".into(), ..package() };
            assert!(matches!(read(&path, &other), Err(FileError::Another(_))));
            let bytes = fs_err::read(&path).unwrap();
            for length in [0, 50, 96, 100, 500, bytes.len() / 2] {
                fs_err::write(&path, &bytes[..length]).unwrap();
                let _ = read(&path, &package());
            }
            fs_err::write(&path, &bytes[..400]).unwrap();
            assert!(matches!(read(&path, &package()), Err(FileError::Rpm { .. })));
        }
    }
}
