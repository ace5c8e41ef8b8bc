//! Our dh_dkms and the packaged one on the dkms.conf files and sources of real packages: the same files and relations,
//! and maintainer scripts that do the same. (The archive at hand has no complete source packages, so these are wrapped
//! anew, each in another of the ways that dh_dkms has.)

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::debian::Machine;
use dkms_tests::needs::Need;
use dkms_tests::settings;
use dkms_tests::suite::Suite;

const CASES: [(&str, &str); 6] = [
    ("acpi-call-dkms", "own"),
    ("bbswitch-dkms", "version"),
    ("v4l2loopback-dkms", "list"),
    ("ddcci-dkms", "main"),
    ("lime-forensics-dkms", "words"),
    ("dm-writeboost-dkms", "own"),
];

fn equality() -> Result<()> {
    let machine = Machine::classic("trixie")?;
    machine.bed.copy_in(&settings::project().join("tests/scripts/dh-dkms-build.sh"), "/usr/local/bin/dh-dkms-build")?;
    let build = |who: &str| -> Result<()> {
        for (package, style) in CASES {
            machine.bed.ok(&format!("mkdir -p /srv/{who}; dh-dkms-build /srv/{who}/{package} {package} {style}"))?;
        }
        Ok(())
    };
    build("packaged")?;
    machine.apt("install /srv/ours/dh-dkms_*.deb")?;
    build("own")?;
    for (package, style) in CASES {
        let differences = machine.bed.sh(&format!(
            "cd /srv; diff -r -x postinst -x prerm -x md5sums packaged/{package} own/{package} | grep -v Installed-Size
             for script in postinst prerm; do
                 test -x packaged/{package}/DEBIAN/$script && test -x own/{package}/DEBIAN/$script || echo no $script
             done
             cd packaged/{package} && find . -printf '%P %m\\n' | sort >/tmp/a; cd ../../own/{package} && find . -printf '%P %m\\n' | sort | diff /tmp/a -"
        ))?;
        let text: Vec<&str> = differences
            .stdout
            .lines()
            .filter(|line| !line.starts_with("diff ") && line.len() > 3 && line.starts_with(['<', '>', 'O', 'n']))
            .collect();
        ensure!(text.is_empty(), "{package} ({style}) differs:\n{}", text.join("\n"));
    }
    // What the scripts do, with the classic dkms: install, upgrade (the same again), remove.
    let kernel = machine.installed_kernel()?;
    let mut seen = Vec::new();
    for who in ["packaged", "own"] {
        let mut steps = Vec::new();
        for step in [
            "install /srv/WHO/acpi-call-dkms.deb",
            "install --reinstall /srv/WHO/acpi-call-dkms.deb",
            "remove acpi-call-dkms",
        ] {
            machine.apt(&step.replace("WHO", who))?;
            steps.push(machine.status()?);
        }
        machine.apt("purge acpi-call-dkms")?;
        ensure!(steps[0].len() == 1 && steps[0][0].contains(&kernel) && steps[2].is_empty(), "{who}: {steps:?}");
        seen.push(steps);
    }
    ensure!(seen[0] == seen[1], "{seen:?}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Long, Need::Packages]).case("equality", equality).main()
}
