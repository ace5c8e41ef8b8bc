#!/bin/bash
# Guess: `modprobe ./x.ko` loads this file with what this file needs, as depends= says, or just the file as
# insmod would.
# kmod 34.2: the file is the one given, its dependencies are those that the index has for a module of that name. A fresh build
# that needs more than the installed one, or less, is loaded with the wrong ones; one that is not installed is loaded without
# any. Options and -b of the name hold. kmod 30 takes no
# path (not found, 1), and no kmod takes x.ko without a slash. So: to try a build, load its depends= by name first, then insmod.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE built=$T/built-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/old.ko" old '' '' "int of_old; $(exports of_old)"
	module "$dir/kernel/new.ko" new '' '' "int of_new; $(exports of_new)"
	module "$dir/kernel/x.ko" x old '' "$(needs of_old)"
	index "$dir"
	kmod depmod -C /dev/null -b "$root" 1.2.3
	module "$built/x.ko" x new '' "$(needs of_new)"
	module "$built/y.ko" y new '' "$(needs of_new)"
	# loads LINE WORD…: exit code and what modprobe does in the build's directory
	loads() {
		local code=0
		echo "$1" >"$T/rules.conf"
		(cd "$built" && kmod modprobe -C "$T/rules.conf" -d "$root" -S 1.2.3 -n -v "${@:2}") >"$T/told" 2>"$T/error" || code=$?
		echo "$code $(sed "s#$dir/##; s/^insmod //; s/ *\$//" "$T/told" | paste -sd ' ')"
	}
	if [ "$SUITE" = bookworm ]; then
		same "$SUITE: ./x.ko" '1 ' "$(loads '' ./x.ko)"
		return
	fi
	same "$SUITE: depends= of the file" new "$(kmod modinfo -F depends "$built/x.ko")"
	same "$SUITE: ./x.ko" "0 kernel/old.ko $built/./x.ko" "$(loads '' ./x.ko)"
	same "$SUITE: ./y.ko, not in the index" "0 $built/./y.ko" "$(loads '' ./y.ko)"
	same "$SUITE: options of the name" "0 $built/./y.ko a=1" "$(loads 'options y a=1' ./y.ko)"
	same "$SUITE: -b of a blacklisted name" '0 ' "$(loads 'blacklist y' -b ./y.ko)"
	same "$SUITE: y.ko" '1 ' "$(loads '' y.ko)"
}
each_kmod trial
