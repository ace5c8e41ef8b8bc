#!/bin/bash
# Guess: foo-bar and foo_bar are one module everywhere: kbuild, which refuses two modules of one name, refuses these two, and
# depends= of another module gives the name that name= gives.
# Linux 6.12.117 (Debian) with kmod 34.2: kbuild makes and installs both, exit 0; it refuses x/foo-bar and y/foo-bar. For depmod
# they are one, and the other is in no index. depends= has the file's spelling, name= has underscores. So: turn dashes into
# underscores on both sides before names are compared, and look for such pairs before a build is installed.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
module pair foo-bar 'int given(void); int given(void) { return 0; } EXPORT_SYMBOL_GPL(given);'
module pair foo_bar
module pair user 'int given(void); static int __init start(void) { return given(); } module_init(start);'
kbuild pair modules
echo "pair: $code, $(find /tmp/pair -name 'foo*.ko' | wc -l) made"
kbuild pair INSTALL_MOD_PATH=/tmp/root modules_install
dir=$(echo /tmp/root/lib/modules/*)
touch "$dir/modules.order" "$dir/modules.builtin" "$dir/modules.builtin.modinfo"
depmod -b /tmp/root "${dir##*/}"
echo "installed: $code, $(find "$dir" -name 'foo*.ko*' | wc -l) files, $(grep -c ^updates/foo "$dir/modules.dep") in modules.dep"
echo "names: depends=$(modinfo -F depends /tmp/pair/user.ko) name=$(modinfo -F name /tmp/pair/foo-bar.ko)"
module twins/x foo-bar
module twins/y foo-bar
echo 'obj-m := x/ y/' >/tmp/twins/Makefile
kbuild twins modules
echo "twins: $code, $(grep -c 'name conflict' /told)"
CODE
same 'two spellings' 'pair: 0, 2 made' "$(line 1)"
same 'installed' 'installed: 0, 2 files, 1 in modules.dep' "$(line 2)"
same 'what .modinfo says' 'names: depends=foo-bar name=foo_bar' "$(line 3)"
same 'one spelling, two directories' 'twins: 2, 1' "$(line 4)"
