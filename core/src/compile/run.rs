//! The steps of one build, in the classic's order (docs/contract.md 2.2, steps 9 to 18).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::advice::Build;
use super::command::make_line;
use super::compilers::{self, Before};
use super::diagnostic;
use super::environment::{environment, network, path_is_ours};
use super::error::Error;
use super::outlined;
use super::reuse::{self, Reuse};
use crate::conf::misspelt::{Misspelt, misspelt_in};
use crate::context::Context;
use crate::facts;
use crate::finish::{self, Enter, Harvest};
use crate::process::stop;
use crate::process::{self, Environment, Output, Task};
use crate::report::{Event, Reporter};
use crate::run::budget::Budget;
use crate::run::script;
use crate::run::target::Target;
use crate::sandbox::Demotion;
use crate::sandbox::beneath::{Beneath, BeneathError};
use crate::sign::signing::Signing;
use crate::system_error::SystemError;
use crate::tree::manifest::{CachedResult, Manifest};
use crate::workdir::build_log::Log;
use crate::workdir::{WorkDir, privilege};

/// Builds `target` and puts the artefact in place; gives its manifest. The caller holds the pair's lock. `enter` is called
/// before anything appears where others see it; its error is that of the build then.
///
/// On failure the previous artefact, if there was one, is still there, and the build directory with its
/// log is left at `<tree>/<m>/<v>/build`.
pub fn build(
    ctx: &Context,
    target: &Target,
    signing: &Signing,
    budget: &Budget,
    enter: Enter<'_>,
    reporter: &dyn Reporter,
) -> Result<Manifest, Error> {
    if target.evaluated.recipe.modules.is_empty() && target.evaluated.conf.records.is_empty() {
        return Err(names_no_module(ctx, target).into());
    }
    let demotion = privilege::demotion(ctx, target, reporter);
    let network = network(ctx, target);
    let is_demoted = demotion != Demotion::None;
    let mut reuse = reuse::of_build(ctx, target, is_demoted, network.as_deref());
    // Where nothing is built, also what is forced comes from the share.
    let takes = !ctx.options.force || !ctx.framework.share.build_locally;
    if let Some(known) = reuse.as_mut().filter(|_| takes) {
        if let Some(manifest) = known.take(signing, enter, reporter)? {
            return Ok(manifest);
        }
    }
    if !ctx.framework.share.build_locally {
        let why = match reuse.as_ref().and_then(Reuse::not_shared) {
            // It would say the same again.
            Some(why) => Some(why.to_owned()),
            None => match outlined::take(ctx, target, is_demoted, signing, enter, reporter)? {
                Ok(manifest) => return Ok(manifest),
                Err(why) => why,
            },
        };
        let (package, kernel) = (target.package.clone(), target.kernel.clone());
        return Err(Error::NotShared { package, kernel, why });
    }
    let work = WorkDir::make(ctx, &target.package, demotion, privilege::needs_no_shared_files(ctx, target))?;
    let mut log = None;
    let how = How { signing, budget, enter, reporter, network, result: reuse.as_ref().map(Reuse::note) };
    match steps(ctx, target, &work, &mut log, how) {
        Ok((manifest, harvest)) => {
            if let (Some(reuse), Some(log), true) = (reuse, &log, work.user().is_some() == is_demoted) {
                reuse.keep(&work, harvest, log, reporter);
            }
            Ok(manifest)
        }
        Err(error) => {
            enter()?;
            work.keep(ctx, &target.package, &target.kernel, log.as_ref());
            super::apport::tell(ctx, &target.package, &target.kernel, &error);
            Err(error)
        }
    }
}

/// What a build is given besides its target and its directory.
struct How<'a> {
    signing: &'a Signing,
    budget: &'a Budget,
    enter: Enter<'a>,
    reporter: &'a dyn Reporter,
    /// What lets it have the network.
    network: Option<String>,
    /// What its manifest says of the result cache.
    result: Option<CachedResult>,
}

