//! The first thing that went wrong in a build, out of its log: what the user is shown.

use std::path::Path;

use crate::error::Diagnostic;

/// The first diagnostic in `log`; paths below `build` are shown relative to it.
pub fn first(log: &str, build: &Path) -> Option<Diagnostic> {
    // What stops a machine comes before what it makes the compiler say.
    let broken = [
        "No space left on device",
        "Killed",
        "Cannot allocate memory",
        "out of memory",
        "Input/output error",
        "Too many open files",
    ];
    let machine = log.lines().find(|line| broken.iter().any(|sign| line.contains(sign)));
    let source =
        log.lines().find(|line| compiler_error(line) || line.contains("ERROR: modpost:") || modpost_before_5_9(line));
    let (line, about_source) = match (machine, source) {
        (Some(line), _) => (line, false),
        (None, Some(line)) => (line, true),
        (None, None) => (what_stopped_make(log)?, false),
    };
    let prefix = format!("{}/", build.display());
    let text = line.trim().replace(&prefix, "");
    Some(Diagnostic { text: text.chars().take(300).collect(), about_source })
}

/// `file:line[:column]: [fatal ]error: …`, as gcc and clang write it (and rustc's `error[E…]`).
fn compiler_error(line: &str) -> bool {
    let marked = [": error: ", ": fatal error: "].iter().filter_map(|mark| line.find(mark)).min();
    let located = marked.is_some_and(|at| {
        line[..at].rsplit(':').next().is_some_and(|part| part.chars().all(|c| c.is_ascii_digit()) && !part.is_empty())
    });
    located || line.starts_with("error[E") || line.contains("undefined reference to")
}

/// Kernels before 5.9 write `ERROR: "symbol" [file.ko] undefined!`.
fn modpost_before_5_9(line: &str) -> bool {
    line.starts_with("ERROR: \"") && line.ends_with("undefined!")
}

/// The last complaint before make first gave up: sooner ones did not stop it. Without one, what make said.
fn what_stopped_make(log: &str) -> Option<&str> {
    let gave_up = |line: &&str| line.starts_with("make") && line.contains("***");
    let before = log.lines().take_while(|line| !gave_up(line));
    before.filter(|line| tool_error(line)).last().or_else(|| log.lines().find(gave_up))
}

/// What the shell and tools say when there is no compiler error.
fn tool_error(line: &str) -> bool {
    line.ends_with("command not found")
        || line.contains(": not found")
        || refused(line)
        || line.contains("No such file or directory")
        || line.contains(": error: ")
}

/// Whether somebody was refused something for who they are: EACCES, EPERM and EROFS in the C locale's words.
pub fn refused(log: &str) -> bool {
    // The last two are sudo(8)'s.
    const WORDS: [&str; 5] = [
        "Permission denied",
        "Operation not permitted",
        "Read-only file system",
        "\"no new privileges\" flag",
        "must be owned by uid 0",
    ];
    WORDS.iter().any(|words| log.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &str) -> Option<(String, bool)> {
        first(log, Path::new("/var/lib/dkms/m/1/build")).map(|d| (d.text, d.about_source))
    }

    #[test]
    fn table() {
        let cases: &[(&str, &str, bool)] = &[
            (
                "  CC [M]  x.o\n/var/lib/dkms/m/1/build/x.c:5:2: error: unknown type\nmake[1]: *** [x] Error 1",
                "x.c:5:2: error: unknown type",
                true,
            ),
            ("x.c:7: fatal error: linux/foo.h: No such file", "x.c:7: fatal error: linux/foo.h: No such file", true),
            (
                "ERROR: modpost: \"snmp_fold_field\" [x.ko] undefined!\nmake: *** x",
                "ERROR: modpost: \"snmp_fold_field\" [x.ko] undefined!",
                true,
            ),
            ("ERROR: \"sym\" [x.ko] undefined!", "ERROR: \"sym\" [x.ko] undefined!", true),
            ("x.c:5:2: error: a\nx.s: No space left on device", "x.s: No space left on device", false),
            (
                "make: *** /lib/modules/x/build: No such file or directory.  Stop.",
                "make: *** /lib/modules/x/build: No such file or directory.  Stop.",
                false,
            ),
            ("/bin/sh: 1: gcc-14: not found\nmake: *** [x] Error 127", "/bin/sh: 1: gcc-14: not found", false),
            (
                "grep: /etc/x.conf: No such file or directory\n/bin/sh: 1: pahole: not found\nmake[3]: *** [x] Error 127",
                "/bin/sh: 1: pahole: not found",
                false,
            ),
            (
                "gcc: fatal error: Killed signal terminated program cc1",
                "gcc: fatal error: Killed signal terminated program cc1",
                false,
            ),
        ];
        for (log, line, about_source) in cases {
            assert_eq!(text(log), Some(((*line).to_owned(), *about_source)), "{log}");
        }
        assert_eq!(text("all is well\nwarning: unused"), None);
    }
}
