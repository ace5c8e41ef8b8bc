#!/bin/bash
# Guess: `make M=… CONFIG_X=m` builds a driver as if the kernel's configuration said so, in its Makefile and in its C code; and an
# obj-$(CONFIG_X) that is y in the kernel's configuration, or given as y, is built as a module, since there is no kernel to build
# it into.
# Linux 6.12.117 (Debian): obj-y outside of the tree is nothing: no module, no object, exit 0, no word; so a Makefile that
# was taken from the kernel's tree builds nothing where the kernel has the driver built in. CONFIG_X= given to make decides
# what the Makefile does, and nothing else: in the C code IS_ENABLED(CONFIG_X) stays what the kernel's configuration says,
# in both directions. So: give a -D with it, and count the modules that come out.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
config=$(echo /usr/src/linux-headers-*-amd64/.config)
echo "configuration: $(grep -c -x 'CONFIG_EXT4_DEBUG=y\|CONFIG_DUMMY=m\|CONFIG_SERIAL_8250=y' "$config"), $(grep -c 'CONFIG_EXT4_DEBUG is not set' "$config")"
mkdir /tmp/x
cat >/tmp/x/Makefile <<'MAKE'
obj-m += always.o
obj-$(CONFIG_SERIAL_8250) += serial.o
obj-$(CONFIG_DUMMY) += dummy.o
obj-$(CONFIG_EXT4_DEBUG) += debug.o
MAKE
for name in serial dummy debug always; do printf '%s\n' '#include <linux/module.h>' 'MODULE_LICENSE("GPL"); MODULE_DESCRIPTION("trial");' >/tmp/x/$name.c; done
cat >>/tmp/x/always.c <<'C'
#if IS_BUILTIN(CONFIG_SERIAL_8250)
MODULE_INFO(serial, "y");
#elif IS_MODULE(CONFIG_SERIAL_8250)
MODULE_INFO(serial, "m");
#else
MODULE_INFO(serial, "n");
#endif
#if IS_ENABLED(CONFIG_EXT4_DEBUG)
MODULE_INFO(debug, "on");
#else
MODULE_INFO(debug, "off");
#endif
C
# build WHAT WORD…
build() {
	local what=$1
	shift
	rm -f /tmp/x/*.o /tmp/x/*.ko /tmp/x/.*.cmd
	kbuild x "$@" modules
	echo "$what: $code, $(cd /tmp/x && echo *.ko), in C: serial $(modinfo -F serial /tmp/x/always.ko), debug $(modinfo -F debug /tmp/x/always.ko)"
}
build 'as configured'
build 'given' CONFIG_SERIAL_8250=m CONFIG_DUMMY=y CONFIG_EXT4_DEBUG=m
build 'given to both' CONFIG_SERIAL_8250=m CONFIG_EXT4_DEBUG=m KCFLAGS='-DCONFIG_EXT4_DEBUG_MODULE'
CODE
same 'the kernel' 'configuration: 2, 1' "$(line 1)"
same 'its configuration' 'as configured: 0, always.ko dummy.ko, in C: serial y, debug off' "$(line 2)"
same 'given to make' 'given: 0, always.ko debug.ko serial.ko, in C: serial y, debug off' "$(line 3)"
same 'given to make and the compiler' 'given to both: 0, always.ko debug.ko dummy.ko serial.ko, in C: serial y, debug on' "$(line 4)"
