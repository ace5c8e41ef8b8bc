//! The first thing that went wrong in a build, out of its log: what the user is shown.

use std::path::Path;

/// A diagnostic of the compiler, the linker, modpost or make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line as the tool wrote it, with the build directory's path cut off.
    pub text: String,
    /// Whether it speaks of the source (a compiler or modpost error): trying again with the same inputs
    /// gives the same. Killed builds, full disks and missing tools do not count.
    pub about_source: bool,
}

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
        // A file that can't be read is there.
        (None, Some(line)) => (line, !super::refusal::refusals(line).iter().any(|found| found.kind.is_refusal())),
        (None, None) => (what_stopped_make(log)?, false),
    };
    let prefix = format!("{}/", build.display());
    let text = line.trim().replace(&prefix, "");
    Some(Diagnostic { text: text.chars().take(300).collect(), about_source })
}

/// The host that a build could not reach, if the log shows that it tried: builds have no network. Empty if the log does not
/// say which. The words are those of curl, wget, git, bash, apt and getaddrinfo(3).
pub fn unreachable(log: &str) -> Option<String> {
    // What stands before the host's name.
    const NAMED: [&str; 11] = [
        "Could not resolve host: ",
        "unable to resolve host address ",
        "Could not resolve hostname for ",
        "Couldn't resolve host name for ",
        "Could not resolve hostname ",
        "Failed to resolve ",
        "Failed to connect to ",
        "Could not resolve '",
        "Temporary failure resolving ",
        "bad address ",
        "getaddrinfo EAI_AGAIN ",
    ];
    const SIGNS: [&str; 5] = [
        "Temporary failure in name resolution",
        "Name or service not known",
        "etwork is unreachable",
        "Could not contact DNS servers",
        "Temporary failure resolving",
    ];
    let host = |line: &str| {
        // Of a socket that is no network's, others say the same.
        if line.contains("Failed to connect to ") && !line.contains(" port ") {
            return None;
        }
        let after = NAMED.iter().find_map(|words| line.split_once(words))?.1;
        let is_name = |c: &char| c.is_ascii_alphanumeric() || ".-_:[]".contains(*c);
        let after = after.trim_start_matches(['\'', '"', '\u{2018}']);
        // What stands before a path is a host, what stands before two slashes the kind of an address.
        let after = after.split_once("://").filter(|(kind, _)| kind.len() < 6).map_or(after, |(_, rest)| rest);
        let host: String = after.chars().take_while(is_name).collect();
        // Others than what fetches say that they resolve something, and a bare word may be anything.
        let is_word =
            !host.contains(['.', ':']) && (line.contains("Failed to resolve ") || line.contains("bad address "));
        let is_host = host.chars().any(|c| c.is_ascii_alphanumeric()) && (!is_word || line.contains('\''));
        let end: &[char] = if host.starts_with('[') { &[':', '.'] } else { &[':', '.', ']'] };
        is_host.then(|| host.trim_end_matches(end).to_owned())
    };
    log.lines().find_map(host).or_else(|| {
        let by_bash = |line: &str| line.contains("/dev/tcp/") && line.contains("Connection refused");
        let sign = |line: &&str| by_bash(line) || SIGNS.iter().any(|sign| line.contains(sign));
        log.lines().find(sign).map(|_| String::new())
    })
}

/// The kernel whose headers a build looked for, if that is not `release`: its Makefile asks `uname -r`.
pub fn other_kernel(log: &str, release: &str) -> Option<String> {
    let lines = log.lines().filter(|line| line.contains("No such file or directory"));
    let mut places = lines.filter_map(|line| line.split_once("/lib/modules/"));
    places.find_map(|(_, rest)| {
        let (found, below) = rest.split_once('/')?;
        let headers = below.starts_with("build") || below.starts_with("source");
        (headers && found != release).then(|| found.to_owned())
    })
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
        || super::refusal::refusals(line).iter().any(|found| found.kind.is_refusal())
        || line.contains("No such file or directory")
        || line.contains(": error: ")
}

/// What patch(1) said of the change that does not fit: its file and hunk.
pub fn unfit_patch(log: &str) -> Option<String> {
    let mut file = None;
    for line in log.lines() {
        if let Some(name) = line.strip_prefix("patching file ").or_else(|| line.strip_prefix("checking file ")) {
            file = Some(name.trim_matches('\''));
        } else if let Some((hunk, rest)) = line.strip_prefix("Hunk #").and_then(|rest| rest.split_once(" FAILED at ")) {
            let at = rest.split(['.', ' ']).next().unwrap_or_default();
            return Some(format!("{}: hunk {hunk}, at line {at}, does not fit.", file.unwrap_or("a file")));
        } else if line.starts_with("Reversed (or previously applied) patch detected") {
            return Some(format!("{}: it is in the source already.", file.unwrap_or("a file")));
        } else if line.starts_with("can't find file to patch") {
            let wanted = log.lines().find_map(|line| line.strip_prefix("|+++ ").or_else(|| line.strip_prefix("|*** ")));
            let wanted = wanted.and_then(|name| name.split('\t').next()).unwrap_or("a file");
            return Some(format!("It is for {wanted}, which the source does not have."));
        } else if line.contains("malformed patch at line") || line.contains("Only garbage was found") {
            return Some(line.trim_start_matches("patch: ").trim_start_matches("**** ").trim().to_owned());
        }
    }
    None
}

