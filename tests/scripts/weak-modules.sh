#!/bin/bash
# weak-modules.sh: stands in for RHEL's weak-modules (package kmod) in tests. Written from its documented and observed
# behaviour; what the tests depend on it does as the real one does, and it refuses what that refuses:
# - modules come on standard input and are absolute paths below /lib/modules; `extra/` is not part of a link's path;
# - a kernel takes part if both symvers.gz and System.map are found for it;
# - it gets a link if all symbols fit (here: if its symvers are those of the module's kernel), whether it is older or newer,
#   and also if it has a module of that name in its own extra/;
# - a link is removed only if its module can't be read any more;
# - depmod runs for the kernels that changed and for those of the modules;
# - without --no-initramfs it needs dracut.
set -u
usage() { echo "usage: ${0##*/} [--no-initramfs] --add-modules|--remove-modules|--add-kernel K|--remove-kernel K" >&2; exit 1; }
verb='' image=1 changed=()
while [ $# -gt 0 ]; do
	case $1 in
	--add-modules | --remove-modules | --add-kernel | --remove-kernel) verb=${1#--} ;;
	--no-initramfs) image= ;;
	-*) usage ;;
	*) break ;;
	esac
	shift
done
[ -n "$verb" ] || usage
if [ -n "$image" ] && [ ! -x /usr/bin/dracut ]; then echo "${0##*/}: no dracut" >&2; exit 1; fi

found() { local place; for place in "/boot/$2-$1$3" "/lib/modules/$1/$2$3"; do [ ! -r "$place" ] || { echo "$place"; return; }; done; false; }
symvers() { local file; file=$(found "$1" symvers .gz) && zcat "$file"; }
takes_part() { found "$1" symvers .gz >/dev/null && found "$1" System.map '' >/dev/null; }
# LINK and BUILT for the kernel $1 and the module $2.
place() { BUILT=${2#/lib/modules/} BUILT=${BUILT%%/*} LINK=/lib/modules/$1/weak-updates/${2#/lib/modules/*/*/}; }
add() {
	place "$1" "$2"
	[ "$BUILT" != "$1" ] && cmp -s <(symvers "$1") <(symvers "$BUILT") || return 0
	mkdir -p "${LINK%/*}"
	ln -sf "$2" "$LINK"
	changed+=("$1")
}
drop() {
	place "$1" "$2"
	[ "$(readlink "$LINK")" = "$2" ] && [ ! -r "$LINK" ] || return 0
	rm -f "$LINK"
	changed+=("$1")
}
case $verb in
*-modules)
	while read -r module; do
		[ -n "$module" ] || continue
		case $module in /lib/modules/*) ;; *) echo "${0##*/}: $module is not where modules are" >&2; exit 1 ;; esac
		for kernel in /lib/modules/*; do
			kernel=${kernel##*/}
			takes_part "$kernel" || continue
			mkdir -p "/lib/modules/$kernel/weak-updates"
			if [ "$verb" = add-modules ]; then add "$kernel" "$module"; else drop "$kernel" "$module"; fi
		done
		place - "$module"
		changed+=("$BUILT")
	done
	;;
add-kernel)
	kernel=${1:-$(uname -r)}
	found "$kernel" symvers .gz >/dev/null || { echo "${0##*/}: no symvers of $kernel" >&2; exit 1; }
	for module in $(find /lib/modules/*/extra -name '*.ko' -o -name '*.ko.[xg]z' 2>/dev/null | sort -V); do add "$kernel" "$module"; done
	;;
remove-kernel)
	rm -rf "/lib/modules/${1:-$(uname -r)}"/weak-updates/*
	;;
esac
for kernel in $(printf '%s\n' "${changed[@]}" | sort -u); do
	! takes_part "$kernel" || /sbin/depmod -ae -F "$(found "$kernel" System.map '')" "$kernel"
done
