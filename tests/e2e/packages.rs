//! Real packages of the Debian archive on a real Debian kernel: what the classic makes of them, we make too.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::Base;
use dkms_tests::compare::{compare, step};
use dkms_tests::debs;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// Debian package, and what else it needs installed to build.
const SHORT: &[(&str, &str)] = &[
    ("acpi-call-dkms", ""),
    ("bbswitch-dkms", ""),
    ("ddcci-dkms", ""),
    ("digimend-dkms", ""),
    ("dm-writeboost-dkms", ""),
    ("tp-smapi-dkms", ""),
    ("v4l2loopback-dkms", ""),
];

/// Those that take a minute or more with each program.
const LONG: &[(&str, &str)] =
    &[("zfs-dkms", "libc6-dev lsb-release python3-minimal libpython3-stdlib perl autoconf automake libtool")];

/// A minute each on two cores: compared in full, but only once around.
const MEDIUM: &[(&str, &str)] = &[("jool-dkms", ""), ("lttng-modules-dkms", "gawk")];

fn whole_life(package: &str, needs: &str) -> Result<()> {
    let base = Base::trixie()?;
    let sources = debs::sources(&base, package)?;
    ensure!(!sources.is_empty(), "{package} holds no module source");
    let ids: Vec<String> = sources
        .iter()
        .filter_map(|source| source.file_name()?.to_str()?.rsplit_once('-').map(|(m, v)| format!("{m}/{v}")))
        .collect();
    let mut steps = Vec::new();
    for id in &ids {
        steps.extend([
            step(format!("dkms add {id}")).exits(0),
            step(format!("dkms build {id} -k {{k}}")).exits(0),
            step(format!("dkms install {id} -k {{k}}")).exits(0),
            step("dkms status").exits(0).same_stdout(),
            step(format!("dkms uninstall {id} -k {{k}}")).exits(0),
            step(format!("dkms remove {id} --all")).exits(0),
        ]);
    }
    compare(
        &base,
        |bed| {
            for source in &sources {
                let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
                bed.copy_in(source, &format!("/usr/src/{name}"))?;
            }
            if !needs.is_empty() {
                bed.ok(&format!("apt-get -q -y install {needs} >/dev/null"))?;
            }
            Ok(())
        },
        &steps,
    )
}

fn main() -> ExitCode {
    let mut suite = Suite::new(&[Need::Bed, Need::Subject]);
    for &(package, needs) in SHORT.iter().chain(MEDIUM) {
        suite = suite.case(package, move || whole_life(package, needs));
    }
    for &(package, needs) in LONG {
        suite = suite.case_needing(&[Need::Long], package, move || whole_life(package, needs));
    }
    suite.main()
}