/// The last lines of what a command wrote, no more than `most`.
pub fn last_lines(said: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = said
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(most)
        .map(|line| line.trim_end().chars().take(300).collect())
        .collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_wants_the_network_is_known_by_what_its_tools_say() {
        for (log, host) in [
            ("curl: (6) Could not resolve host: cdn.kernel.org", Some("cdn.kernel.org")),
            ("wget: unable to resolve host address \u{2018}cdn.kernel.org\u{2019}", Some("cdn.kernel.org")),
            ("fatal: unable to access 'https://x.org/y.git/': Could not resolve host: x.org", Some("x.org")),
            (
                "curl: (7) Failed to connect to 127.0.0.1 port 8088 after 0 ms: Couldn't connect to server",
                Some("127.0.0.1"),
            ),
            ("ssh: Could not resolve hostname github.com: Temporary failure in name resolution", Some("github.com")),
            ("Resolving x.org (x.org)... failed: Temporary failure in name resolution.", Some("")),
            ("fetch.sh: line 4: /dev/tcp/127.0.0.1/8088: Network is unreachable", Some("")),
            ("fetch.sh: line 4: /dev/tcp/127.0.0.1/8088: Connection refused", Some("")),
            ("wget: bad address 'cdn.kernel.org'", Some("cdn.kernel.org")),
            ("Failed to resolve 'x.org' (Temporary failure in name resolution)", Some("x.org")),
            ("Error: getaddrinfo EAI_AGAIN registry.npmjs.org", Some("registry.npmjs.org")),
            ("W: Failed to fetch http://x.org/a  Temporary failure resolving 'x.org'", Some("x.org")),
            (
                "Curl error (6): Could not resolve hostname for https://x.org/a [Could not resolve host: x.org]",
                Some("x.org"),
            ),
            ("Curl error (6): Couldn't resolve host name for https://x.org/a", Some("x.org")),
            ("dial tcp: lookup x.org on 1.1.1.1:53: dial udp 1.1.1.1:53: connect: network is unreachable", Some("")),
            ("mm.c:3: error: bad address ", None),
            ("Failed to connect to bus: No such file or directory", None),
            ("+ exec 3<>/dev/tcp/127.0.0.1/80", None),
            ("net/core.c:1: error: host unreachable is undeclared", None),
        ] {
            assert_eq!(unreachable(log).as_deref(), host, "{log}");
        }
    }

    #[test]
    fn a_makefile_that_asks_for_the_running_kernel_is_known_by_the_headers_it_looks_for() {
        for (log, found) in [
            ("make[1]: *** /lib/modules/6.18.4-host/build: No such file or directory.  Stop.", Some("6.18.4-host")),
            ("make[1]: *** /lib/modules/6.18.4-host/build/: No such file or directory.  Stop.", Some("6.18.4-host")),
            ("cc: /lib/modules/6.1/build/include/x.h: No such file or directory", None),
            ("/lib/modules/6.18.4-host/updates/x: No such file or directory", None),
        ] {
            assert_eq!(other_kernel(log, "6.1").as_deref(), found, "{log}");
        }
    }

    #[test]
    fn a_patch_that_does_not_fit_is_told_by_file_and_hunk() {
        for (log, words) in [
            (
                "patching file pm.c\nHunk #1 succeeded at 1.\nHunk #2 FAILED at 17.\n1 out of 2 hunks FAILED -- saving rejects to file pm.c.rej",
                "pm.c: hunk 2, at line 17, does not fit.",
            ),
            (
                "patching file a.c\npatching file sub/b.c\nHunk #1 FAILED at 3 (different line endings).\n",
                "sub/b.c: hunk 1, at line 3, does not fit.",
            ),
            (
                "can't find file to patch at input line 3\nThe text leading up to this was:\n--------------------------\n|--- a/x.c\n|+++ b/x.c\t2020\n",
                "It is for b/x.c, which the source does not have.",
            ),
            (
                "patching file x.c\nReversed (or previously applied) patch detected!  Assume -R? [n] ",
                "x.c: it is in the source already.",
            ),
            ("patch: **** malformed patch at line 7: x", "malformed patch at line 7: x"),
        ] {
            assert_eq!(unfit_patch(log).as_deref(), Some(words));
        }
        assert_eq!(unfit_patch("patching file x.c"), None);
    }

    #[test]
    fn the_last_lines_of_a_script() {
        assert_eq!(last_lines("one\n\ntwo\nthree\nfour\n\n", 3), ["two", "three", "four"]);
        assert!(last_lines("\n", 3).is_empty());
    }

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
