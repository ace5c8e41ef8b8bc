//! `dkms why`: all that is known of one package on one kernel ([`crate::diagnosis::why`]).

use super::kernels;
use crate::cli::args::Args;
use crate::context::Context;
use crate::diagnosis::why;
use crate::error::{Error, RegistrationError, RequestError};
use crate::install;
use crate::names::Package;
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::walk::{self, Filter, PackageEntry};

/// Prints a page for each kernel named, or for the default one.
pub(super) fn run(ctx: &Context, args: &Args, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let entry = entry(ctx, args)?;
    let kernels = kernels(ctx, args)?;
    let session = Session::new(ctx)?;
    let mut pages = Vec::new();
    for kernel in &kernels {
        if !ctx.trees.modules_dir(&kernel.release).is_dir() {
            return Err(Error::Install(install::Error::NoModulesDir(ctx.trees.install.inside.join(&kernel.release))));
        }
        pages.push(why::page(&session, &entry, kernel)?);
    }
    if json {
        super::document(&pages, reporter)?;
    } else {
        for page in &pages {
            page.print(reporter);
        }
    }
    Ok(0)
}

/// The version asked for, or the newest one that is registered.
fn entry(ctx: &Context, args: &Args) -> Result<PackageEntry, Error> {
    let Some(name) = args.module.clone() else {
        return Err(Error::Request(RequestError::NoPackage { verb: args.verb_name(), hint: String::new() }));
    };
    let filter = Filter { name: Some(name.clone()), version: args.version.clone(), ..Filter::default() };
    let newest = walk::walk(&ctx.trees, &filter)
        .packages
        .into_iter()
        .max_by(|a, b| crate::kernel::version::compare(a.package.version.as_str(), b.package.version.as_str()));
    match (newest, &args.version) {
        (Some(entry), _) => Ok(entry),
        (None, Some(version)) => Err(Error::Registration(RegistrationError::NotAdded(Package::new(&name, version)?))),
        (None, None) => Err(Error::Request(RequestError::NoPackage {
            verb: args.verb_name(),
            hint: format!("No package called {name} is registered; dkms status lists those that are.\n"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use crate::command::test_system::System;

    /// The first line, why, and the fix, of hello/1; the JSON must have the same verdict.
    fn asked(system: &System) -> (String, String, Option<String>) {
        let (code, lines) = system.run(&["why", "hello"]);
        assert_eq!(code, 0, "{lines:?}");
        let (_, json) = system.run(&["why", "hello/1", "-k", "6.1", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json.join("\n")).unwrap();
        let text = |field: &str| json[0][field].as_str().map(str::to_owned);
        assert_eq!(format!("  why: {}", text("why").unwrap()), lines[1]);
        (text("verdict").unwrap(), text("why").unwrap(), text("fix"))
    }

    #[test]
    fn each_state_has_its_verdict() {
        let verdict = |line: &str| {
            let system = System::new();
            system.add(line);
            asked(&system)
        };
        let (word, why, fix) = verdict("");
        assert_eq!((word.as_str(), why.as_str()), ("missing", "waiting for headers"));
        assert!(fix.is_some());
        let (word, why, _) = verdict("BUILD_EXCLUSIVE_KERNEL='^5'");
        assert!(word == "excluded" && why.contains("BUILD_EXCLUSIVE_KERNEL=^5"), "{why}");
        let (word, why, _) = verdict("AUTOINSTALL=no");
        assert!(word == "by_hand" && why.contains("AUTOINSTALL"), "{why}");
        let (word, why, _) = verdict("BUILD_DEPENDS=other");
        assert!(word == "missing", "{why}");
        let (word, why, fix) = verdict("DEST_MODULE_LOCATION=/nowhere");
        assert!(word == "missing" && why.contains("DEST_MODULE_LOCATION") && fix.is_some(), "{why}");
        let system = System::new();
        system.add("");
        fs_err::remove_dir_all(system.path().join("usr/src/hello-1")).unwrap();
        assert_eq!(asked(&system).0, "broken");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let system = System::new();
        assert_eq!(system.run(&["why", "hello"]).0, 1);
        assert_eq!(system.run(&["why", "hello/1"]).0, 3);
        system.add("");
        assert_eq!(system.run(&["why", "hello/1", "-k", "9.9"]).0, 6);
    }
}
