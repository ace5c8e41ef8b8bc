//! What dkms reuses of a build for another kernel is what a build for this one makes, section by section
//! (tests/scripts/reuse-in-bed.sh). Kernels of the archive that are the same to a module come and go, so the kernel after the
//! newest one is made of its headers; real neighbours are compared by
//! tests/scripts/reuse-table.sh, whose table is in docs/guide/reuse.md.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::debs;
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::settings::project;
use dkms_tests::suite::Suite;

const SCRIPT: &str = "/root/reuse-in-bed.sh";

/// Packages of the archive, and whether they need the full kernel.
const REAL: &[(&str, bool)] = &[
    ("acpi-call-dkms", false),
    ("bbswitch-dkms", false),
    ("dm-writeboost-dkms", false),
    ("jool-dkms", false),
    ("tp-smapi-dkms", false),
    ("lime-forensics-dkms", false),
    ("vhba-dkms", false),
    ("dpdk-kmods-dkms", false),
    ("ddcci-dkms", true),
    ("digimend-dkms", true),
    ("openrazer-driver-dkms", true),
    ("v4l2loopback-dkms", true),
];

fn bed_of(base: &Base) -> Result<Bed> {
    let bed = Bed::subject(base)?;
    bed.copy_in(&project().join("tests/scripts/reuse-in-bed.sh"), SCRIPT)?;
    Ok(bed)
}

/// `hello` for the newest kernel and the one after it; then with a header changed that it reads.
fn hello() -> Result<()> {
    let bed = bed_of(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    let kernel = bed.kernel()?;
    let said = bed.ok(&format!(
        "k={kernel}; next=$({SCRIPT} next $k); {SCRIPT} pairs hello/1.0 $k:$next
         module=$(find /var/lib/dkms/hello/1.0/$next -name 'hello.ko*')
         # What compares them sees a difference.
         case $module in *.xz) xz -dc $module ;; *) cat $module ;; esac | sed 's/license=GPL/license=XXX/' >/root/other.ko
         if {SCRIPT} equal $module /root/other.ko $next $next; then echo 'nothing is compared'; fi
         modinfo -F vermagic $module
         dkms unbuild hello/1.0 -k $next >/dev/null 2>&1
         echo '#define OTHER 1' >>/lib/modules/$next/build/include/generated/bounds.h
         dkms build hello/1.0 -k $next --dry-run 2>&1"
    ))?;
    ensure!(
        said.lines().next().is_some_and(|line| line.ends_with("\treused\t\tequal")),
        "not reused, or not equal\n{said}"
    );
    ensure!(!said.contains("nothing is compared"), "{said}");
    // What its checksums of symbols make good.
    ensure!(said.lines().any(|line| line.starts_with(&format!("{kernel} "))), "another vermagic\n{said}");
    let why = "the header include/generated/bounds.h differs";
    ensure!(said.contains(why), "no {why:?}\n{said}");
    Ok(())
}

/// Debugging information has the paths of headers: what keeps it is not used for another kernel.
fn not_stripped() -> Result<()> {
    let bed = bed_of(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    let source = package("hello").conf_line("STRIP[0]=no").build_in(hand.path())?;
    bed.copy_in(&source, "/usr/src/hello-1.0")?;
    let kernel = bed.kernel()?;
    let said = bed.ok(&format!("{SCRIPT} pairs hello/1.0 {kernel}:$({SCRIPT} next {kernel})"))?;
    ensure!(said.contains("\tunrecorded\tits modules keep their debugging information"), "{said}");
    Ok(())
}

/// A real package for the newest kernel, the one after it, the same installed again, another build of it.
#[allow(clippy::print_stdout)] // what could be reused is the result
fn real(name: &str, full: bool) -> Result<()> {
    let base = if full { Base::trixie_full()? } else { Base::trixie()? };
    let bed = bed_of(&base)?;
    let kernel = bed.kernel()?;
    for source in debs::sources(&Base::trixie()?, name)? {
        let directory = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = directory.rsplit_once('-').map(|(name, version)| format!("{name}/{version}")).unwrap_or_default();
        bed.copy_in(&source, &format!("/usr/src/{directory}"))?;
        let said =
            bed.ok(&format!("k={kernel}; next=$({SCRIPT} next $k); {SCRIPT} pairs {id} $k:$next $k:$k $k:rebuilt"))?;
        print!("{said}");
        ensure!(said.lines().count() == 3, "not all were compared\n{said}");
        for line in said.lines() {
            let unreused = line.contains("\tbuilt\t") || line.contains("\tunrecorded\t");
            ensure!(line.ends_with("\tequal") || unreused, "{line}");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let suite = Suite::new(&[Need::Bed, Need::Subject, Need::Ours])
        .case("hello_for_the_next_kernel", hello)
        .case_needing(&[Need::Long], "what_is_not_stripped", not_stripped);
    REAL.iter()
        .fold(suite, |suite, &(name, full)| suite.case_needing(&[Need::Long], name, move || real(name, full)))
        .main()
}
