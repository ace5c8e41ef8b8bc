//! Facts, gathered once per run: about each kernel, and about each package's dkms.conf on it.

pub mod error;
pub mod headers_read;
mod kernel;
pub mod origin;
pub mod shelter;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::compilers;
use crate::conf::misspelt::misspelt_in;
use crate::conf::{self, Answer, Conf, Directive, Evaluator, Recipe};
use crate::context::Context;
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::names::{Kernel, Package};
use crate::report::{Event, Reporter};
use crate::tree::identity::Identity;

pub use error::Error;
pub use kernel::KernelFacts;

/// Everything this run has learnt, shared between its threads.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The run's surroundings.
    pub ctx: &'a Context,
    kernels: Mutex<HashMap<Kernel, Arc<KernelFacts>>>,
    compilers: compilers::Known,
    /// Those that nobody uses now; the latest used is the last.
    evaluators: Mutex<Vec<Evaluator>>,
    answers: Mutex<HashMap<(Package, Kernel), Known>>,
    frameworks: Mutex<HashMap<Kernel, conf::Framework>>,
    directives: Vec<Directive>,
    /// What was said of dkms.conf files.
    reported: Mutex<HashSet<(Package, String)>>,
}

/// What bash made of a package's dkms.conf and its overrides.
#[derive(Debug)]
struct Known {
    /// The files as they were.
    identities: Vec<Identity>,
    answer: Arc<Answer>,
}

/// A dkms.conf as it stands for one kernel.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// Its directives, checked.
    pub conf: Conf,
    /// What they mean for this kernel.
    pub recipe: Recipe,
    /// The digest of the overrides that counted, and of `--directive`s; `None` without any.
    pub overrides: Option<Digest>,
    /// What is to be said once ([`Facts::report`]): warnings of the check and deprecated directives, as events.
    pub said: Vec<Event>,
}

impl<'a> Facts<'a> {
    /// Facts for a run in `ctx`.
    pub fn new(ctx: &'a Context) -> Self {
        Self {
            ctx,
            kernels: Mutex::default(),
            compilers: compilers::Known::default(),
            evaluators: Mutex::default(),
            answers: Mutex::default(),
            frameworks: Mutex::default(),
            directives: ctx.options.directives.iter().filter_map(|text| Directive::parse(text)).collect(),
            reported: Mutex::default(),
        }
    }

    /// The `--directive`s of the command line.
    pub fn directives(&self) -> &[Directive] {
        &self.directives
    }

