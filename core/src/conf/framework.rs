//! framework.conf: the options of the whole installation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bash::{Evaluator, Kind, Request};
use super::compiler_launcher::CompilerLauncher;
use super::directive::Raw;
use super::error::ConfError;
use super::files::framework_files;
pub use super::rights::{BuildAs, ScriptsAs};
use super::shared::Shared;
use super::unknown::{Unknown, unknown};
use super::values::{time, yes_or_no};
use crate::assignments;
use crate::durable;
use crate::reuse::Policy as Reuse;
use crate::tree::Trees;

/// The options of framework.conf and framework.conf.d (docs/contract.md 5). Defaults are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framework {
    /// Where module sources are, if not in the default place.
    pub source_tree: Option<PathBuf>,
    /// The DKMS tree, if not in the default place.
    pub dkms_tree: Option<PathBuf>,
    /// Where kernels keep their modules, if not in the default place.
    pub install_tree: Option<PathBuf>,
    /// Where temporary files go, if not to the default place.
    pub tmp_location: Option<PathBuf>,
    /// More output.
    pub verbose: bool,
    /// Install links into the tree instead of copies.
    pub symlink_modules: bool,
    /// common.postinst builds for all kernels.
    pub autoinstall_all_kernels: bool,
    /// common.postinst goes on after a failure.
    pub continue_on_error: bool,
    /// Load modules after their installation.
    pub modprobe_on_install: bool,
    /// Write what packages want in modprobe.d and modules-load.d (ours; on unless it says "no").
    pub modprobe_conf: bool,
    /// How many jobs make runs, if the file says so and says a number above 0.
    pub parallel_jobs: Option<usize>,
    /// Options of gzip, one word each.
    pub compress_gzip_opts: Vec<String>,
    /// Options of xz, one word each.
    pub compress_xz_opts: Vec<String>,
    /// Options of zstd, one word each.
    pub compress_zstd_opts: Vec<String>,
    /// A file of shell code whose exported variables builds get.
    pub build_environment: Option<String>,
    /// A command to be run after changes.
    pub post_transaction: Option<String>,
    /// How to sign; depends on the kernel: ask [`Framework::load`] again with its variables.
    pub signing: Signing,
    /// What a failure means inside a package manager (ours).
    pub policy: Policy,
    /// Who builds are (ours).
    pub build_as: BuildAs,
    /// Whether builds have a network (ours).
    pub build_network: bool,
    /// Who the scripts are that run when a package is added, installed and removed (ours).
    pub scripts_as: ScriptsAs,
    /// How long one command of a build may take; `None`: for ever (ours).
    pub build_time_limit: Option<Duration>,
    /// Whether compilers' answers to kbuild's questions are kept (ours; on unless it says "no").
    pub probe_cache: bool,
    /// What compiles in the compilers' place (ours).
    pub compiler_launcher: CompilerLauncher,
    /// How much the results of builds may be that are kept, in bytes; `None`: none are kept (ours).
    pub result_cache: Option<u64>,
    /// Whether those are told who do not ask dkms, if the next boot will lack modules (ours; on unless it says "no").
    pub notify: bool,
    /// What is enough for modules to be used for another kernel (ours).
    pub reuse: Reuse,
    /// Where builds are shared (ours).
    pub share: Shared,
    /// Options whose value is none of the possible ones: name and value. The default counts.
    pub unusable: Vec<(&'static str, String)>,
    /// Assignments that no option is meant by.
    pub unknown: Vec<Unknown>,
    /// What the files said on standard error.
    pub stderr: String,
}

/// The signing options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signing {
    /// The program that signs.
    pub sign_file: Option<String>,
    /// The private key: a file or a `pkcs11:` URI.
    pub key: Option<String>,
    /// The certificate.
    pub certificate: Option<String>,
    /// Whether to sign.
    pub when: TrySign,
}

/// Whether modules are to be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrySign {
    /// Unless this is a chroot.
    #[default]
    NotInChroot,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// What a failure means inside a package manager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is warned about.
    #[default]
    Warn,
    /// It fails.
    Fail,
}

