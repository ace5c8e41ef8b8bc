//! All that is known of one package on one kernel, with the answer first. It looks, and changes nothing.

use std::path::Path;

use serde::Serialize;

use super::cause::untried;
use crate::clock;
use crate::context::Context;
use crate::error::Error;
use crate::facts::KernelFacts;
use crate::host::{boot_loader, headers_package, owner};
use crate::initramfs;
use crate::loadable::gather::Loadable;
use crate::names::{Kernel, Package};
use crate::plan::{Action, Reason, Step};
use crate::reconcile::{How, Scope, preview};
use crate::report::Reporter;
use crate::run::Session;
use crate::sign::will_load::{self, Signature};
use crate::tree::manifest::KernelManifest;
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{PackageEntry, Source};

/// The answer for one kernel.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Page {
    package: Package,
    kernel: Kernel,
    /// One of `loadable`, `not_loadable`, `missing`, `outdated`, `excluded`, `by_hand`, `held`, `broken`.
    verdict: &'static str,
    /// Why, in words.
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// What keeps it from happening again.
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting: Option<String>,
    /// What is known besides.
    facts: Vec<Fact>,
    /// The log of the failed build, around its first error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excerpt: Vec<String>,
}

/// A thing that is known, with a word for it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Fact {
    about: &'static str,
    text: String,
}

/// The page of a registered package, on a kernel that has a directory for modules.
pub fn page(session: &Session<'_>, entry: &PackageEntry, kernel: &Kernel) -> Result<Page, Error> {
    let ctx = session.ctx;
    let package = &entry.package;
    let how = How { spare_known_failures: true, ..How::default() };
    let plan = preview(session, &Scope::Kernels(vec![kernel.clone()]), how)?.plan;
    let step = plan.steps.iter().find(|step| step.package == *package);
    let loadable = Loadable::new(&ctx.trees);
    let answers = loadable.package(package, kernel);
    // What somebody wants so only tells if nothing is wrong.
    let refused = answers.iter().filter_map(|answer| Some((&answer.module, answer.answer.as_ref().err()?)));
    let refused = refused.min_by_key(|(_, why)| why.is_meant());
    let (verdict, why, fix, lasting) = match (entry.source, step, refused) {
        (Source::Broken, ..) => {
            let fix = format!("put the source back, or: dkms remove {package} --all");
            ("broken", "its source is gone".to_owned(), Some(fix), None)
        }
        (_, Some(Step { action: Action::Keep, .. }), Some((module, why))) if why.is_meant() => {
            ("loadable", format!("{module} is installed, but {why}"), None, None)
        }
        (_, Some(step @ Step { action: Action::Keep, .. }), Some((module, why))) => {
            let fix = why.mend(&step.package.to_string(), &kernel.release);
            ("not_loadable", format!("{module} would not be loaded: {why}"), fix, None)
        }
        (_, Some(Step { reason: Reason::Excluded(why), .. }), _) => {
            ("excluded", format!("it is not meant for this kernel: {why}"), None, None)
        }
        (_, Some(Step { reason: reason @ Reason::Manual, .. }), _) => {
            let fix = format!("dkms install {package} -k {}", kernel.release);
            ("by_hand", format!("{reason} (AUTOINSTALL is not \"yes\")"), Some(fix), None)
        }
        (_, Some(Step { reason: Reason::Held, .. }), _) => {
            let why = "it is held: what there is of it stays as it is".to_owned();
            ("held", why, Some(format!("dkms unhold {}", package.name)), None)
        }
        (_, Some(Step { action: Action::Keep, reason: Reason::Present, .. }), _) => {
            ("loadable", "it is installed, and modprobe would load it".to_owned(), None, None)
        }
        (_, Some(Step { action: Action::Keep | Action::Skip, reason, .. }), _) => {
            ("loadable", reason.to_string(), None, None)
        }
        (_, Some(Step { reason: Reason::Missing, .. }), _)
            if Record::load(&ctx.trees, package, kernel).is_ok_and(|record| record.is_none()) =>
        {
            let fix = format!("dkms install {package} -k {}", kernel.release);
            ("missing", "it was never built for this kernel".to_owned(), Some(fix), None)
        }
        (_, Some(step @ Step { reason: Reason::Stale(_), .. }), _)
            if entry.built.iter().any(|built| built.installed && built.kernel == *kernel) =>
        {
            let cause = untried(ctx, step);
            ("outdated", cause.why, cause.fix, cause.lasting)
        }
        (_, Some(step), _) => {
            let cause = untried(ctx, step);
            ("missing", cause.why, cause.fix, cause.lasting)
        }
        (_, None, _) => {
            let fix = format!("dkms install {package} -k {}", kernel.release);
            ("missing", "another version of it is newer, or nothing asks for it".to_owned(), Some(fix), None)
        }
    };
    let facts = session.facts.kernel(kernel)?;
    let mut page = Page {
        package: package.clone(),
        kernel: kernel.clone(),
        verdict,
        why,
        fix,
        lasting,
        facts: Vec::new(),
        excerpt: Vec::new(),
    };
    page.source(ctx, entry);
    page.kernel(session, &facts);
    page.conf(session, package, &facts);
    page.last_result(ctx);
    page.modules(session, &loadable)?;
    Ok(page)
}

