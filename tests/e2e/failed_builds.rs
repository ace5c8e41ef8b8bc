//! Builds that fail, or go on without something: the user is told what stopped them, and what helps. Sources that change.

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::bed::Base;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;
use dkms_tests::two_packages::two_packages;

/// What every script begins with: `hello` and `other` are in /usr/src.
const PRELUDE: &str = r#"
k={k}; updates=/lib/modules/$k/updates/dkms
fail() { echo "FAILED: $*" >&2; exit 99; }
has() { grep -qF -- "$1" "$2" || { cat "$2" >&2; fail "no '$1' in $2"; }; }
hasnt() { if grep -qF -- "$1" "$2"; then cat "$2" >&2; fail "'$1' is in $2"; fi; }
# code EXPECTED COMMAND...: what it says goes to /tmp/said
code() { local want=$1 got=0; shift; "$@" >/tmp/said 2>&1 || got=$?; [ $got = $want ] || { cat /tmp/said >&2; fail "$*: exit $got, not $want"; }; }
# until_true COMMAND...: as long as it takes, but not for ever
until_true() { local n; for ((n = 0; n < 1200; n++)); do ! "$@" || return 0; read -rt 0.1 <> <(:) || :; done; fail "never: $*"; }
listed() { grep -qF "$1: $2" <(dkms status); }
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    two_packages(Base::trixie, PRELUDE, text)
}

/// What was refused to a build, and why: being root is advised only where root would be let through.
const REFUSED: &str = r#"
# makefile LINES: hello with a first goal of its own, which runs LINES before kbuild.
makefile() { printf 'ifneq ($(KERNELRELEASE),)\nobj-m := hello.o\nccflags-y += -I/opt/vendor\nelse\nall:\n%s\n\t$(MAKE) -C $(KDIR) M=$(CURDIR) modules\nendif\n' "$1" >/usr/src/hello-1.0/Makefile; }
sed -i "s|^MAKE.*|MAKE[0]=\"'make' KDIR=\$kernel_source_dir\"|" /usr/src/hello-1.0/dkms.conf
fails() { code 10 dkms build hello/1.0 -k $k; }
root='DKMS_BUILD_AS="root" in /etc/dkms/hello.conf'
printf '#!/bin/sh\n:\n' >/usr/src/hello-1.0/gen.sh; makefile '	./gen.sh'
fails; has 'chmod +x /usr/src/hello-1.0/gen.sh' /tmp/said; hasnt "$root" /tmp/said
echo DKMS_BUILD_AS=root >/etc/dkms/hello.conf; fails; has 'chmod +x /usr/src/hello-1.0/gen.sh' /tmp/said; rm /etc/dkms/hello.conf
# The same as PRE_BUILD.
echo PRE_BUILD=gen.sh >>/usr/src/hello-1.0/dkms.conf; makefile '	:'
code 0 dkms build hello/1.0 -k $k; has 'chmod +x /usr/src/hello-1.0/gen.sh' /tmp/said; hasnt .dkms/work /tmp/said
chmod +x /usr/src/hello-1.0/gen.sh; sed -i '/PRE_BUILD/d' /usr/src/hello-1.0/dkms.conf; dkms unbuild hello/1.0 -k $k >/dev/null
# Line ends, and programs that are not there.
printf '#!/bin/sh\r\n:\r\n' >/usr/src/hello-1.0/gen.sh; makefile '	./gen.sh'
fails; has '/usr/src/hello-1.0/gen.sh has DOS line ends' /tmp/said
echo PRE_BUILD=gen.sh >>/usr/src/hello-1.0/dkms.conf; makefile '	:'
code 127 dkms build hello/1.0 -k $k; has '/usr/src/hello-1.0/gen.sh has DOS line ends' /tmp/said
printf '#!/bin/sh\nset -o nothing\r\n' >/usr/src/hello-1.0/gen.sh; ! dkms build hello/1.0 -k $k >/tmp/said 2>&1 || fail "it builds"
has 'DOS line ends' /tmp/said; sed -i '/PRE_BUILD/d' /usr/src/hello-1.0/dkms.conf
printf '#!/nowhere/python\n' >/usr/src/hello-1.0/gen.sh; makefile '	./gen.sh'; fails; has 'gen.sh needs /nowhere/python' /tmp/said
echo POST_INSTALL=gen.sh >>/usr/src/hello-1.0/dkms.conf; makefile '	:'
code 0 dkms install hello/1.0 -k $k; has 'gen.sh needs /nowhere/python' /tmp/said; sed -i '/POST_INSTALL/d' /usr/src/hello-1.0/dkms.conf
dkms unbuild hello/1.0 -k $k >/dev/null; makefile '	no-such-tool x'; fails; has 'no-such-tool is needed' /tmp/said
# What only root may do; make that goes on is told of, too.
mkdir /opt/vendor; echo '#define V 1' >/opt/vendor/vendor.h; chmod 600 /opt/vendor/vendor.h
sed -i '1i #include "vendor.h"' /usr/src/hello-1.0/hello.c; makefile '	:'
fails; has 'refused /opt/vendor/vendor.h: it belongs to root and has mode 0600' /tmp/said; has "$root" /tmp/said
code 11 dkms autoinstall -k $k; chmod 644 /opt/vendor/vendor.h; code 0 dkms reconcile -k $k; listed "hello/1.0, $k, x86_64" installed || fail "not tried again"
dkms unbuild hello/1.0 -k $k >/dev/null; makefile '	-mkdir -p /opt/mine && touch /opt/mine/x'
code 0 dkms build hello/1.0 -k $k; has 'refused /opt/mine: /opt belongs to root' /tmp/said; has "$root" /tmp/said
dkms unbuild hello/1.0 -k $k >/dev/null; makefile '	cp hello.c copy.c'
sed -i "s|^MAKE.*|MAKE[0]=\"'make' -C /usr/src/hello-1.0 KDIR=\$kernel_source_dir\"|" /usr/src/hello-1.0/dkms.conf
fails; has 'refused /usr/src/hello-1.0/copy.c: it works in its source' /tmp/said; has "$root" /tmp/said
"#;

