//! The text of the make command: what is put in front of it, and what it may take of the job budget.

use crate::conf::MakeCommand;
use crate::names::Release;

/// A make command, ready for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeLine {
    /// The text.
    pub text: String,
    /// Variables for MAKEFLAGS, so that every make of a compound command gets them.
    pub variables: Option<String>,
    /// How many tokens of the budget it holds while it runs.
    pub jobs: usize,
}

/// Completes a make command for `release` under a budget of `total` jobs.
///
/// A text that begins with `make` gets `KERNELRELEASE` (a package that doesn't want it writes `'make'`).
/// Its jobs come from the jobserver, so nothing else is inserted; `-j` would cut make off from it (GNU make
/// manual, "Communicating Options to a Sub-make"). For the same reason a `-j` of the text's own is lowered
/// to the budget, and so many tokens are held for it.
pub fn make_line(make: &MakeCommand, release: &Release, total: usize, llvm: bool) -> MakeLine {
    let (mut text, pinned) = lower_jobs(&make.text, total);
    if make.prefixed {
        if let Some(rest) = text.strip_prefix("make") {
            text = format!("make KERNELRELEASE={release}{rest}");
        }
    }
    MakeLine { text, variables: llvm.then(|| "LLVM=1".to_owned()), jobs: pinned.unwrap_or(1) }
}

/// Lowers every `-jN`, `-j N`, `--jobs=N` and bare `-j` of the command to `total`; gives the largest.
fn lower_jobs(text: &str, total: usize) -> (String, Option<usize>) {
    let mut pinned = None;
    let mut words: Vec<String> = Vec::new();
    // Only blanks are split at: quoting is kept as it is, and a `-j` in the middle of a word is none.
    let mut parts = text.split(' ').peekable();
    while let Some(part) = parts.next() {
        let amount = |digits: &str| digits.parse::<usize>().ok().map(|n| if n == 0 { total } else { n.min(total) });
        let (prefix, digits) = match (part.strip_prefix("-j"), part.strip_prefix("--jobs=")) {
            (Some(rest), _) => ("-j", rest),
            (_, Some(rest)) => ("--jobs=", rest),
            _ => {
                words.push(part.to_owned());
                continue;
            }
        };
        if digits.is_empty() {
            let next = parts.peek().and_then(|next| amount(next));
            if next.is_some() {
                parts.next();
            }
            let jobs = next.unwrap_or(total);
            pinned = pinned.max(Some(jobs));
            words.push(format!("-j{jobs}"));
        } else if let Some(jobs) = amount(digits) {
            pinned = pinned.max(Some(jobs));
            words.push(format!("{prefix}{jobs}"));
        } else {
            // `-j$(nproc --all)` and the like: what it comes to is known to the shell alone.
            let mut depth = brackets(digits);
            while depth > 0 {
                let Some(part) = parts.next() else { break };
                depth += brackets(part);
            }
            pinned = pinned.max(Some(total));
            words.push(format!("-j{total}"));
        }
    }
    (words.join(" "), pinned)
}

/// How many more round brackets `text` opens than it closes.
fn brackets(text: &str) -> i32 {
    text.chars().map(|c| i32::from(c == '(') - i32::from(c == ')')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, prefixed: bool) -> MakeLine {
        make_line(&MakeCommand { text: text.to_owned(), prefixed }, &Release::new("6.1").unwrap(), 2, false)
    }

    #[test]
    fn the_prefix() {
        assert_eq!(line("make -C x M=y", true).text, "make KERNELRELEASE=6.1 -C x M=y");
        assert_eq!(line("'make' -C x", false).text, "'make' -C x");
        assert_eq!(line("./build.sh", false), MakeLine { text: "./build.sh".into(), variables: None, jobs: 1 });
    }

    #[test]
    fn pinned_jobs_stay_in_the_budget() {
        for (text, expected, jobs) in [
            ("make -j8 all", "make KERNELRELEASE=6.1 -j2 all", 2),
            ("make -j 1 all", "make KERNELRELEASE=6.1 -j1 all", 1),
            ("make --jobs=64", "make KERNELRELEASE=6.1 --jobs=2", 2),
            ("make -j all", "make KERNELRELEASE=6.1 -j2 all", 2),
            ("make -j$(nproc) all", "make KERNELRELEASE=6.1 -j2 all", 2),
            ("make -j$(nproc --all) all", "make KERNELRELEASE=6.1 -j2 all", 2),
            ("make all-j4", "make KERNELRELEASE=6.1 all-j4", 1),
        ] {
            let line = line(text, true);
            assert_eq!((line.text.as_str(), line.jobs), (expected, jobs));
        }
    }
}
