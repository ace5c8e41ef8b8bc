//! Kernels that are not the host's kind: a relocated headers tree, one that clang built, one for arm64.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::{compare, fill, step};
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::settings;
use dkms_tests::suite::Suite;

fn prepare(bed: &Bed, kind: &str) -> Result<()> {
    let script = fs_err::read_to_string(settings::project().join("tests/scripts/make-kernel-tree.sh"))?;
    let kernel = bed.kernel()?.to_owned();
    bed.run(&["bash", "-c", &script, "make-kernel-tree", &kernel, "7.7.7-test", kind])?.ok()?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    bed.copy_in(&package("plain").without_make().build_in(hand.path())?, "/usr/src/plain-1.0")?;
    // A make after another program's name, and two makes: each has to be told the compiler.
    let compound = "true && make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build";
    bed.copy_in(&package("compound").make(compound).build_in(hand.path())?, "/usr/src/compound-1.0")?;
    Ok(())
}

fn relocated() -> Result<()> {
    compare(
        &Base::clang()?,
        |bed| {
            prepare(bed, "")?;
            // Without an index, ours makes one, and the classic leaves it at that.
            bed.ok("depmod 7.7.7-test").map(drop)
        },
        &[
            step("dkms install hello/1.0 -k 7.7.7-test").exits(0),
            step("dkms install plain/1.0 -k 7.7.7-test").exits(0),
            step("dkms status").same_stdout(),
            step("readelf -p .comment /var/lib/dkms/hello/1.0/7.7.7-test/{a}/module/hello.ko* 2>/dev/null; true"),
        ],
    )
}

/// Debian's classic 3.2.2 builds with gcc here, and fails: behaviour as of 3.4.3 is what counts.
fn clang() -> Result<()> {
    let bed = Bed::subject(&Base::clang()?)?;
    prepare(&bed, "clang")?;
    for package in ["hello", "plain"] {
        bed.sh(&format!("dkms install {package}/1.0 -k 7.7.7-test"))?.exits(0)?;
        let made_by = bed.ok(&format!(
            "xzcat /lib/modules/7.7.7-test/updates/dkms/{package}.ko.xz >/tmp/m; readelf -p .comment /tmp/m"
        ))?;
        ensure!(made_by.contains("clang"), "{package} was made by\n{made_by}");
    }
    Ok(())
}

/// Where only part of a compound MAKE runs make, ours tells that part the compiler too.
fn clang_in_a_compound_make() -> Result<()> {
    let bed = Bed::subject(&Base::clang()?)?;
    prepare(&bed, "clang")?;
    bed.sh("dkms build compound/1.0 -k 7.7.7-test")?.exits(0)?;
    let made_by = bed.ok("cd /var/lib/dkms/compound/1.0/7.7.7-test/*/module; xzcat compound.ko.xz >/tmp/m || cp compound.ko /tmp/m; readelf -p .comment /tmp/m")?;
    ensure!(made_by.contains("clang"), "compound was made by\n{made_by}");
    Ok(())
}

fn arm64() -> Result<()> {
    let base = Base::clang()?;
    let kernel = base.kernel()?.replace("-cloud-amd64", "-cloud-arm64");
    let cross = "make -C ${kernel_source_dir} ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build modules";
    let module = format!("/var/lib/dkms/hello/1.0/{kernel}/aarch64/module/hello.ko");
    let steps = [
        step(format!("dkms build hello/1.0 -k {kernel}/aarch64")).exits(0),
        step("dkms status").exits(0).same_stdout(),
        step(format!(
            "f={module}; [ -e $f ] || {{ xzcat $f.xz >/tmp/m.ko; f=/tmp/m.ko; }}; file -b $f | cut -d, -f1-2; modinfo -F vermagic $f"
        ))
        .exits(0)
        .same_stdout(),
    ];
    compare(
        &base,
        |bed| {
            // apt can't install it beside the amd64 compiler; unpacked it serves.
            bed.ok(&fill(
                bed.base(),
                &format!(
                    "dpkg --add-architecture arm64; apt-get -q update >/dev/null; cd /tmp
                     apt-get -q download linux-headers-{kernel}:arm64 >/dev/null; dpkg-deb -x linux-headers-*.deb /tmp/x
                     cp -a /tmp/x/usr /; mkdir -p /lib/modules/{kernel}
                     ln -sfn /usr/src/linux-headers-{kernel} /lib/modules/{kernel}/build"
                ),
            ))?;
            let hand = tempfile::tempdir()?;
            bed.copy_in(&package("hello").make(cross).build_in(hand.path())?, "/usr/src/hello-1.0")
        },
        &steps,
    )
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Subject])
        .case("relocated", relocated)
        .case_needing(&[Need::Ours], "clang", clang)
        .case_needing(&[Need::Ours], "clang_in_a_compound_make", clang_in_a_compound_make)
        .case("arm64", arm64)
        .main()
}