/// What else stops a build: the source is not whole, the headers are not, names differ, a patch does not fit, a script fails.
const NOT_WHOLE: &str = r#"
headers=$(readlink -f /lib/modules/$k/build); cp -a /usr/src/hello-1.0 /root/hello
cp -a /usr/src/other-1.0 /root/other; ln -sfn ../elsewhere.c /root/other/more.c; echo 'obj-m += more.o' >>/root/other/Makefile
rm -r /usr/src/other-1.0; code 0 dkms add /root/other; has '/usr/src/other-1.0/more.c is a link to ../elsewhere.c' /tmp/said
code 10 dkms build other/1.0 -k $k; has '/usr/src/other-1.0/more.c is a link to ../elsewhere.c' /tmp/said
mkdir /usr/src/hello-1.0/patches; echo 'PATCH[0]=fix.patch' >>/usr/src/hello-1.0/dkms.conf
printf -- '--- a/hello.c\n+++ b/hello.c\n@@ -3,1 +3,1 @@\n-not there\n+nor here\n' >/usr/src/hello-1.0/patches/fix.patch
code 6 dkms build hello/1.0 -k $k; has 'hello.c: hunk 1, at line 3, does not fit' /tmp/said; sed -i '/PATCH/d' /usr/src/hello-1.0/dkms.conf
printf '#!/bin/sh\necho one; echo the reason; exit 3\n' >/usr/src/hello-1.0/pre.sh; chmod +x /usr/src/hello-1.0/pre.sh
echo PRE_BUILD=pre.sh >>/usr/src/hello-1.0/dkms.conf; code 3 dkms build hello/1.0 -k $k; has 'the reason' /tmp/said
sed -i '/PRE_BUILD/d' /usr/src/hello-1.0/dkms.conf
# What a command's text holds is not what came of it.
sed -i "s|^MAKE.*|MAKE[0]=\"true 'x.c:1: error: only the text'; false\"|" /usr/src/hello-1.0/dkms.conf
code 10 dkms build hello/1.0 -k $k; dkms status --long --format json >/tmp/said; has '"failed"' /tmp/said; hasnt 'only the text' /tmp/said
cp /root/hello/dkms.conf /usr/src/hello-1.0/dkms.conf
# The cause lies in a script that did not run, or went on without a program.
sed -i '1i #include "made.h"' /usr/src/hello-1.0/hello.c; printf '#!/bin/sh\n:>made.h\n' >/usr/src/hello-1.0/make-header; chmod -x /usr/src/hello-1.0/make-header
echo PRE_BUILD=make-header >>/usr/src/hello-1.0/dkms.conf
code 10 dkms build hello/1.0 -k $k; has 'made.h: No such file' /tmp/said
has 'The pre_build script did not run: /usr/src/hello-1.0/make-header lacks the permission to execute' /tmp/said
dkms reconcile -k $k >/tmp/said 2>&1; has 'fix: The pre_build script did not run' /tmp/said
printf '#!/bin/bash\nno-such-fetcher made.h || true\n' >/usr/src/hello-1.0/make-header; chmod +x /usr/src/hello-1.0/make-header
code 10 dkms build hello/1.0 -k $k; has 'made.h: No such file' /tmp/said; has 'no-such-fetcher is needed' /tmp/said
printf '#!/bin/bash\nno-such-fetcher made.h || : >made.h\n' >/usr/src/hello-1.0/make-header
code 0 dkms build hello/1.0 -k $k; hasnt needed /tmp/said
dkms unbuild hello/1.0 -k $k >/dev/null; cp /root/hello/* /usr/src/hello-1.0/
mv /usr/bin/pahole /root/; code 10 dkms build hello/1.0 -k $k; has 'pahole is needed' /tmp/said; has 'apt install' /tmp/said; mv /root/pahole /usr/bin/
# Headers: a file is gone; they are; their place is taken; the kernel is somebody's own.
own=/usr/src/own; cp -a $headers $own; rm $own/scripts; cp -a "$(readlink -f $headers/scripts)" $own/scripts
for file in basic/fixdep mod/modpost; do
	mv $own/scripts/$file /root/gone; ln -sfn $own /lib/modules/$k/build
	code 10 dkms build hello/1.0 -k $k; has "build/scripts/$file does not exist" /tmp/said; has "linux-headers-$k again" /tmp/said
	mv /root/gone $own/scripts/$file
done
ln -sfn /home/builder/linux /lib/modules/$k/build
code 21 dkms build hello/1.0 -k $k; has 'is a link to /home/builder/linux, which does not exist' /tmp/said; hasnt 'apt install' /tmp/said
rm /lib/modules/$k/build; mkdir /lib/modules/$k/build; code 21 dkms build hello/1.0 -k $k; has 'holds no headers' /tmp/said
rmdir /lib/modules/$k/build; rm /var/lib/dpkg/info/linux-image-$k*.list
code 21 dkms build hello/1.0 -k $k; has 'no package brought this kernel' /tmp/said; hasnt 'apt install' /tmp/said
ln -s $headers /lib/modules/$k/build
# Registered by another version than its dkms.conf has; a version that was to be replaced.
cp -a /usr/src/hello-1.0 /usr/src/hello-dkms; sed -i 's/^PACKAGE_VERSION=.*/PACKAGE_VERSION=6.1/' /usr/src/hello-dkms/dkms.conf
code 10 dkms build hello/dkms -k $k; has 'is that of hello/6.1' /tmp/said; has 'looks for its files in /var/lib/dkms/hello/6.1' /tmp/said
for version in '#MODULE_VERSION#' '@PKGVER@' '__VERSION__' '%VERSION%' '{{version}}' PKG_VERSION; do
	rm -rf /root/v; cp -a /usr/src/hello-1.0 /root/v; sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION='$version'/" /root/v/dkms.conf
	code 0 dkms add /root/v; has "PACKAGE_VERSION is '$version'" /tmp/said
