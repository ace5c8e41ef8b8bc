#!/bin/bash
# Guess: a program that prints through anstream has no colour with TERM=dumb, on a CI whose log is a terminal only in name, or with
# CLICOLOR_FORCE=0; an empty variable is as good as none.
# anstream 1.0.0: on a terminal TERM=dumb is no colour, as long as neither CI nor CLICOLOR is there: with CI, also an empty one or
# CI=false, colours come in spite of it. CLICOLOR_FORCE=0 is a yes: colours also into a file. NO_COLOR, if it is not empty, wins
# over all. So: in logs set NO_COLOR=1, and unset a variable to switch it off; or ask TERM oneself before anstream does.
. "$(dirname "$0")/lib.sh"
crate_trial 'anstream = "=1.0.0"' \
	'anstyle-query = "=1.1.5"' <<'C'
fn main() {
    println!("choice {:?}", anstream::AutoStream::choice(&std::io::stdout()));
}
C
(cd "$T/trial" && cargo build --quiet)
# choice WHERE SETTING…: what is chosen for a terminal, or for a pipe
choice() {
	local where=$1 command="$T/trial/target/debug/trial"
	shift
	if [ "$where" = terminal ]; then
		env -i "PATH=$PATH" "$@" script -qec "$command" /dev/null | tr -d '\r'
	else
		env -i "$@" "$command" | cat
	fi
}
same 'terminal, TERM=xterm' 'choice Always' "$(choice terminal TERM=xterm)"
same 'terminal, TERM=dumb' 'choice Never' "$(choice terminal TERM=dumb)"
for ci in CI=true CI=false CI=; do same "terminal, TERM=dumb $ci" 'choice Always' "$(choice terminal TERM=dumb "$ci")"; done
same 'terminal, TERM=dumb CLICOLOR=1' 'choice Always' "$(choice terminal TERM=dumb CLICOLOR=1)"
same 'terminal, TERM=dumb CI=true NO_COLOR=1' 'choice Never' "$(choice terminal TERM=dumb CI=true NO_COLOR=1)"
same 'pipe' 'choice Never' "$(choice pipe TERM=xterm)"
same 'pipe, CI=true' 'choice Never' "$(choice pipe TERM=xterm CI=true)"
same 'pipe, CLICOLOR_FORCE=0' 'choice Always' "$(choice pipe TERM=xterm CLICOLOR_FORCE=0)"
same 'pipe, CLICOLOR_FORCE=0 NO_COLOR=1' 'choice Never' "$(choice pipe TERM=xterm CLICOLOR_FORCE=0 NO_COLOR=1)"
