#!/bin/bash
# Guess: a plugin of kernel-install is switched off by a file of its name in /etc/kernel/install.d that is not executable: it
# takes the place of the one in /usr/lib, and is passed over itself, as in other directories of scripts. Files that an
# installation names are looked for, all of them.
# systemd 257: a file that is not executable is not seen: the plugin of /usr/lib runs, exit 0. Only an empty file (or a link
# to /dev/null) takes its place. systemd 252 lists names first: there the same file does switch it off. A kernel image that is
# not there is an error in 257; an initrd that is not there is handed on to the plugins. `add-all` passes over kernels without
# an image, exit 0. So: switch off with an empty file, in both releases.
. "$(dirname "$0")/lib.sh"
root trixie systemd=257.13-1~deb13u1
debian bookworm systemd=252.39-1~deb12u2
cp "$T/bookworm/usr/bin/kernel-install" "$T/root/kernel-install-252"
run_inside <<'CODE'
rm -f /usr/lib/kernel/install.d/* /etc/kernel/install.d/*
mkdir -p /etc/kernel/install.d /usr/lib/modules/6.1 /usr/lib/modules/6.2
echo layout=other >/etc/kernel/install.conf
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
plugin() {
	printf '#!/bin/sh\necho %s $5 >>/told\n' "$2" >"$1"
	chmod +x "$1"
}
plugin /usr/lib/kernel/install.d/40-module.install usr
touch /image
run() {
	local code=0
	: >/told
	"$@" >/dev/null 2>&1 || code=$?
	echo "$code $(paste -sd ' ' /told)"
}
both() { echo "$1: 252 $(run sh /kernel-install-252 add 6.1 /image), 257 $(run kernel-install add 6.1 /image)"; }
mine=/etc/kernel/install.d/40-module.install
both alone
plugin "$mine" etc
both 'in etc'
chmod -x "$mine"
both 'not executable'
: >"$mine"
both 'empty'
rm "$mine"
ln -s /dev/null "$mine"
both 'null'
rm "$mine"
echo "no image: $(run kernel-install add 6.1 /nowhere)"
echo "no initrd: $(run kernel-install add 6.1 /image /nowhere)"
cp /image /usr/lib/modules/6.1/vmlinuz
echo "add-all: $(run kernel-install add-all)"
CODE
same 'the plugin of /usr/lib' 'alone: 252 0 usr, 257 0 usr' "$(line 1)"
same 'one of the same name in /etc' 'in etc: 252 0 etc, 257 0 etc' "$(line 2)"
same 'that one not executable' 'not executable: 252 0 , 257 0 usr' "$(line 3)"
same 'that one empty' 'empty: 252 0 , 257 0 ' "$(line 4)"
same 'that one a link to /dev/null' 'null: 252 0 , 257 0 ' "$(line 5)"
same 'an image that is not there' 'no image: 1 ' "$(line 6)"
same 'an initrd that is not there' 'no initrd: 0 usr /nowhere' "$(line 7)"
same 'add-all, one of two kernels without image' 'add-all: 0 usr' "$(line 8)"
