#!/bin/bash
# Guess: `make modules_install` fails when there is nothing to install, or when the kernel's configuration wants every module
# signed (MODULE_SIG_ALL) and the key is not there.
# Linux 6.12.117 (Debian, MODULE_SIG_ALL=y, no key in the headers package): sign-file's error is printed, the module is
# installed and compressed without a signature, and make ends with 0. Before anything was built, and for a Makefile whose
# obj-m is empty (obj-$(CONFIG_X) with X unset; `make modules` ends with 0, too), it installs nothing and ends with 0. So:
# count the installed files and look at their signatures; the exit code says neither.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
# install DIRECTORY: exit code, errors of sign-file, files, and signatures
install() {
	rm -rf /tmp/installed
	mkdir /tmp/installed
	kbuild "$1" INSTALL_MOD_PATH=/tmp/installed modules_install
	find /tmp/installed -name '*.ko.xz' -exec xz -d {} +
	echo "install $code, $(grep -c ^sign-file: /told) errors, $(find /tmp/installed -name '*.ko' | wc -l) files," \
		"$(grep -rl 'Module signature appended' /tmp/installed | wc -l) signed"
}
grep ^CONFIG_MODULE_SIG_ALL /usr/src/linux-headers-*-amd64/.config
module some some
echo "not built: $(install some)"
kbuild some modules
echo "built: $code, $(install some)"
module none none
echo 'obj-$(CONFIG_NOT_SET) := none.o' >/tmp/none/Makefile
kbuild none modules
echo "none: $code, $(install none)"
CODE
same 'the configuration' 'CONFIG_MODULE_SIG_ALL=y' "$(line 1)"
same 'before the build' 'not built: install 0, 0 errors, 0 files, 0 signed' "$(line 2)"
same 'a module' 'built: 0, install 0, 1 errors, 1 files, 0 signed' "$(line 3)"
same 'an empty obj-m' 'none: 0, install 0, 0 errors, 0 files, 0 signed' "$(line 4)"
