//! A package's directives, checked and typed.

use std::collections::BTreeSet;
use std::fmt;

use super::answer::Answer;
use super::directive::Raw;
use super::exclusive::{Conditions, Exclusive, Pattern};
use super::framework::{BuildAs, ScriptsAs};
use super::values::yes_or_no;
use super::wish::{DKMS_POLICY, Wish};
use crate::reuse::Policy;
use crate::tree::manifest::Provenance;

/// A package's conf. Values that depend on the kernel are those for the request's kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conf {
    /// PACKAGE_NAME as in the file; need not be the name it was added under.
    pub name: String,
    /// PACKAGE_VERSION as in the file.
    pub version: String,
    /// The modules, by record number.
    pub records: Vec<Record>,
    /// MAKE and MAKE_MATCH, in index order; only indices with a command.
    pub make: Vec<Make>,
    /// PATCH and PATCH_MATCH, in index order; only indices with a patch.
    pub patches: Vec<Patch>,
    /// The scripts.
    pub scripts: Scripts,
    /// AUTOINSTALL.
    pub autoinstall: bool,
    /// BUILD_DEPENDS: names of packages, also where one element held several.
    pub build_depends: Vec<String>,
    /// BUILD_DEPENDS_REBUILD.
    pub build_depends_rebuild: bool,
    /// NO_WEAK_MODULES.
    pub no_weak_modules: bool,
    /// BUILD_EXCLUSIVE_*.
    pub exclusive: Exclusive,
    /// OBSOLETE_BY, for the check at installation.
    pub obsolete_by: Option<String>,
    /// DKMS_BUILD_AS: who the administrator wants it built as.
    pub build_as: Option<BuildAs>,
    /// DKMS_BUILD_NETWORK: whether the administrator lets it have a network.
    pub build_network: Option<bool>,
    /// DKMS_SCRIPTS_AS: who the administrator wants its scripts to be, when it is added, installed and removed.
    pub scripts_as: Option<ScriptsAs>,
    /// DKMS_REUSE: what is enough for its modules to be used for another kernel.
    pub reuse: Option<Policy>,
    /// DKMS_JOBS: the most jobs that its make may run at once.
    pub jobs: Option<usize>,
    /// All directives as they were set.
    pub raw: Raw,
}

/// One module of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// BUILT_MODULE_NAME: the file's name in the build directory, without `.ko`.
    pub built_name: String,
    /// BUILT_MODULE_LOCATION: its directory below the build directory, ending in `/`; or empty.
    pub built_location: String,
    /// DEST_MODULE_NAME: its name where it is installed, without `.ko`.
    pub dest_name: String,
    /// DEST_MODULE_LOCATION, as in the file.
    pub dest_location: String,
    /// STRIP.
    pub strip: bool,
}

/// A make command that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Make {
    /// Its index.
    pub index: usize,
    /// The command.
    pub text: String,
    /// MAKE_MATCH at that index.
    pub pattern: Option<Pattern>,
}

/// A patch that may apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its index.
    pub index: usize,
    /// Its file, below `patches/`.
    pub file: String,
    /// PATCH_MATCH at that index.
    pub pattern: Option<Pattern>,
}

/// The scripts: each a file and its arguments in one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// POST_ADD.
    pub post_add: Option<String>,
    /// PRE_BUILD.
    pub pre_build: Option<String>,
    /// POST_BUILD.
    pub post_build: Option<String>,
    /// PRE_INSTALL.
    pub pre_install: Option<String>,
    /// POST_INSTALL.
    pub post_install: Option<String>,
    /// POST_REMOVE.
    pub post_remove: Option<String>,
}

