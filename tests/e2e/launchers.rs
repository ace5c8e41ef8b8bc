//! What compiles in the compilers' place: modules are as without it, byte by byte, and whatever befalls it costs no build.

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::bed::Base;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;
use dkms_tests::two_packages::two_packages;

/// `hello` and `other` are in /usr/src. cc1 and ccache are counted where a build runs them.
const PRELUDE: &str = r#"
k={k}; caches=/var/cache/dkms/launchers
fail() { echo "FAILED: $*" >&2; exit 99; }
cc1=$(x86_64-linux-gnu-gcc-14 -print-prog-name=cc1)
install -m 0666 /dev/null /var/lib/count; install -m 0666 /dev/null /var/lib/launched
# in_place FILE BODY: a script that says so comes in the place of a program, and becomes it unless the body ends it.
in_place() {
	[ -e "$1.real" ] || mv "$1" "$1.real"
	printf '#!/bin/bash\n%s\nexec -a %s %s.real "$@"\n' "$2" "$1" "$1" >"$1.new"
	chmod 755 "$1.new"; mv "$1.new" "$1"
}
in_place "$cc1" 'echo >>/var/lib/count'
COUNTED='echo >>/var/lib/launched'
in_place /usr/bin/ccache "$COUNTED"
# build PACKAGE: sets `runs` and `launched`, how often cc1 and ccache ran, and `sums`, what came of it.
build() {
	p=$1
	dkms unbuild "$1/1.0" -k $k >/dev/null 2>&1 || :
	: >/var/lib/count; : >/var/lib/launched
	dkms build "$1/1.0" -k $k >/var/lib/said 2>&1 || { cat /var/lib/said /var/lib/dkms/$1/1.0/build/make.log >&2; fail "$1 does not build"; }
	runs=$(wc -l </var/lib/count); launched=$(wc -l </var/lib/launched)
	log=/var/lib/dkms/$1/1.0/$k/x86_64/log/make.log
	sums=$(grep -E "^[0-9a-f]{64}  ($1.ko|Module.symvers)$" $log)
	[ "$(wc -l <<<"$sums")" = 2 ] || fail "no sums in $log"
}
# same WHAT PACKAGE: it builds what was built without any of this.
same() { build "$2"; [ "$sums" = "$(cat "/var/lib/sums-$2")" ] || fail "$1: $2 is $sums"; }
# What is not there is preprocessed, then compiled; what is there is preprocessed. One of the compilations is a trial.
missed() { echo $runs >/var/lib/cold-$p; [ "$launched" -ge 3 ] && [ "$runs" -ge $((launched * 2)) ] || fail "$1: cc1 ran $runs times, ccache $launched times"; }
hit() { [ "$launched" -ge 3 ] && [ "$runs" -le $(($(cat /var/lib/cold-$p) - launched)) ] || fail "$1: cc1 ran $runs times, ccache $launched times"; }
warned() { [ "$(grep -ci 'ccache is not used' /var/lib/said)" = 1 ] || { cat /var/lib/said >&2; fail "$1: no warning, or more"; }; }
quiet() { if grep -i ccache /var/lib/said >&2; then fail "$1: a warning"; fi; }
switched() { echo "compiler_launcher=$1" >/etc/dkms/framework.conf.d/launchers.conf; }
all() { find $caches -mindepth 1 -maxdepth 1 -type d | wc -l; }
whole() { [ -z "$(ls $caches | grep in-use)" ] || fail "$1: a cache is in use"; [ -z "$(find $caches ! -uid 0)" ] || fail "$1: a cache is somebody else's"; }
# What was built before is built again: what compilers do is counted.
echo 'result_cache="no"' >/etc/dkms/framework.conf.d/results.conf
for p in hello other; do
	sed -i 's|^MAKE.*|MAKE[0]="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build V=1 modules \&\& sha256sum $PACKAGE_NAME.ko Module.symvers"|' /usr/src/$p-1.0/dkms.conf
	printf 'int %s_exported(void);\nint %s_exported(void) { return 1; }\nEXPORT_SYMBOL_GPL(%s_exported);\n' $p $p $p >>/usr/src/$p-1.0/$p.c
	dkms add $p/1.0 >/dev/null
done
# plain PACKAGE: what it is without a launcher.
plain() {
	switched none; build $1; echo "$sums" >/var/lib/sums-$1
	[ "$launched" = 0 ] || fail "ccache runs although there is to be none"
	rm /etc/dkms/framework.conf.d/launchers.conf
}
plain hello
[ ! -e $caches ] || fail "something is kept"
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    two_packages(Base::clang, PRELUDE, text)
}

