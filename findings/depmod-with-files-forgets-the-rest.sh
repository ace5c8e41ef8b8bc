#!/bin/bash
# Guess: `depmod KERNEL FILE` looks at FILE only, and brings the present index up to date with it.
# kmod 30 and 34.2: it does look at FILE only, and then writes a whole index with nothing else in it: modprobe finds no other
# module of the kernel any more, exit 0. So: there is no incremental depmod; with file names it is of use with -n only.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/disk.ko" disk
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: before" kernel/disk.ko: "$(cat "$dir/modules.dep")"
	module "$dir/updates/new.ko" new
	kmod depmod -b "$root" 1.2.3 "$dir/updates/new.ko"
	same "$SUITE: after depmod with a file" updates/new.ko: "$(cat "$dir/modules.dep")"
	same "$SUITE: modprobe disk" 1 "$(kmod modprobe -d "$root" -S 1.2.3 -n disk >/dev/null 2>&1 || echo $?)"
}
each_kmod trial
