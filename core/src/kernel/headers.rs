//! Where a kernel's headers are, and what they say about the kernel they belong to.

use std::path::{Path, PathBuf};

use crate::durable;
use crate::kernel::Error;
use crate::kernel::wrapper;
use crate::names::Release;
use crate::root::Root;
use crate::tree::Trees;

/// The build tree of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// For this process, every link followed.
    pub dir: PathBuf,
    /// As scripts and make get it (`$kernel_source_dir`): inside the root, links kept.
    pub inside: PathBuf,
}

/// What the headers' generated files say of the kernel they were made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generated {
    /// `UTS_RELEASE` of `include/generated/utsrelease.h`.
    pub release: Option<String>,
    /// `UTS_VERSION` (`#1 SMP … 2026-11-12`) of `utsversion.h`, or of `compile.h` before Linux 6.0.
    pub version: Option<String>,
    /// `LINUX_COMPILER` of `compile.h`.
    pub compiler: Option<String>,
}

impl Headers {
    /// Finds the headers of `release`: `given` (`--kernelsourcedir`, an inside path), or
    /// `<install tree>/<K>/build`, or `…/source` if that one is configured. Each must have an
    /// `include` directory.
    pub fn find(trees: &Trees, release: &Release, given: Option<&Path>) -> Result<Self, Error> {
        let mut looked = Vec::new();
        let modules = trees.install.inside.join(release);
        let candidates = match given {
            Some(dir) => vec![(dir.to_owned(), false)],
            // Debian's `source` leads to the common part, which can't be built against alone.
            None => vec![(modules.join("build"), false), (modules.join("source"), true)],
        };
        for (inside, must_be_configured) in candidates {
            let dir = canonical(&trees.root, &inside);
            let configured = dir.join(".config").exists() || dir.join("include/config/auto.conf").exists();
            if dir.join("include").is_dir() && (configured || !must_be_configured) {
                return Ok(Self { dir, inside });
            }
            looked.push(inside);
        }
        Err(Error::HeadersMissing { release: release.to_string(), looked })
    }

    /// The kernel's configuration: `given` (`--config`, an outer path), else `auto.conf`, else
    /// `.config`; `None` if there is none.
    pub fn config_file(&self, given: Option<&Path>) -> Option<PathBuf> {
        if let Some(file) = given {
            return Some(file.to_owned());
        }
        ["include/config/auto.conf", ".config"].into_iter().map(|name| self.dir.join(name)).find(|file| file.is_file())
    }

    /// The directory of the sources' own headers when they are apart from the generated ones
    /// (Debian, openSUSE, a build with `O=`), as an outer path.
    pub fn common(&self, root: &Root) -> Option<PathBuf> {
        let inside = wrapper::load(&self.dir)
            .and_then(|text| wrapper::source_tree(&text, &self.real_inside(root)))
            .or_else(|| {
                let link = self.dir.join("source");
                link.is_symlink().then(|| self.real_inside(root).join("source"))
            })?;
        let dir = canonical(root, &inside);
        (dir != self.dir && dir.join("include").is_dir()).then_some(dir)
    }

    /// The inside path of [`Headers::dir`], links followed.
    pub fn real_inside(&self, root: &Root) -> PathBuf {
        root.inside(&self.dir).unwrap_or_else(|| self.inside.clone())
    }

    /// What the generated files say.
    pub fn generated(&self) -> Generated {
        let read = |name: &str| durable::text(&self.dir.join("include/generated").join(name)).unwrap_or_default();
        let compile = read("compile.h");
        Generated {
            release: define(&read("utsrelease.h"), "UTS_RELEASE"),
            version: define(&read("utsversion.h"), "UTS_VERSION").or_else(|| define(&compile, "UTS_VERSION")),
            compiler: define(&compile, "LINUX_COMPILER"),
        }
    }
}

