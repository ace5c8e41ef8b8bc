#!/bin/bash
# Guess: what `oras push` has accepted, `oras pull` lays down again; and a pull into the directory of the last pull brings it up to
# date.
# oras 1.2.0 with docker-registry 2.8.3: a directory with a link that leads out of it is pushed, exit 0, and refused by pull.
# /lib/modules/RELEASE is such a directory, by its link `build`: the artefact is of no use to anybody, and only who pulls it learns
# that. Any link at all, also one that stays inside, makes the second pull into the same place fail, "file exists"; files that the
# new version does not have stay beside the new ones. So: pull what was pushed before it is announced, and always into an
# empty directory.
. "$(dirname "$0")/lib.sh"
registry_root oras=1.2.0-1+b9
run_inside <<'CODE'
registry
trial=127.0.0.1:5000/trial
cd /tmp
# pull TAG DIRECTORY: exit code, the last words of what it says, and what is there
pull() {
	local code=0
	mkdir -p "$2"
	(cd "$2" && oras pull --plain-http "$trial:$1") >/told 2>&1 || code=$?
	echo "$1: $code$(grep -o 'is outside of.*\|file exists' /told | sed 's/^/ /'), $(cd "$2" && find . -not -type d | sort | paste -sd ' ')"
}
push() { oras push --plain-http "$trial:$1" release >/dev/null 2>&1 && echo "push $1: $?"; }
mkdir -p release/kernel
echo module >release/kernel/first.ko
push plain
pull plain a
pull plain a
ln -s /usr/src/linux-headers release/build
push build
pull build b
rm release/build
ln -s kernel release/inside
push inside
pull inside c
mv release/kernel/first.ko release/kernel/second.ko
push second
pull second a
pull second c
kill %1
CODE
same 'no link, pulled' 'plain: 0, ./release/kernel/first.ko' "$(line 2)"
same 'no link, pulled again' 'plain: 0, ./release/kernel/first.ko' "$(line 3)"
same 'a link to the outside, pushed' 'push build: 0' "$(line 4)"
same 'a link to the outside, pulled' 'build: 1 is outside of "release", ' "$(line 5)"
same 'a link to the inside, pulled' 'inside: 0, ./release/inside ./release/kernel/first.ko' "$(line 7)"
same 'another version, over one without a link' 'second: 0, ./release/inside ./release/kernel/first.ko ./release/kernel/second.ko' "$(line 9)"
same 'another version, over one with the link' 'second: 1 file exists, ./release/inside ./release/kernel/first.ko' "$(line 10)"
