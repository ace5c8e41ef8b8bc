#!/bin/bash
# Guess: a search line of a later file replaces the one of the distribution's: depmod.d(5) says so of configuration, "partially
# replaced by a file that is ordered later". `search extra built-in` in /etc/depmod.d/zz.conf puts extra first.
# kmod 30 and 34.2: the lines are put behind one another, in the order of the file names, and of a name that comes twice the
# first place counts. After `search updates built-in` of another file, `search extra built-in` says: updates, built-in, extra;
# extra is now below the kernel's own modules, where a rule for it was meant to lift it. So: a file whose name sorts first, or
# one of the same name in /etc/depmod.d, which takes the distribution's place.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	mkdir -p "$T/rules"
	# winner DIRECTORIES A B: where depmod takes x from, of these directories, with the search lines A in a first file and B in a second
	winner() {
		local place
		rm -rf "$dir"
		for place in $1; do module "$dir/$place/x.ko" x; done
		index "$dir"
		echo "search $2" >"$T/rules/dist.conf"
		echo "search $3" >"$T/rules/zz.conf"
		kmod depmod -C "$T/rules" -b "$root" 1.2.3
		sed 's#/.*##' "$dir/modules.dep"
	}
	same "$SUITE: one line alone" extra "$(winner 'extra kernel' 'extra built-in' 'extra built-in')"
	same "$SUITE: the second puts extra before built-in" kernel "$(winner 'extra kernel' 'updates built-in' 'extra built-in')"
	same "$SUITE: the second leaves updates out" updates "$(winner 'extra updates kernel' 'updates built-in' 'extra built-in')"
	same "$SUITE: the same lines, in files of other names" extra "$(winner 'extra kernel' 'extra built-in' 'updates built-in')"
}
each_kmod trial
