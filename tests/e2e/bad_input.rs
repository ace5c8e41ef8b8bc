//! Bad input: one clear error, the documented code, nothing changed.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::{compare, fill, step};
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::observe::Observation;
use dkms_tests::suite::Suite;

/// A dkms.conf in `/usr/src/bad-1`, and what `dkms add bad/1` makes of it in both programs.
const CONFS: &[(&str, &str, i32)] = &[
    ("empty", "", 8),
    ("no_name", "PACKAGE_VERSION=1\nBUILT_MODULE_NAME=bad\nDEST_MODULE_LOCATION=/updates\n", 8),
    ("no_version", "PACKAGE_NAME=bad\nBUILT_MODULE_NAME=bad\nDEST_MODULE_LOCATION=/updates\n", 8),
    ("no_destination", "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=bad\n", 8),
    ("bad_destination", "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION=/etc\n", 8),
    (
        "ko_in_the_name",
        "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=bad.ko\nDEST_MODULE_LOCATION=/updates\n",
        8,
    ),
    ("bad_autoinstall", "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION=/updates\nAUTOINSTALL=maybe\n", 8),
    ("zero_modules", "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\n", 0),
    ("exits", "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION=/updates\nexit 0\n", 8),
    ("exits_with_failure", "exit 3\n", 8),
    (
        "carriage_returns",
        "PACKAGE_NAME=bad\r\nPACKAGE_VERSION=1\r\nDEST_MODULE_LOCATION=/updates\r\nAUTOINSTALL=yes\r\n",
        0,
    ),
    ("prints", "echo chatter; echo noise >&2\nPACKAGE_NAME=bad\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION=/updates\n", 0),
];

fn conf(text: &'static str, code: i32) -> Result<()> {
    compare(
        &Base::trixie()?,
        |bed| {
            bed.write("/usr/src/bad-1/dkms.conf", text)?;
            bed.write("/usr/src/bad-1/Makefile", "obj-m += bad.o\n")
        },
        &[step("dkms add bad/1").exits(code), step("dkms status").exits(0).same_stdout()],
    )
}

/// Runs one command with ours; it has to end with `code`, quickly, with one error on stderr that contains `says`, and
/// leave everything as it was.
fn refused(bed: &Bed, command: &str, code: i32, says: &str) -> Result<()> {
    let command = fill(bed.base(), command);
    let before = Observation::of(bed)?;
    let started = Instant::now();
    let outcome = bed.sh(&command)?;
    ensure!(outcome.code == code, "`{command}` exits {} instead of {code}\n{}", outcome.code, outcome.tail());
    ensure!(started.elapsed().as_secs() < 90, "`{command}` took {:?}", started.elapsed());
    let errors = outcome.stderr.matches("Error! ").count();
    ensure!(errors == 1, "`{command}` tells {errors} errors\n{}", outcome.tail());
    ensure!(outcome.stderr.contains(&fill(bed.base(), says)), "`{command}` does not say {says}\n{}", outcome.tail());
    ensure!(outcome.stderr.len() < 100_000, "`{command}` floods its user with {} bytes", outcome.stderr.len());
    let difference = before.difference(&Observation::of(bed)?);
    ensure!(difference.is_empty(), "`{command}` changed\n{difference}");
    Ok(())
}

fn bed_with_hello() -> Result<Bed> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    Ok(bed)
}

