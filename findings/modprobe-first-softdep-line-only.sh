#!/bin/bash
# Guess: softdep lines add up, as options lines do: a module with two MODULE_SOFTDEP has both, and a softdep line in modprobe.d
# adds to what the module brings.
# kmod 30 and 34.2: of all lines whose name fits, the first counts, and the rest is passed over without a word. depmod writes
# both lines of the module to modules.softdep, and modprobe reads one. A line before it with only a `post:` takes the
# module's `pre:` away. The name is a pattern, too: `softdep s* post: x` switches the softdeps of all such modules off; that of
# an options line is none. So: one MODULE_SOFTDEP with all names, and a line in modprobe.d repeats what modinfo shows.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE name
	local dir=$root/lib/modules/1.2.3
	for name in first second other; do module "$dir/kernel/$name.ko" "$name"; done
	module "$dir/kernel/snd.ko" snd '' '' '' 'softdep=pre: first\0softdep=pre: second'
	index "$dir"
	kmod depmod -C /dev/null -b "$root" 1.2.3
	same "$SUITE: modules.softdep" 'softdep snd pre: first softdep snd pre: second' "$(grep -v '^#' "$dir/modules.softdep" | paste -sd ' ')"

	# loads LINE…: what modprobe snd loads with these lines
	loads() {
		printf '%s\n' "$@" >"$T/a.conf"
		kmod modprobe -C "$T/a.conf" -d "$root" -S 1.2.3 -n -v snd | sed 's#.*/##; s/ *$//' | paste -sd ' '
	}
	same "$SUITE: two of the module" 'first.ko snd.ko' "$(loads '')"
	same "$SUITE: one more in modprobe.d" 'snd.ko other.ko' "$(loads 'softdep snd post: other')"
	same "$SUITE: two in modprobe.d" 'other.ko snd.ko' "$(loads 'softdep snd pre: other' 'softdep snd pre: second')"
	same "$SUITE: a pattern before the name" 'snd.ko other.ko' "$(loads 'softdep s* post: other' 'softdep snd pre: second')"
	same "$SUITE: options add up, and take no pattern" 'first.ko snd.ko a=1 b=2' "$(loads 'options snd a=1' 'options s* c=3' 'options snd b=2')"
}
each_kmod trial
