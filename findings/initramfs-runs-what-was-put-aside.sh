#!/bin/bash
# Guess: a hook of initramfs-tools that was put aside as NAME.bak or NAME.dpkg-old is out of use: names are read by run-parts's rules,
# here as in /etc/kernel/postinst.d; and what holds for hooks/ holds for conf.d/.
# initramfs-tools 0.148.4: three rules. hooks/ takes any executable whose name has no strange character, dots allowed: NAME.bak and
# NAME.dpkg-old are run beside NAME. conf.d/ takes NAME.bak, and leaves out NAME.dpkg-old. run-parts, for /etc/kernel/postinst.d,
# takes neither, nor NAME.sh. A hook is first asked for `prereqs`: one that does not know the word does its work twice, exit 0.
# So: move what is put aside out of the directory, or take the x bit from it.
. "$(dirname "$0")/lib.sh"
root trixie initramfs-tools=0.148.4 kmod=34.2-2 zstd
run_inside <<'CODE'
mkdir -p /lib/modules/6.12.0/kernel /tmp/postinst.d
touch /lib/modules/6.12.0/modules.order /lib/modules/6.12.0/modules.builtin /lib/modules/6.12.0/modules.builtin.modinfo
echo CONFIG_RD_ZSTD=y >/boot/config-6.12.0
depmod 6.12.0
image() {
	rm -f /told
	mkinitramfs -o /tmp/image 6.12.0 >/dev/null 2>&1 && code=0 || code=$?
	[ -e /told ] || : >/told
}
for name in x x.bak x.dpkg-old x.sh x~ .x; do
	printf '#!/bin/sh\n[ "$1" = prereqs ] || echo %s >>/told\n' "$name" >"/etc/initramfs-tools/hooks/$name"
	printf '#!/bin/sh\n' >"/tmp/postinst.d/$name"
	echo "echo $name >>/told-conf" >"/etc/initramfs-tools/conf.d/$name"
done
chmod +x /etc/initramfs-tools/hooks/* /etc/initramfs-tools/hooks/.x /tmp/postinst.d/* /tmp/postinst.d/.x
image
echo "hooks: $code, $(sort /told | paste -sd ' ')"
echo "conf.d: $(sort -u /told-conf | paste -sd ' ')"
echo "run-parts: $(run-parts --test /tmp/postinst.d | sed 's#.*/##' | paste -sd ' ')"
rm -f /etc/initramfs-tools/hooks/* /etc/initramfs-tools/hooks/.x /etc/initramfs-tools/conf.d/x*
printf '#!/bin/sh\necho done >>/told\n' >/etc/initramfs-tools/hooks/simple
chmod +x /etc/initramfs-tools/hooks/simple
image
echo "without prereqs: $code, $(paste -sd ' ' /told)"
CODE
same 'hooks' 'hooks: 0, x x.bak x.dpkg-old x.sh' "$(line 1)"
same 'conf.d' 'conf.d: x x.bak x.sh' "$(line 2)"
same 'run-parts' 'run-parts: x' "$(line 3)"
same 'a hook that does not look at its arguments' 'without prereqs: 0, done done' "$(line 4)"