impl Framework {
    /// Reads the framework's files. `seen_by_bash` gives the path under which bash finds an inside
    /// path's file; `variables` are what the files may use: none of a kernel at start, `kernelver`
    /// and its like when signing options are wanted for a kernel.
    /// With nothing but comments and plain assignments in the files, no bash is started.
    pub fn load(
        evaluator: &mut Evaluator,
        trees: &Trees,
        seen_by_bash: &dyn Fn(&Path) -> PathBuf,
        variables: BTreeMap<String, String>,
    ) -> Result<Self, ConfError> {
        let files = framework_files(trees)
            .map_err(|source| ConfError::Read { file: PathBuf::from("/etc/dkms/framework.conf.d"), source })?;
        let mut speaking = Vec::new();
        let mut literal = Some(Raw::default());
        let mut texts = Vec::new();
        for file in &files {
            match durable::bytes(&file.outer) {
                Ok(text) if is_silent(&text) => {}
                Ok(text) => {
                    literal = literal.and_then(|raw| assign(raw, &text));
                    speaking.push(seen_by_bash(&file.inside));
                    texts.push((file.inside.as_path(), String::from_utf8_lossy(&text).into_owned()));
                }
                Err(source) => {
                    return Err(ConfError::Read { file: file.inside.clone(), source });
                }
            }
        }
        if speaking.is_empty() {
            return Ok(Self::default());
        }
        let texts: Vec<(&Path, &str)> = texts.iter().map(|(file, text)| (*file, text.as_str())).collect();
        let unknown = unknown(&texts);
        if let Some(raw) = literal {
            return Ok(Self { unknown, ..Self::from_raw(&raw) });
        }
        let answer =
            evaluator.evaluate(&Request { kind: Kind::Framework, files: speaking, variables, ..Request::default() })?;
        Ok(Self { unknown, stderr: answer.stderr, ..Self::from_raw(&answer.raw) })
    }

