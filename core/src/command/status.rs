//! `dkms status`: what is added, built and installed. The lines are an interface (docs/contract.md 2.9).

mod row;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) use self::row::Row;
use self::row::{NotLoadable, NotReused, ReusedFrom};
use super::settings;
use super::source::some_kernel;
use crate::cli::args::Args;
use crate::cli::verb::Show;
use crate::compress::Compression;
use crate::context::Context;
use crate::error::Error;
use crate::install::artefact;
use crate::install::source_change::{self, Newest};
use crate::loadable::gather::Loadable;
use crate::names::{Kernel, Package, Release};
use crate::report::{Event, Reporter};
use crate::run::{Session, follow_up};
use crate::sign::Certificate;
use crate::sign::state::ExpectedSigning;
use crate::sign::trust::MachineTrust;
use crate::sign::will_load::{self, Signature};
use crate::tree::Trees;
use crate::tree::beside::{self, Beside, Files};
use crate::tree::compare::{Differences, differences, same_bytes};
use crate::tree::manifest::{CachedResult, How, KernelManifest, Manifest};
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{self, Built, Filter, PackageEntry, Source};
use crate::weak;

/// The classic's words.
const MISSING: &str = "Built modules are missing in the kernel modules folder";
const DIFFER: &str = "Differences between built and installed modules";

pub(super) fn run(ctx: &Context, args: &Args, show: Show, reporter: &dyn Reporter) -> Result<u8, Error> {
    let filter = filter(args);
    let walk = walk::walk(&ctx.trees, &filter);
    // Where the tree is empty (/var is not part of every system), what lies beside the modules tells.
    let beside = beside::unknown_to(&ctx.trees, &filter, &walk);
    let built = |entry: &PackageEntry| {
        let pair = |built: &Built| (entry.package.clone(), built.kernel.clone());
        entry.built.iter().map(pair).collect::<Vec<_>>()
    };
    let by_itself = beside.iter().map(|beside| (beside.package.clone(), beside.kernel.clone()));
    let pairs: Vec<(Package, Kernel)> = walk.packages.iter().flat_map(built).chain(by_itself).collect();
    let mut rows = Rows {
        ctx,
        args,
        loadable: Loadable::new(&ctx.trees),
        session: OnceCell::new(),
        long: show.long,
        records: OnceCell::new(),
        newest: RefCell::default(),
        machine: OnceCell::new(),
        certificates: RefCell::default(),
        // Links between the system's kernels say nothing of another tree.
        shared: if ctx.trees.is_another { BTreeMap::new() } else { weak::links::shared(&ctx.trees) },
        found: Vec::new(),
    };
    let shared: Vec<Package> = rows.shared.keys().filter(|package| filter.wants_package(package)).cloned().collect();
    for (entry, beside) in together(walk.packages, beside, shared) {
        rows.package(&entry, &beside)?;
        rows.weak(&entry.package, &filter);
    }
    if rows.long {
        let overdue = follow_up::overdue(&ctx.trees);
        for row in &mut rows.found {
            let of_row = overdue.iter().filter(|overdue| row.kernel.as_deref() == Some(overdue.kernel.as_str()));
            row.overdue = of_row.map(|overdue| overdue.what).collect();
        }
    }
    if show.json {
        super::document(&rows.found, reporter)?;
    } else {
        for row in &rows.found {
            row.print(reporter);
        }
        if ctx.machine.terminal && !show.long {
            if let Some(line) = footer(&Record::list(&ctx.trees, None).unwrap_or_default(), &ctx.trees, &filter) {
                reporter.report(Event::Note(line));
            }
        }
    }
    if rows.long {
        super::tell_trust(rows.session()?, &pairs, reporter)?;
    }
    for entry in &walk.unreadable {
        reporter.warning(&[&format!("{} was ignored: {}", ctx.trees.shown(&entry.path).display(), entry.why)]);
    }
    Ok(0)
}

/// What is said below the list: that packages are missing for kernels which are there.
fn footer(records: &[Record], trees: &Trees, filter: &Filter) -> Option<String> {
    let lacks = |record: &&Record| {
        let kernel = &record.kernel;
        matches!(record.outcome, Outcome::Failed { .. } | Outcome::Waiting { .. })
            && filter.wants_package(&record.package)
            && filter.wants_kernel(kernel.release.as_str(), kernel.arch.as_str())
            && trees.modules_dir(&kernel.release).is_dir()
    };
    let packages: BTreeSet<&Package> = records.iter().filter(lacks).map(|record| &record.package).collect();
    match packages.len() {
        0 => None,
        1 => Some("1 package lacks a kernel: dkms status --long".to_owned()),
        some => Some(format!("{some} packages lack a kernel: dkms status --long")),
    }
}

