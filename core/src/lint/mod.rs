//! What a module author should know before users do: a look at a dkms.conf and the source beside it, and a first dkms.conf for
//! a source that has none (`draft`).
//!
//! Every rule names a true problem, or says that it is a note. What the files don't show is not guessed.

pub mod draft;
pub mod flags;
mod make;
mod source;
mod text;

use std::path::{Path, PathBuf};

use crate::conf::typed::is_placeholder;
use crate::conf::{Answer, Conf, ConfError, Problem};
use crate::kernel::version;
use crate::names::{Name, Version};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The package can't be used, or builds something wrong.
    Error,
    /// It works for some, and not for others.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// The word for it; SARIF 2.1.0 (3.27.10) has the same three.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that is looked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Why it matters, and what to do: one or two sentences.
    pub help: &'static str,
}

macro_rules! rules {
    ($($name:ident $severity:ident $id:literal $help:literal)*) => {
        $(pub(crate) static $name: Rule = Rule { id: $id, severity: Severity::$severity, help: $help };)*
        /// Every rule.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    INVALID Error "invalid" "dkms refuses this dkms.conf with exit status 8."
    DOS_LINES Error "dos-lines" "bash and make take the carriage return for a part of the value. Convert the file with dos2unix."
    UNQUOTED Error "unquoted" "The value ends at the blank, and bash runs the rest as a command. Put the value into quotes."
    SCRIPT_MISSING Error "script-missing" "The step fails with exit status 126 or 127, or is left out. Ship the script, below the directory of dkms.conf."
    SCRIPT_NOT_EXECUTABLE Error "script-not-executable" "The step does not run it. Set its execute bit: chmod +x."
    PATCH_MISSING Error "patch-missing" "The build fails with exit status 5. Patches belong into the directory patches beside dkms.conf."
    DESTINATION_SKIPPED Error "destination-skipped" "depmod passes over directories of this name, so modprobe never finds the module. Choose another place, such as /updates/dkms."
    ASKS_RUNNING_KERNEL Error "asks-running-kernel" "The module is built for the kernel that runs, not for the one that dkms asks for. Name the kernel in MAKE, for example: make KERNELDIR=$kernel_source_dir."
    NEVER_BUILT Error "never-built" "The lower bound is above the upper one: no kernel is left."
    MISSPELT Warning "misspelt" "bash sets any variable without a word, so the directive that was meant stays unset."
    NO_LICENCE Warning "no-licence" "Without MODULE_LICENSE the kernel's build stops with an error, or the loaded module taints the kernel."
    CLEAN_BESIDE Warning "clean-beside-goal" "In one make command with another goal, kernels from 7.2 on replace the module's Makefile. Each build starts from a fresh copy: leave the clean goal away."
    LOST_FLAGS Warning "lost-flags" "Kernels from 6.15 on ignore EXTRA_CFLAGS and its sisters without a word. Set ccflags-y (asflags-y, cppflags-y, ldflags-y), which all kernels since 2.6.24 read."
    FIXED_JOBS Warning "fixed-jobs" "dkms shares the processors among all builds. A number of jobs in MAKE takes the package out of that, and needs more memory than some machines have."
    NEEDS_NETWORK Warning "needs-network" "Builds have no network. Ship what the build needs."
    NEEDS_ROOT Warning "needs-root" "Build scripts run as a user that owns nothing. What changes the system belongs into POST_INSTALL."
    SCRIPT_ABSOLUTE Warning "script-absolute" "A script is looked for below the directory of dkms.conf, so this one is not found and the step is left out."
    WRONG_DIRECTORY Warning "wrong-directory" "dkms keeps a source in NAME-VERSION. Raise the version in dkms.conf together with the directory's, or tools find two packages."
    PATTERN_MATCHES_NOTHING Warning "pattern-matches-nothing" "None of the kernel releases tried matches it. The dots and brackets of an extended regular expression count."
    PLACEHOLDER Note "placeholder-version" "dh_dkms puts the package's version here. For anybody else it is no version."
    DEPRECATED Note "deprecated" "It has no effect any more, or a newer directive does it better; dkms.conf(5) says which."
    PATTERN_MATCHES_ALL Note "pattern-matches-all" "All kernel releases tried match it: it excludes nothing."
    NOT_AUTOMATIC Note "not-automatic" "Without AUTOINSTALL=yes the module is not built for kernels that come later."
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// The file, below the directory that was looked at.
    pub file: PathBuf,
    /// The line in it, from 1, if it has one.
    pub line: Option<usize>,
    /// What is there.
    pub message: String,
}

impl Finding {
    fn new(rule: &'static Rule, file: impl Into<PathBuf>, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { rule, file: file.into(), line, message: message.into() }
    }

    fn conf(rule: &'static Rule, line: Option<usize>, message: impl Into<String>) -> Self {
        Self::new(rule, CONF, line, message)
    }
}

/// The file that all is about.
pub const CONF: &str = "dkms.conf";

/// Evaluates the dkms.conf for a kernel release and an architecture.
pub type Ask<'a> = &'a mut dyn FnMut(&str, &str) -> Result<Answer, ConfError>;

/// Everything found in `dir`, whose dkms.conf is `text`; the worst first, then by file and line.
pub fn check(dir: &Path, text: &str, ask: Ask<'_>) -> Vec<Finding> {
    let mut found = text::check(text);
    match ask("6.12.0", ARCH) {
        Ok(answer) => {
            conf(dir, text, &answer, &mut found);
            source::check(dir, text, &answer.raw, &mut found);
            // The same again for another kernel: a command that is the same for both names none.
            if let Ok(other) = ask("5.15.0", ARCH) {
                make::check(dir, text, &answer, &other, &mut found);
            }
            exclusions(text, &answer, ask, &mut found);
        }
        Err(error) => found.push(Finding::conf(&INVALID, None, error.to_string())),
    }
    found.sort_by(|a, b| {
        (a.rule.severity, &a.file, a.line, a.rule.id).cmp(&(b.rule.severity, &b.file, b.line, b.rule.id))
    });
    found.dedup();
    found
}

/// The architecture that stands for all.
const ARCH: &str = "x86_64";

/// What the values of the directives show.
fn conf(dir: &Path, text: &str, answer: &Answer, found: &mut Vec<Finding>) {
    let raw = &answer.raw;
    let problems = match Conf::check(answer, true) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    for problem in problems {
        let said = problem.to_string();
        let said = said.trim_start_matches("dkms.conf: ").trim_start_matches("Error! ").trim_start_matches("Warning! ");
        let rule = if matches!(problem, Problem::Placeholder(..)) { &PLACEHOLDER } else { &INVALID };
        found.push(Finding::conf(rule, text::line_of_problem(text, &problem), said.replace('\n', " ")));
    }
    let (name, version) = (raw.text("PACKAGE_NAME", 0), raw.text("PACKAGE_VERSION", 0));
    if let Some(Err(error)) = name.map(Name::new) {
        found.push(Finding::conf(&INVALID, text::line_of(text, "PACKAGE_NAME", 0), error.to_string()));
    }
    match version.map(|version| (version, Version::new(version))) {
        // Said already.
        Some((version, _)) if is_placeholder(version) => {}
        Some((_, Err(error))) => {
            found.push(Finding::conf(&INVALID, text::line_of(text, "PACKAGE_VERSION", 0), error.to_string()));
        }
        Some((version, Ok(_))) => {
            let here = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let other =
                name.and_then(|name| here.strip_prefix(name)?.strip_prefix('-').filter(|rest| *rest != version));
            if other.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                let line = text::line_of(text, "PACKAGE_VERSION", 0);
                found.push(Finding::conf(
                    &WRONG_DIRECTORY,
                    line,
                    format!("the version is {version}, the directory is {here}"),
                ));
            }
        }
        None => {}
    }
    for old in &answer.deprecated {
        let line = text::line_of(text, old.directive, 0);
        found.push(Finding::conf(&DEPRECATED, line, format!("{} is deprecated", old.directive)));
    }
    for (index, place) in raw.all("DEST_MODULE_LOCATION") {
        if let Some(part) = place.split('/').find(|part| matches!(*part, "build" | "source")) {
            let line = text::line_of(text, "DEST_MODULE_LOCATION", index);
            let message = format!("DEST_MODULE_LOCATION[{index}] leads through a directory called {part}");
            found.push(Finding::conf(&DESTINATION_SKIPPED, line, message));
        }
    }
    if !raw.text("AUTOINSTALL", 0).is_some_and(|word| word.eq_ignore_ascii_case("yes")) {
        found.push(Finding::conf(&NOT_AUTOMATIC, None, "AUTOINSTALL is not yes"));
    }
}