fn steps(
    ctx: &Context,
    target: &Target,
    work: &WorkDir,
    log: &mut Option<Log>,
    how: How<'_>,
) -> Result<(Manifest, Harvest), Error> {
    let How { signing, budget, enter, reporter, network, result } = how;
    let source = compilers::source(ctx, target);
    work.fill(&ctx.trees, &target.package)?;
    let log_path = work.path().join("make.log");
    let begun = Log::begin(&log_path, &target.package, &target.kernel, &crate::clock::date(ctx.now))?;
    let log = log.insert(begun);
    if let Some(differs) = result.as_ref().and_then(|result| result.differs.as_ref()) {
        log.differs(&differs.from, &differs.why)?;
    }
    let contents = work.contents(&ctx.world.called(&ctx.trees, work.seen_at()))?;
    let mut env = environment(target, work.environment(ctx));
    let symvers = extra_symbols(ctx, target);
    if !symvers.is_empty() {
        env.entry("KBUILD_EXTRA_SYMBOLS".into()).or_insert_with(|| symvers.join(" ").into());
    }
    let compilers = if path_is_ours(ctx, &env) {
        Before::begin(ctx, target, work, source.as_ref(), &mut env, reporter)
    } else {
        None
    };
    if let Some(name) = compilers.as_ref().and_then(Before::launcher) {
        log.launcher(name)?;
    }
    let build = Build { ctx, target, work, contents: &contents, network: network.as_deref() };
    let mut run = Run {
        ctx,
        target,
        work,
        compilers: compilers.as_ref(),
        contents: &contents,
        build,
        reporter,
        budget,
        log,
        env,
        left_out: None,
    };
    run.patches()?;
    run.script("pre_build", target.evaluated.recipe.scripts.pre_build.as_deref())?;
    run.make()?;
    for module in &target.evaluated.recipe.modules {
        let name = format!("{}{}.ko", module.record.built_location, module.record.built_name);
        match contents.file(Path::new(&name)) {
            Ok(_) => {}
            Err(BeneathError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotProduced {
                    module: name,
                    produced: produced(work.path()),
                    slips: slips(ctx, target),
                    kernel: target.kernel.clone(),
                    log: run.shown_log(),
                    advice: run.advice()?,
                });
            }
            Err(error) => return Err(finish::Error::NotAModule { module: name.into(), why: error.to_string() }.into()),
        }
    }
    let harvest = finish::harvest(ctx, target, work, &contents, reporter)?;
    let finished = finish::finish(ctx, target, &harvest, Some(&contents), signing, result, reporter)?;
    let mut in_place = finished.put(ctx, target, enter)?;
    // From here on the artefact is at its place, for the script to add to (zfs does).
    let post_build = target.evaluated.recipe.scripts.post_build.as_deref();
    let added = match work.user().filter(|_| post_build.is_some()) {
        Some(user) => in_place.lend(ctx, target, user, || run.script("post_build", post_build)),
        None => run.script("post_build", post_build),
    };
    match added {
        Ok(()) => Ok((in_place.keep(ctx, target, run.log, reporter)?, harvest)),
        Err(error) => {
            in_place.put_back(ctx)?;
            Err(error)
        }
    }
}

/// The files that kbuild reads the exports of other external modules from (Documentation/kbuild/modules.rst).
fn extra_symbols(ctx: &Context, target: &Target) -> Vec<String> {
    let files = target.dependencies.iter().filter_map(|dep| dep.symvers.as_deref());
    files.map(|file| ctx.world.called(&ctx.trees, file).display().to_string()).collect()
}

struct Run<'a> {
    ctx: &'a Context,
    target: &'a Target,
    work: &'a WorkDir,
    /// What stands before the compilers, if anything does.
    compilers: Option<&'a Before<'a>>,
    /// The same directory, opened for untrusted content.
    contents: &'a Beneath,
    build: Build<'a>,
    reporter: &'a dyn Reporter,
    budget: &'a Budget,
    log: &'a mut Log,
    env: Environment,
    /// A script that did not run, and why: what it was to make may be missing.
    left_out: Option<String>,
}

/// How many jobs a command may run at once, and the jobserver that it gets them from, if it gets one.
struct Jobs {
    most: usize,
    server: Option<jobserver::Client>,
}

