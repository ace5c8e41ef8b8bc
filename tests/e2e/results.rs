//! The result cache: what is unchanged is taken, whatever has changed is built, and nothing that befalls the cache fails a build.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::{module, package};
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// What every script begins with: `hello`, `base` and `top`, which needs what `base` exports, are in /usr/src.
const PRELUDE: &str = r#"
k={k}; updates=/lib/modules/$k/updates/dkms; cache=/var/cache/dkms/results
fail() { echo "FAILED: $*" >&2; cat /tmp/said >&2; exit 99; }
has() { grep -qF -- "$1" /tmp/said || fail "no '$1'"; }
said() { "$@" >/tmp/said 2>&1 || fail "$*: exit $?"; }
# built PACKAGE [OPTION...], taken PACKAGE [OPTION...]: how `dkms build` gets it.
built() { dkms unbuild $1/1.0 -k $k >/dev/null 2>&1 || true; said dkms build $1/1.0 -k $k --debug "${@:2}"; has 'Building module(s)...'; (! grep -qF 'Taken from' /tmp/said) || fail "$* was not built"; }
taken() { dkms unbuild $1/1.0 -k $k >/dev/null 2>&1 || true; said dkms build $1/1.0 -k $k --debug "${@:2}"; has 'Taken from the result cache, built on '; (! grep -qF 'Building module' /tmp/said) || fail "$* was built"; }
# anew FILE SED: another content of the same size and time, as a package of the same version may bring it.
anew() { cp -p $1 $1.old; sed "$2" $1.old >$1.new; touch -r $1.old $1.new; (! cmp -s $1.old $1.new); mv $1.new $1; }
back() { mv $1.old $1; }
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    move || {
        let bed = Bed::subject(&Base::trixie()?)?;
        let hand = tempfile::tempdir()?;
        let exports = "int base_value(int x) { return x; }\nEXPORT_SYMBOL(base_value);\n";
        let top = module("top")
            .code("int base_value(int x);\nint top_value(void);\nint top_value(void) { return base_value(3); }\n");
        for package in [
            package("hello"),
            package("base").module(module("base").code(exports)),
            package("top").module(top).conf_line("BUILD_DEPENDS[0]=base"),
        ] {
            let dir = package.build_in(hand.path())?;
            let name = dir.file_name().unwrap_or_default().to_string_lossy().replace("-1.0", "");
            bed.copy_in(&dir, &format!("/usr/src/{name}-1.0"))?;
        }
        let text = fill(bed.base(), &format!("{PRELUDE}{text}"));
        let outcome = bed.run(&["bash", "-ec", &text])?;
        ensure!(outcome.code == 0, "exit code {}\n{}", outcome.code, outcome.tail());
        Ok(())
    }
}

/// Removed and added again, in another DKMS tree, with other keys and other compression, the headers unpacked anew.
const UNCHANGED: &str = r#"
built hello; cp /var/lib/dkms/hello/1.0/$k/x86_64/module/hello.ko.xz /root/first
said dkms remove hello/1.0 --all; said dkms add hello/1.0; said dkms install hello/1.0 -k $k; has 'Taken from the result cache'
cmp /root/first $updates/hello.ko.xz || fail 'another module'
said dkms status --long; has 'taken from the result cache, built on '
said dkms status --long --format json; has '"taken_from_cache":'
log=/var/lib/dkms/hello/1.0/$k/x86_64/log/make.log
cp $log /tmp/said; has '# taken from the result cache, built on '; has '# command: make KERNELRELEASE='; has '# exit code: 0'
[ ! -e /var/lib/dkms/hello/1.0/build ] || fail 'a build directory'
# In another tree, with another key, with none.
mkdir /srv/tree; said dkms add hello/1.0 --dkmstree /srv/tree; said dkms build hello/1.0 -k $k --dkmstree /srv/tree; has 'Taken from'
cmp /root/first /srv/tree/hello/1.0/$k/x86_64/module/hello.ko.xz
rm /var/lib/dkms/mok.*; taken hello; (! cmp -s /root/first /var/lib/dkms/hello/1.0/$k/x86_64/module/hello.ko.xz) || fail 'the same signature'
printf 'try_sign_modules=false\n' >/etc/dkms/framework.conf.d/x.conf; taken hello
(! grep -q 'Module signature appended' <(xz -dc /var/lib/dkms/hello/1.0/$k/x86_64/module/hello.ko.xz)) || fail 'it is signed'
rm /etc/dkms/framework.conf.d/x.conf
# The same files, reinstalled; the same jobs or fewer.
headers=$(readlink -f /lib/modules/$k/build); cp -a $headers $headers.new; rm -r $headers; mv $headers.new $headers; taken hello
taken hello -j 1; PATH=$PATH:/nowhere LANG=de_DE.UTF-8 taken hello
# What is forced is built, and what is built is kept.
built hello --force; taken hello
echo 'result_cache="no"' >/etc/dkms/framework.conf.d/x.conf; built hello; rm /etc/dkms/framework.conf.d/x.conf; taken hello
"#;

