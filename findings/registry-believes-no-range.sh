#!/bin/bash
# Guess: Content-Range says where a part of an upload belongs. A part that does not follow the last one is answered with 416, as the
# distribution specification says; a client that sends a part again, because the answer got lost, does no harm.
# docker-registry 2.8.3: the header is not looked at. Every part is put behind what is there, and answered with 202 and the new
# length: one that claims to begin at 100 when nothing is there, and one that comes twice, which is then twice in the blob.
# The final PUT tells the difference, as DIGEST_INVALID, after all was sent. So: after a broken connection ask the upload (GET of its
# Location) for its Range before going on, or begin anew; never repeat a part on suspicion.
. "$(dirname "$0")/lib.sh"
registry_root oras=1.2.0-1+b9
run_inside <<'CODE'
registry
cd /tmp
field() { tr -d '\r' <head | sed -n "s/^$1: //Ip"; }
begin() {
	curl -s -o /dev/null -D head -X POST http://127.0.0.1:5000/v2/trial/blobs/uploads/
	at=$(field Location)
}
# part RANGE TEXT
part() {
	code=$(curl -s -o /dev/null -w '%{http_code}' -D head -X PATCH -H 'Content-Type: application/octet-stream' -H "Content-Range: $1" --data-binary "$2" "$at")
	at=$(field Location)
	echo "$1: $code, then $(field Range)"
}
# put TEXT: ends the upload, with the digest of this text
put() {
	code=$(curl -s -o body -w '%{http_code}' -X PUT "$at&digest=sha256:$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)")
	echo "put: $code $(grep -o DIGEST_INVALID body | head -n 1)"
}
begin
part 0-4 first
part 0-4 first
part 5-8 last
put firstlast
begin
part 100-104 first
part 0-3 last
put firstlast
kill %1
CODE
same 'the first part' '0-4: 202, then 0-4' "$(line 1)"
same 'the same again' '0-4: 202, then 0-9' "$(line 2)"
same 'the next' '5-8: 202, then 0-13' "$(line 3)"
same 'the end of it' 'put: 400 DIGEST_INVALID' "$(line 4)"
same 'a part from 100 on, as the first' '100-104: 202, then 0-4' "$(line 5)"
same 'one from 0 on, as the second' '0-3: 202, then 0-8' "$(line 6)"
same 'the end of it' 'put: 201 ' "$(line 7)"