done
# A whole one that is named as it is added: nothing is said.
cp -a /usr/src/hello-1.0 /usr/src/hello-2.0; sed -i 's/^PACKAGE_VERSION=.*/PACKAGE_VERSION=2.0/' /usr/src/hello-2.0/dkms.conf
code 0 dkms add hello/2.0; hasnt arning /tmp/said
"#;

/// Who only looks runs no compiler, and leaves nothing, although a build is due.
const LOOKS: &str = r#"
code 0 dkms add hello/1.0
for look in "doctor -k $k" 'status --long' "why hello -k $k"; do
	strace -f -e trace=execve -o /tmp/trace dkms $look >/tmp/said 2>&1 || :
	has hello /tmp/said; hasnt gcc /tmp/trace; [ ! -e /var/cache/dkms ] || fail "$look: leaves $(find /var/cache/dkms)"
done
strace -f -e trace=execve -o /tmp/trace dkms reconcile -k $k >/tmp/said 2>&1; has gcc /tmp/trace; [ -d /var/cache/dkms/contents ] || fail 'this would see nothing'
"#;

/// What a Makefile needs that keeps its flags in EXTRA_CFLAGS.
macro_rules! old_flags {
    () => {
        r#"
cd /usr/src/hello-1.0; mkdir include; echo '#define FIRST 1' >include/first.h; sed -i '1i #include "first.h"' hello.c
printf 'EXTRA_CFLAGS += -I$(src)/include\nobj-m := hello.o\n' >Makefile; lost='/usr/src/hello-1.0/Makefile, line 1, sets EXTRA_CFLAGS'
"#
    };
}

