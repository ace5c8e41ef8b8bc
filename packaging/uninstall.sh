#!/bin/bash
# uninstall.sh STAGE ROOT [FILE...]
#
# Removes below ROOT the files that are below STAGE, the FILEs, and the directories that this leaves empty. /etc and /var
# stay: the configuration, the modules' sources and the key that they are signed with. What a package owns is left to
# the package manager.
set -eu
stage=$1 root=$2
shift 2
files=("$@")
while IFS= read -r -d '' file; do
	files+=("/$file")
done < <(cd "$stage" && find . \( -path ./etc -o -path ./var \) -prune -o ! -type d -printf '%P\0')
if [ -z "$root" ]; then
	for ask in 'dpkg-query -S' 'rpm -qf' 'pacman -Qo'; do
		command -v "${ask%% *}" >/dev/null || continue
		for file in "${files[@]}"; do
			[ -e "$file" ] || continue
			if owner=$($ask "$file" 2>/dev/null); then
				echo "uninstall: $file is of a package ($owner): remove that" >&2
				exit 1
			fi
		done
	done
fi
for file in "${files[@]}"; do
	rm -f "$root$file"
	rmdir --parents --ignore-fail-on-non-empty "$(dirname "$root$file")" 2>/dev/null || true
done
echo "Left: $root/etc/dkms, $root/var/lib/dkms, $root/var/cache/dkms, and installed modules (\`dkms remove\` would have taken them away)."