/// The outer path that an inside path leads to, links followed on the host as well.
fn canonical(root: &Root, inside: &Path) -> PathBuf {
    match root.canonical(inside) {
        Ok(real) => root.outer(&real),
        Err(_) => root.outer(inside),
    }
}

/// The string of `#define NAME "string"`.
fn define(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix("#define")?.trim_start();
        let rest = rest.strip_prefix(name)?;
        if !rest.starts_with([' ', '\t']) {
            return None;
        }
        let value = rest.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn world() -> (tempfile::TempDir, Trees, Release) {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1").unwrap();
        fs_err::create_dir_all(trees.modules_dir(&release)).unwrap();
        (tmp, trees, release)
    }

    #[test]
    fn missing_says_what_was_looked_for() {
        let (_tmp, trees, release) = world();
        let error = Headers::find(&trees, &release, None).unwrap_err();
        assert!(error.to_string().contains("/lib/modules/6.1/build"), "{error}");
        let error = Headers::find(&trees, &release, Some(Path::new("/x"))).unwrap_err();
        assert!(error.to_string().ends_with("in /x"), "{error}");
    }

    #[test]
    fn an_absolute_build_link_stays_in_the_root() {
        let (_tmp, trees, release) = world();
        let dir = trees.root.dir().join("usr/src/h");
        fs_err::create_dir_all(dir.join("include/config")).unwrap();
        symlink("/usr/src/h", trees.modules_dir(&release).join("build")).unwrap();
        let headers = Headers::find(&trees, &release, None).unwrap();
        assert_eq!(headers.dir, dir);
        assert_eq!(headers.inside, Path::new("/lib/modules/6.1/build"));
        assert_eq!(headers.config_file(None), None);
        fs_err::write(dir.join(".config"), "").unwrap();
        assert_eq!(headers.config_file(None), Some(dir.join(".config")));
        fs_err::write(dir.join("include/config/auto.conf"), "").unwrap();
        assert_eq!(headers.config_file(None), Some(dir.join("include/config/auto.conf")));
    }

    #[test]
    fn the_common_part_alone_is_no_headers() {
        let (_tmp, trees, release) = world();
        let common = trees.root.dir().join("usr/src/common");
        fs_err::create_dir_all(common.join("include")).unwrap();
        symlink("/usr/src/gone", trees.modules_dir(&release).join("build")).unwrap();
        symlink("/usr/src/common", trees.modules_dir(&release).join("source")).unwrap();
        assert!(Headers::find(&trees, &release, None).is_err());
        fs_err::write(common.join(".config"), "").unwrap();
        assert_eq!(Headers::find(&trees, &release, None).unwrap().dir, common);
    }

    #[test]
    fn common_and_generated() {
        let (_tmp, trees, release) = world();
        let arch = trees.root.dir().join("usr/src/arch");
        let common = trees.root.dir().join("usr/src/common");
        fs_err::create_dir_all(arch.join("include/generated")).unwrap();
        fs_err::create_dir_all(common.join("include")).unwrap();
        symlink("../../../usr/src/arch", trees.modules_dir(&release).join("build")).unwrap();
        fs_err::write(arch.join("Makefile"), "include /usr/src/common/Makefile\n").unwrap();
        let generated = arch.join("include/generated");
        fs_err::write(generated.join("utsrelease.h"), "#define UTS_RELEASE \"6.1\"\n").unwrap();
        fs_err::write(
            generated.join("compile.h"),
            "#define UTS_VERSION \"#1 SMP\"\n#define LINUX_COMPILER\t\t\"gcc 12\"\n",
        )
        .unwrap();
        let headers = Headers::find(&trees, &release, None).unwrap();
        assert_eq!(headers.common(&trees.root), Some(common));
        assert_eq!(
            headers.generated(),
            Generated { release: Some("6.1".into()), version: Some("#1 SMP".into()), compiler: Some("gcc 12".into()) }
        );
    }
}