/// What the tree and what the manifests know of each package, by package; those of which something is `shared`, too.
fn together(
    packages: Vec<PackageEntry>,
    beside: Vec<Beside>,
    shared: Vec<Package>,
) -> Vec<(PackageEntry, Vec<Beside>)> {
    let nothing =
        |package: &Package| PackageEntry { package: package.clone(), source: Source::None, built: Vec::new() };
    let mut all: BTreeMap<Package, (PackageEntry, Vec<Beside>)> =
        packages.into_iter().map(|entry| (entry.package.clone(), (entry, Vec::new()))).collect();
    for package in shared {
        all.entry(package.clone()).or_insert_with(|| (nothing(&package), Vec::new()));
    }
    for beside in beside {
        all.entry(beside.package.clone()).or_insert_with(|| (nothing(&beside.package), Vec::new())).1.push(beside);
    }
    all.into_values().collect()
}

/// What the words ask for.
pub(super) fn filter(args: &Args) -> Filter {
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

struct Rows<'a> {
    ctx: &'a Context,
    args: &'a Args,
    loadable: Loadable<'a>,
    /// Made only when something has no manifest: then dkms.conf must be evaluated.
    session: OnceCell<Session<'a>>,
    long: bool,
    /// All records by package, read once.
    records: OnceCell<BTreeMap<Package, Vec<Record>>>,
    /// When sources were last changed, for all kernels.
    newest: RefCell<Newest>,
    /// What the machine trusts, asked once; `None` if it does not boot this root.
    machine: OnceCell<Option<MachineTrust>>,
    /// The certificates that may have signed a kernel's modules.
    certificates: RefCell<BTreeMap<Kernel, Rc<Vec<Certificate>>>>,
    /// The kernels that use what was built for another.
    shared: BTreeMap<Package, BTreeSet<(Kernel, Release)>>,
    found: Vec<Row>,
}

