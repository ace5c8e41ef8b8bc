#!/bin/bash
# Guess: KBUILD_EXTRA_SYMBOLS=A/Module.symvers makes A's symbol list a prerequisite of module B: when A changes, building B
# again checks B against it, and fails or takes the new checksums.
# Linux 6.12.117 (Debian, MODVERSIONS on): B's finished .ko is left alone and make ends with 0, although A has another
# checksum for the symbol, or has lost it. Only a change of B's own source brings the check. And a Module.symvers that is put
# into B's directory by hand, the custom of old, is not read at all: modpost's own output goes there. So: whoever builds
# modules that build upon another starts from a clean tree each time.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
exporter() { rm -f /tmp/a/Makefile; module a a "int $1($2 x); int $1($2 x) { return 0; } EXPORT_SYMBOL_GPL($1);"; kbuild a modules; }
listed() { cut -f 1 /tmp/a/Module.symvers; }
wanted() { modprobe --dump-modversions /tmp/b/b.ko | sed -n 's/\tfrom_a$//p'; }
agree() { if [ "$(listed)" = "$(wanted)" ]; then echo agree; else echo differ; fi; }
symbols=KBUILD_EXTRA_SYMBOLS=/tmp/a/Module.symvers

exporter from_a int
module b b 'int from_a(int x); static int __init start(void) { return from_a(1); } module_init(start);'
kbuild b "$symbols" modules
echo "first: $code, checksums $(agree)"
exporter from_a long
kbuild b "$symbols" modules
echo "a changed: $code, checksums $(agree)"
exporter renamed int
kbuild b "$symbols" modules
echo "a lost it: $code"
touch /tmp/b/b.c
kbuild b "$symbols" modules
echo "b touched: $code, $(grep -c 'undefined!' /told) undefined"
exporter from_a int
kbuild b clean
cp /tmp/a/Module.symvers /tmp/b/
kbuild b modules
echo "copied: $code, $(grep -c 'undefined!' /told) undefined"
CODE
same 'the first build' 'first: 0, checksums agree' "$(line 1)"
same 'another type' 'a changed: 0, checksums differ' "$(line 2)"
same 'no such symbol any more' 'a lost it: 0' "$(line 3)"
same 'after a change of b' 'b touched: 2, 1 undefined' "$(line 4)"
same 'the list beside the source' 'copied: 2, 1 undefined' "$(line 5)"
