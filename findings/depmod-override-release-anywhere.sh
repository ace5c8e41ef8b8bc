#!/bin/bash
# Guess: the kernel's release in an override line of depmod.d is one release, or a pattern as the shell has it:
# `override x 6.1 kernel` is for the kernel 6.1 alone, and 6.1.* for its updates.
# kmod 30 and 34.2: it is a regular expression that may fit anywhere in the release. 6.1 is also 6.12.9, 5.6.1 and 2.6x10;
# 6.1.* is all of these; only the lone * is a pattern of the shell's. Of several lines that fit, the last counts, also where an
# earlier one names the release exactly. So: write ^6\.1\.0-9-amd64$, and the general line before the special one.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE release
	# winner RELEASE LINE…: the directory that depmod takes x from; without an override it is updates
	winner() {
		local dir=$root/lib/modules/$1
		mkdir -p "$dir/kernel" "$dir/updates"
		module "$dir/kernel/x.ko" x
		module "$dir/updates/x.ko" x
		index "$dir"
		printf '%s\n' 'search updates built-in' "${@:2}" >"$T/rules.conf"
		kmod depmod -C "$T/rules.conf" -b "$root" "$1"
		sed 's#/.*##' "$dir/modules.dep"
	}
	for release in 6.1 6.12.9 5.6.1 2.6.10 6.10-rc1; do
		same "$SUITE: $release, override x 6.1" kernel "$(winner "$release" 'override x 6.1 kernel')"
	done
	same "$SUITE: 6.2.1, override x 6.1" updates "$(winner 6.2.1 'override x 6.1 kernel')"
	same "$SUITE: 5.6.1, override x 6.1.*" kernel "$(winner 5.6.1 'override x 6.1.* kernel')"
	same "$SUITE: 6.12.9, anchored" updates "$(winner 6.12.9 'override x ^6\.1$ kernel')"
	same "$SUITE: 6.1, anchored" kernel "$(winner 6.1 'override x ^6\.1$ kernel')"
	same "$SUITE: the special line first" updates "$(winner 6.1 'override x ^6\.1$ kernel' 'override x * updates')"
	same "$SUITE: the special line last" kernel "$(winner 6.1 'override x * updates' 'override x ^6\.1$ kernel')"
}
each_kmod trial