/// Each input, changed alone, forbids it; changed back, allows it.
const CHANGED: &str = r#"
built hello; taken hello
anew /usr/src/hello-1.0/hello.c '1s/$/ /'; built hello; back /usr/src/hello-1.0/hello.c; taken hello
echo 'MAKE[0]="${MAKE[0]} KCFLAGS=-DOTHER"' >/etc/dkms/hello.conf; built hello; rm /etc/dkms/hello.conf; taken hello
built hello --directive STRIP=no
# A compiler under the same path and version text.
cc1=$(gcc-14 -print-prog-name=cc1); mv $cc1 $cc1.real; printf '#!/bin/sh\nexec %s.real "$@"\n' $cc1 >$cc1; chmod +x $cc1
built hello; mv $cc1.real $cc1; taken hello
# A header of the kernel's that has its old size and time.
common=$(dirname $(readlink -f /usr/src/linux-headers-${k%-cloud*}*-common/Makefile)); anew $common/include/linux/init.h 's/initcalls/Initcalls/'
built hello; back $common/include/linux/init.h; taken hello
# What it needs exports something else.
said dkms install base/1.0 -k $k; built top; taken top
(! dkms uninstall base/1.0 -k $k >/dev/null 2>&1) || true; sed -i 's/int base_value(int x)/long base_value(int x)/' /usr/src/base-1.0/base.c
said dkms build base/1.0 -k $k --force; said dkms install base/1.0 -k $k --force; built top
"#;

/// Who may have read what no key names is built each time.
const UNSEEN: &str = r#"
before() { ls $cache 2>/dev/null | wc -l; }
not_kept() { local n=$(before); built hello "${@:2}"; has "the result of hello/1.0 for kernel $k (x86_64) is not kept: $1"; [ $n = $(before) ] || fail 'it was kept'; }
cp -a /usr/src/hello-1.0 /root/hello; again() { rm -rf /usr/src/hello-1.0; cp -a /root/hello /usr/src/hello-1.0; }
printf '#!/bin/sh\n:\n' >/usr/src/hello-1.0/x.sh; chmod +x /usr/src/hello-1.0/x.sh
for script in PRE_BUILD POST_BUILD; do sed -i /x.sh/d /usr/src/hello-1.0/dkms.conf; echo $script=x.sh >>/usr/src/hello-1.0/dkms.conf; not_kept "its dkms.conf has $script"; done; again
echo 'build_network="yes"' >/etc/dkms/framework.conf.d/x.conf; not_kept 'its build has the network'; rm /etc/dkms/framework.conf.d/x.conf
mkdir -p /opt/v; echo '#define V 1' >/opt/v/v.h; sed -i '1i #include "v.h"' /usr/src/hello-1.0/hello.c; echo 'ccflags-y += -I/opt/v' >>/usr/src/hello-1.0/Makefile
not_kept 'its build has read /opt/v/v.h'; again
# By way of a link, of the source's or of the build's making.
sed -i '1i #include "v.h"' /usr/src/hello-1.0/hello.c; ln -s /opt/v/v.h /usr/src/hello-1.0/v.h; not_kept 'its build has read /usr/src/hello-1.0/v.h'
rm /usr/src/hello-1.0/v.h; sed -i '1i $(shell ln -sf /opt/v/v.h $(src)/v.h)' /usr/src/hello-1.0/Makefile; not_kept 'its build has read '; has build/v.h
echo DKMS_BUILD_AS=root >/etc/dkms/hello.conf; not_kept 'its build has read '; has build/v.h; rm /etc/dkms/hello.conf; again
cp /usr/bin/x86_64-linux-gnu-gcc-14 /usr/bin/my-gcc; sed -i 's/^MAKE.*modules/& CC=my-gcc/' /usr/src/hello-1.0/dkms.conf; not_kept 'it was compiled by my-gcc'; again
# It changes while it is built.
sed -i 's/^MAKE.*modules/& \&\& touch go/' /usr/src/hello-1.0/dkms.conf
echo DKMS_BUILD_AS=root >/etc/dkms/hello.conf; sed -i 's/touch go/touch \/usr\/src\/hello-1.0\/new/' /usr/src/hello-1.0/dkms.conf; not_kept 'its source, or what it needs, changed while it was built'
rm /etc/dkms/hello.conf; again
# A build can neither look there nor write there.
sed -i '1i $(shell (ls /var/cache/dkms/results; touch /var/cache/dkms/results/x) >\&2)' /usr/src/hello-1.0/Makefile; built base; built hello
cp /var/lib/dkms/hello/1.0/$k/x86_64/log/make.log /tmp/said; has "cannot open directory '/var/cache/dkms/results': Permission denied"; [ ! -e $cache/x ] || fail 'a build has written there'
"#;

