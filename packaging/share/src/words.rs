//! The command line of `dkms share`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use dkms_core::names::{Kernel, Package};

/// Shares what was built: by way of a registry or a directory.
#[derive(Debug, Parser)]
#[command(name = "dkms share", disable_help_subcommand = true, disable_version_flag = true)]
pub struct Words {
    /// Work on the system below this directory
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The share, instead of that in framework.conf
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub share: Option<String>,
    /// How results are printed
    #[arg(long, global = true, default_value = "text")]
    pub format: Format,
    /// The same as --format json
    #[arg(long, global = true, conflicts_with = "format")]
    pub json: bool,
    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Say more
    #[arg(long, global = true)]
    pub debug: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One document of JSON a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Push what this machine has built, and is kept in its result cache
    Push(Which),
    /// Fetch what the share has into this machine's result cache
    Pull(Which),
    /// List what the share has
    List(Which),
    /// Fetch everything, and check that it is whole and signed by a key that is trusted here
    Verify(Which),
    /// Delete what is old
    Prune {
        /// What was built so many days ago, or earlier
        #[arg(long, value_name = "DAYS")]
        older_than: u64,
        /// Of which packages and kernels
        #[command(flatten)]
        which: Which,
    },
    /// Print a task for each build that the share lacks: of all registered packages and installed kernels, or of these
    Plan(Which),
    /// Build what a task says, and push it
    Build {
        /// A line that `plan` has printed
        #[arg(long, value_name = "JSON", conflicts_with = "tasks", required_unless_present = "tasks")]
        task: Option<String>,
        /// A file of such lines
        #[arg(long, value_name = "FILE", requires = "index")]
        tasks: Option<PathBuf>,
        /// Which of them, from 0
        #[arg(long, value_name = "N", requires = "tasks")]
        index: Option<usize>,
    },
    /// Make the pair of keys of a builder
    Keygen {
        /// The name of the public key's file in /etc/dkms/share.d
        #[arg(default_value = "builder")]
        name: String,
        /// The last day of the key
        #[arg(long, value_name = "YYYY-MM-DD")]
        expires: Option<String>,
    },
}

/// Of which packages and kernels.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Which {
    /// A package; all of them otherwise
    #[arg(value_name = "NAME[/VERSION]")]
    pub package: Option<String>,
    /// A kernel; may be repeated
    #[arg(short = 'k', long = "kernelver", value_name = "RELEASE[/ARCH]")]
    pub kernels: Vec<String>,
}

impl Which {
    /// Whether what was built of this package for this kernel is meant.
    pub fn meets_build(&self, package: &Package, kernel: &Kernel) -> bool {
        self.meets([package.name.as_str(), package.version.as_str(), kernel.release.as_str(), kernel.arch.as_str()])
    }

    /// Whether an artefact of this package and kernel is meant.
    pub fn meets(&self, [name, version, release, arch]: [&str; 4]) -> bool {
        let package = self.package.as_deref().is_none_or(|wanted| match wanted.split_once('/') {
            Some(wanted) => wanted == (name, version),
            None => wanted == name,
        });
        let is_kernel = |wanted: &String| match wanted.split_once('/') {
            Some(wanted) => wanted == (release, arch),
            None => wanted == release,
        };
        package && (self.kernels.is_empty() || self.kernels.iter().any(is_kernel))
    }

    /// The name of the package that is meant.
    pub fn name(&self) -> Option<&str> {
        self.package.as_deref().map(|wanted| wanted.split_once('/').map_or(wanted, |(name, _)| name))
    }
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Stop {
    /// Help was asked for.
    Help(String),
    /// The words make no sense.
    Wrong(String),
}

impl Words {
    /// Takes the words of `dkms` apart, of which the verb `share` is one.
    pub fn parse(mut words: Vec<OsString>) -> Result<Self, Stop> {
        if let Some(verb) = words.iter().position(|word| word == "share") {
            words.remove(verb);
        }
        words.insert(0, "dkms share".into());
        let mut words = Self::try_parse_from(words).map_err(|error| {
            if error.use_stderr() { Stop::Wrong(error.to_string()) } else { Stop::Help(error.to_string()) }
        })?;
        if words.json {
            words.format = Format::Json;
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Words, Stop> {
        Words::parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn words_of_dkms() {
        let found = words("share push hello/1.0 -k 6.1 -k 6.2/x86_64 --dry-run").unwrap();
        let Verb::Push(which) = found.verb else { panic!("{found:?}") };
        assert!(
            found.dry_run
                && which.meets(["hello", "1.0", "6.1", "any"])
                && which.meets(["hello", "1.0", "6.2", "x86_64"])
        );
        for other in [
            ["hello", "1.1", "6.1", "x86_64"],
            ["hell", "1.0", "6.1", "x86_64"],
            ["hello", "1.0", "6.3", "x86_64"],
            ["hello", "1.0", "6.2", "i686"],
        ] {
            assert!(!which.meets(other), "{other:?}");
        }
        let found = words("--root /srv share list --format json").unwrap();
        assert_eq!((found.root, found.format), (Some(PathBuf::from("/srv")), Format::Json));
        assert_eq!(words("share list --json").unwrap().format, Format::Json);
        assert!(matches!(words("share list --json --format text"), Err(Stop::Wrong(_))));
        for line in ["share", "share --help", "share push --help"] {
            let is_help = matches!(words(line), Err(Stop::Help(_)));
            assert_eq!(is_help, line.ends_with("--help"), "{line}");
        }
        for line in [
            "share build",
            "share build --tasks x",
            "share build --index 1",
            "share sing",
            "share prune",
            "share prune --older-than x",
            "share push a b",
        ] {
            assert!(matches!(words(line), Err(Stop::Wrong(_))), "{line}");
        }
    }
}
