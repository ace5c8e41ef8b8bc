# shellcheck shell=bash
# bench-common.sh: what every script of the bench begins with. Prints "CASE PROGRAM MICROSECONDS", a line a measurement;
# src/bin/bench.rs makes the table.
# The kernels are those of the script behind it.
# shellcheck disable=SC2154

# What is compared is work: what was built in an earlier round is built again.
building() { mkdir -p /etc/dkms/framework.conf.d; echo 'result_cache="no"' >/etc/dkms/framework.conf.d/bench.conf; }
taking() { rm -f /etc/dkms/framework.conf.d/bench.conf; }

now() { echo "${EPOCHREALTIME/./}"; }
# measure CASE PROGRAM COMMAND...
measure() {
	local case=$1 program=$2 start end
	shift 2
	start=${EPOCHREALTIME/./}
	"$@" >/dev/null 2>/root/bench.err </dev/null || { echo "$case $program failed: $(tail -n 1 /root/bench.err)" >&2; return; }
	end=${EPOCHREALTIME/./}
	echo "$case $program $((end - start))"
}
# The same in processor time of the command and all that it starts; bash knows it in milliseconds. $3: how often it is run.
measure_work() {
	local case=$1 program=$2 times=$3 turn spent user system
	shift 3
	local TIMEFORMAT='%U %S'
	spent=$({ time for ((turn = 0; turn < times; turn++)); do "$@" >/dev/null 2>/root/bench.err </dev/null || exit; done; } 2>&1) || { echo "$case $program failed: $(tail -n 1 /root/bench.err)" >&2; return; }
	read -r user system <<<"$spent"
	echo "$case $program $(((10#${user/./} + 10#${system/./}) * 1000 / times))"
}

# Eight signed modules.
eight_add() {
	local m
	for m in 1 2 3 4 5 6 7 8; do
		cp -a /usr/src/hello-1.0 "/usr/src/eight$m-1.0"
		sed -i "s/hello/eight$m/g" "/usr/src/eight$m-1.0"/{dkms.conf,Makefile}
		sed "s/hello/eight$m/g" /usr/src/hello-1.0/hello.c >"/usr/src/eight$m-1.0/eight$m.c"
		dkms add "eight$m/1.0" >/dev/null
	done
}
eight_bare() {
	local m k
	rm -rf /root/b; mkdir /root/b
	for k in "${kernels[@]:0:$1}"; do for m in 1 2 3 4 5 6 7 8; do echo "$k $m"; done; done |
		xargs -P 2 -n 2 sh -ec 'cp -a /usr/src/eight$2-1.0 /root/b/$1-$2; make -C /lib/modules/$1/build M=/root/b/$1-$2 modules' x || return
	for k in "${kernels[@]:0:$1}"; do depmod -a "$k"; done
}
autoinstall() {
	local k later=--initramfs=never
	[ "$1" = dkms ] || later=
	for k in "${kernels[@]:0:$2}"; do "$1" autoinstall -k "$k" $later || return; done
}
eight_clean() { local m; for m in 1 2 3 4 5 6 7 8; do dkms unbuild "eight$m/1.0" --all; done >/dev/null 2>&1; }
