#!/bin/bash
# Guess: a module of the kernel's that was built for the exporter beside it goes on depending on that one, when a module from
# elsewhere with another name exports the same symbol; at least while depmod.d has no line about it.
# kmod 30 and 34.2: for each symbol the module counts that is read last, and what modules.order does not list is read after
# what it lists. So a module below updates/ or extra/ takes all users of its symbols over, those of the kernel's too:
# modprobe loads it for them, and no longer the one that depends= names. The search line has no say: the names differ. So:
# one such module changes what the kernel's own modules load; compare modules.dep before and after.
. "$(dirname "$0")/lib.sh"

user() { sed -n 's/^kernel\/user.ko: *//p' "$dir/modules.dep"; }
trial() {
	local root=$T/root-$SUITE dir
	dir=$root/lib/modules/1.2.3
	mkdir -p "$T/rules"
	echo 'search built-in updates' >"$T/rules/x.conf"
	module "$dir/kernel/zz_giver.ko" zz_giver '' '' "$(exports given)"
	module "$dir/kernel/user.ko" user zz_giver '' "$(needs given)"
	index "$dir"
	printf 'kernel/zz_giver.ko\nkernel/user.ko\n' >"$dir/modules.order"
	kmod depmod -C "$T/rules" -b "$root" 1.2.3
	same "$SUITE: before" kernel/zz_giver.ko "$(user)"
	module "$dir/updates/aa_giver.ko" aa_giver '' '' "$(exports given)"
	kmod depmod -C "$T/rules" -b "$root" 1.2.3
	same "$SUITE: with another exporter" updates/aa_giver.ko "$(user)"
	same "$SUITE: modprobe user" "insmod $dir/updates/aa_giver.ko insmod $dir/kernel/user.ko " \
		"$(kmod modprobe -d "$root" -S 1.2.3 -n -v user | sed 's/ *$//' | tr '\n' ' ')"
}
each_kmod trial
