#!/bin/bash
# make-kernel-tree.sh KERNEL RELEASE [clang]
#
# Run inside a bed. From the Debian KERNEL installed there makes a second kernel called RELEASE whose headers are one
# self-contained, relocatable tree, /opt/RELEASE, as most other distributions have them. With `clang` its
# configuration says that clang and lld built it.
set -eu
kernel=$1 release=$2
headers=/usr/src/linux-headers-$kernel
common=$(sed -n 's,.*\(/usr/src/linux-headers-[^/ ]*-common[^/ ]*\).*,\1,p' "$headers/Makefile" | head -n 1)
kbuild=$(dirname "$(readlink -f "$headers/scripts")")
tree=/opt/$release modules=/lib/modules/$release

mkdir -p "$tree" "$modules/kernel/lib"
tar -C "$common" --exclude=./scripts --exclude=./tools -cf - . | tar -C "$tree" -xf -
cp -a "$kbuild/scripts" "$tree/"
[ ! -d "$kbuild/tools" ] || cp -a "$kbuild/tools" "$tree/"
tar -C "$headers" --exclude=./scripts --exclude=./tools --exclude=./Makefile --exclude=./source -chf - . | tar -C "$tree" -xf -
echo "$release" >"$tree/include/config/kernel.release"
echo "#define UTS_RELEASE \"$release\"" >"$tree/include/generated/utsrelease.h"
cp "/lib/modules/$kernel"/modules.{order,builtin,builtin.modinfo} "$modules/"
cp "$(find "/lib/modules/$kernel/kernel" -name '*.ko*' | sort | head -n 1)" "$modules/kernel/lib/"
ln -s "$tree" "$modules/build"

[ "${3:-}" = clang ] || exit 0
rm -f "$tree/.kernelvariables"
version=$(clang -dumpversion | awk -F. '{ printf "%d%02d%02d", $1, $2, $3 }')
text=$(clang --version | head -n 1)
for file in "$tree/.config" "$tree/include/config/auto.conf"; do
	# What only gcc has or bfd's linker can, and what a compiler was asked when the tree was configured.
	sed -i -E \
		-e '/^CONFIG_(CC_IS_GCC|LD_IS_BFD|GCC_.*|CC_HAS_ASM_GOTO_OUTPUT_.*|CC_HAS_MIN_FUNCTION_ALIGNMENT|FTRACE_MCOUNT_USE_CC)=/d' \
		-e "s/^(CONFIG_CC_VERSION_TEXT)=.*/\1=\"$text\"/" \
		-e "s/^(CONFIG_(CLANG|LLD)_VERSION)=.*/\1=$version/" \
		-e 's/^(CONFIG_LD_VERSION)=.*/\1=0/' \
		-e 's/^(CONFIG_CC_IMPLICIT_FALLTHROUGH)=.*/\1="-Wimplicit-fallthrough"/' "$file"
	printf '%s\n' CONFIG_GCC_VERSION=0 CONFIG_CC_IS_CLANG=y CONFIG_LD_IS_LLD=y CONFIG_FTRACE_MCOUNT_USE_OBJTOOL=y >>"$file"
done
# Unlike .config, auto.conf is read by make, where quotes would stay.
sed -i -E 's/^(CONFIG_CC_VERSION_TEXT|CONFIG_CC_IMPLICIT_FALLTHROUGH)="(.*)"$/\1=\2/' "$tree/include/config/auto.conf"
sed -i -E \
	-e '/ CONFIG_(CC_IS_GCC|LD_IS_BFD|GCC_.*|CC_HAS_MIN_FUNCTION_ALIGNMENT|FTRACE_MCOUNT_USE_CC) /d' \
	-e "s/(define CONFIG_CLANG_VERSION) .*/\1 $version/" "$tree/include/generated/autoconf.h"
printf '#define %s 1\n' CONFIG_CC_IS_CLANG CONFIG_LD_IS_LLD >>"$tree/include/generated/autoconf.h"
echo '#define CONFIG_GCC_VERSION 0' >>"$tree/include/generated/autoconf.h"