/// Linux 7.2 ignores it: that is said, and what is advised helps.
const IGNORED_FLAGS: &str = concat!(
    old_flags!(),
    r#"
code 10 dkms build hello/1.0 -k $k; has 'first.h: No such file' /tmp/said; has "$lost" /tmp/said
dkms reconcile -k $k >/tmp/said 2>&1 || :; has "$lost" /tmp/said
code 0 dkms lint /usr/src/hello-1.0; has 'lost-flags' /tmp/said
eval "$(sed -n 's/.*To try this one: //p' <(dkms build hello/1.0 -k $k 2>&1 || :))"; code 0 dkms build hello/1.0 -k $k
code 0 dkms lint /usr/src/hello-1.0; hasnt 'lost-flags' /tmp/said
echo '#error of its own' >>hello.c; code 10 dkms build hello/1.0 -k $k --force; hasnt "$lost" /tmp/said
"#
);

/// Linux 6.12 reads it: whatever fails, it is not that.
const FLAGS_THAT_COUNT: &str = concat!(
    old_flags!(),
    r#"
code 0 dkms build hello/1.0 -k $k
echo '#error of its own' >>hello.c; code 10 dkms build hello/1.0 -k $k --force; hasnt "$lost" /tmp/said
"#
);

/// A full disk is said, with how much there is of it; the log is kept.
const FULL: &str = r"
printf '#!/bin/sh\nfor i in 1 2 3; do head -c 4000000 /dev/zero >big$i || exit 1; done\n' >/usr/src/hello-1.0/unpack.sh
chmod +x /usr/src/hello-1.0/unpack.sh; echo PRE_BUILD=unpack.sh >>/usr/src/hello-1.0/dkms.conf
mount -t tmpfs -o size=5m tmpfs /var/lib/dkms
code 1 dkms build hello/1.0 -k $k; has 'The file system of /var/lib/dkms/hello/1.0/build is full' /tmp/said; has 'of 5 MiB left' /tmp/said
has unpack.sh /var/lib/dkms/hello/1.0/build/make.log
umount /var/lib/dkms; sed -i '/PRE_BUILD/d' /usr/src/hello-1.0/dkms.conf; code 0 dkms build hello/1.0 -k $k
mkdir -p $updates; mount -t tmpfs -o size=4k tmpfs $updates; head -c 4096 /dev/zero >$updates/filler
code 6 dkms install hello/1.0 -k $k; has 'No space left' /tmp/said; has 'of 4 KiB left' /tmp/said
";

