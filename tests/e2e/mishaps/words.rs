//! What is said of mishaps, and how.

/// What people are told.
pub const WORDS: &str = r#"
code 0 dkms install /usr/src/other-1.0 -k $k --dry-run; has 'Would install other/1.0' /tmp/said; [ -z "$(dkms status)" ]
code 1 dkms build hello; has 'Which version of hello?' /tmp/said
code 1 dkms add /usr/src; has '/usr/src holds no dkms.conf' /tmp/said
dkms install hello/1.0 -k $k >/dev/null
code 21 dkms install hello/1.0 -k 9.9.9; has 'not installed here' /tmp/said; has "$k2" /tmp/said
mv /usr/src/linux-headers-$k2 /root/; code 0 dkms reconcile -k $k2; has 'waiting for headers' /tmp/said
[ "$(grep -c 'linux-headers-' /tmp/said)" = 1 ] || { cat /tmp/said >&2; fail "the advice is repeated"; }
code 0 dkms status --long; has "kernel $k2 (x86_64): waiting for" /tmp/said
code 0 dkms status --long --format json; has '"outcome": "waiting"' /tmp/said
"#;

/// What a terminal shows, and what goes elsewhere.
pub const TERMINAL: &str = r#"
esc=$(printf '\033'); both() { dkms add hello/1.0; dkms add other/1.0; } >/dev/null
both; TERM=xterm script -qec "stty cols 200; dkms reconcile -k $k -j2" /root/log >/dev/null </dev/null
has "hello/1.0 for $k" /root/log; has 'Building 0/2 [' /root/log; has "$esc[2K" /root/log; has "Build and install hello/1.0 for kernel $k" /root/log
dkms remove hello/1.0 --all >/dev/null; dkms remove other/1.0 --all >/dev/null; both
dkms reconcile -k $k -j2 >/root/log 2>&1; hasnt "$esc" /root/log; hasnt 'Building 0/2' /root/log
dkms remove hello/1.0 --all >/dev/null; dkms add hello/1.0 >/dev/null
TERM=dumb script -qec "dkms reconcile -k $k -j2" /root/log >/dev/null </dev/null; hasnt "$esc" /root/log
# A person is told what the list leaves out; a program gets the list.
echo '#error no good' >>/usr/src/other-1.0/other.c; dkms remove other/1.0 --all >/dev/null; dkms add other/1.0 >/dev/null; dkms reconcile -k $k >/dev/null 2>&1
TERM=xterm script -qec "dkms status" /root/log >/dev/null </dev/null; has '1 package lacks a kernel: dkms status --long' /root/log
dkms status >/root/log 2>&1; hasnt 'lacks a kernel' /root/log
"#;

/// Failures on two kernels: each keeps its own log, which anybody may read, until it builds.
pub const LOGS: &str = r#"
cp /usr/src/hello-1.0/hello.c /root/; echo '#error for '"$k2" >>/usr/src/hello-1.0/hello.c
logs() { find /var/lib/dkms/.dkms/records/hello -name '*.log'; }
code 10 dkms install hello/1.0 -k $k -k $k2; [ "$(logs | wc -l)" = 2 ] || fail "$(logs)"
su nobody -s /bin/bash -c 'dkms status --long' >/root/status; has 'build failed' /root/status
for kernel in $k $k2; do
	log=$(grep -o "/var/lib/dkms/.dkms/records/[^ )]*$kernel[^ )]*" /root/status) || fail "no log of $kernel: $(cat /root/status)"
	su nobody -s /bin/bash -c "cat $log" >/root/read; has "make.log for hello/1.0 for kernel $kernel" /root/read; has '#error for' /root/read
done
su nobody -s /bin/bash -c 'ls /var/lib/dkms/.dkms/work /var/lib/dkms/.dkms/journal' >/root/read 2>&1 && fail "not private"
mv /root/hello.c /usr/src/hello-1.0/; code 0 dkms install hello/1.0 -k $k; [ "$(logs | wc -l)" = 1 ] || fail "$(logs)"
code 0 dkms remove hello/1.0 --all; [ ! -e /var/lib/dkms/.dkms/records/hello ] || fail "records are left"
"#;

