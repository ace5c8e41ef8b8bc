//! Tests of the tests: what can't fail, or is passed over without a word, is none.

use std::path::{Path, PathBuf};

use crate::settings::project;

/// The sources below `directory` whose names end so.
pub fn sources(directory: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            found.extend(sources(&path, ends));
        } else if ends.iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
    found
}

/// The commands of a line of shell: what stands between separators. Quotes are not understood, which is good enough.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(|command| {
        let command = command.trim().trim_start_matches(['"', '{']).trim_start();
        ["then ", "do ", "else "].iter().find_map(|word| command.strip_prefix(word)).unwrap_or(command)
    })
}

/// `set -e` does not stop for `! command`, even if the command succeeds (bash(1), set -e). `(! command)` does stop.
#[test]
fn a_negated_command_can_fail() {
    let mut bad = Vec::new();
    for file in sources(&project().join("tests"), &[".rs", ".sh"]) {
        if file.ends_with("src/honesty.rs") {
            continue;
        }
        for (number, line) in fs_err::read_to_string(&file).unwrap().lines().enumerate() {
            let ignored =
                |command: &str| command.starts_with("! ") && !command.contains("||") && !command.contains("&&");
            if commands(line).any(ignored) {
                bad.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(bad.is_empty(), "these can't fail; write (! command):\n{}", bad.join("\n"));
    assert!(commands("a; ! b c; d").any(|command| command == "! b c"), "the reader is blind");
}

/// A unit test that only root can run is listed where it is left out, and none is ignored.
#[test]
fn nothing_is_passed_over_without_a_word() {
    let mut bad = Vec::new();
    for room in ["core", "hooks-apt", "hooks-dnf", "hooks-pacman", "packaging", "tests"] {
        for file in sources(&project().join(room), &[".rs"]) {
            let text = fs_err::read_to_string(&file).unwrap();
            let own = ["src/honesty.rs", "src/test_support.rs"].iter().any(|own| file.ends_with(own));
            let inside = file.strip_prefix(project()).unwrap_or(&file).to_string_lossy().into_owned();
            let from = if inside.contains("tests") { Some(0) } else { text.find("\nmod tests {") };
            let Some(tests) = from.and_then(|from| text.get(from..)).filter(|_| !own) else { continue };
            for word in ["#[ignore", "geteuid()", "getuid()"] {
                if tests.contains(word) && !file.ends_with("src/needs.rs") {
                    bad.push(format!("{}: {word}", file.display()));
                }
            }
        }
    }
    assert!(bad.is_empty(), "use core's test_support::is_root, or a need of the suite:\n{}", bad.join("\n"));
}
