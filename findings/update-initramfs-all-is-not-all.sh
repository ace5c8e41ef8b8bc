#!/bin/bash
# Guess: `update-initramfs -u -k all` makes the initramfs of every installed kernel anew, as its manual's "all" says, and `-u` alone
# that of the newest kernel, or of the running one.
# initramfs-tools 0.148.4: with -u, both go by the images that are there. A kernel whose initramfs is missing, because its making failed
# or somebody made room in /boot, is passed over, with exit 0 and no word; when there is none at all, -u and -u -k all
# do nothing, exit 0. The newest is the newest of those that have one. With a release given, -u makes a missing image, and
# `-c -k all` makes all of them. So: who repairs a machine says -c -k all, and looks whether each kernel has its image.
. "$(dirname "$0")/lib.sh"
root trixie initramfs-tools=0.148.4 dracut-core=106-6 kmod=34.2-2 zstd
run_inside <<'CODE'
for kernel in 6.1 6.9 6.10; do
	mkdir -p "/usr/lib/modules/$kernel"
	touch "/boot/vmlinuz-$kernel"
done
touch /boot/initrd.img-6.1 /boot/initrd.img-6.9
# Which images it makes is asked here, not what is in them.
printf '#!/bin/sh\necho "made $3"\ntouch "$2"\n' >/tmp/mkinitramfs
chmod +x /tmp/mkinitramfs
mount --bind /tmp/mkinitramfs /usr/sbin/mkinitramfs
run() {
	update-initramfs "$@" >/tmp/told 2>&1 && code=0 || code=$?
	echo "$*: $code: $(sed -n 's/^made //p' /tmp/told | sort -V | paste -sd ' '), other lines: $(grep -vc '^made \|Generating' /tmp/told || true)"
}
run -u
run -u -k all
run -u -k 6.10
rm /boot/initrd.img-*
run -u
run -u -k all
run -c -k all
CODE
same 'no image of the newest' '-u: 0: 6.9, other lines: 0' "$(line 1)"
same 'all' '-u -k all: 0: 6.1 6.9, other lines: 0' "$(line 2)"
same 'by name' '-u -k 6.10: 0: 6.10, other lines: 0' "$(line 3)"
same 'no image at all' '-u: 0: , other lines: 0' "$(line 4)"
same 'no image at all, all' '-u -k all: 0: , other lines: 0' "$(line 5)"
same 'creating' '-c -k all: 0: 6.1 6.9 6.10, other lines: 0' "$(line 6)"
