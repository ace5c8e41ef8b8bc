//! `dkms status`: what is added, built and installed. The lines are an interface (behaviour.md 2.9).

use std::cell::OnceCell;

use serde::Serialize;

use crate::cli::args::Args;
use crate::compress::Compression;
use crate::context::Context;
use crate::error::Error;
use crate::execute::Session;
use crate::finish::trust::{self, Signature};
use crate::install::{artefact, weak};
use crate::names::{Kernel, Package};
use crate::report::{Event, Reporter};
use crate::sign::Certificate;
use crate::sign::state::Prospect;
use crate::tree::compare::{Comparer, Differences, same_bytes};
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{self, Built, Filter, PackageEntry, Source};

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let walk = walk::walk(&ctx.trees, &filter(args));
    let mut rows = Rows {
        ctx,
        comparer: Comparer::new(&ctx.trees),
        session: OnceCell::new(),
        long: args.flag("long"),
        records: OnceCell::new(),
        weak_links: weak::links(&ctx.trees),
        found: Vec::new(),
    };
    for entry in &walk.packages {
        rows.package(entry)?;
        rows.weak(entry, &filter(args));
    }
    if args.value("format") == Some("json") {
        reporter.line(&serde_json::to_string_pretty(&rows.found).map_err(std::io::Error::other)?);
    } else {
        for row in &rows.found {
            row.print(reporter);
        }
    }
    if rows.long {
        let kernels: Vec<Kernel> =
            walk.packages.iter().flat_map(|entry| &entry.built).map(|built| built.kernel.clone()).collect();
        if let Some(session) = rows.session()? {
            super::tell_trust(session, &kernels, reporter)?;
        }
    }
    for entry in &walk.unreadable {
        reporter.warning(&[&format!("{} was passed over: {}", ctx.trees.shown(&entry.path).display(), entry.why)]);
    }
    Ok(0)
}

fn filter(args: &Args) -> Filter {
    let arch = |index: usize| match args.arches.len() {
        0 => None,
        1 => Some(args.arches[0].clone()),
        _ => args.arches.get(index).cloned(),
    };
    let mut kernels: Vec<_> =
        args.kernels.iter().enumerate().map(|(index, release)| (release.clone(), arch(index))).collect();
    if kernels.is_empty() && !args.arches.is_empty() {
        kernels.push(("*".to_owned(), arch(0)));
    }
    let wanted = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
    Filter { name: wanted(&args.module), version: wanted(&args.version), kernels }
}

/// One result.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    original_modules: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'static str>,
    /// What became of the latest tries that came to nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    results: Vec<Record>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modules: Vec<Signature>,
}

impl Row {
    fn print(&self, reporter: &dyn Reporter) {
        let Self { name, version, state, .. } = self;
        let mut text = format!("{name}/{version}");
        if let (Some(kernel), Some(arch)) = (&self.kernel, &self.arch) {
            text.extend([", ", kernel, ", ", arch]);
        }
        text.extend([": ", state]);
        if let Some(from) = &self.from {
            text.extend([" from ", from]);
        }
        if self.original_modules {
            text += " (Original modules exist)";
        }
        if let Some(difference) = self.difference {
            text.extend([" (", difference, ")"]);
        }
        reporter.line(&text);
        for record in &self.results {
            let of_this = self.kernel.as_deref() == Some(record.kernel.release.as_str())
                && self.arch.as_deref() == Some(record.kernel.arch.as_str());
            if let Some(line) = describe(record, !of_this) {
                reporter.line(&format!("    {line}"));
            }
        }
        for module in &self.modules {
            reporter.line(&format!("    {}", module.line()));
        }
        if self.state == "broken" {
            reporter.report(Event::Error(vec![
                format!("{name}/{version}: Missing the module source directory or the symbolic link pointing to it."),
                format!("Put the source back, or run: dkms remove {name}/{version} --all"),
            ]));
        }
    }
}

struct Rows<'a> {
    ctx: &'a Context,
    comparer: Comparer<'a>,
    /// Made only when something has no manifest: then dkms.conf must be evaluated.
    session: OnceCell<Session<'a>>,
    long: bool,
    /// All records, read once.
    records: OnceCell<Vec<Record>>,
    weak_links: Vec<weak::WeakLink>,
    found: Vec<Row>,
}

