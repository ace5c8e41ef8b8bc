//! What goes wrong on real machines, and must not cost a module: two at once, lost files, lost trees, scripts that can't
//! be run, kernels that change under us.

mod words;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;
use words::{AUTHORS, LOGS, SCRIPT_LINES, SLIPS, SUMMARY, TERMINAL, WORDS};

/// What every script begins with: `hello` and `other` are in /usr/src, `slow` waits in its build for /srv/told/go.
const PRELUDE: &str = r#"
k={k}; k2={k2}; updates=/lib/modules/$k/updates/dkms
fail() { echo "FAILED: $*" >&2; exit 99; }
has() { grep -qF -- "$1" "$2" || { cat "$2" >&2; fail "no '$1' in $2"; }; }
hasnt() { if grep -qF -- "$1" "$2"; then cat "$2" >&2; fail "'$1' is in $2"; fi; }
# code EXPECTED COMMAND...: what it says goes to /tmp/said
code() { local want=$1 got=0; shift; "$@" >/tmp/said 2>&1 || got=$?; [ $got = $want ] || { cat /tmp/said >&2; fail "$*: exit $got, not $want"; }; }
# until_true COMMAND...: as long as it takes, but not for ever
until_true() { local n; for ((n = 0; n < 1200; n++)); do ! "$@" || return 0; read -rt 0.1 <> <(:) || :; done; fail "never: $*"; }
mkdir -m 0777 /srv/told
listed() { grep -qF "$1: $2" <(dkms status); }
# another VERSION: a further version of hello with the same module
another() { cp -a /usr/src/hello-1.0 /usr/src/hello-$1; sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=$1/" /usr/src/hello-$1/dkms.conf; dkms add hello/$1 >/dev/null; }
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    move || {
        let bed = Bed::subject(&Base::trixie()?)?;
        let hand = tempfile::tempdir()?;
        let waits = "touch /srv/told/started; while [ ! -e /srv/told/go ]; do read -rt 0.1 <> <(:); done; true";
        for package in [package("hello"), package("other"), package("slow").script("PRE_BUILD", waits)] {
            let source = package.build_in(hand.path())?;
            let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
            bed.copy_in(&source, &format!("/usr/src/{name}"))?;
        }
        let text = fill(bed.base(), &format!("{PRELUDE}{text}"));
        let outcome = bed.run(&["bash", "-ec", &text])?;
        ensure!(outcome.code == 0, "exit code {}\n{}", outcome.code, outcome.tail());
        Ok(())
    }
}

/// `remove` while a build of the same package is under way: it waits, says so, and leaves nothing.
const REMOVED_MEANWHILE: &str = r#"
dkms install slow/1.0 -k $k >/tmp/install 2>&1 & installs=$!
until_true test -e /srv/told/started
dkms remove slow/1.0 --all >/tmp/remove 2>&1 & removes=$!
until_true grep -q 'Waiting for process' /tmp/remove
touch /srv/told/go; wait $installs || fail install; wait $removes || { cat /tmp/remove >&2; fail remove; }
[ -z "$(dkms status)" ] || fail "something is listed"
[ ! -e /var/lib/dkms/slow ] || fail "the tree has it"
[ -z "$(find /lib/modules -name 'slow.ko*')" ] || fail "a module nobody knows"
"#;

/// The same for another kernel: the one under way is none of its business.
const ANOTHER_KERNEL_MEANWHILE: &str = r#"
touch /srv/told/go; dkms install slow/1.0 -k $k2 >/dev/null; rm /srv/told/go /srv/told/started
dkms install slow/1.0 -k $k >/tmp/install 2>&1 & installs=$!
until_true test -e /srv/told/started
dkms remove slow/1.0 -k $k2 >/tmp/remove 2>&1 & removes=$!
until_true grep -q 'Waiting for process' /tmp/remove
touch /srv/told/go; wait $installs || fail install; wait $removes || { cat /tmp/remove >&2; fail remove; }
listed "slow/1.0, $k, x86_64" installed || fail "it is not listed"
ls $updates/slow.ko* >/dev/null; [ -e /var/lib/dkms/slow/1.0/source ]
[ -z "$(find /lib/modules/$k2 -name 'slow.ko*')" ] || fail "it is still there for $k2"
"#;

/// `remove` when an `install` has only just begun, and holds nothing but the lock of its kernel: as if it had ended before.
/// It is stopped at the system call that opens the lock which `remove` takes.
const REMOVED_AT_ONCE: &str = r#"
lock=/var/lib/dkms/.dkms/locks/other@1.0; mkdir -p /etc/dkms/framework.conf.d; echo 'result_cache="no"' >/etc/dkms/framework.conf.d/built.conf
for verb in "install other/1.0 -k $k" "autoinstall -k $k"; do
    dkms add other/1.0 >/dev/null 2>&1; rm -f $lock
    strace -f -qq -o /dev/null -P $lock -e inject=openat:signal=STOP:when=1 dkms $verb >/tmp/install 2>&1 & installs=$!
    until_true test -e $lock; stopped=$(grep -lx dkms /proc/[0-9]*/comm | cut -d/ -f3 | sort -n | head -n1); [ -n "$stopped" ]
    code 0 timeout 60 dkms remove other/1.0 --all
    kill -CONT $stopped; ended=0; wait $installs || ended=$?; [ $ended = 0 ] || { cat /tmp/install >&2; fail "$verb: exit $ended"; }
    has "has been removed by another dkms" /tmp/install; hasnt "Error!" /tmp/install
    case $verb in
    install*) listed "other/1.0, $k, x86_64" installed || fail "it is not installed"; code 0 dkms remove other/1.0 --all ;;
    esac
    [ -z "$(dkms status)" ] || fail "$verb: something is listed"
    [ ! -e /var/lib/dkms/other ] || fail "$verb: the tree has it"
