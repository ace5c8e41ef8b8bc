//! What in a script, or in the commands that make shows, fetches something from a network. Such programs are often told to be
//! quiet, and then nothing in a log says why they failed.

/// What fetches, as its first words.
const FETCHERS: [&str; 16] = [
    "curl",
    "wget",
    "aria2c",
    "git clone",
    "git fetch",
    "git pull",
    "git submodule update",
    "git ls-remote",
    "svn checkout",
    "svn co",
    "svn export",
    "apt-get source",
    "apt-get download",
    "dnf download",
    "pip install",
    "pip3 install",
];

/// The first command in `text` that fetches something, in a word or two; comments and what only asks for a program do not
/// count.
pub fn fetcher(text: &str) -> Option<&'static str> {
    text.lines().find_map(|line| {
        let line = line.trim_start();
        // What a compiler shows of a source has the line's number before it.
        let is_source = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
        if line.starts_with('#') || is_source {
            return None;
        }
        if line.contains("</dev/tcp/") || line.contains("<>/dev/tcp/") {
            return Some("/dev/tcp");
        }
        // A command begins a line, or stands behind what ends another one or opens a list.
        let commands = line.split(['|', ';', '&', '(', '{', '`']).flat_map(|part| {
            let words = ["then ", "else ", "do ", "if ", "! ", "exec ", "sudo ", "@", "-"];
            let mut command = part.trim_start();
            while let Some(rest) = words.iter().find_map(|word| command.strip_prefix(word)) {
                command = rest.trim_start();
            }
            [command]
        });
        commands.into_iter().find_map(|command| {
            let command = command.strip_prefix("/usr/bin/").unwrap_or(command);
            FETCHERS.into_iter().find(|fetcher| {
                let rest = command.strip_prefix(fetcher);
                // A command alone fetches nothing; `curl:` is what curl said.
                rest.is_some_and(|rest| rest.starts_with([' ', '\t']) && !rest.trim_start().starts_with("--version"))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::fetcher;

    #[test]
    fn commands_that_fetch_are_found_and_words_that_do_not_are_passed_over() {
        for (text, found) in [
            ("#!/bin/sh\nset -e\ncurl -sf http://x/y -o y\n", Some("curl")),
            ("if ! wget -q \"$URL\"; then exit 1; fi", Some("wget")),
            ("cd x && git clone -q https://x/y || exit 1", Some("git clone")),
            ("files=$(curl -s http://x)", Some("curl")),
            ("tar x < <(/usr/bin/wget -qO- http://x)", Some("wget")),
            ("\t@wget -q http://x", Some("wget")),
            ("apt-get source linux", Some("apt-get source")),
            ("exec 3<>/dev/tcp/x/80", Some("/dev/tcp")),
            ("# curl -s http://x", None),
            ("command -v curl >/dev/null", None),
            ("curl --version", None),
            ("   12 |     curl = vec_curl(a);", None),
            ("      |     curl = vec_curl(a);", None),
            ("curl: (6) no", None),
            ("echo wget is needed", None),
            ("git describe --tags", None),
            ("gcc -c wget.c -o wget.o", None),
            ("", None),
        ] {
            assert_eq!(fetcher(text), found, "{text}");
        }
    }
}
