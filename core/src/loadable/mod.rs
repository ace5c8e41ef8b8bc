//! Whether an installed module will be loaded: would modprobe find this very file, and would the kernel take it? Facts in
//! ([`gather`] reads them), an answer with a reason out.
//!
//! depmod is not simulated: its index says which file it took, and that is what modprobe takes (modules.dep(5); kmod 34
//! writes one line for each module's name, with `-` and `_` the same). What depmod was asked for only explains an answer.

pub mod gather;
pub mod image;
pub mod image_names;
pub mod index;
pub mod modprobe_d;
pub mod needed;
pub mod stock;
pub mod stranger;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::names::Release;

pub use index::Index;

/// What one module's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// There is none.
    Missing,
    /// It is no whole module: why.
    Damaged(String),
    /// It is a module.
    Module {
        /// It is, byte for byte, what was built; `None` if nobody knows that any more.
        as_built: Option<bool>,
        /// The `vermagic` of its modinfo; empty if it has none.
        vermagic: String,
        /// It is made for this kernel's machine.
        for_machine: bool,
    },
}

/// What there is to know about one module of one kernel.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The kernel.
    pub release: &'a Release,
    /// The file, below the kernel's directory.
    pub path: &'a Path,
    /// What it is.
    pub file: File,
    /// What depmod has written; `None` if it has not.
    pub index: Option<&'a Index>,
    /// Lines of depmod.d that have to do with it, with their files.
    pub asked: &'a [String],
    /// The `vermagic` of the kernel's own modules; `None` if it has none.
    pub magic: Option<&'a str>,
}

/// Why a module will not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The file is gone.
    Missing,
    /// The file is no module, or not a whole one.
    Damaged(String),
    /// Another file lies there than the one that was built.
    Changed,
    /// It was built for another machine.
    OtherMachine,
    /// It was built for another kernel: the release it names.
    OtherKernel(String),
    /// It was built with other options than the kernel: words of the two `vermagic`s that differ.
    OtherMagic {
        /// Those that only the module has.
        module: Vec<String>,
        /// Those that only the kernel has.
        kernel: Vec<String>,
    },
    /// The kernel has it built in: modprobe loads nothing.
    BuiltIn,
    /// modprobe.d has a command in its place, which loads nothing: `FILE: LINE`.
    Command(String),
    /// This file of modprobe.d keeps its devices from loading it.
    Blacklisted(PathBuf),
    /// depmod has made no index of this kernel's modules.
    NoIndex,
    /// The index does not name it: it is older than the file.
    NotListed,
    /// depmod passes over everything below a directory of this name.
    Skipped(&'static str),
    /// A symbol that it needs is exported by nothing that is loaded before it.
    Needs {
        /// The symbol.
        symbol: String,
        /// How many more there are.
        more: usize,
        /// The kernel's own module that exports it, and is not there.
        module: Option<String>,
    },
    /// A symbol that it needs has another type than when it was built.
    OtherSymbol {
        /// The symbol.
        symbol: String,
        /// Who exports it.
        exporter: String,
    },
    /// A symbol that it needs is for modules under the GPL alone.
    NotForItsLicence {
        /// The symbol.
        symbol: String,
        /// The module's licence.
        licence: String,
    },
    /// A symbol that it needs is exported for those alone that import its namespace, or for modules of other names.
    NotImported {
        /// The symbol.
        symbol: String,
        /// The namespace.
        namespace: String,
    },
    /// A module that is loaded before it is gone: its file, below the kernel's directory.
    NeedsFile(PathBuf),
    /// A module of ours that is loaded before it will not be.
    Because {
        /// That one's file, below the kernel's directory.
        path: PathBuf,
        /// Why it will not.
        why: Box<Why>,
    },
    /// The index of this name does not have what the module says of itself: it is of another depmod.
    OldIndex(&'static str),
    /// The kernel's initramfs lacks it, and is to have it: the command that makes the image.
    NotInImage(Option<String>),
    /// The kernel's initramfs has another module of this name: which, and the command that makes the image.
    OtherInImage(PathBuf, Option<String>),
    /// The index names another file for this module, and why, as far as depmod's configuration tells.
    Another {
        /// That file, below the kernel's directory.
        path: PathBuf,
        /// Lines of depmod.d that have to do with it.
        asked: Vec<String>,
    },
}

/// Directories that depmod does not enter, at any depth (depmod(8) of kmod 29 to 34: they lead to the kernel's source).
const SKIPPED: [&str; 2] = ["build", "source"];

/// Whether the module of `facts` will be loaded; if not, why.
pub fn judge(facts: &Candidate<'_>) -> Result<(), Why> {
    let name = index::module_name(facts.path);
    match &facts.file {
        File::Missing => return Err(Why::Missing),
        File::Damaged(why) => return Err(Why::Damaged(why.clone())),
        File::Module { for_machine: false, .. } => return Err(Why::OtherMachine),
        File::Module { vermagic, as_built, .. } => {
            if let Some(other) = other_kernel(vermagic, facts.release) {
                return Err(Why::OtherKernel(other.to_owned()));
            }
            if let Some(why) = facts.magic.and_then(|kernel| other_magic(vermagic, kernel)) {
                return Err(why);
            }
            if *as_built == Some(false) {
                return Err(Why::Changed);
            }
        }
    }
    if let Some(dir) = skipped(facts.path) {
        return Err(Why::Skipped(dir));
    }
    let index = facts.index.ok_or(Why::NoIndex)?;
    if index.is_built_in(&name) {
        return Err(Why::BuiltIn);
    }
    match index.path_of(&name) {
        Some(path) if path == facts.path => Ok(()),
        Some(path) => Err(Why::Another { path: path.to_owned(), asked: facts.asked.to_vec() }),
        None => Err(Why::NotListed),
    }
}

/// The directory on the way to `path` that depmod does not enter.
fn skipped(path: &Path) -> Option<&'static str> {
    let components = || path.parent().into_iter().flat_map(Path::components);
    SKIPPED.into_iter().find(|dir| components().any(|part| part.as_os_str() == *dir))
}

