//! What an unpacked archive is: a plain source, or a DKMS archive of one of three kinds; and whether the
//! modules in it are what the archive says they are. The layout is the classic's (docs/contract.md 2.7).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use super::links;
use super::module::{self, ModuleFacts};
use crate::digest::Digest;
use crate::durable;
use crate::names::{Kernel, NameError, Package};
use crate::tree::paths::MANIFEST;

/// The directory of binaries in a DKMS archive: `<K>/<A>/{module,log}` below it.
pub const MAIN_TREE: &str = "dkms_main_tree";
/// The source in a DKMS archive.
pub const SOURCE_TREE: &str = "dkms_source_tree";
/// What stands for the source in an archive of binaries only.
pub const BINARIES_ONLY: &str = "dkms_binaries_only";

/// A manifest larger than this is none.
const MAX_MANIFEST: u64 = 4 << 20;

/// An unpacked archive, understood and verified. All paths are below the directory that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What stands for the package's source.
    pub kind: Kind,
    /// The package's dkms.conf.
    pub conf: PathBuf,
    /// The artefacts, in byte order of kernel and architecture.
    pub binaries: Vec<Binaries>,
}

/// The three kinds of archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Source without binaries: a DKMS archive, or any archive that has a dkms.conf.
    SourceOnly {
        /// The source directory.
        source: PathBuf,
    },
    /// Source and binaries.
    SourceAndBinaries {
        /// The source directory.
        source: PathBuf,
    },
    /// Binaries, a dkms.conf and the package's name.
    BinariesOnly {
        /// Whose binaries.
        package: Package,
    },
}

/// One artefact of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// Its kernel.
    pub kernel: Kernel,
    /// Its directory (`module/`, `log/`, …), to become `<tree>/<m>/<v>/<K>/<A>`.
    pub dir: PathBuf,
    /// Its modules' files.
    pub modules: Vec<PathBuf>,
    /// The package that its manifest names; `None` without a manifest. The caller compares it with dkms.conf.
    pub manifest_package: Option<Package>,
}

