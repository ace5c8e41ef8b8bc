#!/bin/bash
# Guess: the build directory is in a module's debug information only. Two builds of the same source in two directories are equal
# byte for byte after `strip -g` (or INSTALL_MOD_STRIP=1), when the code does not use __FILE__.
# Linux 6.12.117 (Debian), binutils 2.44: they differ in 20 bytes: .note.gnu.build-id. The linker makes the build ID out of the whole
# module, debug information included, and strip leaves the note as it is. What the kernel runs, and the BTF, are equal. So: one
# build directory for all (or -fdebug-prefix-map in KCFLAGS) makes modules comparable; or compare them without that note.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
# build DIRECTORY WORD…: builds there; the stripped module is NAME.ko beside it
build() {
	module "$1" one 'static int __init start(void) { pr_info("started\n"); return 0; } module_init(start);'
	kbuild "$@" modules
	strip -g -o "/tmp/$1.ko" "/tmp/$1/one.ko"
	objcopy -R .note.gnu.build-id "/tmp/$1.ko" "/tmp/$1-no-note.ko"
	objcopy -O binary --only-section=.BTF --set-section-flags .BTF=alloc "/tmp/$1.ko" "/tmp/$1.btf"
	echo "built: $code"
}
build a
build other
echo "stripped: $(cmp -l /tmp/a.ko /tmp/other.ko | wc -l) bytes differ"
echo "without the note: $(cmp -l /tmp/a-no-note.ko /tmp/other-no-note.ko | wc -l)"
echo "BTF: $(cmp -l /tmp/a.btf /tmp/other.btf | wc -l) of $([ -s /tmp/a.btf ] && echo some)"
mv /tmp/a /tmp/first
mv /tmp/a.ko /tmp/first.ko
build a
echo "same directory: $(cmp -l /tmp/a.ko /tmp/first.ko | wc -l)"
build c KCFLAGS=-fdebug-prefix-map=/tmp/c=/build
build d KCFLAGS=-fdebug-prefix-map=/tmp/d=/build
echo "mapped: $(cmp -l /tmp/c.ko /tmp/d.ko | wc -l)"
CODE
same 'two directories, stripped' 'stripped: 20 bytes differ' "$(line 3)"
same 'without the build ID' 'without the note: 0' "$(line 4)"
same 'BTF' 'BTF: 0 of some' "$(line 5)"
same 'the same directory twice' 'same directory: 0' "$(line 7)"
same 'with -fdebug-prefix-map' 'mapped: 0' "$(line 10)"
