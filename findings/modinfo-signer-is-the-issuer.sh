#!/bin/bash
# Guess: modinfo's signer is the subject of the certificate that signed, and sig_key its key identifier, as the kernel's
# keyring and mokutil show them.
# kmod 30 and 34.2 on what sign-file of Linux 6.12.117 writes: the signature names the certificate by issuer and serial
# number, and these two are shown. They look right with a self-signed certificate only: with one that a CA issued, signer is
# the CA, and sig_key is a serial number. Signed with sign-file -k (by key identifier), all of modinfo's fields are empty, as
# if there were no signature. So: whether a module is signed is told by the mark at its end, and by whom by nothing that
# modinfo prints.
. "$(dirname "$0")/lib.sh"
kernel=6.12.117+deb13

# as_hex: hexadecimal digits, as modinfo writes them
as_hex() { sed 's/../&:/g; s/:$//'; }
make_modules() {
	debian trixie "linux-kbuild-$kernel" kmod=34.2-2 libkmod2=34.2-2 libzstd1 liblzma5 libssl3t64 libc6
	openssl req -new -x509 -newkey rsa:2048 -nodes -keyout "$T/ca.key" -out "$T/ca.pem" -subj '/CN=authority/' -days 9 2>/dev/null
	openssl req -new -newkey rsa:2048 -nodes -keyout "$T/leaf.key" -out "$T/leaf.csr" -subj '/CN=builder/' 2>/dev/null
	openssl x509 -req -in "$T/leaf.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -set_serial 0x7a01020304 -out "$T/leaf.pem" -days 9 \
		-extfile <(echo subjectKeyIdentifier=hash) 2>/dev/null
	module "$T/plain.ko" plain
	module "$T/keyid.ko" keyid
	local sign=usr/lib/linux-kbuild-$kernel/scripts/sign-file
	in_suite trixie "$sign" sign-file sha256 "$T/leaf.key" "$T/leaf.pem" "$T/plain.ko"
	in_suite trixie "$sign" sign-file -k sha256 "$T/leaf.key" "$T/leaf.pem" "$T/keyid.ko"
}
trial() {
	[ -e "$T/keyid.ko" ] || make_modules
	same "$SUITE: signer" authority "$(kmod modinfo -F signer "$T/plain.ko")"
	same "$SUITE: sig_key" "$(echo 7A01020304 | as_hex)" "$(kmod modinfo -F sig_key "$T/plain.ko")"
	for field in sig_id signer sig_key sig_hashalgo; do
		same "$SUITE: signed with -k: $field" '' "$(kmod modinfo -F "$field" "$T/keyid.ko")"
	done
}
each_kmod trial
same 'marks at the end of the two' 2 "$(for name in plain keyid; do tail -c 28 "$T/$name.ko"; done | grep -ac 'Module signature appended')"
