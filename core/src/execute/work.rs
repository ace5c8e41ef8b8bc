//! One package on one kernel: built, or built and installed.

use std::cell::RefCell;
use std::sync::Arc;

use crate::compile;
use crate::conf::typed::Scripts;
use crate::context::Context;
use crate::digest::Digest;
use crate::error::{Error, StepError};
use crate::facts::{self, Evaluated, KernelFacts};
use crate::host::tools;
use crate::install::{self, superseded_mark};
use crate::lock::{Holder, Lock, LockError};
use crate::names::{Kernel, Name, Package, names_in};
use crate::plan::{Action, Foreseen, PackageState, Plan, Reason, Stale, Step};
use crate::report::syslog::Severity;
use crate::report::{Event, Reporter, journal};
use crate::run::Session;
use crate::run::depmod::{self, Depmod};
use crate::run::target::{Dependency, Target};
use crate::system_error::SystemError;
use crate::tree::manifest::KernelManifest;
use crate::tree::record::{Outcome, Record};
use crate::tree::walk;

/// How far a package got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Nothing was to be done.
    Already,
    /// Nothing is lacking: another run has just taken away what it was for.
    Gone,
    /// It was built.
    Built,
    /// It was installed.
    Installed,
}

/// Carries out a step that builds or installs, and records how it ended. depmod is left to the caller.
pub fn work(session: &Session<'_>, step: &Step, reporter: &dyn Reporter) -> Result<Done, Error> {
    let entry = Entry { session, kernel: &step.kernel, inside: RefCell::default() };
    let done = try_work(session, step, &entry, reporter);
    let done = done.map_err(|error| {
        // Whatever it tripped over for that.
        let (package, kernel) = (step.package.clone(), step.kernel.clone());
        if matches!(session.still(&kernel), Err(LockError::Closed { .. })) {
            return StepError::KernelGone { package, kernel }.into();
        }
        let removed = !session.ctx.trees.package_dir(&package).is_dir();
        if removed { StepError::Removed(package).into() } else { error }
    });
    record(session, &step.package, &step.kernel, &done);
    done
}

/// The way to where a step puts something of its package for its kernel: gone once, and held to the step's end.
struct Entry<'a> {
    session: &'a Session<'a>,
    kernel: &'a Kernel,
    inside: RefCell<Option<Lock>>,
}

impl Entry<'_> {
    fn enter(&self) -> Result<(), SystemError> {
        let mut inside = self.inside.borrow_mut();
        if inside.is_none() {
            *inside = Some(self.session.pass(self.kernel)?);
        }
        Ok(())
    }
}

/// The state of a package that somebody names.
pub fn state_of(ctx: &Context, package: &Package, kernel: &Kernel) -> PackageState {
    let installed = install::is_installed(ctx, package, kernel);
    if superseded_mark::is_outdated(ctx, package, kernel) {
        PackageState::Stale { why: Stale::Source, installed }
    } else if installed
        && !install::artefact::is_of_another_source(ctx, package, kernel)
        && !install::damage::any(ctx, package, kernel)
    {
        PackageState::Installed
    } else if install::is_built(ctx, package, kernel) {
        PackageState::Built
    } else {
        PackageState::Absent
    }
}

