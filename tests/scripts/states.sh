#!/bin/bash
# states.sh: modules in all states that they get into on real machines; what dkms says of each, and what a booted kernel does.
#   states.sh lay KERNEL DIR     in a bed with KERNEL, its headers and dkms: lays the states down, prints what dkms says, and puts
#                                what the guest needs into DIR
#   states.sh boot KERNEL DIR    in the bed that Base::boot() makes: boots the kernel that `lay` put into DIR, and tries each
set -eu
what=$1 kernel=$2 dir=$3
tree=/lib/modules/$kernel
updates=$tree/updates/dkms

# module FILE LICENCE WORD [SYMBOL...]: a module that prints WORD and its name; it needs SYMBOL, or exports it (+SYMBOL)
module() {
	local file=$1 licence=$2 word=$3 symbol name
	shift 3
	{
		echo '#include <linux/module.h>'
		for symbol; do
			case $symbol in
			+*) printf '%s(void);\n%s(void) { return 1; }\nEXPORT_SYMBOL(%s);\n' "${symbol#+}" "${symbol#+}" "${symbol##* }" ;;
			*) printf 'extern char %s[];\nstatic char *volatile use_%s = %s;\n' "$symbol" "$symbol" "$symbol" ;;
			esac
		done
		name=${file##*/}
		name=${name%.c}
		printf 'static int __init state_init(void) { pr_info("%s %s runs\\n"); return 0; }\n' "$word" "${name//-/_}"
		echo 'static void __exit state_exit(void) { }'
		echo "module_init(state_init); module_exit(state_exit); MODULE_LICENSE(\"$licence\"); MODULE_DESCRIPTION(\"a state\");"
		case $file in *alias*) echo 'MODULE_ALIAS("dkms-test:[a-c]-*");' ;; esac
	} >"$file"
}

# package NAME VERSION WHERE MODULE...: the dkms.conf and Makefile of what lies in /usr/src/NAME-VERSION; modules go to WHERE, or
# to where MODULE@WHERE says
package() {
	local source=/usr/src/$1-$2 where=$3 module n=0
	{
		printf 'PACKAGE_NAME=%s\nPACKAGE_VERSION=%s\nAUTOINSTALL=yes\n' "$1" "$2"
		# shellcheck disable=SC2016 # dkms expands them
		printf 'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/%s/%s/build KBUILD_MODPOST_WARN=1 CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS=y modules"\n' "$1" "$2"
		shift 3
		for module; do
			printf 'BUILT_MODULE_NAME[%s]=%s\n' $n "${module%@*}"
			case $module in *@*) printf 'DEST_MODULE_LOCATION[%s]=%s\n' $n "${module#*@}" ;; *) printf 'DEST_MODULE_LOCATION[%s]=%s\n' $n "$where" ;; esac
			n=$((n + 1))
		done
	} >"$source/dkms.conf"
	for module; do echo "obj-m += ${module%@*}.o"; done >"$source/Makefile"
}

# installed NAME: its file, uncompressed for a change by `changed`
opened() { xz -dc "$updates/$1.ko.xz" >"/tmp/$1.ko"; }
changed() { xz --check=crc32 -c "/tmp/$1.ko" >"$updates/$1.ko.xz"; }

