//! Facts, gathered once per run: about each kernel, and about each package's dkms.conf on it.

pub mod error;
pub mod shelter;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::compress::Compression;
use crate::conf::misspelt::misspelt_in;
use crate::conf::{self, Answer, Conf, Directive, Evaluator, Recipe};
use crate::context::Context;
use crate::digest::{Digest, Hasher};
use crate::host::headers_package;
use crate::kernel::compiler::Surroundings;
use crate::kernel::find::ModuleIndex;
use crate::kernel::headers_digest::{HeadersDigest, HeadersStamp};
use crate::kernel::identity::KernelIdentity;
use crate::kernel::installed::{self, Presence};
use crate::kernel::kernelvariables;
use crate::kernel::{self, Config, Headers, Toolchain, relocate};
use crate::names::{Kernel, Package, Release, nearest};
use crate::process::{self, Environment, Output};
use crate::report::{Event, Reporter};
use crate::tree::identity::Identity;

pub use error::Error;

/// Everything this run has learnt, shared between its threads.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The run's surroundings.
    pub ctx: &'a Context,
    kernels: Mutex<HashMap<Kernel, Arc<KernelFacts>>>,
    evaluator: Mutex<Evaluator>,
    answers: Mutex<HashMap<(Package, Kernel), Known>>,
    frameworks: Mutex<HashMap<Kernel, conf::Framework>>,
    directives: Vec<Directive>,
    relocated: Mutex<Vec<PathBuf>>,
    /// What was said of dkms.conf files.
    told: Mutex<HashSet<(Package, String)>>,
}

/// What bash made of a package's dkms.conf and its overrides.
#[derive(Debug)]
struct Known {
    /// The files as they were.
    identities: Vec<Identity>,
    answer: Arc<Answer>,
}

/// What is known of one kernel. The dearer facts are found out when first asked for.
#[derive(Debug)]
pub struct KernelFacts {
    /// The kernel.
    pub kernel: Kernel,
    /// Its headers, or where they were looked for.
    pub headers: Result<Headers, String>,
    /// `$kernel_source_dir`: what programs call the headers.
    pub source_dir: PathBuf,
    /// Its configuration file, as an outer path, if there is one.
    pub config_file: Option<PathBuf>,
    /// Its configuration.
    pub config: Option<Config>,
    /// The tools to build with.
    pub toolchain: Toolchain,
    /// How its own modules are compressed.
    pub compression: Compression,
    /// What tells it from another kernel of the same release.
    pub identity: Option<KernelIdentity>,
    /// What `build_environment` exports.
    build_environment: Environment,
    stamp: OnceLock<Option<HeadersStamp>>,
    digest: OnceLock<Option<HeadersDigest>>,
    modules: OnceLock<ModuleIndex>,
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
    /// What is to be said once ([`Facts::tell`]): warnings of the check and deprecated directives, as events.
    pub said: Vec<Event>,
}

