#!/bin/bash
# Guess: what a module exports is the list of names in its __ksymtab_strings; checksums (__crc_NAME) are something else, and a module of
# a kernel without MODVERSIONS has none.
# kmod 30 and 34.2: when a module has any symbol whose name begins with __crc_, those symbols are its exports, and the list of names
# is not read. A static function __crc_update in a driver is enough: depmod then knows one export, `update`, and none of the real ones;
# the modules that use these get no dependency, and modprobe loads them without it. No message, exit 0. So: no name
# of one's own begins with __crc_; where dependencies are missing, look at modules.symbols first.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	index_of() {
		kmod depmod -b "$root" 1.2.3 2>"$T/told" || echo failed
		echo "$(sed -n 's/^alias symbol://p' "$dir/modules.symbols" | sort | paste -sd ',') | $(grep user.ko: "$dir/modules.dep") | $(wc -l <"$T/told")"
	}
	mkdir -p "$dir"
	index "$dir"
	module "$dir/kernel/user.ko" user '' '' "$(needs thing)"
	module "$dir/kernel/giver.ko" giver '' '' "$(exports thing)"
	same "$SUITE: names alone" 'thing giver | kernel/user.ko: kernel/giver.ko | 0' "$(index_of)"
	module "$dir/kernel/giver.ko" giver '' '' "$(exports thing) static __attribute__((used)) int __crc_update(int sum) { return sum; }"
	same "$SUITE: and a static function __crc_update" 'update giver | kernel/user.ko: | 0' "$(index_of)"
	module "$dir/kernel/giver.ko" giver '' '' 'static __attribute__((used)) int __crc_thing;'
	same "$SUITE: a static variable __crc_thing alone" 'thing giver | kernel/user.ko: kernel/giver.ko | 0' "$(index_of)"
}
each_kmod trial
