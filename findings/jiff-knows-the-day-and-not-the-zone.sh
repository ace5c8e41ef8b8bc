#!/bin/bash
# Guess: jiff's RFC 2822 parser takes the dates of Debian's changelogs as dpkg does; a time zone that it does not know is an error,
# as an unknown word elsewhere is.
# jiff 1.0.2 and dpkg 1.22.22: a day of the week that does not fit the date, frequent in changelogs that people write, is an error of
# jiff's; dpkg-parsechangelog gives the time. A zone by name is the other way round: jiff takes CET and any other letters for
# +0000 (RFC 2822 says so of names from before it), so that the time is an hour off with no word; EST it does know. So: parse with
# relaxed_weekday(true), and look for a numeric offset first.
. "$(dirname "$0")/lib.sh"
root trixie dpkg-dev=1.22.22
crate_trial 'jiff = { version = "=1.0.2", default-features = false, features = ["std"] }' <<'C'
fn main() {
    let strict = jiff::fmt::rfc2822::DateTimeParser::new();
    let relaxed = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    fn say(parsed: Result<jiff::Timestamp, jiff::Error>) -> String { match parsed { Ok(time) => time.to_string(), Err(_) => "error".into() } }
    for date in ["Mon, 30 Nov 2026 10:00:00 +0100", "Tue, 30 Nov 2026 10:00:00 +0100", "Mon, 30 Nov 2026 10:00:00 CET", "Mon, 30 Nov 2026 10:00:00 QQQ", "Mon, 30 Nov 2026 10:00:00 EST"] {
        println!("{}, {}", say(strict.parse_timestamp(date)), say(relaxed.parse_timestamp(date)));
    }
}
C
said=$(cd "$T/trial" && cargo run --quiet)
same 'a right date; also with a relaxed weekday' '2026-11-30T09:00:00Z, 2026-11-30T09:00:00Z' "$(sed -n 1p <<<"$said")"
same 'Tue for a Monday' 'error, 2026-11-30T09:00:00Z' "$(sed -n 2p <<<"$said")"
same 'CET, which is +0100' '2026-11-30T10:00:00Z, 2026-11-30T10:00:00Z' "$(sed -n 3p <<<"$said")"
same 'QQQ, which is nothing' '2026-11-30T10:00:00Z, 2026-11-30T10:00:00Z' "$(sed -n 4p <<<"$said")"
same 'EST' '2026-11-30T15:00:00Z, 2026-11-30T15:00:00Z' "$(sed -n 5p <<<"$said")"
run_inside <<'CODE'
changelog() { printf 'pkg (1) unstable; urgency=low\n\n  * Text.\n\n -- A B <a@example.org>  %s\n' "$1" | dpkg-parsechangelog -l - -S Timestamp 2>/dev/null; }
for date in 'Mon, 30 Nov 2026 10:00:00 +0100' 'Tue, 30 Nov 2026 10:00:00 +0100'; do changelog "$date"; done
CODE
same "dpkg's time of the first" 1796029200 "$(line 1)"
same "dpkg's time of the second" 1796029200 "$(line 2)"