done
"#;

/// `install` while `kernel_prerm` is under way: it waits, and is as if it had come afterwards. The kernel's own module is there
/// again when that goes, too.
const INSTALLED_AT_THE_END: &str = r#"
printf '%s\n' '#!/bin/bash' 'touch /srv/told/removing; until [ -e /srv/told/on ]; do read -rt 0.1 <> <(:); done' >/usr/src/hello-1.0/rm.sh; chmod +x /usr/src/hello-1.0/rm.sh
echo 'POST_REMOVE=rm.sh' >>/usr/src/hello-1.0/dkms.conf
stock=$(find /lib/modules/$k/kernel -name 'dummy.ko*'); [ -n "$stock" ]
cp -a /usr/src/other-1.0 /usr/src/dummy-99; sed -i 's/^PACKAGE_NAME=.*/PACKAGE_NAME=dummy/; s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=99/' /usr/src/dummy-99/dkms.conf
echo 'DEST_MODULE_NAME[0]=dummy' >>/usr/src/dummy-99/dkms.conf
code 0 dkms install hello/1.0 -k $k
dkms kernel_prerm -k $k >/tmp/prerm 2>&1 & prerm=$!
until_true test -e /srv/told/removing
dkms install dummy/99 -k $k --force >/tmp/install 2>&1 & installs=$!
until_true grep -q 'Waiting for process .*kernel_prerm' /tmp/install
touch /srv/told/on; wait $prerm || { cat /tmp/prerm >&2; fail prerm; }
wait $installs || { cat /tmp/install >&2; fail install; }
listed "dummy/99, $k, x86_64" installed || fail "it is not installed"; [ ! -e "$stock" ] || fail "the original was not archived"
code 0 dkms kernel_prerm -k $k
[ -e "$stock" ] || fail "the kernel's own module is gone"
[ -z "$(find /lib/modules/$k/updates -name '*.ko*' 2>/dev/null)" ] || fail "a module is left"
[ -z "$(dkms status -k $k | grep -v ': added$')" ] || fail "something is listed"
[ -z "$(ls /var/lib/dkms/.dkms/locks | grep "@$k@")" ] || fail "locks are left"
"#;

/// `kernel_prerm` while something is compiled for that kernel: it does not wait, and what was compiled is not installed.
const BUILT_FOR_A_KERNEL_THAT_GOES: &str = r#"
code 0 dkms install hello/1.0 -k $k; code 0 dkms add slow/1.0
for verb in "install slow/1.0 -k $k" "autoinstall -k $k"; do
    rm -f /srv/told/*; dkms $verb >/tmp/install 2>&1 & installs=$!
    until_true test -e /srv/told/started
    code 0 timeout 60 dkms kernel_prerm -k $k
    touch /srv/told/go; ended=0; wait $installs || ended=$?
    case $verb in install*) [ $ended = 17 ] ;; *) [ $ended = 0 ] ;; esac || { cat /tmp/install >&2; fail "$verb: exit $ended"; }
    has 'slow/1.0 is not put in place' /tmp/install; hasnt 'Error!' /tmp/install; (! grep 'succeeded.*slow' /tmp/install)
    [ -z "$(find /lib/modules/$k/updates -name '*.ko*' 2>/dev/null)" ] || fail "$verb: a module is left"
    [ -z "$(dkms status -k $k | grep -v ': added$')" ] || fail "$verb: something is listed"
    [ -z "$(find /var/lib/dkms -path "*/$k*" ! -path '*/locks/*')" ] || fail "$verb: $(find /var/lib/dkms -path "*/$k*")"
    [ ! -e /var/lib/dkms/slow/1.0/build ] || fail "$verb: a build is left"
