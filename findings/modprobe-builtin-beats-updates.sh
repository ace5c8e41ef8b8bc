#!/bin/bash
# Guess: a module below updates/ that has the name of a built-in one is loaded in its place, as it is in place of a
# module file; modules.dep lists it, and modinfo NAME and modprobe --show-depends NAME show its file.
# kmod 30 and 34.2: modprobe NAME does nothing and ends with 0 (the name is in modules.builtin), while the same kmod's
# --show-depends prints an insmod line for the file, and modinfo describes the file. Only `modprobe -n -v` tells the
# truth, by printing nothing. So: compare with modules.builtin before a module counts as loadable.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/updates/own.ko" own
	index "$dir"
	echo kernel/drivers/own.ko >"$dir/modules.builtin"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: modules.dep" updates/own.ko: "$(cat "$dir/modules.dep")"
	same "$SUITE: modprobe -n -v own" '' "$(kmod modprobe -d "$root" -S 1.2.3 -n -v own)"
	same "$SUITE: modprobe --show-depends own" "insmod $dir/updates/own.ko" \
		"$(kmod modprobe -d "$root" -S 1.2.3 --show-depends own | sed 's/ *$//')"
	same "$SUITE: modinfo own" "$dir/updates/own.ko" "$(kmod modinfo -b "$root" -k 1.2.3 -F filename own 2>/dev/null | head -n 1)"
}
each_kmod trial
