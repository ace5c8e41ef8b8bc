#!/bin/bash
# Guess: Client::new(4) of the crate jobserver, handed to make with configure_make, lets make run four jobs: the argument is
# called limit. A -j of one's own, on make's command line, is then a second limit below it.
# jobserver 0.1.35 with make 4.4.1: make runs five. The protocol gives every process one job without a token, and Client::new
# puts N tokens into the pipe, where make -jN itself puts N - 1. With Client::new(1) nothing is serial. Who has taken a token
# before starting make has the four. And -j3 is no second limit: make says "resetting jobserver mode" and lets the pool go.
# So: acquire a token for each make that is started, as a make does for its children, and give make no -j.
. "$(dirname "$0")/lib.sh"
debian trixie make=4.4.1-2 libc6
# make, as a program of its own
cat >"$T/make" <<MAKE
#!/bin/sh
lib=\$(echo $T/trixie/usr/lib/*-linux-gnu)
exec "\$lib"/ld-linux*.so.* --library-path "\$lib" --argv0 make $T/trixie/usr/bin/make "\$@"
MAKE
chmod +x "$T/make"
cat >"$T/Makefile" <<'MAKE'
jobs := 1 2 3 4 5 6 7 8
all: $(jobs)
$(jobs):
	@echo begin; sleep 1; echo end
MAKE
crate_trial 'jobserver = "=0.1.35"' <<'C'
use std::process::Command;
// How many jobs ran at the same time, and whether make let the pool go.
fn make(client: &jobserver::Client, words: &[&str]) -> String {
    let base = std::env::args().nth(1).unwrap();
    let mut make = Command::new(format!("{base}/make"));
    make.current_dir(&base).arg("-s").args(words);
    client.configure_make(&mut make);
    let said = make.output().unwrap();
    let (mut now, mut most) = (0, 0);
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        now += if line == "begin" { 1 } else { -1 };
        most = most.max(now);
    }
    let reset = String::from_utf8_lossy(&said.stderr).contains("resetting jobserver mode");
    format!("{most}{}", if reset { " reset" } else { "" })
}
fn main() {
    for limit in [1, 4] {
        let client = jobserver::Client::new(limit).unwrap();
        println!("{}", make(&client, &[]));
        let token = client.acquire().unwrap();
        println!("{}", make(&client, &[]));
        drop(token);
    }
    println!("{}", make(&jobserver::Client::new(1).unwrap(), &["-j3"]));
}
C
said=$(cd "$T/trial" && MAKEFLAGS='' cargo run --quiet -- "$T")
same 'Client::new(1)' 2 "$(sed -n 1p <<<"$said")"
same 'Client::new(1), one token taken' 1 "$(sed -n 2p <<<"$said")"
same 'Client::new(4)' 5 "$(sed -n 3p <<<"$said")"
same 'Client::new(4), one token taken' 4 "$(sed -n 4p <<<"$said")"
same 'Client::new(1), -j3' '3 reset' "$(sed -n 5p <<<"$said")"
