#!/bin/bash
# reuse-in-bed.sh: what dkms reuses of builds for other kernels, compared with what builds make. Inside a bed that has dkms and
# headers.
#   reuse-in-bed.sh next KERNEL                     headers of the next release, made of KERNEL's: another release, SUBLEVEL, name in
#                                                   notes, and things that no module sees. Prints the release
#   reuse-in-bed.sh pairs NAME/VERSION PAIR...      a PAIR is `KERNEL:KERNEL`, the first built for before the second; with one
#                                                   kernel twice its headers were installed again, with `KERNEL:rebuilt` they are of
#                                                   another build under its name. Prints for each:
#                                                   PACKAGE <tab> PAIR <tab> reused, taken, built, failed or unrecorded <tab> why <tab> equal, UNEQUAL or -
#   reuse-in-bed.sh equal FILE FILE KERNEL KERNEL   whether two modules, for two kernels, are the same but for what names the kernel
set -euo pipefail
hand=$(mktemp -d)
trap 'rm -rf "$hand"' EXIT
conf=/etc/dkms/framework.conf.d/reuse.conf
mkdir -p ${conf%/*}

next() {
	local k=$1 version new sublevel last headers dir file numbers
	version=${k%%[^0-9.]*}
	last=${version: -1}
	# Of the same length: the note that has the name has a type of that length.
	new=${version%?}$(((last + 1) % 10))
	sublevel=${new##*.}
	new=$new${k#"$version"}
	headers=$(readlink -f "/lib/modules/$k/build")
	dir=$(dirname "$headers")/linux-headers-$new
	rm -rf "$dir" "/lib/modules/$new"
	cp -a "$headers" "$dir"
	grep -rlIF -- "$k" "$dir" | while read -r file; do sed -i "s/${k//./\\.}/$new/g" "$file"; done
	file=$dir/include/generated/uapi/linux/version.h
	IFS=. read -r -a numbers <<<"${new%%[^0-9.]*}"
	sed -i "s/^#define LINUX_VERSION_CODE .*/#define LINUX_VERSION_CODE $((numbers[0] * 65536 + numbers[1] * 256 + (sublevel > 255 ? 255 : sublevel)))/
		s/^#define LINUX_VERSION_SUBLEVEL .*/#define LINUX_VERSION_SUBLEVEL $sublevel/" "$file"
	printf '0x00000001\tnobody_asks_for_this\tvmlinux\tEXPORT_SYMBOL_GPL\t\n' >>"$dir/Module.symvers"
	echo '#define NOBODY_READS_THIS 1' >"$dir/include/generated/nobody-reads-this.h"
	mkdir -p "/lib/modules/$new"
	ln -s "$dir" "/lib/modules/$new/build"
	cp "/lib/modules/$k"/modules.builtin* "/lib/modules/$k/modules.order" "/lib/modules/$new/" 2>/dev/null || true
	echo "$new"
}

# rebuilt KERNEL: the same release once more, another build; back KERNEL: as it was.
rebuilt() {
	local dir
	dir=$(readlink -f "/lib/modules/$1/build")
	cp -a "$dir" "$dir.before"
	echo '/* built again */' >>"$dir/include/generated/compile.h"
	printf '0x00000001\tnobody_asks_for_that\tvmlinux\tEXPORT_SYMBOL_GPL\t\n' >>"$dir/Module.symvers"
}

back() {
	local dir
	dir=$(readlink -f "/lib/modules/$1/build")
	rm -r "$dir"; mv "$dir.before" "$dir"
}

# reinstalled KERNEL: the same files.
reinstalled() {
	local dir
	dir=$(readlink -f "/lib/modules/$1/build")
	cp -r --no-dereference "$dir" "$dir.new"; rm -r "$dir"; mv "$dir.new" "$dir"
}

plain() { case $1 in *.xz) xz -dc "$1" ;; *.zst) zstd -dc "$1" ;; *.gz) gzip -dc "$1" ;; *) cat "$1" ;; esac >"$2"; }

# section FILE NAME: its bytes, or none.
section() {
	: >"$hand/section"
	objcopy --dump-section "$2=$hand/section" "$1" /dev/null 2>/dev/null || true
	cat "$hand/section"
}

