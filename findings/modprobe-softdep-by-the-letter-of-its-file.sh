#!/bin/bash
# Guess: the administrator's modprobe.d is above what a module brings: a softdep line there overrides the module's own
# MODULE_SOFTDEP, whatever its file is called; file names only order the files of modprobe.d among themselves.
# kmod 30 and 34.2: the kernel's modules.softdep is sorted in among those files, by name, and of two softdep lines the first one
# counts. nvidia.conf comes after "modules.softdep": its line does nothing, without a word. In local.conf or
# modules.conf the same line overrides the module's. modprobe -c prints both in either case, in the order that counts. So: a file
# for a softdep begins with a digit or a letter before m, and modprobe -c tells which line comes first.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE name
	local dir=$root/lib/modules/1.2.3
	for name in modules own; do module "$dir/kernel/$name.ko" "$name"; done
	module "$dir/kernel/x.ko" x '' '' '' 'softdep=pre: modules'
	index "$dir"
	kmod depmod -C /dev/null -b "$root" 1.2.3
	# loads FILE: what modprobe x loads with the line in this file of modprobe.d
	loads() {
		rm -rf "$T/modprobe.d"
		mkdir "$T/modprobe.d"
		echo 'softdep x pre: own' >"$T/modprobe.d/$1"
		kmod modprobe -C "$T/modprobe.d" -d "$root" -S 1.2.3 -n -v x | sed 's#.*/##; s/ *$//' | paste -sd ' '
	}
	for name in 50-x.conf local.conf modules.conf; do same "$SUITE: $name" 'own.ko x.ko' "$(loads "$name")"; done
	for name in modules.softdep.conf nvidia.conf x.conf zz-last.conf; do same "$SUITE: $name" 'modules.ko x.ko' "$(loads "$name")"; done
	same "$SUITE: modprobe -c" 'softdep x pre: modules softdep x pre: own' \
		"$(kmod modprobe -C "$T/modprobe.d" -d "$root" -S 1.2.3 -c | grep '^softdep' | paste -sd ' ')"
}
each_kmod trial
