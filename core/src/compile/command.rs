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
    /// How many jobs its makes may run at once.
    pub most: usize,
    /// Whether its makes share the budget's jobserver. Only where the classic adds `-jN`, or the text asks for jobs: a
    /// Makefile that relies on the order of its goals breaks otherwise.
    pub parallel: bool,
}

/// Completes a make command for `release` under a budget of `total` jobs, of which it takes no more than `limit`.
///
/// A text that begins with `make` gets `KERNELRELEASE` and jobs (a package that wants neither writes `'make'`, as
/// dkms.conf(5) says). Its jobs come from the jobserver, so nothing else is inserted; `-j` would cut make off from it
/// (GNU make manual, "Communicating Options to a Sub-make"). For the same reason a `-j` of the text's own is lowered
/// to the budget, and so many tokens are held for it. Every other text runs as it would in a shell: its makes run
/// one job at a time. A `limit` below the budget is one that no jobserver keeps: it is written as `-j`.
pub fn make_line(make: &MakeCommand, release: &Release, total: usize, limit: Option<usize>, llvm: bool) -> MakeLine {
    let most = limit.unwrap_or(total).min(total);
    let (mut text, mut pinned) = lower_jobs(&make.text, most);
    let parallel = most == total && total > 1 && (make.prefixed || pinned.is_some_and(|jobs| jobs > 1));
    if make.prefixed {
        if let Some(rest) = text.strip_prefix("make") {
            let limited = most < total && pinned.is_none();
            let jobs = if limited { format!("-j{most} ") } else { String::new() };
            text = format!("make {jobs}KERNELRELEASE={release}{rest}");
            if limited {
                pinned = Some(most);
            }
        }
    }
    let jobs = pinned.unwrap_or(1);
    let most = if parallel { total } else { jobs };
    MakeLine { text, variables: llvm.then(|| "LLVM=1".to_owned()), jobs, most, parallel }
}

/// The command for one job, with its variables before it: the result is the same for any number.
pub fn for_one_job(make: &MakeCommand, release: &Release, llvm: bool) -> String {
    let line = make_line(make, release, 1, None, llvm);
    line.variables.map_or_else(|| line.text.clone(), |variables| format!("{variables} {}", line.text))
}

/// Lowers every `-jN`, `-j N`, `--jobs=N` and bare `-j` that a make of the command gets to `total`; gives the largest.
/// Everything else, also `tar -jcf`, stays as it is, to the last quote and bracket.
fn lower_jobs(text: &str, total: usize) -> (String, Option<usize>) {
    let mut pinned = None;
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    let (mut of_make, mut at_start) = (false, true);
    while let Some(next) = rest.chars().next() {
        if at_start && of_make {
            if let Some(option) = jobs_option(rest, total) {
                pinned = pinned.max(Some(option.jobs));
                done += &format!("{}{}", option.name, option.jobs);
                rest = &rest[option.length..];
                at_start = false;
                continue;
            }
        }
        if at_start {
            let end = rest.find(|c: char| ends_word(c) && c != ')').unwrap_or(rest.len());
            let word = rest[..end].trim_end_matches(')');
            of_make |= ["make", "gmake", "$MAKE", "${MAKE}"].contains(&word) || word.ends_with("/make");
        }
        of_make &= !matches!(next, ';' | '&' | '|' | '\n');
        at_start = ends_word(next) || next == '(';
        done.push(next);
        rest = &rest[next.len_utf8()..];
    }
    (done, pinned)
}

/// Whether a word of a shell's text can't hold this character unquoted, or begins or ends at it.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, ';' | '&' | '|' | ')' | '\'' | '"')
}

/// An option for the number of jobs.
struct JobsOption {
    name: &'static str,
    jobs: usize,
    /// How much of the text it is, its value included.
    length: usize,
}

fn jobs_option(text: &str, total: usize) -> Option<JobsOption> {
    let bounded = |n: usize| if n == 0 { total } else { n.min(total) };
    let (name, length) = if text.starts_with("--jobs=") {
        ("--jobs=", 7)
    } else if text.starts_with("--jobs") {
        ("-j", 6)
    } else if text.starts_with("-j") {
        ("-j", 2)
    } else {
        return None;
    };
    let value = &text[length..];
    if let Some((number, used)) = number(value) {
        return Some(JobsOption { name, jobs: bounded(number), length: length + used });
    }
    // `$(nproc --all)` and the like: what it comes to is known to the shell alone.
    if let Some(used) = expansion(value) {
        return Some(JobsOption { name, jobs: total, length: length + used });
    }
    if value.chars().next().is_some_and(|c| !ends_word(c)) {
        return None;
    }
    let blanks = value.len() - value.trim_start_matches(' ').len();
    Some(match number(&value[blanks..]).filter(|_| blanks > 0) {
        Some((number, used)) => JobsOption { name, jobs: bounded(number), length: length + blanks + used },
        None => JobsOption { name, jobs: total, length },
    })
}

