#!/bin/bash
# Guess: in a blob upload the Content-Type does not matter: the body is bytes, and curl --data-binary sends them as they are.
# docker-registry 2.8.3 with curl 8.14.1: curl's type is application/x-www-form-urlencoded then, and such a body is taken for a
# form: nothing of it is left to store. The answer is 400 DIGEST_INVALID, for a digest that is right; with the digest of no
# bytes at all the same upload is 201. With any other type, or none, it works. So: send a type with every body, and read
# DIGEST_INVALID as "the bytes did not arrive".
. "$(dirname "$0")/lib.sh"
registry_root
run_inside <<'CODE'
registry
echo content >/tmp/blob
digest() { echo "sha256:$(sha256sum <"$1" | cut -d ' ' -f 1)"; }
# upload DIGEST OPTION…
upload() {
	local to digest=$1
	shift
	to=$(curl -s -o /dev/null -w '%header{location}' -X POST http://127.0.0.1:5000/v2/trial/blobs/uploads/)
	curl -s -w ' %{http_code}\n' -X PUT "$@" --data-binary @/tmp/blob "$to&digest=$digest" | grep -o '"code":"[A-Z_]*"\| [0-9]*$' | tr -d '\n'
	echo
}
upload "$(digest /tmp/blob)"
upload "$(digest /tmp/blob)" -H 'Content-Type: application/octet-stream'
upload "$(digest /tmp/blob)" -H 'Content-Type:'
upload "$(digest /dev/null)"
kill %1
CODE
same "with curl's type" '"code":"DIGEST_INVALID" 400' "$(line 1)"
same 'as octets' ' 201' "$(line 2)"
same 'without a type' ' 201' "$(line 3)"
same "with curl's type, and the digest of nothing" ' 201' "$(line 4)"
