#!/bin/bash
# Guess: with `depmod -b ROOT`, the directories of an `external` line are below ROOT, as lib/modules is; one that is not there is
# an error.
# kmod 30 and 34.2: the path is the host's. depmod reads the host's modules into ROOT's index, where modprobe -d ROOT takes
# them from the host as well; in ROOT itself, entered, the file is not there. The directory that ROOT does have is passed
# over with "could not open directory", and depmod ends with 0. So: an index for an image whose rules name external
# directories is made inside the image.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE host=$T/host code=0
	local dir=$root/lib/modules/1.2.3
	mkdir -p "$dir/kernel"
	module "$dir/kernel/x.ko" x
	module "$host/x.ko" x
	module "$root/only-there/x.ko" x
	index "$dir"
	printf '%s\n' 'search external built-in' "external * $host" >"$T/rules.conf"
	kmod depmod -C "$T/rules.conf" -b "$root" 1.2.3
	same "$SUITE: a directory of the host's" "$host/x.ko:" "$(cat "$dir/modules.dep")"
	same "$SUITE: modprobe -d" "insmod $host/x.ko" "$(kmod modprobe -C /dev/null -d "$root" -S 1.2.3 -n -v x | sed 's/ *$//')"

	printf '%s\n' 'search external built-in' 'external * /only-there' >"$T/rules.conf"
	kmod depmod -C "$T/rules.conf" -b "$root" 1.2.3 2>"$T/error" || code=$?
	same "$SUITE: a directory of the root's" '0 depmod: ERROR: could not open directory /only-there: No such file or directory' "$code $(cat "$T/error")"
	same "$SUITE: what is taken then" kernel/x.ko: "$(cat "$dir/modules.dep")"
}
each_kmod trial