# without_names FILE KERNEL OUT: OUT.rest has everything but the sections that name the kernel and the build id, which is a digest of
# all; OUT.named has those that name it, and a list of all sections.
without_names() {
	local file=$1 pattern=${2//./\\.} out=$3
	# What stands behind the ELF file, its signature, is gone with that.
	objcopy --remove-section .modinfo --remove-section .note.Linux --remove-section .note.gnu.build-id "$file" "$out.rest"
	{
		section "$file" .modinfo | tr '\0' '\n' | sed "s/^vermagic=[^ ]* /vermagic=KERNEL /"
		section "$file" .note.Linux | sed "s/$pattern/KERNEL/g"
		readelf -SW "$file" | sed -n 's/^ *\[ *[0-9]*\] \([^ ]*\) *\([A-Z]*\) .*/\1 \2/p'
	} >"$out.named"
}

equal() {
	local a=$1 b=$2
	plain "$a" "$hand/a.ko"; plain "$b" "$hand/b.ko"
	without_names "$hand/a.ko" "$3" "$hand/a"
	without_names "$hand/b.ko" "$4" "$hand/b"
	if [ ! -s "$hand/a.rest" ] || ! grep -q '^vermagic=KERNEL ' "$hand/a.named"; then echo 'nothing is compared' >&2; return 1; fi
	cmp "$hand/a.rest" "$hand/b.rest" >&2 && diff -a "$hand/a.named" "$hand/b.named" >&2
}

modules() { find "/var/lib/dkms/${id%/*}/${id#*/}/$1/$(uname -m)/module" -name '*.ko*' | sort; }
cache=/var/cache/dkms
forget() { rm -rf $cache/results $cache/inputs; }
# way WORD: the policy.
way() { printf 'reuse="%s"\n' "$1" >$conf; }

# build KERNEL STORE: builds really, keeps what was built and what is recorded of it. Prints why it can't be used for others.
build() {
	local k=$1 store=$2
	forget; dkms unbuild "$id" -k "$k" >/dev/null 2>&1 || true
	way proven
	mkdir -p "$store/modules"
	if ! dkms build "$id" -k "$k" --debug >"$store/log" 2>&1; then echo failed >"$store/state"; return; fi
	grep -q '^Building module' "$store/log" || { cat "$store/log" >&2; return 1; }
	mapfile -t files < <(modules "$k")
	cp "${files[@]}" "$store/modules/"
	cp -a $cache/results "$store/results" 2>/dev/null || true
	cp -a $cache/inputs "$store/inputs" 2>/dev/null || true
	sed -n 's/.*is not reused for others: //p; s/.*is not kept: /not kept: /p' "$store/log" | head -n 1 >"$store/why"
	if [ -d "$store/inputs" ]; then echo kept; else echo unrecorded; fi >"$store/state"
}

pair() {
	local from=${1%:*} to=${1#*:} answer why='' same=- file said target before
	target=$to
	local store=$hand/builds
	[ -e "$store/$from/state" ] || build "$from" "$store/$from"
	case $to in
	rebuilt)
		target=$from
		rebuilt "$from"
		[ -e "$store/$from.rebuilt/state" ] || build "$from" "$store/$from.rebuilt"
		before=$store/$from.rebuilt
		;;
	"$from") reinstalled "$from"; before=$store/$from ;;
	*) [ -e "$store/$to/state" ] || build "$to" "$store/$to"; before=$store/$to ;;
	esac
	if [ "$(cat "$store/$from/state")" = failed ] || [ "$(cat "$before/state")" = failed ]; then
		answer=failed
	elif [ "$(cat "$store/$from/state")" = unrecorded ]; then
		answer=unrecorded why=$(cat "$store/$from/why")
	else
		forget; dkms unbuild "$id" -k "$target" >/dev/null 2>&1 || true
		cp -a "$store/$from/results" "$store/$from/inputs" $cache/
		# What does not reuse would only build the same again.
		why=$(dkms build "$id" -k "$target" --dry-run 2>&1 | sed -n 's/.*is not reused from kernel [^:]*: \(.*\)\.$/\1/p')
		if [ -n "$why" ]; then
			answer=built
		else
			said=$(dkms build "$id" -k "$target" 2>&1) || { echo "$said" >&2; return 1; }
			case $said in
			*'Reused from kernel '*) answer=reused ;;
			*'Taken from the result cache'*) answer=taken ;;
			*) answer=built why='nobody says why' ;;
			esac
			if [ "$answer" != built ]; then
				same=equal
				while read -r file; do
					equal "$file" "$before/modules/${file##*/}" "$from" "$target" || same=UNEQUAL
				done < <(modules "$target")
			fi
		fi
	fi
	[ "$to" != rebuilt ] || back "$from"
	printf '%s\t%s\t%s\t%s\t%s\n' "$id" "$1" "$answer" "$why" "$same"
}

what=$1
shift
case $what in
next) next "$1" ;;
equal) equal "$@" ;;
pairs)
	id=$1
	shift
	dkms add "$id" >/dev/null 2>&1 || true
	for each; do pair "$each"; done
	;;
*) echo "reuse-in-bed: unknown: $what" >&2; exit 2 ;;
esac