impl Rows<'_> {
    fn package(&mut self, entry: &PackageEntry, beside: &[Beside]) -> Result<(), Error> {
        let row = |state| Row {
            name: entry.package.name.to_string(),
            version: entry.package.version.to_string(),
            state,
            ..Row::default()
        };
        if entry.source == Source::Broken {
            self.found.push(row("broken"));
            return Ok(());
        }
        if entry.built.is_empty() && beside.is_empty() {
            if entry.source == Source::Added {
                let results = self.results(&entry.package, None);
                let builds = self.builds(&entry.package, None)?;
                self.found.push(Row { results, builds, ..row("added") });
            }
            return Ok(());
        }
        let first = self.found.len();
        for built in &entry.built {
            let files = if self.long { self.files(&entry.package, built) } else { Vec::new() };
            let result = self.result(&entry.package, &built.kernel);
            let row = Row {
                kernel: Some(built.kernel.release.to_string()),
                arch: Some(built.kernel.arch.to_string()),
                original_modules: built.original_modules,
                difference: self.difference(&entry.package, built)?,
                results: self.results(&entry.package, Some(&built.kernel)),
                modules: if self.long { self.signatures(&built.kernel, &files)? } else { Vec::new() },
                not_loadable: if built.installed {
                    self.not_loadable(&entry.package, &built.kernel)
                } else {
                    Vec::new()
                },
                source_changed: self.long
                    && source_change::look(self.ctx, &entry.package, &built.kernel, &mut self.newest.borrow_mut())
                        .has_changed,
                taken_from_cache: result.as_ref().and_then(|result| result.taken),
                reused: result.as_ref().and_then(|result| result.reused.as_ref()).map(|reused| ReusedFrom {
                    kernel: reused.from.to_string(),
                    names_it: reused.how == How::AsTheyAre && reused.from != built.kernel.release,
                }),
                not_reused: result
                    .as_ref()
                    .and_then(|result| result.differs.as_ref())
                    .map(|differs| NotReused { kernel: differs.from.to_string(), why: differs.why.clone() }),
                builds: self.builds(&entry.package, Some(&built.kernel))?,
                ..row(if built.installed { "installed" } else { "built" })
            };
            self.found.push(row);
        }
        for Beside { kernel, entry: installed, files, .. } in beside {
            let dir = self.ctx.trees.modules_dir(&kernel.release);
            let paths = || installed.files.iter().map(|file| file.outer(&dir)).collect::<Vec<_>>();
            let row = Row {
                kernel: Some(kernel.release.to_string()),
                arch: Some(kernel.arch.to_string()),
                difference: match files {
                    Files::Whole => None,
                    Files::Differ => Some(DIFFER),
                    Files::Missing => Some(MISSING),
                },
                results: self.results(&entry.package, Some(kernel)),
                modules: if self.long { self.signatures(kernel, &paths())? } else { Vec::new() },
                not_loadable: self.not_loadable(&entry.package, kernel),
                ..row("installed")
            };
            self.found.push(row);
        }
        self.found[first..].sort_by(|a, b| (&a.kernel, &a.arch).cmp(&(&b.kernel, &b.arch)));
        // Kernels that have nothing of it have no line of their own.
        let others: Vec<Record> = self.results(&entry.package, None);
        let rows = &mut self.found[first..];
        let has_line = |record: &Record| rows.iter().any(|row| row.is_of(&record.kernel));
        let others: Vec<Record> = others.into_iter().filter(|record| !has_line(record)).collect();
        if let Some(last) = rows.last_mut() {
            last.results.extend(others);
        }
        Ok(())
    }

    /// What the result cache knows of what is built.
    fn result(&self, package: &Package, kernel: &Kernel) -> Option<CachedResult> {
        if !self.long {
            return None;
        }
        Manifest::of(&self.ctx.trees, package, kernel).ok().flatten()?.result.clone()
    }

    /// Kernels that use what was built for another (weak modules).
    fn weak(&mut self, package: &Package, filter: &Filter) {
        for (kernel, from) in self.shared.get(package).into_iter().flatten() {
            if filter.wants_kernel(kernel.release.as_str(), kernel.arch.as_str()) {
                self.found.push(Row {
                    name: package.name.to_string(),
                    version: package.version.to_string(),
                    kernel: Some(kernel.release.to_string()),
                    arch: Some(kernel.arch.to_string()),
                    state: "installed-weak",
                    from: Some(from.to_string()),
                    ..Row::default()
                });
            }
        }
    }

    fn difference(&self, package: &Package, built: &Built) -> Result<Option<&'static str>, Error> {
        Ok(match differences(&self.ctx.trees, package, built) {
            Differences::None => None,
            Differences::MissingInTree => Some(MISSING),
            Differences::Differ => Some(DIFFER),
            Differences::NeedConf => return self.by_conf(package, built),
        })
    }

    /// For what the classic built: the modules that dkms.conf names, compared by their bytes.
    fn by_conf(&self, package: &Package, built: &Built) -> Result<Option<&'static str>, Error> {
        let session = self.session()?;
        let evaluated = match session.facts.evaluate_as_is(package, &built.kernel) {
            Ok(evaluated) => evaluated,
            Err(error) => {
                log::warn!("{package}: {error}");
                return Ok(None);
            }
        };
        let there = artefact::modules_by_conf(self.ctx, package, &built.kernel, &evaluated)?;
        if there.len() < evaluated.recipe.modules.len() {
            return Ok(Some(MISSING));
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
        Ok(if same { None } else { Some(DIFFER) })
    }

    /// What the administrator has set for the builds of a package; without a `kernel`, for any.
    fn builds(&self, package: &Package, kernel: Option<&Kernel>) -> Result<Vec<String>, Error> {
        let kernel = match kernel {
            Some(kernel) => kernel.clone(),
            None if self.long => some_kernel(self.ctx, self.args)?,
            None => return Ok(Vec::new()),
        };
        if !self.long {
            return Ok(Vec::new());
        }
        settings::of_builds(self.session()?, package, &kernel)
    }

    fn session(&self) -> Result<&Session<'_>, Error> {
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        let session = Session::new(self.ctx)?;
        Ok(self.session.get_or_init(|| session))
    }

    /// Which of the modules installed there would not be loaded.
    fn not_loadable(&self, package: &Package, kernel: &Kernel) -> Vec<NotLoadable> {
        if !self.long {
            return Vec::new();
        }
        let answers = self.loadable.will_boot(package, kernel).into_iter();
        let name = package.to_string();
        let refused = answers.filter_map(|answer| Some((answer.module, answer.answer.err()?)));
        refused
            .map(|(module, why)| NotLoadable { module, why: why.to_string(), mend: why.mend(&name, &kernel.release) })
            .collect()
    }

    /// The files that a line is about: those beside the kernel's modules, where it is installed.
    fn files(&self, package: &Package, built: &Built) -> Vec<PathBuf> {
        let trees = &self.ctx.trees;
        let beside = KernelManifest::known(trees, &built.kernel.release);
        let installed = beside.find(package, &built.kernel.arch).filter(|_| built.installed);
        match installed.filter(|entry| !entry.files.is_empty()) {
            Some(entry) => {
                let dir = trees.modules_dir(&built.kernel.release);
                entry.files.iter().map(|file| file.outer(&dir)).filter(|path| path.exists()).collect()
            }
            None => modules_in(&trees.artefact_modules(package, &built.kernel)),
        }
    }

    /// What each module's file says of its signature.
    fn signatures(&self, kernel: &Kernel, files: &[PathBuf]) -> Result<Vec<Signature>, Error> {
        let machine = self.machine.get_or_init(|| will_load::machine(self.ctx));
        let known = self.certificates(kernel)?;
        Ok(files.iter().map(|file| Signature::read(file, machine.as_ref(), &known)).collect())
    }

    fn certificates(&self, kernel: &Kernel) -> Result<Rc<Vec<Certificate>>, Error> {
        if let Some(known) = self.certificates.borrow().get(kernel) {
            return Ok(Rc::clone(known));
        }
        // Without its configuration a kernel's key is not known; what the file says is.
        let known = match will_load::of_kernel(&self.session()?.facts, kernel) {
            Ok(ExpectedSigning::Key { certificate, .. }) => vec![*certificate],
            _ => Vec::new(),
        };
        let known = Rc::new(known);
        self.certificates.borrow_mut().insert(kernel.clone(), Rc::clone(&known));
        Ok(known)
    }

    fn results(&self, package: &Package, kernel: Option<&Kernel>) -> Vec<Record> {
        if !self.long {
            return Vec::new();
        }
        // Records are history, and for root alone: without them the rest is as true.
        let records = self.records.get_or_init(|| {
            let mut by_package = BTreeMap::<Package, Vec<Record>>::new();
            for record in Record::list(&self.ctx.trees, None).unwrap_or_default() {
                by_package.entry(record.package.clone()).or_default().push(record);
            }
            by_package
        });
        let of_this = records.get(package).into_iter().flatten().filter(|record| {
            kernel.is_none_or(|kernel| record.kernel == *kernel)
                && !matches!(record.outcome, Outcome::Installed | Outcome::Built | Outcome::Added)
        });
        of_this.cloned().collect()
    }
}