    /// The facts of `kernel`.
    pub fn kernel(&self, kernel: &Kernel) -> Result<Arc<KernelFacts>, Error> {
        let mut known = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known.get(kernel) {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(KernelFacts::learn(self.ctx, kernel, &self.compilers)?);
        known.insert(kernel.clone(), Arc::clone(&facts));
        Ok(facts)
    }

    /// Evaluates the dkms.conf of `package` for `kernel`. `conf_file` is that of a source that is not yet
    /// registered, as an inside path. `strict` as add, build and install read.
    pub fn evaluate(
        &self,
        package: &Package,
        kernel: &KernelFacts,
        conf_file: Option<&Path>,
        strict: bool,
    ) -> Result<Evaluated, Error> {
        let ctx = self.ctx;
        let given = ctx.options.conf.as_deref().filter(|_| conf_file.is_none());
        let given_inside = given.and_then(|file| ctx.trees.root.inside(file));
        let mut files =
            conf::package_files(&ctx.trees, package, conf_file.or(given_inside.as_deref()), Some(&kernel.kernel));
        if let (Some(given), None, Some(own)) = (given, &given_inside, files.first_mut()) {
            if ctx.world.is_inside() {
                return Err(Error::OutsideRoot { file: given.to_owned(), root: ctx.trees.root.dir().to_owned() });
            }
            *own = conf::Source { inside: given.to_owned(), outer: given.to_owned() };
        }
        let own = files.first().map(|file| file.outer.clone()).unwrap_or_default();
        if !own.is_file() {
            return Err(Error::ConfMissing(ctx.trees.shown(&own)));
        }
        let request = conf::Request {
            kind: conf::Kind::Package,
            files: files.iter().map(|file| ctx.world.called(&ctx.trees, &file.outer)).collect(),
            variables: self.variables(package, kernel),
            directives: self.directives.clone(),
            kernel: Some((kernel.kernel.release.to_string(), kernel.kernel.arch.to_string())),
        };
        let answer = self.answer(package, kernel, &files, &request)?;
        let mut said: Vec<_> = Vec::new();
        if !answer.stderr.trim().is_empty() {
            said.push(Event::Note(answer.stderr.trim_end().to_owned()));
        }
        let (conf, warnings) =
            Conf::check(&answer, strict).map_err(|problems| bad_conf(ctx.trees.shown(&own), &own, &problems))?;
        said.extend(warnings.iter().map(|warning| Event::Note(warning.to_string())));
        let tolerant = ctx.distribution.tolerates_clean();
        let deprecated = answer.deprecated.iter().map(ToString::to_string);
        said.extend(deprecated.filter(|text| !(tolerant && text.starts_with("CLEAN "))).map(Event::Deprecated));
        said.extend(
            self.directives
                .iter()
                .map(|Directive { name, value, .. }| Event::Line(format!("DIRECTIVE: {name}=\"{value}\""))),
        );
        let value = |name: &str| {
            kernel.config.as_ref().and_then(|config| config.value(name)).and_then(|value| value.chars().next())
        };
        let facts = conf::KernelInfo {
            release: kernel.kernel.release.as_str(),
            arch: kernel.kernel.arch.as_str(),
            config: kernel.config.as_ref().map(|_| &value as &dyn Fn(&str) -> Option<char>),
        };
        let build = ctx.world.called(&ctx.trees, &ctx.trees.build_dir(package));
        let recipe = Recipe::new(&conf, &facts, &kernel.source_dir.to_string_lossy(), &build.to_string_lossy());
        let overrides = overrides_digest(&files[1..], &ctx.options.directives)?;
        let ignored = conf::directive::ADMINISTRATORS
            .iter()
            .filter(|name| strict && answer.ignored.text(name, 0).is_some() && answer.raw.text(name, 0).is_none());
        said.extend(ignored.map(|name| {
            let own = ctx.trees.shown(&own);
            Event::Note(format!("{}: {name} counts in /etc/dkms/{}.conf only.", own.display(), package.name))
        }));
        Ok(Evaluated { conf, recipe, overrides, said })
    }

    /// The dkms.conf of a registered `package` as it is read for `kernel` where nothing is built: what is wrong with it is no error.
    pub fn evaluate_as_is(&self, package: &Package, kernel: &Kernel) -> Result<Evaluated, Error> {
        self.evaluate(package, self.kernel(kernel)?.as_ref(), None, false)
    }

    /// What bash makes of the files: each is evaluated once for a kernel, however strictly it is read then, unless one of them
    /// has changed since.
    fn answer(
        &self,
        package: &Package,
        kernel: &KernelFacts,
        files: &[conf::Source],
        request: &conf::Request,
    ) -> Result<Arc<Answer>, Error> {
        let identity = |file: &conf::Source| fs_err::metadata(&file.outer).map(|meta| Identity::of(&meta));
        let identities = files.iter().map(identity).collect::<Result<Vec<_>, _>>()?;
        let key = (package.clone(), kernel.kernel.clone());
        if let Some(known) = self.answers().get(&key).filter(|known| known.identities == identities) {
            return Ok(Arc::clone(&known.answer));
        }
        let answer = Arc::new(self.with_evaluator(|evaluator| evaluator.evaluate(request))?);
        self.answers().insert(key, Known { identities, answer: Arc::clone(&answer) });
        Ok(answer)
    }

    /// Says what is to be said of a dkms.conf of `package`: of an event that adds, builds and installs it for many kernels, once.
    pub fn report(&self, package: &Package, evaluated: &Evaluated, reporter: &dyn Reporter) {
        for event in &evaluated.said {
            let is_new = match event {
                Event::Note(text) | Event::Deprecated(text) => {
                    let reported = (package.clone(), text.clone());
                    self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(reported)
                }
                _ => true,
            };
            if is_new {
                reporter.report(event.clone());
            }
        }
    }

    /// Asks an evaluator that no other thread uses: that of the last question, or a new one if all are in use.
    fn with_evaluator<T>(&self, ask: impl FnOnce(&mut Evaluator) -> T) -> T {
        let idle = || self.evaluators.lock().unwrap_or_else(PoisonError::into_inner);
        let free = idle().pop();
        let mut evaluator = free.unwrap_or_else(|| shelter::evaluator(self.ctx, &self.ctx.world));
        let answer = ask(&mut evaluator);
        idle().push(evaluator);
        answer
    }

    /// Something that the dkms.conf of `package` may ask for has changed: a script has run, or what it depends on was built.
    pub fn forget(&self, package: &Package) {
        self.answers().retain(|(known, _), _| known != package);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<(Package, Kernel), Known>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates a dkms.conf that belongs to no package yet, at an outer path anywhere: only its name and
    /// version are of interest.
    pub fn evaluate_at(&self, package: &Package, kernel: &KernelFacts, file: &Path) -> Result<Evaluated, Error> {
        let request = conf::Request {
            kind: conf::Kind::Package,
            files: vec![file.to_owned()],
            variables: self.variables(package, kernel),
            directives: self.directives.clone(),
            kernel: Some((kernel.kernel.release.to_string(), kernel.kernel.arch.to_string())),
        };
        let answer = shelter::evaluator(self.ctx, &self.ctx.world.on_host()).evaluate(&request)?;
        let (conf, _) = Conf::check(&answer, true).map_err(|problems| bad_conf(file.to_owned(), file, &problems))?;
        let facts = conf::KernelInfo {
            release: kernel.kernel.release.as_str(),
            arch: kernel.kernel.arch.as_str(),
            config: None,
        };
        let recipe = Recipe::new(&conf, &facts, "", "");
        Ok(Evaluated { conf, recipe, overrides: None, said: Vec::new() })
    }

    fn variables(&self, package: &Package, kernel: &KernelFacts) -> BTreeMap<String, String> {
        let ctx = self.ctx;
        let called = |outer: &Path| ctx.world.called(&ctx.trees, outer).display().to_string();
        let jobs = ctx.machine.jobs.to_string();
        let running = ctx.machine.running.as_ref().map(ToString::to_string).unwrap_or_default();
        [
            ("kernelver", kernel.kernel.release.to_string()),
            ("arch", kernel.kernel.arch.to_string()),
            ("kernel_source_dir", kernel.source_dir.display().to_string()),
            ("kernel_config", self.kernel_config(kernel)),
            ("dkms_tree", called(&ctx.trees.dkms.outer)),
            ("source_tree", called(&ctx.trees.source.outer)),
            ("install_tree", called(&ctx.trees.install.outer)),
            ("module", package.name.to_string()),
            ("module_version", package.version.to_string()),
            (
                "tmp_location",
                ctx.framework.tmp_location.as_ref().map_or_else(|| "/tmp".to_owned(), |dir| dir.display().to_string()),
            ),
            ("parallel_jobs", jobs),
            ("running_distribution", ctx.distribution.family.clone()),
            ("current_kernel", running),
            ("current_os", "Linux".to_owned()),
            // Where its commands run.
            ("PWD", called(&ctx.trees.build_dir(package))),
            ("verbose", if ctx.options.verbose { "true".to_owned() } else { String::new() }),
            ("force", if ctx.options.force { "true".to_owned() } else { String::new() }),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// `$kernel_config`: a path that need not exist, as the classic has it.
    fn kernel_config(&self, kernel: &KernelFacts) -> String {
        if let Some(given) = &self.ctx.options.kernel_config {
            return self.ctx.world.called(&self.ctx.trees, given).display().to_string();
        }
        let generated = "include/config/auto.conf";
        let has_it = kernel.headers.as_ref().is_ok_and(|headers| headers.dir.join(generated).is_file());
        kernel.source_dir.join(if has_it { generated } else { ".config" }).display().to_string()
    }

    /// The framework's signing options as they stand for `kernel`: `${kernelver}` may occur in them.
    pub fn signing_options(&self, kernel: &KernelFacts) -> Result<conf::framework::Signing, Error> {
        Ok(self.framework_for(&kernel.kernel)?.signing)
    }

    /// The framework's options as they stand for `kernel`.
    pub fn framework_for(&self, kernel: &Kernel) -> Result<conf::Framework, Error> {
        let ctx = self.ctx;
        let mut known = self.frameworks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(framework) = known.get(kernel) {
            return Ok(framework.clone());
        }
        let variables = [("kernelver", &kernel.release.to_string()), ("arch", &kernel.arch.to_string())]
            .map(|(name, value)| (name.to_owned(), value.clone()));
        let seen = |inside: &Path| ctx.world.called(&ctx.trees, &ctx.trees.outer(inside));
        let variables = variables.into_iter().collect();
        let framework =
            self.with_evaluator(|evaluator| conf::Framework::load(evaluator, &ctx.trees, &seen, variables))?;
        known.insert(kernel.clone(), framework.clone());
        Ok(framework)
    }
}

fn bad_conf(file: PathBuf, outer: &Path, problems: &[conf::Problem]) -> Error {
    let is_missing =
        |problem: &conf::Problem| matches!(problem, conf::Problem::Missing(_) | conf::Problem::MissingFor(..));
    let slips = if problems.iter().any(is_missing) { misspelt_in(outer) } else { Vec::new() };
    let lines = problems.iter().map(ToString::to_string).chain(slips.iter().map(|slip| format!("dkms.conf, {slip}")));
    Error::BadConf { file, why: lines.collect::<Vec<_>>().join("\n") }
}

fn overrides_digest(files: &[conf::Source], directives: &[String]) -> Result<Option<Digest>, Error> {
    if files.is_empty() && directives.is_empty() {
        return Ok(None);
    }
    let mut hasher = Hasher::default();
    for file in files {
        hasher.field(&durable::bytes(&file.outer).map_err(durable::named(&file.outer))?);
    }
    for directive in directives {
        hasher.field(directive.as_bytes());
    }
    Ok(Some(hasher.finish()))
}
