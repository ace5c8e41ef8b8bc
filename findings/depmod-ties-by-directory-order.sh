#!/bin/bash
# Guess: of two modules of one name, depmod takes the one in the directory that a rule puts first.
# kmod 30 and 34.2: where no rule tells them apart (updates/x.ko and updates/dkms/x.ko; without depmod.d, extra/ and
# kernel/), depmod takes the file that it reads last. That is the order of readdir(3): on tmpfs the order in which
# the directories were made, on ext4 a hash with a seed of the file system. Two equal machines can load different modules.
# So: ask modules.dep which file is used. It can't be derived from the paths.
# A mount namespace, for a tmpfs of our own: there the order is known.
[ "${1-}" = inside ] || exec unshare --mount --map-root-user "$0" inside
. "$(dirname "$0")/lib.sh"
mkdir -p "$T/fast" "$T/no-rules"
mount -t tmpfs tmpfs "$T/fast"
trap 'umount "$T/fast"; rm -rf "$T"' EXIT

# The first file made, then the second; gives the path that modules.dep names.
winner() {
	local root=$T/fast/$RANDOM
	local dir=$root/lib/modules/1.2.3
	for file in "$@"; do module "$dir/$file" twin; done
	index "$dir"
	kmod depmod -C "$T/no-rules" -b "$root" 1.2.3
	cut -d: -f1 "$dir/modules.dep"
	rm -rf "$root"
}

trial() {
	same "$SUITE: updates first, then updates/dkms" updates/twin.ko "$(winner updates/twin.ko updates/dkms/twin.ko)"
	same "$SUITE: updates/dkms first, then updates" updates/dkms/twin.ko "$(winner updates/dkms/twin.ko updates/twin.ko)"
	same "$SUITE: kernel first, then extra" extra/twin.ko "$(winner kernel/twin.ko extra/twin.ko)"
	same "$SUITE: extra first, then kernel" kernel/twin.ko "$(winner extra/twin.ko kernel/twin.ko)"
}

each_kmod trial
