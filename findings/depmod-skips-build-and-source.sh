#!/bin/bash
# Guess: depmod passes over the two links of a kernel, KERNEL/build and KERNEL/source, and reads every directory below the
# others.
# kmod 30 and 34.2: the two names are passed over at any depth, links or not. A module in extra/build/ or updates/source/ is
# not in modules.dep, with no message and exit 0; a directory whose name starts with a dot is read, and so is one that a
# link leads to. So: no directory that modules are installed into may be called build or source.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/extra/build/one.ko" one
	module "$dir/updates/vendor/source/two.ko" two
	module "$dir/extra/builds/three.ko" three
	module "$dir/extra/.hidden/four.ko" four
	module "$T/away-$SUITE/five.ko" five
	ln -s "$T/away-$SUITE" "$dir/extra/link"
	index "$dir"
	same "$SUITE: depmod says" '' "$(kmod depmod -b "$root" 1.2.3 2>&1)"
	same "$SUITE: modules.dep" 'extra/.hidden/four.ko: extra/builds/three.ko: extra/link/five.ko: ' \
		"$(LC_ALL=C sort "$dir/modules.dep" | tr '\n' ' ')"
}
each_kmod trial