/// Something wrong with a conf; displayed as the classic's line (docs/contract.md 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No modules: the one problem that is only a warning.
    ZeroModules,
    /// A required directive is not set.
    Missing(&'static str),
    /// A required directive is not set for a record.
    MissingFor(&'static str, usize),
    /// A module's name ends in `.o` or `.ko`.
    Suffix(&'static str, usize),
    /// A module's name has a directory in it.
    Directory(&'static str, usize),
    /// DEST_MODULE_LOCATION is none of the places modules may go to.
    Location(usize),
    /// A name or version that somebody's packaging was to replace.
    Placeholder(&'static str, String),
    /// A yes or no is neither.
    Value(&'static str, String),
    /// Two records build or install the same module.
    Duplicate(&'static str, String, usize),
    /// `NAME[index]` is no regular expression, and matches nothing. That of a patch is an error where the patch would be
    /// left out of a build.
    Expression {
        /// The directive.
        name: String,
        /// Its index.
        index: usize,
        /// What it says.
        text: String,
        /// Whether the conf can't be used.
        is_error: bool,
    },
    /// `NAME[index]` has `\d` in it, which is the letter d in an extended regular expression.
    Digit(String, usize),
}

impl Problem {
    /// Whether the conf can't be used.
    pub fn is_error(&self) -> bool {
        !matches!(
            self,
            Self::ZeroModules | Self::Placeholder(..) | Self::Digit(..) | Self::Expression { is_error: false, .. }
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dkms.conf: ")?;
        match self {
            Self::ZeroModules => write!(f, "Warning! Zero modules specified."),
            Self::Missing(name) => write!(f, "Error! No '{name}' directive specified."),
            Self::MissingFor(name, record) => write!(f, "Error! No '{name}' directive specified for record #{record}."),
            Self::Suffix(name, record) => {
                write!(f, "Error! '{name}' directive ends in '.o' or '.ko' in record #{record}.")
            }
            Self::Directory(name, record) => write!(
                f,
                "Error! '{name}' directive has a directory in it in record #{record}.\n\
                 The directory belongs into 'BUILT_MODULE_LOCATION' or 'DEST_MODULE_LOCATION'."
            ),
            Self::Location(record) => write!(
                f,
                "Error! Directive 'DEST_MODULE_LOCATION' does not begin with\n\
                 '/kernel', '/updates', or '/extra' in record #{record}."
            ),
            Self::Placeholder(name, value) => {
                write!(f, "Warning! {name} is '{value}': is that a placeholder which was to be replaced?")
            }
            Self::Value(name, value) => write!(f, "Error! Unsupported {name} value '{value}'"),
            Self::Expression { name, index, text, is_error } => {
                let what = if *is_error { "Error" } else { "Warning" };
                write!(f, "{what}! {name}[{index}]={text} is not a regular expression, and matches no kernel.")
            }
            Self::Digit(name, index) => {
                write!(f, "Warning! \\d in {name}[{index}] means the letter d: a digit is [0-9].")
            }
            Self::Duplicate(name, module, record) => {
                write!(f, "Error! Duplicate module '{module}' in '{name}[{record}]'.")
            }
        }
    }
}

impl Conf {
    /// What it says of an artefact that is made or installed by it.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            build_depends: self.build_depends.clone(),
            post_remove: self.scripts.post_remove.clone(),
            no_weak_modules: self.no_weak_modules,
            has_exclusive: !self.exclusive.is_empty(),
            ..Provenance::default()
        }
    }

    /// Checks an answer. `strict` is how add, build and install read: duplicates are errors, too.
    /// Gives the conf and its warnings, or all of its problems in the classic's order.
    pub fn check(answer: &Answer, strict: bool) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let raw = &answer.raw;
        let mut problems = Vec::new();
        let first = |name| raw.text(name, 0).map(str::to_owned);
        let name = required(raw, "PACKAGE_NAME", &mut problems);
        let version = required(raw, "PACKAGE_VERSION", &mut problems);
        if strict {
            for (directive, value) in [("PACKAGE_NAME", &name), ("PACKAGE_VERSION", &version)] {
                if is_placeholder(value) {
                    problems.push(Problem::Placeholder(directive, value.clone()));
                }
            }
        }
        let records = records(raw, &name, strict, &mut problems);
        let autoinstall = yes(raw, "AUTOINSTALL", &mut problems);
        let build_depends_rebuild = yes(raw, "BUILD_DEPENDS_REBUILD", &mut problems);
        let no_weak_modules = yes(raw, "NO_WEAK_MODULES", &mut problems);
        check_policy(raw, &mut problems);
        let build_as = raw.text("DKMS_BUILD_AS", 0).and_then(|text| {
            let known = BuildAs::parse(text);
            if known.is_none() {
                problems.push(Problem::Value("DKMS_BUILD_AS", text.to_owned()));
            }
            known
        });
        let build_network = raw.text("DKMS_BUILD_NETWORK", 0).and_then(|text| {
            let known = yes_or_no(text);
            if known.is_none() {
                problems.push(Problem::Value("DKMS_BUILD_NETWORK", text.to_owned()));
            }
            known
        });
        let scripts_as = raw.text("DKMS_SCRIPTS_AS", 0).and_then(|text| {
            let known = ScriptsAs::parse(text);
            if known.is_none() {
                problems.push(Problem::Value("DKMS_SCRIPTS_AS", text.to_owned()));
            }
            known
        });
        let reuse = raw.text("DKMS_REUSE", 0).and_then(|text| {
            let known = Policy::parse(text);
            if known.is_none() {
                problems.push(Problem::Value("DKMS_REUSE", text.to_owned()));
            }
            known
        });
        let jobs = raw.text("DKMS_JOBS", 0).and_then(|text| {
            let known = text.trim().parse().ok().filter(|jobs| *jobs > 0);
            if known.is_none() {
                problems.push(Problem::Value("DKMS_JOBS", text.to_owned()));
            }
            known
        });
        problems.extend(answer.invalid.iter().map(|(name, index)| Problem::Expression {
            name: name.clone(),
            index: *index,
            text: raw.text(name, *index).unwrap_or_default().to_owned(),
            is_error: strict && name == "PATCH_MATCH",
        }));
        problems.extend(with_digit(answer));
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        let conf = Self {
            name,
            version,
            records,
            make: chosen(answer, "MAKE", "MAKE_MATCH")
                .map(|(index, text, pattern)| Make { index, text, pattern })
                .collect(),
            patches: chosen(answer, "PATCH", "PATCH_MATCH")
                .map(|(index, file, pattern)| Patch { index, file, pattern })
                .collect(),
            scripts: Scripts {
                post_add: first("POST_ADD"),
                pre_build: first("PRE_BUILD"),
                post_build: first("POST_BUILD"),
                pre_install: first("PRE_INSTALL"),
                post_install: first("POST_INSTALL"),
                post_remove: first("POST_REMOVE"),
            },
            autoinstall,
            build_depends: raw
                .all("BUILD_DEPENDS")
                .flat_map(|(_, names)| names.split_whitespace())
                .map(str::to_owned)
                .collect(),
            build_depends_rebuild,
            no_weak_modules,
            exclusive: exclusive(answer),
            obsolete_by: first("OBSOLETE_BY"),
            build_as,
            build_network,
            scripts_as,
            reuse,
            jobs,
            raw: raw.clone(),
        };
        Ok((conf, problems))
    }
}

/// The expressions with a `\d`, which other dialects have for a digit. Those that are no expressions are reported as such.
fn with_digit(answer: &Answer) -> impl Iterator<Item = Problem> + '_ {
    const EXPRESSIONS: [&str; 4] = ["MAKE_MATCH", "PATCH_MATCH", "BUILD_EXCLUSIVE_KERNEL", "BUILD_EXCLUSIVE_ARCH"];
    EXPRESSIONS
        .into_iter()
        .flat_map(|name| answer.raw.all(name).map(move |(index, text)| (name, index, text)))
        .filter_map(|(name, index, text)| {
            let escaped = text.replace("\\\\", "");
            let is_one = !answer.invalid.contains(&(name.to_owned(), index));
            (is_one && escaped.contains("\\d")).then(|| Problem::Digit(name.to_owned(), index))
        })
}

fn required(raw: &Raw, name: &'static str, problems: &mut Vec<Problem>) -> String {
    let text = raw.text(name, 0);
    if text.is_none() {
        problems.push(Problem::Missing(name));
    }
    text.unwrap_or_default().to_owned()
}

fn records(raw: &Raw, package: &str, strict: bool, problems: &mut Vec<Problem>) -> Vec<Record> {
    const ARRAYS: [&str; 4] =
        ["BUILT_MODULE_NAME", "BUILT_MODULE_LOCATION", "DEST_MODULE_NAME", "DEST_MODULE_LOCATION"];
    // An index far out is a slip; without a bound it would be a loop for ever.
    const MOST: usize = 4096;
    let count = ARRAYS
        .iter()
        .filter_map(|name| raw.all(name).last())
        .map(|(index, _)| index.saturating_add(1).min(MOST))
        .max()
        .unwrap_or(0);
    if count == 0 {
        problems.push(Problem::ZeroModules);
    }
    let (mut built, mut installed) = (BTreeSet::new(), BTreeSet::new());
    let strip_first = strip(raw, 0).unwrap_or(true);
    let mut records = Vec::new();
    for index in 0..count {
        let mut built_name = raw.text("BUILT_MODULE_NAME", index).unwrap_or_default();
        if built_name.is_empty() && count == 1 {
            built_name = package;
        }
        if built_name.is_empty() {
            problems.push(Problem::MissingFor("BUILT_MODULE_NAME", index));
        }
        if has_suffix(built_name) {
            problems.push(Problem::Suffix("BUILT_MODULE_NAME", index));
        }
        let dest_name = raw.text("DEST_MODULE_NAME", index).unwrap_or(built_name);
        // The built name's suffix is inherited and was reported already.
        if has_suffix(raw.text("DEST_MODULE_NAME", index).unwrap_or_default()) {
            problems.push(Problem::Suffix("DEST_MODULE_NAME", index));
        }
        if dest_name.contains('/') {
            // A built name may hold one, as long as the installed one is another.
            let own = raw.text("DEST_MODULE_NAME", index).is_some();
            problems.push(Problem::Directory(if own { "DEST_MODULE_NAME" } else { "BUILT_MODULE_NAME" }, index));
        }
        let dest_location = raw.text("DEST_MODULE_LOCATION", index).unwrap_or_default();
        if dest_location.is_empty() {
            problems.push(Problem::MissingFor("DEST_MODULE_LOCATION", index));
        } else if !["/kernel", "/updates", "/extra"].iter().any(|place| dest_location.starts_with(place)) {
            problems.push(Problem::Location(index));
        }
        let mut built_location = raw.text("BUILT_MODULE_LOCATION", index).unwrap_or_default().to_owned();
        if !built_location.is_empty() && !built_location.ends_with('/') {
            built_location.push('/');
        }
        if strict {
            let module = format!("{built_location}{built_name}");
            if !built_name.is_empty() && !built.insert(module.clone()) {
                problems.push(Problem::Duplicate("BUILT_MODULE_NAME", module, index));
            }
            if !dest_name.is_empty() && !installed.insert(dest_name) {
                let module = dest_name.to_owned();
                problems.push(Problem::Duplicate("DEST_MODULE_NAME", module, index));
            }
        }
        records.push(Record {
            built_name: built_name.to_owned(),
            built_location,
            dest_name: dest_name.to_owned(),
            dest_location: dest_location.to_owned(),
            strip: strip(raw, index).unwrap_or(strip_first),
        });
    }
    records
}

/// Whether a name or version is what packagers write where another is to be put: `@VERSION@`, `#MODULE_VERSION#`,
/// `%VERSION%`, `__VERSION__`, `{{version}}`, `$VERSION`, `PACKAGE_VERSION`.
pub fn is_placeholder(text: &str) -> bool {
    let between = |begin: &str, end: &str| {
        let inner = text.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
        inner.is_some_and(|inner| inner.chars().all(|c| c.is_alphanumeric() || " ._-".contains(c)))
    };
    let marked = [("@", "@"), ("#", "#"), ("%", "%"), ("__", "__"), ("{{", "}}"), ("{", "}"), ("<", ">")];
    let shouted = text.chars().all(|c| c.is_ascii_uppercase() || c == '_') && text.ends_with("VERSION");
    shouted || text.starts_with('$') || marked.iter().any(|(begin, end)| between(begin, end))
}

fn has_suffix(name: &str) -> bool {
    name.ends_with(".o") || name.ends_with(".ko")
}

fn strip(raw: &Raw, index: usize) -> Option<bool> {
    // As the classic has it: every word but a no is a yes.
    raw.text("STRIP", index).map(|word| !word.starts_with(['n', 'N']))
}

fn yes(raw: &Raw, name: &'static str, problems: &mut Vec<Problem>) -> bool {
    match raw.text(name, 0) {
        Some(text) if text.eq_ignore_ascii_case("yes") => true,
        Some(text) if !text.eq_ignore_ascii_case("no") => {
            problems.push(Problem::Value(name, text.to_owned()));
            false
        }
        _ => false,
    }
}

/// Checks DKMS_POLICY, which is ours. What it means is read elsewhere ([`Wish::of`]).
fn check_policy(raw: &Raw, problems: &mut Vec<Problem>) {
    if let Some(text) = raw.text(DKMS_POLICY, 0).filter(|text| Wish::parse(text).is_none()) {
        problems.push(Problem::Value(DKMS_POLICY, text.to_owned()));
    }
}

/// The pattern `name[index]`, if there is one.
fn pattern(answer: &Answer, name: &str, index: usize) -> Option<Pattern> {
    answer.raw.text(name, index).map(|text| Pattern { text: text.to_owned(), matches: answer.matches(name, index) })
}

/// Every value of a directive with the pattern it depends on.
fn chosen<'a>(
    answer: &'a Answer,
    name: &str,
    patterns: &'a str,
) -> impl Iterator<Item = (usize, String, Option<Pattern>)> + 'a {
    answer
        .raw
        .all(name)
        .filter(|(_, text)| !text.is_empty())
        .map(|(index, text)| (index, text.to_owned(), pattern(answer, patterns, index)))
        .collect::<Vec<_>>()
        .into_iter()
}

fn exclusive(answer: &Answer) -> Exclusive {
    let raw = &answer.raw;
    let mut exclusive = Exclusive::new();
    let indices: BTreeSet<usize> = ["KERNEL", "ARCH", "KERNEL_MIN", "KERNEL_MAX", "CONFIG"]
        .iter()
        .flat_map(|part| {
            raw.all(&format!("BUILD_EXCLUSIVE_{part}"))
                .filter(|(_, text)| !text.is_empty())
                .map(|(index, _)| index)
                .collect::<Vec<_>>()
        })
        .collect();
    for index in indices {
        let bound = |name| raw.text(name, index).map(str::to_owned);
        let conditions = Conditions {
            kernel: pattern(answer, "BUILD_EXCLUSIVE_KERNEL", index),
            arch: pattern(answer, "BUILD_EXCLUSIVE_ARCH", index),
            min: bound("BUILD_EXCLUSIVE_KERNEL_MIN"),
            max: bound("BUILD_EXCLUSIVE_KERNEL_MAX"),
            config: raw
                .text("BUILD_EXCLUSIVE_CONFIG", index)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        };
        exclusive.insert(index, conditions);
    }
    // The older spelling counts where the newer one is not used at all.
    if let Some(max) = raw.text("OBSOLETE_BY", 0) {
        if exclusive.values().all(|conditions| conditions.max.is_none()) {
            exclusive.entry(0).or_default().max = Some(max.to_owned());
        }
    }
    exclusive
}
