//! Distributions are named in one room of the core, `host` (ARCHITECTURE.md): others ask it what follows from that.

use std::path::Path;

use crate::honesty::sources;
use crate::settings::project;

/// What os-release calls them (os-release(5), `ID` and `ID_LIKE`). Not `arch`, which is also what dkms.conf calls an architecture.
const NAMES: [&str; 12] = [
    "alpine",
    "archlinux",
    "centos",
    "debian",
    "fedora",
    "gentoo",
    "manjaro",
    "opensuse",
    "rhel",
    "sles",
    "suse",
    "ubuntu",
];

/// Where else such words stand: the values of an option that users type.
const WORDS_OF_USERS: &str = "cli/table.rs";

/// The strings of `text` that are a distribution's name, in what is no comment and no test.
fn named(text: &str) -> Vec<&str> {
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|word| NAMES.contains(word)).collect()
}

#[test]
fn only_one_room_names_a_distribution() {
    let core = project().join("core/src");
    let (mut host, mut others) = (0, Vec::new());
    for file in sources(&core, &[".rs"]).iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = fs_err::read_to_string(file).unwrap();
        let inside = file.strip_prefix(&core).unwrap_or(file);
        if inside.starts_with("host") {
            host += named(&text).len();
        } else if inside != Path::new(WORDS_OF_USERS) {
            others.extend(named(&text).into_iter().map(|name| format!("{}: {name}", inside.display())));
        }
    }
    assert!(host > 10, "the reader is blind");
    assert!(others.is_empty(), "ask `host` what follows from it:\n{}", others.join("\n"));
}

#[test]
fn the_reader_passes_over_comments_and_tests() {
    let text = "/// is_like(\"debian\")\nlet a = is(&[\"sles\", \"other\"]);\n#[cfg(test)]\nmod tests {\n\"suse\"";
    assert_eq!(named(text), ["sles"]);
}