case $what in
lay)
	mkdir -p /usr/src/giver-1.0 /usr/src/giver-2.0 /usr/src/states-1.0 /usr/src/placed-1.0 /root/foreign
	module /usr/src/giver-1.0/giver.c GPL ours '+int giver_a' '+int giver_b'
	module /usr/src/giver-2.0/giver.c GPL ours '+long giver_a' '+int giver_b'
	for v in 1.0 2.0; do package giver $v /updates/dkms giver; done

	plain=(plain emptied emptied_later cut cut_later tail garbage program zeros gone gone_later other_release other_machine
		stripped tampered bad_signature flipped unlisted replaced overridden overrides twice spelt-so directory leads_nowhere by_alias
		stopped started other_options)
	special=(needs_stock takes_a takes_b no_symbol not_gpl exporter takes_exporter exporter_gone takes_gone exporter_torn takes_torn takes_unfit unfit crc16
		imports imports_not)
	s=/usr/src/states-1.0
	for m in "${plain[@]}"; do module "$s/$m.c" GPL ours; done
	module "$s/needs_stock.c" GPL ours llc_sap_find
	module "$s/takes_a.c" GPL ours giver_a
	module "$s/takes_b.c" GPL ours giver_b
	module "$s/no_symbol.c" GPL ours dkms_nobody_exports_this
	module "$s/not_gpl.c" GPL ours class_unregister
	module "$s/unfit.c" GPL ours dkms_nobody_exports_this '+int value_of_unfit'
	module "$s/takes_unfit.c" GPL ours value_of_unfit
	module "$s/crc16.c" GPL ours
	# A symbol of the kernel itself that is for those alone that import its namespace.
	read -r symbol namespace < <(awk -F'\t' '$3 == "vmlinux" && $5 != "" && $5 !~ /^module:/ { print $2, $5; exit }' "$tree/build/Module.symvers")
	for m in imports imports_not; do module "$s/$m.c" GPL ours "$symbol"; done
	echo "MODULE_INFO(import_ns, \"$namespace\");" >>"$s/imports.c"
	for m in exporter exporter_gone exporter_torn; do module "$s/$m.c" GPL ours "+int value_of_$m"; done
	module "$s/takes_exporter.c" GPL ours value_of_exporter
	module "$s/takes_gone.c" GPL ours value_of_exporter_gone
	module "$s/takes_torn.c" GPL ours value_of_exporter_torn
	package states 1.0 /updates/dkms "${plain[@]}" "${special[@]}"
	echo 'BUILD_DEPENDS=giver' >>"$s/dkms.conf"

	placed=(in_extra@/extra in_misc@/kernel/drivers/misc in_source@/kernel/drivers/source deep@/extra/source/deep shadowed@/extra)
	for m in "${placed[@]}"; do module "/usr/src/placed-1.0/${m%@*}.c" GPL ours; done
	package placed 1.0 /extra "${placed[@]}"

	for m in replaced overridden twice shadowed; do module /root/foreign/$m.c GPL foreign; done
	for m in replaced overridden twice shadowed; do echo "obj-m += $m.o"; done >/root/foreign/Makefile
	make -s -C "$tree/build" M=/root/foreign modules >&2

	{
		dkms install giver/1.0 -k "$kernel"
		dkms install states/1.0 -k "$kernel"
		dkms install giver/2.0 -k "$kernel" --force
		cp /etc/os-release /root/os-release
		# A distribution that puts modules where dkms.conf says.
		rm /etc/os-release
		echo ID=void >/etc/os-release
		dkms install placed/1.0 -k "$kernel"
		cp /root/os-release /etc/os-release
	} >&2

	mkdir -p "$tree/kernel/misc"
	cp /root/foreign/overridden.ko /root/foreign/twice.ko "$tree/kernel/misc/"
	cp /root/foreign/shadowed.ko "$tree/updates/"
	xz --check=crc32 -c /root/foreign/replaced.ko >"$updates/replaced.ko.xz"
	printf 'override overridden * kernel/misc\noverride overrides * updates/dkms\n' >/etc/depmod.d/states.conf
	: >"$updates/emptied.ko.xz"
	truncate -s 300 "$updates/cut.ko.xz"
	opened tail
	truncate -s -200 /tmp/tail.ko
	changed tail
	echo 'no module' >/tmp/garbage.ko
	changed garbage
	cp /bin/true /tmp/program.ko
	changed program
	opened zeros
	head -c "$(stat -c %s /tmp/zeros.ko)" /dev/zero >/tmp/z && mv /tmp/z /tmp/zeros.ko
	changed zeros
	rm "$updates/gone.ko.xz" "$updates/exporter_gone.ko.xz"
	opened other_release
	sed -i "s/vermagic=./vermagic=9/" /tmp/other_release.ko
	# Of a kernel with symbol versions the release does not count: it is refused for the rest.
	sed -i 's/ mod_unload / mod_unlaod /' /tmp/other_release.ko
	changed other_release
	opened other_options
	sed -i 's/ mod_unload / mod_unlaod /' /tmp/other_options.ko
	changed other_options
	mkdir -p /etc/modprobe.d
	printf 'install stopped /bin/false\ninstall started /sbin/modprobe --ignore-install started\n' >/etc/modprobe.d/states.conf
	opened other_machine
	printf '\267' | dd of=/tmp/other_machine.ko bs=1 seek=18 conv=notrunc status=none
	changed other_machine
	opened stripped
	strip -g /tmp/stripped.ko
	changed stripped
	opened tampered
	sed -i 's/ours tampered runs/Ours tampered runs/' /tmp/tampered.ko
	changed tampered
	opened not_gpl
	sed -i 's/license=GPL/license=XXX/' /tmp/not_gpl.ko
	changed not_gpl
	opened bad_signature
	printf 'garbage~Module signature appended~\n' >>/tmp/bad_signature.ko
	changed bad_signature
	size=$(stat -c %s "$updates/flipped.ko.xz")
	printf 'XXXXXXXX' | dd of="$updates/flipped.ko.xz" bs=1 seek=$((size / 2)) conv=notrunc status=none
	: >"$updates/exporter_torn.ko.xz"
	mv "$updates/unlisted.ko.xz" /root/
	rm "$updates/directory.ko.xz" "$updates/leads_nowhere.ko.xz"
	mkdir "$updates/directory.ko.xz"
	ln -s /nowhere/leads_nowhere.ko.xz "$updates/leads_nowhere.ko.xz"
	depmod "$kernel" >&2
	mv /root/unlisted.ko.xz "$updates/"
	: >"$updates/emptied_later.ko.xz"
	truncate -s 300 "$updates/cut_later.ko.xz"
	rm "$updates/gone_later.ko.xz" "$updates/exporter.ko.xz"

	mkdir -p "$dir/root$tree/kernel"
	mkdir -p "$dir/root/etc/modprobe.d"
	cp /etc/modprobe.d/states.conf "$dir/root/etc/modprobe.d/"
	cp -a "$tree"/modules.* "$tree"/updates "$tree"/extra "$dir/root$tree/"
	for some in misc drivers/misc drivers/source net/llc; do
		mkdir -p "$dir/root$tree/kernel/$some"
		cp -a "$tree"/kernel/$some/. "$dir/root$tree/kernel/$some/"
	done
	cp "/boot/vmlinuz-$kernel" "$dir/vmlinuz"
	{
		for m in giver "${plain[@]}" "${special[@]}"; do echo "$m updates/dkms/$m.ko.xz"; done
		for m in "${placed[@]}"; do n=${m%@*} where=${m#*@}; echo "$n ${where#/}/$n.ko.xz"; done
	} | tee "$dir/root/states" | sed 's/^/STATE /'
	dkms status -k "$kernel" --long | sed -n 's/^ *\([^ ]*\) would not be loaded: /REFUSED \1 /p'
	;;
boot)
	root=$dir/root
	mkdir -p "$root"/{bin,sbin,proc,sys,dev}
	cp /bin/busybox "$root/bin/"
	program=$(readlink -f /sbin/modprobe)
	for file in "$program" $(ldd "$program" | grep -oE '/[^ ]+'); do install -D -m 755 "$file" "$root$file"; done
	for name in modprobe modinfo; do ln -sf "$program" "$root/sbin/$name"; done
	cat >"$root/init" <<-'X'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/sbin:/bin
		mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
		dmesg -n 1
		echo "GUEST kernel $(uname -r)"
		while read -r name path; do
			file=$(/sbin/modinfo -n $name 2>/dev/null)
			said=$(/sbin/modprobe $name 2>&1); code=$?
			dmesg | grep -q "ours $(echo $name | tr - _) runs" && ran=ours || ran=not
			echo "GUEST STATE $name $code $ran ${file:-none} $said"
			/sbin/modprobe -q -r $name 2>/dev/null
		done </states
		/sbin/modprobe dkms-test:b-2; echo "GUEST alias $?"
		echo "GUEST done after $(cut -d' ' -f1 /proc/uptime) s"
		poweroff -f
	X
	chmod +x "$root/init"
	(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$dir/initrd.gz"
	timeout 280 qemu-system-x86_64 -machine q35,accel=tcg -cpu max -m 640 -smp 1 -nographic -no-reboot -nic none \
		-kernel "$dir/vmlinuz" -initrd "$dir/initrd.gz" -append "console=ttyS0 quiet panic=-1" </dev/null
	;;
esac
