# shellcheck shell=bash
# bench-in-bed.sh FLAVOUR ROUNDS PACKAGES KERNEL...     Run by bash inside a bed that holds /usr/sbin/dkms (ours),
# /root/classic, and hello-1.0 below /usr/src. Prints "CASE PROGRAM MICROSECONDS", a line a measurement; src/bin/bench.rs
# makes the table. FLAVOUR full: only what a kernel with all its modules changes.
# What is compared is measured in turns, so that a busy machine is busy for all of it.
set -u
flavour=$1 rounds=$2 packages=$3
shift 3
kernels=("$@")
k=$1

building

as_root() { mkdir -p /etc/dkms/framework.conf.d; echo 'build_as="root"' >/etc/dkms/framework.conf.d/as-root.conf; }
apart() { rm -f /etc/dkms/framework.conf.d/as-root.conf; }
# In turns: the first of a pair finds other caches than the second.
both_ways() { # ROUND CASE TIMES COMMAND...
	local n round=$1 ways=(apart as_root)
	shift
	for ((n = 0; n < 2; n++)); do
		"${ways[(round + n) % 2]}"
		if [ -e /etc/dkms/framework.conf.d/as-root.conf ]; then measure_work "$1" as-root "${@:2}"; else measure_work "$1" ours "${@:2}"; fi
	done
	apart
}
# The first $1 kernels as options, in `options`.
for_kernels() { local k; options=(); for k in "${kernels[@]:0:$1}"; do options+=(-k "$k"); done; }

if [ "$flavour" != full ]; then
# Start-up.
for ((i = 0; i < 200; i++)); do
	measure start-up ours dkms --version
	measure start-up true /bin/true
	[ $((i % 20)) != 0 ] || measure start-up classic /root/classic --version
done

# One small module, from source to installed.
dkms add hello/1.0 >/dev/null
bare() {
	rm -rf /root/bare && cp -a "/usr/src/$1" /root/bare && make -C "/lib/modules/$2/build" M=/root/bare modules
}
bare_and_depmod() { bare hello-1.0 "$k" && depmod -a "$k"; }
ours_one() { dkms build hello/1.0 -k "$k" && dkms install hello/1.0 -k "$k"; }
classic_one() { /root/classic build hello/1.0 -k "$k" && /root/classic install hello/1.0 -k "$k"; }
clean() { dkms unbuild hello/1.0 --all >/dev/null 2>&1; }
measure warm-up x bare_and_depmod >/dev/null
for ((i = 0; i < rounds; i++)); do
	measure one-module make+depmod bare_and_depmod
	measure one-module ours ours_one; clean
	measure one-module classic classic_one; clean
done
built_anew() { dkms build hello/1.0 -k "$k" --force; }
for ((i = 0; i < rounds * 2; i++)); do both_ways "$i" kept-apart 1 built_anew; done
dkms remove hello/1.0 --all >/dev/null 2>&1
fi

# Eight signed modules for one kernel and for three.
eight_add
# The classic leaves the initramfs alone: so does this.
reconcile() { for_kernels "$1"; dkms reconcile --initramfs=never "${options[@]}"; }
eight="eight-modules"
[ "$flavour" != full ] || eight="eight-modules-full"
for n in 1 ${kernels[2]:+3}; do
	for ((i = 0; i < (rounds + 1) / 2; i++)); do
		measure "$eight-x$n" make+depmod eight_bare "$n"
		if [ "$n" = 1 ]; then measure "$eight-x$n" ours autoinstall dkms "$n"; else measure "$eight-x$n" ours reconcile "$n"; fi
		eight_clean
		[ "$i" != 0 ] || { measure "$eight-x$n" classic autoinstall /root/classic "$n"; eight_clean; }
	done
