//! What stands before the compilers of a build: answers that are kept. They are right, or nobody gets them.

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::bed::Base;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;
use dkms_tests::two_packages::two_packages;

/// `hello` and `other` are in /usr/src. cc1 is counted where a build runs it.
const PRELUDE: &str = r#"
k={k}; k2={k2}; answers=/var/cache/dkms/probes
fail() { echo "FAILED: $*" >&2; exit 99; }
cc1=$(x86_64-linux-gnu-gcc-14 -print-prog-name=cc1)
install -m 0666 /dev/null /var/lib/count
# counted CONDITION: what is in the place of cc1 counts, and then runs cc1 unless the condition says no.
mv "$cc1" "$cc1.real"
counted() {
	printf '#!/bin/bash\necho >>/var/lib/count\n%s || { echo refused >&2; exit 1; }\nexec %s.real "$@"\n' "$1" "$cc1" >"$cc1.new"
	chmod 755 "$cc1.new"; mv "$cc1.new" "$cc1"
} 2>/dev/null
counted :
# build PACKAGE KERNEL: sets `runs`, how often cc1 ran, and `sums`, what came of it.
build() {
	dkms unbuild "$1/1.0" -k "$2" >/dev/null 2>&1 || :
	: >/var/lib/count
	dkms build "$1/1.0" -k "$2" >/var/lib/said 2>&1 || { cat /var/lib/said >&2; cat /var/lib/dkms/$1/1.0/build/make.log >&2; fail "$1 does not build"; }
	runs=$(wc -l </var/lib/count)
	log=/var/lib/dkms/$1/1.0/$2/x86_64/log/make.log
	sums=$(grep -E "^[0-9a-f]{64}  ($1.ko|Module.symvers)$" $log)
	[ "$(wc -l <<<"$sums")" = 2 ] || fail "no sums in $log"
}
# same WHAT PACKAGE KERNEL: it builds what was built without any of this.
same() { build "$2" "$3"; [ "$sums" = "$(cat "/var/lib/sums-$2-$3")" ] || fail "$1: $2 for $3 is $sums"; }
few() { [ "$runs" -le 8 ] || fail "$1: the compiler ran $runs times"; }
many() { [ "$runs" -ge 30 ] || fail "$1: the compiler ran only $runs times"; }
switched() { echo "probe_cache=$1" >/etc/dkms/framework.conf.d/compilers.conf; }
entries() { find $answers -type f 2>/dev/null | wc -l; }
# stub: what a compiler cache sees of the compiler (ccache's compiler_check=mtime).
stub() { grep ^stub= $log; }
switched no
# What was built before is built again: what compilers do is counted.
echo 'result_cache="no"' >/etc/dkms/framework.conf.d/results.conf
for p in hello other; do
	sed -i 's|^MAKE.*|MAKE[0]="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build V=1 modules \&\& sha256sum $PACKAGE_NAME.ko Module.symvers"|' /usr/src/$p-1.0/dkms.conf
	printf 'int %s_exported(void);\nint %s_exported(void) { return 1; }\nEXPORT_SYMBOL_GPL(%s_exported);\n' $p $p $p >>/usr/src/$p-1.0/$p.c
	printf '#!/bin/sh\necho "stub=$(stat -L -c "%%s %%Y" "$(command -v x86_64-linux-gnu-gcc-14)")"\n' >/usr/src/$p-1.0/stub.sh
	chmod +x /usr/src/$p-1.0/stub.sh; echo PRE_BUILD=stub.sh >>/usr/src/$p-1.0/dkms.conf
	dkms add $p/1.0 >/dev/null
done
for p in hello other; do build $p $k; many "without answers"; echo "$sums" >/var/lib/sums-$p-$k; done
[ ! -e $answers ] || fail "something is kept"
switched yes
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    two_packages(Base::trixie, PRELUDE, text)
}

/// Across packages, kernels and runs; and not with another compiler, whatever it calls itself.
const KEPT: &str = r#"
same cold hello $k
kept=$(entries); [ "$kept" -ge 25 ] || fail "$kept answers are kept"
first=$(stub); same warm hello $k; few warm
[ "$(stub)" = "$first" ] || fail "the same compiler looks like another"
same "another package" other $k; few "another package"
switched no; build hello $k2; echo "$sums" >/var/lib/sums-hello-$k2; switched yes
same "another kernel" hello $k2; few "another kernel"
grep -q mskip-rax-setup "$log" || fail "the flags are not as they were"
[ "$(find /var/cache/dkms ! -uid 0 -o -perm /022 ! -type l)" = "" ] || fail "somebody else may write"
# cc1 alone is another one, which does not know an option. Its driver says what it always said.
time=$(stat -c %Y "$cc1")
counted '[[ $* != *mskip-rax-setup* ]]'; touch -d @$time "$cc1"
[ "$(ls $answers | wc -l)" = 1 ] || fail "more than one compiler's answers"
build hello $k; [ "$(ls $answers | wc -l)" = 2 ] || fail "another cc1 was not asked"
[ "$(stub)" != "$first" ] || fail "another compiler looks like the first"
if grep -q mskip-rax-setup "$log"; then fail "an answer of the other cc1"; fi
build hello $k; few "another cc1, warm"
counted :; same "the first again" hello $k
"#;

