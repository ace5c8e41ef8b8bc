#!/bin/bash
# Guess: signing a signed module again replaces its signature: sign-file knows the mark that it wrote.
# sign-file of Linux 6.12.117 (Debian): the second signature covers the module with the first one, and is put behind it.
# modinfo (kmod 30 and 34.2) shows the last signer only. Each signing makes the file longer, and whoever cuts one signature off
# has a module that is signed still, by another key. Two builders that sign the same module twice get different bytes. So:
# cut off all signatures before a module is signed, and before modules are compared.
. "$(dirname "$0")/lib.sh"
kernel=6.12.117+deb13

# sign WHO FILE
sign() {
	openssl req -new -x509 -newkey rsa:2048 -nodes -keyout "$T/$1.key" -out "$T/$1.cert" -outform DER -subj "/CN=$1/" -days 9 2>/dev/null
	in_suite trixie "usr/lib/linux-kbuild-$kernel/scripts/sign-file" sign-file sha256 "$T/$1.key" "$T/$1.cert" "$2"
}

trial() {
	[ -e "$T/twice.ko" ] || {
		debian trixie "linux-kbuild-$kernel" kmod=34.2-2 libkmod2=34.2-2 libzstd1 liblzma5 libssl3t64 libc6
		module "$T/twice.ko" twice
		sign first "$T/twice.ko"
		cp "$T/twice.ko" "$T/once.ko"
		sign second "$T/twice.ko"
	}
	same "$SUITE: signer before" first "$(kmod modinfo -F signer "$T/once.ko")"
	same "$SUITE: signer afterwards" second "$(kmod modinfo -F signer "$T/twice.ko")"
}
each_kmod trial
same 'marks in the file' 2 "$(grep -ao 'Module signature appended' "$T/twice.ko" | wc -l)"
same 'the first signature is still there' same "$(cmp -s -n "$(stat -c %s "$T/once.ko")" "$T/once.ko" "$T/twice.ko" && echo same)"
