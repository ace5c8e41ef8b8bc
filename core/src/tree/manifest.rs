//! The formats of manifests: what an artefact is made of, and what was put beside a kernel's
//! modules. One JSON object a file, with `"format": 1`; unknown fields are passed over.
//!
//! Paths in them are checked when they are read ([`super::below`]): none leads out of the directory it counts in.
//! A manifest that can't be understood counts as absent (and a line in the log says so):
//! it is a cache of what the files say, and whoever needs it looks at the files then.

mod result;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::durable::{self, FileError};
use crate::names::Kernel;
use crate::names::{Arch, Name, Package, Release};

use super::below;
use super::identity::Identity;
use super::paths::Trees;

pub use result::{CachedResult, Differs, How, Reused};

/// The format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Who signed modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The certificate's serial number or key identifier, in hexadecimal.
    pub key_id: String,
    /// The hash algorithm (`sha512`).
    pub hash: String,
    /// The certificate's subject, as a person reads it.
    pub subject: String,
}

/// One module of an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltModule {
    /// Its name as installed, without `.ko`.
    #[serde(deserialize_with = "below::name")]
    pub name: String,
    /// Its file name, in `module/` and where it is installed: `hello.ko.xz`.
    #[serde(deserialize_with = "below::name")]
    pub file: String,
    /// The directory it is to be installed in, below `<install tree>/<K>`: `updates/dkms`.
    #[serde(deserialize_with = "below::path")]
    pub location: PathBuf,
    /// The directory that dkms.conf's `DEST_MODULE_LOCATION` names, below `<install tree>/<K>`.
    #[serde(deserialize_with = "below::path")]
    pub own_location: PathBuf,
    /// The digest of the file in `module/`.
    pub digest: Digest,
    /// The stat identity of the file in `module/`.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// modinfo's `version`, or empty.
    #[serde(default)]
    pub version: String,
    /// modinfo's `srcversion`.
    #[serde(default)]
    pub srcversion: Option<String>,
}

/// What an artefact was made from, and what has to be known of it to take it away or to tell that it is out of date.
/// Artefacts' manifests and those beside the modules have these fields among their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The digest of the package's source; `None` if the classic built it.
    #[serde(default)]
    pub source_digest: Option<Digest>,
    /// The digest of the kernel's headers.
    #[serde(default)]
    pub headers_digest: Option<Digest>,
    /// A cheap token that changes when the headers are replaced.
    #[serde(default)]
    pub headers_stamp: Option<String>,
    /// What tells this kernel from another of the same release (build id, version line).
    #[serde(default)]
    pub kernel_identity: Option<String>,
    /// Who signed the modules; `None` if nobody.
    #[serde(default)]
    pub signer: Option<Signer>,
    /// dkms.conf's `BUILD_DEPENDS`.
    #[serde(default)]
    pub build_depends: Vec<String>,
    /// dkms.conf's `POST_REMOVE`.
    #[serde(default)]
    pub post_remove: Option<String>,
    /// dkms.conf's `NO_WEAK_MODULES` is set.
    #[serde(default)]
    pub no_weak_modules: bool,
    /// Some `BUILD_EXCLUSIVE_*` is set.
    #[serde(default)]
    pub has_exclusive: bool,
}

/// The manifest of an artefact, in `<tree>/<m>/<v>/<K>/<A>/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The package.
    pub package: Package,
    /// The kernel it was built for.
    pub kernel: Kernel,
    /// Its modules, in the order of dkms.conf.
    pub modules: Vec<BuiltModule>,
    /// What it was made from.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The digest of the overrides in `/etc/dkms` that counted; `None` without any.
    #[serde(default)]
    pub overrides_digest: Option<Digest>,
    /// The compiler and linker, as they name themselves.
    #[serde(default)]
    pub toolchain: String,
    /// dkms.conf's `AUTOINSTALL` is set.
    #[serde(default)]
    pub autoinstall: bool,
    /// dkms.conf's `BUILD_DEPENDS_REBUILD` is set.
    #[serde(default)]
    pub build_depends_rebuild: bool,
    /// The versions of the dependencies that it was built against, by name.
    #[serde(default)]
    pub dependency_versions: BTreeMap<String, String>,
    /// Files that `POST_BUILD` added to the artefact, below its directory.
    #[serde(default, deserialize_with = "below::paths")]
    pub extra_files: Vec<PathBuf>,
    /// What the result cache knows of it; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CachedResult>,
    /// When it was made, in seconds since 1970.
    pub built_at: i64,
    /// The version of this program.
    #[serde(default)]
    pub dkms_version: String,
}

