#!/bin/bash
# Guess: modules that modules.order does not list are read in the order of their names or paths, of the search line, or of the
# directory; their aliases and symbols stand in that order.
# kmod 30 and 34.2: it is the order of a hash of the name. Of drivers for one device, modprobe loads that first which comes first there:
# c, b, d, a for these four letters; vendor_net before other_net before my_net. The directory, the order of making and the search
# line do nothing; it is the same on every machine. So: no name puts one driver before another reliably; a driver that must
# come first needs a blacklist or softdep line for the rest.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	# order RULE MODULE…: of their aliases, when they are made in this order
	order() {
		local rule=$1 name
		shift
		rm -rf "$root"
		mkdir -p "$dir" "$root/etc/depmod.d"
		index "$dir"
		echo "search $rule" >"$root/etc/depmod.d/trial.conf"
		for name in "$@"; do module "$dir/$name.ko" "${name##*/}" '' '' '' alias=pci:v1; done
		kmod depmod -b "$root" -C "$root/etc/depmod.d" 1.2.3
		sed -n 's/^alias pci:v1 //p' "$dir/modules.alias" | paste -sd ' '
	}
	same "$SUITE: letters" 'c b d a' "$(order 'updates built-in' updates/a updates/b updates/c updates/d)"
	same "$SUITE: made backwards" 'c b d a' "$(order 'updates built-in' updates/d updates/c updates/b updates/a)"
	same "$SUITE: two directories" 'c b d a' "$(order 'updates extra built-in' updates/d extra/c updates/b extra/a)"
	same "$SUITE: the other way round" 'c b d a' "$(order 'built-in extra updates' updates/d extra/c updates/b extra/a)"
	same "$SUITE: words" 'vendor_net other_net my_net' "$(order 'updates built-in' updates/my_net updates/other_net updates/vendor_net)"
}
each_kmod trial
