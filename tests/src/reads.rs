//! Files are read through `durable` (ARCHITECTURE.md): what is no regular file, or has no end, can't hold up a run. Only what
//! the kernel makes up, and what this process has just made itself, is read otherwise.

use std::path::Path;

use crate::honesty::sources;
use crate::settings::project;

/// Who reads otherwise: files of /proc and /sys, which have no length; and modules in a directory of this process.
const OTHERS: [&str; 11] = [
    "cli/surroundings.rs",
    "compress.rs",
    "diagnosis/why.rs",
    "finish/mod.rs",
    "host/caller.rs",
    "process/",
    "resign.rs",
    "sandbox/init.rs",
    "sign/program.rs",
    "sign/trust.rs",
    "durable.rs",
];

/// The calls in `text`, which are in no comment and no test, that read whatever is at a path.
fn reads(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let calls = ["fs::read(", "fs::read_to_string(", "fs_err::read(", "fs_err::read_to_string("];
    lines.filter(|line| calls.iter().any(|call| line.contains(call))).collect()
}

fn is_test(file: &Path) -> bool {
    file.to_string_lossy().contains("tests") || file.ends_with("archive/hostile.rs")
}

#[test]
fn nobody_else_reads_what_is_at_a_path() {
    let core = project().join("core/src");
    let (mut known, mut others) = (0, Vec::new());
    for file in sources(&core, &[".rs"]).iter().filter(|file| !is_test(file)) {
        let text = fs_err::read_to_string(file).unwrap();
        let inside = file.strip_prefix(&core).unwrap_or(file).to_string_lossy();
        if OTHERS.iter().any(|other| inside.starts_with(other)) {
            known += reads(&text).len();
        } else {
            others.extend(reads(&text).into_iter().map(|line| format!("{inside}: {}", line.trim())));
        }
    }
    assert!(known > 5, "the reader is blind");
    assert!(others.is_empty(), "use durable::bytes or durable::text:\n{}", others.join("\n"));
}

#[test]
fn the_reader_passes_over_comments_and_tests() {
    let text = "// fs::read(a)\nlet a = std::fs::read(b);\nlet c = durable::bytes(b);\n#[cfg(test)]\nfs::read(d)";
    assert_eq!(reads(text), ["let a = std::fs::read(b);"]);
}
