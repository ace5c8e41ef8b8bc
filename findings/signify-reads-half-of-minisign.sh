#!/bin/bash
# Guess: minisign and signify are the same Ed25519 with the same file layout, so that each verifies what the other signs; or
# they are two formats, and neither does.
# minisign 0.12, signify 32 (Debian's signify-openbsd): signify takes minisign's public key as it is, and verifies signatures
# of `minisign -l` (legacy), of whose four lines it reads two. It refuses what minisign writes without -l. minisign reads
# signify's public key, and refuses its signature: "trusted comment not present". So: who signs for both uses minisign -l.
. "$(dirname "$0")/lib.sh"
root trixie minisign=0.12-1 signify-openbsd=32-1.1
run_inside <<'CODE'
cd /tmp
echo module >x
minisign -G -W -p mini.pub -s mini.sec >/dev/null
signify-openbsd -G -n -p signify.pub -s signify.sec
minisign -S -l -s mini.sec -m x -x x.legacy -t 'for 6.12' >/dev/null
minisign -S -s mini.sec -m x -x x.mini -t 'for 6.12' >/dev/null
signify-openbsd -S -s signify.sec -m x -x x.signify
# verify WHAT COMMAND…
verify() {
	local code=0 what=$1
	shift
	"$@" >/dev/null 2>/tmp/error || code=$?
	echo "$what: $code $(cat /tmp/error)"
}
verify 'minisign, its own' minisign -V -p mini.pub -m x -x x.mini
verify 'signify, minisign -l' signify-openbsd -V -p mini.pub -m x -x x.legacy
head -n 2 x.legacy >x.half
verify 'signify, two lines' signify-openbsd -V -p mini.pub -m x -x x.half
verify 'minisign, two lines' minisign -V -p mini.pub -m x -x x.half
verify 'signify, minisign' signify-openbsd -V -p mini.pub -m x -x x.mini
verify 'minisign, signify' minisign -V -p signify.pub -m x -x x.signify
CODE
same "minisign's" 'minisign, its own: 0 ' "$(line 1)"
same "minisign's, legacy, by signify" 'signify, minisign -l: 0 ' "$(line 2)"
same 'two lines of it, by signify' 'signify, two lines: 0 ' "$(line 3)"
same 'two lines of it, by minisign' 'minisign, two lines: 2 Trusted comment not present' "$(line 4)"
same "minisign's, by signify" 'signify, minisign: 1 signify-openbsd: unsupported file x.mini' "$(line 5)"
same "signify's, by minisign" 'minisign, signify: 2 Trusted comment not present' "$(line 6)"
