#!/bin/bash
# Guess: depmod takes a module's dependencies from the field that modpost wrote for it: depends= in .modinfo, which modinfo
# shows.
# kmod 30 and 34.2: that field is never looked at. modules.dep comes from symbols alone: an undefined symbol of one module that
# another one exports. A module with depends=b and no symbol of b gets an empty line; one with depends= left empty, and a
# symbol of b, depends on b. So: modinfo -F depends says what was there at the build, not what modprobe will load; and a
# dependency without a symbol has to be a softdep.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/b.ko" b '' '' "$(exports from_b)"
	module "$dir/kernel/says.ko" says b
	module "$dir/kernel/uses.ko" uses '' '' "$(needs from_b)"
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: modinfo -F depends says" b "$(kmod modinfo -F depends "$dir/kernel/says.ko")"
	same "$SUITE: its line in modules.dep" kernel/says.ko: "$(grep ^kernel/says "$dir/modules.dep")"
	same "$SUITE: modinfo -F depends uses" '' "$(kmod modinfo -F depends "$dir/kernel/uses.ko")"
	same "$SUITE: its line in modules.dep" 'kernel/uses.ko: kernel/b.ko' "$(grep ^kernel/uses "$dir/modules.dep")"
}
each_kmod trial
