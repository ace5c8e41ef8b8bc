#!/bin/bash
# Guess: a blacklisted module is loaded by name only. modprobe -b, which udev's loading equals, leaves it out wherever it turns up;
# modprobe.d(5) says of softdep: "flags such as --use-blacklist are applied to all the specified modules".
# kmod 30 and 34.2: with -b the blacklist is asked for the module that was asked for, and not for what comes with it. A softdep (pre
# or post) and a dependency that are blacklisted are loaded. modprobe -R, the dry run of an alias, names a blacklisted module,
# with 0; and modprobe -b of one that is left out ends with 0 as well, with no word. So: `install NAME /bin/false`, or
# a softdep line of one's own, keeps a module away; neither exit code says what was loaded.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/base.ko" base '' '' "int given; $(exports given)"
	module "$dir/kernel/before.ko" before
	module "$dir/kernel/after.ko" after
	module "$dir/kernel/x.ko" x base '' "$(needs given)" 'alias=pci:1\0softdep=pre: before post: after'
	index "$dir"
	kmod depmod -C /dev/null -b "$root" 1.2.3
	# loads BLACKLISTED OPTION… NAME: exit code and what modprobe says
	loads() {
		local code=0
		tr ' ' '\n' <<<"$1" | sed 's/^/blacklist /' >"$T/rules.conf"
		kmod modprobe -C "$T/rules.conf" -d "$root" -S 1.2.3 "${@:2}" >"$T/told" 2>&1 || code=$?
		echo "$code $(sed 's#.*/##; s/ *$//' "$T/told" | paste -sd ' ')"
	}
	same "$SUITE: the module asked for" '0 ' "$(loads x -b -n -v pci:1)"
	same "$SUITE: by its name" '0 ' "$(loads x -b -n -v x)"
	same "$SUITE: what comes with it" '0 base.ko before.ko x.ko after.ko' "$(loads 'base before after' -b -n -v pci:1)"
	same "$SUITE: each of these alone" '0 ' "$(loads 'base before after' -b -n -v after)"
	same "$SUITE: -R" '0 x' "$(loads x -R pci:1)"
}
each_kmod trial