/// One file beside a kernel's modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// Its directory, below `<install tree>/<K>`: `updates/dkms`.
    #[serde(deserialize_with = "below::path")]
    pub path: PathBuf,
    /// The module's name, without `.ko`.
    #[serde(deserialize_with = "below::name")]
    pub name: String,
    /// The file name, the same in the artefact's `module/`: `hello.ko.xz`.
    #[serde(deserialize_with = "below::name")]
    pub file: String,
    /// modinfo's `srcversion`: tells our module, even signed anew, from somebody else's.
    #[serde(default)]
    pub srcversion: Option<String>,
    /// The digest of its content.
    pub digest: Digest,
    /// The stat identity of the installed file; `None` until sealed: compare the bytes.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The stat identity of the artefact's copy; `None` until sealed: compare the bytes.
    #[serde(default)]
    pub tree_identity: Option<Identity>,
    /// It is a symbolic link to the artefact's file.
    #[serde(default)]
    pub symlink: bool,
}

/// What is installed of one package beside a kernel's modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The package.
    pub package: Package,
    /// The kernel's architecture label.
    pub arch: Arch,
    /// Its files.
    pub files: Vec<InstalledFile>,
    /// The digest of the artefact.
    #[serde(default)]
    pub artefact_digest: Option<Digest>,
    /// What it was made from, as the artefact's manifest says.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// When it was installed, in seconds since 1970.
    pub installed_at: i64,
}

/// The manifest beside a kernel's modules, in `<install tree>/<K>/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelManifest {
    /// The kernel, as its directory was called when this was written: tells a copy of it. Older ones
    /// have `None`, and count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// One entry a package and architecture.
    pub installed: Vec<Installed>,
}

/// The envelope that every file of ours has.
#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// Serialises one of our formats compactly, with its format number and an end of line.
pub(crate) fn to_bytes<T: Serialize>(body: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(&Written { format: FORMAT, body })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether `bytes` say that they are of the format that this program knows.
pub(crate) fn has_known_format(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|header: Header| header.format == FORMAT)
}

/// Parses one of our formats; the error says why it counts as absent.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let header: Header = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if header.format != FORMAT {
        return Err(format!("it has format {}, this program knows format {FORMAT}", header.format));
    }
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// Reads one of our formats; `None` if it is not there or (after a line in the log) not
/// understood, an error if it is there and can't be read.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let Some(bytes) = durable::read(path)? else {
        return Ok(None);
    };
    match from_bytes(&bytes) {
        Ok(body) => Ok(Some(body)),
        Err(why) => {
            log::warn!("{} is ignored: {why}", path.display());
            Ok(None)
        }
    }
}

macro_rules! format_methods {
    ($type:ty) => {
        impl $type {
            /// Parses the file's content; the error says what is wrong with it.
            pub fn parse(bytes: &[u8]) -> Result<Self, String> {
                from_bytes(bytes)
            }

            /// The file's content.
            pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
                Ok(to_bytes(self)?)
            }

            /// Reads the file; `None` if it is not there or not understood.
            pub fn load(path: &Path) -> Result<Option<Self>, FileError> {
                load(path)
            }
        }
    };
}
format_methods!(Manifest);
format_methods!(KernelManifest);

impl Manifest {
    /// The manifest of an artefact, read once in this run; `None` if it is not there or not understood.
    pub fn of(trees: &Trees, package: &Package, kernel: &Kernel) -> Result<Option<Arc<Self>>, FileError> {
        let path = trees.manifest(package, kernel);
        trees.snapshot().file(&path, || Self::load(&path))
    }
}

impl KernelManifest {
    /// The manifest beside the modules of `release`, read once in this run; `None` if there is none, or if it was written for
    /// another kernel, whose directory somebody has copied.
    pub fn beside(trees: &Trees, release: &Release) -> Result<Option<Arc<Self>>, FileError> {
        let path = trees.kernel_manifest(release);
        let found = trees.snapshot().file(&path, || Self::load(&path))?;
        Ok(found.filter(|manifest| {
            let own = manifest.release.as_ref().is_none_or(|written| written == release);
            if !own {
                log::info!("{} is ignored: it is a copy of another kernel's", path.display());
            }
            own
        }))
    }

