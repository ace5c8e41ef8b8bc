//! What the repository's own files cite must exist: sections of the contract, laws, documents, and the files that Markdown
//! documents name. The tests below check this repository, and that the check finds what it is for.
//!
//! The forms, all within one line:
//!
//! | form | must exist |
//! |---|---|
//! | a path that ends in `.md` | the document, from the top of the repository or beside the citing file |
//! | the contract or the laws, then numbers: `N`, `N.M`, also `N and M`, `N, M`; `step N`, `steps N to M` | these sections, and the steps of the last one |
//! | `law N`, `contract N.M` | this law, this section |
//! | a Markdown link to a file, with or without `#heading` | the file, the heading |
//! | in a Markdown document, a path in backquotes that begins with one of the repository's directories | the file |
//! | in a Markdown document, `make WORD` in backquotes; every line of `make help` | the target |
//! | in a Markdown document, `room::file` or `room::function` in backquotes | the module in the core or in this crate; the item in it |
//!
//! Outside of Markdown documents the contract and the laws are only cited with a number: a reader must not have to search.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

/// The two documents whose parts have numbers. Names of documents are put together in this file: it is checked too.
const CONTRACT: &str = concat!("docs/contract", ".md");
const LAWS: &str = concat!("docs/laws", ".md");

/// What is below the top of the repository but not part of it: build results, vendored crates, git's own files.
const NOT_OURS: [&str; 3] = ["target", "vendor", ".git"];

/// The text files of a repository, by path from its top.
#[derive(Debug, Default)]
struct Repository {
    texts: BTreeMap<PathBuf, String>,
    /// Every file and directory, texts or not.
    paths: BTreeSet<PathBuf>,
    sections: BTreeSet<String>,
    /// The steps of a numbered section.
    steps: BTreeSet<(String, u32)>,
    laws: BTreeSet<String>,
}