/// Whether depmod never sees what lies at `path`.
pub fn is_skipped(path: &Path) -> bool {
    skipped(path).is_some()
}

/// The release that `vermagic` names, if the kernel `release` would refuse it. With symbol versions a kernel does not look
/// at the release (`same_magic` in its kernel/module/version.c).
fn other_kernel<'a>(vermagic: &'a str, release: &Release) -> Option<&'a str> {
    let mut words = vermagic.split_whitespace();
    let built_for = words.next()?;
    (built_for != release.as_str() && !words.any(|word| word == "modversions")).then_some(built_for)
}

/// How `vermagic` differs from that of the kernel's own modules, if the kernel would refuse it: all words but the release are
/// compared (`same_magic`). A module without any is not asked.
fn other_magic(vermagic: &str, kernel: &str) -> Option<Why> {
    let words = |text: &str| text.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (module, kernel) = (words(vermagic), words(kernel));
    if vermagic.is_empty() || module == kernel {
        return None;
    }
    let only = |one: &[String], other: &[String]| one.iter().filter(|word| !other.contains(word)).cloned().collect();
    Some(Why::OtherMagic { module: only(&module, &kernel), kernel: only(&kernel, &module) })
}

impl Why {
    /// Whether somebody wants it so, so that nothing is lacking: the kernel has it itself, or the administrator keeps it from being
    /// loaded.
    pub fn is_meant(&self) -> bool {
        matches!(self, Self::BuiltIn | Self::Command(_) | Self::Blacklisted(_))
    }

    /// The command that mends it for `package` on `release`; `None` if no command of ours does.
    pub fn mend(&self, package: &str, release: &Release) -> Option<String> {
        match self {
            Self::Missing | Self::Damaged(_) | Self::Changed | Self::OtherSymbol { .. } | Self::OtherMagic { .. } => {
                Some(format!(
                    "dkms build {package} -k {release} --force && dkms install {package} -k {release} --force"
                ))
            }
            Self::NoIndex | Self::NotListed | Self::OldIndex(_) | Self::NeedsFile(_) => {
                Some(format!("depmod -a {release}"))
            }
            Self::NotInImage(command) | Self::OtherInImage(_, command) => command.clone(),
            Self::OtherMachine
            | Self::OtherKernel(_)
            | Self::BuiltIn
            | Self::Command(_)
            | Self::Blacklisted(_)
            | Self::NotImported { .. }
            | Self::Skipped(_)
            | Self::Needs { .. }
            | Self::NotForItsLicence { .. }
            | Self::Because { .. }
            | Self::Another { .. } => None,
        }
    }