/// Why an unpacked archive is not acceptable. Paths are below the archive's top.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Something in it can't be read.
    #[error("what was unpacked cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A plain archive without a dkms.conf.
    #[error("Tarball does not appear to be a correctly formed DKMS archive. No dkms.conf found within it.")]
    NoConf,
    /// A DKMS archive without one.
    #[error("No valid dkms.conf in {SOURCE_TREE} or {BINARIES_ONLY}.")]
    NoValidConf,
    /// Binaries only, but of what?
    #[error("{BINARIES_ONLY} has no usable {file}: {why}")]
    NoName {
        /// `PACKAGE_NAME` or `PACKAGE_VERSION`.
        file: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Binaries only, without binaries.
    #[error("It is an archive of binaries only, but has none in {MAIN_TREE}.")]
    NoBinaries,
    /// Made by a version of the classic newer than the format's last.
    #[error("{MAIN_TREE}/dkms_dbversion is {0:?}; only 2.0.0 and older are understood.")]
    DbVersion(String),
    /// Not a kernel, or not an artefact.
    #[error("{path} is not a kernel's directory: {why}")]
    NotKernel {
        /// The directory.
        path: String,
        /// Why it is not.
        why: String,
    },
    /// A file that claims to be a module.
    #[error("{path} {why}")]
    NotModule {
        /// The file.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// A module for another machine.
    #[error("{path} is for another architecture (ELF machine {found}) than {arch} (ELF machine {expected})")]
    ForeignMachine {
        /// The module.
        path: String,
        /// The machine it is for.
        found: u16,
        /// The label of the directory.
        arch: String,
        /// The machine that it means.
        expected: u16,
    },
    /// A module for another kernel.
    #[error("{path} was built for the kernel {found:?}, not for {expected}")]
    ForeignKernel {
        /// The module.
        path: String,
        /// The release in its vermagic.
        found: String,
        /// The release of its directory.
        expected: String,
    },
    /// A manifest that does not say what is there.
    #[error("{path} does not match the files beside it: {why}")]
    Manifest {
        /// The manifest.
        path: String,
        /// The disagreement.
        why: String,
    },
    /// A link out of the part of the archive that will be moved as a whole.
    #[error("{path} is a link to {target}, outside of {}: {why}", if .dir.is_empty() { "the source" } else { .dir })]
    Link {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
        /// The part.
        dir: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Looks at the archive unpacked in `top` and verifies every module, with [`module::inspect`].
pub fn understand(top: &Path) -> Result<Layout, LayoutError> {
    understand_with(top, &module::inspect)
}

/// The same with `inspect` to look into modules; its error continues a sentence ("is not an ELF file").
pub fn understand_with(
    top: &Path,
    inspect: &dyn Fn(&Path) -> Result<ModuleFacts, String>,
) -> Result<Layout, LayoutError> {
    let look = Look { top, inspect };
    if !is_dir(&top.join(MAIN_TREE)) {
        let conf = first_conf(top)?.ok_or(LayoutError::NoConf)?;
        let source = conf.parent().unwrap_or(top).to_path_buf();
        look.links_stay(&source)?;
        return Ok(Layout { kind: Kind::SourceOnly { source }, conf, binaries: Vec::new() });
    }
    let (source, only) = (top.join(SOURCE_TREE), top.join(BINARIES_ONLY));
    let binaries = look.main_tree()?;
    if is_file(&source.join("dkms.conf")) {
        look.links_stay(&source)?;
        let conf = source.join("dkms.conf");
        let kind = if binaries.is_empty() { Kind::SourceOnly { source } } else { Kind::SourceAndBinaries { source } };
        return Ok(Layout { kind, conf, binaries });
    }
    if !is_file(&only.join("dkms.conf")) {
        return Err(LayoutError::NoValidConf);
    }
    let word = |file| first_line(&only.join(file)).map_err(|why| LayoutError::NoName { file, why });
    let (name, version) = (word("PACKAGE_NAME")?, word("PACKAGE_VERSION")?);
    let package = Package::new(&name, &version)
        .map_err(|error| LayoutError::NoName { file: "PACKAGE_NAME or PACKAGE_VERSION", why: error.to_string() })?;
    if binaries.is_empty() {
        return Err(LayoutError::NoBinaries);
    }
    Ok(Layout { kind: Kind::BinariesOnly { package }, conf: only.join("dkms.conf"), binaries })
}

struct Look<'a> {
    top: &'a Path,
    inspect: &'a dyn Fn(&Path) -> Result<ModuleFacts, String>,
}

/// The part of a manifest that can be checked against an archive.
#[derive(Deserialize)]
struct ManifestClaims {
    package: Package,
    kernel: Kernel,
    modules: Vec<ModuleClaim>,
}

#[derive(Deserialize)]
struct ModuleClaim {
    file: String,
    digest: Digest,
}

impl Look<'_> {
    fn main_tree(&self) -> Result<Vec<Binaries>, LayoutError> {
        let mut found = Vec::new();
        for release in sorted(&self.top.join(MAIN_TREE))? {
            let name = file_name(&release);
            if name == "dkms_dbversion" && is_file(&release) {
                let text = first_line(&release).unwrap_or_default();
                if !["1.", "2.0.0"].iter().any(|known| text.starts_with(known)) {
                    return Err(LayoutError::DbVersion(text));
                }
                continue;
            }
            // These would become directories beside the kernels', of another meaning.
            let reserved = ["build", "source", "tarball", "driver_disk", "rpm", "deb", "dsc", "bmdeb"];
            if reserved.iter().any(|r| name.ends_with(r)) || !is_dir(&release) {
                return Err(self.not_kernel(&release, "the name has another meaning, or it is no directory"));
            }
            let arches = sorted(&release)?;
            if arches.is_empty() {
                return Err(self.not_kernel(&release, "there is nothing in it"));
            }
            for dir in arches {
                let kernel = Kernel::new(&name, &file_name(&dir))
                    .map_err(|e: NameError| self.not_kernel(&dir, &e.to_string()))?;
                found.push(self.artefact(kernel, dir)?);
            }
        }
        Ok(found)
    }

    fn artefact(&self, kernel: Kernel, dir: PathBuf) -> Result<Binaries, LayoutError> {
        if !is_dir(&dir.join("module")) {
            return Err(self.not_kernel(&dir, "it has no directory \"module\""));
        }
        if let Some(stray) = any_link(&dir)? {
            return Err(self.not_kernel(&stray, "artefacts have no links"));
        }
        let (mut modules, mut names) = (Vec::new(), BTreeSet::new());
        for file in sorted(&dir.join("module"))? {
            let Some(name) = module_name(&file_name(&file)).map(str::to_owned) else {
                continue;
            };
            if !is_file(&file) {
                return Err(self.not_module(&file, "is no file"));
            }
            if !names.insert(name) {
                return Err(self.not_module(&file, "is there twice, compressed differently"));
            }
            modules.push(file);
        }
        if modules.is_empty() {
            return Err(self.not_kernel(&dir, "there are no modules in \"module\""));
        }
        let manifest_package = self.manifest(&kernel, &dir, &modules)?;
        for path in &modules {
            self.module(path, &kernel, manifest_package.is_some())?;
        }
        Ok(Binaries { kernel, dir, modules, manifest_package })
    }

    fn module(&self, path: &Path, kernel: &Kernel, in_manifest: bool) -> Result<(), LayoutError> {
        let facts = (self.inspect)(path).map_err(|why| self.not_module(path, &why))?;
        if let Some(expected) = module::machine_of(kernel.arch.as_str()) {
            if facts.machine != expected {
                return Err(LayoutError::ForeignMachine {
                    path: self.shown(path),
                    found: facts.machine,
                    arch: kernel.arch.to_string(),
                    expected,
                });
            }
        }
        // The first word of vermagic is the release (include/linux/vermagic.h). Whoever wrote a manifest
        // with the file's digest has vouched for it instead.
        let release = facts.vermagic.split(' ').next().unwrap_or_default();
        if release != kernel.release.as_str() && !in_manifest {
            return Err(LayoutError::ForeignKernel {
                path: self.shown(path),
                found: release.to_owned(),
                expected: kernel.release.to_string(),
            });
        }
        Ok(())
    }

    /// Checks the manifest, if there is one, against the kernel and against every module.
    fn manifest(&self, kernel: &Kernel, dir: &Path, modules: &[PathBuf]) -> Result<Option<Package>, LayoutError> {
        let path = dir.join(MANIFEST);
        let Ok(meta) = fs::symlink_metadata(&path) else {
            return Ok(None);
        };
        let lie = |why: String| LayoutError::Manifest { path: self.shown(&path), why };
        if !meta.is_file() || meta.len() > MAX_MANIFEST {
            return Err(lie("it is no file of a reasonable size".into()));
        }
        let claims: ManifestClaims = serde_json::from_slice(&durable::bytes(&path).map_err(durable::named(&path))?)
            .map_err(|error| lie(format!("it cannot be understood: {error}")))?;
        if claims.kernel != *kernel {
            return Err(lie(format!("it is about the kernel {}", claims.kernel)));
        }
        let mut claimed = BTreeSet::new();
        for module in &claims.modules {
            let file = dir.join("module").join(&module.file);
            if !modules.contains(&file) || !claimed.insert(&module.file) {
                return Err(lie(format!("it names a module {:?}", module.file)));
            }
            if Digest::of_file(&file)? != module.digest {
                return Err(lie(format!("{} has another digest", module.file)));
            }
        }
        if claimed.len() != modules.len() {
            return Err(lie("it does not name every module".into()));
        }
        Ok(Some(claims.package))
    }

    fn links_stay(&self, dir: &Path) -> Result<(), LayoutError> {
        match links::first_stray(dir)? {
            None => Ok(()),
            Some(stray) => Err(LayoutError::Link {
                path: self.shown(&dir.join(&stray.link)),
                target: stray.target.display().to_string(),
                dir: self.shown(dir),
                why: stray.why,
            }),
        }
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.top).unwrap_or(path).display().to_string()
    }

    fn not_kernel(&self, path: &Path, why: &str) -> LayoutError {
        LayoutError::NotKernel { path: self.shown(path), why: why.to_owned() }
    }

    fn not_module(&self, path: &Path, why: &str) -> LayoutError {
        LayoutError::NotModule { path: self.shown(path), why: why.to_owned() }
    }
}

