#!/bin/bash
# Guess: `depmod -e` is a check: it fails when a module needs a symbol that nothing has. -F takes any System.map: a symbol in
# it is there. With -E Module.symvers, checksums are compared where the module has some.
# kmod 30 and 34.2: it ends with 0 whatever it reports. Of System.map only __ksymtab_NAME counts: a map that has the plain name alone
# makes the symbol unknown. With -E, a module that has no checksums at all "disagrees about version of symbol". With neither it
# warns that it needs one, checks nothing, and ends with 0. So: read what it prints; the exit code says nothing.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/x.ko" x '' '' "$(needs given)"
	index "$dir"
	echo '0000000000000000 T other' >"$T/other.map"
	echo '0000000000000000 T given' >"$T/plain.map"
	echo '0000000000000000 R __ksymtab_given' >"$T/table.map"
	printf '0x00000001\tother\tvmlinux\tEXPORT_SYMBOL\n' >"$T/other.symvers"
	printf '0x00000001\tgiven\tvmlinux\tEXPORT_SYMBOL\n' >"$T/given.symvers"
	# checked OPTION…: exit code and message
	checked() {
		local code=0
		kmod depmod -e "$@" -C /dev/null -b "$root" 1.2.3 2>"$T/error" || code=$?
		echo "$code $(sed 's#/.*/##' "$T/error")"
	}
	same "$SUITE: -F, not there" '0 depmod: WARNING: x.ko needs unknown symbol given' "$(checked -F "$T/other.map")"
	same "$SUITE: -F, there" '0 depmod: WARNING: x.ko needs unknown symbol given' "$(checked -F "$T/plain.map")"
	same "$SUITE: -F, exported" '0 ' "$(checked -F "$T/table.map")"
	same "$SUITE: -E, not there" '0 depmod: WARNING: x.ko needs unknown symbol given' "$(checked -E "$T/other.symvers")"
	same "$SUITE: -E, there" '0 depmod: WARNING: x.ko disagrees about version of symbol given' "$(checked -E "$T/given.symvers")"
	same "$SUITE: neither" '0 depmod: WARNING: -e needs -E or -F' "$(checked)"
}
each_kmod trial
