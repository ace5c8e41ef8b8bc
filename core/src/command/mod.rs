//! The verbs, one file each, and what they share: checks, defaults, exit codes.

mod add;
mod autoinstall;
mod build;
mod doctor;
mod fsck;
mod generate_mok;
mod hold;
pub(crate) mod kernel;
mod ldtarball;
mod lint;
mod logs;
mod matching;
mod matrix;
mod mkpkg;
mod mktarball;
mod mok;
mod prune;
pub mod reconcile;
pub(crate) mod remove;
#[cfg(feature = "schema")]
pub mod schema;
mod settings;
mod sign;
mod source;
mod status;
#[cfg(test)]
pub(crate) mod test_system;
mod why;

use std::path::Path;

use serde::Serialize;

use crate::cli::args::Args;
use crate::cli::surroundings;
use crate::cli::table::{Id, Rules, WRITES};
use crate::cli::verb::Verb;
use crate::context::{Context, NO_AUTOINSTALL};
use crate::diagnosis::next_boot;
use crate::error::{Error, RegistrationError, RequestError, StepError};
use crate::execute;
use crate::names::{Arch, Kernel, Name, Package, Release};
use crate::notice::{self, Lack};
use crate::plan::{FollowUp, Plan, Want};
use crate::process::stop;
use crate::reconcile::lost_links;
use crate::register::known;
use crate::report::{Console, Event, Reporter};
use crate::run::Session;
use crate::sign::will_load;
use crate::system_error::SystemError;
use crate::tree::fallback;
use crate::tree::walk::{self, Source};

/// Becomes the program that shares what was built; gives the exit code if it can't. The error is reported here.
pub fn share() -> u8 {
    match mkpkg::share() {
        Ok(code) => code,
        Err(error) => {
            let reporter = Console::new(false, surroundings::wants_colour(), false);
            reporter.report(event(&error));
            error.code()
        }
    }
}

/// Runs the verb that `args` name; gives the exit code. Errors are reported here.
pub fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> u8 {
    let code = match dispatch(ctx, args, reporter) {
        Ok(code) => code,
        Err(error) => {
            reporter.report(event(&error));
            error.code()
        }
    };
    if args.verb.is_some_and(|verb| verb.rules.root || verb.rules.writes) {
        tell_of_next_boot(ctx);
    }
    code
}

/// Has those told who do not ask dkms, if the next boot will lack modules. What can't be told fails nothing.
pub(crate) fn tell_of_next_boot(ctx: &Context) {
    let is_this_system = ctx.trees.root.is_host() && !ctx.trees.is_another && !ctx.machine.in_chroot;
    if !is_this_system || !ctx.machine.root || ctx.options.dry_run || stop::requested().is_some() {
        return;
    }
    let lack = if ctx.framework.notify { next_boot::lack(ctx) } else { Ok(None) };
    let put =
        |lack: Option<Lack>| notice::put(&ctx.trees, lack.as_ref()).map_err(|error| SystemError::from(error).into());
    let done: Result<(), Error> = lack.and_then(put);
    if let Err(error) = done {
        log::debug!("{error}");
    }
}

/// Does `work`, which changes something, for an event; gives the exit code. Errors are reported here.
pub(crate) fn carry_out(ctx: &Context, reporter: &dyn Reporter, work: impl FnOnce() -> Result<u8, Error>) -> u8 {
    let done = prepare_fallback_tree(ctx, reporter).and_then(|()| check_rights(ctx)).and_then(|()| work());
    done.unwrap_or_else(|error| {
        reporter.report(event(&error));
        error.code()
    })
}

/// `autoinstall` for one kernel, for programs that have no words; gives the exit code.
pub fn autoinstall(ctx: &Context, kernel: &Kernel, reporter: &dyn Reporter) -> u8 {
    stop::listen();
    carry_out(ctx, reporter, || autoinstall::for_kernel(ctx, kernel, reporter))
}

/// An error as it is reported.
pub fn event(error: &Error) -> Event {
    match error {
        Error::Step(StepError::Excluded { .. }) => Event::Warning(error.lines()),
        _ => Event::Error(error.lines()),
    }
}

