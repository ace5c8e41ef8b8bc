//! `dkms hold` and `dkms unhold`: packages that are left as they are, whatever happens ([`crate::conf::holds`]).

use serde::Serialize;

use super::check_access;
use crate::cli::args::Args;
use crate::conf::holds::{Hold, Holds};
use crate::context::Context;
use crate::error::{Error, RequestError};
use crate::names::{Name, Release};
use crate::register::known;
use crate::report::Reporter;
use crate::system_error::SystemError;

/// A hold, for programs.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Shown<'a> {
    name: &'a Name,
    /// `None`: for all kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<&'a Release>,
}

/// Holds a package, or lists what is held.
pub(super) fn hold(ctx: &Context, args: &Args, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    if args.module.is_none() {
        return list(ctx, json, reporter);
    }
    let name = name(args)?;
    check_access(ctx, args)?;
    let asked: Vec<Hold> = match releases(args)? {
        None => vec![(name.clone(), None)],
        Some(releases) => releases.into_iter().map(|release| (name.clone(), Some(release))).collect(),
    };
    if !known::packages(ctx).iter().any(|package| package.name == name) {
        reporter.warning(&[&format!("No package called {name} is registered.")]);
    }
    let news = change(ctx, |holds| holds.add(&asked))?;
    for hold in &asked {
        let what = words(hold);
        let line = match (news, ctx.options.dry_run) {
            (false, _) => format!("{what} is held already."),
            (true, true) => format!("Would hold {what}."),
            (true, false) => format!("{what} is held: reconcile, autoinstall and upgrades leave it as it is."),
        };
        reporter.line(&line);
    }
    Ok(0)
}

/// Ends holds of a package.
pub(super) fn unhold(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let name = name(args)?;
    check_access(ctx, args)?;
    let releases = releases(args)?;
    let before = Holds::read(&ctx.trees).map_err(SystemError::from)?;
    if releases.is_some() && before.all().any(|(held, release)| *held == name && release.is_none()) {
        return Err(Error::Request(RequestError::HeldForAll(name)));
    }
    let goes = |(held, release): &Hold| {
        let of_these = |all: &Vec<Release>| release.as_ref().is_some_and(|release| all.contains(release));
        *held == name && releases.as_ref().is_none_or(of_these)
    };
    let ends: Vec<Hold> = match &releases {
        None => vec![(name.clone(), None)],
        Some(releases) => releases.iter().map(|release| (name.clone(), Some(release.clone()))).collect(),
    };
    let was = |end: &Hold| before.all().any(|hold| hold.0 == end.0 && (end.1.is_none() || hold.1 == end.1));
    change(ctx, |holds| holds.remove(goes))?;
    for end in &ends {
        let what = words(end);
        reporter.line(&match (was(end), ctx.options.dry_run) {
            (false, _) => format!("{what} is not held."),
            (true, true) => format!("Would no longer hold {what}."),
            (true, false) => format!("{what} is no longer held. To give kernels what they lack: dkms reconcile"),
        });
    }
    Ok(0)
}

/// Changes the holds, but not in a dry run; says whether there is a change.
fn change(ctx: &Context, change: impl FnOnce(&mut Holds) -> bool) -> Result<bool, Error> {
    // A dry run takes no lock: it may not be root's.
    let _lock = if ctx.options.dry_run { None } else { Some(ctx.lock_tree()?) };
    let mut holds = Holds::read(&ctx.trees).map_err(SystemError::from)?;
    let news = change(&mut holds);
    if news && !ctx.options.dry_run {
        holds.write(&ctx.trees).map_err(SystemError::from)?;
        ctx.trees.snapshot().act();
    }
    Ok(news)
}

fn list(ctx: &Context, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let holds = Holds::read(&ctx.trees).map_err(SystemError::from)?;
    if json {
        let shown: Vec<Shown<'_>> = holds.all().map(|(name, kernel)| Shown { name, kernel: kernel.as_ref() }).collect();
        super::document(&shown, reporter)?;
    } else {
        holds.all().for_each(|hold| reporter.line(&words(hold)));
    }
    Ok(0)
}

fn words((name, release): &Hold) -> String {
    match release {
        None => name.to_string(),
        Some(release) => format!("{name} for kernel {release}"),
    }
}

/// The package named: all its versions are held.
fn name(args: &Args) -> Result<Name, Error> {
    match (&args.module, &args.version) {
        (Some(name), None) => Ok(Name::new(name.as_str())?),
        (Some(name), Some(_)) => {
            Err(Error::Request(RequestError::HoldVersion { verb: args.verb_name(), name: name.clone() }))
        }
        (None, _) => Err(Error::Request(RequestError::NoPackage { verb: args.verb_name(), hint: String::new() })),
    }
}

/// The kernels named; `None`: all.
fn releases(args: &Args) -> Result<Option<Vec<Release>>, Error> {
    if args.kernels.is_empty() {
        return Ok(None);
    }
    Ok(Some(args.kernels.iter().map(|release| Release::new(release.as_str())).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use crate::command::test_system::System;

    fn says(system: &System, words: &[&str]) -> String {
        let (code, lines) = system.run(words);
        assert_eq!(code, 0, "{words:?} {lines:?}");
        lines.join("\n")
    }

    #[test]
    fn what_is_held_is_left_alone_and_told_of() {
        let system = System::new();
        system.add("");
        assert!(says(&system, &["reconcile", "--dry-run"]).contains("wait with hello/1"));
        assert_eq!(says(&system, &["hold", "hello", "--dry-run"]), "Would hold hello.");
        assert_eq!(says(&system, &["hold"]), "");
        says(&system, &["hold", "hello", "-k", "6.1"]);
        assert_eq!(says(&system, &["hold"]), "hello for kernel 6.1");
        assert!(says(&system, &["hold", "hello", "-k", "6.1"]).contains("already"));
        assert!(says(&system, &["hold", "--format", "json"]).contains("\"kernel\": \"6.1\""));
        assert!(
            says(&system, &["reconcile", "--dry-run"]).contains("skip hello/1 for kernel 6.1 (x86_64): it is held")
        );
        assert!(says(&system, &["doctor"]).contains("note: 6.1: hello/1: it is held"));
        assert!(says(&system, &["why", "hello", "-k", "6.1"]).contains("dkms unhold hello"));
        assert!(says(&system, &["status", "--matrix"]).contains("h  held"));
        assert!(says(&system, &["unhold", "hello", "-k", "6.2"]).contains("is not held"));
        assert!(says(&system, &["hold", "hello", "-k", "6.2"]).contains("6.2 is held"));
        assert_eq!(
            says(&system, &["unhold", "hello", "-k", "6.2"]),
            "hello for kernel 6.2 is no longer held. To give kernels what they lack: dkms reconcile"
        );
        assert_eq!(says(&system, &["hold"]), "hello for kernel 6.1");
        assert!(says(&system, &["unhold", "hello"]).contains("no longer held"));
        assert_eq!(says(&system, &["unhold", "hello"]), "hello is not held.");
        assert!(says(&system, &["reconcile", "--dry-run"]).contains("wait with hello/1"));
    }

    #[test]
    fn what_can_not_be_held() {
        let system = System::new();
        assert_eq!(system.run(&["hold", "hello/1"]).0, 2);
        assert_eq!(system.run(&["unhold"]).0, 1);
        says(&system, &["hold", "hello"]);
        assert_eq!(system.run(&["unhold", "hello", "-k", "6.1"]).0, 2, "it is held for all kernels");
        assert_eq!(says(&system, &["hold"]), "hello");
    }
}
