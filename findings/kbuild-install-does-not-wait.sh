#!/bin/bash
# Guess: `make modules modules_install` builds first and installs what was built, also with -j; with the goals the other way
# round, make sorts them out.
# Linux 6.12.117 (Debian): for a module outside of the tree, modules_install depends on nothing. With -j the installation begins
# while the compiler runs. After a clean start it finds no modules.order, installs nothing, and make ends with 0; after a
# change of the source it installs the module of the last build. With `modules_install modules` the same happens without -j.
# So: two calls of make, and a look at what the second one has installed.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
# fresh NAME: a module that was never built
fresh() { module "$1" one 'static int __init start(void) { return 0; } module_init(start); MODULE_VERSION("first");'; }
# build WHAT DIRECTORY WORD…: exit code and the versions that are installed
build() {
	local what=$1 file
	shift
	rm -rf /tmp/installed
	kbuild "$@" INSTALL_MOD_PATH=/tmp/installed
	file=$(find /tmp/installed -name '*.ko*' 2>/dev/null || true)
	echo "$what: $code, $([ -z "$file" ] && echo nothing || modinfo -F version "$file")"
}
fresh a
build 'one job' a modules modules_install
fresh b
build 'four jobs' b -j4 modules modules_install
build 'four jobs again' b -j4 modules modules_install
sed -i s/first/second/ /tmp/b/one.c
build 'four jobs, another source' b -j4 modules modules_install
build 'and again' b -j4 modules modules_install
fresh c
build 'install named first' c modules_install modules
CODE
same 'one job' 'one job: 0, first' "$(line 1)"
same 'four jobs' 'four jobs: 0, nothing' "$(line 2)"
same 'four jobs, built before' 'four jobs again: 0, first' "$(line 3)"
same 'four jobs, changed since' 'four jobs, another source: 0, first' "$(line 4)"
same 'once more' 'and again: 0, second' "$(line 5)"
same 'install named first' 'install named first: 0, nothing' "$(line 6)"