    /// Types the options; empty text is the default, as in the classic.
    pub fn from_raw(raw: &Raw) -> Self {
        let text = |name| raw.text(name, 0).map(str::to_owned);
        let path = |name| raw.text(name, 0).map(PathBuf::from);
        let on = |name| raw.text(name, 0).is_some();
        let words = |name, default: &[&str]| match raw.text(name, 0) {
            Some(text) => text.split_whitespace().map(str::to_owned).collect(),
            None => default.iter().map(|word| (*word).to_owned()).collect(),
        };
        let mut unusable = Vec::new();
        let parallel_jobs = raw.text("parallel_jobs", 0).and_then(|jobs| {
            let number = jobs.trim().parse().ok().filter(|number| *number > 0);
            if number.is_none() {
                unusable.push(("parallel_jobs", jobs.to_owned()));
            }
            number
        });
        let policy = match raw.text("policy", 0) {
            None | Some("warn") => Policy::Warn,
            Some("fail") => Policy::Fail,
            Some(other) => {
                unusable.push(("policy", other.to_owned()));
                Policy::Fail
            }
        };
        let build_as = raw.text("build_as", 0).map_or(Some(BuildAs::default()), BuildAs::parse).unwrap_or_else(|| {
            unusable.push(("build_as", raw.text("build_as", 0).unwrap_or_default().to_owned()));
            BuildAs::default()
        });
        let build_network = raw.text("build_network", 0).is_some_and(|text| {
            yes_or_no(text).unwrap_or_else(|| {
                unusable.push(("build_network", text.to_owned()));
                false
            })
        });
        // Nobody meant "root" by what is no word: the least that fits.
        let scripts_as =
            raw.text("scripts_as", 0).map_or(Some(ScriptsAs::default()), ScriptsAs::parse).unwrap_or_else(|| {
                unusable.push(("scripts_as", raw.text("scripts_as", 0).unwrap_or_default().to_owned()));
                ScriptsAs::Nobody
            });
        let build_time_limit = match raw.text("build_time_limit", 0) {
            None => Some(TIME_LIMIT),
            Some(text) if text.trim() == "none" => None,
            Some(text) => time(text).or_else(|| {
                unusable.push(("build_time_limit", text.to_owned()));
                Some(TIME_LIMIT)
            }),
        };
        let probe_cache = raw.text("probe_cache", 0).is_none_or(|text| {
            yes_or_no(text).unwrap_or_else(|| {
                unusable.push(("probe_cache", text.to_owned()));
                true
            })
        });
        let compiler_launcher = raw
            .text("compiler_launcher", 0)
            .map_or(Some(CompilerLauncher::default()), CompilerLauncher::parse)
            .unwrap_or_else(|| {
                unusable.push(("compiler_launcher", raw.text("compiler_launcher", 0).unwrap_or_default().to_owned()));
                CompilerLauncher::default()
            });
        let notify = raw.text("notify", 0).is_none_or(|text| {
            yes_or_no(text).unwrap_or_else(|| {
                unusable.push(("notify", text.to_owned()));
                true
            })
        });
        let mut size = RESULTS;
        if let Some(text) = raw.text("result_cache_size", 0) {
            match bytes(text) {
                Some(bytes) => size = bytes,
                None => unusable.push(("result_cache_size", text.to_owned())),
            }
        }
        let keeps = raw.text("result_cache", 0).is_none_or(|text| {
            yes_or_no(text).unwrap_or_else(|| {
                unusable.push(("result_cache", text.to_owned()));
                true
            })
        });
        // Nobody who wrote something else meant the bolder one.
        let reuse = raw.text("reuse", 0).map_or(Some(Reuse::default()), Reuse::parse).unwrap_or_else(|| {
            unusable.push(("reuse", raw.text("reuse", 0).unwrap_or_default().to_owned()));
            Reuse::Never
        });
        Self {
            source_tree: path("source_tree"),
            dkms_tree: path("dkms_tree"),
            install_tree: path("install_tree"),
            tmp_location: path("tmp_location"),
            verbose: on("verbose"),
            symlink_modules: on("symlink_modules"),
            autoinstall_all_kernels: on("autoinstall_all_kernels"),
            // Used by common.postinst only, where `true` is the default.
            continue_on_error: raw.text("continue_on_error", 0).is_none_or(|text| text == "true"),
            modprobe_on_install: on("modprobe_on_install"),
            modprobe_conf: raw.text("modprobe_conf", 0).is_none_or(|text| !text.starts_with(['n', 'N'])),
            parallel_jobs,
            compress_gzip_opts: words("compress_gzip_opts", &[]),
            compress_xz_opts: words("compress_xz_opts", &["--check=crc32", "--lzma2=dict=1MiB"]),
            compress_zstd_opts: words("compress_zstd_opts", &["-q", "--rm", "-T0"]),
            build_environment: text("build_environment"),
            post_transaction: text("post_transaction"),
            signing: Signing {
                sign_file: text("sign_file"),
                key: text("mok_signing_key"),
                certificate: text("mok_certificate"),
                when: match raw.text("try_sign_modules", 0) {
                    Some("true") => TrySign::Always,
                    Some("false") => TrySign::Never,
                    _ => TrySign::NotInChroot,
                },
            },
            policy,
            build_as,
            build_network,
            scripts_as,
            build_time_limit,
            probe_cache,
            compiler_launcher,
            result_cache: keeps.then_some(size),
            notify,
            reuse,
            share: Shared::from_raw(raw, keeps, &mut unusable),
            unusable,
            unknown: Vec::new(),
            stderr: String::new(),
        }
    }
}

impl Default for Framework {
    fn default() -> Self {
        Self::from_raw(&Raw::default())
    }
}

/// No package known takes a tenth of it, on any machine that has the memory.
const TIME_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// How much the results of builds may be: some hundred packages' on some kernels.
const RESULTS: u64 = 1 << 30;

/// A size: a number with `K`, `M` or `G` after it, in units of 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = match text.chars().last()? {
        'K' => 1_u64 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].trim_end().parse().ok().filter(|number| *number > 0)?;
    number.checked_mul(unit)
}

/// Whether a file has nothing but comments and blank lines.
fn is_silent(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).all(|line| line.is_empty() || line.starts_with(b"#"))
}

