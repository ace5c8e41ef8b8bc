#!/bin/bash
# Guess: in a directory with several modules, `make one.ko` makes that one and leaves the rest of the build as it is; and
# `make -k` makes those that can be made when another fails.
# Linux 6.12.117 (Debian): `make one.ko` takes modules.order away and leaves Module.symvers empty: `make modules_install`
# installs nothing afterwards, and ends with 0. A module that uses a symbol of its neighbour can't be made so, even when all
# was built before. And one module that does not compile, or has an undefined symbol, leaves no .ko of any, -k or not. So:
# build the directory as a whole; one module that fails costs all.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
installed() {
	rm -rf /tmp/installed
	kbuild "$1" INSTALL_MOD_PATH=/tmp/installed modules_install
	echo "$code, $(find /tmp/installed -name '*.ko*' 2>/dev/null | wc -l) installed"
}
module all one
module all giver 'int given(void); int given(void) { return 0; } EXPORT_SYMBOL_GPL(given);'
module all taker 'int given(void); static int __init start(void) { return given(); } module_init(start);'
kbuild all modules
echo "all: $code, symbols $(wc -l </tmp/all/Module.symvers), install $(installed all)"
kbuild all one.ko
echo "one: $code, symbols $(wc -l </tmp/all/Module.symvers), install $(installed all)"
kbuild all modules
kbuild all taker.ko
echo "taker: $code, $(grep -c 'undefined!' /told) undefined"
module broken good
module broken bad 'no C'
kbuild broken -k modules
echo "-k, no C: $code, $(find /tmp/broken -name '*.ko' | wc -l) made"
module lacking good
module lacking bad 'int nowhere(void); static int __init start(void) { return nowhere(); } module_init(start);'
kbuild lacking -k modules
echo "-k, undefined: $code, $(find /tmp/lacking -name '*.ko' | wc -l) made"
CODE
same 'all' 'all: 0, symbols 1, install 0, 3 installed' "$(line 1)"
same 'one of them again' 'one: 0, symbols 0, install 0, 0 installed' "$(line 2)"
same 'one that uses another' 'taker: 2, 1 undefined' "$(line 3)"
same 'one does not compile' '-k, no C: 2, 0 made' "$(line 4)"
same 'one lacks a symbol' '-k, undefined: 2, 0 made' "$(line 5)"
