//! `dkms why`: all that is known of one package on one kernel ([`crate::diagnosis::why`]).

use super::kernels;
use crate::cli::args::Args;
use crate::context::Context;
use crate::diagnosis::why;
use crate::error::{Error, RegistrationError, RequestError};
use crate::host::boot_loader;
use crate::install;
use crate::kernel::installed::{self, Presence};
use crate::names::{Arch, Kernel, Package, Release};
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::tree::walk::{self, Filter, PackageEntry};

/// Prints a page for each kernel named, or for the running one; if that is not here, for the one that is most likely meant.
pub(super) fn run(ctx: &Context, args: &Args, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let entry = entry(ctx, args)?;
    let kernels = match instead(ctx, args) {
        Some((kernel, why)) => {
            reporter.report(Event::Note(why));
            vec![match args.arches.first() {
                Some(arch) => Kernel { release: kernel, arch: Arch::new(arch.as_str())? },
                None => ctx.kernel(&kernel)?,
            }]
        }
        None => kernels(ctx, args)?,
    };
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

/// The kernel that is told of if none is named and the running one is not here (in another root, nobody knows which runs), and why
/// it is that one.
fn instead(ctx: &Context, args: &Args) -> Option<(Release, String)> {
    let running = ctx.machine.running.as_ref().filter(|_| ctx.trees.root.is_host());
    let is_here = |release: &Release| installed::is_there(&ctx.trees, release);
    if !args.kernels.is_empty() || running.is_some_and(is_here) {
        return None;
    }
    let next = boot_loader::next(&ctx.trees).filter(is_here);
    let newest = || {
        let found = installed::scan(&ctx.trees, &|_, _| false).ok()?;
        Some(found.into_iter().find(|found| found.presence == Presence::Installed)?.release)
    };
    let boots_next = next.is_some();
    let kernel = next.or_else(newest)?;
    let why = words(running, &kernel, boots_next);
    Some((kernel, why))
}

fn words(running: Option<&Release>, kernel: &Release, boots_next: bool) -> String {
    let which = if boots_next { "which boots next" } else { "the newest one here" };
    let begin =
        running.map(|running| format!("The running kernel {running} is not installed here. ")).unwrap_or_default();
    format!("{begin}This is about kernel {kernel}, {which}; name another one with -k.")
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
    use super::*;
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
    fn without_a_kernel_it_is_about_the_one_that_is_meant() {
        let system = System::new();
        system.add("");
        system.write("lib/modules/6.10/modules.order", "");
        let about = || {
            let (code, json) = system.run(&["why", "hello", "--format", "json"]);
            let json: serde_json::Value = serde_json::from_str(&json.join("\n")).unwrap();
            assert_eq!(code, 0);
            json[0]["kernel"]["release"].as_str().unwrap().to_owned()
        };
        assert_eq!(about(), "6.10", "the newest");
        system.write("boot/grub/grub.cfg", "menuentry 'one' {\n linux /boot/vmlinuz-6.1\n}\n");
        assert_eq!(about(), "6.1", "the one that boots next");
        let [running, kernel] = ["6.18.44-custom", "6.1"].map(|release| Release::new(release).unwrap());
        assert_eq!(
            words(Some(&running), &kernel, true),
            "The running kernel 6.18.44-custom is not installed here. This is about kernel 6.1, which boots next; name another one with -k."
        );
        assert_eq!(
            words(None, &kernel, false),
            "This is about kernel 6.1, the newest one here; name another one with -k."
        );
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