/// Kernel releases that expressions are tried on: the long-lived ones of old, and all from 5.0 on.
fn releases() -> Vec<String> {
    let old = ["2.6.32", "3.10", "3.16", "4.4", "4.9", "4.14", "4.18", "4.19"].map(str::to_owned);
    let new = [(5, 19), (6, 19), (7, 4)]
        .into_iter()
        .flat_map(|(major, last)| (0..=last).map(move |minor| format!("{major}.{minor}")));
    old.into_iter().chain(new).flat_map(|base| [format!("{base}.0"), format!("{base}.7-1-amd64")]).collect()
}

/// Exclusions that can't be meant.
fn exclusions(text: &str, answer: &Answer, ask: Ask<'_>, found: &mut Vec<Finding>) {
    const PATTERNS: &[&str] = &["BUILD_EXCLUSIVE_KERNEL", "MAKE_MATCH", "PATCH_MATCH"];
    let raw = &answer.raw;
    for (index, min) in raw.all("BUILD_EXCLUSIVE_KERNEL_MIN") {
        if let Some(max) = raw.text("BUILD_EXCLUSIVE_KERNEL_MAX", index).filter(|_| !min.is_empty()) {
            if version::compare(min, max).is_gt() {
                let line = text::line_of(text, "BUILD_EXCLUSIVE_KERNEL_MIN", index);
                let message = format!(
                    "BUILD_EXCLUSIVE_KERNEL_MIN[{index}]={min} is above BUILD_EXCLUSIVE_KERNEL_MAX[{index}]={max}"
                );
                found.push(Finding::conf(&NEVER_BUILT, line, message));
            }
        }
    }
    let mut open: Vec<(&str, usize, usize)> = PATTERNS
        .iter()
        .flat_map(|name| raw.all(name).filter(|(_, text)| !text.is_empty()).map(move |(index, _)| (*name, index, 0)))
        .filter(|(name, index, _)| !answer.invalid.contains(&((*name).to_owned(), *index)))
        .collect();
    if open.is_empty() {
        return;
    }
    let releases = releases();
    for release in &releases {
        let Ok(answer) = ask(release, ARCH) else { return };
        for (name, index, matched) in &mut open {
            *matched += usize::from(answer.matches(name, *index));
        }
    }
    for (name, index, matched) in open {
        let line = text::line_of(text, name, index);
        let value = raw.text(name, index).unwrap_or_default();
        // A value that the file computes may be another one for other kernels.
        if text::is_computed(text, name, index) {
            continue;
        }
        if matched == 0 {
            let message = format!("{name}[{index}]={value} matches none of {} kernel releases tried", releases.len());
            found.push(Finding::conf(&PATTERN_MATCHES_NOTHING, line, message));
        } else if matched == releases.len() && name == "BUILD_EXCLUSIVE_KERNEL" {
            found.push(Finding::conf(
                &PATTERN_MATCHES_ALL,
                line,
                format!("{name}[{index}]={value} matches every kernel"),
            ));
        }
    }
}

#[cfg(test)]
mod tests;