fn dispatch(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let verb = Verb::of(args)?;
    if args.verb.is_some_and(|verb| verb.rules.writes) && !ctx.options.dry_run {
        stop::listen();
        prepare_fallback_tree(ctx, reporter)?;
    }
    match verb {
        Verb::Add => add::run(ctx, args, reporter),
        Verb::Build => build::run(ctx, args, Want::Built, reporter),
        Verb::Install => build::run(ctx, args, Want::Installed, reporter),
        Verb::TakeAway(depth, reach) => remove::run(ctx, args, depth, reach, reporter),
        Verb::Autoinstall(initramfs, show) => autoinstall::run(ctx, args, initramfs, show, reporter),
        Verb::KernelPostinst(initramfs, show) => autoinstall::postinst(ctx, args, initramfs, show, reporter),
        Verb::KernelPreinst => kernel::preinst(ctx, args, reporter),
        Verb::KernelPrerm => kernel::prerm(ctx, args, reporter),
        Verb::Match(template) => matching::run(ctx, args, template, reporter),
        Verb::Reconcile(options) => reconcile::run(ctx, args, &options, reporter),
        Verb::Mktarball(reach, content) => mktarball::run(ctx, args, reach, content, reporter),
        Verb::Ldtarball => ldtarball::run(ctx, args, reporter),
        Verb::Mkpkg => mkpkg::run(ctx),
        Verb::Share => mkpkg::share(),
        Verb::Status(_, true) => matrix::run(ctx, &status::filter(args), reporter),
        Verb::Status(show, false) => status::run(ctx, args, show, reporter),
        Verb::Fsck { repair, json } => fsck::run(ctx, args, repair, json, reporter),
        Verb::GenerateMok => generate_mok::run(ctx, args, reporter),
        Verb::Mok(what, json) => mok::run(ctx, args, &what, json, reporter),
        Verb::Sign(reach) => sign::run(ctx, args, reach, reporter),
        Verb::Doctor(json) => doctor::run(ctx, args, json, reporter),
        Verb::Why(json) => why::run(ctx, args, json, reporter),
        Verb::Logs(reach, json) => logs::run(ctx, args, reach, json, reporter),
        Verb::Hold(json) => hold::hold(ctx, args, json, reporter),
        Verb::Unhold => hold::unhold(ctx, args, reporter),
        Verb::Prune { yes, json } => prune::run(ctx, args, yes, json, reporter),
        Verb::Lint(listing, strict) => lint::run(ctx, args, listing, strict, reporter),
        Verb::Init => lint::init(ctx, args, reporter),
    }
}

/// Makes the fallback tree, if this run has one, and reports it once.
fn prepare_fallback_tree(ctx: &Context, reporter: &dyn Reporter) -> Result<(), Error> {
    let Some(own) = &ctx.fallback_from else { return Ok(()) };
    match fallback::make(&ctx.trees.dkms.outer)? {
        fallback::Made::New => reporter.report(Event::Note(format!(
            "dkms: {} is read-only here: installed modules are listed beside the modules, other data is kept in {}",
            own.display(),
            ctx.trees.dkms.inside.display()
        ))),
        fallback::Made::There => {}
        fallback::Made::NotOurs => {
            return Err(Error::Request(RequestError::ReadOnlyTree { tree: own.clone(), advice: None }));
        }
    }
    Ok(())
}

/// Says that nothing is installed automatically, and why not.
fn tell_disabled(reporter: &dyn Reporter) {
    reporter.line(&"Automatic installation of modules has been disabled.");
    reporter.report(Event::Note(format!("{NO_AUTOINSTALL} exists. Delete it to have modules installed again.")));
}

