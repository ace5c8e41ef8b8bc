#!/bin/bash
# Guess: artefacts are addressed by content: pushing the same files twice gives the same digest, and `oras push` keeps what tar keeps
# of a file.
# oras 1.2.0: the manifest gets the time of the push as an annotation, in seconds: the same files pushed a second later have
# another digest, and what was attached to the first one (a signature) hangs on a manifest without a tag. With
# org.opencontainers.image.created given, files are the same for good, but a directory's layer holds the files' times, so that a
# fresh checkout is another artefact. A file that is pushed by itself loses mode and time; in a directory it keeps both. So: a
# fixed `created`, fixed times, or a tar of one's own; and sign after the last push.
. "$(dirname "$0")/lib.sh"
registry_root oras=1.2.0-1+b9
run_inside <<'CODE'
registry
trial=127.0.0.1:5000/trial
cd /tmp
# digest OPTION… FILE: pushes it
digest() { oras push --plain-http "$trial:tag" "$@" 2>/dev/null | sed -n 's/^Digest: //p'; }
# two WHAT FIRST SECOND
two() { echo "$1: $([ "$2" = "$3" ] && echo same || echo other)"; }
created=(--annotation org.opencontainers.image.created=2026-01-01T00:00:00Z)
echo module >x.ko
chmod 750 x.ko
touch -d '2026-01-01 00:00:00Z' x.ko
mkdir dir
cp -p x.ko dir/
first=$(digest x.ko)
echo signature >s
oras attach --plain-http --artifact-type application/x-trial "$trial:tag" s >/dev/null 2>&1
attached() { oras discover --plain-http "$trial:tag" 2>/dev/null | grep -c application/x-trial || true; }
echo "signatures: $(attached)"
sleep 1.1
two 'a later push' "$first" "$(digest x.ko)"
echo "signatures: $(attached)"
first=$(digest "${created[@]}" x.ko)
touch x.ko
two 'created given, a file' "$first" "$(digest "${created[@]}" x.ko)"
first=$(digest "${created[@]}" dir)
two 'created given, a directory' "$first" "$(digest "${created[@]}" dir)"
touch -d '2026-01-01 00:00:01Z' dir/x.ko
two 'and another time of a file in it' "$first" "$(digest "${created[@]}" dir)"
mkdir out
(cd out && oras pull --plain-http "$trial:tag" >/dev/null)
digest x.ko >/dev/null
(cd out && oras pull --plain-http "$trial:tag" >/dev/null)
echo "modes: $(stat -c %a out/x.ko out/dir/x.ko | paste -sd ' ')"
kill %1
CODE
same 'signatures' 'signatures: 1' "$(line 1)"
same 'a second later' 'a later push: other' "$(line 2)"
same 'signatures of the tag then' 'signatures: 0' "$(line 3)"
same 'a file, the annotation given' 'created given, a file: same' "$(line 4)"
same 'a directory, the annotation given' 'created given, a directory: same' "$(line 5)"
same 'another time of a file in it' 'and another time of a file in it: other' "$(line 6)"
same 'modes of a file by itself, and in a directory' 'modes: 644 750' "$(line 7)"
