//! Which commands are pure questions: those whose answer follows from compiler, arguments, environment and input alone.
//!
//! Everything that is not known to be harmless makes a command none. What files a compiler might read or write besides is
//! seen where it is asked ([`super::ask`]): that the answer does not follow from the question alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What stands for the name of the output file. No argument of a question has such a character.
pub const OUTPUT: &str = "@output";
/// What stands for the directories of `-fmacro-prefix-map=DIR=` and `-ffile-prefix-map=DIR=`, which differ from kernel to
/// kernel: nothing in a question has a file's name.
const MAPPED: &str = "/source/";
/// The longest question, in bytes.
pub const LONGEST: usize = 32 << 10;
/// Format of questions and answers: another one has other digests.
const FORMAT: u32 = 1;

/// A pure question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    format: u32,
    /// The name by which the compiler is called: it is in its messages.
    pub name: String,
    /// The arguments, [`OUTPUT`] in the place of the output file.
    pub args: Vec<String>,
    /// What it reads from standard input; `None`: it does not read that.
    pub input: Option<String>,
    /// What the compiler goes by of the environment.
    pub env: Vec<(String, String)>,
}

/// A command that may be a question, as its arguments look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its arguments, as in [`Question::args`].
    args: Vec<String>,
    /// The output file.
    pub output: Option<PathBuf>,
    /// Whether it reads standard input.
    pub reads: bool,
}

/// What becomes of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Whether anybody may see standard output or error.
    pub any: bool,
}

/// Options without a value.
const PLAIN: &[&str] = &[
    "-c",
    "-S",
    "-E",
    "-P",
    "-C",
    "-w",
    "-p",
    "-pg",
    "-pipe",
    "-ansi",
    "-pedantic",
    "-pedantic-errors",
    "-undef",
    "-nostdinc",
    "-nostdlib",
    "-dM",
    "-dD",
    "-xc",
    "-Qunused-arguments",
    "-integrated-as",
    "-no-integrated-as",
];

/// Options that ask the driver for nothing but a fact.
const FACTS: [&str; 4] = ["--version", "-dumpmachine", "-dumpversion", "-dumpfullversion"];

/// Options, by how they begin, that read or write files whose names are not said, or whose result is another each time.
const UNFIT: &[&str] = &[
    "-fplugin",
    "-fprofile",
    "-fbranch-prob",
    "-fauto-profile",
    "-fvpt",
    "-fdump",
    "-fstack-usage",
    "-fcallgraph",
    "-fcoverage",
    "-ftest-coverage",
    "-fcs-profile",
    "-fsave-",
    "-fopt-",
    "-fdiagnostics-add",
    "-fdiagnostics-color",
    "-fdiagnostics-format",
    "-fdiagnostics-generate",
    "-fdiagnostics-hotness",
    "-fdiagnostics-log",
    "-fdiagnostics-set",
    "-fdiagnostics-urls",
    "-fsanitize-black",
    "-fsanitize-coverage-",
    "-fsanitize-ignore",
    "-fbasic-block",
    "-fexec-charset",
    "-finput-charset",
    "-fwide-exec",
    "-foffload",
    "-fopen",
    "-fpass-",
    "-fresolution",
    "-fltrans",
    "-fwpa",
    "-fcompare-debug",
    "-fmodule",
    "-fimplicit-module",
    "-fprebuilt",
    "-fpch",
    "-flto",
    "-fthinlto",
    "-fthin-link",
    "-ffat-lto",
    "-frandom-seed",
    "-ftime-",
    "-fmem-report",
    "-freport-bug",
    "-fself-test",
    "-fpre-include",
    "-fcrash-",
    "-fembed",
    "-femit",
    "-fproc-stat",
    "-fdebug-",
    "-ffile-",
    "-fmacro-prefix",
    "-mllvm",
    "-gsplit",
    "-gz",
];

/// Words with which C or an assembler's text could reach a file, the time, or what is not there in each build.
const REACHES_OUT: [&str; 9] =
    ["incl", "incbin", "embed", "import", "ragma", "__DATE__", "__TIME", "__has_", "__BASE_FILE"];

/// The environment by which compilers go: a command in whose environment one of these is no question.
const UNFIT_ENVIRONMENT: &[&str] = &[
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "POSIXLY_CORRECT",
    "GLIBC_TUNABLES",
    "QEMU_LD_PREFIX",
];
const UNFIT_FAMILIES: [&str; 6] = ["GCC_", "LD_", "CCC_", "CLANG_", "COLLECT_", "MALLOC_"];