/// The modules in an artefact's directory.
fn modules_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| Compression::of_file(file).is_some());
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn the_footer_counts_packages_that_a_kernel_which_is_there_lacks() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for release in ["6.1", "6.2"] {
            fs_err::create_dir_all(trees.modules_dir(&Release::new(release).unwrap())).unwrap();
        }
        let record = |name: &str, release: &str, outcome: Outcome| Record {
            package: Package::new(name, "1").unwrap(),
            kernel: Kernel::new(release, "x86_64").unwrap(),
            outcome,
            at: 0,
        };
        let waits = || Outcome::Waiting { what: "headers".to_owned() };
        let mut records = vec![
            record("a", "6.1", Outcome::Installed),
            record("b", "6.1", Outcome::Skipped { why: "too new".to_owned() }),
            record("c", "6.0", waits()),
        ];
        let footer_of = |records: &[Record]| footer(records, &trees, &Filter::default());
        assert_eq!(footer_of(&records), None);
        records.extend([record("d", "6.1", waits()), record("d", "6.2", waits())]);
        assert_eq!(footer_of(&records).unwrap(), "1 package lacks a kernel: dkms status --long");
        records.push(record("e", "6.2", waits()));
        assert!(footer_of(&records).unwrap().starts_with("2 packages lack a kernel"));
        let only = Filter::package(&Package::new("a", "1").unwrap());
        assert_eq!(footer(&records, &trees, &only), None);
    }
}
