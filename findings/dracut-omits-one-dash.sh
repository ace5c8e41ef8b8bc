#!/bin/bash
# Guess: omit_drivers takes names as modprobe does: - and _ are the same in each of them.
# dracut 106: only the first - of the whole list counts as _; the list is compared with names that have _ alone. Of two names
# with a dash the second stays in the image, and a name with two dashes does, in whatever place; no message, exit 0. With _ for
# each - all are left out. add_drivers takes both spellings. A name that is in add_drivers, too, is not left out. So: write _ in
# omit_drivers, and look into the image.
. "$(dirname "$0")/lib.sh"
root trixie initramfs-tools=0.148.4 dracut-core=106-6 kmod=34.2-2 zstd
dir=$T/root/usr/lib/modules/9.9.9
# These are put into each image, as disk drivers.
for name in my-disk your-disk old-ata-disk; do
	module "$dir/kernel/drivers/ata/$name.ko" "${name//-/_}" '' '' 'extern int scsi_add_host; int *to = &scsi_add_host;'
done
for name in my-net your-net; do module "$dir/kernel/net/$name.ko" "${name//-/_}"; done
index "$dir"
run_inside <<'CODE'
depmod 9.9.9
image() {
	dracut -q --force --no-hostonly --no-early-microcode --kver 9.9.9 -m kernel-modules "$@" /tmp/image >/tmp/said 2>&1 && code=0 || code=$?
	echo "$code, $(wc -l </tmp/said) lines: $(lsinitrd /tmp/image | grep -o '[a-z-]*\.ko$' | sort | paste -sd ' ')"
}
image --omit-drivers 'my-disk'
image --omit-drivers 'your-disk my-disk'
image --omit-drivers 'old-ata-disk'
image --omit-drivers 'my_disk your_disk old_ata_disk'
echo 'omit_drivers+=" my-disk your-disk "' >/etc/dracut.conf.d/trial.conf
image
rm /etc/dracut.conf.d/trial.conf
image --add-drivers 'my-net your-net' --omit-drivers 'my_disk your_disk old_ata_disk'
image --add-drivers my_disk --omit-drivers 'my_disk your_disk old_ata_disk'
CODE
same 'one name' '0, 0 lines: old-ata-disk.ko your-disk.ko' "$(line 1)"
same 'two names' '0, 0 lines: my-disk.ko old-ata-disk.ko' "$(line 2)"
same 'two dashes' '0, 0 lines: my-disk.ko old-ata-disk.ko your-disk.ko' "$(line 3)"
same 'underscores' '0, 0 lines: ' "$(line 4)"
same 'dracut.conf' '0, 0 lines: old-ata-disk.ko your-disk.ko' "$(line 5)"
same 'two added' '0, 0 lines: my-net.ko your-net.ko' "$(line 6)"
same 'added and left out' '0, 0 lines: my-disk.ko' "$(line 7)"
