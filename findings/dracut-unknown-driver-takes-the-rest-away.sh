#!/bin/bash
# Guess: a name in add_drivers that the kernel has no module for is left out of the image, with a warning, and the others are put in; or
# dracut fails.
# dracut 106: it stops at that name. The drivers named before it are in the image, those behind it are not; one line says "Failed to
# find module", dracut ends with 0, and the image is put in place. initramfs-tools 0.148.4 takes what there is, without a word about
# the other. So: a list for several kernels names only what each of them has, or one add_drivers line is looked at in the image.
. "$(dirname "$0")/lib.sh"
root trixie initramfs-tools=0.148.4 dracut-core=106-6 kmod=34.2-2 zstd
dir=$T/root/usr/lib/modules/9.9.9
for name in one two; do module "$dir/kernel/net/$name.ko" "$name"; done
index "$dir"
printf '%s\n' CONFIG_RD_ZSTD=y CONFIG_BLK_DEV_INITRD=y >"$T/root/boot/config-9.9.9"
run_inside <<'CODE'
depmod 9.9.9
modules() { echo "$(grep -o '[a-z]*\.ko$' | sort | paste -sd ' ')"; }
for names in 'one two' 'one gone two' 'gone one two'; do
	dracut -q --force --no-hostonly --kver 9.9.9 -m kernel-modules --add-drivers "$names" /tmp/image >/tmp/told 2>&1 && code=0 || code=$?
	echo "$code: $(lsinitrd /tmp/image | modules)"
done
echo "told: $(grep -c "Failed to find module 'gone'" /tmp/told)"
printf '%s\n' gone one two >>/etc/initramfs-tools/modules
mkinitramfs -o /tmp/image 9.9.9 >/tmp/told 2>&1 && code=0 || code=$?
echo "$code: $(lsinitramfs /tmp/image | modules); told: $(grep -c gone /tmp/told || true)"
CODE
same 'dracut, one two' '0: one.ko two.ko' "$(line 1)"
same 'dracut, one gone two' '0: one.ko' "$(line 2)"
same 'dracut, gone one two' '0: ' "$(line 3)"
same 'dracut, lines about it' 'told: 1' "$(line 4)"
same 'initramfs-tools, gone one two' '0: one.ko two.ko; told: 0' "$(line 5)"
