#!/bin/bash
# Guess: a directory in which modules were built can be copied, and modules_install works in the copy: all that it needs is there.
# Linux 6.12.117 (Debian): modules.order holds the absolute names of the first directory. While that exists, modules_install in the
# copy installs nothing, neither the copy's module nor the other's, and ends with 0; when it is gone, make ends with 2. A `make
# modules` in the copy mends it, and compiles everything again: the directory is in every compiler line. So: build where the
# installation will run, or take the .ko itself and leave modules_install out.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
install() {
	rm -rf /tmp/installed
	kbuild "$1" INSTALL_MOD_PATH=/tmp/installed modules_install
	echo "$2: $code, $(find /tmp/installed -name '*.ko*' 2>/dev/null | wc -l) installed"
}
module one x
kbuild one modules
cp -a /tmp/one /tmp/copy
echo "order: $(cat /tmp/copy/modules.order)"
install one 'where it was built'
install copy 'a copy'
mv /tmp/one /tmp/away
install copy 'a copy, the first is gone'
install away 'moved'
touch -d '1 hour ago' /tmp/copy/x.o
kbuild copy modules
echo "built again: $code, $([ -n "$(find /tmp/copy/x.o -mmin -30)" ] && echo compiled)"
install copy 'after that'
CODE
same 'modules.order' 'order: /tmp/one/x.o' "$(line 1)"
same 'where it was built' 'where it was built: 0, 1 installed' "$(line 2)"
same 'in a copy' 'a copy: 0, 0 installed' "$(line 3)"
same 'in a copy, without the first directory' 'a copy, the first is gone: 2, 0 installed' "$(line 4)"
same 'in the directory, moved' 'moved: 2, 0 installed' "$(line 5)"
same 'make modules in the copy' 'built again: 0, compiled' "$(line 6)"
same 'afterwards' 'after that: 0, 1 installed' "$(line 7)"
