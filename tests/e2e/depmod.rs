//! The index that dkms makes of a kernel's modules without depmod: the same bytes as depmod's.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed, Flavour};
use dkms_tests::compare::fill;
use dkms_tests::needs::Need;
use dkms_tests::programs;
use dkms_tests::suite::Suite;
use dkms_tests::two_packages::two_packages;

/// What every script begins with: `hello` and `other` are in /usr/src.
const PRELUDE: &str = r#"
k={k}; dir=/lib/modules/$k
fail() { echo "FAILED: $*" >&2; exit 99; }
# The programs that a command starts are listed in /tmp/started.
started() { strace -f -qq -e trace=execve -o /tmp/started "$@" >/tmp/said 2>&1 || { cat /tmp/said >&2; fail "$*"; }; }
with_depmod() { grep -q '\["depmod", "-a"' /tmp/started || fail "depmod did not run"; }
without_depmod() { ! grep '\["depmod", "-a"' /tmp/started >&2 || fail "depmod ran"; }
# same: what depmod makes now is what is there
same() {
	rm -rf /tmp/own; mkdir /tmp/own; cp $dir/modules.* /tmp/own
	depmod -a $k
	for file in $dir/modules.*; do cmp "$file" /tmp/own/${file##*/} >&2 || fail "${file##*/} differs"; done
}
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    two_packages(Base::trixie, PRELUDE, text)
}

/// depmod does not run where modules come, change and go; it runs where the index can't be believed, or it is asked for.
const WITHOUT_DEPMOD: &str = r#"
depmod -a $k
started dkms install hello/1.0 -k $k; without_depmod; modprobe -S $k -n hello || fail "hello is not in the index"; same
started dkms install other/1.0 -k $k; without_depmod; same
started dkms remove other/1.0 --all; without_depmod; (! modprobe -S $k -n other 2>/dev/null) || fail "other is in the index"; same
# Somebody else's module is seen, too, and a rule that is newer than the index is depmod's business.
mkdir -p $dir/extra; cp $dir/updates/dkms/hello.ko* $dir/extra/; for file in $dir/extra/*; do mv $file ${file/hello/foreign}; done
started dkms install other/1.0 -k $k; without_depmod; modprobe -S $k -n foreign || fail "foreign is not in the index"; same
mkdir -p /etc/depmod.d; echo 'search extra updates built-in' >/etc/depmod.d/a.conf
started dkms uninstall other/1.0 -k $k; with_depmod; same
started dkms install other/1.0 -k $k; without_depmod; same
# Half an index: a depmod that was killed.
cp $dir/modules.dep /tmp/dep; cat /tmp/dep >$dir/modules.dep
started dkms uninstall other/1.0 -k $k; with_depmod; same
rm $dir/modules.symbols.bin
started dkms install other/1.0 -k $k; with_depmod; same
DKMS_DEPMOD=real started dkms uninstall other/1.0 -k $k; with_depmod; same
DKMS_DEPMOD=check started dkms install other/1.0 -k $k; with_depmod; (! grep 'not what dkms' /tmp/said) || fail "a difference"; same
# What differs is said: an index that claims to be depmod's, but has an alias that no module has.
sed -i '2i alias nobody-has-it '"$(sed -n '2s/.* //p' $dir/modules.alias)" $dir/modules.alias
touch -r $dir/modules.alias.bin $dir/modules.alias
DKMS_DEPMOD=check started dkms uninstall other/1.0 -k $k; with_depmod
grep -q 'modules.alias is not what dkms' /tmp/said || { cat /tmp/said >&2; fail "no word of the difference"; }
same
"#;

/// Random changes of real kernels: `core/tests/index.rs` in a bed of each suite, each with its own kmod.
fn random_changes(suite: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    move || {
        let bed = Bed::classic(&Base::get(suite, 1, Flavour::Cloud, &[])?)?;
        bed.copy_in(&programs::core_test("index", false)?, "/root/changes")?;
        let said = bed.ok(&fill(bed.base(), "/root/changes {k} 170 1"))?;
        print(&said);
        ensure!(said.contains("170 steps") && said.contains("no difference"), "{said}");
        Ok(())
    }
}

#[allow(clippy::print_stdout)] // this is a test
fn print(text: &str) {
    println!("{}", text.trim());
}

fn main() -> ExitCode {
    let mut suite = Suite::new(&[Need::Bed, Need::Subject]).case("without_depmod", script(WITHOUT_DEPMOD));
    for name in ["bookworm", "trixie", "sid"] {
        suite = suite.case_needing(&[Need::Long], format!("random_changes_{name}"), random_changes(name));
    }
    suite.main()
}
