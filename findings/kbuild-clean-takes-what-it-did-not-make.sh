#!/bin/bash
# Guess: `make M=… clean` removes what a build of this Makefile makes.
# Linux 6.12.117 (Debian): it removes by ending, in every directory below, whether the Makefile knows it or not: *.o, *.a, *.ko,
# *.mod.c. An object or archive that a vendor ships without source is gone, and the next build fails; only a name like
# blob.o_shipped stays. So: no clean goal before the first build of somebody's source; begin with a fresh copy.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
module driver glue
sed -i 's/.*/obj-m := driver.o\ndriver-y := glue.o blob.o/' /tmp/driver/Makefile
mkdir /tmp/driver/data
echo 'int blob(void); int blob(void) { return 0; }' >/tmp/driver/data/blob.c
gcc-14 -c -o /tmp/driver/blob.o /tmp/driver/data/blob.c
touch /tmp/driver/.blob.o.cmd
cp /tmp/driver/blob.o /tmp/driver/blob.o_shipped
for name in firmware.o lib.a ready.ko table.mod.c notes.txt; do echo x >"/tmp/driver/data/$name"; done
cp -a /tmp/driver /tmp/other
kbuild other modules
echo "built as it came: $code"
kbuild driver clean
echo "clean: $code, left: $(cd /tmp/driver && find . -type f -printf '%P\n' | LC_ALL=C sort | tr '\n' ' ')"
kbuild driver modules
echo "build: $code"
CODE
same 'without clean' 'built as it came: 0' "$(line 1)"
same 'clean' 'clean: 0, left: Makefile blob.o_shipped data/blob.c data/notes.txt glue.c ' "$(line 2)"
same 'afterwards' 'build: 2' "$(line 3)"
