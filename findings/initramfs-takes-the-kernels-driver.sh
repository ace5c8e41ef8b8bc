#!/bin/bash
# Guess: a disk driver below updates/ that replaces the kernel's goes into the initramfs in its place: modules.dep names it, and the
# tools ask modprobe or its library. One that exists below updates/ only goes in as well, with MODULES=most.
# initramfs-tools 0.142 with kmod 30 does the first. initramfs-tools 0.148.4 and dracut 106, which call one program for it
# (dracut-install), do neither: a class of drivers is a directory below kernel/, and of that the files themselves are copied,
# whatever modules.dep says. The image has the kernel's driver alone and an index of its own in which that is right; exit 0, no
# message. The driver loaded at boot is another than the one that modinfo shows afterwards. A driver that is named
# (/etc/initramfs-tools/modules, --add-drivers) is looked up in modules.dep. So: name the replaced modules for the initramfs, and
# look into the image.
. "$(dirname "$0")/lib.sh"
# kernel: two drivers of the kernel's, one of them replaced, and one that is new; all use the layer of disk drivers
kernel() {
	local dir=$T/root/usr/lib/modules/9.9.9 code='extern int scsi_add_host; int *to = &scsi_add_host;'
	mkdir -p "$dir" "$T/root/etc/depmod.d"
	index "$dir"
	module "$dir/kernel/drivers/ata/disk.ko" disk '' '' "$code"
	module "$dir/kernel/drivers/ata/other.ko" other '' '' "$code"
	module "$dir/updates/disk.ko" disk '' '' "$code"
	module "$dir/updates/new.ko" new '' '' "$code"
	echo 'search updates built-in' >"$T/root/etc/depmod.d/trial.conf"
	printf '%s\n' CONFIG_RD_ZSTD=y CONFIG_BLK_DEV_INITRD=y >"$T/root/boot/config-9.9.9"
	cat >"$T/root/helpers" <<-'CODE'
		depmod 9.9.9 2>/dev/null
		modules() { echo "$(grep -o '[^/ ]*/[a-z/]*\.ko$' | sed 's#^9.9.9/##' | sort | paste -sd ' ')"; }
		debian() {
			mkinitramfs -o /tmp/image 9.9.9 >/tmp/told 2>&1 && code=0 || code=$?
			rm -rf /tmp/whole
			unmkinitramfs /tmp/image /tmp/whole
			echo "initramfs-tools: $code: $(lsinitramfs /tmp/image | modules), index: $(grep -rhos --include modules.dep '^[^:]*disk.ko' /tmp/whole)"
		}
		fedora() {
			dracut -q --force --no-hostonly --kver 9.9.9 -m kernel-modules "$@" /tmp/image >/tmp/told 2>&1 && code=0 || code=$?
			echo "dracut: $code: $(lsinitrd /tmp/image | modules)"
		}
	CODE
}
root bookworm initramfs-tools=0.142+deb12u3 kmod=30+20221128-1 zstd
kernel
run_inside <<<'debian'
same 'initramfs-tools 0.142' 'initramfs-tools: 0: kernel/drivers/ata/other.ko updates/disk.ko, index: updates/disk.ko' "$(line 1)"
rm -r "$T/root"
root trixie initramfs-tools=0.148.4 dracut-core=106-6 kmod=34.2-2 zstd
kernel
run_inside <<'CODE'
echo "depmod: $(grep -o '^[^:]*disk.ko' /lib/modules/9.9.9/modules.dep)"
debian
fedora
echo disk >>/etc/initramfs-tools/modules
debian
fedora --add-drivers disk
CODE
same 'modules.dep' 'depmod: updates/disk.ko' "$(line 1)"
same 'initramfs-tools 0.148.4' 'initramfs-tools: 0: kernel/drivers/ata/disk.ko kernel/drivers/ata/other.ko, index: kernel/drivers/ata/disk.ko' "$(line 2)"
same 'dracut 106' 'dracut: 0: kernel/drivers/ata/disk.ko kernel/drivers/ata/other.ko' "$(line 3)"
same 'initramfs-tools 0.148.4, disk named' 'initramfs-tools: 0: kernel/drivers/ata/disk.ko kernel/drivers/ata/other.ko updates/disk.ko, index: updates/disk.ko' "$(line 4)"
same 'dracut 106, disk named' 'dracut: 0: kernel/drivers/ata/disk.ko kernel/drivers/ata/other.ko updates/disk.ko' "$(line 5)"