/// The name of the module that a file called `file` holds: `hello` for `hello.ko.xz`; `None` if it is none.
pub fn module_name(file: &str) -> Option<&str> {
    [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().find_map(|s| file.strip_suffix(s)).filter(|n| !n.is_empty())
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The shallowest dkms.conf, and of those the first by name.
fn first_conf(top: &Path) -> io::Result<Option<PathBuf>> {
    let mut level = vec![top.to_path_buf()];
    while !level.is_empty() {
        let mut next = Vec::new();
        for dir in &level {
            if is_file(&dir.join("dkms.conf")) {
                return Ok(Some(dir.join("dkms.conf")));
            }
            next.extend(sorted(dir)?.into_iter().filter(|p| is_dir(p)));
        }
        level = next;
    }
    Ok(None)
}

fn any_link(dir: &Path) -> io::Result<Option<PathBuf>> {
    for path in sorted(dir)? {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_symlink() {
            return Ok(Some(path));
        }
        if meta.is_dir() {
            if let Some(link) = any_link(&path)? {
                return Ok(Some(link));
            }
        }
    }
    Ok(None)
}

fn first_line(path: &Path) -> Result<String, String> {
    if !is_file(path) {
        return Err("it is no file".into());
    }
    let bytes = durable::bytes(path).map_err(durable::named(path)).map_err(|error| error.to_string())?;
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    String::from_utf8(line.trim_ascii().to_vec()).map_err(|_| "it is not UTF-8".into())
}

#[cfg(test)]
#[path = "layout_tests.rs"]
pub(crate) mod tests;
