#!/bin/bash
# Puts into the image the modules that dkms has listed for it, with what they depend on: those in the place of one of the
# kernel's own. dracut takes what lies below kernel/ and updates/, and for one machine what its devices name.

check() {
    return 0
}

installkernel() {
    # dracut's variable: the kernel's modules.
    # shellcheck disable=SC2154
    local list=$srcmods/.dkms-initramfs module
    [[ -r $list ]] || return 0
    while read -r module; do
        # Whether or not this machine has the device now: an image without the driver of its disk does not boot. Without
        # this module there is no image, and the old one stays.
        if ! hostonly='' instmods -c "$module"; then
            dfatal "The module $module, which this image needs, can not be found. To fix it: dkms reconcile -k ${kernel:-}"
            exit 1
        fi
    done <"$list"
}
