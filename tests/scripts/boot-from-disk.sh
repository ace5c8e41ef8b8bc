#!/bin/bash
# boot-from-disk.sh KERNEL IMAGE: boots KERNEL with the initramfs IMAGE in an emulated machine whose root lies on a virtio
# disk. Prints what the guest says about its disk's driver, in lines that begin with GUEST.
set -eu
kernel=$1 image=$2 here=/var/tmp/boot-from-disk
root=$here/root
rm -rf $here
mkdir -p $root/{bin,sbin,proc,sys,dev,run,tmp,etc,lib}
cp /bin/busybox $root/bin/
ln -s busybox $root/bin/sh
cat >$root/sbin/init <<'E'
#!/bin/busybox sh
/bin/busybox mount -t sysfs sys /sys 2>/dev/null
echo "GUEST root on $(/bin/busybox ls /sys/block | /bin/busybox grep vd) taint=$(/bin/busybox cat /sys/module/virtio_blk/taint)."
/bin/busybox poweroff -f
E
chmod 755 $root/sbin/init
truncate -s 32M $here/disk
mke2fs -q -t ext4 -d $root $here/disk
# A loaded machine's timer ticks too late for the kernel's check of it.
timeout 240 qemu-system-x86_64 -machine q35,accel=tcg -cpu max -m 640 -smp 1 -nographic -no-reboot -nic none \
	-kernel "/boot/vmlinuz-$kernel" -initrd "$image" -drive "file=$here/disk,format=raw,if=virtio" \
	-append "no_timer_check console=ttyS0 root=/dev/vda rw quiet panic=-1 init=/sbin/init rd.shell=0 rd.emergency=poweroff" </dev/null
