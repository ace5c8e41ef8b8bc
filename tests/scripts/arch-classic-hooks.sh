#!/bin/bash
# arch-classic-hooks.sh
#
# Run inside a root made by arch-root.sh that has the classic's program: gives it hooks that do what the Arch package's
# do, as far as shared knowledge of their behaviour goes (the packaged ones are not in Debian's archive). The modules of
# what is upgraded or removed go before the transaction; afterwards each module is installed for each kernel concerned.
set -eu
hooks=/usr/share/libalpm/hooks scripts=/usr/share/libalpm/scripts
cat >$scripts/dkms <<'S'
#!/bin/bash
depmod=yes
[ "$1" != -D ] || { depmod=; shift; }
modules=() kernels=() touched=()
while read -r path; do
	rest=${path#usr/*/}
	rest=${rest#modules/}
	case $path in
	usr/src/*/dkms.conf) modules+=("$(sed 's,-\([^-]*\)/dkms.conf$,/\1,' <<<"$rest")") ;;
	usr/lib/modules/*) kernels+=("${rest%%/*}") ;;
	esac
done
mapfile -t kernels < <(printf '%s\n' "${kernels[@]}" | sort -u | grep .)

install() { # MODULE KERNEL
	[ -d "/usr/lib/modules/$2/build/include" ] && [ -d "/usr/lib/modules/$2/kernel" ] || return 0
	dkms install --no-depmod "$1" -k "$2" || echo "==> WARNING: dkms install $1 -k $2 exited $?"
	touched+=("$2")
}
remove() { # of the lines of `dkms status`, those of built modules
	local module kernel rest
	while IFS=', ' read -r module kernel rest; do
		case $rest in *built | *installed*) dkms remove --no-depmod "$module" -k "$kernel"; touched+=("$kernel") ;; esac
	done
}

case $1 in
install)
	for module in "${modules[@]}"; do
		for kernel in /usr/lib/modules/*/build; do kernel=${kernel%/build}; install "$module" "${kernel##*/}"; done
	done
	for kernel in "${kernels[@]}"; do
		for conf in /usr/src/*-*/dkms.conf; do
			conf=${conf%/dkms.conf}
			conf=${conf##*/}
			install "${conf%-*}/${conf##*-}" "$kernel"
		done
	done
	;;
remove)
	for module in "${modules[@]}"; do
		remove < <(dkms status "$module")
		[ -z "$(dkms status "$module")" ] || dkms remove "$module"
	done
	for kernel in "${kernels[@]}"; do remove < <(dkms status -k "$kernel"); done
	;;
esac
if [ -n "$depmod" ]; then
	for kernel in $(printf '%s\n' "${touched[@]}" | sort -u); do depmod "$kernel"; done
fi
exit 0
S
chmod 755 $scripts/dkms
hook() { # FILE WHEN WORDS OPERATIONS
	{
		echo '[Trigger]'
		for operation in $4; do echo "Operation = $operation"; done
		printf 'Type = Path\n'
		printf 'Target = %s\n' 'usr/src/*/dkms.conf' 'usr/lib/modules/*/build/include/' 'usr/lib/modules/*/modules.order'
		printf '[Action]\nDescription = %s\nWhen = %s\nExec = %s\nNeedsTargets\n' "$1" "$2" "$scripts/dkms $3"
	} >"$hooks/$1.hook"
}
hook 70-dkms-install PostTransaction install 'Install Upgrade'
hook 70-dkms-upgrade PreTransaction '-D remove' Upgrade
hook 71-dkms-remove PreTransaction remove Remove
