#!/bin/bash
# Guess: modules.dep is what modprobe goes by; the .bin files beside it only make it faster, and may be left out.
# kmod 30 and 34.2: modprobe and modinfo NAME read modules.dep.bin alone. A change of modules.dep has no effect, and without
# the .bin file no module is found, although modules.dep names it. So: an image must keep the .bin files, and whoever
# checks an index by its text believes that depmod wrote both.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/pair.ko" pair
	module "$dir/updates/pair.ko" pair
	index "$dir"
	mkdir -p "$T/rules"
	echo 'search updates built-in' >"$T/rules/x.conf"
	kmod depmod -C "$T/rules" -b "$root" 1.2.3
	sed -i 's#^updates/#kernel/#' "$dir/modules.dep"
	same "$SUITE: modprobe, with another path in modules.dep" "insmod $dir/updates/pair.ko" \
		"$(kmod modprobe -d "$root" -S 1.2.3 -n -v pair | sed 's/ *$//')"
	same "$SUITE: modinfo" "$dir/updates/pair.ko" "$(kmod modinfo -b "$root" -k 1.2.3 -F filename pair)"
	rm "$dir/modules.dep.bin"
	same "$SUITE: modprobe, without modules.dep.bin" 1 "$(kmod modprobe -d "$root" -S 1.2.3 -n -v pair 2>/dev/null || echo $?)"
}
each_kmod trial