/// The cache is damaged, full, not writable, or its run is killed; two runs at once.
const MISHAPS: &str = r#"
built hello; cp -a $cache /root/cache
for file in $cache/*; do printf X | dd of=$file bs=1 seek=3000 conv=notrunc status=none; done
built hello; has 'in the result cache is deleted: it is damaged'; taken hello
for file in $cache/*; do truncate -s 100 $file; done; built hello; for file in $cache/*; do : >$file; done; built hello; taken hello
rm -r $cache; ln -s /nowhere $cache; built hello; taken=$(readlink $cache); [ $taken = /nowhere ] || fail 'the link is gone'; rm $cache
touch /root/file; rm -rf /var/cache/dkms; ln -s /root/file /var/cache/dkms; built hello; rm /var/cache/dkms
mkdir -p /var/cache/dkms; mount -t tmpfs -o size=16k,mode=755 none /var/cache/dkms; built hello; has 'is not kept'; built hello
umount /var/cache/dkms; mount -t tmpfs -o ro none /var/cache/dkms; built hello; has 'is not kept'; umount /var/cache/dkms
chmod 777 /var/cache/dkms; mkdir -m 777 $cache; cp /root/cache/* $cache; built hello; rm -r $cache
echo 'result_cache_size="4K"' >/etc/dkms/framework.conf.d/x.conf; built hello; has 'it is larger than result_cache_size'; built hello; rm /etc/dkms/framework.conf.d/x.conf
# Killed while it is kept: the artefact is there, and the next run goes on.
dkms unbuild hello/1.0 -k $k >/dev/null
# (Before it has a file, and when it has its name.)
for call in openat fsync; do
	dkms unbuild hello/1.0 -k $k >/dev/null 2>&1 || true; rm -rf $cache
	strace -o /tmp/trace -P $cache -e inject=$call:signal=KILL dkms build hello/1.0 -k $k >/tmp/said 2>&1 && fail "not killed at $call"
	said dkms status; has ": built"; [ $call = fsync ] || built hello; taken hello
done
# Two trees, one cache.
rm -r $cache; for t in a b; do mkdir /srv/$t; said dkms add hello/1.0 --dkmstree /srv/$t; done
dkms build hello/1.0 -k $k --dkmstree /srv/a >/root/a 2>&1 & dkms build hello/1.0 -k $k --dkmstree /srv/b >/root/b 2>&1; wait $! || fail 'one failed'
taken hello
"#;

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Subject])
        .case("what_is_unchanged_is_taken", script(UNCHANGED))
        .case("what_has_changed_is_built", script(CHANGED))
        .case_needing(&[Need::Long], "who_has_read_what_no_key_names_is_built", script(UNSEEN))
        .case("whatever_befalls_the_cache_no_build_fails", script(MISHAPS))
        .main()
}