    /// The same, for who only looks: an empty one if there is none. One that can't be read is worth a line in the log.
    pub fn known(trees: &Trees, release: &Release) -> Arc<Self> {
        let found = Self::beside(trees, release).unwrap_or_else(|error| {
            log::warn!("{error}");
            None
        });
        found.unwrap_or_default()
    }

    /// The entry of `package` on `arch`.
    pub fn find(&self, package: &Package, arch: &Arch) -> Option<&Installed> {
        self.installed.iter().find(|i| i.package == *package && i.arch == *arch)
    }

    /// The entry of whichever version of `name` is installed on `arch`.
    pub fn find_name(&self, name: &Name, arch: &Arch) -> Option<&Installed> {
        self.installed.iter().find(|i| i.package.name == *name && i.arch == *arch)
    }

    /// Puts an entry in, in place of any version of the package on the same architecture.
    pub fn put(&mut self, entry: Installed) {
        self.drop(&entry.package.name, &entry.arch);
        self.installed.push(entry);
        self.installed.sort_by(|a, b| (&a.package, &a.arch).cmp(&(&b.package, &b.arch)));
    }

    /// Takes the entry of `name` on `arch` out.
    pub fn drop(&mut self, name: &Name, arch: &Arch) -> Option<Installed> {
        let place = self.installed.iter().position(|i| i.package.name == *name && i.arch == *arch)?;
        Some(self.installed.remove(place))
    }

    /// Takes the file at `path` (relative to the kernel's directory) from the entries of all packages but `name`, which puts its
    /// own there or in its place; an entry without files goes.
    pub fn displace(&mut self, name: &Name, path: &Path) {
        self.installed.retain_mut(|entry| {
            if entry.package.name != *name {
                entry.files.retain(|file| file.path.join(&file.file) != path);
            }
            !entry.files.is_empty()
        });
    }

    /// Drops the entries that a spell of the classic has made stale: none of their files is left,
    /// or the active link names another version. (An empty `/var`, without links, proves nothing.)
    pub fn drop_stale(&mut self, trees: &Trees, release: &Release) {
        let modules = trees.modules_dir(release);
        self.installed.retain(|entry| {
            let kernel = Kernel { release: release.clone(), arch: entry.arch.clone() };
            let link = trees.active_link(&entry.package.name, &kernel);
            let elsewhere =
                std::fs::symlink_metadata(&link).is_ok() && !super::walk::is_active(trees, &entry.package, &kernel);
            let left = entry.files.iter().any(|f| std::fs::symlink_metadata(f.outer(&modules)).is_ok());
            left && !elsewhere
        });
    }

    /// Fills in the identities that are missing, as the files are now. With `verify`, only where
    /// the file's digest is the recorded one. Gives whether anything was filled in.
    pub fn seal(&mut self, trees: &Trees, release: &Release, verify: bool) -> bool {
        let modules = trees.modules_dir(release);
        let mut changed = false;
        for entry in &mut self.installed {
            let kernel = Kernel { release: release.clone(), arch: entry.arch.clone() };
            let artefact = trees.artefact_modules(&entry.package, &kernel);
            for file in &mut entry.files {
                let (installed, built) = (file.outer(&modules), artefact.join(&file.file));
                let (digest, symlink) = (file.digest.clone(), file.symlink);
                let genuine = |path: &Path| !verify || Digest::of_file(path).is_ok_and(|found| found == digest);
                // What a link leads to is the artefact's copy.
                let content = if symlink { &built } else { &installed };
                if file.identity.is_none() && genuine(content) {
                    file.identity = Identity::of_path(&installed).ok();
                    changed |= file.identity.is_some();
                }
                if file.tree_identity.is_none() && genuine(&built) {
                    file.tree_identity = Identity::of_path(&built).ok();
                    changed |= file.tree_identity.is_some();
                }
            }
        }
        changed
    }
}

impl Installed {
    /// Its files, below the kernel's directory.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.join(&file.file)).collect()
    }
}

impl InstalledFile {
    /// One digest for all of `files`, which are the modules of one artefact.
    pub fn digest_of(files: &[Self]) -> Digest {
        let mut hasher = Hasher::default();
        for file in files {
            hasher.field(file.digest.to_string().as_bytes());
        }
        hasher.finish()
    }

