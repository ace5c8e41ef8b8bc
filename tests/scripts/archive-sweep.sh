#!/bin/bash
# archive-sweep.sh DKMS SUITE FLAVOUR OUT      (FLAVOUR: cloud or full; as root, on a Debian machine with mmdebstrap)
#
# Builds every *-dkms package of the Debian SUITE for its newest kernel of that FLAVOUR with the program DKMS, and those
# that fail once more with the archive's own dkms. Writes a line a package to OUT:
#   PACKAGE VERSION <tab> ours <tab> classic <tab> reason      (results: built, excluded, failed CODE, `-` for not run)
# A package that OUT has already is left out, so that a run can go on. It takes hours: `make archive-sweep`, never CI.
set -eu
dkms=$(readlink -f "$1") suite=$2 flavour=$3 out=$4
here=$(dirname "$(readlink -f "$0")")
bed=${SWEEP_BED:-/var/cache/dkms-tests/sweep}/$suite-$flavour
if [ ! -e "$bed/etc/dkms-bed-kernels" ]; then
	rm -rf "$bed"
	bash "$here/make-bed.sh" "$suite" "$bed" 1 "$flavour" dkms gcc make patch kmod bc bison flex libelf-dev python3 pahole
fi
mkdir -p "$(dirname "$out")"
touch "$out"
share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
cp "$dkms" "$share/dkms"

cat >"$share/one.sh" <<'INSIDE'
#!/bin/bash
# one.sh PACKAGE: builds one package inside the bed, and prints its line.
set -u
package=$1
kernel=$(head -n 1 /etc/dkms-bed-kernels)
cd /tmp || exit
apt-get -q -o Acquire::Check-Valid-Until=false download "$package" >/dev/null 2>&1 ||
	{ printf '%s -\t-\t-\tcannot be downloaded\n' "$package"; exit; }
deb=$(echo ./*.deb)
version=$(dpkg-deb --field "$deb" Version)
needs=$(dpkg-deb --field "$deb" Depends)
[ -z "$needs" ] || apt-get -q -y satisfy --no-install-recommends "$needs" >/tmp/apt.log 2>&1 ||
	{ printf '%s %s\t-\t-\tits dependencies cannot be installed\n' "$package" "$version"; exit; }
dpkg-deb -x "$deb" /
confs=$(dpkg-deb --contents "$deb" | sed -n 's,^.* \./\(usr/src/[^/]*/dkms\.conf\)$,/\1,p')
[ -n "$confs" ] || { printf '%s %s\t-\t-\thas no dkms.conf\n' "$package" "$version"; exit; }

# attempt PROGRAM TREE DIR: adds and builds; says how it ended.
attempt() {
	local program=$1 tree=$2 dir=$3 code=0
	mkdir -p "$tree"
	timeout -k 10 3600 "$program" add "$dir" --dkmstree "$tree" >"$tree.log" 2>&1 || code=$?
	if [ "$code" = 0 ]; then
		timeout -k 10 3600 "$program" build "$(sed -n 's,^.*/usr/src/\(.*\)-\([^-]*\)$,\1/\2,p' <<<"$dir")" \
			-k "$kernel" --dkmstree "$tree" >>"$tree.log" 2>&1 || code=$?
	fi
	case $code in
	0) echo built ;;
	77) echo excluded ;;
	*) echo "failed $code" ;;
	esac
}
for conf in $confs; do
	dir=${conf%/*}
	ours=$(attempt /mnt/dkms /tmp/ours "$dir")
	# Killed: the sweep was stopped, and asks again when it goes on.
	[ -n "$ours" ] || exit
	classic=- reason=
	if [ "$ours" != built ]; then
		classic=$(attempt /usr/sbin/dkms /tmp/classic "$dir")
		[ -n "$classic" ] || exit
		reason=$(grep -E -m 1 'rror|xcluded|BUILD_EXCLUSIVE' /tmp/ours.log | tr '\t' ' ')
	fi
	printf '%s %s\t%s\t%s\t%s\n' "$package" "$version" "$ours" "$classic" "$reason"
done
INSIDE

packages=$("$here/in-bed.sh" "$bed" apt-cache search --names-only -- '-dkms$' | cut -d' ' -f1 | sort)
for package in $packages; do
	! grep -q "^$package " "$out" || continue
	layer=$(mktemp -d)
	mkdir "$layer/upper" "$layer/work"
	BED_BIND=$share "$here/in-bed.sh" --over "$bed" "$layer" bash /mnt/one.sh "$package" >>"$out" </dev/null || true
	rm -rf "$layer"
done