done
# A second time, from the result cache: removed, added, and nothing of the first left but that. In turns with the first, that fills it.
eight_anew() { local m; for m in 1 2 3 4 5 6 7 8; do dkms remove "eight$m/1.0" --all; dkms add "eight$m/1.0"; done >/dev/null 2>&1; }
taking
for ((i = 0; i < (rounds + 1) / 2; i++)); do
	rm -rf /var/cache/dkms/results; eight_anew
	measure "$eight-second" first autoinstall dkms 1; eight_anew
	measure "$eight-second" ours autoinstall dkms 1
	# Not what was to be measured, if one was built.
	for m in 1 2 3 4 5 6 7 8; do
		grep -q '^# taken from the result cache' "/var/lib/dkms/eight$m/1.0/$k"/*/log/make.log || { echo "eight$m was built" >&2; exit 1; }
	done
done
building
for m in 1 2 3 4 5 6 7 8; do dkms remove "eight$m/1.0" --all; done >/dev/null 2>&1
[ "$flavour" != full ] || exit 0

# Many packages installed on every kernel. Their module is there already: only what dkms does is of interest.
make -C "/lib/modules/$k/build" M=/usr/src/hello-1.0 modules >/dev/null 2>&1
for ((p = 100; p < 100 + packages; p++)); do
	d=/usr/src/many$p-1.0
	mkdir "$d"; cp /usr/src/hello-1.0/hello.ko "$d/many$p.ko"; touch "$d/Makefile"
	printf '%s\n' "PACKAGE_NAME=many$p" PACKAGE_VERSION=1.0 DEST_MODULE_LOCATION=/updates/dkms MAKE=true AUTOINSTALL=yes >"$d/dkms.conf"
	for_kernels 9
	# --force: the module was built for one of the kernels.
	dkms install --force --no-depmod "many$p/1.0" "${options[@]}" >/dev/null 2>&1 || { echo "many$p can't be installed" >&2; break; }
done
for each in "${kernels[@]}"; do depmod -a "$each"; done
trees=(/var/lib/dkms)
measure status classic /root/classic status
for ((i = 0; i < 20; i++)); do
	measure status ours dkms status
	measure status find find "${trees[@]}"
done
for ((i = 0; i < 20; i++)); do both_ways "$i" status-kept-apart 10 dkms status; done
unpack() { xz -dc /lib/modules/*/updates/dkms/many*.ko.xz; }
for ((i = 0; i < 10; i++)); do
	measure status-long ours dkms status --long
	measure status-long xz unpack
done
for ((i = 0; i < 20; i++)); do
	measure nothing-to-do ours reconcile 9
	measure nothing-to-do find find "${trees[@]}" /lib/modules/*/updates
done

# One package of 600 modules, against four of 150: linear or not.
parts() { # NAME COUNT
	local d=/usr/src/$1-1.0 m
	mkdir "$d"; touch "$d/Makefile"
	printf '%s\n' "PACKAGE_NAME=$1" PACKAGE_VERSION=1.0 MAKE=true AUTOINSTALL=yes >"$d/dkms.conf"
	for ((m = 0; m < $2; m++)); do
		cp /usr/src/hello-1.0/hello.ko "$d/$1_$m.ko"
		printf '%s\n' "BUILT_MODULE_NAME[$m]=$1_$m" "DEST_MODULE_LOCATION[$m]=/updates/dkms" "STRIP[$m]=no" >>"$d/dkms.conf"
	done
}
if [ "$packages" -ge 10 ]; then
	many=600
	[ "$packages" -ge 100 ] || many=$((packages * 4))
	parts whole "$many"
	for q in 1 2 3 4; do parts "quarter$q" $((many / 4)); done
	quarters() { local q; for q in 1 2 3 4; do dkms "$@" "quarter$q/1.0" -k "$k" --no-depmod || return; done; }
	for ((i = 0; i < 3; i++)); do
		dkms install whole/1.0 -k "$k" --no-depmod >/dev/null 2>&1
		measure uninstall ours dkms uninstall whole/1.0 -k "$k" --no-depmod
		quarters install >/dev/null 2>&1
		measure uninstall four-quarters quarters uninstall
	done
	for p in whole quarter1 quarter2 quarter3 quarter4; do dkms remove "$p/1.0" --all; done >/dev/null 2>&1
fi

# The programs that an installation starts, by name: those of eight packages less those of one are those of seven.
started() { strace -f -qq -e trace=execve -e signal=none -z -o /root/trace "$@" >/dev/null 2>&1; sed -n 's/.*execve("\([^"]*\)".*/\1/p' /root/trace | sed 's|.*/||' | sort; }
for n in 1 8; do
	for ((p = 0; p < n; p++)); do
		d=/usr/src/traced$p-1.0
		mkdir -p "$d"; cp /usr/src/hello-1.0/hello.ko "$d/traced$p.ko"; touch "$d/Makefile"
		printf '%s\n' "PACKAGE_NAME=traced$p" PACKAGE_VERSION=1.0 DEST_MODULE_LOCATION=/updates/dkms MAKE=true AUTOINSTALL=yes >"$d/dkms.conf"
		dkms add "traced$p/1.0" >/dev/null 2>&1
		dkms unbuild "traced$p/1.0" --all >/dev/null 2>&1
	done
	started dkms reconcile -k "$k" --initramfs=never >"/root/started.$n"
done
comm -13 /root/started.1 /root/started.8 | uniq -c | while read -r count name; do echo "started $name $((count / 7))"; done