impl Command {
    /// Reads the arguments of a command; `None`: it is no question.
    pub fn read(args: &[OsString]) -> Option<Self> {
        let mut words = args.iter().map(|word| word.to_str());
        let mut command = Self { args: Vec::with_capacity(args.len()), output: None, reads: false };
        if let [only] = args {
            let only = only.to_str().filter(|word| FACTS.contains(word))?;
            command.args.push(only.to_owned());
            return Some(command);
        }
        let (mut stage, mut inputs, mut debug, mut mapped, mut language) = (None, 0, false, false, false);
        while let Some(word) = words.next() {
            let word = word?;
            command.args.push(word.to_owned());
            match word {
                "-o" => {
                    let name = words.next()??;
                    if command.args.iter().filter(|word| *word == "-o").count() > 1 {
                        return None;
                    }
                    let kept = match name {
                        "-" | "/dev/null" => name,
                        _ if name.starts_with('-') || name.is_empty() => return None,
                        _ => {
                            command.output = Some(name.into());
                            OUTPUT
                        }
                    };
                    command.args.push(kept.to_owned());
                }
                "-x" => {
                    let name = words.next()??;
                    if !["c", "assembler-with-cpp", "assembler"].contains(&name) {
                        return None;
                    }
                    language = true;
                    command.args.push(name.to_owned());
                }
                "--param" => {
                    let value = words.next()??;
                    if !is_value(value) {
                        return None;
                    }
                    command.args.push(value.to_owned());
                }
                "-" | "/dev/null" => {
                    inputs += 1;
                    command.reads = word == "-";
                }
                _ => {
                    if let Some(same) = without_prefix_map(word) {
                        mapped = true;
                        let last = command.args.len() - 1;
                        command.args[last] = same;
                        continue;
                    }
                    if !is_fit(word) {
                        return None;
                    }
                    language |= word == "-xc";
                    debug |= word.starts_with("-g");
                    if matches!(word, "-c" | "-S" | "-E") {
                        stage = Some(word.to_owned());
                    }
                }
            }
        }
        let stage = stage?;
        let says_where = command.args.iter().any(|word| word == "-o") || stage == "-E";
        // Maps of files are for what is said of them: the debug information names the directory.
        let fit = inputs == 1 && language && says_where && !(debug && mapped);
        let short = command.args.iter().map(String::len).sum::<usize>() < LONGEST / 2;
        (fit && short).then_some(command)
    }

    /// The question, if input and environment let it be one. `input`: all of standard input, if it is read.
    pub fn question(
        self,
        name: &str,
        input: Option<&[u8]>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        heard: Heard,
    ) -> Option<Question> {
        let input = match (self.reads, input) {
            (true, Some(bytes)) => Some(pure_text(bytes)?),
            (true, None) => return None,
            (false, _) => None,
        };
        let env = environment(env, heard)?;
        Some(Question { format: FORMAT, name: name.to_owned(), args: self.args, input, env })
    }
}

impl Question {
    /// The question as it is sent and stored.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a question that somebody else wrote, and checks it as if it were a command: `None` if it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let said: Self = serde_json::from_slice(text).ok().filter(|_| text.len() <= LONGEST)?;
        let fit_name =
            !said.name.is_empty() && said.name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.+".contains(&c));
        let args: Vec<OsString> = said
            .args
            .iter()
            // Any name will do.
            .map(|word| if word == OUTPUT { "output".into() } else { word.replace(MAPPED, "/a/").into() })
            .collect();
        let env: Vec<(OsString, OsString)> = said.env.iter().map(|(key, value)| (key.into(), value.into())).collect();
        let checked = Command::read(&args)?.question(
            &said.name,
            said.input.as_deref().map(str::as_bytes),
            env,
            Heard { any: true },
        )?;
        (fit_name && checked == said).then_some(said)
    }

    /// The digest by which the answer is found.
    pub fn key(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }
}