/// A source that is another one than what was built: told of by `status --long` and dry runs, built by whoever forces it and by
/// `reconcile`.
const CHANGED_SOURCES: &str = r#"
word() { modinfo -k $k -F description hello; }
is() { sed -i '/MODULE_DESCRIPTION/d' $2/hello.c; echo "MODULE_DESCRIPTION(\"$1\");" >>$2/hello.c; }
is first /usr/src/hello-1.0; code 0 dkms install hello/1.0 -k $k; [ "$(word)" = first ]
cp -a /usr/src/hello-1.0 /root/hello; is second /root/hello
code 0 dkms install /root/hello -k $k --force --dry-run; has 'uild' /tmp/said
code 0 dkms install /root/hello -k $k --force; [ "$(word)" = second ] || fail "the old build: $(word)"
dkms status --long >/tmp/said; hasnt 'source has changed' /tmp/said; code 0 dkms reconcile --dry-run -k $k; has 'Nothing' /tmp/said
is third /usr/src/hello-1.0; dkms status --long >/tmp/said; has 'its source has changed' /tmp/said
dkms status --long --format json >/tmp/said; has '"source_changed": true' /tmp/said
code 0 dkms reconcile --dry-run -k $k; has 'hello/1.0' /tmp/said; [ "$(word)" = second ] || fail "not dry"
code 0 dkms reconcile -k $k; [ "$(word)" = third ] || fail "not rebuilt: $(word)"
code 0 dkms reconcile --dry-run -k $k; has 'Nothing' /tmp/said
is fourth /usr/src/hello-1.0; code 0 dkms install hello/1.0 -k $k --force; [ "$(word)" = fourth ] || fail "force: $(word)"
# What is advised works; what was only built is installed by whoever looks after it, and by `install`.
is built /usr/src/hello-1.0; dkms why hello -k $k >/tmp/said; has 'is installed, but is to be built again' /tmp/said; has "fix: dkms reconcile -k $k" /tmp/said
dkms doctor >/tmp/said || :; has "fix: dkms reconcile -k $k" /tmp/said
code 0 dkms build hello/1.0 -k $k --force; [ "$(word)" = fourth ]; code 0 dkms reconcile -k $k; [ "$(word)" = built ] || fail "only built: $(word)"
is fourth /usr/src/hello-1.0; code 0 dkms build hello/1.0 -k $k --force; code 0 dkms install hello/1.0 -k $k; [ "$(word)" = fourth ] || fail "not installed: $(word)"
code 0 dkms install hello/1.0 -k $k; has 'already installed' /tmp/said
# A touched one is the same one, which is found out once; one that builds as root change is theirs.
note=/var/lib/dkms/hello/1.0/.dkms-source.json; rm -f $note
touch /usr/src/hello-1.0/hello.c; code 0 dkms reconcile --dry-run -k $k; has 'Nothing' /tmp/said; [ ! -e $note ] || fail 'a dry run wrote'
# Not before its times are past the clock's tick.
end=$((SECONDS + 60)); until [ -e $note ]; do [ $SECONDS -lt $end ] || fail 'not remembered'; code 0 dkms reconcile -k $k; done
reads() { strace -f -e trace=openat -o /tmp/trace dkms reconcile -k $k; grep -qF '/hello.c"' /tmp/trace; }
! reads || fail 'its files are read again'
touch /usr/src/hello-1.0/hello.c; reads || fail 'a later touch goes unnoticed'
echo DKMS_BUILD_AS=root >/etc/dkms/hello.conf; is fifth /usr/src/hello-1.0; code 0 dkms reconcile -k $k; [ "$(word)" = fourth ] || fail "as root: $(word)"
dkms status --long >/tmp/said; has 'run as root (DKMS_BUILD_AS)' /tmp/said
# One that does not compile costs nothing.
rm /etc/dkms/hello.conf; echo '#error no' >>/usr/src/hello-1.0/hello.c; code 0 dkms reconcile -k $k; [ "$(word)" = fourth ] || fail "it is gone"
"#;

