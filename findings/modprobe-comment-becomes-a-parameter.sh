#!/bin/bash
# Guess: # begins a comment in modprobe.d and depmod.d, also behind a command on the same line, as in sysctl's or udev's files.
# kmod 30 and 34.2: only a line that begins with # is a comment. `options x a=1 # set by me` hands the words # set by me to the
# kernel as parameters; `softdep x pre: y # needs z` loads z; `search built-in # updates first` is a rule with updates and first
# in it. `blacklist x # why` does what it looks like, since a blacklist line ends at its name: that is why nobody notices. So:
# comments get lines of their own, and a program that writes such lines must not put a mark at their end.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE name winner
	local dir=$root/lib/modules/1.2.3
	for name in y z; do module "$dir/kernel/$name.ko" "$name"; done
	module "$dir/kernel/x.ko" x '' '' '' 'alias=pci:1'
	module "$dir/updates/x.ko" x '' '' '' 'alias=pci:1'
	index "$dir"
	for name in 'updates built-in' 'built-in updates'; do
		echo "search extra # $name" >"$T/depmod.conf"
		kmod depmod -C "$T/depmod.conf" -b "$root" 1.2.3
		winner=updates
		[ "$name" = 'updates built-in' ] || winner=kernel
		same "$SUITE: search extra # $name" "$winner/x.ko:" "$(grep '/x.ko' "$dir/modules.dep")"
	done
	echo 'search built-in' >"$T/depmod.conf"
	kmod depmod -C "$T/depmod.conf" -b "$root" 1.2.3

	# loads LINE NAME: what modprobe does
	loads() {
		echo "$1" >"$T/modprobe.conf"
		kmod modprobe -C "$T/modprobe.conf" -d "$root" -S 1.2.3 -n -v "$2" | sed 's#.*/##; s/ *$//' | paste -sd ' '
	}
	same "$SUITE: options" 'x.ko a=1 # set by me' "$(loads 'options x a=1 # set by me' x)"
	same "$SUITE: softdep" 'y.ko z.ko x.ko' "$(loads 'softdep x pre: y # needs z' x)"
	same "$SUITE: install" "true # x.ko" "$(loads "install x /bin/true # x.ko" x)"
	same "$SUITE: blacklist" '' "$(loads 'blacklist x # why' pci:1)"
}
each_kmod trial
