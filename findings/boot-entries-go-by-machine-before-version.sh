#!/bin/bash
# Guess: of the boot entries of one distribution (one sort-key) the newest version comes first, and is what boots without a choice.
# systemd 257 (bootctl, which sorts as systemd-boot does): the machine ID comes before the version. kernel-install writes the ID
# of /etc/machine-id into each entry. After it has changed (a copied disk, an image that got its own ID at the first boot, a file
# that was emptied) kernels of old and new stand in two groups, and which group is first is chance: the smaller ID. An old
# kernel then boots, whatever is installed afterwards. Entries without an ID stand before both, those without a sort-key behind
# everything, and one that has no attempts left is the last of all. So: after a change of the ID add all kernels again, and remove the
# entries of the old one; entries of one's own get all three fields.
. "$(dirname "$0")/lib.sh"
root trixie systemd=257.13-1~deb13u1 systemd-boot-tools=257.13-1~deb13u1 jq
run_inside <<'CODE'
mkdir /tmp/boot
mount -t tmpfs boot /tmp/boot
mkdir -p /tmp/boot/loader/entries /tmp/boot/EFI
echo >/tmp/boot/linux
# entry NAME LINE…
entry() {
	local name=$1
	shift
	printf '%s\n' "title $name" 'linux /linux' "$@" >"/tmp/boot/loader/entries/$name.conf"
}
order() {
	SYSTEMD_RELAX_ESP_CHECKS=1 bootctl --esp-path=/tmp/boot list --json=short 2>/dev/null | jq -r '.[].id' | sed 's/\.conf$//' | paste -sd ' '
}
one='machine-id 1123456789abcdef0123456789abcdef'
two='machine-id 2123456789abcdef0123456789abcdef'
entry old 'sort-key debian' 'version 6.1' "$one"
entry new 'sort-key debian' 'version 6.12' "$one"
echo "one machine: $(order)"
entry new 'sort-key debian' 'version 6.12' "$two"
entry newest 'sort-key debian' 'version 7.0' "$two"
echo "two: $(order)"
entry no-id 'sort-key debian' 'version 5.10'
echo "no ID: $(order)"
entry no-key 'version 8.0' "$one"
echo "no key: $(order)"
entry tried+0-3 'sort-key debian' 'version 9.0' "$one"
echo "tried: $(order)"
CODE
same 'one machine ID' 'one machine: new old' "$(line 1)"
same 'two' 'two: old newest new' "$(line 2)"
same 'an old one without' 'no ID: no-id old newest new' "$(line 3)"
same 'a new one without sort-key' 'no key: no-id old newest new no-key' "$(line 4)"
same 'a new one whose attempts have failed' 'tried: no-id old newest new no-key tried' "$(line 5)"