fn try_work(session: &Session<'_>, step: &Step, entry: &Entry<'_>, reporter: &dyn Reporter) -> Result<Done, Error> {
    let Step { package, kernel, .. } = step;
    let ctx = session.ctx;
    let on_wait = |holder: &Holder| {
        reporter.report(Event::Note(format!("Waiting for {holder}, which works on {package} for kernel {kernel}.")));
    };
    // Whoever may not take the lock hears of what is there all the same.
    if step.action != Action::Keep {
        session.begin(std::slice::from_ref(kernel), &on_wait)?;
    }
    let lock = if step.action == Action::Keep { None } else { Some(ctx.lock_pair(package, kernel, &on_wait)?) };
    let action = if lock.is_some() { step.again(&state_of(ctx, package, kernel)) } else { Action::Keep };
    if action == Action::Keep {
        let only_built = step.action == Action::BuildOnly || step.reason == Reason::Built;
        let what = if only_built { "built for" } else { "installed on" };
        reporter.line(&format!(
            "Module {package} already {what} kernel {kernel}, skip. You may override by specifying --force."
        ));
        return Ok(Done::Already);
    }
    // What is planned is what is needed: an artefact that is no module any more is made anew.
    let torn = action == Action::Install && step.replaces() && install::damage::artefact(ctx, package, kernel);
    let action = if torn { Action::Build } else { action };
    let build = action != Action::Install;
    let facts = session.facts.kernel(kernel)?;
    if !step.after.is_empty() {
        // Its dkms.conf may look at what it needs, which has just been installed.
        session.facts.forget(package);
    }
    let evaluated = match session.facts.evaluate(package, &facts, None, true) {
        Ok(evaluated) => Some(evaluated),
        // Binaries whose source is gone: their manifest knows all that installing takes.
        Err(facts::Error::ConfMissing(_)) if !build && install::artefact::manifest(ctx, package, kernel)?.is_some() => {
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(evaluated) = &evaluated {
        session.facts.report(package, evaluated, reporter);
    }
    if !step.after.is_empty() && evaluated.as_ref().is_some_and(|evaluated| has_scripts(&evaluated.recipe.scripts)) {
        // They may ask modprobe for what has just been installed.
        if session.touched_so_far().contains(&kernel.release) && !ctx.options.no_depmod {
            if let Depmod::Failed(why) = depmod::run_early(ctx, &kernel.release)? {
                reporter.warning(&[&format!("depmod for kernel {}: {why}", kernel.release)]);
            }
        }
    }
    if let (true, Some(evaluated)) = (build, &evaluated) {
        check(session, package, &facts, evaluated, reporter)?;
        let signing = session.signing(&facts, reporter)?;
        signing.check()?;
        let target = target(session, package, &facts, evaluated)?;
        // Without private mounts all builds of a package happen in one directory, one after the other.
        let _alone = if ctx.world.has_private_mounts() { None } else { Some(ctx.lock_build(package, &on_wait)?) };
        compile::build(ctx, &target, &signing, &session.budget, &|| entry.enter(), reporter)?;
    }
    if action == Action::BuildOnly {
        return Ok(Done::Built);
    }
    entry.enter()?;
    install::install(session, &facts, package, evaluated.as_ref(), step.replaces(), reporter)?;
    Ok(Done::Installed)
}

/// What the result of a build is known by, on this machine and others; `None`: it is not kept, and not shared.
///
/// # Errors
/// If it can't be built.
pub fn key(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<Option<Digest>, Error> {
    let facts = session.facts.kernel(kernel)?;
    let evaluated = session.facts.evaluate(package, &facts, None, true)?;
    check(session, package, &facts, &evaluated, reporter)?;
    Ok(compile::key(session.ctx, &target(session, package, &facts, &evaluated)?, reporter))
}

fn has_scripts(scripts: &Scripts) -> bool {
    [&scripts.pre_build, &scripts.post_build, &scripts.pre_install, &scripts.post_install]
        .into_iter()
        .any(Option::is_some)
}

/// Everything that must hold before a build begins.
fn check(
    session: &Session<'_>,
    package: &Package,
    facts: &KernelFacts,
    evaluated: &Evaluated,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let ctx = session.ctx;
    let kernel = &facts.kernel;
    let artefact = ctx.trees.artefact(package, kernel);
    if artefact.exists() && !artefact.join("module").is_dir() && !ctx.options.force {
        return Err(Error::Step(StepError::BuildInTheWay {
            package: package.clone(),
            kernel: kernel.clone(),
            dir: ctx.trees.shown(&artefact),
        }));
    }
    if let Some(why) = evaluated.recipe.exclusion() {
        return Err(Error::Step(StepError::Excluded {
            package: package.clone(),
            file: ctx.trees.shown(&ctx.trees.source_link(package)).join("dkms.conf"),
            why,
        }));
    }
    let source = ctx.trees.source_of(package);
    let visible = std::fs::read_dir(&source).map_or(0, |entries| {
        entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    });
    if visible < 2 {
        return Err(Error::Step(StepError::EmptySource(ctx.trees.shown(&ctx.trees.source_link(package)))));
    }
    // Who builds nothing needs neither headers nor a compiler.
    let builds = ctx.framework.share.build_locally;
    if let Some(error) = facts.no_headers(ctx).filter(|_| builds) {
        return Err(error.into());
    }
    let compiler = facts.toolchain.cc.as_deref().and_then(|cc| cc.split_whitespace().next()).unwrap_or("gcc");
    let prefixed = facts.toolchain.cross.as_ref().and_then(|cross| cross.prefix).map(|prefix| format!("{prefix}gcc"));
    for program in ["make", prefixed.as_deref().unwrap_or(compiler)] {
        if builds && !ctx.world.has(program) {
            let advice = tools::advise(&ctx.distribution, program);
            return Err(Error::Step(StepError::NoTool { program: program.to_owned(), kernel: kernel.clone(), advice }));
        }
    }
    let missing = missing_dependencies(session, kernel, evaluated);
    if missing.is_empty() {
        return Ok(());
    }
    let error =
        Error::Step(StepError::MissingDependencies { package: package.clone(), kernel: kernel.clone(), missing });
    if !ctx.options.force {
        return Err(error);
    }
    reporter.warning(&[&format!(
        "Building although something is missing: {}",
        error.lines().first().cloned().unwrap_or_default()
    )]);
    Ok(())
}

fn target(
    session: &Session<'_>,
    package: &Package,
    facts: &Arc<KernelFacts>,
    evaluated: &Evaluated,
) -> Result<Target, Error> {
    Ok(Target {
        package: package.clone(),
        kernel: facts.kernel.clone(),
        facts: Arc::clone(facts),
        evaluated: evaluated.clone(),
        directives: session.facts.directives().to_vec(),
        dependencies: dependencies(session, &facts.kernel, evaluated)?,
    })
}

/// Adds to `plan` which of its builds are known beforehand to give what was built for another kernel. Only root knows.
pub fn foresee(session: &Session<'_>, plan: &mut Plan) {
    if !session.ctx.machine.root || session.ctx.options.force {
        return;
    }
    let one = |step: &Step| {
        let facts = session.facts.kernel(&step.kernel).ok()?;
        let evaluated = session.facts.evaluate(&step.package, &facts, None, true).ok()?;
        let target = target(session, &step.package, &facts, &evaluated).ok()?;
        let (from, differs) = compile::foresee(session.ctx, &target)?;
        Some(Foreseen { package: step.package.clone(), kernel: step.kernel.clone(), from, differs })
    };
    let builds = plan.steps.iter().filter(|step| [Action::Build, Action::BuildOnly].contains(&step.action));
    plan.foreseen = builds.filter_map(one).collect();
}

/// The names in BUILD_DEPENDS of which no version is installed for the kernel.
fn missing_dependencies(session: &Session<'_>, kernel: &Kernel, evaluated: &Evaluated) -> Vec<String> {
    let ctx = session.ctx;
    let installed = |name: &str| {
        Name::new(name).is_ok_and(|name| {
            // The link alone tells the classic's mind; what it leads to must be there.
            ctx.trees.active_link(&name, kernel).join("module").is_dir()
        })
    };
    evaluated.conf.build_depends.iter().filter(|name| !installed(name)).cloned().collect()
}

/// The installed dependencies, with their versions and, where they export symbols, the file that lists them.
fn dependencies(session: &Session<'_>, kernel: &Kernel, evaluated: &Evaluated) -> Result<Vec<Dependency>, Error> {
    let trees = &session.ctx.trees;
    let mut found = Vec::new();
    let beside = KernelManifest::beside(trees, &kernel.release)?.unwrap_or_default();
    for name in names_in(&evaluated.conf.build_depends) {
        let version = installed_version(session.ctx, &beside, &name, kernel);
        let symvers = trees.active_link(&name, kernel).join("module/Module.symvers");
        found.push(Dependency { name, version, symvers: symvers.is_file().then_some(symvers) });
    }
    Ok(found)
}

/// The version of `name` that is installed for `kernel`, whose manifest is `beside`.
pub fn installed_version(ctx: &Context, beside: &KernelManifest, name: &Name, kernel: &Kernel) -> Option<String> {
    walk::active_version(&ctx.trees, name, kernel)
        .or_else(|| beside.find_name(name, &kernel.arch).map(|entry| entry.package.version.to_string()))
}

/// Records how it ended. A record that can't be written is worth a line in the log, no more.
pub(super) fn record(session: &Session<'_>, package: &Package, kernel: &Kernel, done: &Result<Done, Error>) {
    let ctx = session.ctx;
    // Of what another run has taken away meanwhile, nothing is to be left.
    let still = session.still(kernel);
    if matches!(still, Err(LockError::Closed { .. })) {
        return;
    }
    let outcome = match done {
        // Nothing came of it, good or bad.
        Err(Error::System(SystemError::Interrupted(_) | SystemError::Lock(LockError::Interrupted { .. })))
        | Ok(Done::Gone) => return,
        Ok(Done::Already) if install::is_installed(ctx, package, kernel) => Outcome::Installed,
        Ok(Done::Already | Done::Built) => Outcome::Built,
        Ok(Done::Installed) => Outcome::Installed,
        Err(Error::Step(StepError::Excluded { why, .. })) => Outcome::Skipped { why: why.clone() },
        Err(Error::Install(install::Error::NothingInstalled(why))) => {
            Outcome::Skipped { why: why.join(" ").replace('\n', " ") }
        }
        Err(Error::Facts(facts::Error::NoHeaders { kernel, .. })) => {
            Outcome::Waiting { what: format!("headers of {}", kernel.release) }
        }
        Err(Error::Compile(compile::Error::NotShared { .. })) => {
            Outcome::Waiting { what: "a build in the share".to_owned() }
        }
        Err(error @ Error::System(SystemError::Lock(_))) => Outcome::Waiting { what: error.to_string() },
        Err(Error::Step(StepError::MissingDependencies { missing, .. })) => {
            Outcome::Waiting { what: missing.join(" ") }
        }
        Err(error) => failure(session, package, kernel, error),
    };
    let record = Record { package: package.clone(), kernel: kernel.clone(), outcome, at: ctx.timestamp() };
    if !matches!(done, Ok(Done::Already)) {
        to_journal(ctx, &record);
    }
    // Under the lock, so that none is written for a package that another command removes meanwhile.
    let stored = ctx.lock_tree().map_err(SystemError::from).and_then(|_lock| {
        if ctx.trees.package_dir(package).is_dir() { Ok(record.store_if_here(&ctx.trees)?) } else { Ok(()) }
    });
    if let Err(error) = stored {
        log::warn!("{error}");
    }
}

/// Tells the journal of this system how it ended.
fn to_journal(ctx: &Context, record: &Record) {
    if !ctx.trees.root.is_host() {
        return;
    }
    let Record { package, kernel, outcome, .. } = record;
    let (severity, text) = match outcome {
        Outcome::Installed => (Severity::Notice, "installed".to_owned()),
        Outcome::Built => (Severity::Notice, "built".to_owned()),
        Outcome::Waiting { what } => (Severity::Warning, format!("waiting for {what}")),
        Outcome::Failed { step, diagnostic, .. } => {
            let why = diagnostic.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            (Severity::Error, format!("{step} failed{why}"))
        }
        Outcome::Added | Outcome::Skipped { .. } => return,
    };
    let mut fields = vec![
        ("DKMS_PACKAGE", package.name.to_string()),
        ("DKMS_VERSION", package.version.to_string()),
        ("DKMS_KERNEL", kernel.release.to_string()),
        ("DKMS_ARCH", kernel.arch.to_string()),
    ];
    if let Outcome::Failed { step, code, log, .. } = outcome {
        fields.extend([("DKMS_STEP", step.clone()), ("DKMS_CODE", code.to_string())]);
        fields.extend(log.iter().map(|log| ("DKMS_LOG", log.display().to_string())));
    }
    journal::send(severity, &format!("{package} for kernel {kernel}: {text}"), &fields);
}

fn failure(session: &Session<'_>, package: &Package, kernel: &Kernel, error: &Error) -> Outcome {
    let (diagnostic, log, about_source) = match error {
        Error::Compile(compile::Error::Make { diagnostic, log, .. }) => (
            diagnostic.as_ref().map(|d| d.text.clone()),
            Some(log.clone()),
            diagnostic.as_ref().is_some_and(|d| d.about_source),
        ),
        Error::Compile(
            compile::Error::PatchFailed { log, .. }
            | compile::Error::NotProduced { log, .. }
            | compile::Error::TooLong { log, .. },
        ) => (Some(error.cause()), Some(log.clone()), false),
        Error::Compile(compile::Error::Script { log, .. }) => (Some(error.cause()), log.clone(), false),
        _ => (Some(error.cause()), None, false),
    };
    // The build directory's is the latest failure's; this kernel's was kept for its record when the build ended.
    let trees = &session.ctx.trees;
    let kept = trees.record_log(package, kernel);
    let log = log.filter(|_| kept.is_file()).map(|_| trees.shown(&kept));
    let remembered_key = if about_source { inputs(session, package, kernel) } else { None };
    Outcome::Failed { step: error.step().to_owned(), code: i32::from(error.code()), diagnostic, log, remembered_key }
}

/// The digest of everything that a build's result follows from: source, overrides, headers, toolchain, dependencies.
pub fn inputs(session: &Session<'_>, package: &Package, kernel: &Kernel) -> Option<crate::digest::Digest> {
    let ctx = session.ctx;
    let facts = session.facts.kernel(kernel).ok()?;
    let evaluated = session.facts.evaluate(package, &facts, None, false).ok()?;
    let mut hasher = crate::digest::Hasher::default();
    hasher.field(crate::digest::Digest::of_tree(&ctx.trees.source_of(package)).ok()?.to_string().as_bytes());
    hasher.field(evaluated.overrides.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
    hasher.field(facts.headers_digest(ctx)?.digest().to_string().as_bytes());
    hasher.field(facts.toolchain.text.as_deref().unwrap_or_default().as_bytes());
    // What it is compiled and linked against of other packages.
    for dependency in dependencies(session, kernel, &evaluated).ok()? {
        hasher.field(dependency.name.as_str().as_bytes());
        hasher.field(dependency.version.unwrap_or_default().as_bytes());
        let symvers = dependency.symvers.map(|file| crate::digest::Digest::of_file(&file)).transpose().ok()?;
        hasher.field(symvers.map(|digest| digest.to_string()).unwrap_or_default().as_bytes());
    }
    Some(hasher.finish())
}