done
# Another kernel's are none of its business.
rm -f /srv/told/*; dkms install slow/1.0 -k $k2 >/tmp/install 2>&1 & installs=$!
until_true test -e /srv/told/started; code 0 dkms kernel_prerm -k $k
touch /srv/told/go; wait $installs || { cat /tmp/install >&2; fail install; }
listed "slow/1.0, $k2, x86_64" installed || fail "it is not installed"
"#;

/// At no moment does the index name a file that is not there: killed at each renaming of a removal, and then made right.
const INDEX_FIRST: &str = r#"
dep=/lib/modules/$k/modules.dep
# Of a small kernel, depmod is quick.
find /lib/modules/$k/kernel -name '*.ko*' ! -name 'dummy.ko*' -delete; depmod $k
whole() { while IFS=: read -r file _; do [ -e /lib/modules/$k/$file ] || fail "$1: $file is listed and gone"; done < <(grep ^updates $dep); }
code 0 dkms install other/1.0 -k $k; code 0 dkms install hello/1.0 -k $k; grep -q ^updates/dkms/hello $dep
for ((n = 1; n < 60; n++)); do
    got=0; strace -qq -o /dev/null -e inject=rename,renameat,renameat2:signal=KILL:when=$n dkms uninstall hello/1.0 -k $k >/tmp/said 2>&1 || got=$?
    whole "killed at $n"
    [ $got != 0 ] || break
    # The next run finishes or undoes it, and the index is right again.
    code 0 dkms install other/1.0 -k $k; whole "healed after $n"
    [ -e $updates/hello.ko.xz ] && listed=0 || listed=1
    got=0; grep -q ^updates/dkms/hello $dep || got=1; [ $got = $listed ] || fail "after $n the index is old"
    [ $listed = 0 ] || code 0 dkms install hello/1.0 -k $k
done
[ $n -gt 5 ] && [ $n -lt 60 ] || fail "it was killed $n times"
(! grep -q ^updates/dkms/hello $dep); grep -q ^updates/dkms/other $dep
[ -z "$(ls -A /lib/modules/$k | grep dkms-new)" ] || fail "files are left"
# One depmod does for a removal, and it has a view of its own.
printf '#!/bin/sh\necho "$@" >>/root/depmods; exec /sbin/depmod "$@"\n' >/usr/local/sbin/depmod; chmod +x /usr/local/sbin/depmod
code 0 dkms uninstall other/1.0 -k $k; has "Running depmod... done." /tmp/said
[ "$(grep -c -- '^-a' /root/depmods)" = 1 ] || { cat /root/depmods >&2; fail "several runs"; }
cp $dep /root/dep; depmod $k; cmp $dep /root/dep || fail "another index"
"#;

/// What killed runs leave goes with the next one, and a removal that was only to be finished is one.
const LEFTOVERS: &str = r#"
code 0 dkms add hello/1.0
mkdir -p /usr/src/.dkms-new-99999999-0 /var/lib/dkms/.dkms/work/99999999-1; echo half >/var/lib/dkms/.dkms/.dkms-new-99999999-2
perl -e 'chdir "/var/lib/dkms/.dkms/work/99999999-1"; for (1..400) { mkdir "d"; chdir "d" }'
(ulimit -n 300; code 0 dkms install hello/1.0 -k $k)
[ -z "$(ls -A /usr/src | grep dkms-new)" ] || fail "a source is left"
[ -z "$(ls -A /var/lib/dkms/.dkms/work)" ] || fail "a work directory is left"
[ -z "$(ls -A /var/lib/dkms/.dkms | grep dkms-new)" ] || fail "a file is left"
code 0 dkms unbuild hello/1.0 --all
# Killed when the package is aside, and not deleted yet.
(! strace -f -qq -o /dev/null -e inject=unlinkat:signal=KILL:when=1 dkms remove hello/1.0 --all >/dev/null 2>&1)
[ ! -e /var/lib/dkms/hello/1.0 ] || fail "it was killed too early"; [ -n "$(ls /var/lib/dkms/.dkms/journal)" ] || fail "it was killed too late"
code 0 dkms remove hello/1.0 --all; has 'has been completed' /tmp/said
[ -z "$(ls /var/lib/dkms/.dkms/journal)" ] || fail "the journal is left"
[ -z "$(find /var/lib/dkms -name '.dkms-old-*')" ] || fail "the package is left"
code 3 dkms remove hello/1.0 --all
"#;

/// A build's script that runs dkms on what is being built waits for itself: told at once.
const WITHIN_A_BUILD: &str = r#"
printf '#!/bin/bash\ndkms build other/1.0 -k $kernelver >/root/nested 2>&1; echo $? >/root/code\n' >/usr/src/other-1.0/pre.sh
chmod +x /usr/src/other-1.0/pre.sh; echo 'PRE_BUILD=pre.sh' >>/usr/src/other-1.0/dkms.conf
# As anybody but root it could not change a thing.
echo 'DKMS_BUILD_AS=root' >/etc/dkms/other.conf
code 0 timeout 120 dkms install other/1.0 -k $k
[ "$(cat /root/code)" = 17 ] || { cat /root/nested >&2; fail "nested: $(cat /root/code)"; }
has 'which started this command and waits for it' /root/nested
"#;

/// An installed file is lost, and the whole of /var is.
const LOST: &str = r#"
dkms install hello/1.0 -k $k >/dev/null; rm $updates/hello.ko*
code 0 dkms reconcile -k $k --dry-run; has 'hello/1.0' /tmp/said
code 0 dkms reconcile -k $k; ls $updates/hello.ko* >/dev/null || fail "it is not put back"
modprobe -S $k -n hello || fail "no depmod"
rm -r /var/lib/dkms; dkms add hello/1.0 >/dev/null
code 0 dkms install hello/1.0 -k $k; hasnt archiving /tmp/said
code 0 dkms remove hello/1.0 --all; hasnt Restoring /tmp/said
[ -z "$(find /lib/modules/$k -name 'hello.ko*')" ] || fail "it is still there"
"#;

/// A version whose module has the same version as its predecessor's takes its place all the same.
const SAME_MODULE: &str = r#"
dkms install hello/1.0 -k $k >/dev/null; another 1.1
code 0 dkms reconcile -k $k --strict; listed "hello/1.1, $k, x86_64" installed || fail "not installed"
# By hand, the classic's check holds.
code 6 dkms install hello/1.0 -k $k
"#;

/// A script that can't be run is one that failed: POST_INSTALL's never counted.
const SCRIPTS: &str = r#"
printf '#!/nowhere/python\n' >/usr/src/hello-1.0/post.sh; chmod +x /usr/src/hello-1.0/post.sh
echo 'POST_INSTALL=post.sh' >>/usr/src/hello-1.0/dkms.conf
code 0 dkms install hello/1.0 -k $k; has "can't be run" /tmp/said; modprobe -S $k -n hello || fail "no depmod"
echo 'PRE_INSTALL=post.sh' >>/usr/src/hello-1.0/dkms.conf; dkms uninstall hello/1.0 -k $k >/dev/null
code 101 dkms install hello/1.0 -k $k
echo "post_transaction='echo [\$kernelver] >/root/after'" >/etc/dkms/framework.conf.d/after.conf
code 0 dkms install --force hello/1.0 -k $k; has "[$k]" /root/after
"#;

/// The kernel's own module changes while ours is in its place, and the kernel goes.
const STOCK: &str = r#"
stock=$(find /lib/modules/$k/kernel -name 'dummy.ko*'); file=${stock##*/}
sed -e 's/hello/dummy/g' /usr/src/hello-1.0/dkms.conf >/usr/src/other-1.0/dkms.conf
sed -e 's/hello/dummy/g' /usr/src/hello-1.0/Makefile >/usr/src/other-1.0/Makefile
sed -e 's/hello/dummy/g' /usr/src/hello-1.0/hello.c >/usr/src/other-1.0/dummy.c; mv /usr/src/other-1.0 /usr/src/dummy-1.0
code 0 dkms install dummy/1.0 -k $k; [ ! -e $stock ] || fail "not archived"
echo "that of an upgraded kernel" >$stock
code 0 dkms remove dummy/1.0 --all; has 'stays' /tmp/said; has 'that of an upgraded kernel' $stock
# What the kernel has itself, at the same version, is not lacking.
dkms install hello/1.0 -k $k >/dev/null; find $updates -name 'hello.ko*' -exec mv {} /lib/modules/$k/kernel/drivers/ \;
dkms remove hello/1.0 --all >/dev/null; depmod $k; dkms add hello/1.0 >/dev/null
code 0 dkms reconcile -k $k --strict; hasnt ') is missing' /tmp/said
dkms remove hello/1.0 --all >/dev/null
stock=$(find /lib/modules/$k2/kernel -name 'dummy.ko*'); code 0 dkms install dummy/1.0 -k $k2 --force
find /lib/modules/$k2 -mindepth 1 -maxdepth 1 ! -name updates ! -name .dkms-manifest.json -exec rm -r {} +
code 0 dkms reconcile --all-kernels; [ ! -e /lib/modules/$k2 ] || { find /lib/modules/$k2 >&2; fail "something is left"; }
"#;

