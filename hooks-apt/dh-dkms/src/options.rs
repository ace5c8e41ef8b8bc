//! The command line: debhelper's common options (debhelper(7)) and our own.

use crate::error::Error;

/// What `--help` prints.
pub const HELP: &str = "\
Usage: dh_dkms [debhelper options] [-V[VERSION]] [-- FILE]

Puts debian/PACKAGE.dkms (a dkms.conf, or a list of such files) into PACKAGE as
/usr/src/NAME-VERSION/dkms.conf, with the relation to dkms and the snippets of
maintainer scripts that it needs. The sources themselves are the packager's.

  -V[VERSION]       write VERSION (default: the upstream version of the package)
                    in place of #MODULE_VERSION#
  -- FILE           use FILE as the dkms.conf of the package
  -p, --package=PACKAGE   -N, --no-package=PACKAGE   -i, --indep   -a, --arch
  -P, --tmpdir=DIRECTORY  -n, --no-scripts   --no-act   -v, --verbose
";

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Say what is done.
    pub verbose: bool,
    /// Do nothing.
    pub no_act: bool,
    /// Architecture-dependent packages only.
    pub arch: bool,
    /// Architecture-independent packages only.
    pub indep: bool,
    /// Only these packages.
    pub packages: Vec<String>,
    /// Not these packages.
    pub excluded: Vec<String>,
    /// Where the package is put together, instead of debian/PACKAGE.
    pub tmpdir: Option<String>,
    /// No snippets.
    pub no_scripts: bool,
    /// `-V`: `Some("")` without a value.
    pub version: Option<String>,
    /// Where files are looked for.
    pub source_dirs: Vec<String>,
    /// dkms.conf files named on the command line.
    pub files: Vec<String>,
    /// Print the help.
    pub help: bool,
}

/// One option: its short letter, its long name, what value it takes.
struct Known(Option<char>, &'static str, Takes);

#[derive(PartialEq, Eq, Clone, Copy)]
enum Takes {
    Nothing,
    Value,
    /// A value if the next word is none of the options.
    Maybe,
}

use Takes::{Maybe, Nothing, Value};

const KNOWN: &[Known] = &[
    Known(Some('v'), "verbose", Nothing),
    Known(None, "no-act", Nothing),
    Known(Some('a'), "arch", Nothing),
    Known(Some('s'), "same-arch", Nothing),
    Known(Some('i'), "indep", Nothing),
    Known(Some('p'), "package", Value),
    Known(Some('N'), "no-package", Value),
    Known(None, "remaining-packages", Nothing),
    Known(Some('P'), "tmpdir", Value),
    Known(Some('n'), "no-scripts", Nothing),
    Known(Some('n'), "noscripts", Nothing),
    Known(Some('o'), "only-scripts", Nothing),
    Known(Some('V'), "version-info", Maybe),
    Known(Some('V'), "set-version", Maybe),
    Known(Some('l'), "legacy", Nothing),
    Known(None, "sourcedir", Value),
    Known(None, "mainpackage", Value),
    Known(None, "ignore", Value),
    Known(Some('X'), "exclude", Value),
    Known(None, "create-in-sequence", Nothing),
    Known(None, "no-create-in-sequence", Nothing),
    Known(None, "name", Value),
    Known(Some('h'), "help", Nothing),
];

impl Options {
    /// Reads the words, and what debhelper's variables add in front of them.
    pub fn read(words: impl Iterator<Item = String>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut options =
            Self { verbose: on(variable("DH_VERBOSE")), no_act: on(variable("DH_NO_ACT")), ..Self::default() };
        // dh's options are for every command of its sequence: those unknown here are somebody else's.
        if let Some(text) = variable("DH_INTERNAL_OPTIONS") {
            options.take(text.split('\u{1e}').map(str::to_owned).collect(), true)?;
        }
        if let Some(text) = variable("DH_OPTIONS") {
            options.take(text.split_whitespace().map(str::to_owned).collect(), true)?;
        }
        options.take(words.collect(), false)?;
        Ok(options)
    }

    fn take(&mut self, words: Vec<String>, lenient: bool) -> Result<(), Error> {
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                self.files.extend(words);
                return Ok(());
            }
            if let Some(passed) = word.strip_prefix("-O") {
                self.take(vec![passed.trim_start_matches('=').to_owned()], true)?;
                continue;
            }
            let Some((known, value)) = known(&word) else {
                match word.strip_prefix('-') {
                    Some(_) if lenient => continue,
                    Some(_) => return Err(Error::Usage(format!("{word} is no option"))),
                    None => self.files.push(word),
                }
                continue;
            };
            let value = match (value, known.2) {
                (Some(value), _) => value,
                (None, Nothing) => String::new(),
                (None, Value) => words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?,
                (None, Maybe) => words.next_if(|next| !next.starts_with('-')).unwrap_or_default(),
            };
            self.set(known.1, value);
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            "verbose" => self.verbose = true,
            "no-act" => self.no_act = true,
            "arch" | "same-arch" => self.arch = true,
            "indep" => self.indep = true,
            "package" => self.packages.push(value),
            "no-package" => self.excluded.push(value),
            "tmpdir" => self.tmpdir = Some(value),
            "no-scripts" | "noscripts" => self.no_scripts = true,
            "version-info" | "set-version" => self.version = Some(value),
            "sourcedir" => self.source_dirs.push(value),
            "help" => self.help = true,
            _ => {}
        }
    }
}

/// The option that a word is, with a value that is part of the word.
fn known(word: &str) -> Option<(&'static Known, Option<String>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return Some((KNOWN.iter().find(|known| known.1 == name)?, value.map(str::to_owned)));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let known = KNOWN.iter().find(|known| known.0 == Some(letter))?;
    let rest = letters.as_str().trim_start_matches('=');
    Some((known, (known.2 != Nothing && !rest.is_empty()).then(|| rest.to_owned())))
}

fn on(value: Option<String>) -> bool {
    value.is_some_and(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Options {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::read(words.iter().map(|word| (*word).to_owned()), &variable).unwrap()
    }

    #[test]
    fn debhelpers_spellings() {
        let options = read(
            &[
                "-pone",
                "--package=two",
                "-p",
                "three",
                "-Nfour",
                "-i",
                "-Pdebian/tmp",
                "-O--buildsystem=x",
                "-O-v",
                "--",
                "f",
            ],
            &[],
        );
        assert_eq!(options.packages, ["one", "two", "three"]);
        assert_eq!((options.excluded, options.files), (vec!["four".to_owned()], vec!["f".to_owned()]));
        assert!(options.indep && options.verbose && !options.no_act);
        assert_eq!(options.tmpdir.as_deref(), Some("debian/tmp"));
    }

    #[test]
    fn versions() {
        for (words, version) in [
            (&["-V"][..], Some("")),
            (&["-V", "1.2"], Some("1.2")),
            (&["-V1.2"], Some("1.2")),
            (&["-V", "-v"], Some("")),
            (&["-v"], None),
        ] {
            assert_eq!(read(words, &[]).version.as_deref(), version, "{words:?}");
        }
    }

    #[test]
    fn the_environment() {
        let options =
            read(&[], &[("DH_VERBOSE", "1"), ("DH_NO_ACT", "0"), ("DH_INTERNAL_OPTIONS", "-a\u{1e}--foo\u{1e}-Nx")]);
        assert!(options.verbose && !options.no_act && options.arch);
        assert_eq!(options.excluded, ["x"]);
        let bad = Options::read(["--foo".to_owned()].into_iter(), &|_| None);
        assert!(bad.unwrap_err().to_string().contains("--foo"));
    }
}
