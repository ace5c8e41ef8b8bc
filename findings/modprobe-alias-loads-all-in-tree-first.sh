#!/bin/bash
# Guess: `search updates built-in` makes a driver below updates/ win over the kernel's own: modprobe, called with a device's
# alias (as udev does), loads it, and only it.
# kmod 30 and 34.2: that rule chooses between files of one module name. Of drivers with different names and the same alias,
# modprobe loads every one, those that modules.order lists first: the kernel's. A file below updates/ is in no modules.order,
# so it comes last, whatever it is called, and finds the device taken. So: a replacement under another name needs a
# blacklist line for the kernel's driver; its place on disk does nothing.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE dir
	dir=$root/lib/modules/1.2.3
	mkdir -p "$T/rules" "$T/modprobe"
	echo 'search updates built-in' >"$T/rules/x.conf"
	module "$dir/kernel/net/zz_tree.ko" zz_tree '' '' '' 'alias=pci:v00001234d*'
	module "$dir/updates/aa_ours.ko" aa_ours '' '' '' 'alias=pci:v00001234d*'
	index "$dir"
	echo kernel/net/zz_tree.ko >"$dir/modules.order"
	kmod depmod -C "$T/rules" -b "$root" 1.2.3
	: >"$T/modprobe/x.conf"
	same "$SUITE: both" "insmod $dir/kernel/net/zz_tree.ko insmod $dir/updates/aa_ours.ko " "$(load)"
	echo 'blacklist zz_tree' >"$T/modprobe/x.conf"
	same "$SUITE: with a blacklist line" "insmod $dir/updates/aa_ours.ko " "$(load)"
}
load() {
	kmod modprobe -C "$T/modprobe" -d "$root" -S 1.2.3 -n -v pci:v00001234d00005678 | sed 's/ *$//' | tr '\n' ' '
}
each_kmod trial
