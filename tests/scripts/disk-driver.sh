#!/bin/bash
# disk-driver.sh KERNEL: makes the source of a package vblk/1.0 in /usr/src, whose module virtio_blk is KERNEL's own with
# another description, and so without the kernel's signature: /sys/module/virtio_blk/taint tells which one is loaded.
set -eu
kernel=$1 source=/usr/src/vblk-1.0
mkdir -p $source
xz -dc "/lib/modules/$kernel/kernel/drivers/block/virtio_blk.ko.xz" >"$source/kernels.ko"
cat >$source/dkms.conf <<'E'
PACKAGE_NAME=vblk
PACKAGE_VERSION=1.0
BUILT_MODULE_NAME=virtio_blk
DEST_MODULE_LOCATION=/kernel/drivers/block
MAKE="sh make.sh"
CLEAN=true
AUTOINSTALL=yes
E
cat >$source/make.sh <<'E'
strip --strip-debug -o virtio_blk.ko kernels.ko
sed -i 's/Virtio block driver/dkms__ block driver/' virtio_blk.ko
E