/// The number at the start of `text`, and its length, if it is a word of its own.
fn number(text: &str) -> Option<(usize, usize)> {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let is_word = text[length..].chars().next().is_none_or(ends_word);
    text[..length].parse().ok().filter(|_| is_word).map(|number| (number, length))
}

/// The length of the shell's expansion that `text` begins with: `$(…)`, `${…}`, `$NAME`, or one in backquotes.
fn expansion(text: &str) -> Option<usize> {
    if let Some(rest) = text.strip_prefix('`') {
        return rest.find('`').map(|end| end + 2);
    }
    let rest = text.strip_prefix('$')?;
    let (open, close) = match rest.chars().next()? {
        '(' => ('(', ')'),
        '{' => ('{', '}'),
        first if first.is_ascii_alphabetic() || first == '_' => {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            return Some(end + 1);
        }
        _ => return None,
    };
    let mut depth = 0_u32;
    for (index, c) in rest.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(index + 2);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, prefixed: bool) -> MakeLine {
        make_line(&MakeCommand { text: text.to_owned(), prefixed }, &Release::new("6.1").unwrap(), 2, None, false)
    }

    #[test]
    fn the_prefix() {
        assert_eq!(line("make -C x M=y", true).text, "make KERNELRELEASE=6.1 -C x M=y");
        assert_eq!(line("'make' -C x", false).text, "'make' -C x");
        assert_eq!(
            line("./build.sh", false),
            MakeLine { text: "./build.sh".into(), variables: None, jobs: 1, most: 1, parallel: false }
        );
    }

    #[test]
    fn jobs_go_to_those_who_ask_for_them_and_to_the_prefixed_make() {
        for (text, prefixed, parallel) in [
            ("make all", true, true),
            ("make -j1 all", true, true),
            ("'make' all", false, false),
            ("/usr/bin/make all", false, false),
            ("cd src && make", false, false),
            ("./build.sh", false, false),
            ("env make all", false, false),
            ("X=1 make all", false, false),
            ("'make' -j1 all", false, false),
            ("'make' -j4 all", false, true),
            ("cd src && make -j$(nproc)", false, true),
        ] {
            assert_eq!(line(text, prefixed).parallel, parallel, "{text}");
        }
    }

    #[test]
    fn a_package_is_held_to_fewer_jobs_and_never_gets_more() {
        for (text, prefixed, total, limit, expected, most) in [
            ("make all", true, 8, 1, "make -j1 KERNELRELEASE=6.1 all", 1),
            ("make all", true, 8, 3, "make -j3 KERNELRELEASE=6.1 all", 3),
            ("make -j all", true, 8, 1, "make KERNELRELEASE=6.1 -j1 all", 1),
            ("'make' -j$(nproc) all", false, 8, 2, "'make' -j2 all", 2),
            ("./build.sh", false, 8, 4, "./build.sh", 1),
            ("make all", true, 4, 64, "make KERNELRELEASE=6.1 all", 4),
            ("make -j64 all", true, 4, 64, "make KERNELRELEASE=6.1 -j4 all", 4),
            ("make all", true, 1, 1, "make KERNELRELEASE=6.1 all", 1),
        ] {
            let make = MakeCommand { text: text.into(), prefixed };
            let line = make_line(&make, &Release::new("6.1").unwrap(), total, Some(limit), false);
            assert_eq!((line.text.as_str(), line.most), (expected, most), "{text}");
            assert_eq!(line.parallel, limit >= total && total > 1, "{text}");
        }
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
            ("make -j4; true", "make KERNELRELEASE=6.1 -j2; true", 2),
            ("make -j$(nproc); ls -j9", "make KERNELRELEASE=6.1 -j2; ls -j9", 2),
            ("make -j`nproc` && make -j${JOBS}x", "make KERNELRELEASE=6.1 -j2 && make -j2x", 2),
            ("make x && tar -jcf x.tar.bz2 Makefile", "make KERNELRELEASE=6.1 x && tar -jcf x.tar.bz2 Makefile", 1),
            ("make x; sh -c 'make -j8'", "make KERNELRELEASE=6.1 x; sh -c 'make -j2'", 2),
            ("make x; (cd y && /usr/bin/make -j4)", "make KERNELRELEASE=6.1 x; (cd y && /usr/bin/make -j2)", 2),
            ("make --jobs 8 -joint", "make KERNELRELEASE=6.1 -j2 -joint", 2),
            ("make -j", "make KERNELRELEASE=6.1 -j2", 2),
        ] {
            let line = line(text, true);
            assert_eq!((line.text.as_str(), line.jobs), (expected, jobs));
        }
    }
}
