//! Transcripts in the guide: what a user types and what the machine answers, replayed in a bed.
//!
//! A transcript is a block of a page that begins with a line of three backquotes and `console`. A line that begins with `# `
//! is a command that root types; the lines after it are what it prints, both streams. There, `…` alone stands for any
//! number of lines, and `…` within a line for any text. `(exit code N)` as the last line says how it ends; else it ends with 0.

use anyhow::{Context, Result, ensure};

use crate::bed::Bed;
use crate::settings;

/// One command of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    command: String,
    expected: Vec<String>,
    code: i32,
}

/// The commands below one heading of a page, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    steps: Vec<Step>,
}

impl Transcript {
    /// Those below the heading `## heading` of the document `page`, named from the top of the repository. `names` are pairs: what the page calls something (a
    /// kernel's release), and what it is called in the bed.
    ///
    /// # Errors
    /// If the page can't be read or has no transcript there.
    pub fn read(page: &str, heading: &str, names: &[(&str, &str)]) -> Result<Self> {
        let mut text = fs_err::read_to_string(settings::project().join(page))?;
        for (there, here) in names {
            ensure!(text.contains(there), "{page} does not speak of {there}");
            text = text.replace(there, here);
        }
        let steps = parse(&text, heading);
        ensure!(!steps.is_empty(), "{page} has no transcript below \"{heading}\"");
        Ok(Self { steps })
    }

    /// Types the commands in `bed`, and compares what they print.
    ///
    /// # Errors
    /// If a command prints or ends otherwise than the page says.
    pub fn replay(&self, bed: &Bed) -> Result<()> {
        for step in &self.steps {
            let out = bed.sh(&format!("cd /root; exec 2>&1 </dev/null; {}", step.command))?;
            let printed: Vec<&str> = out.stdout.lines().map(str::trim_end).collect();
            let differs = || {
                format!("# {}\nprinted\n{}\ninstead of\n{}", step.command, printed.join("\n"), step.expected.join("\n"))
            };
            ensure!(out.code == step.code, "{}\n(exit code {})", differs(), out.code);
            let expected: Vec<&str> = step.expected.iter().map(String::as_str).collect();
            Some(()).filter(|()| lines_match(&expected, &printed)).with_context(differs)?;
        }
        Ok(())
    }
}

fn parse(page: &str, heading: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut here, mut inside) = (false, false);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ").filter(|_| !inside) {
            here = title == heading;
        } else if line == "```console" {
            inside = here;
        } else if line == "```" {
            inside = false;
        } else if let (true, Some(command)) = (inside, line.strip_prefix("# ")) {
            steps.push(Step { command: command.to_owned(), expected: Vec::new(), code: 0 });
        } else if let (true, Some(step)) = (inside, steps.last_mut()) {
            match line.strip_prefix("(exit code ").and_then(|rest| rest.strip_suffix(')')?.parse().ok()) {
                Some(code) => step.code = code,
                None => step.expected.push(line.trim_end().to_owned()),
            }
        }
    }
    steps
}

fn lines_match(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, others)| text_matches(line, first) && lines_match(rest, others))
        }
    }
}

fn text_matches(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut left) = parts.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return left.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(place) = left.find(part) else { return false };
        left = &left[place + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "## One\n```console\n# true\n# ls x\n…\nx: … there\n(exit code 2)\n```\n## Two\n```console\n# id\n```\n";

    #[test]
    fn the_commands_below_a_heading_are_found() {
        let steps = parse(PAGE, "One");
        assert_eq!(steps.iter().map(|step| step.command.as_str()).collect::<Vec<_>>(), ["true", "ls x"]);
        assert_eq!(steps[1].expected, ["…", "x: … there"]);
        assert_eq!((steps[0].code, steps[1].code), (0, 2));
        assert_eq!(parse(PAGE, "Two").len(), 1);
        assert!(parse(PAGE, "Three").is_empty());
    }

    #[test]
    fn dots_stand_for_lines_and_for_text() {
        assert!(lines_match(&["…", "b", "…"], &["a", "a", "b"]));
        assert!(!lines_match(&["a", "b"], &["a", "b", "c"]));
        assert!(!lines_match(&["…", "b"], &["b", "c"]));
        assert!(text_matches("in … s", "in 3.5 s") && text_matches("a…b…c", "a1b2c"));
        assert!(!text_matches("in … s", "in 3.5 ms, or so") && !text_matches("a", "ab"));
    }
}
