//! The scripts of a package (docs/contract.md 4.6).

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::conf::framework::ScriptsAs;
use crate::context::Context;
use crate::durable;
use crate::names::Package;
use crate::process::{self, Environment, Output};
use crate::report::{Event, Reporter};
use crate::sandbox::{Demotion, Looks};
use crate::system_error::SystemError;
use crate::world::environment::only_listed;

/// A script that can be run.
#[derive(Debug)]
pub struct Script {
    /// Its directory, which is also the working directory (outer path).
    pub dir: PathBuf,
    /// The directive's text: a file name and arguments.
    pub line: String,
}

/// Finds the script that `line` names: in `/etc/dkms/<m>/` if it is executable there, else in `dir`. An absolute name,
/// too, is one below these directories: no program of the system's runs in a package's name (docs/contract.md 4.6).
///
/// # Errors
/// Why it does not run, if it is not there or not executable: worth a warning ([`tell_unfit`]), no failure.
pub fn find(ctx: &Context, package: &Package, line: &str, dir: &Path) -> Result<Script, String> {
    let file = line.split_whitespace().next().unwrap_or_default();
    let state = |dir: &Path| match std::fs::metadata(below(dir, file)) {
        Ok(meta) if !meta.is_file() => ScriptFile::NoFile,
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => ScriptFile::NotExecutable,
        Ok(_) => ScriptFile::Runs,
        Err(_) => ScriptFile::Missing,
    };
    let local = ctx.trees.outer(Path::new("/etc/dkms").join(&package.name));
    for dir in [&local, dir] {
        if state(dir) == ScriptFile::Runs {
            return Ok(Script { dir: dir.to_owned(), line: line.to_owned() });
        }
    }
    // A copy of the source has what the source has.
    let shown = below(&source_place(ctx, package), file);
    Err(match state(dir) {
        ScriptFile::NotExecutable => format!("{} lacks the permission to execute: chmod +x {0}", shown.display()),
        ScriptFile::NoFile => format!("{} is not a file.", shown.display()),
        ScriptFile::Missing | ScriptFile::Runs if Path::new(file).is_absolute() => format!(
            "{} does not exist. Scripts are looked for in the source, also where their name begins with \"/\".",
            shown.display()
        ),
        ScriptFile::Missing | ScriptFile::Runs => format!("{} does not exist.", shown.display()),
    })
}

/// Warns of a script that does not run, and says why.
pub fn tell_unfit(which: &str, why: &str, reporter: &dyn Reporter) {
    reporter.report(Event::Line(String::new()));
    reporter.warning(&[&format!("The {which} script is not executable."), &why]);
}

/// The directory of a package's source inside the root, by its own name rather than by the tree's link to it.
pub fn source_place(ctx: &Context, package: &Package) -> PathBuf {
    let link = ctx.trees.shown(&ctx.trees.source_link(package));
    ctx.trees.root.canonical(&link).unwrap_or(link)
}

/// What is at a script's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScriptFile {
    Missing,
    NoFile,
    NotExecutable,
    Runs,
}

/// The script `file` in `dir`; a leading `/` means nothing.
fn below(dir: &Path, file: &str) -> PathBuf {
    dir.join(file.trim_start_matches('/'))
}

/// Why a script that begins with `text`, which is at `shown`, can't be run or goes wrong: its line ends, or the program that
/// its first line names, if that is none of those that there are (`has`).
pub fn unrunnable(text: &[u8], shown: &Path, has: &dyn Fn(&str) -> bool) -> Option<String> {
    let shown = shown.display();
    if text.starts_with(b"#!") && text.windows(2).any(|pair| pair == b"\r\n") {
        return Some(format!(
            "{shown} has DOS line ends, which shells take for a part of the last word. To fix it: sed -i 's/\\r$//' {shown}"
        ));
    }
    let program = interpreter(text).filter(|program| !has(program))?;
    Some(format!("{shown} needs {program}, which does not exist."))
}

/// The program that a script's first line names.
pub fn interpreter(text: &[u8]) -> Option<&str> {
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.split_whitespace().next()
}

/// The arguments of a script as a shell hands them over in `dir`: a word that is a file name pattern becomes the names
/// that it matches, in order; one that matches nothing stays (bash(1), "Pathname Expansion").
fn expanded(dir: &Path, words: std::str::SplitWhitespace<'_>) -> Vec<OsString> {
    let options =
        glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..Default::default() };
    let mut arguments = Vec::new();
    for word in words {
        let mut names: Vec<OsString> = Vec::new();
        if word.contains(['*', '?', '[']) {
            let root = glob::Pattern::escape(&dir.to_string_lossy());
            let pattern = if word.starts_with('/') { word.to_owned() } else { format!("{root}/{word}") };
            let found = glob::glob_with(&pattern, options).into_iter().flatten().flatten();
            names.extend(found.map(|path| match path.strip_prefix(dir) {
                Ok(relative) if !word.starts_with('/') => relative.as_os_str().to_owned(),
                _ => path.into_os_string(),
            }));
        }
        if names.is_empty() {
            names.push(word.into());
        }
        arguments.extend(names);
    }
    arguments
}

/// What build and install hand to scripts, besides the environment of this program.
pub fn environment(package: &Package, kernel: &crate::names::Kernel) -> Environment {
    [
        ("kernelver", kernel.release.as_str()),
        ("arch", kernel.arch.as_str()),
        ("module", package.name.as_str()),
        ("module_version", package.version.as_str()),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value.into()))
    .collect()
}