/// Results are in systemd's journal, with fields; and the logs that are kept are found.
const JOURNAL: &str = r#"
mkdir -p /run/systemd/journal; /usr/lib/systemd/systemd-journald >/dev/null 2>&1 & journald=$!
until_true test -S /run/systemd/journal/socket; found() { journalctl --sync; journalctl -q -t dkms --no-pager -o json "$@" >/tmp/found; }
code 1 dkms logs; echo '#error no good' >>/usr/src/other-1.0/other.c
code 0 dkms install hello/1.0 -k $k; code 10 dkms install other/1.0 -k $k
found DKMS_PACKAGE=other; [ "$(wc -l </tmp/found)" = 1 ] || { cat /tmp/found >&2; fail "not one entry"; }
for field in '"PRIORITY":"3"' "\"DKMS_KERNEL\":\"$k\"" '"DKMS_STEP":"build"' '"DKMS_CODE":"10"' '"DKMS_VERSION":"1.0"' 'error: #error no good' "\"DKMS_LOG\":\"/var/lib/dkms/.dkms/records/other/1.0/$k/x86_64.log\""; do has "$field" /tmp/found; done
found DKMS_PACKAGE=hello; has '"PRIORITY":"5"' /tmp/found; has ': installed"' /tmp/found; hasnt DKMS_CODE /tmp/found
code 0 dkms install hello/1.0 -k $k; found DKMS_PACKAGE=hello; [ "$(wc -l </tmp/found)" = 1 ] || fail "nothing was done, and yet told"
code 0 dkms logs other; has '#error no good' /tmp/said; has 'build failed' /tmp/said
code 0 dkms logs hello -k $k; has 'make.log for hello/1.0' /tmp/said; has '# exit code: 0' /tmp/said
code 0 su nobody -s /bin/bash -c 'dkms logs --all'; [ "$(wc -l </tmp/said)" = 2 ] || fail "not two logs"
while read -r line; do test -f "${line##*, }" || fail "gone: $line"; done </tmp/said
kill $journald
"#;

/// Whoever logs in is told what the next boot will lack: by Debian's own lines for logins, and a session that PAM opens.
const NOTICES: &str = r#"
apt-get -q -y install pamtester login >/dev/null 2>&1 || { apt-get -q update >/dev/null; apt-get -q -y install pamtester login >/dev/null; }
grep pam_motd /etc/pam.d/login >/etc/pam.d/told; [ -s /etc/pam.d/told ] || fail "login shows no messages"
echo 'session required pam_permit.so' >>/etc/pam.d/told # somebody has to agree
shown() { pamtester told root open_session >/tmp/shown 2>&1 || { cat /tmp/shown >&2; fail "no session"; }; }
motd=/run/motd.d/dkms; desktop=/var/lib/update-notifier/user.d/dkms; lacks="Kernel $k, which boots next, lacks modules of other/1.0."
mkdir -p /boot/grub; printf 'menuentry one {\n linux /boot/vmlinuz-%s\n}\n' $k >/boot/grub/grub.cfg
code 0 dkms add hello/1.0; code 0 dkms add other/1.0; echo '#error no good' >>/usr/src/other-1.0/other.c
code 0 dkms reconcile -k $k --dry-run; [ ! -e $motd ] || fail "a dry run tells"
code 0 dkms reconcile -k $k; shown; has "$lacks" /tmp/shown; has 'dkms doctor' /tmp/shown; hasnt hello /tmp/shown
code 1 dkms doctor -k $k; has other/1.0 /tmp/said; [ ! -e $desktop ] || fail "there is no desktop here"
# /run is empty at boot, and the unit tells again.
rm -r /run/motd.d; mkdir -p "${desktop%/*}"; code 0 dkms reconcile --event boot; shown; has "$lacks" /tmp/shown; has "$lacks" $desktop
# Off by one option, or for what is held.
echo notify=no >/etc/dkms/framework.conf.d/off.conf; code 0 dkms reconcile --event boot; [ ! -e $motd ] && [ ! -e $desktop ] || fail "it is off"
rm /etc/dkms/framework.conf.d/off.conf; code 0 dkms reconcile --event boot; shown; has "$lacks" /tmp/shown
code 0 dkms hold other; [ ! -e $motd ] || fail "it is held"; code 0 dkms unhold other; [ -e $motd ] || fail "it is held no more"
sed -i '$d' /usr/src/other-1.0/other.c; code 0 dkms install other/1.0 -k $k; shown; hasnt dkms /tmp/shown; [ ! -e $motd ] && [ ! -e $desktop ] || fail "all is well"
"#;

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("what_was_refused", script(REFUSED))
        .case("what_is_not_whole", script(NOT_WHOLE))
        .case("who_only_looks", script(LOOKS))
        .case("flags_that_the_kernel_ignores", two_packages(Base::boot, PRELUDE, IGNORED_FLAGS))
        .case("flags_that_count", script(FLAGS_THAT_COUNT))
        .case("full_disks", script(FULL))
        .case("changed_sources", script(CHANGED_SOURCES))
        .case("results_in_the_journal", script(JOURNAL))
        .case("who_logs_in_is_told", script(NOTICES))
        .main()
}
