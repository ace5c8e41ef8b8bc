#!/bin/bash
# weak-modules2.sh: stands in for SUSE's weak-modules2 (suse-module-tools) in tests. Written from its documented and
# observed behaviour; what the tests depend on it does as the real one does, and it refuses what that refuses:
# - each verb takes one argument; --add-kernel-modules and --remove-kernel-modules a kernel's release, and a list of that
#   kernel's modules on standard input;
# - it needs depmod and lsinitrd, and makes its temporary directory in /var/tmp;
# - it links modules of installed rpm packages called *-kmp-<flavour> only, to kernels of the same flavour whose symbols
#   fit (here: whose symvers are the same) and that have no module of that name in updates/, extra/ or weak-updates/;
# - depmod runs for the kernel; an initramfs is made at once (with $DRACUT), or, when modules come and the caller says that
#   it does so later, noted.
set -u
verb=''
while [ $# -gt 0 ]; do
	case $1 in
	--add-kernel-modules | --remove-kernel-modules) verb=${1#--} ;;
	--) shift; break ;;
	-*) echo "${0##*/}: $1 is not known here" >&2; exit 1 ;;
	*) break ;;
	esac
	shift
done
if [ -z "$verb" ] || [ $# != 1 ]; then echo "${0##*/}: one verb, and one argument" >&2; exit 1; fi
kernel=$1
[ -x /usr/sbin/depmod ] || exit 1
[ -x /usr/bin/lsinitrd ] || { echo "${0##*/}: no lsinitrd" >&2; exit 1; }
scratch=$(mktemp -d /var/tmp/weak2.XXXXXX) || exit 1
trap 'rm -rf "$scratch"' EXIT
input=$(cat)
map=/usr/lib/modules/$kernel/System.map
[ -e "$map" ] || exit 0

symvers() { zcat "/usr/lib/modules/$1/symvers.gz" 2>/dev/null; }
for kmp in $(rpm -qa "*-kmp-${kernel##*-}"); do
	for module in $(rpm -ql "$kmp" | sed -n 's|^\(/usr\)*\(/lib/modules/.*\.ko.*\)$|\2|p'); do
		from=${module#/lib/modules/} from=${from%%/*}
		[ "$from" != "$kernel" ] || continue
		taken=$(cd "/lib/modules/$kernel" && find updates extra weak-updates -name "${module##*/}" 2>/dev/null)
		if [ -n "$taken" ] || ! cmp -s <(symvers "$kernel") <(symvers "$from"); then continue; fi
		link=/lib/modules/$kernel/weak-updates/${module#/lib/modules/*/}
		mkdir -p "${link%/*}"
		ln -sf "$module" "$link"
	done
done
/usr/sbin/depmod -F "$map" -ae "$kernel"
image() { "${DRACUT:-/usr/bin/dracut}" -f "/boot/initrd-$kernel" "$kernel"; }
if [ "$verb" = remove-kernel-modules ] || [ -z "${INITRD_IN_POSTTRANS:-}" ]; then
	image
else
	mkdir -p /run/regenerate-initrd
	for module in $input; do
		! lsinitrd "/boot/initrd-$kernel" | grep -q "/$(basename "$module")" || touch "/run/regenerate-initrd/$kernel"
	done
fi