/// Runs one of the scripts whose output goes to the terminal, in the source directory; gives its exit status. `scripts_as`: who
/// the administrator wants it to be, if that is said for this package.
pub fn run(
    ctx: &Context,
    package: &Package,
    which: &'static str,
    (line, scripts_as): (&str, Option<ScriptsAs>),
    extra: &Environment,
    reporter: &dyn Reporter,
) -> Result<i32, SystemError> {
    let mut scripts_as = scripts_as.unwrap_or(ctx.framework.scripts_as);
    if scripts_as == ScriptsAs::Nobody && ctx.machine.root && ctx.world.demotion() == Demotion::None {
        log::warn!("the {which} script can't be anybody but root, since this system lets us have no other user");
        scripts_as = ScriptsAs::None;
    }
    if scripts_as == ScriptsAs::None {
        reporter.line(&format!("\nThe {which} script of {package} is not run (scripts_as, DKMS_SCRIPTS_AS): {line}"));
        return Ok(0);
    }
    let source = ctx.trees.source_of(package);
    if line.trim().is_empty() {
        return Ok(0);
    }
    let script = match find(ctx, package, line, &source) {
        Ok(script) => script,
        Err(why) => {
            tell_unfit(which, &why, reporter);
            return Ok(0);
        }
    };
    reporter.line(&format!("\nRunning the {which} script:"));
    // In the source directory by way of the tree's link: what a script's `pwd` says.
    let link = ctx.trees.source_link(package);
    let through_link = script.dir == source && ctx.world.is_inside();
    let called = ctx.world.called(&ctx.trees, if through_link { &link } else { &script.dir });
    let mut words = script.line.split_whitespace();
    let program = below(&called, words.next().unwrap_or_default());
    let program_called = program.clone();
    let argv: Vec<OsString> = std::iter::once(program.into_os_string()).chain(expanded(&script.dir, words)).collect();
    let mut task = ctx.world.task(argv, &called);
    if scripts_as == ScriptsAs::Nobody && ctx.machine.root {
        only_listed(&mut task.env);
        let trees = &ctx.trees;
        let needed = [&trees.dkms.outer, &trees.source.outer, &trees.install.outer, &source].map(Clone::clone);
        let looks = Looks { emptied: ctx.world.shared(&needed), hears: false };
        task.confinement = Some(Box::new(ctx.world.lookout(looks, ctx.world.has_private_mounts())));
    }
    task.env.extend(extra.clone());
    task.env.insert("PWD".into(), called.into_os_string());
    task.output = match (ctx.options.quiet, reporter.wants_json()) {
        (true, _) => Output::Null,
        (false, true) => Output::Capture,
        (false, false) => Output::Inherit,
    };
    let end = process::run(task);
    // It may have called this program, or have changed what it was not to.
    ctx.trees.snapshot().forget_all();
    match end {
        Ok(end) => {
            // What was captured is for programs, that read one JSON object a line.
            end.text().lines().for_each(|line| reporter.line(&line));
            Ok(end.code())
        }
        // As a shell has it: there was a script, and it did not succeed.
        Err(error @ process::ProcessError::Start { .. }) => {
            let start = durable::bytes(&below(&script.dir, script.line.split_whitespace().next().unwrap_or_default()));
            let why = unrunnable(&start.unwrap_or_default(), &program_called, &|program| ctx.world.has(program));
            reporter
                .warning(&[&format!("The {which} script can't be run: {}", why.unwrap_or_else(|| error.to_string()))]);
            Ok(126)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // a test's own question to bash
    fn arguments_are_what_bash_makes_of_them() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("a [b] dir");
        fs_err::create_dir_all(dir.join("sub")).unwrap();
        for file in ["one.fw", "two.fw", ".hidden.fw", "sub/three.fw"] {
            fs_err::write(dir.join(file), "").unwrap();
        }
        for line in ["*.fw", "sub/*.fw plain", "*", "no*thing", "[ot]*.fw ?wo.fw", "*/three.fw", ""] {
            let ours = expanded(&dir, line.split_whitespace());
            // bash itself is the judge; its own way to hand over what it expands to.
            let said = std::process::Command::new("bash")
                .args(["-c", &format!("printf '%s\\n' {line} | sed '1{{/^$/d}}'")])
                .current_dir(&dir)
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let theirs: Vec<OsString> = String::from_utf8(said.stdout).unwrap().lines().map(OsString::from).collect();
            assert_eq!(ours, theirs, "{line}");
        }
    }

    #[test]
    fn a_script_that_cannot_run_is_told_why() {
        let why = |text: &[u8]| unrunnable(text, Path::new("/s/x.sh"), &|program| program == "/bin/sh");
        assert_eq!(why(b"#!/bin/sh\nset -e\n"), None);
        assert_eq!(why(b"no first line\r\n"), None);
        assert!(why(b"#!/bin/sh\r\n:\r\n").is_some_and(|why| why.contains("/s/x.sh has DOS line ends")));
        assert!(why(b"#!/bin/sh\nset -e\r\n").is_some_and(|why| why.contains("DOS")));
        assert_eq!(
            why(b"#! /usr/bin/pyhton x\n").as_deref(),
            Some("/s/x.sh needs /usr/bin/pyhton, which does not exist.")
        );
    }

    #[test]
    fn an_absolute_name_stays_below_its_directory() {
        assert_eq!(below(Path::new("/s"), "/bin/true"), Path::new("/s/bin/true"));
        assert_eq!(below(Path::new("/s"), "scripts/x.sh"), Path::new("/s/scripts/x.sh"));
    }
}