/// Where a package's module goes to the very place of the kernel's own, an upgrade under the same release puts that back:
/// ours takes its place again, and the newer one is what is restored.
const NEWER_STOCK: &str = r#"
printf 'ID=void\n' >/etc/os-release
stock=$(find /lib/modules/$k/kernel -name 'dummy.ko*'); at=${stock#/lib/modules/$k}
sed -e 's/hello/dummy/g' -e "s,^DEST_MODULE_LOCATION.*,DEST_MODULE_LOCATION[0]=${at%/*}," /usr/src/hello-1.0/dkms.conf >/usr/src/other-1.0/dkms.conf
sed -e 's/hello/dummy/g' /usr/src/hello-1.0/Makefile >/usr/src/other-1.0/Makefile
sed -e 's/hello/dummy/g' /usr/src/hello-1.0/hello.c >/usr/src/other-1.0/dummy.c; mv /usr/src/other-1.0 /usr/src/dummy-1.0
code 0 dkms install dummy/1.0 -k $k --force; has "Found pre-existing $stock" /tmp/said; [ -z "$(modinfo -F intree $stock)" ]
# Ours, changed by somebody, is not taken for the kernel's.
original=$(cat /var/lib/dkms/dummy/original_module/$k/*/dummy.ko* | sha256sum)
printf x >>$stock; code 0 dkms install dummy/1.0 -k $k --force; [ "$original" = "$(cat /var/lib/dkms/dummy/original_module/$k/*/dummy.ko* | sha256sum)" ] || fail "archived"
find /lib/modules/$k2/kernel -name 'dummy.ko*' -exec cp {} $stock \;
newer=$(sha256sum <$stock); [ -n "$(modinfo -F intree $stock)" ] || fail "what is the kernel's?"
code 0 dkms reconcile -k $k; [ -z "$(modinfo -F intree $stock)" ] || { cat /tmp/said >&2; fail "ours is not back"; }
code 0 dkms remove dummy/1.0 --all; has "Restoring archived original module $stock" /tmp/said
[ "$(sha256sum <$stock)" = "$newer" ] || fail "an older one was restored"
"#;

/// `match` builds what others need first.
const MATCH: &str = r#"
echo 'BUILD_DEPENDS=other' >>/usr/src/hello-1.0/dkms.conf
for m in other hello; do dkms install $m/1.0 -k $k >/dev/null; done
code 0 dkms match --templatekernel $k -k $k2
for m in other hello; do listed "$m/1.0, $k2, x86_64" installed || fail $m; done
"#;

/// The source has gone: what was installed can go, too, and strictness notices.
const BROKEN: &str = r#"
dkms install hello/1.0 -k $k >/dev/null; rm -r /usr/src/hello-1.0
code 11 dkms reconcile -k $k --strict; has 'dkms remove hello/1.0 --all' /tmp/said
code 4 dkms build hello/1.0 -k $k2
code 0 dkms remove hello/1.0 --all
[ -z "$(dkms status)" ] && [ ! -e /var/lib/dkms/hello ] && [ -z "$(find /lib/modules -name 'hello.ko*')" ] || fail "something is left"
code 3 dkms remove hello/1.0 --all; has 'nothing of it to remove' /tmp/said
"#;

/// Makefiles that are safe in one order only run one job at a time, unless the command is `make` or asks for jobs; the
/// exports of a module in a subdirectory reach those that depend on it.
const MAKEFILES: &str = r#"
cat >/usr/src/hello-1.0/Makefile <<'M'
ifneq ($(KERNELRELEASE),)
obj-m := hello.o
else
all: ; @echo "FLAGS [$(MAKEFLAGS)]"; $(MAKE) -s -C $(KDIR) M=$(CURDIR) modules
endif
M
for make in "'make'" "cd . \&\& make" "env make" "./build.sh"; do
	printf '#!/bin/sh\nmake KDIR=$KDIR\n' >/usr/src/hello-1.0/build.sh; chmod +x /usr/src/hello-1.0/build.sh
	sed -i '/^MAKE/d' /usr/src/hello-1.0/dkms.conf
	echo "MAKE[0]=\"KDIR=\$kernel_source_dir; export KDIR; ${make//\\/} KDIR=\$kernel_source_dir\"" >>/usr/src/hello-1.0/dkms.conf
	code 0 dkms build hello/1.0 -k $k --force -j 4
	log=/var/lib/dkms/hello/1.0/$k/x86_64/log/make.log
	has 'FLAGS [' $log; hasnt jobserver $log; has '# jobs: at most 1' $log; hasnt shared $log
done
mkdir /usr/src/other-1.0/sub; mv /usr/src/other-1.0/*.c /usr/src/other-1.0/sub; rm /usr/src/other-1.0/Makefile
echo 'int other_value(void); int other_value(void) { return 42; } EXPORT_SYMBOL_GPL(other_value);' >>/usr/src/other-1.0/sub/other.c
echo 'obj-m := other.o' >/usr/src/other-1.0/sub/Makefile
printf 'BUILT_MODULE_LOCATION[0]=sub\nMAKE[0]="make -C $kernel_source_dir M=$dkms_tree/other/1.0/build/sub modules"\n' >>/usr/src/other-1.0/dkms.conf
code 0 dkms install other/1.0 -k $k -j 4
log=/var/lib/dkms/other/1.0/$k/x86_64/log/make.log; has '# jobs: at most 4, shared' $log
# Fewer for one package: by its own word or the administrator's. Never more than the run has.
for jobs in 1 3 64; do
	sed -i '/DKMS_JOBS/d' /usr/src/other-1.0/dkms.conf; rm -f /etc/dkms/other.conf
	if [ $jobs = 3 ]; then echo DKMS_JOBS=3 >/etc/dkms/other.conf; else echo "DKMS_JOBS=$jobs" >>/usr/src/other-1.0/dkms.conf; fi
	code 0 dkms build other/1.0 -k $k -j 4 --force; has "jobs: at most $((jobs < 4 ? jobs : 4))" $log
	if [ $jobs = 64 ]; then hasnt 'command: make -j' $log; else has "command: make -j$jobs " $log; hasnt shared $log; fi
done
echo DKMS_JOBS=many >/etc/dkms/other.conf; code 8 dkms build other/1.0 -k $k --force; has DKMS_JOBS /tmp/said; rm /etc/dkms/other.conf
cp -a /usr/src/hello-1.0 /usr/src/needs-1.0; cd /usr/src/needs-1.0; sed -i '/^MAKE/d; s/hello/needs/' dkms.conf; rm build.sh
echo 'BUILD_DEPENDS[0]=other' >>dkms.conf; echo 'obj-m := needs.o' >Makefile; sed 's/hello/needs/g' hello.c >needs.c; rm hello.c
sed -i 's/return 0/return other_value() == 42 ? 0 : -1/; /module.h/a int other_value(void);' needs.c
code 0 dkms install needs/1.0 -k $k; [ "$(modinfo -k $k -F depends needs)" = other ] || fail "it does not depend on other"
"#;

/// One thing that is there twice: a source under two names, an installation under two names of the architecture.
const TWICE: &str = r#"
d=/usr/src/xo-0.3-88; mv /usr/src/other-1.0 $d; sed -i 's/^PACKAGE_NAME=.*/PACKAGE_NAME=xo/; s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=0.3-88/' $d/dkms.conf
dkms add xo/0.3-88 >/dev/null; mkdir -p /var/lib/dkms/xo-0.3/88; ln -s $d /var/lib/dkms/xo-0.3/88/source
for run in 1 2; do
	code 0 dkms autoinstall -k $k; has 'only xo/0.3-88 is looked after' /tmp/said; has 'dkms remove xo-0.3/88 --all' /tmp/said
done
listed "xo/0.3-88, $k, x86_64" installed || fail "not installed"
code 0 dkms reconcile -k $k --strict; has 'dkms remove xo-0.3/88 --all' /tmp/said
code 0 dkms remove xo-0.3/88 --all; code 0 dkms reconcile -k $k; hasnt 'registered twice' /tmp/said
modprobe -S $k -n other || fail "its module is gone"
# As another program labelled it.
code 0 dkms install hello/1.0 -k $k
mv /var/lib/dkms/hello/1.0/$k/x86_64 /var/lib/dkms/hello/1.0/$k/amd64; rm -f /var/lib/dkms/hello/1.0/$k/amd64/.dkms* /lib/modules/$k/.dkms-manifest.json
rm /var/lib/dkms/hello/kernel-$k-x86_64; ln -s 1.0/$k/amd64 /var/lib/dkms/hello/kernel-$k-amd64
code 0 dkms autoinstall -k $k; has 'another name for x86_64' /tmp/said; has "dkms unbuild hello/1.0 -k $k/amd64" /tmp/said
listed "hello/1.0, $k, x86_64" installed || fail "not installed: $(dkms status)"
code 0 dkms autoinstall -k $k; hasnt 'another name' /tmp/said
code 0 dkms unbuild hello/1.0 -k $k/amd64; modprobe -S $k -n hello || fail "its module is gone"
[ "$(dkms status hello | wc -l)" = 1 ] || fail "$(dkms status)"
code 0 dkms remove hello/1.0 --all; [ -z "$(find /lib/modules/$k -name 'hello.ko*')" ] || fail "it is still there"
"#;

/// What somebody else has put in the place of our module stays, is told of, and goes when our package is asked for.
const REPLACED: &str = r#"
code 0 dkms install other/1.0 -k $k; code 0 dkms install hello/1.0 -k $k; f=$(ls $updates/hello.ko*); cp $f /root/good
cp --remove-destination $updates/other.ko* $f
code 0 dkms reconcile -k $k; has "$f is not the module of hello/1.0" /tmp/said; has "dkms install hello/1.0 -k $k" /tmp/said
cmp $f $updates/other.ko* || fail "somebody's file is gone"
code 0 dkms install hello/1.0 -k $k; cmp $f /root/good || fail "not put back"
code 0 dkms reconcile -k $k; hasnt 'is not the module' /tmp/said
for harm in ": >$f" "truncate -s 300 $f" "rm $f"; do
	eval "$harm"; code 0 dkms install hello/1.0 -k $k; cmp $f /root/good || fail "$harm: not put back"; modprobe -S $k -n hello || fail "$harm"
done
"#;

/// A package's scripts find the modules that it needs, as modprobe does, although depmod's last run is still to come.
const SCRIPTS_ASK_MODPROBE: &str = r#"
echo 'BUILD_DEPENDS=other' >>/usr/src/hello-1.0/dkms.conf; echo 'PRE_INSTALL=pre.sh' >>/usr/src/hello-1.0/dkms.conf
printf '#!/bin/sh\nmodprobe -n -S $kernelver other && echo found >/root/found\n' >/usr/src/hello-1.0/pre.sh; chmod +x /usr/src/hello-1.0/pre.sh
dkms add hello/1.0 >/dev/null; dkms add other/1.0 >/dev/null
code 0 dkms autoinstall -k $k; [ -e /root/found ] || fail "the script does not find what its package needs"
modprobe -S $k -n hello || fail "no depmod"
"#;

/// The index that modprobe goes by is of before, or gone: everything that changes something mends it, and a dry run says so.
const INDEX: &str = r#"
put() { cp -a /root/$1/. /lib/modules/$k/; }
mkdir /root/without /root/with; cp -a /lib/modules/$k/modules.* /root/without/
code 0 dkms install hello/1.0 -k $k; cp -a /lib/modules/$k/modules.* /root/with/
code 0 dkms install hello/1.0 -k $k --dry-run; hasnt depmod /tmp/said
for command in "install hello/1.0" "autoinstall" "reconcile"; do
	put without; (! modprobe -S $k -n hello 2>/dev/null) || fail "the old index has it"
	code 0 dkms status --long; has "would not be loaded: depmod's index does not name it. To fix it: depmod -a $k" /tmp/said
	code 0 dkms $command -k $k --dry-run; has "Would run depmod for kernel $k" /tmp/said
	code 0 dkms $command -k $k; modprobe -S $k -n hello || fail "$command: it is not in the index"
	rm /lib/modules/$k/modules.*.bin; code 0 dkms $command -k $k --dry-run; has "Would run depmod for kernel $k" /tmp/said
	rm /lib/modules/$k/modules.dep; code 0 dkms $command -k $k; modprobe -S $k -n hello || fail "$command: there is no index"
done
code 0 dkms reconcile -k $k --dry-run --format json; hasnt depmod /tmp/said
put without; code 0 dkms reconcile -k $k --dry-run --format json; has '"depmod"' /tmp/said
# What is gone is named: dracut makes no image then.
code 0 dkms uninstall hello/1.0 -k $k; put with; code 0 dkms install other/1.0 -k $k
hasnt hello.ko /lib/modules/$k/modules.dep
"#;

/// Installed, and not to be loaded: exit 6 and why; what can be mended is.
const NOT_LOADED: &str = r#"
refused() { code 6 dkms install "$@"; has 'are installed for kernel' /tmp/said; has 'would not be loaded' /tmp/said; }
code 0 dkms install hello/1.0 -k $k; cp $updates/hello.ko.xz /root/
# Emptied by hand.
: >$updates/hello.ko.xz; code 0 dkms status --long; has 'hello would not be loaded: its file is damaged' /tmp/said
code 0 dkms status --long --format json; has '"not_loadable"' /tmp/said
code 0 dkms reconcile -k $k --dry-run; has 'install hello/1.0' /tmp/said
code 0 dkms reconcile -k $k; cmp $updates/hello.ko.xz /root/hello.ko.xz
# An artefact that is damaged does not take the place of what works.
for file in /var/lib/dkms/hello/1.0/$k/*/module/hello.ko.xz; do truncate -s 200 $file; done
code 6 dkms install hello/1.0 -k $k --force; has 'Build it again: dkms build hello/1.0' /tmp/said
cmp $updates/hello.ko.xz /root/hello.ko.xz; dkms remove hello/1.0 --all >/dev/null
# Something else is where make leaves a module.
cp -a /usr/src/hello-1.0 /srv/hello
for what in 'cp /bin/true' 'as /dev/null -o'; do
	printf 'all: ; %s hello.ko
' "$what" >/usr/src/hello-1.0/Makefile
	sed -i '/^MAKE/d' /usr/src/hello-1.0/dkms.conf; echo 'MAKE="make all"' >>/usr/src/hello-1.0/dkms.conf
	code 7 dkms install hello/1.0 -k $k; [ ! -e $updates/hello.ko.xz ] || fail "$what: installed"
	dkms remove hello/1.0 --all >/dev/null
done
rm -r /usr/src/hello-1.0; cp -a /srv/hello /usr/src/hello-1.0
# The kernel has it itself: no failure, and said.
sed 's/hello/crc16/g' /usr/src/hello-1.0/dkms.conf >/usr/src/other-1.0/dkms.conf; mv /usr/src/other-1.0 /usr/src/crc16-1.0
echo 'obj-m := crc16.o' >/usr/src/crc16-1.0/Makefile; cp /usr/src/hello-1.0/hello.c /usr/src/crc16-1.0/crc16.c
code 0 dkms install crc16/1.0 -k $k; has 'has a module of this name built in' /tmp/said
# A broken neighbour: depmod's complaint is passed on.
echo broken >/lib/modules/$k/updates/neighbour.ko; code 0 dkms install hello/1.0 -k $k; has 'ERROR:' /tmp/said; has neighbour.ko /tmp/said
rm /lib/modules/$k/updates/neighbour.ko; dkms remove hello/1.0 --all >/dev/null
# A place that depmod does not look at.
rm /etc/os-release; echo 'ID=void' >/etc/os-release
sed -i 's,^DEST_MODULE_LOCATION.*,DEST_MODULE_LOCATION[0]=/kernel/drivers/source,' /usr/src/hello-1.0/dkms.conf
refused hello/1.0 -k $k; has 'passes over directories called "source"' /tmp/said
code 0 dkms status --long; has 'last try: load failed' /tmp/said
"#;

/// What a module needs of others: nobody exports it, or not as it was.
const SYMBOLS: &str = r#"
echo 'int other_value(void); int other_value(void) { return 42; } EXPORT_SYMBOL_GPL(other_value);' >>/usr/src/other-1.0/other.c
sed -i '/module.h/a int other_value(void);' /usr/src/hello-1.0/hello.c; sed -i 's/return 0/return other_value() == 42 ? 0 : -1/' /usr/src/hello-1.0/hello.c
echo 'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/hello/1.0/build KBUILD_MODPOST_WARN=1 modules"' >>/usr/src/hello-1.0/dkms.conf
code 6 dkms install hello/1.0 -k $k; has 'hello: it needs the symbol other_value, which neither the kernel nor a module' /tmp/said
code 11 dkms reconcile -k $k --strict; has 'is missing 1 package' /tmp/said; has 'it needs the symbol other_value' /tmp/said
code 6 dkms install hello/1.0 -k $k; code 0 dkms status; has "hello/1.0, $k, x86_64: installed" /tmp/said
dkms remove hello/1.0 --all >/dev/null; echo 'BUILD_DEPENDS[0]=other' >>/usr/src/hello-1.0/dkms.conf
code 0 dkms install other/1.0 -k $k; code 0 dkms install hello/1.0 -k $k; code 0 dkms status --long; hasnt 'would not be' /tmp/said
# The exporter comes anew, with another type.
cp -a /usr/src/other-1.0 /usr/src/other-2.0; sed -i 's/1\.0/2.0/' /usr/src/other-2.0/dkms.conf; sed -i 's/int other_value(void)/long other_value(void)/g' /usr/src/other-2.0/other.c
code 0 dkms install other/2.0 -k $k --force
has 'hello of hello/1.0 would no longer be loaded: it was built for another version of the symbol other_value' /tmp/said
mend=$(grep -A1 'no longer be loaded' /tmp/said | sed -n 's/.*To fix it: //p'); [ -n "$mend" ] || fail "no advice"
code 0 dkms status --long; has "$mend" /tmp/said
bash -ec "$mend" >/dev/null; code 0 dkms status --long; hasnt 'would not be' /tmp/said
code 0 dkms uninstall other/2.0 -k $k; code 0 dkms status --long; has 'it needs the symbol other_value' /tmp/said
"#;

/// The prelude's own checks can fail.
fn the_scripts_notice() -> Result<()> {
    for text in ["code 0 dkms build nothing/1", "echo a >/tmp/x; has b /tmp/x", "echo a >/tmp/x; hasnt a /tmp/x"] {
        ensure!(script(text)().is_err(), "{text} went unnoticed");
    }
    Ok(())
}

/// Two packages with a module of one name: the second is refused, and hears whose it is.
const ONE_NAME: &str = r#"
dkms install hello/1.0 -k $k >/dev/null
cp -a /usr/src/hello-1.0 /root/rival; sed -i 's/^PACKAGE_NAME=.*/PACKAGE_NAME=rival/' /root/rival/dkms.conf
# It says what is to be said of a dkms.conf once, although it adds, builds and installs.
printf '%s\n' REMAKE_INITRD=yes "BUILD_EXCLUSIVE_ARCH='x86|\\d'" >>/root/rival/dkms.conf
code 6 dkms install /root/rival -k $k; has 'It is that of hello/1.0' /tmp/said
for what in 'Deprecated feature' 'means the letter d'; do [ "$(grep -c "$what" /tmp/said)" = 1 ] || { cat /tmp/said >&2; fail "not once: $what"; }; done
listed "hello/1.0, $k, x86_64" installed || fail "hello is gone"
code 0 dkms install rival/1.0 -k $k --force; listed "rival/1.0, $k, x86_64" installed || fail "not forced"
"#;

fn main() -> ExitCode {
    let cases: [(&str, &'static str); 30] = [
        ("removed_meanwhile", REMOVED_MEANWHILE),
        ("another_kernel_meanwhile", ANOTHER_KERNEL_MEANWHILE),
        ("removed_at_once", REMOVED_AT_ONCE),
        ("installed_at_the_end", INSTALLED_AT_THE_END),
        ("built_for_a_kernel_that_goes", BUILT_FOR_A_KERNEL_THAT_GOES),
        ("leftovers", LEFTOVERS),
        ("index_first", INDEX_FIRST),
        ("within_a_build", WITHIN_A_BUILD),
        ("lost_files_and_trees", LOST),
        ("same_module_newer_package", SAME_MODULE),
        ("scripts_that_do_not_run", SCRIPTS),
        ("stock_modules", STOCK),
        ("newer_stock_module", NEWER_STOCK),
        ("match_in_order", MATCH),
        ("broken_packages_can_go", BROKEN),
        ("words", WORDS),
        ("on_a_terminal", TERMINAL),
        ("logs_of_failures", LOGS),
        ("what_authors_get_wrong", AUTHORS),
        ("lines_of_scripts", SCRIPT_LINES),
        ("makefiles_in_order", MAKEFILES),
        ("there_twice", TWICE),
        ("replaced_by_somebody", REPLACED),
        ("slips", SLIPS),
        ("scripts_ask_modprobe", SCRIPTS_ASK_MODPROBE),
        ("summary", SUMMARY),
        ("index_of_before", INDEX),
        ("not_to_be_loaded", NOT_LOADED),
        ("symbols_of_others", SYMBOLS),
        ("modules_of_one_name", ONE_NAME),
    ];
    cases
        .into_iter()
        .fold(Suite::new(&[Need::Bed, Need::Ours]), |suite, (name, text)| suite.case(name, script(text)))
        .case("the_scripts_notice", the_scripts_notice)
        .long(&[
            "another_kernel_meanwhile",
            "index_of_before",
            "makefiles_in_order",
            "match_in_order",
            "removed_at_once",
        ])
        .main()
}
