#!/bin/bash
# Guess: `modprobe -n NAME` fails where `modprobe NAME` would, at least if the module's file is not there or is empty.
# kmod 30 and 34.2: it looks the name up in the index, prints the insmod line and ends with 0; the file is not opened. It does
# fail for a name that no index has. So: -n tells which file would be taken, not that there is a module in it.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/gone.ko" gone
	module "$dir/kernel/emptied.ko" emptied
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	rm "$dir/kernel/gone.ko"
	: >"$dir/kernel/emptied.ko"
	for name in gone emptied; do
		same "$SUITE: modprobe -n -v $name" "insmod $dir/kernel/$name.ko" \
			"$(kmod modprobe -d "$root" -S 1.2.3 -n -v "$name" | sed 's/ *$//')"
	done
	same "$SUITE: modprobe -n nothing" 1 "$(kmod modprobe -d "$root" -S 1.2.3 -n nothing 2>/dev/null || echo $?)"
}
each_kmod trial
