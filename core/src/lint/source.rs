//! What the files beside a dkms.conf show: scripts, patches, sources.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{
    DOS_LINES, Finding, LOST_FLAGS, NEEDS_NETWORK, NEEDS_ROOT, NO_LICENCE, PATCH_MISSING, SCRIPT_ABSOLUTE,
    SCRIPT_MISSING, SCRIPT_NOT_EXECUTABLE, flags, text,
};
use crate::conf::Raw;
use crate::durable;

/// The scripts of a package, and whether a build runs them (as a user that owns nothing, without a network).
const SCRIPTS: &[(&str, bool)] = &[
    ("POST_ADD", false),
    ("PRE_BUILD", true),
    ("POST_BUILD", true),
    ("PRE_INSTALL", false),
    ("POST_INSTALL", false),
    ("POST_REMOVE", false),
];

/// Looks at what the directives name, and at the sources.
pub(super) fn check(dir: &Path, conf: &str, raw: &Raw, found: &mut Vec<Finding>) {
    for (directive, builds) in SCRIPTS {
        if let Some(word) = raw.text(directive, 0).and_then(|line| line.split_whitespace().next()) {
            script(dir, conf, directive, word, *builds, found);
        }
    }
    for (index, patch) in raw.all("PATCH").filter(|(_, patch)| !patch.is_empty()) {
        if !dir.join("patches").join(patch).is_file() {
            let line = text::line_of(conf, "PATCH", index);
            found.push(Finding::conf(
                &PATCH_MISSING,
                line,
                format!("PATCH[{index}]: there is no file patches/{patch}"),
            ));
        }
    }
    let (mut sources, mut licensed) = (false, false);
    sources_below(dir, 6, &mut 20_000, &mut |text| {
        sources = true;
        // The macro of C, and the field of Rust's `module!`.
        licensed |=
            text.windows(14).any(|part| part == b"MODULE_LICENSE") || text.windows(8).any(|part| part == b"license:");
    });
    if let Some(lost) = flags::lost(dir).filter(|_| !flags::never_lost(raw.text("BUILD_EXCLUSIVE_KERNEL_MAX", 0))) {
        let message = format!("it sets {}, and nothing hands that on to kbuild", lost.name);
        found.push(Finding::new(&LOST_FLAGS, lost.file, Some(lost.line), message));
    }
    if sources && !licensed {
        found.push(Finding::conf(&NO_LICENCE, None, "no source file holds MODULE_LICENSE"));
    }
}

fn script(dir: &Path, conf: &str, directive: &str, word: &str, builds: bool, found: &mut Vec<Finding>) {
    let line = text::line_of(conf, directive, 0);
    if word.starts_with('/') {
        found.push(Finding::conf(&SCRIPT_ABSOLUTE, line, format!("{directive} names {word}")));
        return;
    }
    let file = dir.join(word);
    let Ok(meta) = fs_err::metadata(&file) else {
        found.push(Finding::conf(&SCRIPT_MISSING, line, format!("{directive}: there is no file {word}")));
        return;
    };
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        found.push(Finding::conf(&SCRIPT_NOT_EXECUTABLE, line, format!("{directive}: {word} is not executable")));
    }
    // A program needs no more words.
    let Ok(text) = durable::text(&file) else { return };
    if text.split('\n').next().is_some_and(|first| first.ends_with('\r')) {
        found.push(Finding::new(&DOS_LINES, word, Some(1), "the line ends in a carriage return"));
    }
    // autoconf's scripts name such programs in branches that a build never takes.
    if !builds || file.ends_with("configure") {
        return;
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
        if let Some(program) = network(line) {
            found.push(Finding::new(&NEEDS_NETWORK, word, Some(index + 1), format!("{directive} runs {program}")));
        }
        if let Some(program) = administers(line) {
            found.push(Finding::new(&NEEDS_ROOT, word, Some(index + 1), format!("{directive} runs {program}")));
        }
    }
}

/// The program in a line of shell that fetches something.
pub(super) fn network(line: &str) -> Option<&'static str> {
    const ALONE: &[&str] = &["curl", "wget"];
    const WITH: &[(&str, &[&str], &str)] = &[
        ("git", &["clone", "fetch", "pull"], "git"),
        ("pip", &["install", "download"], "pip"),
        ("pip3", &["install", "download"], "pip3"),
        ("apt-get", &["install", "update", "download", "source"], "apt-get"),
        ("dnf", &["install", "download"], "dnf"),
    ];
    run_by(line).find_map(|(program, next)| {
        let alone = ALONE.iter().find(|name| **name == program).copied();
        alone.or_else(|| {
            WITH.iter().find(|(name, verbs, _)| *name == program && verbs.contains(&next)).map(|(.., name)| *name)
        })
    })
}

/// The program in a line of shell that changes the system.
fn administers(line: &str) -> Option<&'static str> {
    const PROGRAMS: &[&str] = &[
        "sudo",
        "modprobe",
        "insmod",
        "rmmod",
        "depmod",
        "update-initramfs",
        "dracut",
        "mkinitcpio",
        "systemctl",
        "useradd",
        "usermod",
        "groupadd",
    ];
    run_by(line).find_map(|(program, _)| PROGRAMS.iter().find(|name| **name == program).copied())
}

/// The programs that a line of shell runs, as far as they stand where a command begins, each with the next word.
fn run_by(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split([';', '|', '&', '(', '`', '{']).filter_map(|command| {
        let mut words = command.split_whitespace().skip_while(|word| {
            matches!(*word, "if" | "then" | "else" | "do" | "while" | "until" | "!" | "exec" | "time")
                || word.split_once('=').is_some_and(|(name, _)| {
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                })
        });
        let program = words.next()?;
        let program = program.rsplit('/').next().unwrap_or(program);
        Some((program, words.find(|word| !word.starts_with('-')).unwrap_or_default()))
    })
}

/// Calls `each` with every C file below `dir`, at most `depth` directories down and `left` files.
fn sources_below(dir: &Path, depth: u32, left: &mut u32, each: &mut dyn FnMut(&[u8])) {
    let Ok(entries) = fs_err::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            sources_below(&path, depth - 1, left, each);
        } else if kind.is_file() && path.extension().is_some_and(|end| end == "c" || end == "rs") {
            if let Ok(bytes) = durable::bytes(&path) {
                each(&bytes);
            }
        }
    }
}
