//! What was typed, taken apart: from words to [`Args`]. Nothing is looked up but whether a word is a path.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue};

use super::options::OPTIONS;
use super::parser;
use super::table::{self, Entry, Id};
use crate::error::UsageError;

use crate::names::nearest;

/// The command line, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Args {
    /// The verb, as the table has it.
    pub verb: Option<&'static Entry>,
    /// A word that stands where a verb was expected, when there is none.
    pub module: Option<String>,
    /// The version given.
    pub version: Option<String>,
    /// A source directory to add.
    pub source: Option<PathBuf>,
    /// A file that is to be loaded or, with `--archive`, written.
    pub archive: Option<PathBuf>,
    /// Kernel releases, in order.
    pub kernels: Vec<String>,
    /// Architecture labels, in order.
    pub arches: Vec<String>,
    /// Words that nobody knows.
    pub unknown: Vec<String>,
    /// Deprecated options that were given.
    pub deprecated: Vec<&'static str>,
    /// The values of options that take one, by long name, in order.
    values: Vec<(&'static str, String)>,
    /// The flags given, by long name.
    flags: Vec<&'static str>,
}

impl Args {
    /// The last value given for the option `long`.
    pub fn value(&self, long: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// All values given for the option `long`, in order.
    pub fn values(&self, long: &str) -> Vec<String> {
        self.values.iter().filter(|(name, _)| *name == long).map(|(_, value)| value.clone()).collect()
    }

    /// The value of `long` as a path.
    pub fn path(&self, long: &str) -> Option<PathBuf> {
        self.value(long).map(PathBuf::from)
    }

    /// Whether the flag `long` was given.
    pub fn flag(&self, long: &str) -> bool {
        self.flags.contains(&long)
    }

    /// The long names of all options given.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(name, _)| *name).chain(self.flags.iter().copied())
    }

    /// Whether a package, a source or an archive is named.
    pub fn has_operand(&self) -> bool {
        self.module.is_some() || self.version.is_some() || self.source.is_some() || self.archive.is_some()
    }

    /// The verb's name, or an empty word.
    pub fn verb_name(&self) -> &'static str {
        self.verb.map_or("", |verb| verb.name)
    }

    /// The verb, as the table has it.
    pub fn entry(&self) -> Result<&'static Entry, UsageError> {
        self.verb.ok_or_else(|| {
            let verbs = || table::VERBS.iter().map(|verb| verb.name);
            let mut words = self.module.iter().chain(&self.unknown);
            let slip = words.find_map(|word| Some((word, nearest(word, verbs())?)));
            match slip {
                Some((word, meant)) => UsageError::NoVerb(Some(word.clone()), Some(meant)),
                None => UsageError::NoVerb(self.module.clone(), None),
            }
        })
    }

    /// Takes `words` (without the program's name) apart.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut texts = Vec::new();
        for word in words {
            texts.push(
                word.into_string()
                    .map_err(|word| UsageError::BadValue(format!("{} is not UTF-8.", word.to_string_lossy())))?,
            );
        }
        let matches = parser::parser().try_get_matches_from(normalise(texts)).map_err(|error| explain(&error))?;
        let mut args = Self::default();
        args.take_options(&matches)?;
        let words: Vec<String> = matches.get_many::<String>("words").into_iter().flatten().cloned().collect();
        for word in words {
            args.take_word(word)?;
        }
        args.archive = args.path("archive").or(args.archive);
        args.take_json()?;
        args.check_values()?;
        Ok(args)
    }

    fn take_options(&mut self, matches: &ArgMatches) -> Result<(), UsageError> {
        for opt in OPTIONS {
            if opt.value.is_none() {
                if matches.get_count(opt.long) > 0 {
                    if opt.deprecated {
                        self.deprecated.push(opt.long);
                    }
                    self.flags.push(opt.long);
                }
                continue;
            }
            for value in matches.get_many::<String>(opt.long).into_iter().flatten() {
                // As the classic's `read` did: the first line, without the blanks around it.
                let value = value.lines().next().unwrap_or_default().trim().to_owned();
                self.values.push((opt.long, value));
            }
        }
        for kernel in self.values("kernelver") {
            // `K/A` appends A to the architectures, so that mixed forms pair as they always did.
            match kernel.split_once('/') {
                Some((release, arch)) => {
                    self.kernels.push(release.to_owned());
                    self.arches.push(arch.to_owned());
                }
                None => self.kernels.push(kernel),
            }
        }
        self.arches.extend(self.values("arch"));
        for module in self.values("module") {
            self.take_module(&module);
        }
        if let Some(version) = self.value("package-version") {
            self.version = Some(version.to_owned());
        }
        if let Some(jobs) = self.value("jobs").filter(|jobs| jobs.parse::<u32>().is_err()) {
            return Err(UsageError::BadValue(format!("-j takes a number of jobs (0: no limit), not {jobs:?}.")));
        }
        Ok(())
    }

    /// `--json` is `--format json`, but where the format is that of a package.
    fn take_json(&mut self) -> Result<(), UsageError> {
        if !self.flag("json") || self.verb.is_some_and(|verb| verb.id == Id::Mkpkg) {
            return Ok(());
        }
        if let Some(other) = self.value("format").filter(|format| *format != "json") {
            return Err(UsageError::BadValue(format!("--json and --format {other} contradict each other.")));
        }
        self.values.push(("format", "json".to_owned()));
        Ok(())
    }

    /// Values that only the verb tells right from wrong.
    fn check_values(&self) -> Result<(), UsageError> {
        for (name, value) in &self.values {
            let Some(allowed) = table::values(self.verb_name(), name) else { continue };
            if !allowed.contains(&value.as_str()) {
                return Err(UsageError::BadValue(format!(
                    "--{name} takes one of {}, not {value:?}.",
                    allowed.join(", ")
                )));
            }
        }
        Ok(())
    }

    fn take_module(&mut self, word: &str) {
        match word.split_once('/') {
            Some((name, version)) => {
                self.module = Some(name.to_owned());
                self.version = Some(version.to_owned());
            }
            None => self.module = Some(word.to_owned()),
        }
    }

    /// The classic's order of guesses (docs/contract.md 2.0).
    fn take_word(&mut self, word: String) -> Result<(), UsageError> {
        if let Some(verb) = table::verb(&word) {
            match self.verb {
                Some(first) if first.names_word(&word) => {}
                None => {
                    self.verb = Some(verb);
                    return Ok(());
                }
                // A new verb's name after a verb is a package's name: packages were here first.
                Some(first) if verb.rules.classic => return Err(UsageError::TwoVerbs(first.name, verb.name)),
                Some(_) => {}
            }
        }
        let path = Path::new(&word);
        if self.module.is_none() && self.verb.is_some_and(|verb| verb.names_word(&word)) {
            self.take_module(&word);
        } else if path.is_file() {
            if word.ends_with("dkms.conf") {
                self.source =
                    Some(path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new(".")).to_owned());
            } else {
                self.archive = Some(path.to_owned());
            }
        } else if path.is_dir()
            && (path.join("dkms.conf").exists() || self.verb.is_some_and(|verb| verb.operands == table::DIRECTORY))
        {
            self.source = Some(path.to_owned());
        } else if self.module.is_none() {
            self.take_module(&word);
        } else {
            self.unknown.push(word);
        }
        Ok(())
    }
}

