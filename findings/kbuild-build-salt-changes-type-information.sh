#!/bin/bash
# Guess: CONFIG_BUILD_SALT, the text that makes builds differ in their build ID, ends in a note beside that ID; what a module's type
# information (BTF) says does not depend on it.
# Linux 6.12.117 (Debian), pahole 1.30: the note is a C structure with the text as an array of chars. Its type is in the module's
# debug information, and in the kernel's. A salt of the kernel's own length adds nothing, whatever the text; with a longer or
# shorter one the module gets types of its own. Two kernels whose configurations differ in this text alone make modules with different
# BTF; Debian puts the kernel's release into it. So: for comparing modules of two kernels the salt's length counts, as a type would.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
own=$(sed -n 's/^CONFIG_BUILD_SALT="\(.*\)"/\1/p' /usr/src/linux-headers-*-amd64/.config)
header=$(echo /usr/src/linux-headers-*-amd64/include/generated/autoconf.h)
# build NAME SALT
build() {
	sed -i "s/CONFIG_BUILD_SALT \".*\"/CONFIG_BUILD_SALT \"$2\"/" "$header"
	rm -rf /tmp/build
	module build one 'static int __init start(void) { pr_info("started\n"); return 0; } module_init(start);'
	kbuild build modules
	objcopy -O binary --only-section=.BTF --set-section-flags .BTF=alloc /tmp/build/one.ko "/tmp/$1"
	echo "$1: $code, $(readelf -p .note.Linux /tmp/build/one.ko | grep -cF "  $2"), $(cmp -s "/tmp/$1" /tmp/own && echo same || echo differs)"
}
build own "$own"
build text "$(sed 's/./x/g' <<<"$own")"
build longer "${own}x"
build shorter "${own%?}"
CODE
same "the kernel's salt: exit code, found in the note, BTF" 'own: 0, 1, same' "$(line 1)"
same 'another text' 'text: 0, 1, same' "$(line 2)"
same 'a longer one' 'longer: 0, 1, differs' "$(line 3)"
same 'a shorter one' 'shorter: 0, 1, differs' "$(line 4)"
