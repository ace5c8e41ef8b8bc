#!/bin/bash
# Guess: ConditionDirectoryNotEmpty= of a unit is true when there is anything in the directory, as `ls -A` shows it; or, if names are
# left out, those that begin with a dot.
# systemd 257: left out are names with a dot, those that end with ~, and the leavings of package managers and editors: x.bak, x.old,
# x.new, x.swp, x.dpkg-old, x.rpmsave and others, also lost+found; x.orig, x.tmp and x.pacsave count. A
# spool directory whose files are called so, or begin with a dot to be hidden from others, is empty for the unit, which is
# skipped without an error. So: names of work that waits are plain, or the unit asks for one file by ConditionPathExists=.
. "$(dirname "$0")/lib.sh"
root trixie systemd=257.13-1~deb13u1 systemd-boot-tools=257.13-1~deb13u1 jq
run_inside <<'CODE'
mkdir /tmp/dir
seen() { systemd-analyze condition ConditionDirectoryNotEmpty=/tmp/dir >/dev/null 2>&1 && echo yes || echo no; }
seen
yes= no=
for name in x .x x~ x.bak x.old x.new x.swp x.dpkg-old x.dpkg-new x.rpmsave x.orig x.tmp x.pacsave lost+found; do
	touch "/tmp/dir/$name"
	[ "$(seen)" = yes ] && yes+=" $name" || no+=" $name"
	rm "/tmp/dir/$name"
done
echo "counts:$yes"
echo "does not:$no"
CODE
same 'an empty directory' no "$(line 1)"
same 'what counts' 'counts: x x.orig x.tmp x.pacsave' "$(line 2)"
same 'what does not' 'does not: .x x~ x.bak x.old x.new x.swp x.dpkg-old x.dpkg-new x.rpmsave lost+found' "$(line 3)"