impl Rows<'_> {
    fn package(&mut self, entry: &PackageEntry) -> Result<(), Error> {
        let row = |state| Row {
            name: entry.package.name.to_string(),
            version: entry.package.version.to_string(),
            kernel: None,
            arch: None,
            state,
            original_modules: false,
            from: None,
            difference: None,
            results: Vec::new(),
            modules: Vec::new(),
        };
        if entry.source == Source::Broken {
            self.found.push(row("broken"));
            return Ok(());
        }
        if entry.built.is_empty() {
            if entry.source == Source::Added {
                let results = self.results(&entry.package, None);
                self.found.push(Row { results, ..row("added") });
            }
            return Ok(());
        }
        for (index, built) in entry.built.iter().enumerate() {
            let difference = self.difference(&entry.package, built)?;
            let mut results = self.results(&entry.package, Some(built));
            if index + 1 == entry.built.len() {
                // Kernels that have nothing of it have no line of their own.
                let has_line = |record: &Record| entry.built.iter().any(|built| built.kernel == record.kernel);
                results.extend(self.results(&entry.package, None).into_iter().filter(|record| !has_line(record)));
            }
            let modules = if self.long { self.signatures(&entry.package, built)? } else { Vec::new() };
            self.found.push(Row {
                kernel: Some(built.kernel.release.to_string()),
                arch: Some(built.kernel.arch.to_string()),
                original_modules: built.original_modules,
                difference,
                results,
                modules,
                ..row(if built.installed { "installed" } else { "built" })
            });
        }
        Ok(())
    }

    /// Kernels that use what was built for another (weak modules).
    fn weak(&mut self, entry: &PackageEntry, filter: &Filter) {
        for (kernel, from) in weak::of_package(&self.ctx.trees, &self.weak_links, &entry.package) {
            if filter.wants_kernel(kernel.release.as_str(), kernel.arch.as_str()) {
                self.found.push(Row {
                    name: entry.package.name.to_string(),
                    version: entry.package.version.to_string(),
                    kernel: Some(kernel.release.to_string()),
                    arch: Some(kernel.arch.to_string()),
                    state: "installed-weak",
                    from: Some(from.to_string()),
                    original_modules: false,
                    difference: None,
                    results: Vec::new(),
                    modules: Vec::new(),
                });
            }
        }
    }

    fn difference(&mut self, package: &Package, built: &Built) -> Result<Option<&'static str>, Error> {
        Ok(match self.comparer.differences(package, built) {
            Differences::None => None,
            Differences::MissingInTree => Some("Built modules are missing in the kernel modules folder"),
            Differences::Differ => Some("Differences between built and installed modules"),
            Differences::NeedConf => return self.by_conf(package, built),
        })
    }

    /// For what the classic built: the modules that dkms.conf names, compared by their bytes.
    fn by_conf(&mut self, package: &Package, built: &Built) -> Result<Option<&'static str>, Error> {
        let Some(session) = self.session()? else { return Ok(None) };
        let evaluated =
            session.facts.kernel(&built.kernel).and_then(|facts| session.facts.evaluate(package, &facts, None, false));
        let evaluated = match evaluated {
            Ok(evaluated) => evaluated,
            Err(error) => {
                log::warn!("{package}: {error}");
                return Ok(None);
            }
        };
        let there = artefact::modules_by_conf(self.ctx, package, &built.kernel, &evaluated)?;
        if there.len() < evaluated.recipe.modules.len() {
            return Ok(Some("Built modules are missing in the kernel modules folder"));
        }
        if !built.installed {
            return Ok(None);
        }
        let dir = self.ctx.trees.modules_dir(&built.kernel.release);
        let artefact = self.ctx.trees.artefact_modules(package, &built.kernel);
        let same = there.iter().all(|module| {
            [&module.location, &module.own_location].into_iter().any(|place| {
                let put = dir.join(place).join(&module.file);
                // A link into the tree (--symlink-modules) leads where the root says.
                put.is_symlink() || same_bytes(&put, &artefact.join(&module.file)).unwrap_or(false)
            })
        });
        Ok(if same { None } else { Some("Differences between built and installed modules") })
    }

    fn session(&self) -> Result<Option<&Session<'_>>, Error> {
        if self.session.get().is_none() {
            let _ = self.session.set(Session::new(self.ctx)?);
        }
        Ok(self.session.get())
    }

    /// What each module's file says of its signature.
    fn signatures(&self, package: &Package, built: &Built) -> Result<Vec<Signature>, Error> {
        let machine = trust::machine(self.ctx);
        let Some(session) = self.session()? else { return Ok(Vec::new()) };
        // Without its configuration a kernel's key is not known; what the file says is.
        let known: Vec<Certificate> = match trust::of_kernel(session, &built.kernel) {
            Ok(Prospect::Key { certificate, .. }) => vec![*certificate],
            _ => Vec::new(),
        };
        let dir = self.ctx.trees.artefact_modules(package, &built.kernel);
        let mut files: Vec<_> = fs_err::read_dir(&dir)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.retain(|file| Compression::of_file(file).is_some());
        files.sort();
        Ok(files.iter().map(|file| Signature::read(file, machine.as_ref(), &known)).collect())
    }

    fn results(&self, package: &Package, built: Option<&Built>) -> Vec<Record> {
        if !self.long {
            return Vec::new();
        }
        // Records are history, and for root alone: without them the rest is as true.
        let records = self.records.get_or_init(|| Record::list(&self.ctx.trees, None).unwrap_or_default());
        let of_this = records.iter().filter(|record| {
            record.package == *package
                && built.is_none_or(|built| record.kernel == built.kernel)
                && !matches!(record.outcome, Outcome::Installed | Outcome::Built | Outcome::Added)
        });
        of_this.cloned().collect()
    }
}

fn describe(record: &Record, with_kernel: bool) -> Option<String> {
    let text = match &record.outcome {
        Outcome::Installed | Outcome::Built | Outcome::Added => return None,
        Outcome::Skipped { why } => format!("not meant for it: {why}"),
        Outcome::Waiting { what } => format!("waiting for {what}"),
        Outcome::Failed { step, diagnostic, log, .. } => {
            let mut text = format!("{step} failed");
            if let Some(diagnostic) = diagnostic {
                text.extend([": ", diagnostic]);
            }
            if let Some(log) = log {
                text.extend([" (see ", &log.to_string_lossy(), ")"]);
            }
            text
        }
    };
    let at = crate::clock::date(u64::try_from(record.at).unwrap_or(0));
    Some(if with_kernel {
        format!("kernel {}: {text}, {at}", record.kernel)
    } else {
        format!("last try: {text}, {at}")
    })
}