/// The package that the words name. A name alone is enough where only one version is registered, and nothing is taken away.
pub fn package(ctx: &Context, args: &Args) -> Result<Package, Error> {
    let verb = args.verb_name();
    let (name, version) = (args.module.as_deref().unwrap_or_default(), args.version.as_deref());
    if let (false, Some(version)) = (name.is_empty(), version.filter(|version| !version.is_empty())) {
        return Ok(Package::new(name, version)?);
    }
    let versions = if version.is_none() { versions(ctx, name) } else { Vec::new() };
    let takes_away = args.verb.is_some_and(|verb| matches!(verb.id, Id::Uninstall | Id::Unbuild | Id::Remove));
    match versions.as_slice() {
        [only] if !takes_away => Ok(only.clone()),
        [] => {
            // `hello-1.0` and `hello@1.0` for `hello/1.0`.
            let is_meant = |known: &Package| {
                let rest = name.strip_prefix(known.name.as_str()).unwrap_or_default();
                rest.strip_prefix(['-', '@', '=', ':', '_']) == Some(known.version.as_str())
            };
            let meant = known::packages(ctx).into_iter().find(|known| version.is_none() && is_meant(known));
            let hint = meant.map_or_else(|| hint(name, version), |meant| format!("Did you mean {meant}?\n"));
            Err(Error::Request(RequestError::NoPackage { verb, hint }))
        }
        some => {
            let list: Vec<&str> = some.iter().map(|package| package.version.as_str()).collect();
            Err(Error::Request(RequestError::NoPackage {
                verb,
                hint: format!("Which version of {name}? There is {}.\n", list.join(", ")),
            }))
        }
    }
}

/// The versions of `name` that are registered.
fn versions(ctx: &Context, name: &str) -> Vec<Package> {
    Name::new(name).map(|name| walk::versions(&ctx.trees, &name)).unwrap_or_default()
}

/// What was probably meant by half a package's name, or by a path that is no source.
fn hint(name: &str, version: Option<&str>) -> String {
    match (name, version) {
        // An absolute path: the word is split at its first slash.
        ("", Some(rest)) if !rest.is_empty() => {
            let path = Path::new("/").join(rest);
            let what = if path.exists() { "holds no dkms.conf" } else { "does not exist" };
            format!("{} {what}.\n", path.display())
        }
        ("." | "..", _) => format!("{name}/{} holds no dkms.conf.\n", version.unwrap_or_default()),
        ("", _) => String::new(),
        _ => format!("Which version of {name}? `dkms status {name}` lists those that are registered.\n"),
    }
}

/// The caller may do this, and the tree can be written to.
fn check_access(ctx: &Context, args: &Args) -> Result<(), Error> {
    args.verb.map_or(Ok(()), |verb| check(ctx, verb.rules))
}

/// The same for what only root may do, and changes the tree.
fn check_rights(ctx: &Context) -> Result<(), Error> {
    check(ctx, Rules { root: true, ..WRITES })
}

fn check(ctx: &Context, rules: Rules) -> Result<(), Error> {
    if ctx.options.dry_run {
        return Ok(());
    }
    // With another root, whoever may write to it is as good as root.
    if rules.root && !ctx.machine.root && ctx.trees.root.is_host() {
        return Err(Error::Request(RequestError::NotRoot));
    }
    if rules.writes {
        let tree = &ctx.trees.dkms.outer;
        let advice = if ctx.machine.root {
            "Root can't write there: the file system is read-only, or this is a script of a build, which only looks like \
             root to itself; what changes the tree belongs in POST_INSTALL, or in BUILD_DEPENDS."
        } else {
            "Run it again with sudo, or as root."
        };
        let refused = || {
            Error::Request(RequestError::ReadOnlyTree {
                tree: ctx.trees.dkms.inside.clone(),
                advice: ctx.trees.root.is_host().then(|| advice.to_owned()),
            })
        };
        if !tree.exists() {
            fs_err::create_dir_all(tree).map_err(|_| refused())?;
        }
        if rustix::fs::access(tree, rustix::fs::Access::WRITE_OK).is_err() {
            return Err(refused());
        }
    }
    Ok(())
}

/// The package is not broken.
fn check_not_broken(ctx: &Context, package: &Package) -> Result<(), Error> {
    if walk::source(&ctx.trees, package) == Source::Broken {
        return Err(Error::Registration(RegistrationError::Broken {
            package: package.clone(),
            source_dir: ctx.trees.source_place(package),
        }));
    }
    Ok(())
}

