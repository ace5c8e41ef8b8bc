#!/bin/bash
# Guess: an override line of depmod.d names a module; foo_bar and foo-bar are one module there, as in modprobe.d and for
# modprobe itself.
# kmod 30 and 34.2: the line is compared with the file's path as it is spelled. `override foo_bar * kernel` does nothing
# for kernel/foo-bar.ko and is passed over without a word; `override foo-bar * kernel` does nothing for
# kernel/foo_bar.ko. kbuild keeps the source's spelling, so both occur. So: spell the override as the file, or give both.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE file name winner
	local dir=$root/lib/modules/1.2.3
	mkdir -p "$T/rules"
	for file in foo-bar foo_bar; do
		rm -rf "$dir"
		module "$dir/kernel/$file.ko" foo_bar
		module "$dir/updates/$file.ko" foo_bar
		index "$dir"
		for name in foo-bar foo_bar; do
			# Without the override, the search line decides for updates.
			printf 'search updates built-in\noverride %s * kernel\n' "$name" >"$T/rules/x.conf"
			kmod depmod -C "$T/rules" -b "$root" 1.2.3
			winner=updates
			[ "$name" != "$file" ] || winner=kernel
			same "$SUITE: $file.ko, override $name * kernel" "$winner/$file.ko:" "$(cat "$dir/modules.dep")"
		done
	done
	# modprobe takes either spelling.
	same "$SUITE: modprobe foo-bar" "insmod $dir/kernel/foo_bar.ko" "$(kmod modprobe -d "$root" -S 1.2.3 -n -v foo-bar | sed 's/ *$//')"
}
each_kmod trial