fn names() -> Result<()> {
    let bed = bed_with_hello()?;
    for name in ["../hello", "hel/lo", "..", ".", "he llo", "he\nllo", "-hello", "he*llo"] {
        bed.ok("rm -rf /root/d; cp -a /usr/src/hello-1.0 /root/d")?;
        bed.ok(&format!("printf 'PACKAGE_NAME=%q\\n' '{name}' >>/root/d/dkms.conf"))?;
        refused(&bed, "dkms add /root/d", 8, "PACKAGE_NAME")?;
    }
    for version in ["../1.0", "1/0", "..", "1 0"] {
        refused(&bed, &format!("dkms add -m hello -v '{version}'"), 1, "module version")?;
        refused(&bed, &format!("dkms remove -m hello -v '{version}' --all"), 1, "module version")?;
    }
    for kernel in ["../../../etc", "..", "a b", "6.1/../x"] {
        refused(&bed, &format!("dkms build hello/1.0 -k '{kernel}'"), 1, "")?;
    }
    // Two names of one directory: the source of the first is not lost.
    bed.ok("cp -a /usr/src/hello-1.0 /root/one; cp -a /usr/src/hello-1.0 /root/two
         printf 'PACKAGE_NAME=foo\nPACKAGE_VERSION=1-2\n' >>/root/one/dkms.conf
         printf 'PACKAGE_NAME=foo-1\nPACKAGE_VERSION=2\n' >>/root/two/dkms.conf
         dkms add /root/one")?;
    refused(&bed, "dkms add /root/two", 3, "/usr/src/foo-1-2 is the source directory of foo/1-2")?;
    bed.ok("dkms remove foo/1-2 --all; rm -r /usr/src/foo-1-2; dkms add /root/two; dkms status foo-1/2 | grep -q 'foo-1/2: added'")?;
    Ok(())
}

fn hostile_confs() -> Result<()> {
    let bed = bed_with_hello()?;
    let ok = "PACKAGE_NAME=bad\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION=/updates\n";
    for (says, text) in [
        ("dkms.conf", format!("if then (\n{ok}")),
        ("dkms.conf", format!("{ok}sleep 1000000\n")),
        ("dkms.conf", format!("{ok}while :; do echo flood >&2; done\n")),
        ("dkms.conf", format!("{ok}while :; do DEST_MODULE_NAME+=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n")),
    ] {
        bed.write("/usr/src/bad-1/dkms.conf", &text)?;
        refused(&bed, "dkms add bad/1", 8, says)?;
    }
    bed.ok("rm /usr/src/bad-1/dkms.conf; touch /usr/src/bad-1/x")?;
    refused(&bed, "dkms add bad/1", 4, "dkms.conf")?;
    refused(&bed, "dkms add /usr/src/bad-1/dkms.conf", 1, "")?;
    Ok(())
}

fn what_the_machine_lacks() -> Result<()> {
    let bed = bed_with_hello()?;
    bed.ok("dkms add hello/1.0")?;
    refused(&bed, "dkms build hello/1.0 -k 6.99.0+deb13-cloud-amd64", 21, "linux-headers-6.99.0+deb13-cloud-amd64")?;
    refused(&bed, "setpriv --reuid=65534 --regid=65534 --clear-groups dkms install hello/1.0 -k {k}", 1, "root")?;
    refused(
        &bed,
        "mount --bind /lib/modules /lib/modules; mount -o remount,ro,bind /lib/modules; dkms build hello/1.0 -k {k} >/dev/null 2>&1; dkms install hello/1.0 -k {k}; r=$?; dkms unbuild hello/1.0 -k {k} >/dev/null 2>&1; mkdir -p /var/lib/dkms/hello/1.0/build; exit $r",
        6,
        "Read-only file system",
    )?;
    refused(
        &bed,
        "mount -t tmpfs -o size=256k tmpfs /tmp; cp -a /var/lib/dkms/. /tmp/; mount --bind /tmp /var/lib/dkms; dkms build hello/1.0 -k {k}; exit $(($? != 0))",
        1,
        "No space left on device",
    )?;
    refused(
        &bed,
        "mount --bind /bin/false /usr/bin/x86_64-linux-gnu-gcc-14; mount --bind /dev/null /usr/bin/make; dkms build hello/1.0 -k {k} ; r=$?; rm -rf /var/lib/dkms/hello/1.0/build; mkdir /var/lib/dkms/hello/1.0/build; exit $r",
        10,
        "make",
    )?;
    Ok(())
}

/// Whoever filled the disk can still get rid of a package.
fn a_full_disk_lets_go() -> Result<()> {
    let bed = bed_with_hello()?;
    bed.ok(&fill(
        bed.base(),
        "mount -t tmpfs -o size=24m tmpfs /var/lib/dkms; dkms install hello/1.0 -k {k}
         (! cat /dev/zero >/var/lib/dkms/filler 2>/dev/null); (! dkms build hello/1.0 -k {k2})
         dkms remove hello/1.0 --all; [ -z \"$(dkms status)\" ]; [ ! -e /var/lib/dkms/hello ]; (! find /lib/modules -name 'hello.ko*' | grep .)",
    ))?;
    Ok(())
}

/// What failed a build is shown with its file and line, not only where to look.
fn the_first_compiler_error() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("bad").that_fails().build_in(hand.path())?, "/usr/src/bad-1.0")?;
    bed.ok("dkms add bad/1.0")?;
    let outcome = bed.sh(&fill(bed.base(), "dkms build bad/1.0 -k {k}"))?.exits(10)?;
    for words in ["bad.c:1", "no_such_thing", "make.log"] {
        ensure!(outcome.stderr.contains(words), "no {words} in\n{}", outcome.tail());
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new(&[Need::Bed, Need::Subject]);
    for &(name, text, code) in CONFS {
        suite = suite.case(format!("conf_{name}"), move || conf(text, code));
    }
    suite
        .case_needing(&[Need::Ours], "names", names)
        .case_needing(&[Need::Ours], "hostile_confs", hostile_confs)
        .case_needing(&[Need::Ours], "what_the_machine_lacks", what_the_machine_lacks)
        .case_needing(&[Need::Ours], "a_full_disk_lets_go", a_full_disk_lets_go)
        .case_needing(&[Need::Ours], "the_first_compiler_error", the_first_compiler_error)
        .main()
}
