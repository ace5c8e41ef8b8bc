//! The messages that the guide quotes, against the sources: one that is reworded is reworded there, too.

use crate::honesty::sources;
use crate::settings::project;

/// What other programs say: the kernel, modprobe, make, compilers, dpkg.
const OTHERS: &[&str] = &[
    "modprobe: FATAL: Module m not found in directory /lib/modules/K",
    "Key was rejected by service",
    "Required key not available",
    "Operation not permitted",
    "Lockdown: … unsigned module loading is restricted",
    "Exec format error",
    "version magic … should be …",
    "disagrees about version of symbol",
    "Unknown symbol in module",
    "Invalid argument",
    "No such device",
    "Device or resource busy",
    "error: implicit declaration of function",
    "has no member named",
    "too few arguments to function",
    "incompatible pointer type",
    "fatal error: x.h: No such file or directory",
    "ERROR: modpost: \"x\" undefined!",
    "modpost: GPL-incompatible module … uses GPL-only symbol",
    "No rule to make target 'modules'",
    "scripts/basic/fixdep: not found",
    "unrecognized command-line option",
    "the compiler differs from the one used to build the kernel",
    "Could not resolve host",
    "Permission denied",
    "No space left on device",
    "Killed",
    "fatal error: Killed signal terminated program cc1",
    "dpkg: error processing package linux-image-…",
];
/// Words that stand for others in a quoted message.
const STAND_INS: [&str; 7] = ["K", "N", "PRE_BUILD", "X", "Y", "m", "…"];
/// What is quoted in a message's cell without being one.
const NO_MESSAGES: [&str; 3] = ["dmesg", "dkms status", "modinfo -n m"];

/// The messages in the first column of the tables of `page` that are headed "message".
fn quoted(page: &str) -> Vec<&str> {
    let mut quoted = Vec::new();
    let mut is_within = false;
    for line in page.lines() {
        is_within = line.starts_with("| message |") || (is_within && line.starts_with('|'));
        let cell = line.strip_prefix("| ").and_then(|line| line.split(" | ").next());
        // Every second piece is in backquotes.
        quoted.extend(cell.filter(|_| is_within).into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)));
    }
    quoted
}

/// The parts of a message between words that stand for others.
fn parts(message: &str) -> Vec<String> {
    let words: Vec<&str> = message.trim_matches(['(', ')']).split(' ').collect();
    let parts = words.split(|word| STAND_INS.contains(&word.trim_end_matches([',', '.', ':', ';'])));
    parts.map(|words| words.join(" ")).filter(|part| !part.is_empty()).collect()
}

/// `text` without comments and tests, which say nothing to anybody.
fn code(text: &str) -> String {
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// `text` as its strings read: without the breaks of long ones.
fn unbroken(text: &str) -> String {
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start())
}

#[test]
fn the_guide_quotes_messages_that_there_are() {
    let pages = sources(&project().join("docs/guide"), &[".md"]);
    let pages: Vec<String> = pages.iter().map(|page| fs_err::read_to_string(page).unwrap()).collect();
    let quoted: Vec<&str> = pages.iter().flat_map(|page| quoted(page)).collect();
    assert!(quoted.len() > 50, "the tables were not found: {quoted:?}");
    let texts = ["core/src", "hooks-apt/src", "hooks-dnf/src", "hooks-pacman/src"];
    let files = texts.iter().flat_map(|dir| sources(&project().join(dir), &[".rs"]));
    let texts: Vec<String> = files.map(|file| unbroken(&code(&fs_err::read_to_string(file).unwrap()))).collect();
    // All of it by one file: the parts of a message are not said by different ones.
    let is_said = |message: &str| {
        let parts = parts(message);
        !parts.is_empty() && texts.iter().any(|text| parts.iter().all(|part| text.contains(part)))
    };
    let ours = quoted.iter().filter(|message| !OTHERS.contains(message) && !NO_MESSAGES.contains(message));
    let lost: Vec<_> = ours.filter(|message| !is_said(message)).collect();
    assert!(lost.is_empty(), "no source says these: {lost:#?}");
    let stale: Vec<_> = OTHERS.iter().filter(|message| !quoted.contains(message)).collect();
    assert!(stale.is_empty(), "the guide quotes these no more: {stale:#?}");
}

#[test]
fn the_reader_takes_messages_apart() {
    let page = "| message | why |\n|---|---|\n| `a K b`, or `c` | `d` |\n\n| as | with |\n| `e` | |\n";
    assert_eq!(quoted(page), ["a K b", "c"]);
    assert_eq!(parts("for kernel K, not … here"), ["for kernel", "not", "here"]);
    assert_eq!(unbroken("\"one \\\n      two\""), "\"one two\"");
}
