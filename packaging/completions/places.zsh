# Packages and kernels, read from their directories; dkms itself is never called.

(( $+functions[_dkms_kernels] )) ||
_dkms_kernels() {
    local -a kernels
    kernels=(/lib/modules/*(N/:t))
    _describe -t kernels kernel kernels
}

(( $+functions[_dkms_packages] )) ||
_dkms_packages() {
    local -a packages
    local name
    packages=(/var/lib/dkms/*/*/source(N:h))
    packages=(${packages#/var/lib/dkms/})
    for name in /usr/src/*-*/dkms.conf(N:h:t); do
        packages+=(${name%-*}/${name##*-})
    done
    packages=(${(u)packages})
    _describe -t packages package packages
}

(( $+functions[_dkms_operand] )) ||
_dkms_operand() {
    _alternative 'packages:package:_dkms_packages' 'files:source:_files'
}