impl Page {
    fn add(&mut self, about: &'static str, text: impl Into<String>) {
        self.facts.push(Fact { about, text: text.into() });
    }

    /// Where it comes from.
    fn source(&mut self, ctx: &Context, entry: &PackageEntry) {
        let source = ctx.trees.source_place(&entry.package);
        match entry.source {
            Source::Broken => self.add("source", format!("{} is gone", source.display())),
            Source::None => self.add("source", "there is none: only built modules are registered"),
            Source::Added => {
                let owner = owner::package_of(&ctx.world, &source);
                let owner = owner.map_or_else(
                    || "no package of the package manager has it".to_owned(),
                    |name| format!("of the package {name}"),
                );
                self.add("source", format!("{}, {owner}", source.display()));
            }
        }
    }

    /// The kernel, its headers, its compiler.
    fn kernel(&mut self, session: &Session<'_>, facts: &KernelFacts) {
        let ctx = session.ctx;
        let release = &self.kernel.release.clone();
        let running = ctx.machine.running.as_ref().filter(|_| ctx.trees.root.is_host()) == Some(release);
        let next = boot_loader::next(&ctx.trees).as_ref() == Some(release);
        let words: Vec<_> =
            [(running, "it runs now"), (next, "it boots next")].into_iter().filter(|(is, _)| *is).collect();
        if !words.is_empty() {
            self.add("kernel", words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", "));
        }
        match &facts.headers {
            Ok(headers) => self.add("headers", headers.inside.display().to_string()),
            Err(_) if !ctx.framework.share.build_locally => {
                self.add("headers", "none, and none are needed: build_locally=\"never\"");
            }
            Err(_) => self.add("headers", headers_package::missing(&ctx.distribution, &ctx.trees, release)),
        }
        if let Some(text) = &facts.toolchain.text {
            let cc = facts.toolchain.cc.as_ref().or(facts.toolchain.kernel_cc.as_ref());
            let ours = cc.map(|cc| format!("; modules are built with {cc}")).unwrap_or_default();
            self.add("compiler", format!("the kernel was built with {text}{ours}"));
        }
    }

    /// What its dkms.conf says.
    fn conf(&mut self, session: &Session<'_>, package: &Package, facts: &KernelFacts) {
        let Ok(evaluated) = session.facts.evaluate(package, facts, None, false) else { return };
        if !evaluated.conf.autoinstall {
            self.add("dkms.conf", "AUTOINSTALL is not \"yes\": it is not built for new kernels by itself");
        }
        if !evaluated.conf.build_depends.is_empty() {
            self.add("needs", evaluated.conf.build_depends.join(", "));
        }
    }

    /// The last thing that happened, and the log around its first error.
    fn last_result(&mut self, ctx: &Context) {
        let Ok(Some(record)) = Record::load(&ctx.trees, &self.package, &self.kernel) else { return };
        let at = clock::date(u64::try_from(record.at).unwrap_or(0));
        let text = match &record.outcome {
            Outcome::Installed => "installed".to_owned(),
            Outcome::Built => "built".to_owned(),
            Outcome::Added => "registered".to_owned(),
            Outcome::Skipped { why } => format!("left out: {why}"),
            Outcome::Waiting { what } => format!("waiting for {what}"),
            Outcome::Failed { step, diagnostic, .. } => {
                format!("{step} failed{}", diagnostic.as_ref().map(|text| format!(": {text}")).unwrap_or_default())
            }
        };
        self.add("last result", format!("{text}, {at}"));
        if let Outcome::Failed { diagnostic, log: Some(log), .. } = &record.outcome {
            self.add("log", log.display().to_string());
            self.excerpt = excerpt(&ctx.trees.outer(log), diagnostic.as_deref());
        }
    }

    /// Each installed module: where it is, whether it would be loaded, its signature, whether it is loaded.
    fn modules(&mut self, session: &Session<'_>, loadable: &Loadable<'_>) -> Result<(), Error> {
        let ctx = session.ctx;
        let Some(beside) = KernelManifest::beside(&ctx.trees, &self.kernel.release)? else { return Ok(()) };
        let Some(entry) = beside.find(&self.package, &self.kernel.arch) else { return Ok(()) };
        let machine = will_load::machine(ctx);
        let in_image = initramfs::list::read(&ctx.trees, &self.kernel.release);
        let dir = ctx.trees.modules_dir(&self.kernel.release);
        for file in &entry.files {
            let outer = dir.join(&file.path).join(&file.file);
            let loads = match loadable.file(&self.package, file, &self.kernel) {
                Ok(()) => "modprobe would load it".to_owned(),
                Err(why) => format!("would not be loaded: {why}"),
            };
            self.add("module", format!("{}: {loads}", ctx.trees.shown(&outer).display()));
            self.add("signature", Signature::read(&outer, machine.as_ref(), &[]).line());
            if in_image.contains(&file.name) {
                self.add("initramfs", format!("{} belongs into it: it replaces one of the kernel's own", file.name));
            }
            let here = ctx.trees.root.is_host() && ctx.machine.running.as_ref() == Some(&self.kernel.release);
            if let Some(text) =
                here.then(|| loaded(Path::new("/sys/module"), &file.name, file.srcversion.as_deref())).flatten()
            {
                self.add("loaded", text);
            }
        }
        for answer in loadable.in_image(&self.package, &self.kernel) {
            if let Err(why) = answer.answer {
                self.add("initramfs", format!("{}: {why}", answer.module));
            }
        }
        Ok(())
    }

    /// Prints it for people.
    pub fn print(&self, reporter: &dyn Reporter) {
        let what = match self.verdict {
            "loadable" => "is as it should be",
            "not_loadable" => "is installed, but would not be loaded",
            "excluded" => "is excluded",
            "held" => "is held",
            "by_hand" => "is not installed by itself",
            "broken" => "is broken",
            "outdated" => "is installed, but is to be built again",
            _ => "is missing",
        };
        reporter.line(&format!("{} {what} for kernel {}", self.package, self.kernel));
        reporter.line(&format!("  why: {}", self.why));
        for (word, text) in [("fix", &self.fix), ("so that it does not happen again", &self.lasting)] {
            if let Some(text) = text {
                reporter.line(&format!("  {word}: {text}"));
            }
        }
        reporter.line(&"");
        for Fact { about, text } in &self.facts {
            reporter.line(&format!("  {about:<12} {text}"));
        }
        if !self.excerpt.is_empty() {
            reporter.line(&"");
            self.excerpt.iter().for_each(|line| reporter.line(&format!("  | {line}")));
        }
    }
}

