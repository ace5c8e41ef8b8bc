//! What a build's result follows from.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::conf::recipe;
use crate::context::Context;
use crate::digest::Digest;
use crate::facts::origin::Origin;
use crate::names::{Kernel, Package};
use crate::process::Environment;
use crate::run::target::{Dependency, Target};

/// The format of keys and results that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Everything that decides what make makes of a package for a kernel. As JSON, with its fields in this order and without blanks,
/// it has a digest: the name of the result in the store. It says nothing of this machine: equal on two machines, the results are
/// the same.
///
/// Not in it, since the result does not follow from them: the number of jobs, how modules are signed and compressed,
/// where they are installed, and what a build's environment says of people, terminals and languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The format of keys and results.
    pub format: u32,
    /// The package.
    pub package: Package,
    /// The digest of its source's tree, dkms.conf included.
    pub source: Digest,
    /// The digest of the administrator's patches in `/etc/dkms/<m>/patches`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches_of_administrator: Option<Digest>,
    /// The kernel.
    pub kernel: Kernel,
    /// What tells its build from another of the same release: UTS_VERSION (`uname -v`) of the headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_build: Option<String>,
    /// The digest of everything in the headers: configuration, exported symbols, headers, kbuild's scripts and programs.
    pub headers: Digest,
    /// The digest of the configuration that `--config` named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// The machine's name of its architecture (`uname -m`): kbuild asks for it.
    pub machine: String,
    /// The digest of compiler, assembler and linker: of what they are, wherever they are.
    pub compilers: Digest,
    /// The digest of the other programs that make modules (strip, objcopy, pahole, make), by name; of those that are there.
    pub programs: BTreeMap<String, Digest>,
    /// The digest of os-release: packages adapt to distributions.
    pub distribution: Digest,
    /// The patches, in order.
    pub patches: Vec<String>,
    /// The command that builds, as if for one job. Its directory is `{build}`.
    pub make: String,
    /// The modules that it is to make.
    pub modules: Vec<Module>,
    /// What of its environment may matter. Of the values their digests: there may be secrets among them.
    pub environment: BTreeMap<String, Digest>,
    /// The packages that it is linked against.
    pub dependencies: Vec<Needed>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its file below the build's directory.
    pub file: String,
    /// Whether debug sections are taken out.
    pub strip: bool,
}

/// A package that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// Its name.
    pub name: String,
    /// The version that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of its Module.symvers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Digest>,
}

/// Variables that no result follows from.
const NEUTRAL: [&str; 17] = [
    "COLUMNS",
    "DEBIAN_KERNEL_USE_CCACHE",
    "DKMS_LOG",
    "DKMS_WITHIN",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "OLDPWD",
    "PATH",
    "PWD",
    "SHELL",
    "SHLVL",
    "TERM",
    "TMPDIR",
    "USER",
    "_",
];
/// The same for whole families of names: of locales (builds run in one of ours), and of what compiles in the compiler's place.
const NEUTRAL_FAMILIES: [&str; 5] = ["CCACHE_", "DISTCC_", "ICECC_", "LC_", "SCCACHE_"];

/// Of those the ones that choose the compiler (ccache(1), "Configuration").
const CHOOSES_COMPILER: [&str; 4] = ["CCACHE_CC", "CCACHE_COMPILER", "CCACHE_PATH", "CCACHE_PREFIX"];

/// What of `environment` counts in a key. Names that are no text are all called by what they look like.
pub fn relevant(environment: &Environment) -> BTreeMap<String, String> {
    let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    let all = environment.iter().map(|(name, value)| (text(name), text(value)));
    all.filter(|(name, _)| {
        let is_neutral =
            NEUTRAL.contains(&name.as_str()) || NEUTRAL_FAMILIES.iter().any(|family| name.starts_with(family));
        !is_neutral || CHOOSES_COMPILER.contains(&name.as_str())
    })
    .collect()
}

/// `text` with the build's directory `place` called `{build}`.
pub fn without_place(text: &str, place: &Path) -> String {
    place
        .to_str()
        .filter(|place| !place.is_empty())
        .map_or_else(|| text.to_owned(), |place| text.replace(place, "{build}"))
}

impl Key {
    /// That of a build of `target`, whose make command is `make` and whose environment is `environment`; it calls its directory
    /// `place`.
    ///
    /// # Errors
    /// In words, if something that belongs to it can't be known.
    pub fn of(
        ctx: &Context,
        target: &Target,
        make: &str,
        environment: &Environment,
        place: &Path,
    ) -> Result<Self, String> {
        let build = target.facts.headers.as_ref().ok().and_then(|headers| headers.generated().version);
        Self::with(ctx, target, make, (environment, place), (build, target.facts.origin(ctx)?.clone()))
    }

    /// The same of a build whose kernel and builder are said to be these: UTS_VERSION, and what it follows from besides the package.
    pub(super) fn with(
        ctx: &Context,
        target: &Target,
        make: &str,
        (environment, place): (&Environment, &Path),
        (kernel_build, origin): (Option<String>, Origin),
    ) -> Result<Self, String> {
        let failed = |error: io::Error| error.to_string();
        let file = |path: &Path| Digest::of_file(path).map_err(failed);
        let (package, recipe) = (&target.package, &target.evaluated.recipe);
        let patches = ctx.trees.outer(Path::new("/etc/dkms").join(&package.name).join("patches"));
        let needed = |needed: &Dependency| {
            Ok::<_, String>(Needed {
                name: needed.name.to_string(),
                version: needed.version.clone(),
                symbols: needed.symvers.as_deref().map(file).transpose()?,
            })
        };
        let module = |module: &recipe::Module| Module {
            file: format!("{}{}.ko", module.record.built_location, module.record.built_name),
            strip: module.record.strip,
        };
        Ok(Self {
            format: FORMAT,
            package: package.clone(),
            source: Digest::of_tree(&ctx.trees.source_of(package)).map_err(failed)?,
            patches_of_administrator: patches
                .is_dir()
                .then(|| Digest::of_tree(&patches))
                .transpose()
                .map_err(failed)?,
            kernel: target.kernel.clone(),
            kernel_build,
            headers: origin.headers,
            config: ctx.options.kernel_config.as_deref().map(file).transpose()?,
            machine: ctx.machine.name.clone(),
            compilers: origin.compilers,
            programs: origin.programs,
            distribution: origin.distribution,
            patches: recipe.patches.clone(),
            make: without_place(make, place),
            modules: recipe.modules.iter().map(module).collect(),
            environment: relevant(environment)
                .into_iter()
                .map(|(name, value)| (name, Digest::of(without_place(&value, place).as_bytes())))
                .collect(),
            dependencies: target.dependencies.iter().map(needed).collect::<Result<_, _>>()?,
        })
    }

    /// The digest, under which the result is kept.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&serde_json::to_vec(self)?))
    }
}