impl Repository {
    /// Reads the repository at `top`. Links are not followed; files that are not UTF-8 cite nothing.
    fn read(top: &Path) -> Result<Self> {
        let mut all = Self::default();
        let mut directories = vec![top.to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in fs_err::read_dir(&directory)? {
                let entry = entry?;
                let path = entry.path().strip_prefix(top)?.to_path_buf();
                if NOT_OURS.iter().any(|name| path.ends_with(name)) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                    all.paths.insert(path);
                } else if entry.file_type()?.is_file() {
                    match String::from_utf8(fs_err::read(entry.path())?) {
                        Ok(text) => all.add(path, text),
                        Err(_) => {
                            all.paths.insert(path);
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    fn add(&mut self, path: PathBuf, text: String) {
        if path == Path::new(CONTRACT) {
            self.read_contract(&text);
        }
        if path == Path::new(LAWS) {
            let numbers = text.lines().filter_map(number_before_dot);
            self.laws.extend(numbers.map(|n| n.to_string()));
        }
        self.paths.insert(path.clone());
        self.texts.insert(path, text);
    }

    /// Headings `## N. …` and `### N.M …`, and the numbered lines below each.
    fn read_contract(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix('#') {
                let heading = heading.trim_start_matches('#').trim_start();
                section = heading.split(' ').next().unwrap_or_default().trim_end_matches('.').to_owned();
                self.sections.insert(section.clone());
            } else if let Some(step) = number_before_dot(line) {
                self.steps.insert((section.clone(), step));
            }
        }
    }

    /// Every citation that leads nowhere, as `file:line: what is wrong`.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (path, text) in &self.texts {
            let markdown = path.extension().is_some_and(|e| e == "md");
            for (index, line) in text.lines().enumerate() {
                let mut wrong = self.wrong_documents(path, line, markdown);
                wrong.extend(self.wrong_numbers(line));
                if markdown {
                    wrong.extend(self.wrong_links(path, line));
                    wrong.extend(self.wrong_paths(line));
                    wrong.extend(self.wrong_modules(line));
                    wrong.extend(self.wrong_targets(line));
                }
                broken.extend(wrong.into_iter().map(|what| format!("{}:{}: {what}", path.display(), index + 1)));
            }
        }
        broken
    }

    fn wrong_documents(&self, citing: &Path, line: &str, markdown: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (document, rest) in documents(line) {
            let Some(found) = self.find(citing, document) else {
                wrong.push(format!("there is no {document}"));
                continue;
            };
            if found != Path::new(CONTRACT) && found != Path::new(LAWS) {
                continue;
            }
            let (numbers, steps) = numbers(rest);
            if numbers.is_empty() && !markdown {
                wrong.push(format!("{document} is cited without a number"));
            }
            let known = if found == Path::new(LAWS) { &self.laws } else { &self.sections };
            for number in &numbers {
                if !known.contains(number) {
                    wrong.push(format!("{document} has no {number}"));
                }
            }
            let section = numbers.last().cloned().unwrap_or_default();
            for step in steps {
                if !self.steps.contains(&(section.clone(), step)) {
                    wrong.push(format!("{document} {section} has no step {step}"));
                }
            }
        }
        wrong
    }

    fn wrong_numbers(&self, line: &str) -> Vec<String> {
        let lower = line.to_lowercase();
        let mut wrong = Vec::new();
        for (word, known) in [("law ", &self.laws), ("contract ", &self.sections)] {
            for (at, _) in lower.match_indices(word) {
                if lower[..at].ends_with(|c: char| c.is_alphanumeric()) {
                    continue;
                }
                let (numbers, _) = numbers(&lower[at + word.len()..]);
                let unknown = numbers.into_iter().filter(|n| !known.contains(n));
                wrong.extend(unknown.map(|n| format!("there is no {word}{n}")));
            }
        }
        wrong
    }

    fn wrong_links(&self, citing: &Path, line: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for (at, _) in line.match_indices("](") {
            let Some((target, _)) = line[at + 2..].split_once(')') else { continue };
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
            let file = if file.is_empty() { Some(citing.to_path_buf()) } else { self.beside(citing, file) };
            let Some(file) = file else {
                wrong.push(format!("the link to {target} leads nowhere"));
                continue;
            };
            if let (Some(heading), Some(text)) = (heading, self.texts.get(&file)) {
                if !text.lines().any(|line| line.starts_with('#') && anchor(line) == heading) {
                    wrong.push(format!("{} has no heading {heading}", file.display()));
                }
            }
        }
        wrong
    }

    fn wrong_paths(&self, line: &str) -> Vec<String> {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted
            .filter(|text| text.contains('/') && text.chars().all(is_path))
            .filter(|text| text.split('/').next().is_some_and(|first| self.is_top_directory(first)))
            .filter(|text| !self.paths.contains(Path::new(text.trim_end_matches('/'))))
            .map(|text| format!("there is no {text}"))
            .collect()
    }

    fn wrong_modules(&self, line: &str) -> Vec<String> {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted
            .filter(|text| text.contains("::") && text.chars().all(|c| c.is_ascii_lowercase() || "_:".contains(c)))
            .filter(|text| !["core/src", "tests/src"].into_iter().any(|base| self.has_module(base, text)))
            .map(|text| format!("there is no {text}"))
            .collect()
    }

    fn wrong_targets(&self, line: &str) -> Vec<String> {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted
            .filter_map(|text| text.strip_prefix("make "))
            .map(|words| words.split(' ').next().unwrap_or_default())
            .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !self.has_target(word))
            .map(|word| format!("there is no make {word}"))
            .collect()
    }

    fn has_target(&self, name: &str) -> bool {
        let rule = format!("{name}:");
        self.texts.get(Path::new("Makefile")).is_some_and(|text| text.lines().any(|line| line.starts_with(&rule)))
    }

    /// Whether `a::b` is a file or directory `a/b` below `base`, or a word in the file of `a`.
    fn has_module(&self, base: &str, name: &str) -> bool {
        let mut directory = PathBuf::from(base);
        let mut text = None;
        for part in name.split("::") {
            let file = directory.join(format!("{part}.rs"));
            let module = directory.join(part).join("mod.rs");
            directory.push(part);
            match self.texts.get(&file).or_else(|| self.texts.get(&module)) {
                Some(found) => text = Some(found),
                None if text.is_some_and(|text: &String| {
                    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == part)
                }) => {}
                None => return false,
            }
        }
        true
    }