/// What a package's author got wrong: the message says what make did and what was probably meant.
pub const AUTHORS: &str = r#"
cp -a /usr/src/hello-1.0 /srv/good; d=/usr/src/hello-1.0
anew() { [ ! -e /var/lib/dkms/hello ] || dkms remove hello/1.0 --all >/dev/null; rm -r $d; cp -a /srv/good $d; }
sed -i 's/^BUILT_MODULE_NAME/BUILT_MODULE_NAM/; s/^DEST_MODULE_LOCATION/DEST_MODUL_LOCATION/' $d/dkms.conf
code 8 dkms install hello/1.0 -k $k
has 'BUILT_MODULE_NAM is not a directive: did you mean BUILT_MODULE_NAME?' /tmp/said
has 'DEST_MODUL_LOCATION is not a directive: did you mean DEST_MODULE_LOCATION?' /tmp/said
listed "hello/1.0, $k, x86_64" installed && fail "installed without a module"
anew; sed -i 's/^DEST_MODULE_LOCATION/DEST_MODUL_LOCATION/' $d/dkms.conf
code 8 dkms add hello/1.0; has 'DEST_MODUL_LOCATION is not a directive: did you mean DEST_MODULE_LOCATION?' /tmp/said
anew; echo autoinstall=yes >>$d/dkms.conf; code 0 dkms add hello/1.0; has 'autoinstall is not a directive: did you mean AUTOINSTALL?' /tmp/said
anew; sed -i 's/^BUILT_MODULE_NAME.*/BUILT_MODULE_NAME=sub\/hello/' $d/dkms.conf
code 8 dkms add hello/1.0; has BUILT_MODULE_LOCATION /tmp/said
anew; echo '# nothing' >$d/Makefile
code 7 dkms build hello/1.0 -k $k; has 'It produced no module at all' /tmp/said
anew; sed -i 's/^BUILT_MODULE_NAME.*/BUILT_MODULE_NAME=hullo/' $d/dkms.conf
code 7 dkms build hello/1.0 -k $k; has 'It produced hello.ko:' /tmp/said
anew; printf 'ifneq ($(KERNELRELEASE),)\nobj-m := hello.o\nelse\nall:\n\tmake -C /lib/modules/$(shell uname -r)/build M=$(CURDIR)\nendif\n' >$d/Makefile
sed -i '/^MAKE/d' $d/dkms.conf; echo "MAKE[0]=\"'make'\"" >>$d/dkms.conf
[ ! -e /lib/modules/$(uname -r)/build ] || fail "this machine's kernel has headers in the bed"
code 10 dkms build hello/1.0 -k $k; has "headers of kernel $(uname -r): does the package's Makefile ask" /tmp/said
anew; printf '#!/bin/bash\n: </dev/tcp/192.0.2.1/80\n' >$d/pre.sh; chmod +x $d/pre.sh; echo 'PRE_BUILD=pre.sh' >>$d/dkms.conf
code 1 dkms build hello/1.0 -k $k; has 'Builds have no network' /tmp/said
# One that keeps quiet is known by what it calls, also when make fails for what it did not fetch.
cp $d/pre.sh /root/loud.sh; printf '#!/bin/sh\nexit 7\n' >/usr/local/bin/curl; chmod +x /usr/local/bin/curl
printf '#!/bin/bash\ncurl -sf http://192.0.2.1/made.h -o made.h || exit 7\n' >$d/pre.sh
code 7 dkms build hello/1.0 -k $k; has 'Builds have no network, and its pre_build script calls curl' /tmp/said
sed -i 's/exit 7/true/' $d/pre.sh; sed -i '1i #include "made.h"' $d/hello.c
code 10 dkms build hello/1.0 -k $k; has 'Builds have no network, and its pre_build script calls curl' /tmp/said
sed -i 1d $d/hello.c; cp /root/loud.sh $d/pre.sh; rm /usr/local/bin/curl
# A script that goes on is warned of.
sed -i 's/^:.*/& || true/' $d/pre.sh; code 0 dkms build hello/1.0 -k $k; has 'Builds have no network' /tmp/said
"#;

/// Scripts are looked for in the source only, and their arguments are what a shell makes of them there.
pub const SCRIPT_LINES: &str = r#"
printf '#!/bin/sh\necho "$@" >/root/arguments\n' >/usr/src/hello-1.0/post.sh; chmod +x /usr/src/hello-1.0/post.sh
touch /usr/src/hello-1.0/{a,b}.fw
printf 'POST_ADD="/bin/touch /root/ran"\nPRE_BUILD="/bin/false"\nPRE_INSTALL="/bin/false"\nPOST_INSTALL="/post.sh *.fw no*thing"\n' >>/usr/src/hello-1.0/dkms.conf
code 0 dkms add hello/1.0; has '/usr/src/hello-1.0/bin/touch does not exist' /tmp/said; [ ! -e /root/ran ] || fail "a program of the system ran"
code 0 dkms install hello/1.0 -k $k; has bin/false /tmp/said
has 'a.fw b.fw no*thing' /root/arguments
"#;

