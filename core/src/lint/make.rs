//! What the make commands and Makefiles show.

use std::path::Path;

use super::{ASKS_RUNNING_KERNEL, CLEAN_BESIDE, FIXED_JOBS, Finding, NEEDS_NETWORK, source, text};
use crate::conf::Answer;
use crate::durable;

/// Looks at MAKE, for one kernel and for `other`, and at the Makefiles that it may run.
pub(super) fn check(dir: &Path, conf: &str, answer: &Answer, other: &Answer, found: &mut Vec<Finding>) {
    for (index, command) in answer.raw.all("MAKE") {
        let line = text::line_of(conf, "MAKE", index);
        for words in commands(command) {
            if let Some(clean) = clean_beside(&words) {
                let message = format!("MAKE[{index}] has the goal {clean} beside others");
                found.push(Finding::conf(&CLEAN_BESIDE, line, message));
            }
            if let Some(jobs) = words.iter().skip(1).find(|word| is_jobs(word)).filter(|_| is_make(&words)) {
                found.push(Finding::conf(&FIXED_JOBS, line, format!("MAKE[{index}] says {jobs}")));
            }
        }
        if let Some(program) = source::network(command) {
            found.push(Finding::conf(&NEEDS_NETWORK, line, format!("MAKE[{index}] runs {program}")));
        }
        let same = other.raw.at("MAKE", index) == Some(command);
        let first = commands(command).into_iter().next().unwrap_or_default();
        if same && is_make(&first) && !first.iter().any(|word| word.starts_with("-C") || word.starts_with("-f")) {
            found.extend(running_kernel(dir, command));
        }
    }
}

/// The line of a Makefile that asks for the running kernel, in a variable that `command` does not set.
fn running_kernel(dir: &Path, command: &str) -> Option<Finding> {
    ["GNUmakefile", "makefile", "Makefile"].into_iter().find(|name| dir.join(name).is_file()).and_then(|name| {
        let text = durable::text(&dir.join(name)).ok()?;
        let (index, line) = text
            .lines()
            .enumerate()
            .find(|(_, line)| line.contains("uname -r") && !line.trim_start().starts_with('#'))?;
        let variable =
            line.split(['=', ':', '?', '+', ' ', '\t']).find(|word| !word.is_empty() && *word != "export")?;
        let is_set = line.split_once('=').is_some_and(|(left, _)| !left.contains("$("));
        // dkms gives KERNELRELEASE to every make that a command begins with.
        let given = is_set && (variable == "KERNELRELEASE" || command.contains(&format!("{variable}=")));
        (!given).then(|| {
            let message = "it asks for the running kernel (uname -r), and MAKE is the same for every kernel";
            Finding::new(&ASKS_RUNNING_KERNEL, name, Some(index + 1), message)
        })
    })
}

/// The commands of a line of shell, as words without quotes.
fn commands(line: &str) -> Vec<Vec<String>> {
    line.split(['\n', ';', '|', '&', '(', ')'])
        .map(|part| part.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect()
}

fn is_make(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "make" || word.ends_with("/make"))
}

fn is_jobs(word: &str) -> bool {
    word.strip_prefix("-j").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        || word.starts_with("--jobs")
}

/// A clean goal in a make command that has other goals as well.
fn clean_beside(words: &[String]) -> Option<&str> {
    if !is_make(words) {
        return None;
    }
    let mut goals = Vec::new();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            // Options whose value is a word of its own (make(1)).
            "-C" | "-f" | "-I" | "-o" | "-W" | "--directory" | "--file" | "--makefile" => {
                rest.next();
            }
            "-j" | "-l" => {
                if rest.as_slice().first().is_some_and(|next| next.bytes().all(|byte| byte.is_ascii_digit())) {
                    rest.next();
                }
            }
            word if word.starts_with('-') || word.contains('=') => {}
            word => goals.push(word),
        }
    }
    let clean = goals.iter().find(|goal| goal.ends_with("clean"))?;
    goals.iter().any(|goal| !goal.ends_with("clean")).then_some(clean)
}
