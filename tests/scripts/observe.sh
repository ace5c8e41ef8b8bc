# shellcheck shell=bash
# Says what dkms left behind in a bed. Run by bash inside it.
# Sections begin with a line "@@ NAME"; src/observe.rs reads them.
echo "@@ status"
dkms status 2>/dev/null
echo "@@ tree"
cd /var/lib/dkms 2>/dev/null && find . -mindepth 1 \( -name .dkms -o -name .dkms-manifest.json -o -name 'mok.*' \) -prune -o -printf '%y %m %P -> %l\n' | LC_ALL=C sort -k3
for directory in /lib/modules/*/; do
	cd "$directory" 2>/dev/null || continue
	kernel=$(basename "$directory")
	echo "@@ files $kernel"
	find . -mindepth 1 \( -name .dkms-manifest.json -o -name .dkms-initramfs \) -prune -o -printf '%y %m %P -> %l\n' | LC_ALL=C sort -k3
	echo "@@ depmod $kernel"
	grep -E '^(updates|extra)/' modules.dep | LC_ALL=C sort
	find updates extra -name '*.ko*' 2>/dev/null | LC_ALL=C sort | while read -r file; do
		echo "@@ modinfo $kernel $file"
		# The signature itself differs by nature; that there is one, by whom and how, does not.
		modinfo "$file" | sed -n '/^filename:/d; /^signature:/d; /^[a-z_]*:/p' | LC_ALL=C sort
	done
done
exit 0