/// The kernels that the words name, with their architectures; the default one if they name none.
pub fn kernels(ctx: &Context, args: &Args) -> Result<Vec<Kernel>, Error> {
    if args.kernels.is_empty() {
        return Ok(vec![known::default_kernel(ctx, args.arches.first().map(String::as_str))?]);
    }
    if args.kernels.iter().chain(&args.arches).any(String::is_empty) {
        return Err(Error::Request(RequestError::EmptyKernel));
    }
    let mut kernels = Vec::new();
    for (index, release) in args.kernels.iter().enumerate() {
        let release = Release::new(release.as_str())?;
        let arch = match args.arches.len() {
            0 => ctx.kernel(&release)?.arch,
            1 => Arch::new(args.arches[0].as_str())?,
            _ => Arch::new(args.arches[index].as_str())?,
        };
        kernels.push(Kernel { release, arch });
    }
    Ok(kernels)
}

/// The plan of a verb that runs depmod, with what else that brings: where one is overdue, it is run as well, and links to modules
/// that are gone go.
fn with_follow_ups(ctx: &Context, plan: Plan) -> Plan {
    let overdue = execute::run::overdue(ctx).into_iter().filter(|overdue| overdue.what == FollowUp::Depmod);
    Plan { overdue: overdue.collect(), links: lost_links(ctx, &plan), ..plan }
}

/// Prints something for programs.
fn document(value: &(impl Serialize + ?Sized), reporter: &dyn Reporter) -> Result<(), Error> {
    reporter.report(Event::Document(serde_json::to_string_pretty(value).map_err(std::io::Error::other)?));
    Ok(())
}

/// Prints a plan instead of carrying it out; gives the exit code.
fn print(plan: &Plan, reporter: &dyn Reporter) -> u8 {
    if reporter.wants_json() {
        // A plan is words and numbers: there is nothing that JSON has no words for.
        return document(plan, reporter).map_or_else(|error| error.code(), |()| 0);
    }
    plan.promises().iter().for_each(|line| reporter.line(line));
    0
}

/// Tells the user if this machine will refuse what was signed for these kernels, or is not signed.
fn tell_trust(session: &Session<'_>, pairs: &[(Package, Kernel)], reporter: &dyn Reporter) -> Result<(), Error> {
    let mut kernels: Vec<Kernel> = pairs.iter().map(|(_, kernel)| kernel.clone()).collect();
    kernels.sort();
    kernels.dedup();
    let advice = will_load::advice(&session.facts, &kernels)?;
    if let Some(lines) = advice.or_else(|| will_load::without_signature(session.ctx, pairs)) {
        reporter.report(Event::Warning(lines));
    }
    Ok(())
}

/// Runs the framework's `post_transaction` command (docs/contract.md 2.14), in which `${kernelver}` and `${arch}` may stand for
/// the last kernel. Its status never counts.
fn post_transaction(session: &Session<'_>, kernel: Option<&Kernel>, reporter: &dyn Reporter) -> Result<(), Error> {
    let ctx = session.ctx;
    if ctx.framework.post_transaction.is_none() {
        return Ok(());
    }
    // The work is done: a file that can't be read for this kernel is worth a warning, and the general text.
    let read = |kernel| session.facts.framework_for(kernel).map_err(|error| reporter.warning(&[&error])).ok();
    let of_kernel = kernel.and_then(read);
    let Some(text) = &of_kernel.as_ref().unwrap_or(&ctx.framework).post_transaction else { return Ok(()) };
    let path = ctx.trees.dkms.outer.join("post_transaction.log");
    let log = fs_err::File::create(path)?.into_parts().0;
    reporter.report(Event::Part("Executing post-transaction command...".to_owned()));
    let argv = ["bash", "--norc", "--noprofile", "-c", text.as_str()];
    let mut task = ctx.world.task(argv, Path::new("/"));
    task.output = crate::process::Output::File(log);
    match crate::process::run(task) {
        Ok(end) if end.status.success() => reporter.line(&" done."),
        Ok(end) => reporter.line(&format!("(bad exit status: {})", end.code())),
        Err(error) => reporter.warning(&[&error]),
    }
    Ok(())
}
