//! Our dh_dkms and the packaged one on real source packages, and on the dkms.conf files of others wrapped anew in each
//! way that dh_dkms has: the same files and relations, and maintainer scripts that do the same.

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

/// The unpacked packages `/srv/{packaged,own}/PACKAGE` differ in nothing but the words of their maintainer scripts.
fn same_package(machine: &Machine, package: &str) -> Result<()> {
    let differences = machine.bed.sh(&format!(
        "cd /srv; diff -r -x postinst -x prerm -x md5sums packaged/{package} own/{package} | grep -v Installed-Size
         for script in postinst prerm; do
             test -x packaged/{package}/DEBIAN/$script && test -x own/{package}/DEBIAN/$script || echo no $script
         done
         cd packaged/{package} && find . -printf '%P %m\\n' | sort >/tmp/a
         cd ../../own/{package} && find . -printf '%P %m\\n' | sort | diff /tmp/a -"
    ))?;
    let text: Vec<&str> = differences
        .stdout
        .lines()
        .filter(|line| !line.starts_with("diff ") && line.len() > 3 && line.starts_with(['<', '>', 'O', 'n']))
        .collect();
    ensure!(text.is_empty(), "{package} differs:\n{}", text.join("\n"));
    Ok(())
}

/// Source packages of the archive, built with either: what they hold, and what their scripts call when they are
/// installed, upgraded and removed.
fn real_sources() -> Result<()> {
    let machine = Machine::classic("trixie")?;
    for script in ["real-sources", "real-build"] {
        let path = settings::project().join(format!("tests/scripts/{script}.sh"));
        machine.bed.copy_in(&path, &format!("/usr/local/bin/{script}"))?;
    }
    machine.bed.ok("real-sources /srv/sources")?;
    let build = "for source in /srv/sources/*; do real-build $source /srv/WHO; done";
    machine.bed.ok(&build.replace("WHO", "packaged"))?;
    machine.apt("install /srv/ours/dh-dkms_*.deb")?;
    machine.bed.ok(&build.replace("WHO", "own"))?;
    let packages = machine.bed.ok("cd /srv/packaged; ls *.deb")?;
    let packages: Vec<&str> = packages.lines().filter_map(|line| line.strip_suffix(".deb")).collect();
    ensure!(packages.len() >= 5, "only {} source packages: {packages:?}", packages.len());
    for package in &packages {
        same_package(&machine, package)?;
    }
    machine.bed.ok(
        "for program in /usr/sbin/dkms /usr/lib/dkms/common.postinst; do
             rm -f $program
             printf '#!/bin/sh\\necho \"${0##*/} $*\" >>/tmp/calls\\necho \"it/1: added\"\\n' >$program; chmod 755 $program
         done",
    )?;
    let calls = |who: &str| {
        machine.bed.ok(&format!(
            "cd /srv/{who}; for package in *.deb; do
                 for step in '-i '$package '-i '$package '-r '${{package%.deb}} '-P '${{package%.deb}}; do
                     echo \"== $step\" >>/tmp/calls; dpkg --force-depends $step >/dev/null 2>&1 || echo failed >>/tmp/calls
                 done
             done; cat /tmp/calls"
        ))
    };
    let (packaged, own) = (calls("packaged")?, calls("own")?);
    ensure!(packaged == own, "packaged:\n{packaged}\nown:\n{own}");
    let made = |what: &str| packaged.matches(what).count();
    ensure!(!packaged.contains("failed") && made("common.postinst ") == 2 * packages.len(), "{packaged}");
    ensure!(made("dkms remove ") == 2 * packages.len(), "{packaged}");
    Ok(())
}

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
        same_package(&machine, package).map_err(|error| error.context(style))?;
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
    Suite::new(&[Need::Bed, Need::Long, Need::Packages])
        .case("equality", equality)
        .case("real_sources", real_sources)
        .main()
}