    fn is_top_directory(&self, name: &str) -> bool {
        let path = Path::new(name);
        self.paths.contains(path) && !self.texts.contains_key(path)
    }

    /// The file that a citation means: from the top of the repository, or beside the citing file.
    fn find(&self, citing: &Path, cited: &str) -> Option<PathBuf> {
        let from_top = PathBuf::from(cited);
        if self.paths.contains(&from_top) { Some(from_top) } else { self.beside(citing, cited) }
    }

    fn beside(&self, citing: &Path, cited: &str) -> Option<PathBuf> {
        let mut path = citing.parent().unwrap_or(Path::new("")).to_path_buf();
        for part in Path::new(cited).components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::ParentDir if !path.pop() => return None,
                Component::ParentDir | Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        self.paths.contains(&path).then_some(path)
    }
}

/// A character of the paths that are recognised in text.
fn is_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./".contains(c)
}

/// The paths in a line that end in `.md`, each with what follows it.
fn documents(line: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_path) {
        let word = &rest[start..];
        let end = word.find(|c| !is_path(c)).unwrap_or(word.len());
        let token = word[..end].trim_end_matches('.');
        // `https:` stands before `//`; what is below target/ is made by a build.
        let ours = !token.starts_with("//") && !token.starts_with("target/");
        if ours && token.ends_with(".md") && token.len() > ".md".len() {
            found.push((token, &word[token.len()..]));
        }
        rest = &word[end..];
    }
    found
}

/// The numbers that follow a citation, and the steps.
fn numbers(rest: &str) -> (Vec<String>, Vec<u32>) {
    let (mut sections, mut steps) = (Vec::new(), Vec::new());
    let mut in_steps = false;
    let mut range = false;
    for word in rest.trim_start_matches(['`', ')']).split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',', ';', ':', '.', '`', '*']);
        match bare {
            "" | "and" | "section" | "sections" => {}
            "step" | "steps" => in_steps = true,
            "to" => range = true,
            _ if !bare.starts_with(|c: char| c.is_ascii_digit()) => break,
            _ if in_steps => {
                let Ok(step) = bare.parse::<u32>() else { break };
                let from = if range { steps.last().map_or(step, |last| last + 1) } else { step };
                steps.extend(from..=step);
                range = false;
            }
            _ if bare.chars().all(|c| c.is_ascii_digit() || c == '.') => sections.push(bare.to_owned()),
            _ => break,
        }
        // The end of a bracket or a sentence ends the citation.
        if word.ends_with([')', ';', ':', '.']) {
            break;
        }
    }
    (sections, steps)
}

/// The number of a line such as `12. text`.
fn number_before_dot(line: &str) -> Option<u32> {
    line.split_once(". ").and_then(|(number, _)| number.parse().ok())
}