/// Adds the assignments of a file to `raw`; `None` if it has anything but plain assignments whose values have no
/// character that means something to a shell: values are expanded once more, quoted or not.
fn assign(mut raw: Raw, text: &[u8]) -> Option<Raw> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@% ".contains(c);
    for (name, value) in assignments::all(std::str::from_utf8(text).ok()?)? {
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !value.chars().all(plain) {
            return None;
        }
        raw.set(&name, 0, &value);
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Launcher;
    use crate::root::Root;

    fn framework(files: &[(&str, &str)], variables: &[(&str, &str)], program: &str) -> Framework {
        let tmp = tempfile::tempdir().unwrap();
        let directory = tmp.path().join("etc/dkms/framework.conf.d");
        fs_err::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs_err::write(tmp.path().join("etc/dkms").join(name), text).unwrap();
        }
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let mut launcher = Launcher::new(BTreeMap::new());
        launcher.argv = vec![program.into()];
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Framework::load(&mut Evaluator::new(launcher), &trees, &|inside| trees.outer(inside), variables).unwrap()
    }

    #[test]
    fn no_bash_for_comments() {
        let files = [("framework.conf", "# verbose=1\n\n  # x\n"), ("framework.conf.d/a.conf", "")];
        let defaults = framework(&files, &[], "/no/bash/here");
        assert_eq!(defaults, Framework::default());
        assert_eq!(defaults.compress_zstd_opts, ["-q", "--rm", "-T0"]);
        assert_eq!(defaults.signing.when, TrySign::NotInChroot);
        assert!(!defaults.verbose && defaults.continue_on_error);
    }

    #[test]
    fn fragments_come_later_and_in_order() {
        let given = framework(
            &[
                ("framework.conf", "verbose=no\nparallel_jobs=3\npolicy=fail\nsource_tree=/a\n"),
                ("framework.conf.d/b.conf", "source_tree=$source_tree/b\n"),
                ("framework.conf.d/a.conf", "source_tree=$source_tree/c\nPACKAGE_NAME=x\n"),
                ("framework.conf.d/z.txt", "source_tree=/z\n"),
                ("framework.conf.d/.z.conf", "source_tree=/z\n"),
            ],
            &[],
            "bash",
        );
        assert!(given.verbose, "any text is on");
        assert_eq!((given.parallel_jobs, given.policy), (Some(3), Policy::Fail));
        assert_eq!(given.source_tree, Some(PathBuf::from("/a/c/b")));
    }

    #[test]
    fn signing_options_know_the_kernel() {
        let files = [(
            "framework.conf",
            "sign_file='/s/${kernelver}/sign'\nmok_signing_key=\"/k/$kernelver\"\ntry_sign_modules=true\n",
        )];
        let signing = framework(&files, &[("kernelver", "6.1")], "bash").signing;
        assert_eq!(signing.sign_file.as_deref(), Some("/s/6.1/sign"));
        assert_eq!(signing.key.as_deref(), Some("/k/6.1"));
        assert_eq!(signing.when, TrySign::Always);
    }

    #[test]
    fn times_have_units() {
        let limit = |text: &str| framework(&[("framework.conf", &format!("build_time_limit={text}\n"))], &[], "bash");
        for (text, seconds) in [("90s", Some(90)), ("45m", Some(2700)), ("12h", Some(43200)), ("none", None)] {
            let given = limit(text);
            assert_eq!(given.build_time_limit, seconds.map(Duration::from_secs), "{text}");
            assert!(given.unusable.is_empty(), "{text}");
        }
        for text in ["90", "h", "-1h", "0m", "1.5h", "forever", "99999999999999999999h", "18446744073709551615h"] {
            let given = limit(text);
            assert_eq!(given.build_time_limit, Some(TIME_LIMIT), "{text}");
            assert_eq!(given.unusable, [("build_time_limit", text.to_owned())], "{text}");
        }
        assert_eq!(Framework::default().build_time_limit, Some(TIME_LIMIT));
    }

    #[test]
    fn notices_are_on_unless_it_says_no() {
        let given = |text: &str| framework(&[("framework.conf", text)], &[], "bash");
        for (text, on) in [("", true), ("notify=yes\n", true), ("notify=\"No\"\n", false)] {
            assert_eq!((given(text).notify, given(text).unusable.len()), (on, 0), "{text}");
        }
        let odd = given("notify=0\n");
        assert_eq!((odd.notify, odd.unusable), (true, vec![("notify", "0".to_owned())]));
    }

    #[test]
    fn only_what_works_here_is_a_launcher() {
        let given = |text: &str| framework(&[("framework.conf", text)], &[], "bash");
        for (text, launcher, good) in [
            ("", CompilerLauncher::Auto, true),
            ("ccache", CompilerLauncher::Ccache, true),
            ("none", CompilerLauncher::None, true),
            ("distcc", CompilerLauncher::Auto, false),
        ] {
            let given = given(&format!("compiler_launcher={text}\n"));
            assert_eq!((given.compiler_launcher, given.unusable.is_empty()), (launcher, good), "{text}");
        }
    }

    #[test]
    fn the_result_cache_has_a_size() {
        let given = |text: &str| framework(&[("framework.conf", text)], &[], "bash");
        assert_eq!(given("").result_cache, Some(RESULTS));
        for (text, size) in [("64K", 64 << 10), ("300M", 300 << 20), ("2 G", 2 << 30)] {
            let found = given(&format!("result_cache_size=\"{text}\"\nresult_cache=yes\n"));
            assert_eq!((found.result_cache, found.unusable.len()), (Some(size), 0), "{text}");
        }
        for text in ["1", "0M", "-1G", "M", "1.5G", "99999999999999G"] {
            let found = given(&format!("result_cache_size=\"{text}\"\n"));
            assert_eq!(found.unusable, [("result_cache_size", text.to_owned())]);
            assert_eq!(found.result_cache, Some(RESULTS), "{text}");
        }
        assert_eq!(given("result_cache=no\n").result_cache, None);
        let found = given("result_cache=0\n");
        assert_eq!((found.result_cache, found.unusable.len()), (Some(RESULTS), 1));
    }

    #[test]
    fn senseless_values_are_told() {
        let files = [("framework.conf", "parallel_jobs=many\npolicy=maybe\nbuild_as=nobody\nbuild_network=perhaps\n")];
        let given = framework(&files, &[], "bash");
        assert_eq!((given.parallel_jobs, given.policy, given.build_as), (None, Policy::Fail, BuildAs::Unprivileged));
        assert_eq!(given.unusable.len(), 4);
        assert!(
            !given.build_network && framework(&[("framework.conf", "build_network=yes\n")], &[], "bash").build_network
        );
        assert_eq!(framework(&[("framework.conf", "build_as=root\n")], &[], "bash").build_as, BuildAs::Root);
        for (value, expected, good) in [
            ("", ScriptsAs::Root, true),
            ("root", ScriptsAs::Root, true),
            ("nobody", ScriptsAs::Nobody, true),
            ("none", ScriptsAs::None, true),
            ("unprivileged", ScriptsAs::Nobody, false),
        ] {
            let given = framework(&[("framework.conf", &format!("scripts_as={value}\n"))], &[], "bash");
            assert_eq!((given.scripts_as, given.unusable.is_empty()), (expected, good), "{value}");
        }
    }

    /// What is read without bash is what bash reads.
    #[test]
    fn plain_assignments_need_no_bash() {
        let plain = "# a comment\n\n  verbose=\"yes\" # why\nexport parallel_jobs='3'\ntmp_location=\"/a\"b\npost_transaction=\"echo a, b\"\nunknown=1\nverbose=\n";
        let files = [("framework.conf", plain), ("framework.conf.d/a.conf", "policy=fail\n")];
        let without = framework(&files, &[], "/no/such/bash");
        let more = [files[0], files[1], ("framework.conf.d/b.conf", ":\n")];
        assert_eq!(without, framework(&more, &[], "bash"));
        assert_eq!((without.parallel_jobs, without.policy, without.verbose), (Some(3), Policy::Fail, false));
        for text in
            ["a=$b", "a=\"`b`\"", "a=b c", "a=~", "a=b\\", "a='$b'", "a[0]=b", "a=b;c", "export a", "a=*", "A=b"]
        {
            assert!(assign(Raw::default(), text.as_bytes()).is_none(), "{text}");
        }
    }
}
