#!/bin/bash
# Guess: depmod -A (--quick, "only if any modules are newer than modules.dep") finds every change since the last run.
# kmod 30 and 34.2: it compares modification times of the modules that are there. A removed module, and a module that
# arrives with its old time (cp -p, tar, dpkg and rpm unpack so), change nothing: the line of a file that is gone stays,
# and the new module is not found. Exit 0. So: after packages came or went, -A is no substitute for -a.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/goes.ko" goes
	module "$T/comes.ko" comes
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	touch -d '2001-01-01' "$T/comes.ko"
	cp -p "$T/comes.ko" "$dir/kernel/"
	rm "$dir/kernel/goes.ko"
	kmod depmod -A -b "$root" 1.2.3
	same "$SUITE: after -A" kernel/goes.ko: "$(cat "$dir/modules.dep")"
	kmod depmod -a -b "$root" 1.2.3
	same "$SUITE: after -a" kernel/comes.ko: "$(cat "$dir/modules.dep")"
}
each_kmod trial
