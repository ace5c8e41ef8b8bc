#!/bin/bash
# Guess: only snd.ko (and its compressed forms) is the module snd; a copy kept beside it as snd.old.ko is another module.
# kmod 30 and 34.2: depmod takes the name up to the first dot. snd.old.ko is the module snd, too, and replaces snd.ko in
# modules.dep when it is read later (readdir order); modprobe then loads the copy. Not the module's own name in .modinfo,
# not the suffix, decides. So: a backup of a module must not end in .ko, and a dot in a module's file name hides another.
[ "${1-}" = inside ] || exec unshare --mount --map-root-user "$0" inside
. "$(dirname "$0")/lib.sh"
mkdir -p "$T/fast"
mount -t tmpfs tmpfs "$T/fast"
trap 'umount "$T/fast"; rm -rf "$T"' EXIT

trial() {
	local root=$T/fast/$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/snd.ko" snd
	module "$dir/kernel/snd.old.ko" snd_old
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: the only line of modules.dep" kernel/snd.old.ko: "$(cat "$dir/modules.dep")"
	same "$SUITE: modprobe snd" "insmod $dir/kernel/snd.old.ko" "$(kmod modprobe -d "$root" -S 1.2.3 --show-depends snd | sed 's/ *$//')"
	same "$SUITE: modprobe snd_old" 1 "$(kmod modprobe -d "$root" -S 1.2.3 --show-depends snd_old >/dev/null 2>&1 || echo $?)"
	mv "$dir/kernel/snd.old.ko" "$dir/kernel/snd.ko.old"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: with the copy as snd.ko.old" kernel/snd.ko: "$(cat "$dir/modules.dep")"
}
each_kmod trial
