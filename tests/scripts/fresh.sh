#!/bin/bash
# fresh.sh TARGET [ordinary]: runs `make TARGET` of this checkout on a fresh minimal Debian 13 that has only make and
# ca-certificates, as root or, after root has seen to the tools, as an ordinary user. Needs root and mmdebstrap here. The
# fresh Debian is thrown away.
set -eu
here=$(dirname "$(readlink -f "$0")")
project=$(readlink -f "$here/../..")
target=$1 user=${2:-root}
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf --one-file-system "$work"' EXIT

uri() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u | grep -E "$1" | head -n 1; }
mirror=$(uri '/debian/?$')
security=$(uri '/debian-security/?$' || true)
{
	echo "deb $mirror trixie main contrib"
	[ -z "$security" ] || echo "deb $security trixie-security main contrib"
} | mmdebstrap --quiet --variant=minbase --mode=root --include=make,ca-certificates \
	--aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt=force-unsafe-io trixie "$work/root" -
mkdir "$work/root/project"
git -C "$project" ls-files -z | tar -C "$project" --null -T - -cf - | tar -C "$work/root/project" -xf -
# What this machine trusts and where it gets crates from, should it sit behind a mirror.
cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
file=${CARGO_HOME:-$HOME/.cargo}/config.toml
[ ! -e "$file" ] || install -D -m 0644 "$file" "$work/root/root/.cargo/config.toml"
if [ "$user" = root ]; then
	"$here/in-bed.sh" "$work/root" make -C /project "$target"
else
	"$here/in-bed.sh" "$work/root" bash -ec '
		bash /project/tests/scripts/need.sh build "${1#test-}"
		useradd --create-home ordinary
		[ ! -e /root/.cargo/config.toml ] || cp -r /root/.cargo /home/ordinary/
		chown -R ordinary: /project /home/ordinary
		su --login ordinary --command "make -C /project $1"' fresh "$target"
fi
