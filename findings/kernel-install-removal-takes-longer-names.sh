#!/bin/bash
# Guess: `kernel-install remove 6.12.9` removes the boot entry of 6.12.9, and those of it that count boot attempts (6.12.9+2-1.conf).
# systemd 257: it removes every entry whose name begins so: those of 6.12.9+deb13-amd64, 6.12.9-rc1 and 6.12.90 as well; systemd 252
# those that go on with a +, Debian's own among them. Their images and initrds stay on the boot partition, their modules too: kernels
# that are installed and can't be chosen at boot. Exit 0, no word. For 257, `remove 6` takes all of 6. So: after a
# removal run `kernel-install add` for every kernel that is left, or `add-all`.
. "$(dirname "$0")/lib.sh"
root trixie systemd=257.13-1~deb13u1 systemd-boot-tools=257.13-1~deb13u1 jq
debian bookworm systemd=252.39-1~deb12u2
cp "$T/bookworm/usr/bin/kernel-install" "$T/root/kernel-install-252"
cp "$T/bookworm/usr/lib/kernel/install.d/90-loaderentry.install" "$T/root/90-loaderentry-252"
run_inside <<'CODE'
mkdir -p /etc/kernel/install.d /tmp/boot/loader/entries
printf 'layout=bls\nBOOT_ROOT=/tmp/boot\n' >/etc/kernel/install.conf
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo root=/dev/vda1 >/etc/kernel/cmdline
echo image >/image
trial() {
	for kernel in 6.12.9 6.12.9-rc1 6.12.9+deb13-amd64 6.12.90 6.1.2; do
		mkdir -p "/usr/lib/modules/$kernel"
		"$@" add "$kernel" /image >/dev/null 2>&1
	done
	for kernel in none 6.12.9 6; do
		code=0
		[ "$kernel" = none ] || "$@" remove "$kernel" >/dev/null 2>&1 || code=$?
		entries=$(cd /tmp/boot/loader/entries && ls)
		echo "$kernel: $code: $(sed 's/^[0-9a-f]\{32\}-//; s/\.conf$//' <<<"$entries" | sort -V | paste -sd ' ')"
	done
	echo "images: $(find /tmp/boot -name linux | wc -l)"
}
rm -f /usr/lib/kernel/install.d/[!9]* /usr/lib/kernel/install.d/9[!0]* /etc/kernel/install.d/*
trial kernel-install
rm -rf /tmp/boot/0*
cp /90-loaderentry-252 /usr/lib/kernel/install.d/90-loaderentry.install
trial sh /kernel-install-252
CODE
same '257: entries' 'none: 0: 6.1.2 6.12.9 6.12.9+deb13-amd64 6.12.9-rc1 6.12.90' "$(line 1)"
same '257: after remove 6.12.9' '6.12.9: 0: 6.1.2' "$(line 2)"
same '257: after remove 6' '6: 0: ' "$(line 3)"
same '257: images that stay' 'images: 4' "$(line 4)"
same '252: entries' 'none: 0: 6.1.2 6.12.9 6.12.9+deb13-amd64 6.12.9-rc1 6.12.90' "$(line 5)"
same '252: after remove 6.12.9' '6.12.9: 0: 6.1.2 6.12.9-rc1 6.12.90' "$(line 6)"
same '252: after remove 6' '6: 0: 6.1.2 6.12.9-rc1 6.12.90' "$(line 7)"
same '252: images that stay' 'images: 4' "$(line 8)"