    /// Its path, given the kernel's modules directory.
    pub fn outer(&self, modules_dir: &Path) -> PathBuf {
        modules_dir.join(&self.path).join(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: &str = r#"{"format":1,"package":{"name":"m","version":"1"},"kernel":{"release":"6.1","arch":"x"},
        "modules":[{"name":"a","file":"a.ko","location":"updates/dkms","own_location":"","digest":"DIGEST"}],
        "source_digest":"DIGEST","extra_files":["extra/file"],"built_at":1}"#;
    const INSTALLED: &str = r#"{"format":1,"installed":[{"package":{"name":"m","version":"1"},"arch":"x","installed_at":1,
        "files":[{"path":"updates/dkms","name":"a","file":"a.ko","digest":"DIGEST"}]}]}"#;

    /// What is shared is written among the other fields, as it always was: older programs read it.
    #[test]
    fn what_is_shared_has_no_object_of_its_own() {
        let digest = Digest::of(b"x").to_string();
        let more = r#""headers_stamp":"s","kernel_identity":"i","build_depends":["b"],"post_remove":"p","no_weak_modules":true,"has_exclusive":true,"signer":{"key_id":"0A","hash":"sha512","subject":"me"},"#;
        let built = BUILT.replace("DIGEST", &digest).replacen("\"built_at\"", &format!("{more}\"built_at\""), 1);
        let mut installed = INSTALLED.replace("DIGEST", &digest);
        let source = format!("\"source_digest\":\"{digest}\",");
        installed = installed.replacen("\"installed_at\"", &format!("{source}{more}\"installed_at\""), 1);
        let manifest = Manifest::parse(built.as_bytes()).unwrap();
        let beside = KernelManifest::parse(installed.as_bytes()).unwrap();
        assert_eq!(manifest.provenance, beside.installed[0].provenance);
        assert_eq!(manifest.provenance.post_remove.as_deref(), Some("p"));
        for bytes in [manifest.to_bytes().unwrap(), beside.to_bytes().unwrap()] {
            let written: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let object = written.pointer("/installed/0").unwrap_or(&written);
            assert_eq!(object["no_weak_modules"], true);
            assert_eq!(object["signer"]["key_id"], "0A");
            assert!(object.get("provenance").is_none());
        }
    }

    fn text(form: &str, from: &str, to: &str) -> String {
        let text = form.replace(from, to);
        assert!(from == to || text != form, "{from} is not in it");
        text.replace("DIGEST", &Digest::of(b"x").to_string())
    }

    /// What can't be understood counts as absent: no word of it is believed.
    #[test]
    fn paths_that_lead_out_are_not_understood() {
        assert!(Manifest::parse(text(BUILT, "", "").as_bytes()).is_ok());
        assert!(KernelManifest::parse(text(INSTALLED, "", "").as_bytes()).is_ok());
        for bad in ["../x", "../../../../etc/cron.d", "/etc/cron.d", "a/../../x", ".."] {
            for (field, from) in [
                ("location", r#""location":"updates/dkms""#),
                ("own_location", r#""own_location":"""#),
                ("file", r#""file":"a.ko""#),
                ("name", r#""name":"a""#),
            ] {
                let built = text(BUILT, from, &format!(r#""{field}":"{bad}""#));
                assert!(Manifest::parse(built.as_bytes()).is_err(), "{built}");
            }
            let built = text(BUILT, "extra/file", bad);
            assert!(Manifest::parse(built.as_bytes()).is_err(), "{built}");
            for (from, to) in [
                (r#""path":"updates/dkms""#, format!(r#""path":"{bad}""#)),
                (r#""file":"a.ko""#, format!(r#""file":"{bad}""#)),
                (r#""name":"a""#, format!(r#""name":"{bad}""#)),
                (r#""arch":"x""#, format!(r#""arch":"{bad}""#)),
                (r#""name":"m""#, format!(r#""name":"{bad}""#)),
            ] {
                let installed = text(INSTALLED, from, &to);
                assert!(KernelManifest::parse(installed.as_bytes()).is_err(), "{installed}");
            }
        }
        let nested = text(BUILT, r#""file":"a.ko""#, r#""file":"sub/a.ko""#);
        assert!(Manifest::parse(nested.as_bytes()).is_err(), "a file's name is one word");
    }
}