impl Run<'_> {
    fn patches(&mut self) -> Result<(), Error> {
        for patch in &self.target.evaluated.recipe.patches {
            if Path::new(patch).components().any(|part| part == std::path::Component::ParentDir) {
                return Err(Error::PatchPath(patch.clone()));
            }
            if self.contents.file(&Path::new("patches").join(patch)).is_err() {
                return Err(Error::PatchMissing {
                    patch: patch.clone(),
                    dir: self.ctx.trees.shown(self.work.seen_at()).join("patches"),
                });
            }
            let shown = format!("patch -p1 < ./patches/{patch}");
            let argv = ["patch", "-p1", "-i", &format!("./patches/{patch}")].map(String::from);
            let code = self.command(&format!("Applying patch {patch}"), &shown, argv.to_vec(), None)?;
            if code != 0 {
                return Err(Error::PatchFailed {
                    patch: patch.clone(),
                    why: diagnostic::unfit_patch(&self.log.said_last()?),
                    log: self.shown_log(),
                });
            }
        }
        Ok(())
    }

    fn script(&mut self, which: &'static str, line: Option<&str>) -> Result<(), Error> {
        let Some(line) = line.filter(|line| !line.trim().is_empty()) else { return Ok(()) };
        let found = match script::find(self.ctx, &self.target.package, line, self.work.path()) {
            Ok(found) => found,
            Err(why) => {
                script::tell_unfit(which, &why, self.reporter);
                self.left_out = Some(format!("The {which} script did not run: {why}"));
                return Ok(());
            }
        };
        let dir = if found.dir == self.work.path() {
            self.called_build()
        } else {
            self.ctx.world.called(&self.ctx.trees, &found.dir)
        };
        let text = format!("{}/{}", dir.display(), found.line.trim_start());
        // It may well compile (zfs configures itself).
        let tokens = self.budget.acquire(1)?;
        let code = self.command(&format!("Running the {which} script"), &text, bash(&text), None);
        drop(tokens);
        // Of a build that is root, it may have changed anything.
        self.ctx.trees.snapshot().forget_all();
        let code = code?;
        if code != 0 {
            let file = found.dir.join(found.line.split_whitespace().next().unwrap_or_default().trim_start_matches('/'));
            return Err(Error::Script {
                script: which,
                package: self.target.package.clone(),
                code,
                said: diagnostic::last_lines(&self.log.said_last()?, 3),
                log: Some(self.shown_log()),
                advice: match self.build.script(&file) {
                    Some(advice) => Some(advice),
                    None => self.advice()?,
                },
            });
        }
        self.warn(&format!("The {which} script"))
    }

    fn make(&mut self) -> Result<(), Error> {
        let line = make_line(
            &self.target.evaluated.recipe.make,
            &self.target.kernel.release,
            self.budget.total(),
            self.target.evaluated.conf.jobs,
            self.target.facts.toolchain.llvm,
        );
        let mut tokens = self.budget.acquire(line.jobs)?;
        let server = if line.parallel { Some(tokens.server()?) } else { None };
        if let Some(variables) = &line.variables {
            self.env.insert("MAKEFLAGS".into(), variables.into());
        }
        let code =
            self.command("Building module(s)", &line.text, bash(&line.text), Some(Jobs { most: line.most, server }));
        self.env.remove(std::ffi::OsStr::new("MAKEFLAGS"));
        drop(tokens);
        if code? != 0 {
            let diagnostic = diagnostic::first(&self.log.said()?, &self.called_build());
            // What the compiler says of the source has nothing to do with who runs it.
            let about_source = diagnostic.as_ref().is_some_and(|found| found.about_source);
            return Err(Error::Make {
                kernel: self.target.kernel.clone(),
                diagnostic,
                log: self.shown_log(),
                advice: if about_source {
                    self.with_left_out(self.build.compiler_error(&self.log.said()?, &self.log.said_last()?))
                } else {
                    self.advice()?
                },
            });
        }
        self.warn("make")
    }

    /// Runs one logged command in the build directory, and says so; gives its exit status.
    fn command(&mut self, description: &str, shown: &str, argv: Vec<String>, jobs: Option<Jobs>) -> Result<i32, Error> {
        let verbose = self.ctx.options.verbose;
        if verbose {
            self.reporter.line(&shown);
        } else {
            self.reporter.report(Event::Part(format!("{description}...")));
        }
        self.log.command(description, shown)?;
        if let Some(jobs) = &jobs {
            self.log.jobs(jobs.most, jobs.server.is_some())?;
        }
        if let Some(allowed_by) = self.build.network.filter(|_| self.ctx.world.can_cut_network()) {
            self.log.network(allowed_by)?;
        }
        let build = self.called_build();
        let mut task = Task::new(argv, &build, &self.env);
        self.ctx.world.seclude(
            &self.ctx.trees,
            &mut task,
            &self.work.seclusion(
                &self.work.tmp(),
                self.build.network.is_some(),
                self.compilers.map_or(&[], Before::binds),
            ),
        );
        task.jobs = jobs.and_then(|jobs| jobs.server);
        task.limit = Some(self.ctx.framework.build_time_limit.unwrap_or(Duration::MAX));
        let shows = verbose && !self.reporter.wants_json();
        task.output = if shows { Output::Tee(self.log.handle()?) } else { Output::File(self.log.handle()?) };
        let began = Instant::now();
        let end = process::run(task)?;
        let code = end.code();
        self.log.end(code, began.elapsed())?;
        if let (Some(stop), true) = (stop::requested(), code != 0) {
            self.reporter.line(&"(interrupted)");
            return Err(SystemError::Interrupted(stop).into());
        }
        if let (true, Some(limit)) = (end.timed_out, self.ctx.framework.build_time_limit) {
            self.reporter.line(&"(it took too long)");
            return Err(Error::TooLong {
                command: description.to_owned(),
                package: self.target.package.clone(),
                kernel: self.target.kernel.clone(),
                limit,
                log: self.shown_log(),
            });
        }
        if code == 0 {
            self.reporter.line(&" done.");
        } else {
            self.reporter.line(&format!("(bad exit status: {code})"));
            if !verbose {
                self.reporter.line(&format!("Failed command:\n{shown}"));
            }
        }
        Ok(code)
    }

    /// What programs call the build directory.
    fn called_build(&self) -> std::path::PathBuf {
        self.ctx.world.called(&self.ctx.trees, self.work.seen_at())
    }

    /// What may help after the latest command failed.
    fn advice(&self) -> Result<Option<String>, Error> {
        Ok(self.with_left_out(self.build.failure(&self.log.said()?, &self.log.said_last()?)))
    }

    /// `advice` behind what is known of a script that did not run.
    fn with_left_out(&self, advice: Option<String>) -> Option<String> {
        let lines: Vec<String> = self.left_out.iter().cloned().chain(advice).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Warns if the latest command, which ended well, may not have done all its work.
    fn warn(&self, what: &str) -> Result<(), Error> {
        if let Some(advice) = self.build.success(&self.log.said_last()?) {
            let text = format!("{what} ends well although something was refused to it: see the log.");
            let lines = std::iter::once(text).chain(advice.lines().map(str::to_owned));
            self.reporter.report(Event::Warning(lines.collect()));
        }
        Ok(())
    }

    /// Where the user finds the log after a failure.
    fn shown_log(&self) -> std::path::PathBuf {
        self.ctx.trees.shown(self.work.seen_at()).join("make.log")
    }
}

