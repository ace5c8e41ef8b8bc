#!/bin/bash
# Guess: dracut --no-hostonly, the image for any machine, holds more drivers of the kernel's, by class, than one for this machine;
# what lies below updates/ is chosen like the rest. The administrator's modprobe.d is in it, as in other images.
# dracut 106: its module kernel-modules-extra, part of every image, puts in all that lies below updates/, whatever it is and needs: a
# graphics or wireless driver that the kernel's own part of the image never has; extra/ only where a depmod.d line names it, kernel/
# not. /etc/modprobe.d is left out, as the machine's own: a driver that is blacklisted there, or has options, is loaded
# at boot without either. An image for this machine (--hostonly), and initramfs-tools 0.148.4, copy it. So: for a generic image
# write such lines to /usr/lib/modprobe.d, and omit_drivers for what is not to be loaded so early.
. "$(dirname "$0")/lib.sh"
root trixie initramfs-tools=0.148.4 dracut-core=106-6 kmod=34.2-2 zstd
dir=$T/root/usr/lib/modules/9.9.9
module "$dir/kernel/net/stock.ko" stock
module "$dir/updates/graphics.ko" graphics
module "$dir/extra/more.ko" more
index "$dir"
printf '%s\n' CONFIG_RD_ZSTD=y CONFIG_BLK_DEV_INITRD=y >"$T/root/boot/config-9.9.9"
echo 'blacklist graphics' >"$T/root/etc/modprobe.d/trial.conf"
run_inside <<'CODE'
depmod 9.9.9
# image WORD…: its modules, and the administrator's configuration
image() {
	dracut -q --force --kver 9.9.9 "$@" /tmp/image >/dev/null 2>&1 && code=0 || code=$?
	echo "$code: $(lsinitrd /tmp/image | grep -o 'modules/.*\.ko$\|etc/modprobe.d/.*conf$' | sed 's#modules/9.9.9/##' | sort | paste -sd ' ')"
}
image --no-hostonly -m kernel-modules
image --no-hostonly -m 'kernel-modules kernel-modules-extra'
image --no-hostonly
echo 'search updates extra built-in' >/etc/depmod.d/trial.conf
image --no-hostonly
image --no-hostonly --omit-drivers graphics
image --hostonly -m kernel-modules
mkinitramfs -o /tmp/image 9.9.9 >/dev/null 2>&1
echo "initramfs-tools: $(lsinitramfs /tmp/image | grep -c etc/modprobe.d/trial.conf)"
CODE
same 'the kernel-modules part' '0: ' "$(line 1)"
same 'with kernel-modules-extra' '0: updates/graphics.ko' "$(line 2)"
same 'a whole image' '0: updates/graphics.ko' "$(line 3)"
same 'and extra in depmod.d' '0: extra/more.ko updates/graphics.ko' "$(line 4)"
same 'and graphics omitted' '0: extra/more.ko' "$(line 5)"
same 'for this machine' '0: etc/modprobe.d/trial.conf' "$(line 6)"
same 'in the image of initramfs-tools' 'initramfs-tools: 1' "$(line 7)"