/// Longer spellings of options with a value become the option itself.
fn normalise(words: Vec<String>) -> Vec<String> {
    let mut options_ended = false;
    words
        .into_iter()
        .map(|word| {
            options_ended |= word == "--";
            let Some(rest) = word.strip_prefix("--").filter(|_| !options_ended) else { return word };
            let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
            if OPTIONS.iter().any(|opt| opt.long == name) {
                return word;
            }
            match OPTIONS.iter().find(|opt| opt.value.is_some() && name.starts_with(opt.long)) {
                Some(opt) => match value {
                    Some(value) => format!("--{}={value}", opt.long),
                    None => format!("--{}", opt.long),
                },
                None => word,
            }
        })
        .collect()
}

fn explain(error: &clap::Error) -> UsageError {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    match error.kind() {
        clap::error::ErrorKind::UnknownArgument => {
            let longs = OPTIONS.iter().filter(|opt| !opt.deprecated).map(|opt| opt.long);
            let word = named.trim_start_matches('-').split('=').next().unwrap_or_default();
            let hint = nearest(word, longs).map(|meant| format!(". Did you mean --{meant}?"));
            UsageError::UnknownOption(format!("{named}{}", hint.unwrap_or_default()))
        }
        clap::error::ErrorKind::InvalidValue | clap::error::ErrorKind::TooFewValues => UsageError::NoValue(named),
        _ => UsageError::BadValue(error.to_string().trim().to_owned()),
    }
}

/// What words that can't be taken apart are about, as far as it decides how they are answered: the verb, and whether JSON is wanted.
pub fn guess(words: &[OsString]) -> Args {
    let texts: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let mut args = Args { verb: texts.iter().find_map(|word| table::verb(word)), ..Args::default() };
    if texts.contains(&"--format=json") || texts.windows(2).any(|pair| pair == ["--format", "json"]) {
        args.values.push(("format", "json".to_owned()));
    }
    args.flags
        .extend(["dry-run", "yes", "json"].into_iter().filter(|flag| texts.contains(&format!("--{flag}").as_str())));
    args
}

