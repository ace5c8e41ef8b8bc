#!/bin/bash
# Guess: kmod reads every .ko.zst that zstd -t calls good; kmod 34 reads what kmod 30 read.
# kmod 34.2 asks the first frame for the size of what is in it, and reads that one frame. A module compressed from a pipe (cat x.ko |
# zstd), where zstd can't know the size, can't be read; nor can one of two frames joined, nor one that begins with a frame to be
# skipped, as pzstd writes. depmod 34.2 lists such a module, with a message and 0, without its aliases, symbols and dependencies. kmod 30
# reads the first two, and not the third. xz has none of this: both read two streams. So: zstd FILE, never from a pipe; a library
# has to be told the size before the first byte; and a module is looked at with the modinfo of the kernel's system.
. "$(dirname "$0")/lib.sh"
module "$T/x.ko" x '' "$(head -c 3000 /dev/zero | tr '\0' x)" '' alias=pci:v1
cd "$T" || exit
zstd -q x.ko -o file.ko.zst
# shellcheck disable=SC2002 # The pipe is what this is about.
cat x.ko | zstd -q >pipe.ko.zst
head -c 2000 x.ko >first
tail -c +2001 x.ko >second
zstd -q first second
cat first.zst second.zst >joined.ko.zst
{ printf '\x50\x2a\x4d\x18\x04\x00\x00\x00size' && cat file.ko.zst; } >skip.ko.zst
xz -q first second
cat first.xz second.xz >joined.ko.xz
for file in file pipe joined skip; do zstd -q -d <"$file.ko.zst" | cmp - x.ko; done

trial() {
	local root=$T/root-$SUITE dir=$T/root-$SUITE/lib/modules/1.2.3 file said='' reads=(file.ko.zst pipe.ko.zst joined.ko.zst joined.ko.xz) found=1
	[ "$SUITE" = bookworm ] || reads=(file.ko.zst joined.ko.xz) found=0
	for file in file.ko.zst pipe.ko.zst joined.ko.zst skip.ko.zst joined.ko.xz; do
		[ "$(kmod modinfo -F name "$file" 2>/dev/null)" != x ] || said+="$file "
	done
	same "$SUITE: modinfo reads" "${reads[*]}" "${said% }"
	mkdir -p "$dir/kernel"
	cp pipe.ko.zst "$dir/kernel/x.ko.zst"
	index "$dir"
	kmod depmod -b "$root" 1.2.3 2>/dev/null
	same "$SUITE: depmod of the one from a pipe" "kernel/x.ko.zst:, aliases: $found" "$(cat "$dir/modules.dep"), aliases: $(grep -c pci: "$dir/modules.alias")"
}
each_kmod trial