/// In every run: off, cold, warm, and with another cc1.
const SHORT: &str = r#"
same cold hello; missed cold; quiet cold; whole cold
grep -q '^# compiler launcher: ccache$' $log || fail "the log says nothing of it"
same warm hello; hit warm; quiet warm; whole warm
# cc1 alone is another one; the driver, its time and what it says are the same.
time=$(stat -c %Y "$cc1"); in_place "$cc1" 'echo >>/var/lib/count; : another'; touch -d @$time "$cc1"
same "another cc1" hello; missed "another cc1"
"#;

/// By default, where it is installed; and not with another source, compiler or settings of the source's.
const CCACHE: &str = r#"
plain other
same cold hello; missed cold; same warm hello; hit warm
[ "$(all)" = 1 ] && [ "$(stat -c %a $caches)" = 700 ] || fail "$(ls -l $caches)"
# Without the answers to kbuild's questions, too.
echo probe_cache=no >/etc/dkms/framework.conf.d/probes.conf
same "without answers" hello; [ "$launched" -ge 2 ] || fail "nothing is launched without answers"
rm /etc/dkms/framework.conf.d/probes.conf
same "another package" other; missed "another package"; [ "$(all)" = 2 ] || fail "two sources have one cache"
# The settings of a source, and of the caller, count for nothing.
printf 'disable = true\ncache_dir = /tmp/mine\n' >/usr/src/hello-1.0/ccache.conf
same "a ccache.conf" hello; missed "a ccache.conf"
export CCACHE_DISABLE=1 CCACHE_DIR=/nowhere
same "a ccache.conf, warm" hello; hit "a ccache.conf, warm"; quiet "a ccache.conf"
unset CCACHE_DISABLE CCACHE_DIR; rm /usr/src/hello-1.0/ccache.conf
# A source that has changed.
cp -a /usr/src/other-1.0 /var/lib/other; echo 'int other_more(void); int other_more(void) { return 2; }' >>/usr/src/other-1.0/other.c
build other; missed "another source"
rm -r /usr/src/other-1.0; mv /var/lib/other /usr/src/other-1.0
same "the first source again" other; hit "the first source again"
# cc1 alone is another one; the driver, its time and what it says are the same.
time=$(stat -c %Y "$cc1"); in_place "$cc1" 'echo >>/var/lib/count; : another'; touch -d @$time "$cc1"
same "another cc1" hello; missed "another cc1"
same "another cc1, warm" hello; hit "another cc1, warm"
# While it is built: what is in the cache then is of neither.
sed -i 's|^MAKE\[0\]="|&touch /var/lib/building; while [ -e /var/lib/building ]; do :; done; |' /usr/src/hello-1.0/dkms.conf
chmod 777 /var/lib; before=$(all)
build hello & while [ ! -e /var/lib/building ]; do :; done
in_place "$cc1" 'echo >>/var/lib/count; : a third'; rm /var/lib/building; wait $!
[ "$(all)" = "$before" ] || fail "what was built by two compilers is kept"; whole "two compilers"
"#;

/// What can go wrong with it, each without harm.
const SPOILT: &str = r#"
plain other
# It does not work at all; it stops working; it is killed.
in_place /usr/bin/ccache "$COUNTED; exit 1"
same "ccache fails" hello; warned "ccache fails"; [ "$launched" = 1 ] || fail "it is tried $launched times"
in_place /usr/bin/ccache "$COUNTED; case \$* in *trial*) ;; *) echo broken >&2; exit 2;; esac"
same "ccache fails later" hello; [ "$launched" -ge 3 ] || fail "$launched"; quiet "ccache fails later"
if grep broken $log; then fail "what it says of itself is taken for the compiler's"; fi
in_place /usr/bin/ccache "$COUNTED; case \$* in *trial*) ;; *) kill -9 \$\$;; esac"
same "ccache is killed" hello; quiet "ccache is killed"
in_place /usr/bin/ccache "$COUNTED; case \$* in *hello.o*) ccache.real \"\$@\"; : >hello.o; kill -9 \$\$;; esac"
same "ccache is killed when it has written" hello
in_place /usr/bin/ccache "$COUNTED; sleep infinity"
same "ccache never ends" hello; warned "ccache never ends"; [ "$launched" = 1 ] || fail "it is tried $launched times"
in_place /usr/bin/ccache "$COUNTED"
rm -r $caches; same mended hello; missed mended; same "mended, warm" hello; hit mended
# An error of the source is said once, and as the compiler says it.
cp /usr/src/other-1.0/other.c /var/lib/; echo 'int x = nothing;' >>/usr/src/other-1.0/other.c
dkms unbuild other/1.0 -k $k >/dev/null 2>&1
dkms build other/1.0 -k $k >/var/lib/said 2>&1 && fail "it builds"
[ "$(grep -c 'error: .nothing. undeclared' /var/lib/dkms/other/1.0/build/make.log)" = 1 ] || fail "$(cat /var/lib/dkms/other/1.0/build/make.log)"
grep -q "nothing. undeclared" /var/lib/said || fail "the error is not found: $(cat /var/lib/said)"
cp /var/lib/other.c /usr/src/other-1.0/
# Damaged: half of each file, or other bytes.
n=0
find $caches -type f -size +1k | while read -r file; do
	if ((n++ % 2)); then truncate -s 100 "$file"; else printf XXXX | dd of="$file" bs=1 seek=60 conv=notrunc 2>/dev/null; fi