/// Slips in kernels, verbs and names: what was meant is named, and nothing is remembered of them.
pub const SLIPS: &str = r#"
slip=${k%?}x; [ $slip != $k ]
code 21 dkms install hello/1.0 -k $slip; has "Did you mean $k?" /tmp/said
code 0 dkms reconcile -k $slip; has "no kernel $slip is installed here: did you mean $k?" /tmp/said
dkms status --long >/tmp/said; hasnt $slip /tmp/said
[ -z "$(find /var/lib/dkms/.dkms -name "$slip")" ] || fail "it is recorded"
mkdir -p /var/lib/dkms/.dkms/records/hello/1.0/6.0-old
echo '{"format":1,"package":{"name":"hello","version":"1.0"},"kernel":{"release":"6.0-old","arch":"x86_64"},"outcome":"waiting","for":"headers","at":1}' >/var/lib/dkms/.dkms/records/hello/1.0/6.0-old/x86_64.json
dkms status --long >/tmp/said; has 6.0-old /tmp/said
code 0 dkms reconcile; dkms status --long >/tmp/said; hasnt 6.0-old /tmp/said
for name in hello-1.0 hello@1.0; do code 1 dkms install $name -k $k; has 'Did you mean hello/1.0?' /tmp/said; done
code 2 dkms install helo/1.0 -k $k; has 'Did you mean hello/1.0?' /tmp/said
code 2 dkms isntall hello/1.0; has 'Did you mean install?' /tmp/said; hasnt Warning /tmp/said
code 2 dkms install hello/1.0 --froce; has 'Did you mean --force?' /tmp/said
code 2 dkms reconcile hello; has 'takes no package' /tmp/said
code 2 dkms why hello --force; has 'does not take --force' /tmp/said
code 5 dkms autoinstall --all; has 'reconcile --all-kernels' /tmp/said
code 0 dkms uninstall hello/1.0 --all; code 0 dkms install hello -k $k; listed "hello/1.0, $k, x86_64" installed || fail "the only version"
code 1 dkms remove hello --all; has 'Which version of hello? There is 1.0.' /tmp/said
another 2.0; code 1 dkms install hello -k $k; has 'There is 1.0, 2.0.' /tmp/said
code 0 dkms remove hello/1.0; has 'hello/1.0 stays for kernel' /tmp/said; has "$k" /tmp/said; has 'dkms remove hello/1.0 --all' /tmp/said
(! dkms status --format json >/dev/full 2>/tmp/said) || fail "nobody got it"; has 'cannot write the output' /tmp/said
(! dkms status >/dev/full 2>/tmp/said) || fail "nobody got it"; dkms status | head -0
touch /etc/dkms/no-autoinstall; code 0 dkms autoinstall -k $k; has '/etc/dkms/no-autoinstall exists' /tmp/said; rm /etc/dkms/no-autoinstall
echo 'policy="fial"' >/etc/dkms/framework.conf.d/slip.conf; code 0 dkms status; has 'Error! framework.conf: policy="fial"' /tmp/said
echo '#error no' >>/usr/src/hello-2.0/hello.c; code 11 dkms reconcile -k $k
"#;

/// The summary gives causes: a full disk, the compiler's words with the log of that kernel, missing headers; and the kernel
/// that boots next comes first.
pub const SUMMARY: &str = r#"
summary() { code 0 dkms reconcile -k $k -k $k2; sed -n '/^DKMS summary/,$p' /tmp/said >/tmp/summary; }
echo '#error no good' >>/usr/src/other-1.0/other.c; dkms add hello/1.0 >/dev/null; dkms add other/1.0 >/dev/null
mkdir -p /lib/modules/$k/updates; mount -t tmpfs -o size=64k tmpfs /lib/modules/$k/updates; (! cat /dev/zero >/lib/modules/$k/updates/filler 2>/dev/null)
summary; has 'DKMS summary: 2 of 2 kernels lack packages' /tmp/summary
has "$k (x86_64) is missing 2 packages:" /tmp/summary; has 'No space left on device' /tmp/summary; hasnt 'os error' /tmp/summary
has "fix: once the cause is gone: dkms install hello/1.0 -k $k" /tmp/summary
for kernel in $k $k2; do has "log: /var/lib/dkms/.dkms/records/other/1.0/$kernel/x86_64.log" /tmp/summary; done
has 'fix: look for a newer version of other, or tell its author' /tmp/summary
dkms status --long >/tmp/status; has 'No space left on device' /tmp/status
umount /lib/modules/$k/updates; mv /lib/modules/$k2/build /root/build; mkdir -p /boot/grub
printf "menuentry 'Linux' {\n\tlinux /boot/vmlinuz-$k2 ro\n}\n" >/boot/grub/grub.cfg
echo BUILD_DEPENDS=other >>/usr/src/slow-1.0/dkms.conf; dkms add slow/1.0 >/dev/null; touch /srv/told/go
summary; [ "$(sed -n 2p /tmp/summary)" = "$k2 (x86_64) is missing 2 packages (this kernel boots next):" ] || { cat /tmp/summary >&2; fail "not the next first"; }
has '  other/1.0, slow/1.0: waiting for headers' /tmp/summary; has "apt install linux-headers-$k2" /tmp/summary
has "so that it does not happen again: apt install linux-headers-${k2#*-}" /tmp/summary
"#;