/// Whether an argument of its own changes nothing but what the compiler does with the source.
fn is_fit(word: &str) -> bool {
    if PLAIN.contains(&word) {
        return true;
    }
    if UNFIT.iter().any(|start| word.starts_with(start)) {
        return false;
    }
    if let Some(for_assembler) = word.strip_prefix("-Wa,") {
        return for_assembler == "--fatal-warnings"
            || for_assembler == "--noexecstack"
            || ["-m", "-gdwarf-", "-W"].iter().any(|start| {
                for_assembler.strip_prefix(start).is_some_and(|rest| is_value(rest) && !rest.contains(','))
            });
    }
    if word.starts_with("-Wl,") || word.starts_with("-Wp,") {
        return false;
    }
    if let Some(definition) = word.strip_prefix("-D").or_else(|| word.strip_prefix("-U")) {
        return definition.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !REACHES_OUT.iter().any(|out| definition.contains(out))
            && definition.bytes().all(|c| c.is_ascii_alphanumeric() || b"_=.,-+()\"'".contains(&c));
    }
    // What fits this machine's processor fits no other's.
    if word.starts_with("-m") && word.contains("native") {
        return false;
    }
    ["-W", "-f", "-m", "-O", "-g", "-std=", "--param=", "--target="].iter().any(|start| {
        word.strip_prefix(start)
            .is_some_and(|rest| is_value(rest) || (rest.is_empty() && ["-W", "-O", "-g"].contains(start)))
    })
}

/// Whether a value names no file, not even one beside.
fn is_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"=,._+-:".contains(&c))
}

/// A map of file names whose directory is replaced by one that is always the same; `None`: it is no such option.
fn without_prefix_map(word: &str) -> Option<String> {
    let option = ["-fmacro-prefix-map=", "-ffile-prefix-map="].into_iter().find(|option| word.starts_with(option))?;
    let (from, to) = word[option.len()..].split_once('=')?;
    let plain = from.starts_with('/') && from.bytes().all(|c| c.is_ascii_alphanumeric() || b"/._+-~".contains(&c));
    (plain && (to.is_empty() || is_value(to))).then(|| format!("{option}{MAPPED}={to}"))
}

/// The text of a source that reaches for nothing outside of it.
fn pure_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii() && text.len() <= LONGEST / 4)?;
    // Other spellings of `#`, and words in two parts.
    let spelt_out = ["??", "%:", "\\\n", "\\\r", "\\(", "\0"];
    let reaches = REACHES_OUT.iter().chain(&spelt_out).any(|word| text.contains(word));
    (!reaches).then(|| text.to_owned())
}

/// What of an environment counts for a compiler, in a fixed order; `None`: too much does.
fn environment(env: impl IntoIterator<Item = (OsString, OsString)>, heard: Heard) -> Option<Vec<(String, String)>> {
    let mut locale = [None, None, None, None, None];
    let names = ["LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG", "LANGUAGE"];
    let mut kept = Vec::new();
    for (key, value) in env {
        let Some(name) = key.to_str() else { continue };
        let unfit = UNFIT_ENVIRONMENT.contains(&name) || UNFIT_FAMILIES.iter().any(|family| name.starts_with(family));
        if unfit {
            return None;
        }
        if let Some(at) = names.iter().position(|known| *known == name) {
            locale[at] = Some(value).filter(|value| !value.is_empty());
        } else if name == "SOURCE_DATE_EPOCH" || (name == "COLUMNS" && heard.any) {
            let number = value.to_str().filter(|text| text.bytes().all(|c| c.is_ascii_digit()) && text.len() < 20)?;
            kept.push((name.to_owned(), number.to_owned()));
        } else if heard.any && ["LOCPATH", "NLSPATH", "OUTPUT_CHARSET", "TEXTDOMAINDIR"].contains(&name) {
            return None;
        }
    }
    if heard.any {
        let [all, messages, ctype, lang, language] = locale;
        let lang = lang.as_deref();
        let effective = |own: Option<OsString>| spoken(all.as_deref().or(own.as_deref()).or(lang));
        let (messages, ctype) = (effective(messages)?, effective(ctype)?);
        if messages != ctype || language.is_some() {
            return None;
        }
        kept.push(("LC_ALL".to_owned(), messages.to_owned()));
    } else {
        kept.push(("LC_ALL".to_owned(), "C".to_owned()));
    }
    kept.sort();
    Some(kept)
}

/// The locale, if it is one whose messages are no file's.
fn spoken(locale: Option<&OsStr>) -> Option<&'static str> {
    match locale.map(OsStr::as_bytes) {
        None | Some(b"C" | b"POSIX") => Some("C"),
        Some(b"C.UTF-8" | b"C.utf8") => Some("C.UTF-8"),
        Some(_) => None,
    }
}
