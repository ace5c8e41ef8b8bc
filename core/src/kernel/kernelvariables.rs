//! `.kernelvariables`: the make fragment in which Debian's headers name the compiler.
//!
//! Only as much of make's language as such files use is understood; whatever else decides the
//! answer makes it unknown, and then make itself is asked.

use std::collections::HashMap;
use std::path::Path;

/// The variables that a fragment sets.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: HashMap<String, String>,
    /// Something outside the language understood was met.
    unclear: bool,
}

impl Variables {
    /// Reads the text of the fragment: assignments with `=`, `:=`, `::=`, `?=`, `+=`, also after `override`
    /// or `export`, and `ifeq`, `ifneq`, `ifdef`, `ifndef`, `else`, `endif` (GNU make manual,
    /// "Flavors", "Conditional Syntax").
    pub fn parse(text: &str) -> Self {
        let mut vars = Self::default();
        // One entry per open conditional: whether its present branch is taken.
        let mut taken: Vec<bool> = Vec::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            match word {
                "" => {}
                "ifeq" | "ifneq" | "ifdef" | "ifndef" => {
                    let holds = vars.condition(word, rest.trim());
                    taken.push(holds);
                }
                "else" => {
                    if let Some(last) = taken.last_mut() {
                        *last = !*last;
                    }
                    // `else ifeq` would need a third state.
                    vars.unclear |= !rest.is_empty();
                }
                "endif" => {
                    taken.pop();
                }
                _ if taken.iter().all(|t| *t) => vars.assign(line),
                _ => {}
            }
        }
        vars
    }

    /// The value of `name` with all references replaced and white space cut off both ends. `None`
    /// if it is not known; `Some("")` if it is not set.
    pub fn value(&self, name: &str) -> Option<String> {
        if self.unclear {
            return None;
        }
        let text = self.values.get(name).cloned().unwrap_or_default();
        Some(self.expand(&text, 0)?.trim().to_owned())
    }

    fn assign(&mut self, line: &str) {
        let mut line = line;
        for word in ["override ", "export "] {
            line = line.strip_prefix(word).unwrap_or(line).trim_start();
        }
        let Some((left, value)) = line.split_once('=') else {
            self.unclear = true;
            return;
        };
        let value = value.trim_start().to_owned();
        let name = left.trim_end_matches([':', '?', '+', '!']);
        let operator = left.get(name.len()..).unwrap_or_default();
        let name = name.trim_end();
        if name.is_empty() || name.contains([' ', '\t', '$', ':']) {
            self.unclear = true;
            return;
        }
        let name = name.to_owned();
        match operator {
            "?" => {
                self.values.entry(name).or_insert(value);
            }
            "+" => {
                let old = self.values.entry(name).or_default();
                *old = format!("{old} {value}");
            }
            "" => {
                self.values.insert(name, value);
            }
            ":" | "::" => {
                let value = self.expand(&value, 0).unwrap_or(value);
                self.values.insert(name, value);
            }
            _ => self.unclear = true,
        }
    }

    fn condition(&mut self, word: &str, rest: &str) -> bool {
        let holds = match word {
            "ifdef" => Some(self.values.contains_key(rest)),
            "ifndef" => Some(!self.values.contains_key(rest)),
            _ => {
                let sides = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')).and_then(split_argument);
                sides.and_then(|(left, right)| {
                    let left = self.expand(left, 0)?;
                    let right = self.expand(right.trim_start(), 0)?;
                    Some((left == right) == (word == "ifeq"))
                })
            }
        };
        self.unclear |= holds.is_none();
        holds.unwrap_or(false)
    }

    /// Replaces `$(X)`, `${X}` and `$(if …)`; `None` at any other function.
    fn expand(&self, text: &str, depth: usize) -> Option<String> {
        if depth > 20 {
            return None;
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(rest.get(..at)?);
            rest = rest.get(at + 1..)?;
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let (inner, after) = bracketed(rest)?;
            rest = after;
            if let Some(arguments) = inner.strip_prefix("if ") {
                let (condition, branches) = split_argument(arguments)?;
                let (then, otherwise) = split_argument(branches).unwrap_or((branches, ""));
                let holds = !self.expand(condition.trim(), depth + 1)?.is_empty();
                let branch = if holds { then } else { otherwise };
                out.push_str(&self.expand(branch, depth + 1)?);
            } else if inner.contains([' ', ',', ':', '$']) {
                return None;
            } else if let Some(value) = self.values.get(inner) {
                out.push_str(&self.expand(value, depth + 1)?);
            }
        }
        out.push_str(rest);
        Some(out)
    }
}

