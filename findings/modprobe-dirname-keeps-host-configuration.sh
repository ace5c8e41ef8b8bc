#!/bin/bash
# Guess: modprobe -d ROOT works in ROOT as chroot would, ROOT/etc/modprobe.d included.
# kmod 30 and 34.2: -d moves only lib/modules. Options, blacklists and install lines are the host's; those of ROOT are
# not read. `modprobe -d IMAGE -n -v x` says what the host would do with the image's modules. So: with another root give
# -C ROOT/etc/modprobe.d as well (which leaves out ROOT/lib/modprobe.d), or enter the root.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/vat.ko" vat
	mkdir -p "$root/etc/modprobe.d"
	echo 'options vat size=9' >"$root/etc/modprobe.d/vat.conf"
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: modprobe -d" "insmod $dir/kernel/vat.ko" "$(kmod modprobe -d "$root" -S 1.2.3 -n -v vat | sed 's/ *$//')"
	same "$SUITE: modprobe -d -C" "insmod $dir/kernel/vat.ko size=9" \
		"$(kmod modprobe -d "$root" -C "$root/etc/modprobe.d" -S 1.2.3 -n -v vat | sed 's/ *$//')"
}
each_kmod trial