impl<'a> Facts<'a> {
    /// Facts for a run in `ctx`.
    pub fn new(ctx: &'a Context) -> Self {
        Self {
            ctx,
            kernels: Mutex::default(),
            evaluator: Mutex::new(shelter::evaluator(ctx, &ctx.world)),
            answers: Mutex::default(),
            frameworks: Mutex::default(),
            directives: ctx.options.directives.iter().filter_map(|text| Directive::parse(text)).collect(),
            relocated: Mutex::default(),
            told: Mutex::default(),
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
        let facts = Arc::new(self.learn(kernel)?);
        known.insert(kernel.clone(), Arc::clone(&facts));
        Ok(facts)
    }

    fn learn(&self, kernel: &Kernel) -> Result<KernelFacts, Error> {
        let ctx = self.ctx;
        let given = ctx.options.kernel_source_dir.as_deref();
        let headers = match Headers::find(&ctx.trees, &kernel.release, given) {
            Ok(headers) => Ok(headers),
            Err(kernel::Error::HeadersMissing { looked, .. }) => {
                Err(looked.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(" or "))
            }
            Err(other) => return Err(other.into()),
        };
        let default_dir =
            given.map_or_else(|| ctx.trees.install.inside.join(&kernel.release).join("build"), Path::to_owned);
        let mut source_dir = headers.as_ref().map_or(default_dir, |headers| headers.inside.clone());
        let config_file = match (&ctx.options.kernel_config, &headers) {
            (Some(file), _) => Some(file.clone()),
            (None, Ok(headers)) => headers.config_file(None),
            (None, Err(_)) => None,
        };
        let config = config_file.as_deref().filter(|file| file.is_file()).map(Config::load).transpose()?;
        let env = ctx.world.environment();
        let toolchain = match &headers {
            Ok(headers) => Toolchain::choose(
                headers,
                config.as_ref(),
                &Surroundings {
                    exists: &|program| ctx.world.has(program),
                    make_cc: &|file| ask_make(ctx, file),
                    machine: &ctx.machine.name,
                    cross_is_set: ["ARCH", "CROSS_COMPILE"].iter().any(|key| env.contains_key(OsStr::new(key))),
                },
            ),
            Err(_) => Toolchain::default(),
        };
        if let (Ok(headers), false) = (&headers, ctx.world.is_inside()) {
            let work = ctx.trees.work().join(format!("{}.headers-{}", std::process::id(), kernel.release));
            fs_err::create_dir_all(&work)?;
            // For builds, which are not root.
            for dir in [ctx.trees.own(), ctx.trees.work()] {
                fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
            }
            self.relocated.lock().unwrap_or_else(PoisonError::into_inner).push(work.clone());
            source_dir = relocate::relocate(&ctx.trees.root, headers, &work)?;
        }
        Ok(KernelFacts {
            kernel: kernel.clone(),
            headers,
            source_dir,
            config_file,
            config,
            toolchain,
            compression: kernel::compression::of_kernel(&ctx.trees.modules_dir(&kernel.release)),
            identity: KernelIdentity::of_installed(&ctx.trees, &kernel.release),
            build_environment: build_environment(ctx)?,
            stamp: OnceLock::new(),
            digest: OnceLock::new(),
            modules: OnceLock::new(),
        })
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
        let answer = Arc::new(self.evaluator.lock().unwrap_or_else(PoisonError::into_inner).evaluate(request)?);
        self.answers().insert(key, Known { identities, answer: Arc::clone(&answer) });
        Ok(answer)
    }

    /// Says what is to be said of a dkms.conf of `package`: of an event that adds, builds and installs it for many kernels, once.
    pub fn tell(&self, package: &Package, evaluated: &Evaluated, reporter: &dyn Reporter) {
        for event in &evaluated.said {
            let is_new = match event {
                Event::Note(text) | Event::Deprecated(text) => {
                    let told = (package.clone(), text.clone());
                    self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(told)
                }
                _ => true,
            };
            if is_new {
                reporter.report(event.clone());
            }
        }
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
        let mut evaluator = self.evaluator.lock().unwrap_or_else(PoisonError::into_inner);
        let variables = [("kernelver", &kernel.release.to_string()), ("arch", &kernel.arch.to_string())]
            .map(|(name, value)| (name.to_owned(), value.clone()));
        let seen = |inside: &Path| ctx.world.called(&ctx.trees, &ctx.trees.outer(inside));
        let framework = conf::Framework::load(&mut evaluator, &ctx.trees, &seen, variables.into_iter().collect())?;
        known.insert(kernel.clone(), framework.clone());
        Ok(framework)
    }

    /// The error for a kernel whose headers are not there, with what this distribution would install.
    pub fn no_headers(&self, kernel: &KernelFacts) -> Option<Error> {
        let looked_for = kernel.headers.as_ref().err()?.clone();
        let advice = headers_package::advise(&self.ctx.distribution, &kernel.kernel.release, &self.ctx.trees);
        let others = self.other_kernels(&kernel.kernel.release);
        Some(Error::NoHeaders {
            kernel: kernel.kernel.clone(),
            looked_for,
            advice: format!(
                "{}Please {}, or name another directory with --kernelsourcedir.{others}",
                self.what_is_there(kernel),
                advice.text
            ),
        })
    }

    /// A line about a directory that is in the place of a kernel's headers, and is none.
    fn what_is_there(&self, kernel: &KernelFacts) -> String {
        let trees = &self.ctx.trees;
        let build = trees.install.inside.join(&kernel.kernel.release).join("build");
        let dir = self.ctx.options.kernel_source_dir.as_ref().unwrap_or(&build);
        let there = trees.outer(dir).is_dir();
        if there { format!("{} is there, but holds no headers.\n", dir.display()) } else { String::new() }
    }

    /// A line about the kernels that are installed, if this one is not: in a chroot it may be somebody else's.
    fn other_kernels(&self, release: &Release) -> String {
        let trees = &self.ctx.trees;
        if trees.modules_dir(release).exists() {
            return String::new();
        }
        let found = installed::scan(trees, &|_, _| false).unwrap_or_default();
        let there: Vec<String> = found
            .iter()
            .filter(|found| found.presence == Presence::Installed)
            .map(|found| found.release.to_string())
            .collect();
        if there.is_empty() {
            return String::new();
        }
        let meant = nearest(release.as_str(), there.iter().map(String::as_str));
        let meant = meant.map(|meant| format!(" Did you mean {meant}?")).unwrap_or_default();
        format!("\nThis kernel is not installed here.{meant} Those that are, to be named with -k: {}", there.join(", "))
    }
}

impl Drop for Facts<'_> {
    fn drop(&mut self) {
        for dir in self.relocated.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl KernelFacts {
    /// The compiler's variables, and what the `build_environment` file exports.
    pub fn toolchain_environment(&self) -> Environment {
        let tools = &self.toolchain;
        let mut env = Environment::new();
        let mut set = |key: &str, value: Option<&String>| {
            if let Some(value) = value {
                env.insert(key.into(), value.into());
            }
        };
        set("CC", tools.cc.as_ref());
        set("KERNEL_CC", tools.kernel_cc.as_ref());
        set("LD", tools.ld.as_ref());
        set("KERNEL_LD", tools.ld.as_ref());
        if let Some(cross) = &tools.cross {
            env.insert("ARCH".into(), cross.arch.into());
            if let Some(prefix) = cross.prefix {
                env.insert("CROSS_COMPILE".into(), prefix.into());
            }
        }
        env.extend(self.build_environment.clone());
        env
    }

    /// The cheap token of the headers; `None` without headers.
    pub fn headers_stamp(&self, ctx: &Context) -> Option<&HeadersStamp> {
        self.stamp
            .get_or_init(|| self.headers.as_ref().ok().map(|headers| HeadersStamp::take(&ctx.trees.root, headers)))
            .as_ref()
    }

    /// The digest of the headers; `None` without headers, or when they can't be read.
    pub fn headers_digest(&self, ctx: &Context) -> Option<&HeadersDigest> {
        self.digest
            .get_or_init(|| {
                let headers = self.headers.as_ref().ok()?;
                HeadersDigest::take(&ctx.trees.root, headers).map_err(|error| log::warn!("{error}")).ok()
            })
            .as_ref()
    }

    /// The kernel's module files as they were when first asked for in this run.
    ///
    /// # Errors
    /// If a directory can't be read. Nothing may be installed then: an original module in it would not be archived.
    pub fn modules(&self, ctx: &Context) -> Result<&ModuleIndex, Error> {
        if let Some(known) = self.modules.get() {
            return Ok(known);
        }
        let index = ModuleIndex::load(&ctx.trees.modules_dir(&self.kernel.release))?;
        Ok(self.modules.get_or_init(|| index))
    }
}

fn bad_conf(file: PathBuf, outer: &Path, problems: &[conf::Problem]) -> Error {
    let is_missing =
        |problem: &conf::Problem| matches!(problem, conf::Problem::Missing(_) | conf::Problem::MissingFor(..));
    let slips = if problems.iter().any(is_missing) { misspelt_in(outer) } else { Vec::new() };
    let lines = problems.iter().map(ToString::to_string).chain(slips.iter().map(|slip| format!("dkms.conf, {slip}")));
    Error::BadConf { file, why: lines.collect::<Vec<_>>().join("\n") }
}

/// What a `.kernelvariables` that is no plain assignment makes of CC, by make itself.
fn ask_make(ctx: &Context, file: &Path) -> Option<String> {
    let called = ctx.world.called(&ctx.trees, file);
    let mut task = ctx.world.task(kernelvariables::MAKE, Path::new("/"));
    task.input = Some(kernelvariables::question(&called).into_bytes());
    task.output = Output::Capture;
    let end = process::run(task).ok()?;
    let text = end.text().trim().to_owned();
    (end.status.success() && !text.is_empty()).then_some(text)
}

/// The variables that the framework's `build_environment` file exports (docs/contract.md 5).
fn build_environment(ctx: &Context) -> Result<Environment, Error> {
    let Some(file) = &ctx.framework.build_environment else { return Ok(Environment::new()) };
    let script = ". \"$1\" >/dev/null 2>&1 </dev/null; exec env -0";
    let argv = ["bash", "--norc", "--noprofile", "-c", script, "bash", file].map(OsString::from);
    let end = process::run(ctx.world.task(argv, Path::new("/")))?;
    let before = ctx.world.environment();
    Ok(end
        .output
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            use std::os::unix::ffi::OsStrExt;
            let at = entry.iter().position(|byte| *byte == b'=')?;
            Some((OsStr::from_bytes(&entry[..at]).to_owned(), OsStr::from_bytes(&entry[at + 1..]).to_owned()))
        })
        .filter(|(key, value)| {
            before.get(key) != Some(value) && !["_", "SHLVL", "PWD", "OLDPWD"].iter().any(|own| key == own)
        })
        .collect())
}

fn overrides_digest(files: &[conf::Source], directives: &[String]) -> Result<Option<Digest>, Error> {
    if files.is_empty() && directives.is_empty() {
        return Ok(None);
    }
    let mut hasher = Hasher::default();
    for file in files {
        hasher.field(&fs_err::read(&file.outer)?);
    }
    for directive in directives {
        hasher.field(directive.as_bytes());
    }
    Ok(Some(hasher.finish()))
}