/// Whether the first of `words` asks for nothing but the version: the path that must start fastest.
pub fn asks_for_version(words: &[OsString]) -> bool {
    matches!(words, [only] if only == OsStr::new("--version") || only == OsStr::new("-V"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, UsageError> {
        Args::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn the_verb_may_stand_anywhere() {
        for words in [
            &["build", "hello/1.0", "-k", "6.1"][..],
            &["-k", "6.1", "hello/1.0", "build"],
            &["-k6.1", "-m", "hello", "build", "-v", "1.0"],
        ] {
            let args = parse(words).unwrap();
            assert_eq!(
                (args.verb_name(), args.module.as_deref(), args.version.as_deref()),
                ("build", Some("hello"), Some("1.0"))
            );
            assert_eq!(args.kernels, ["6.1"]);
        }
    }

    #[test]
    fn kernels_and_architectures_pair_as_they_always_did() {
        let args = parse(&["status", "-k", "K1", "-k", "K2/foo", "-a", "bar"]).unwrap();
        assert_eq!(args.kernels, ["K1", "K2"]);
        assert_eq!(args.arches, ["foo", "bar"]);
    }

    #[test]
    fn longer_spellings_are_the_option() {
        let args = parse(&["build", "--modulefoo", "x/1", "--kernelversion=6.1"]).unwrap();
        assert_eq!(args.module.as_deref(), Some("x"));
        assert_eq!(args.kernels, ["6.1"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse(&["--bogus"]).unwrap_err(), UsageError::UnknownOption("--bogus".into()));
        assert_eq!(
            parse(&["install", "--froce"]).unwrap_err(),
            UsageError::UnknownOption("--froce. Did you mean --force?".into())
        );
        let slip = |words: &[&str]| parse(words).unwrap().entry().unwrap_err().to_string();
        assert!(slip(&["isntall", "hello/1.0"]).starts_with("Unknown command: isntall. Did you mean install?\n"));
        assert!(slip(&["hello/1.0", "isntall"]).starts_with("Unknown command: isntall. Did you mean install?\n"));
        assert!(slip(&["frobnicate"]).starts_with("Unknown command: frobnicate.\n"));
        assert_eq!(parse(&["add", "build"]).unwrap_err(), UsageError::TwoVerbs("add", "build"));
        assert!(matches!(parse(&["build", "-k"]), Err(UsageError::NoValue(_))));
        assert!(matches!(parse(&["build", "-j", "many"]), Err(UsageError::BadValue(_))));
        assert_eq!(parse(&["mok", "status"]).unwrap().module.as_deref(), Some("status"));
        assert_eq!(parse(&["status", "a", "b"]).unwrap().unknown, ["b"]);
    }

    #[test]
    fn what_can_not_be_read_is_answered_in_the_words_wanted() {
        for (line, json, document) in [
            ("install a/1 --froce --format json", true, false),
            ("install a/1 --froce --format json --dry-run", true, true),
            ("--format=json status --bogus", true, true),
            ("frobnicate --format=json --bogus", true, false),
            ("install a/1 --froce", false, false),
            ("mkpkg a/1 --format json --bogus", false, false),
            ("mkpkg a/1 --format deb --json --bogus", true, false),
            ("status --json --bogus", true, true),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let args = guess(&words);
            assert_eq!((args.wants_json(), args.prints_document()), (json, document), "{line}");
        }
    }

    #[test]
    fn json_is_a_format_but_where_packages_have_one() {
        for (words, format) in [
            (&["status", "--json"][..], Some("json")),
            (&["lint", "--json", "--format", "json"], Some("json")),
            (&["mkpkg", "a/1", "--json", "--format", "rpm"], Some("rpm")),
            (&["mkdeb", "a/1", "--json"], None),
            (&["mkdriverdisk", "a/1", "--json"], None),
        ] {
            let args = parse(words).unwrap();
            assert_eq!((args.value("format"), args.wants_json()), (format, true), "{words:?}");
        }
        for words in [&["status", "--json", "--format", "text"], &["lint", "--json", "--format", "sarif"]] {
            assert!(matches!(parse(words), Err(UsageError::BadValue(_))), "{words:?}");
        }
    }

    #[test]
    fn directives_repeat_and_trees_override() {
        let args =
            parse(&["build", "--directive", "MAKE=x", "--directive=STRIP=no", "--dkmstree", "/a", "--dkmstree", "/b"])
                .unwrap();
        assert_eq!(args.values("directive"), ["MAKE=x", "STRIP=no"]);
        assert_eq!(args.value("dkmstree"), Some("/b"));
    }

    #[test]
    fn the_sooner_of_repeated_flags_is_no_error() {
        let args = parse(&["remove", "--all", "--all", "-q", "--no-initrd"]).unwrap();
        assert!(args.flag("all") && args.flag("quiet"));
        assert_eq!(args.deprecated, ["no-initrd"]);
    }
}