/// The anchor that GitHub and GitLab give a heading: lower case, blanks as dashes, punctuation left out.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written so that the check of this repository does not take the planted texts for citations of this file.
    const MD: &str = ".md";
    const NTH: &str = "law";
    const TERMS: &str = "contract";

    fn planted(path: &str, text: &str) -> Vec<String> {
        let mut repository = Repository::default();
        repository.add(
            CONTRACT.into(),
            "# The contract\n## 2. Commands\n### 2.1 add\n1. one\n2. two\n### 2.2 build\n1. one\n2. two\n3. three\n"
                .into(),
        );
        repository.add(LAWS.into(), "# Laws\n\n1. **First.** Text.\n2. **Second.** Text.\n\n## Exit codes\n".into());
        repository.add("core/src/error.rs".into(), "pub fn code(&self) -> u8 {".into());
        repository.add("core/src/tree/mod.rs".into(), "pub mod walk;".into());
        repository.add("core/src/tree/walk.rs".into(), String::new());
        repository.add("Makefile".into(), "lint:\n".into());
        repository.add("README.md".into(), String::new());
        for directory in ["docs", "core", "core/src"] {
            repository.paths.insert(directory.into());
        }
        repository.add(path.into(), text.into());
        repository.broken()
    }

    #[test]
    fn this_repository_cites_only_what_it_has() {
        let repository = Repository::read(&crate::settings::project()).unwrap();
        // Enough was read for the answer to mean something.
        assert!(repository.texts.len() > 200, "{} files", repository.texts.len());
        assert!(repository.sections.len() > 40 && repository.laws.len() == 10);
        let broken = repository.broken();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    /// The help is printed by a shell, whose quotes an apostrophe can break; and it names targets.
    #[test]
    fn make_help_names_targets_that_exist() {
        let project = crate::settings::project();
        let help =
            crate::run::command("make").args(["--no-print-directory", "help"]).current_dir(&project).output().unwrap();
        assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
        let repository = Repository::read(&project).unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let named: Vec<&str> = help.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert!(named.len() > 10, "{help}");
        for name in named {
            assert!(repository.has_target(name), "there is no make {name}");
        }
    }

    #[test]
    fn what_exists_may_be_cited() {
        for text in [
            format!("/// The codes (docs/contract{MD} 2.2)."),
            format!("// docs/contract{MD} 2.1 and 2.2, docs/laws{MD} 1; README{MD}"),
            format!("//! (docs/contract{MD} 2.2, steps 1 to 3)"),
            format!("//! (docs/contract{MD} section 2.2 step 3): 27 others"),
            format!("{NTH} 2. A flaw 9 is none."),
            format!("`core/src/gone` and [x](gone{MD}x) count in Markdown only"),
        ] {
            assert_eq!(planted("core/src/a.rs", &text), Vec::<String>::new(), "{text}");
        }
        for text in [
            format!(
                "[laws](docs/laws{MD}#exit-codes), docs/contract{MD}, `core/src/error.rs`, `core/`, `tree::walk`, `error::code`, `make lint`, [web](https://x.org/y{MD})"
            ),
            "`core/src/*.rs`, `/core/src/x`, `target/dkms`".to_owned(),
        ] {
            assert_eq!(planted(&format!("NEWS{MD}"), &text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_does_not_exist_is_found() {
        for (path, text, wrong) in [
            ("a.rs", format!("(docs/contract{MD} 2.15)"), format!("docs/contract{MD} has no 2.15")),
            ("a.rs", format!("(docs/contract{MD} 2.1 and 3)"), format!("docs/contract{MD} has no 3")),
            ("a.rs", format!("(docs/contract{MD} 2.1, 2.9)"), format!("docs/contract{MD} has no 2.9")),
            ("a.rs", format!("docs/contract{MD} 2.1, step 3"), format!("docs/contract{MD} 2.1 has no step 3")),
            ("a.rs", format!("docs/contract{MD} 2.2 steps 2 to 4"), format!("docs/contract{MD} 2.2 has no step 4")),
            ("a.rs", format!("see docs/contract{MD}"), format!("docs/contract{MD} is cited without a number")),
            ("a.sh", format!("# docs/laws{MD} 3"), format!("docs/laws{MD} has no 3")),
            ("a.rs", format!("// ({NTH} 11)"), format!("there is no {NTH} 11")),
            ("a.MD", format!("The {NTH} 11 says"), format!("there is no {NTH} 11")),
            ("a.rs", format!("/// ({TERMS} 4.3)"), format!("there is no {TERMS} 4.3")),
            ("a.rs", format!("//! behaviour{MD} 2.2."), format!("there is no behaviour{MD}")),
            ("docs/a.MD", format!("[x](gone{MD})"), format!("there is no gone{MD}")),
            ("docs/a.MD", "[x](gone/file)".into(), "the link to gone/file leads nowhere".into()),
            ("docs/a.MD", "[x](../../passwd)".into(), "the link to ../../passwd leads nowhere".into()),
            ("a.MD", format!("[x](docs/laws{MD}#exit)"), format!("docs/laws{MD} has no heading exit")),
            ("a.MD", "`core/src/gone.rs`".into(), "there is no core/src/gone.rs".into()),
            ("a.MD", "`tree::gone`".into(), "there is no tree::gone".into()),
            ("a.MD", "`make gone`".into(), "there is no make gone".into()),
            ("a.MD", "`gone::walk`".into(), "there is no gone::walk".into()),
            ("a.MD", "`error::decode`".into(), "there is no error::decode".into()),
        ] {
            let found = planted(&path.replace(".MD", MD), &text);
            assert!(found.iter().any(|f| f.ends_with(&wrong)), "{text}: {found:?}");
        }
    }
}
