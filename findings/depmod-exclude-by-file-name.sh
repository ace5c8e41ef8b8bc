#!/bin/bash
# Guess: `exclude NAME` in depmod.d leaves a directory of the kernel's out, as its manual says, given as in a search line: the
# path below the kernel's directory. Or else it leaves a module out, named as in an override line.
# kmod 30 and 34.2: it is compared with the name of every file and directory, at any depth. `exclude dkms` takes updates/dkms and
# kernel/drivers/dkms; `exclude updates/dkms` takes nothing. `exclude x` leaves the module x in, and takes the driver's
# directory kernel/drivers/x away; `exclude x.ko` takes the module, but not once it is compressed. No message in any case. So: a
# line of the full file name, with its compression, and modules.dep looked at afterwards.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/drivers/x/part.ko" part
	module "$dir/kernel/drivers/dkms/driver.ko" driver
	module "$dir/updates/dkms/x.ko" x
	module "$dir/updates/dkms/y.ko" y
	xz -f "$dir/updates/dkms/y.ko"
	index "$dir"
	# indexed NAME: the modules that are left
	indexed() {
		printf '%s\n' 'search updates built-in' "exclude $1" >"$T/rules.conf"
		kmod depmod -C "$T/rules.conf" -b "$root" 1.2.3
		sed 's#.*/##; s/:.*//' "$dir/modules.dep" | sort | paste -sd ' '
	}
	same "$SUITE: dkms" 'part.ko' "$(indexed dkms)"
	same "$SUITE: updates/dkms" 'driver.ko part.ko x.ko y.ko.xz' "$(indexed updates/dkms)"
	same "$SUITE: x" 'driver.ko x.ko y.ko.xz' "$(indexed x)"
	same "$SUITE: x.ko" 'driver.ko part.ko y.ko.xz' "$(indexed x.ko)"
	same "$SUITE: y.ko" 'driver.ko part.ko x.ko y.ko.xz' "$(indexed y.ko)"
	same "$SUITE: y.ko.xz" 'driver.ko part.ko x.ko' "$(indexed y.ko.xz)"
}
each_kmod trial