/// Names in the package's dkms.conf that are nearly a directive's.
fn slips(ctx: &Context, target: &Target) -> Vec<Misspelt> {
    misspelt_in(&ctx.trees.source_of(&target.package).join("dkms.conf"))
}

/// What is wrong with a dkms.conf without modules, and what its author may have meant.
fn names_no_module(ctx: &Context, target: &Target) -> facts::Error {
    let link = ctx.trees.source_link(&target.package);
    let mut why = "It names no module to install: BUILT_MODULE_NAME and DEST_MODULE_LOCATION are not set.".to_owned();
    for slip in slips(ctx, target) {
        why += &format!("\n{slip}");
    }
    facts::Error::BadConf { file: ctx.trees.shown(&link).join("dkms.conf"), why }
}

/// The modules that make left in a build directory, relative to it, in order: names only, nothing is opened and no link
/// followed.
fn produced(build: &Path) -> Vec<PathBuf> {
    // More than any source has; a build may make endless ones.
    const DIRECTORIES: usize = 4096;
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(dir) = waiting.pop() {
        seen += 1;
        if seen > DIRECTORIES {
            break;
        }
        for entry in std::fs::read_dir(build.join(&dir)).into_iter().flatten().flatten() {
            let path = dir.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(path),
                Ok(kind) if kind.is_file() && path.extension().is_some_and(|suffix| suffix == "ko") => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn bash(text: &str) -> Vec<String> {
    ["bash", "--norc", "--noprofile", "-c", text].map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_make_produced_is_found_by_name_and_links_are_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let build = tmp.path().join("build");
        fs_err::create_dir_all(build.join("sub/deep")).unwrap();
        fs_err::create_dir_all(tmp.path().join("else")).unwrap();
        for file in ["build/sub/deep/b.ko", "build/a.ko", "build/a.ko.cmd", "build/sub/c.o", "else/d.ko"] {
            fs_err::write(tmp.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("../else", build.join("way")).unwrap();
        std::os::unix::fs::symlink("a.ko", build.join("link.ko")).unwrap();
        assert_eq!(produced(&build), [PathBuf::from("a.ko"), PathBuf::from("sub/deep/b.ko")]);
        assert!(produced(&tmp.path().join("nothing")).is_empty());
    }
}
