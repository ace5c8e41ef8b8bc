//! `--root`: another system is worked on, and this one is neither read nor changed.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// A root at `/srv/root` that is this bed as it was, seen through an overlay, with its own toolchain.
const WHOLE: &str = "mkdir -p /srv/root /run/u /run/w
mount -t overlay overlay -o lowerdir=/,upperdir=/run/u,workdir=/run/w /srv/root
";

/// A root at `/srv/root` with a kernel and its headers, but no program in it.
const BARE: &str = "mkdir -p /run/r /srv/root; mount -t tmpfs -o size=1g tmpfs /srv/root; cd /srv/root
mkdir -p usr/lib/modules usr/src etc boot; ln -s usr/lib lib
cp -a /lib/modules/{k} usr/lib/modules/; cp -a /usr/src/. usr/src/; cp -a /usr/lib/linux-kbuild-* usr/lib/
cp /usr/lib/os-release etc/; cp /boot/System.map-{k} boot/; cd /
";

/// The outer system gets the same kernel with headers that no compiler takes, and a package of the same name.
const POISON: &str = "echo '#error poisoned' >/run/poison
mount --bind /run/poison /usr/src/linux-headers-{k}/include/generated/autoconf.h
mkdir /run/other; echo 'exit 9' >/run/other/dkms.conf; mount --bind /run/other /usr/src/hello-1.0
digest() { for d in /lib/modules /usr/src /var/lib/dkms /etc/dkms /boot; do
  find $d -xdev -printf '%p %y %m %s %T@ %l\\n'; find $d -xdev -type f -print0 | sort -z | xargs -0r sha256sum; done | sort | sha256sum; }
before=$(digest)
";

const WORK: &str = "set -e
dkms --root /srv/root add hello/1.0
dkms --root /srv/root build hello/1.0 -k {k}
dkms --root /srv/root install hello/1.0 -k {k}
echo \"@ $(dkms --root /srv/root status)\"
modinfo -F vermagic /srv/root/lib/modules/{k}/updates/dkms/hello.ko.xz
grep -q updates/dkms/hello.ko /srv/root/lib/modules/{k}/modules.dep
# The build saw itself as root, and was not.
grep -Eq '^ +0 +213[0-9]{7} +65536$' /srv/root/var/lib/dkms/hello/1.0/{k}/{a}/log/make.log
dkms --root /srv/root remove hello/1.0 --all
[ ! -e /srv/root/lib/modules/{k}/updates ]
[ \"$before\" = \"$(digest)\" ] || { echo 'the outer system has changed' >&2; exit 50; }
";

fn works(root: &str) -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    let hello = package("hello").script("PRE_BUILD", "cat /proc/self/uid_map; touch $HOME/x $TMPDIR/x");
    bed.copy_in(&hello.build_in(hand.path())?, "/usr/src/hello-1.0")?;
    let script = fill(bed.base(), &format!("{root}{POISON}{WORK}"));
    let said = bed.sh(&script)?.ok()?;
    let kernel = bed.kernel()?;
    ensure!(
        said.contains(&format!("@ hello/1.0, {kernel}, {}: installed", std::env::consts::ARCH)),
        "status says\n{said}"
    );
    Ok(())
}

/// A chroot that somebody made by hand, or rpm's `--root`: nothing is mounted on /proc. dkms.conf is read all the same, and what
/// a kernel can build there is built; where a build fails, it is said what is missing.
const NO_PROC: &str = "mkdir /srv/root; mount --bind / /srv/root; mount --bind /dev /srv/root/dev
inside() { chroot /srv/root \"$@\"; }
(! inside test -e /proc/self)
inside dkms add hello/1.0
inside dkms install hello/1.0 -k {k}
echo \"@ $(inside dkms status)\"
modinfo -k {k} -F filename hello
inside dkms remove hello/1.0 --all
echo 'MAKE[0]=false' >>/usr/src/hello-1.0/dkms.conf
code=0; inside dkms build hello/1.0 -k {k} 2>&1 || code=$?; echo \"code $code\"
";

fn without_proc() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    let hello = package("hello").script("PRE_BUILD", "printf '%s' pre");
    bed.copy_in(&hello.build_in(hand.path())?, "/usr/src/hello-1.0")?;
    let said = bed.ok(&fill(bed.base(), NO_PROC))?;
    let kernel = bed.kernel()?;
    for words in [
        format!("@ hello/1.0, {kernel}, {}: installed", std::env::consts::ARCH),
        format!("{kernel}/updates/dkms/hello.ko"),
        "/proc is not mounted here".to_owned(),
        "code 10".to_owned(),
    ] {
        ensure!(said.contains(&words), "no {words:?} in\n{said}");
    }
    Ok(())
}

/// Whose index is made by whose rules. This machine's depmod knows no gzip: it would empty the index, and end with 0.
const INDEX: &str = "set -e
list=/srv/root/lib/modules/{k}/modules.dep
dkms --root /srv/root install hello/1.0 -k {k} >&2
# A module of the same name that its own configuration prefers.
mkdir /srv/root/lib/modules/{k}/kernel/misc; cp /srv/root/lib/modules/{k}/updates/dkms/hello.ko.xz /srv/root/lib/modules/{k}/kernel/misc/
mkdir -p /srv/root/etc/depmod.d /etc/depmod.d; echo 'override hello * kernel/misc' >/srv/root/etc/depmod.d/own.conf
sed 's/hello/other/g' /srv/root/usr/src/hello-1.0/dkms.conf >/run/conf; cp -a /srv/root/usr/src/hello-1.0 /srv/root/usr/src/other-1.0
cp /run/conf /srv/root/usr/src/other-1.0/dkms.conf; mv /srv/root/usr/src/other-1.0/hello.c /srv/root/usr/src/other-1.0/other.c
echo 'obj-m := other.o' >/srv/root/usr/src/other-1.0/Makefile
dkms --root /srv/root install other/1.0 -k {k} >&2
grep -q '^kernel/misc/hello.ko.xz:' $list
dkms --root /srv/root status --long hello/1.0 >/run/said
grep -qF 'modprobe takes kernel/misc/hello.ko.xz instead (/etc/depmod.d/own.conf: override hello * kernel/misc)' /run/said
rm -r /srv/root/etc/depmod.d /srv/root/lib/modules/{k}/kernel/misc
dkms --root /srv/root remove other/1.0 --all >&2
grep -q '^updates/dkms/hello.ko.xz:' $list
dkms --root /srv/root remove hello/1.0 --all >&2
# Its modules are compressed by gzip.
sed -i 's/\\.ko\\.xz/.ko.gz/g' $list; before=$(sha256sum /srv/root/lib/modules/{k}/modules.*)
code=0; dkms --root /srv/root install hello/1.0 -k {k} >/run/said 2>&1 || code=$?
[ $code = 6 ] && grep -q 'can not read modules compressed by gzip' /run/said || { cat /run/said >&2; exit 51; }
[ \"$before\" = \"$(sha256sum /srv/root/lib/modules/{k}/modules.*)\" ]
[ -z \"$(find /srv/root/lib/modules/{k} -name 'hello.ko*')\" ]
";

fn index(root: &str) -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    bed.sh(&fill(bed.base(), &format!("{root}{INDEX}")))?.ok()?;
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("with_its_own_toolchain", || works(WHOLE))
        .case("without_any_program", || works(BARE))
        .case("without_proc", without_proc)
        .case("index_by_its_own_depmod", || index(WHOLE))
        .case("index_without_any_program", || index(BARE))
        .main()
}
