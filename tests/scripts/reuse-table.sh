#!/bin/bash
# reuse-table.sh DKMS OUT [PACKAGE...]      (as root, on a Debian machine with mmdebstrap)
# reuse-table.sh --table OUT                prints OUT as Markdown
#
# Which builds of real packages the program DKMS reuses for which kernels, and whether what it reuses is what a build makes
# (reuse-in-bed.sh). The pairs are neighbours among the newest kernels of a Debian suite, cloud and full, the
# newest of them with a next kernel made of it, installed again and built again, and cloud with full. Writes a line a package
# and pair to OUT. A package that OUT has already is left out, so that a run can go on. It takes an hour or more, never CI.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

if [ "$1" = --table ]; then
	echo '| package | kernels | what dkms does | what differs | compared with a build |'
	echo '|---|---|---|---|---|'
	lines() { grep -v '^#' "$1" | sort -s -t "$(printf '\t')" -k 1,1; }
	awk -F'\t' 'NR == FNR { if ($3 != "unrecorded" && $3 != "failed") compared[$1] = 1; next }
	{
		# Where nothing is compared, one line for all kernels.
		if (!compared[$1]) { if (seen[$1 $3 $4]++) next; $2 = "(all)" }
		gsub(/-amd64/, "", $2); sub(/:/, " → ", $2); gsub(/\|/, "\\|", $4); printf "| %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5 == "-" ? "" : $5
	}' <(lines "$2") <(lines "$2")
	exit
fi

dkms=$(readlink -f "$1") out=$2
shift 2
packages=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(acpi-call bbswitch dm-writeboost jool tp-smapi lime-forensics vhba dpdk-kmods rapiddisk openvpn-dco
	xtables-addons iptables-netflow ddcci digimend openrazer-driver v4l2loopback r8168 apfs)
beds=${REUSE_BEDS:-/var/cache/dkms-tests/reuse}
count=${REUSE_KERNELS:-5}
mkdir -p "$(dirname "$out")"
touch "$out"
share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
cp "$dkms" "$share/dkms"
cp "$here/reuse-in-bed.sh" "$share/"

# bed SUITE: a bed with the headers of its newest kernels. Only unpacked: nothing here needs their images.
bed() {
	local suite=$1 bed=$beds/$1 only='^[0-9]'
	[ ! -e "$bed/etc/reuse-kernels" ] || return 0
	[ -e "$bed/etc/dkms-bed-kernels" ] ||
		{ rm -rf "$bed"; bash "$here/make-bed.sh" "$suite" "$bed" 0 cloud dkms gcc make patch kmod xz-utils zstd openssl binutils libc6-dev python3-minimal \
			libpython3-stdlib perl autoconf automake libtool gawk pahole; }
	# Neighbours of oldstable's own version: it has stable's, too.
	[ "$suite" != bookworm ] || only='^6\.1\.'
	# shellcheck disable=SC2016 # The bed's shell expands it.
	"$here/in-bed.sh" "$bed" bash -euo pipefail -c '
		count=$1 only=$2 suffix=$(dpkg --print-architecture)
		cd /var/tmp
		all=$(apt-cache search --names-only "^linux-headers-[0-9].*-$suffix\$" | cut -d" " -f1 | sed s/^linux-headers-// | grep -v -e -rt- | grep -e "$only")
		for flavour in cloud full; do
			if [ $flavour = cloud ]; then some=$(grep -e "-cloud-" <<<"$all"); else some=$(grep -v -e "-cloud-" <<<"$all"); fi
			for k in $(sort -V <<<"$some" | tail -n "$count"); do
				depends=$(apt-cache show "linux-headers-$k" | sed -n "s/^Depends: //p" | head -n 1 | tr "," "\n" | sed "s/^ //; s/ .*//" | grep -E "^linux-(headers|kbuild)")
				apt-get -q download "linux-headers-$k" $depends >/dev/null
				dpkg --force-depends --unpack ./*.deb >/dev/null
				rm ./*.deb
				echo "$flavour $k"
			done
		done >/etc/reuse-kernels' bed "$count" "$only"
}

# pairs SUITE: those of its kernels; NEXT is what is made of the newest.
pairs() {
	local flavour before k last=()
	for flavour in cloud full; do
		before=
		while read -r k; do
			[ -z "$before" ] || echo "$before:$k"
			before=$k
		done < <(sed -n "s/^$flavour //p" "$beds/$1/etc/reuse-kernels")
		last+=("$before")
	done
	echo "${last[0]}:${last[1]}"
	echo "${last[0]}:${last[0]}"
	echo "${last[0]}:NEXT"
	echo "${last[0]}:rebuilt"
}

cat >"$share/one.sh" <<'INSIDE'
set -euo pipefail
package=$1
shift
cp /mnt/dkms /usr/sbin/dkms
cd /tmp # in memory, and gone with this package
apt-get -q -o Acquire::Check-Valid-Until=false download "$package-dkms" >/dev/null 2>&1 || { echo "# $package cannot be downloaded"; exit; }
deb=$(echo ./*.deb)
dpkg-deb -x "$deb" source
cp -a source/usr/src/. /usr/src/
rm -rf /var/lib/dkms/*/
for conf in $(dpkg-deb --contents "$deb" | sed -n 's,^.* \./\(usr/src/[^/]*/dkms\.conf\)$,/\1,p'); do
	id=$(sed -n 's,^/usr/src/\(.*\)-\([^-]*\)/dkms.conf$,\1/\2,p' <<<"$conf")
	all=()
	for pair; do
		k=${pair%:*}
		case $pair in
		*:NEXT)
			[ -e "/var/tmp/after-$k" ] || bash /mnt/reuse-in-bed.sh next "$k" >"/var/tmp/after-$k"
			pair=$k:$(cat "/var/tmp/after-$k")
			;;
		esac
		all+=("$pair")
	done
	bash /mnt/reuse-in-bed.sh pairs "$id" "${all[@]}"
done
INSIDE

for suite in ${REUSE_SUITES:-trixie bookworm sid}; do
	bed "$suite"
	mapfile -t all < <(pairs "$suite")
	# One for all: what is known of kernels and compilers need not be found out again.
	layer=$beds/layer-$suite
	rm -rf "$layer"
	mkdir -p "$layer/upper" "$layer/work"
	for package in "${packages[@]}"; do
		! grep -qx "# $suite $package" "$out" || continue
		if said=$(BED_BIND=$share "$here/in-bed.sh" --over "$beds/$suite" "$layer" bash /mnt/one.sh "$package" "${all[@]}" </dev/null); then
			printf '%s\n' "$said" "# $suite $package" >>"$out"
		else
			echo "$suite: $package did not get to its end" >&2
		fi
	done
	rm -rf "$layer"
done