done
same damaged hello; same "damaged, warm" hello
# Full, read only, nearly full, somebody else's.
rm -r $caches; mkdir -p $caches; chmod 700 $caches
mount -t tmpfs -o size=64k,mode=700 tmpfs $caches; same "hardly any room" hello; umount $caches
mount -t tmpfs -o size=64k,mode=700 tmpfs $caches; dd if=/dev/zero of=$caches/full bs=4k 2>/dev/null || :
same "a full disk" hello; warned "a full disk"; umount $caches
mount -t tmpfs -o ro,mode=700 tmpfs $caches; same "read only" hello; warned "read only"; umount $caches
chmod 777 $caches; same "open to all" hello; warned "open to all"; chmod 700 $caches
# Asked for by name, and not there.
switched ccache; mv /usr/bin/ccache /usr/bin/ccache.away
same "not there" hello; grep -q 'compiler_launcher.*not used: it is not installed' /var/lib/said || fail "$(cat /var/lib/said)"
mv /usr/bin/ccache.away /usr/bin/ccache
switched sccache; same "no such launcher" hello; grep -q 'compiler_launcher="sccache" is not valid' /var/lib/said || fail "$(cat /var/lib/said)"
# A run is killed: its cache is deleted by the next.
switched ccache; sed -i 's|^MAKE\[0\]="|&touch /var/lib/building; while [ -e /var/lib/building ]; do :; done; |' /usr/src/other-1.0/dkms.conf
chmod 777 /var/lib; dkms build other/1.0 -k $k >/dev/null 2>&1 & while [ ! -e /var/lib/building ]; do :; done
kill -9 $!; wait $! || :
ls $caches | grep -q in-use || fail "it was killed too early"
rm /var/lib/building; same "after a kill" hello; whole "after a kill"
"#;

/// A build that would like to compile for others.
const HOSTILE: &str = r#"
plain other
cat >/usr/src/other-1.0/evil.sh <<'SH'
#!/bin/bash
mine=${PATH%%:*}/cache
echo evil >"$mine/planted" || { echo "its own cache can't be written"; exit 1; }
ln -s /etc/shadow "$mine/link"; mkdir "$mine/dir"; chmod 4777 "$mine/planted"; mkfifo "$mine/fifo"
ls /var/cache/dkms/launchers 2>/dev/null && { echo "others' caches are seen"; exit 1; }
: >/var/cache/dkms/launchers/x && { echo "others' caches are written"; exit 1; }
exit 0
SH
chmod +x /usr/src/other-1.0/evil.sh; echo PRE_BUILD=evil.sh >>/usr/src/other-1.0/dkms.conf
same cold hello; missed cold; same warm hello; hit warm; before=$(all)
build other 2>/dev/null; [ "$launched" -ge 2 ] || fail "the hostile build has no launcher"
[ "$(all)" = "$before" ] || fail "a link and a pipe are kept"
[ -z "$(find $caches -name planted)" ] || fail "what a hostile build has planted is kept"
whole "after a hostile build"
# Too much of it.
printf '#!/bin/bash\nhead -c 1100M /dev/zero >"${PATH%%%%:*}/cache/large"\nexit 0\n' >/usr/src/other-1.0/evil.sh
build other; [ "$(all)" = "$before" ] || fail "1100 MiB are kept"; whole "a large one"
same "after hostile builds" hello; hit "after hostile builds"
# The network may bring another source each time.
echo 'DKMS_BUILD_NETWORK="yes"' >/etc/dkms/other.conf; build other; [ "$launched" = 0 ] || fail "a launcher beside the network"
# Root's builds have one, too.
echo build_as=root >/etc/dkms/framework.conf.d/root.conf; same "as root" hello; hit "as root"; whole "as root"
"#;

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("off_cold_and_warm", script(SHORT))
        .case_needing(&[Need::Long], "what_a_cache_is_of", script(CCACHE))
        .case_needing(&[Need::Long], "spoilt_caches", script(SPOILT))
        .case_needing(&[Need::Long], "hostile_builds", script(HOSTILE))
        .main()
}
