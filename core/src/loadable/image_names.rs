//! The names of the modules in a kernel's initramfs, remembered for as long as the image is the same file: finding them out
//! means to decompress all of it, and most images hold none of ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::image;
use crate::durable;
use crate::names::Release;
use crate::tree::Trees;
use crate::tree::identity::Identity;

/// What is remembered of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageNames {
    /// The image that was read.
    image: Identity,
    /// Its modules, as modprobe calls them.
    pub names: BTreeSet<String>,
}

impl ImageNames {
    /// What is remembered of the image at `path`; `None` if nothing is, or of another file.
    pub fn of(trees: &Trees, release: &Release, path: &Path) -> Option<Self> {
        let text = durable::bytes(&file(trees, release)).ok()?;
        let known: Self = serde_json::from_slice(&text).ok()?;
        (known.image == identity(path).ok()?).then_some(known)
    }

    /// Reads the image at `path`, where nothing is remembered of it. What can't be read or written is not remembered.
    pub fn remember(trees: &Trees, release: &Release, path: &Path) {
        if Self::of(trees, release, path).is_some() {
            return;
        }
        if let Err(error) = Self::read(path).and_then(|found| found.store(trees, release)) {
            log::info!("{}: {error}", path.display());
        }
    }

    fn read(path: &Path) -> std::io::Result<Self> {
        // Before it is read: what is exchanged meanwhile shows the next time.
        let image = identity(path)?;
        let mut names = BTreeSet::new();
        image::names(path, &mut names)?;
        Ok(Self { image, names })
    }

    fn store(&self, trees: &Trees, release: &Release) -> std::io::Result<()> {
        let path = file(trees, release);
        durable::own_dirs(&trees.state(DIR)).map_err(std::io::Error::other)?;
        let bytes = serde_json::to_vec(self)?;
        trees.write(&path, &bytes, 0o644).map_err(std::io::Error::other)
    }
}

/// Of the image, not of a link that leads to it.
fn identity(path: &Path) -> std::io::Result<Identity> {
    fs_err::metadata(path).map(|meta| Identity::of(&meta))
}

/// Forgets the images of kernels that are gone.
pub fn forget_gone(trees: &Trees) {
    for entry in std::fs::read_dir(trees.state(DIR)).into_iter().flatten().flatten() {
        let release = entry.file_name().to_str().and_then(|name| Release::new(name).ok());
        if release.is_none_or(|release| !trees.modules_dir(&release).is_dir()) {
            if let Err(error) = fs_err::remove_file(entry.path()) {
                log::info!("{error}");
            }
        }
    }
}

const DIR: &str = "images";

fn file(trees: &Trees, release: &Release) -> PathBuf {
    trees.state(DIR).join(release.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::image::tests::cpio;
    use super::*;
    use crate::root::Root;

    #[test]
    fn they_are_of_that_very_image() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1").unwrap();
        fs_err::create_dir_all(trees.modules_dir(&release)).unwrap();
        fs_err::create_dir_all(trees.own()).unwrap();
        let path = tmp.path().join("initrd");
        let known = || ImageNames::of(&trees, &release, &path).map(|known| known.names.into_iter().collect::<Vec<_>>());
        let make = |files: &[(&str, &[u8])]| {
            fs_err::write(&path, cpio(files)).unwrap();
            ImageNames::remember(&trees, &release, &path);
        };
        ImageNames::remember(&trees, &release, &path);
        assert_eq!(known(), None);
        make(&[("lib/modules/6.1/kernel/my-mod.ko.xz", b"x"), ("init", b""), ("lib/a.ko", b"y")]);
        assert_eq!(known(), Some(vec!["a".to_owned(), "my_mod".to_owned()]));
        fs_err::write(&path, cpio(&[("lib/b.ko", b"y")])).unwrap();
        assert_eq!(known(), None, "another image");
        let link = tmp.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        ImageNames::remember(&trees, &release, &link);
        assert!(ImageNames::of(&trees, &release, &link).is_some());
        fs_err::write(&path, cpio(&[("lib/b.ko", b"yy"), ("lib/c.ko", b"")])).unwrap();
        assert_eq!(ImageNames::of(&trees, &release, &link), None, "it leads to another image");
        make(&[("lib/b.ko", b"y")]);
        assert_eq!(known(), Some(vec!["b".to_owned()]));
        forget_gone(&trees);
        assert!(known().is_some());
        fs_err::remove_dir(trees.modules_dir(&release)).unwrap();
        forget_gone(&trees);
        assert_eq!(known(), None);
    }
}
