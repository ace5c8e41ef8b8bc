#!/bin/bash
# Guess: a file that depmod reports as an error ("failed to load symbols") is not in the index that it writes, or depmod
# fails.
# kmod 30 and 34.2: an empty file, a text file and half a module are reported, and listed in modules.dep like any module, with no
# dependencies; exit 0. Such a file below updates/ hides the good module in kernel/ as well: modprobe would take the broken one.
# So: neither depmod's exit code nor a line of modules.dep says that a module is whole; each file has to be looked at.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE name code=0
	local dir=$root/lib/modules/1.2.3
	mkdir -p "$T/rules"
	echo 'search updates built-in' >"$T/rules/x.conf"
	for name in empty text half; do module "$dir/kernel/$name.ko" "$name"; done
	mkdir -p "$dir/updates"
	: >"$dir/updates/empty.ko"
	echo 'no module' >"$dir/updates/text.ko"
	head -c 600 "$dir/kernel/half.ko" >"$dir/updates/half.ko"
	index "$dir"
	kmod depmod -C "$T/rules" -b "$root" 1.2.3 2>"$T/said" || code=$?
	same "$SUITE: depmod ends with" 0 "$code"
	same "$SUITE: files that it complains of" 3 "$(grep -c 'failed to load symbols' "$T/said")"
	same "$SUITE: modules.dep" 'updates/empty.ko: updates/half.ko: updates/text.ko: ' "$(sort "$dir/modules.dep" | tr '\n' ' ')"
}
each_kmod trial
