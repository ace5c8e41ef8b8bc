#!/bin/bash
# Guess: sign-file, given a compressed module, signs the module in it or refuses; given what is no module, it refuses.
# sign-file of Linux 6.12.117 (Debian): it signs the bytes of any file and ends with 0. A .ko.xz or .ko.zst is a stream with
# something behind it from then on: kmod 34.2 can't read it any more, not even to show its name, and xz -t calls it corrupt.
# A signature on a text file is made as well. So: sign first, compress afterwards, and look at the result with modinfo.
. "$(dirname "$0")/lib.sh"
kernel=6.12.117+deb13
debian trixie "linux-kbuild-$kernel" kmod=34.2-2 libkmod2=34.2-2 libzstd1 liblzma5 libssl3t64 libc6

field() { in_suite trixie usr/bin/kmod modinfo -F "$1" "$2"; }
# sign FILE: prints sign-file's exit code.
sign() {
	local code=0
	in_suite trixie "usr/lib/linux-kbuild-$kernel/scripts/sign-file" sign-file sha256 "$T/key" "$T/cert" "$1" || code=$?
	echo "$code"
}
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout "$T/key" -out "$T/cert" -outform DER -subj /CN=trial/ -days 9 2>/dev/null

module "$T/right.ko" right
module "$T/plain.ko" plain
same 'a module: sign-file ends with' 0 "$(sign "$T/right.ko")"
same 'its signer' trial "$(field signer "$T/right.ko")"
xz --check=crc32 -k "$T/plain.ko"
zstd -q "$T/plain.ko" -o "$T/plain.ko.zst"
for form in xz zst; do
	same "plain.ko.$form: its name" plain "$(field name "$T/plain.ko.$form")"
	same "plain.ko.$form: sign-file ends with" 0 "$(sign "$T/plain.ko.$form")"
	code=0
	field name "$T/plain.ko.$form" >/dev/null 2>&1 || code=$?
	same "plain.ko.$form, signed: modinfo ends with" 1 "$code"
done
code=0
xz -t "$T/plain.ko.xz" 2>/dev/null || code=$?
same 'plain.ko.xz, signed: xz -t ends with' 1 "$code"
echo 'no module' >"$T/text"
same 'a text file: sign-file ends with' 0 "$(sign "$T/text")"
