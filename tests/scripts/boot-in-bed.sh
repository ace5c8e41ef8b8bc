#!/bin/bash
# boot-in-bed.sh: boots a Debian kernel in an emulated machine (qemu, no KVM needed), with the modules that dkms has put
# into /lib/modules. Runs inside the bed that Base::boot() makes. Everything it makes is in /var/tmp/boot.
#   boot-in-bed.sh initramfs KERNEL           an initramfs with modprobe, KERNEL's depmod index and updates/
#   boot-in-bed.sh direct KERNEL [WORD...]    the kernel started by qemu itself, with WORDs on its command line
#   boot-in-bed.sh secure KERNEL [CERT]       OVMF with Secure Boot, shim, GRUB; CERT (DER) in the machine owner list
# What the guest prints goes to standard output.
set -eu
here=/var/tmp/boot
mkdir -p $here
what=$1 kernel=$2
shift 2
# A firmware that refuses what it is given waits for a key.
patience=150

with_libraries() { # PROGRAM DIR
	local lib
	install -D -m 755 "$1" "$2$1"
	for lib in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+'); do install -D -m 755 "$lib" "$2$lib"; done
}

case $what in
initramfs)
	root=$here/root
	rm -rf $root
	mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,etc,var/lib/dkms,lib/modules/"$kernel"}
	cp /bin/busybox $root/bin/
	with_libraries "$(readlink -f /sbin/modprobe)" $root
	[ -e $root/sbin/modprobe ] || ln -s "$(readlink -f /sbin/modprobe)" $root/sbin/modprobe
	cp /usr/sbin/dkms $here/dkms
	strip $here/dkms
	with_libraries $here/dkms $root
	cp /usr/lib/os-release $root/etc/
	cp /var/lib/dkms/mok.pub $root/var/lib/dkms/
	cp -a "/lib/modules/$kernel"/modules.* "/lib/modules/$kernel/updates" "$root/lib/modules/$kernel/"
	# To read the firmware's variables; a module of Debian's own, signed by Debian.
	efivarfs=$(modinfo -k "$kernel" -F filename efivarfs)
	[ ! -f "$efivarfs" ] || install -D -m 644 "$efivarfs" "$root$efivarfs"
	cat >$root/init <<-'X'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/sbin:/bin
		mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
		mount -t securityfs sec /sys/kernel/security
		modprobe -q efivarfs
		[ ! -d /sys/firmware/efi ] || mount -t efivarfs efi /sys/firmware/efi/efivars
		dmesg -n 1
		echo "GUEST kernel $(uname -r)"
		echo "GUEST lockdown $(cat /sys/kernel/security/lockdown)"
		echo "GUEST sig_enforce $(cat /sys/module/module/parameters/sig_enforce)"
		# Ours comes last: a kernel that refuses everything would refuse it too.
		for module in plain foreign tampered hello; do
			said=$(/sbin/modprobe $module 2>&1); code=$?
			echo "GUEST modprobe $module: $code $said"
			rmmod $module 2>/dev/null
		done
		/var/tmp/boot/dkms mok status 2>&1 | sed 's/^/GUEST dkms: /'
		dmesg | grep -iE "secure ?boot|lockdown|loading of|signature|tampered|hello|plain|foreign|cert '(DKMS|Debian|Build)" |
			sed 's/^/GUEST dmesg: /'
		echo "GUEST done after $(cut -d' ' -f1 /proc/uptime) s"
		poweroff -f
	X
	chmod +x $root/init
	(cd $root && find . | cpio --quiet -o -H newc | gzip -1) >$here/initrd.gz
	;;
direct)
	timeout $patience qemu-system-x86_64 -machine q35,accel=tcg -cpu max -m 640 -smp 1 -nographic -no-reboot -nic none \
		-kernel "/boot/vmlinuz-$kernel" -initrd $here/initrd.gz -append "console=ttyS0 quiet panic=-1 $*" </dev/null
	;;
secure)
	variables=$here/variables.fd
	cp /usr/share/OVMF/OVMF_VARS_4M.ms.fd $variables
	if [ $# -gt 0 ]; then
		# In place of MokManager's blue screen: shim's own GUID owns the entry.
		openssl x509 -inform DER -in "$1" -out $here/mok.pem
		virt-fw-vars -i /usr/share/OVMF/OVMF_VARS_4M.ms.fd -o $variables \
			--add-mok 605dab50-e046-4300-abb6-3dd810dd8b23 $here/mok.pem >&2
	fi
	disk=$here/disk.img
	rm -f $disk
	truncate -s 96M $disk
	mformat -i $disk -F ::
	mmd -i $disk ::/EFI ::/EFI/BOOT ::/EFI/debian
	mcopy -i $disk /usr/lib/shim/shimx64.efi.signed ::/EFI/BOOT/BOOTX64.EFI
	mcopy -i $disk /usr/lib/shim/mmx64.efi.signed ::/EFI/BOOT/mmx64.efi
	mcopy -i $disk /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed ::/EFI/BOOT/grubx64.efi
	mcopy -i $disk "/boot/vmlinuz-$kernel" ::/vmlinuz
	mcopy -i $disk $here/initrd.gz ::/initrd.gz
	printf '%s\n' 'set timeout=0' 'linux /vmlinuz console=ttyS0 quiet panic=-1' 'initrd /initrd.gz' boot >$here/grub.cfg
	mcopy -i $disk $here/grub.cfg ::/EFI/debian/grub.cfg
	mcopy -i $disk $here/grub.cfg ::/EFI/BOOT/grub.cfg
	timeout $patience qemu-system-x86_64 -machine q35,smm=on -accel tcg,thread=multi -cpu max -m 768 -smp 1 -nographic \
		-no-reboot -nic none -global driver=cfi.pflash01,property=secure,value=on \
		-drive if=pflash,format=raw,unit=0,file=/usr/share/OVMF/OVMF_CODE_4M.ms.fd,readonly=on \
		-drive if=pflash,format=raw,unit=1,file=$variables -drive file=$disk,format=raw,if=virtio </dev/null
	;;
esac