/// What is between the bracket that `text` begins with and its partner, and what follows.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            // Also ends at once on `$X`, which such files do not use.
            return (at > 0).then_some((text.get(1..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// Splits at the first comma outside brackets.
fn split_argument(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// The program that reads what our reader does not, with [`question`] on its standard input.
pub const MAKE: [&str; 5] = ["make", "-s", "-f", "-", "dkms-print-cc"];

/// The makefile that prints `CC` as `file` sets it; `file` is the path that make will see. An empty answer means unset.
pub fn question(file: &Path) -> String {
    format!(
        "undefine CC\ninclude {}\n.PHONY: dkms-print-cc\ndkms-print-cc:\n\t@printf '%s\\n' '$(CC)'\n",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, DEFAULT_PATH, Task};

    const BOOKWORM: &str = "override ARCH = x86\noverride KERNELRELEASE = 6.1.0-56-cloud-amd64\nCCACHE = ccache\n\
        CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n\
        ifneq ($(DEB_BUILD_ARCH),$(DEB_HOST_ARCH))\noverride CROSS_COMPILE = $(DEB_HOST_GNU_TYPE)-\nendif\n\
        DEBIAN_KERNEL_NO_CC_VERSION_CHECK = y\n";
    const TRIXIE: &str = "override ARCH = x86\nCCACHE = ccache\n\
        CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-14\n\
        DEB_BUILD_ARCH ?= $(shell dpkg --print-architecture)\n\
        override CROSS_COMPILE = x86_64-linux-gnu-\n";

    /// Files and the compiler that they name; `None` where that is not for our reader to say.
    const FILES: [(&str, Option<&str>); 12] = [
        (BOOKWORM, Some("gcc-12")),
        (TRIXIE, Some("x86_64-linux-gnu-gcc-14")),
        ("CC := clang\n", Some("clang")),
        ("CC?=gcc # comment\n", Some("gcc")),
        ("export CC = ${X}cc\nX=my\n", Some("mycc")),
        ("A = 1\nifdef A\nCC = one\nelse\nCC = two\nendif\n", Some("one")),
        ("ifeq ($(A),1)\nCC = one\nelse\nCC = two\nendif\n", Some("two")),
        ("CC = a$(if ,b,c)\n", Some("ac")),
        ("X = y\n", Some("")),
        ("", Some("")),
        ("CC = $(shell echo a)\n", None),
        ("CC = $(CC)\n", None),
    ];

    #[test]
    fn the_compiler_of_real_and_odd_files() {
        for (text, cc) in FILES {
            let got = Variables::parse(text).value("CC");
            assert_eq!(got.as_deref(), cc, "{text}");
        }
        assert_eq!(Variables::parse("include other\nCC = gcc\n").value("CC"), None);
    }

    /// What our reader says of a file is what make says of it; where it says nothing, make is asked.
    #[test]
    fn make_agrees() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join(".kernelvariables");
        let run = |file: &Path| {
            let mut task = Task::new(MAKE, Path::new("/"), &[("PATH".into(), DEFAULT_PATH.into())].into());
            task.input = Some(question(file).into_bytes());
            let end = process::run(task).unwrap();
            end.status.success().then(|| end.text().trim().to_owned())
        };
        let ask = |text: &str| {
            fs_err::write(&file, text).unwrap();
            run(&file)
        };
        for (text, cc) in FILES.into_iter().filter(|(_, cc)| cc.is_some()) {
            assert_eq!(ask(text).as_deref(), cc, "{text}");
        }
        assert_eq!(ask("CC = $(shell echo a)\n").as_deref(), Some("a"));
        assert_eq!(ask("CC = $(CC)\n"), None);
        assert_eq!(ask("$(error no)\n"), None);
    }
}