    /// The reason, and what mends it.
    pub fn with_mend(&self, package: &str, release: &Release) -> String {
        match self.mend(package, release) {
            Some(command) => format!("{self}. To fix it: {command}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("its file is gone"),
            Self::Damaged(why) => write!(f, "its file is damaged: {why}"),
            Self::Changed => f.write_str("its file is not the one that was built"),
            Self::OtherMachine => f.write_str("it was built for another architecture"),
            Self::OtherKernel(release) => write!(f, "it was built for kernel {release}"),
            Self::OtherMagic { module, kernel } => {
                f.write_str("it was built with other options than the kernel: ")?;
                match (module.is_empty(), kernel.is_empty()) {
                    (true, true) => f.write_str("the words of its vermagic are in another order"),
                    (false, true) => write!(f, "only its vermagic says \"{}\"", module.join(" ")),
                    (true, false) => write!(f, "its vermagic lacks \"{}\"", kernel.join(" ")),
                    (false, false) => {
                        write!(f, "its vermagic says \"{}\", the kernel's \"{}\"", module.join(" "), kernel.join(" "))
                    }
                }
            }
            Self::Command(line) => write!(f, "modprobe runs a command in its place ({line})"),
            Self::Blacklisted(file) => {
                write!(f, "{} blacklists it: its devices do not load it, modprobe with its name does", file.display())
            }
            Self::NotImported { symbol, namespace } => match namespace.strip_prefix(needed::FOR_MODULES) {
                Some(names) => write!(f, "it needs the symbol {symbol}, which is exported for {names} alone"),
                None => write!(
                    f,
                    "it needs the symbol {symbol} of the namespace {namespace}, which it does not import (MODULE_IMPORT_NS)"
                ),
            },
            Self::BuiltIn => f.write_str("the kernel has a module of this name built in, so that modprobe loads none"),
            Self::NoIndex => f.write_str("depmod has made no index of this kernel's modules"),
            Self::NotListed => f.write_str("depmod's index does not name it"),
            Self::Skipped(dir) => {
                write!(f, "depmod passes over directories called \"{dir}\"; change DEST_MODULE_LOCATION")
            }
            Self::Needs { symbol, more, module } => {
                write!(f, "it needs the symbol {symbol}")?;
                if *more > 0 {
                    write!(f, " and {more} more")?;
                }
                match module {
                    Some(module) => {
                        write!(f, ", which the kernel's module {module} exports, and that is not installed")
                    }
                    None => f.write_str(", which neither the kernel nor a module that is loaded before it exports"),
                }
            }
            Self::OtherSymbol { symbol, exporter } => write!(
                f,
                "it was built for another version of the symbol {symbol} than the one that {exporter} exports"
            ),
            Self::NotForItsLicence { symbol, licence } => write!(
                f,
                "it needs the symbol {symbol}, which is exported for modules under the GPL alone, and its licence is \"{licence}\""
            ),
            Self::NeedsFile(path) => write!(f, "{}, which is loaded before it, is gone", path.display()),
            Self::Because { path, why } => {
                write!(f, "{}, which is loaded before it, would not be: {why}", path.display())
            }
            Self::OldIndex(name) => write!(f, "{name} is of another depmod, and does not name what it is for"),
            Self::NotInImage(_) => f.write_str("the kernel's initramfs lacks it"),
            Self::OtherInImage(path, _) => {
                write!(f, "the kernel's initramfs has another one, at {}", path.display())
            }
            Self::Another { path, asked } => {
                write!(f, "modprobe takes {} instead", path.display())?;
                if !asked.is_empty() {
                    write!(f, " ({})", asked.join("; "))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
