#!/bin/bash
# Guess: `kernel-install remove` is a clean-up: a plugin that fails is noted in the exit code, and the plugins behind it still
# run.
# systemd 252 (a shell script) and 257 (a program): the first plugin that fails ends the removal, as it ends `add`. What
# 90-loaderentry would have deleted stays: a boot entry and an image of a kernel that is gone. And 77 ends it with 0. 257 says
# which plugin it was, 252 nothing. So: a plugin has to end with 0 for `remove`, whatever happened to it.
. "$(dirname "$0")/lib.sh"
debian bookworm systemd=252.39-1~deb12u2
debian trixie systemd=257.13-1~deb13u1 libsystemd-shared=257.13-1~deb13u1 libc6 libcap2 libcrypt1 libselinux1 libpcre2-8-0 \
	libseccomp2 libacl1 libmount1 libblkid1 libkmod2 libgcrypt20 liblz4-1 libzstd1 liblzma5 libssl3t64 libpam0g libaudit1 \
	libgpg-error0 libfdisk1 libcap-ng0

mkdir -p "$T/plugins" "$T/conf" "$T/boot"
for name in 10-first 40-module 90-entry; do
	cat >"$T/plugins/$name.install" <<-'PLUGIN'
		#!/bin/sh
		name=${0##*/}
		echo "${name%.install}" >>"$SEEN"
		[ "$name" != 40-module.install ] || exit "$CODE"
	PLUGIN
	chmod +x "$T/plugins/$name.install"
done
printf 'layout=other\nMACHINE_ID=0123456789abcdef0123456789abcdef\nBOOT_ROOT=%s\n' "$T/boot" >"$T/conf/install.conf"
export KERNEL_INSTALL_CONF_ROOT=$T/conf SEEN=$T/seen CODE
KERNEL_INSTALL_PLUGINS=$(printf '%s ' "$T"/plugins/*.install)
export KERNEL_INSTALL_PLUGINS

# remove SUITE: which plugins have run, and the exit code
remove() {
	local code=0 lib=$T/trixie/usr/lib/x86_64-linux-gnu
	: >"$SEEN"
	case $1 in
	bookworm) sh "$T/bookworm/usr/bin/kernel-install" remove 6.1.0-x ;;
	# The program has a library in a directory of its own.
	trixie) "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$lib/systemd" --argv0 kernel-install "$T/trixie/usr/bin/kernel-install" remove 6.1.0-x ;;
	esac 2>/dev/null || code=$?
	echo "$(tr '\n' ' ' <"$SEEN")$code"
}
for suite in bookworm trixie; do
	CODE=0
	same "$suite: all plugins end with 0" '10-first 40-module 90-entry 0' "$(remove "$suite")"
	CODE=11
	same "$suite: the second ends with 11" '10-first 40-module 11' "$(remove "$suite")"
	CODE=77
	same "$suite: the second ends with 77" '10-first 40-module 0' "$(remove "$suite")"
done
