#!/bin/bash
# in-bed.sh DIR COMMAND [ARG...]       (DIR is a whole root)
# in-bed.sh --over BASE DIR COMMAND... (DIR holds upper/ and work/: what changes goes to upper/, BASE stays as it is)
#
# Runs COMMAND chrooted in a private mount and process namespace. Every mount vanishes when the command ends, and so
# does every process it left behind. $BED_BIND, when set, is seen at /mnt. With BED_USERS=none no user namespace can be
# made inside: COMMAND runs in one that has all users, and whose own limit (namespaces(7)) is none.
set -eu
base=
[ "$1" != --over ] || { base=$2; shift 2; }
dir=$(readlink -f "$1")
shift
exec unshare --mount --pid --fork --kill-child -- bash -c '
set -e
base=$1 dir=$2
shift 2
mount --make-rprivate /
if [ -n "$base" ]; then
	mkdir -p "$dir/root"
	mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
	dir=$dir/root
else
	# / has to be a mount point: package managers remount it.
	mount --bind "$dir" "$dir"
fi
cd "$dir"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys 2>/dev/null || true
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
if [ -n "${BED_BIND:-}" ]; then mkdir -p mnt; mount --bind "$BED_BIND" mnt; fi
[ -e etc/resolv.conf ] || cp -L /etc/resolv.conf etc/resolv.conf 2>/dev/null || true
set -- "$dir" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
if [ "${BED_USERS:-}" = none ]; then
	exec 5<&0 6>&1
	# Who has no number yet loses all capabilities when it executes something, and has them again with the next program.
	limit="echo 0 >/proc/sys/user/max_user_namespaces; exec chroot \"\$@\" <&5 >&6 5<&- 6>&-"
	coproc unshare --user bash -c "echo; read -r _; exec bash -ec \"\$@\"" in-bed "$limit" in-bed "$@"
	child=$COPROC_PID
	read -r _ <&"${COPROC[0]}"
	for map in uid_map gid_map; do echo "0 0 4294967295" >"$dir/proc/$child/$map"; done
	echo >&"${COPROC[1]}"
	wait "$child"
	exit
fi
# PID 1 shares the root, so that programs that ask whether they run in a chroot see that they do not.
exec chroot "$@"
' in-bed "$base" "$dir" "$@"