/// What can go wrong with the store.
const SPOILT: &str = r#"
mkdir -p /var/cache/dkms; mount -t tmpfs -o size=16k tmpfs /var/cache/dkms
dd if=/dev/zero of=/var/cache/dkms/full bs=4k 2>/dev/null || :
same "a full disk" hello $k
rm /var/cache/dkms/full; same "hardly any room" hello $k
umount /var/cache/dkms
mount -t tmpfs -o ro tmpfs /var/cache/dkms; same "a disk that is read only" hello $k; umount /var/cache/dkms
# Killed in the middle.
dkms unbuild hello/1.0 -k $k >/dev/null
dkms build hello/1.0 -k $k >/dev/null 2>&1 &
for ((i = 0; i < 1000000; i++)); do set -- $answers/*/*; [ $# -lt 5 ] || break; done
kill -9 $!; wait $! || :
[ "$(entries)" -lt 30 ] || fail "it was not killed in the middle"
same "after a kill" hello $k
[ -z "$(ls -A /var/lib/dkms/.dkms/work)" ] || fail "something is left: $(ls /var/lib/dkms/.dkms/work)"
# Damaged, each in another way.
n=0
for file in $answers/*/*; do
	size=$(stat -c %s "$file")
	case $((n++ % 3)) in
	0) truncate -s $((size / 2)) "$file" ;;
	1) printf X | dd of="$file" bs=1 seek=$((size - 40)) conv=notrunc 2>/dev/null ;;
	2) : >"$file" ;;
	esac
done
same damaged hello $k
same mended hello $k; few mended
# Two at once, with nothing kept.
rm -r $answers
dkms unbuild hello/1.0 -k $k >/dev/null; dkms unbuild other/1.0 -k $k >/dev/null
dkms build hello/1.0 -k $k >/dev/null & dkms build other/1.0 -k $k >/dev/null; wait $!
for p in hello other; do
	grep -E '^[0-9a-f]{64}  ' /var/lib/dkms/$p/1.0/$k/x86_64/log/make.log | cmp - /var/lib/sums-$p-$k || fail "two at once: $p"
done
same "after two at once" hello $k; few "after two at once"
"#;

/// A build that would like to answer for others.
const HOSTILE: &str = r#"
cat >/usr/src/other-1.0/evil.pl <<'PERL'
#!/usr/bin/perl
use IO::Socket::UNIX;
use strict;
my ($where) = grep { -S "$_/socket" } split /:/, $ENV{PATH};
die "no stubs in $ENV{PATH}\n" unless $where;
for my $dir ($where, glob("/var/cache/dkms /var/cache/dkms/probes /var/cache/dkms/probes/*")) {
    for my $name ("$dir/planted", glob("$dir/*")) {
        next if -S $name;
        die "$name can be written\n" if open my $file, ">>", $name;
        die "$name can be deleted\n" if !-d $name && unlink $name;
    }
    die "$dir can be renamed\n" if rename $dir, "$dir-mine";
}
sub asks {
    my $socket = IO::Socket::UNIX->new(Peer => "$where/socket") or die "no socket: $!\n";
    $SIG{PIPE} = "IGNORE";
    print $socket $_[0];
    $socket->flush;
    shutdown $socket, 1;
    return ord(<$socket> // "\0");
}
my $text = '{"format":1,"name":"x86_64-linux-gnu-gcc-14","args":[%s"-c","-x","c","/dev/null","-o","@output"],"input":null,"env":[["LC_ALL","C"]]}';
die "a good question is refused\n" if asks(sprintf $text, "") != 1;
for my $more ('-fplugin=./evil.so', '-B.', '@args', '-specs=evil', '-include', '../../etc/shadow', '-wrapper') {
    die "$more is taken\n" if asks(sprintf $text, "\"$more\",") != 0;
}
die "a path is taken\n" if asks((sprintf $text, "") =~ s/x86_64-linux-gnu-gcc-14/..\/..\/evil/r) != 0;
die "junk is taken\n" if asks("x" x 1000000) != 0;
asks(sprintf $text, "\"-DN=$_\",") for 1 .. 300;
die "there is no end to it\n" if asks(sprintf $text, '"-DLAST"') != 0;
PERL
chmod +x /usr/src/other-1.0/evil.pl
sed -i 's/^PRE_BUILD=.*/PRE_BUILD=evil.pl/' /usr/src/other-1.0/dkms.conf
same cold hello $k
before=$(entries)
build other $k
[ "$(entries)" -gt "$before" ] || fail "the hostile build asked nothing"
[ "$(entries)" -le $((before + 264)) ] || fail "$(entries) answers are kept"
[ -z "$(find /var/cache/dkms ! -uid 0)" ] || fail "somebody else's files are in the store"
same "after a hostile build" hello $k; few "after a hostile build"
"#;

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("kept_answers", script(KEPT))
        .case("spoilt_answers", script(SPOILT))
        .case("hostile_questions", script(HOSTILE))
        .main()
}
