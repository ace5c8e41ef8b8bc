//! The life of a system: kernels and modules come, are upgraded, and go.

use anyhow::{Context, Result, ensure};

use crate::machine::{Arch, says, silent};
use crate::{BASE, LTS, NEW, NEXT, OLD, packaged, with_real};

/// A step of [`life`].
pub type Step = (&'static str, fn(&Arch) -> Result<()>);

/// The life of one machine, a transaction after the other: each step finds what those before it left.
pub const LIFE: [Step; 9] = [
    ("installation", installation),
    ("kernel upgrade", kernel_upgrade),
    ("module upgrade", module_upgrade),
    ("another kernel and a repackaged module", another_kernel_and_a_repackaged_module),
    ("a module that fails", a_module_that_fails),
    ("downgrade", downgrade),
    ("a kernel of another name", a_kernel_of_another_name),
    ("a kernel goes", a_kernel_goes),
    ("everything goes", everything_goes),
];

pub fn life(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    for (name, step) in LIFE {
        step(&arch).with_context(|| format!("in the step \"{name}\""))?;
    }
    Ok(())
}

pub fn on_both(hello: &str) -> [(&str, &str); 6] {
    [(NEW, hello), (LTS, hello), (NEW, "acpi_call"), (LTS, "acpi_call"), (NEW, "bbswitch"), (LTS, "bbswitch")]
}

pub fn installation(arch: &Arch) -> Result<()> {
    packaged(arch)?;
    with_real(arch, &format!("{BASE} hello-dkms-1.0-1 bad-dkms-1.0-1"))?;
    let said = arch.pacman("-Sy linux linux-headers hello-dkms acpi-call-dkms bbswitch-dkms")?;
    arch.has(&[(OLD, "hello 1.0"), (OLD, "acpi_call"), (OLD, "bbswitch")])?;
    says(&said, &["DKMS summary", "installed"])?;
    says(&arch.observed()?, &[&format!("90 {OLD} hello 1.0"), &format!("90 {OLD} acpi_call")])?;
    Ok(())
}

/// A new release of the kernel: the old one's modules stay until the end, then nothing is left of it.
pub fn kernel_upgrade(arch: &Arch) -> Result<()> {
    with_real(arch, &format!("{NEXT} hello-dkms-1.0-1 bad-dkms-1.0-1"))?;
    let said = arch.pacman("-Syu")?;
    arch.has(&[(NEW, "hello 1.0"), (NEW, "acpi_call"), (NEW, "bbswitch")])?;
    let observed = arch.observed()?;
    says(
        &observed,
        &[
            &format!("60 {OLD} hello 1.0"),
            &format!("pre {OLD} hello 1.0"),
            &format!("90 {NEW} hello 1.0"),
            &format!("90 {NEW} acpi_call"),
            &format!("dracut {NEW} hello 1.0"),
        ],
    )?;
    silent(&observed, &[&format!("90 {OLD}"), &format!("dracut {OLD}"), "unknown-to-depmod"])?;
    silent(&arch.0.ok("ls /usr/lib/modules; dkms status")?, &[OLD])?;
    silent(&said, &[") is missing", "running kernel"])?;
    Ok(())
}

/// A new version of a module: its predecessor stays until it is in place, then it is forgotten.
pub fn module_upgrade(arch: &Arch) -> Result<()> {
    with_real(arch, &format!("{NEXT} hello-dkms-2.0-1 bad-dkms-1.0-1"))?;
    silent(&arch.pacman("-Syu")?, &["broken", ") is missing"])?;
    says(&arch.observed()?, &[&format!("pre {NEW} hello 1.0"), &format!("90 {NEW} hello 2.0")])?;
    let status = arch.0.ok("dkms status hello")?;
    ensure!(status == format!("hello/2.0, {NEW}, x86_64: installed\n"), "{status}");
    Ok(())
}

/// Another kernel and the same module repackaged, in one transaction.
pub fn another_kernel_and_a_repackaged_module(arch: &Arch) -> Result<()> {
    with_real(arch, &format!("{NEXT} hello-dkms-2.0-2 bad-dkms-1.0-1"))?;
    arch.pacman("-Sy linux-lts linux-lts-headers hello-dkms")?;
    arch.has(&on_both("hello 2.0"))?;
    for kernel in [NEW, LTS] {
        says(&arch.0.ok(&format!("modinfo -k {kernel} -F description hello"))?, &["repackaged"])?;
    }
    Ok(())
}

/// A module that does not build for one of them: said, recorded, and no hindrance.
pub fn a_module_that_fails(arch: &Arch) -> Result<()> {
    let said = arch.pacman("-S bad-dkms")?;
    says(&said, &[&format!("{NEW} (x86_64) is missing"), "bad/1.0", "this kernel is too new"])?;
    let mut modules = on_both("hello 2.0").to_vec();
    modules.push((LTS, "bad 1.0"));
    arch.has(&modules)?;
    arch.0.ok(&format!("grep failed /var/lib/dkms/.dkms/records/bad/1.0/{NEW}/x86_64.json"))?;
    // What failed before is foretold when its kernel comes again.
    let said = arch.pacman("-S linux")?;
    says(&said, &["bad/1.0 could not be built for kernel", "this kernel is too new"])?;
    arch.pacman("-R bad-dkms")?;
    arch.has(&on_both("hello 2.0"))?;
    Ok(())
}

/// An older version: it takes the newer one's place.
pub fn downgrade(arch: &Arch) -> Result<()> {
    arch.pacman("-U /srv/pool/hello-dkms-1.0-1-x86_64.pkg.tar")?;
    arch.has(&on_both("hello 1.0"))?;
    ensure!(arch.0.ok("dkms status hello")?.lines().count() == 2, "{}", arch.0.ok("dkms status")?);
    Ok(())
}

/// The same kernel and headers from packages of other names.
pub fn a_kernel_of_another_name(arch: &Arch) -> Result<()> {
    with_real(arch, &format!("{NEXT} linux-new-7.2.14.arch1-2 linux-new-headers-7.2.14.arch1-2 hello-dkms-1.0-1"))?;
    arch.observed()?;
    // --noconfirm says no to a replaced package in conflict: --ask says yes (pacman's bit 4).
    arch.pacman("-Syu --ask 4")?;
    ensure!(arch.pacman("-Q linux-new linux-new-headers").is_ok(), "{}", arch.pacman("-Q")?);
    arch.has(&on_both("hello 1.0"))?;
    says(&arch.observed()?, &[&format!("90 {NEW} hello 1.0"), &format!("90 {LTS} hello 1.0")])?;
    Ok(())
}

/// A kernel goes, with everything of ours; its headers may go later.
pub fn a_kernel_goes(arch: &Arch) -> Result<()> {
    let said = arch.pacman("-R linux-lts")?;
    arch.has(&[(NEW, "hello 1.0"), (NEW, "acpi_call"), (NEW, "bbswitch")])?;
    silent(&arch.0.ok("dkms status")?, &[LTS])?;
    silent(&said, &[") is missing"])?;
    arch.pacman("-R linux-lts-headers")?;
    ensure!(arch.0.sh(&format!("test -e /usr/lib/modules/{LTS}"))?.code == 1, "the kernel's directory is left");
    Ok(())
}

/// A module goes; then the others, together with dkms.
pub fn everything_goes(arch: &Arch) -> Result<()> {
    arch.pacman("-R hello-dkms")?;
    arch.has(&[(NEW, "acpi_call"), (NEW, "bbswitch")])?;
    arch.0.ok("cp -a /usr/src/acpi-call-* /usr/src/mine-1; sed -i 's/^PACKAGE_NAME=.*/PACKAGE_NAME=mine/; s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=1/' /usr/src/mine-1/dkms.conf")?;
    arch.pacman("-R acpi-call-dkms bbswitch-dkms")?;
    arch.0.ok(&format!("dkms install mine/1 -k {NEW}"))?;
    // What nobody's package brought stays, and is named while that helps.
    let said = arch.pacman("-R dkms")?;
    says(&said, &["These modules stay installed", &format!("mine/1: {NEW}"), "dkms remove mine/1 --all"])?;
    arch.pacman("-Udd --overwrite '*' /srv/dkms.pkg.tar.zst")?;
    arch.0.ok("dkms remove mine/1 --all; rm -r /usr/src/mine-1")?;
    silent(&arch.pacman("-R dkms")?, &["stay installed"])?;
    let left = arch
        .0
        .ok("find /usr/lib/modules -path '*updates*'; ls -A /var/lib/dkms | grep -vE '^([.]dkms|mok[.].*)$' || true")?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(())
}
