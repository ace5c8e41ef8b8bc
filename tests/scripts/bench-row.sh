# shellcheck shell=bash
# bench-row.sh ROW ROUNDS KERNEL...     One row of the bench, behind bench-common.sh, in a bed as bench-in-bed.sh has it; a row of a
# real package finds its source in /usr/src, that of the index has the program /root/changes (core/tests/index.rs).
set -u
row=$1 rounds=$2
shift 2
kernels=("$@")
k=$1
building
answers=/var/cache/dkms/probes

# memory CASE PROGRAM COMMAND...: the most that a process of it has at a time, in KiB (getrusage(2), RUSAGE_CHILDREN).
memory() {
	local case=$1 program=$2
	shift 2
	# shellcheck disable=SC2016
	echo "$case $program $(perl -e 'my $child = fork // die; if (!$child) { open STDOUT, ">", "/dev/null"; exec @ARGV } waitpid $child, 0; my $usage = "\0" x 144; syscall 98, -1, $usage; print unpack "x32q", $usage' "$@")"
}

# many PACKAGES KERNELS: so many packages, installed for so many kernels. Their module is there already.
many() {
	local n p d release
	kernels=("$k")
	for ((n = 1; n < $2; n++)); do
		release=$k-n$n
		cp -al "/lib/modules/$k" "/lib/modules/$release"; kernels+=("$release")
	done
	[ -e /usr/src/hello-1.0/hello.ko ] || make -C "/lib/modules/$k/build" M=/usr/src/hello-1.0 modules >/dev/null 2>&1
	for ((p = 1000; p < 1000 + $1; p++)); do
		d=/usr/src/many$p-1.0
		[ ! -e "$d" ] || continue
		mkdir "$d"; cp /usr/src/hello-1.0/hello.ko "$d/many$p.ko"; touch "$d/Makefile"
		printf '%s\n' "PACKAGE_NAME=many$p" PACKAGE_VERSION=1.0 DEST_MODULE_LOCATION=/updates/dkms MAKE=true AUTOINSTALL=yes >"$d/dkms.conf"
		dkms add "many$p/1.0" >/dev/null
	done
	local options=()
	for release in "${kernels[@]}"; do options+=(-k "$release"); done
	dkms reconcile --initramfs=never "${options[@]}" >/dev/null 2>&1
	[ "$(dkms status | grep -c ': installed')" = $(($1 * $2)) ] || { echo "many: not all are installed" >&2; exit 1; }
}
all_of_them() { local release options=(); for release in "${kernels[@]}"; do options+=(-k "$release"); done; dkms reconcile --initramfs=never "${options[@]}"; }
curve() { # PACKAGES KERNELS
	many "$1" "$2"
	for ((i = 0; i < rounds; i++)); do
		measure "status-$1x$2" ours dkms status
		measure "status-$1x$2" find find /var/lib/dkms
		measure "reconcile-$1x$2" ours all_of_them
		measure "reconcile-$1x$2" find find /var/lib/dkms /lib/modules/*/updates
	done
	memory "status-memory-$1x$2" ours dkms status
}

# real NAME/VERSION: without anything kept, then with compilers' answers to be found out, and known.
real() {
	local id=$1 way each time
	dkms add "$id" >/dev/null 2>&1
	anew() { dkms unbuild "$id" --all >/dev/null 2>&1; dkms build "$id" -k "$k"; }
	for ((i = 0; i < rounds; i++)); do
		for way in none cold warm; do
			rm -f /etc/dkms/framework.conf.d/probes.conf
			case $way in
			none) echo probe_cache=no >/etc/dkms/framework.conf.d/probes.conf ;;
			cold) rm -rf $answers ;;
			esac
			case $way in
			none)
				time=$(measure x plain anew) || time=
				for each in cold warm; do [ -z "$time" ] || echo "$row-$each ${time#x }"; done
				;;
			*) measure "$row-$way" ours anew ;;
			esac
		done
	done
}

case $row in
eight-modules-cold | eight-modules-warm | eight-modules-full-cold | eight-modules-full-warm)
	eight_add
	autoinstall dkms 1 >/dev/null 2>&1; eight_clean
	for ((i = 0; i < rounds; i++)); do
		measure "$row" make+depmod eight_bare 1
		case $row in *-cold) rm -rf $answers ;; esac
		measure "$row" ours autoinstall dkms 1; eight_clean
		[ "$i" != 0 ] || { measure "$row" classic autoinstall /root/classic 1; eight_clean; }
	done
	;;
reuse)
	eight_add
	next=$(bash /root/reuse-in-bed.sh next "$k")
	cp -al "/lib/modules/$k/kernel" "/lib/modules/$next/"
	echo 'reuse="proven"' >/etc/dkms/framework.conf.d/reuse.conf
	upgrade() { kernels=("$next"); autoinstall dkms 1; kernels=("$k"); }
	# Nothing is known of the next kernel in either way.
	clear_kernel() { local m; for m in 1 2 3 4 5 6 7 8; do dkms unbuild "eight$m/1.0" -k "$next"; done >/dev/null 2>&1; rm -rf /var/cache/dkms/contents; }
	for ((i = 0; i < rounds; i++)); do
		taking; rm -rf /var/cache/dkms/results /var/cache/dkms/inputs; eight_clean
		autoinstall dkms 1 >/dev/null 2>&1
		clear_kernel; measure "$row" ours upgrade
		[ "$(dkms status --long -k "$next" | grep -c "reused from kernel $k")" = 8 ] || { echo "$row: not all are reused" >&2; exit 1; }
		building; clear_kernel; measure "$row" built upgrade
	done
	;;
depmod-one)
	# "4238 modules: 61.4 ms (median of 9), depmod 5512.0 ms: 89.8 times; before it VmHWM: 1 kB, then VmHWM: 2 kB"
	for ((i = 0; i < rounds; i++)); do
		/root/changes "$k" once | awk '{
			printf "depmod-one ours %d\ndepmod-one depmod %d\n", $3 * 1000, $8 * 1000
			print "depmod-one-memory ours", $(NF - 1)
		}'
	done
	;;
share)
	# What a registry on this machine has, against what is built here. Nothing is kept of the round before.
	eight_add; taking; ip link set lo up
	printf '%s\n' 'version: 0.1' 'log: {level: error, accesslog: {disabled: true}}' 'storage: {filesystem: {rootdirectory: /srv/registry}}' \
		'http:' '  addr: 127.0.0.1:5000' '  secret: x' >/srv/registry.yml
	docker-registry serve /srv/registry.yml >/srv/registry.log 2>&1 &
	registry=$!
	timeout 60 bash -c 'until (: </dev/tcp/127.0.0.1/5000) 2>/dev/null; do read -rt 0.05 <> <(:) || true; done'
	conf=/etc/dkms/framework.conf.d/share.conf
	share() { printf '%s\n' 'share="oci+http://127.0.0.1:5000/bench"' "$@" >$conf; }
	share 'share_push="yes"'; dkms share keygen >/dev/null
	autoinstall dkms 1 >/dev/null 2>&1
	for ((i = 0; i < rounds; i++)); do
		for program in building ours; do
			eight_clean; rm -rf /var/cache/dkms/results
			if [ $program = ours ]; then share; else rm -f $conf; fi
			measure share $program autoinstall dkms 1
			whence='^# taken from the result cache'
			for m in 1 2 3 4 5 6 7 8; do
				log=$(echo "/var/lib/dkms/eight$m/1.0/$k"/*/log/make.log)
				if [ $program = ours ]; then grep -q "$whence" "$log"; else (! grep -q "$whence" "$log"); fi || { echo "eight$m is not what was to be measured" >&2; exit 1; }
			done
		done
	done
	kill $registry
	;;
status-100x3) curve 100 3 ;;
status-1000x10) curve 1000 10 ;;
*)
	for source in /usr/src/*-[0-9]*; do
		name=${source##*/}
		case $name in hello-* | linux-*) ;; *) [ ! -e "$source/dkms.conf" ] || real "${name%-*}/${name##*-}" ;; esac
	done
	;;
esac