/// Whether a module of this name is loaded (`sys`: /sys/module), and whether it is the installed one.
fn loaded(sys: &Path, name: &str, srcversion: Option<&str>) -> Option<String> {
    let dir = sys.join(name.replace('-', "_"));
    if !dir.join("initstate").exists() {
        return Some(format!("{name} is not loaded now"));
    }
    let running = std::fs::read_to_string(dir.join("srcversion")).ok()?;
    Some(match srcversion {
        Some(ours) if ours == running.trim() => format!("{name} is loaded, and is the installed one"),
        Some(_) => format!("{name} is loaded, but is another build: reboot, or load it again"),
        None => format!("{name} is loaded"),
    })
}

/// Ten lines of a log around the first one that holds the diagnostic; else its last ten.
fn excerpt(log: &Path, diagnostic: Option<&str>) -> Vec<String> {
    const AROUND: usize = 5;
    let Ok(bytes) = fs_err::read(log) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    // The log has the paths of the build directory in it, the diagnostic has not.
    let at = diagnostic.and_then(|text| lines.iter().position(|line| line.contains(text)));
    let (from, to) = match at {
        Some(at) => (at.saturating_sub(AROUND), (at + AROUND).min(lines.len())),
        None => (lines.len().saturating_sub(2 * AROUND), lines.len()),
    };
    let printable = |line: &str| line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect();
    lines[from..to].iter().map(|line| printable(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excerpt_is_around_the_first_error_and_shows_no_control_characters() {
        let tmp = tempfile::tempdir().unwrap();
        let log = tmp.path().join("make.log");
        let text: String = (0..30).map(|n| format!("line {n}\x1b[1m\n")).collect();
        fs_err::write(&log, text.replace("line 17", "/b/m.c:1: error: x")).unwrap();
        let found = excerpt(&log, Some("m.c:1: error: x"));
        assert_eq!((found.len(), found[0].as_str(), found[5].as_str()), (10, "line 12?[1m", "/b/m.c:1: error: x?[1m"));
        assert_eq!(excerpt(&log, None).last().unwrap(), "line 29?[1m");
        assert!(excerpt(&tmp.path().join("gone"), None).is_empty());
    }

    #[test]
    fn what_is_loaded_is_compared_with_what_is_installed() {
        let sys = tempfile::tempdir().unwrap();
        let dir = sys.path().join("a_b");
        fs_err::create_dir(&dir).unwrap();
        // A built-in module with parameters has a directory, too.
        assert_eq!(loaded(sys.path(), "a-b", Some("1")).unwrap(), "a-b is not loaded now");
        fs_err::write(dir.join("initstate"), "live\n").unwrap();
        fs_err::write(dir.join("srcversion"), "1\n").unwrap();
        assert!(loaded(sys.path(), "a-b", Some("1")).unwrap().ends_with("is the installed one"));
        assert!(loaded(sys.path(), "a-b", Some("2")).unwrap().contains("another build"));
    }
}
