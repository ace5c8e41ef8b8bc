//! What bash says while it answers a request, made an [`Answer`].
//!
//! A hostile file can say anything itself. What counts is therefore decided here, by what was asked: a file can lie about its own
//! package only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::answer::{Answer, Deprecation};
use super::directive;
use super::error::ConfError;

/// Whose files a request is about, and so what they may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The package's own: all but [`directive::ADMINISTRATORS`].
    Package,
    /// The administrator's overrides, which see what the package has set: likewise. What they set may contain the package's text,
    /// and is expanded.
    Overrides,
    /// The same without anything of the package: [`directive::ADMINISTRATORS`].
    Administrator,
    /// The framework's: its own options.
    Framework,
}

/// How many words the longest item has.
const LONGEST: usize = 4;

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    whose: Whose,
    answer: Answer,
    /// The files that were asked for.
    files: &'a [PathBuf],
    /// How many of them have had their turn, or have it.
    turns: usize,
    /// The words of the current item; the first says how many there will be.
    item: Vec<String>,
    expanding: Option<String>,
    error: Option<(String, String)>,
    status: Option<i32>,
}

impl<'a> Reading<'a> {
    /// The answer about `files`, which begins with what earlier ones have set.
    pub fn new(whose: Whose, files: &'a [PathBuf], earlier: Answer) -> Self {
        Self { whose, answer: earlier, files, turns: 0, item: Vec::new(), expanding: None, error: None, status: None }
    }

    /// Whether the end has come.
    pub fn done(&self) -> bool {
        self.status.is_some()
    }

    /// The file whose turn it is.
    pub fn file(&self) -> PathBuf {
        self.files.get(self.turns.saturating_sub(1)).cloned().unwrap_or_default()
    }

    /// Takes the next word; gives whether it was the answer's last.
    pub fn take(&mut self, word: &[u8]) -> bool {
        self.item.push(String::from_utf8_lossy(word).into_owned());
        let item = std::mem::take(&mut self.item);
        let words: Vec<&str> = item.iter().map(String::as_str).collect();
        match words[..] {
            ["f"] => {
                self.end_file();
                self.turns += 1;
                self.answer.files.extend(self.files.get(self.turns - 1).cloned());
            }
            ["s", name, index] => self.expanding = Some(format!("{name}[{index}]")),
            ["v", name, index, value] => {
                self.expanding = None;
                if let Ok(index) = index.parse() {
                    self.set(name, index, value);
                }
            }
            ["m", name, index] => note(&mut self.answer.matching, name, index),
            ["r", name, index] => note(&mut self.answer.invalid, name, index),
            ["e", kind, text] => self.error = Some((kind.to_owned(), text.to_owned())),
            ["z", status] => {
                self.end_file();
                self.status = Some(status.parse().unwrap_or(1));
                return true;
            }
            // No item of ours: the answer is worth nothing, and never ends.
            _ if item.len() >= LONGEST => self.error = Some(("garbled".to_owned(), String::new())),
            _ => self.item = item,
        }
        false
    }

    fn set(&mut self, name: &str, index: usize, value: &str) {
        let administrators = directive::ADMINISTRATORS.contains(&name);
        match self.whose {
            Whose::Framework if directive::FRAMEWORK.contains(&name) => {}
            Whose::Administrator if administrators => {}
            Whose::Package if administrators => return self.answer.ignored.set(name, index, value),
            Whose::Package | Whose::Overrides if directive::PACKAGE.contains(&name) && !administrators => {}
            _ => return,
        }
        self.answer.raw.set(name, index, value);
    }

    /// Notes what the file whose turn ends leaves deprecated (docs/contract.md 4.3).
    fn end_file(&mut self) {
        if self.turns == 0 || self.turns > self.files.len() {
            return;
        }
        for name in directive::DEPRECATED {
            let harmless = |value: &str| *name == "CLEAN" && matches!(value, "true" | "/bin/true" | "/usr/bin/true");
            if self.answer.raw.all(name).any(|(_, value)| !value.is_empty() && !harmless(value)) {
                self.answer.deprecated.push(Deprecation { directive: name, file: self.file() });
            }
        }
    }

    /// The answer, with what was said on standard error.
    pub fn finish(mut self, stderr: &str) -> Result<Answer, ConfError> {
        let file = self.file();
        if let Some((kind, text)) = self.error {
            return Err(match kind.as_str() {
                "unreadable" => ConfError::Unreadable { file },
                "syntax" => ConfError::Syntax { message: syntax_line(stderr, &file), file },
                "large" => ConfError::TooLarge { file },
                "garbled" => ConfError::Died { file, message: "it gives no answer that can be understood".to_owned() },
                _ => ConfError::Exited { file, status: text.parse().unwrap_or(-1), message: first_line(stderr) },
            });
        }
        match (self.status, self.expanding) {
            (Some(0), _) => {
                self.answer.stderr.push_str(stderr);
                Ok(self.answer)
            }
            (_, Some(directive)) => Err(ConfError::Expansion { file, directive, message: first_line(stderr) }),
            _ => Err(ConfError::Died { file, message: first_line(stderr) }),
        }
    }
}

fn note(set: &mut BTreeSet<(String, usize)>, name: &str, index: &str) {
    if let Ok(index) = index.parse() {
        set.insert((name.to_owned(), index));
    }
}

/// The first line of `text`.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// bash's line about the file (`FILE: line 7: …`), without the file's name.
fn syntax_line(stderr: &str, file: &Path) -> String {
    let prefix = format!("{}: ", file.display());
    stderr
        .lines()
        .rev()
        .filter_map(|line| line.strip_prefix(&prefix))
        .find(|line| !line.contains(": `"))
        .map_or_else(|| first_line(stderr), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(whose: Whose, words: &[&str]) -> Result<Answer, ConfError> {
        let files = [PathBuf::from("/a/dkms.conf")];
        let mut reading = Reading::new(whose, &files, Answer::default());
        for word in words {
            reading.take(word.as_bytes());
        }
        reading.finish("")
    }

    /// Whatever a file puts into the answer itself, it sets nothing that only somebody else sets.
    #[test]
    fn a_forged_answer_counts_for_its_own_package_only() {
        let item = ["v", "DKMS_BUILD_NETWORK", "0", "yes", "v", "MAKE", "0", "x", "v", "mok_signing_key", "0", "k"];
        let words = [&["f"][..], &item, &["i", "y", "z", "DKMS_BUILD_AS"], &["z", "0"]].concat();
        for (whose, network, make, key) in [
            (Whose::Package, false, true, false),
            (Whose::Overrides, false, true, false),
            (Whose::Administrator, true, false, false),
            (Whose::Framework, false, false, true),
        ] {
            // What nobody speaks spoils all.
            assert!(matches!(read(whose, &words), Err(ConfError::Died { .. })), "{whose:?}");
            let answer = read(whose, &[&["f"][..], &item, &["f", "f", "z", "0"]].concat()).unwrap();
            let has = |name| answer.raw.at(name, 0).is_some();
            let found = [has("DKMS_BUILD_NETWORK"), has("MAKE"), has("mok_signing_key")];
            assert_eq!(found, [network, make, key], "{whose:?}");
            assert_eq!(answer.ignored.at("DKMS_BUILD_NETWORK", 0).is_some(), whose == Whose::Package);
            // Nor files that were not asked for.
            assert_eq!(answer.files, [PathBuf::from("/a/dkms.conf")]);
        }
        // Words without an end cost no more than they are long.
        let endless = vec!["x"; 200_000];
        assert!(read(Whose::Package, &endless).is_err());
    }
}
