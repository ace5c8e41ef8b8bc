#!/bin/bash
# Guess: modpost refuses two modules that export the same symbol ("exported twice"), as it does for a symbol of vmlinux.
# Linux 6.12.117 (Debian): for modules outside of the tree it refuses only the kernel's built-in symbols. Two modules of one
# build, or one of them and a module of the kernel's (here mii), pass without a word. A user of the symbol is bound to the
# one that stands later in the Makefile: turn the lines round, and depends= changes. A list in KBUILD_EXTRA_SYMBOLS wins over
# the kernel's. So: a replacement that keeps the kernel's symbols builds, and the modules built upon it then ask for it by
# name, not for the module that it replaces.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
give() { echo "int $1($2 x); int $1($2 x) { return 0; } EXPORT_SYMBOL_GPL($1);"; }
take() { echo "int $1($2 x); static int __init start(void) { return $1(1); } module_init(start);"; }
module two first "$(give twice int)"
module two second "$(give twice int)"
module two user "$(take twice int)"
kbuild two modules
echo "two: $code, $(wc -l </told) lines, depends=$(modinfo -F depends /tmp/two/user.ko)"
printf 'obj-m += second.o\nobj-m += first.o\nobj-m += user.o\n' >/tmp/two/Makefile
kbuild two clean
kbuild two modules
echo "turned: $code, $(wc -l </told) lines, depends=$(modinfo -F depends /tmp/two/user.ko)"
module tree mii2 "$(give mii_link_ok long)"
kbuild tree modules
echo "tree: $code, $(wc -l </told) lines"
module user user "$(take mii_link_ok long)"
kbuild user modules
echo "plain: depends=$(modinfo -F depends /tmp/user/user.ko)"
kbuild user clean
kbuild user KBUILD_EXTRA_SYMBOLS=/tmp/tree/Module.symvers modules
echo "extra: depends=$(modinfo -F depends /tmp/user/user.ko)"
module core core "$(give vfree long)"
kbuild core modules
echo "built-in: $code, $(grep -c 'exported twice' /told)"
CODE
same 'two modules' 'two: 0, 0 lines, depends=second' "$(line 1)"
same 'in the other order' 'turned: 0, 0 lines, depends=first' "$(line 2)"
same 'a symbol of a module of the kernel' 'tree: 0, 0 lines' "$(line 3)"
same 'its user' 'plain: depends=mii' "$(line 4)"
same 'its user, with the other list' 'extra: depends=mii2' "$(line 5)"
same 'a symbol of vmlinux' 'built-in: 2, 1' "$(line 6)"
