//! Archives in and out: round trips with the classic in both directions, several kernels, binaries without their
//! source, hostile archives, private keys, and what packages want in modprobe.d.

mod hostile;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::{Package, package};
use dkms_tests::needs::Need;
use dkms_tests::run::Outcome;
use dkms_tests::suite::Suite;
use hostile::{hostile, truncated};

/// Puts packages' sources into `/usr/src`.
fn lay(bed: &Bed, packages: &[Package]) -> Result<()> {
    let hand = tempfile::tempdir()?;
    for package in packages {
        let source = package.build_in(hand.path())?;
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        bed.copy_in(&source, &format!("/usr/src/{name}"))?;
    }
    Ok(())
}

fn ok(bed: &Bed, script: &str) -> Result<String> {
    let logs = "cat /var/lib/dkms/*/*/build/make.log 2>/dev/null || true";
    bed.ok(&fill(bed.base(), script)).with_context(|| bed.ok(logs).unwrap_or_default())
}

/// Runs a script that has to end with `code`; gives its standard error.
fn ends(bed: &Bed, code: i32, script: &str) -> Result<String> {
    let Outcome { code: got, stdout, stderr } = bed.sh(&fill(bed.base(), script))?;
    ensure!(got == code, "`{script}` ended with {got} instead of {code}:\n{stdout}{stderr}");
    Ok(stderr)
}

/// `dkms status`, with the kernels' names as `{k}`, `{k2}`, `{k3}`.
fn status(bed: &Bed) -> Result<String> {
    ok(bed, "dkms status")
}

fn is(bed: &Bed, expected: &str) -> Result<()> {
    let (found, expected) = (status(bed)?, fill(bed.base(), expected));
    ensure!(found.trim() == expected.trim(), "status is\n{found}instead of\n{expected}");
    Ok(())
}

/// Moves a file from one bed to the other.
fn hand_over(from: &Bed, to: &Bed, path: &str) -> Result<()> {
    ok(from, &format!("mkdir -p /mnt/out; cp {path} /mnt/out/"))?;
    let name = path.rsplit('/').next().unwrap_or(path);
    to.copy_in(&from.exchange().join("out").join(name), path)
}

const BUILT: &str = "hello/1.0, {k}, {a}: built";

/// What one makes, the other loads: source only, source with binaries, binaries only.
fn round_trip(by_classic: bool) -> Result<()> {
    let base = Base::trixie()?;
    let (classic, ours) = (Bed::classic(&base)?, Bed::subject(&base)?);
    let (maker, loader) = if by_classic { (&classic, &ours) } else { (&ours, &classic) };
    lay(maker, &[package("hello").version("1.0")])?;
    ok(maker, "dkms build hello/1.0 -k {k}")?;
    ok(maker, "dkms mktarball hello/1.0 -k {k} --archive /root/both.dkms.tar.gz")?;
    ok(maker, "dkms mktarball hello/1.0 --source-only -k {k} --archive /root/source.dkms.tar.xz")?;
    ok(maker, "dkms mktarball hello/1.0 --binaries-only -k {k} --archive /root/binaries.dkms.tar.zst")?;
    for name in ["both.dkms.tar.gz", "source.dkms.tar.xz", "binaries.dkms.tar.zst"] {
        hand_over(maker, loader, &format!("/root/{name}"))?;
    }
    let same = "cd /var/lib/dkms/hello/1.0/{k}/{a}/module && sha256sum *";
    let sum = ok(maker, same)?;

    ok(loader, "dkms ldtarball /root/source.dkms.tar.xz")?;
    is(loader, "hello/1.0: added")?;
    ok(loader, "dkms install hello/1.0 -k {k} && dkms remove hello/1.0 --all && rm -r /usr/src/hello-1.0")?;

    ok(loader, "dkms ldtarball --archive /root/both.dkms.tar.gz")?;
    is(loader, BUILT)?;
    ensure!(ok(loader, same)? == sum, "the modules have changed on the way");
    ends(loader, 8, "dkms ldtarball /root/both.dkms.tar.gz")?;
    ok(loader, "dkms install hello/1.0 -k {k} && modinfo -k {k} hello && dkms remove hello/1.0 --all")?;
    ok(loader, "rm -r /usr/src/hello-1.0")?;

    // The classic ends with 1 here, and then can't see what it has loaded.
    ends(loader, i32::from(!by_classic), "dkms ldtarball /root/binaries.dkms.tar.zst")?;
    ensure!(ok(loader, same)? == sum, "the modules have changed on the way");
    ok(loader, "dkms install hello/1.0 -k {k} && modinfo -k {k} hello")?;
    Ok(())
}

/// Binaries without their source, on a machine that can't build: through every verb.
fn binaries_are_full_citizens() -> Result<()> {
    let base = Base::trixie()?;
    let (maker, target) = (Bed::subject(&base)?, Bed::subject(&base)?);
    lay(&maker, &[package("hello").version("1.0").script("POST_INSTALL", "true")])?;
    ok(&maker, "dkms build hello/1.0 -k {k} -k {k2}")?;
    ok(&maker, "dkms mktarball hello/1.0 --binaries-only --all --archive /root/h.dkms.tar.gz")?;
    hand_over(&maker, &target, "/root/h.dkms.tar.gz")?;
    ok(
        &target,
        "rm -rf /usr/bin/*gcc* /usr/bin/make /usr/src/linux-*; rm -f /lib/modules/*/build /lib/modules/*/source",
    )?;
    ok(&target, "dkms install /root/h.dkms.tar.gz -k {k}")?;
    is(&target, "hello/1.0, {k2}, {a}: built\nhello/1.0, {k}, {a}: installed")?;
    ok(&target, "modprobe -n -S {k} hello; test -f /lib/modules/{k}/updates/dkms/hello.ko.xz")?;
    ok(&target, "cd /root && dkms mktarball hello/1.0 --all --archive ./again.tar.gz")?;
    ok(&target, "dkms uninstall hello/1.0 -k {k}")?;
    ok(&target, "test ! -e /lib/modules/{k}/updates/dkms/hello.ko.xz")?;
    // Loaded twice: what is there stays.
    ok(&target, "dkms ldtarball /root/again.tar.gz 2>&1 | grep 'already exists. Skipping'")?;
    // Without even a dkms.conf the manifest suffices.
    ok(&target, "rm -r /var/lib/dkms/hello/1.0/source && dkms install hello/1.0 -k {k2}")?;
    ok(&target, "dkms remove hello/1.0 --all && test ! -e /var/lib/dkms/hello")?;
    is(&target, "")?;
    // Where the source is, the binaries join it.
    lay(&target, &[package("hello").version("1.0")])?;
    ok(&target, "dkms add /root/again.tar.gz && test -h /var/lib/dkms/hello/1.0/source")?;
    Ok(())
}

/// Two packages, three kernels, each archive with all of them.
fn three_kernels_two_packages() -> Result<()> {
    let base = Base::trixie()?;
    let (maker, loader) = (Bed::subject(&base)?, Bed::subject(&base)?);
    lay(&maker, &[package("hello"), package("second")])?;
    for name in ["hello", "second"] {
        ok(&maker, &format!("dkms build {name}/1.0 -k {{k}} -k {{k2}} -k {{k3}}"))?;
        ok(&maker, &format!("dkms mktarball {name}/1.0 --all --archive /root/{name}.tar.bz2"))?;
        hand_over(&maker, &loader, &format!("/root/{name}.tar.bz2"))?;
        ok(&loader, &format!("dkms ldtarball /root/{name}.tar.bz2"))?;
    }
    ensure!(status(&maker)? == status(&loader)?, "status is\n{}", status(&loader)?);
    ensure!(status(&loader)?.matches(": built\n").count() == 6, "status is\n{}", status(&loader)?);
    // Two architectures of one kernel, by two names for one machine.
    ok(
        &maker,
        "cd /var/lib/dkms/second/1.0/{k}; cp -a {a} amd64; rm amd64/.dkms-manifest.json
         dkms mktarball second/1.0 -k {k}/{a} -k {k}/amd64 --archive /root/arches.tar",
    )?;
    hand_over(&maker, &loader, "/root/arches.tar")?;
    ok(
        &loader,
        "dkms remove second/1.0 --all; dkms ldtarball --force /root/arches.tar; dkms status second >/root/s
                 grep -x 'second/1.0, {k}, {a}: built' /root/s; grep -x 'second/1.0, {k}, amd64: built' /root/s",
    )?;
    ok(&maker, "rm -r /var/lib/dkms/second/1.0/{k}/amd64")?;
    // The name says which kernels, until there are too many of them.
    ok(
        &maker,
        "dkms mktarball hello/1.0 -k {k}; ls /var/lib/dkms/hello/1.0/tarball/hello-1.0-kernel{k}-{a}.dkms.tar.gz",
    )?;
    ok(
        &maker,
        "dkms mktarball hello/1.0 --source-only; ls /var/lib/dkms/hello/1.0/tarball/hello-1.0-source-only.dkms.tar.gz",
    )?;
    ends(&maker, 6, "dkms mktarball hello/1.0 -k 1.2.3")?;
    ends(&maker, 9, "dkms mktarball hello/1.0 -k {k} --archive /nowhere/x.tar.gz")?;
    ends(&maker, 8, "dkms mktarball hello/1.0 -k {k} --binaries-only --source-only")?;
    ends(&maker, 3, "dkms mktarball absent/1.0 -k {k}")?;
    ends(&maker, 2, "dkms ldtarball /nowhere.tar.gz")?;
    ok(&maker, "dkms ldtarball /nowhere.tar.gz 2>&1 | grep -F '/nowhere.tar.gz does not exist.'")?;
    // The same again, the same bytes.
    ok(
        &maker,
        "export SOURCE_DATE_EPOCH=1700000000
         dkms mktarball hello/1.0 --all --archive /root/a.tar.xz
         touch /usr/src/hello-1.0/*; dkms mktarball hello/1.0 --all --archive /root/b.tar.xz
         cmp /root/a.tar.xz /root/b.tar.xz",
    )?;
    Ok(())
}

/// An archive of anybody's that has a dkms.conf somewhere, and `--force`.
fn plain_sources() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    lay(&bed, &[package("hello").script("POST_ADD", "echo added >>/root/added")])?;
    ok(&bed, "cd /usr/src && tar -czf /root/p.tgz hello-1.0 && rm -r hello-1.0")?;
    ok(&bed, "dkms add /root/p.tgz && grep -x added /root/added && test -x /usr/src/hello-1.0")?;
    ok(&bed, "echo changed >>/usr/src/hello-1.0/hello.c")?;
    ends(&bed, 3, "dkms add /root/p.tgz")?;
    ok(&bed, "grep changed /usr/src/hello-1.0/hello.c")?;
    ok(&bed, "dkms ldtarball --force /root/p.tgz; (! grep changed /usr/src/hello-1.0/hello.c)")?;
    ok(&bed, "dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0; dkms install /root/p.tgz -k {k}")?;
    is(&bed, "hello/1.0, {k}, {a}: installed")?;
    // Again, with the source that is registered: done. With another: refused, and nothing changes.
    ok(&bed, "dkms install /root/p.tgz -k {k} && dkms build /root/p.tgz -k {k}")?;
    ok(&bed, "echo changed >>/usr/src/hello-1.0/hello.c")?;
    ends(&bed, 3, "dkms install /root/p.tgz -k {k}")?;
    ok(&bed, "grep changed /usr/src/hello-1.0/hello.c")?;
    is(&bed, "hello/1.0, {k}, {a}: installed")
}

/// What `/usr/lib/dkms/common.postinst` does with the tarball that a package brings in its TARBALL_ROOT.
fn postinst_with_a_tarball() -> Result<()> {
    let base = Base::trixie()?;
    let (maker, target) = (Bed::classic(&base)?, Bed::subject(&base)?);
    lay(&maker, &[package("hello").version("1.0").conf_line("AUTOINSTALL=yes")])?;
    ok(
        &maker,
        "dkms build hello/1.0 -k {k} -k {k2}; mkdir -p /root/source /root/binaries /root/both; N=hello-1.0.dkms.tar.gz
         dkms mktarball hello/1.0 --source-only --archive /root/source/$N
         dkms mktarball hello/1.0 --binaries-only -k {k} --archive /root/binaries/$N
         dkms mktarball hello/1.0 -k {k2} --archive /root/both/$N; mkdir -p /mnt/out; cp -r /root/{source,binaries,both} /mnt/out/",
    )?;
    target.copy_in(&maker.exchange().join("out"), "/in")?;
    let program = dkms_tests::settings::beside("dkms-apt").context("there is no dkms-apt")?;
    target.copy_in(&program, "/usr/lib/dkms/dkms-apt")?;
    ok(
        &target,
        "ln -sf dkms-apt /usr/lib/dkms/common.postinst; rm -f /etc/dkms/framework.conf.d/*; P=/usr/lib/dkms/common.postinst
         mkdir /empty; $P hello 1.0 /empty '' '' && exit 1
         # Source in a tarball: built for every kernel.
         $P hello 1.0 /in/source '' ''; dkms status hello | grep -c ': installed' | grep -x 3
         dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0
         # Source and a binary: that one is taken as it is.
         $P hello 1.0 /in/both '' ''; dkms status hello | grep -c ': installed' | grep -x 3
         tar -xOzf /in/both/*.gz ./dkms_main_tree/{k2}/{a}/module/hello.ko.xz | cmp - /lib/modules/{k2}/updates/dkms/hello.ko.xz
         # Again, as by an upgrade.
         $P hello 1.0 /in/both '' 1.0; dkms status hello | grep -c ': installed' | grep -x 3
         dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0
         # A binary alone, where nothing can be built.
         rm -rf /usr/src/linux-* /lib/modules/*/build /usr/bin/*gcc* /usr/bin/make
         $P hello 1.0 /in/binaries '' ''; modinfo -k {k} hello >/dev/null; dkms remove hello/1.0 --all
         # One that is damaged: nothing is there afterwards.
         head -c 2000 /in/both/hello-1.0.dkms.tar.gz >/empty/hello-1.0.dkms.tar.gz
         code=0; $P hello 1.0 /empty '' '' || code=$?; test $code = 2; test -z \"$(dkms status)\"",
    )?;
    Ok(())
}

/// `add`, `install` and `ldtarball` of an rpm hand it to rpm, and install what it brought.
fn rpms_go_to_rpm() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    bed.write(
        "/usr/bin/rpm",
        "#!/bin/sh\necho \"$@\" >>/root/rpm; [ ! -e /root/refuse ] || exit 3; cp -r /root/hello-1.0 /usr/src/; dkms add hello/1.0\n",
    )?;
    lay(&bed, &[package("hello").conf_line("AUTOINSTALL=yes")])?;
    ok(
        &bed,
        "mv /usr/src/hello-1.0 /root/; touch /root/hello.rpm
         for verb in add install ldtarball; do
             dkms $verb /root/hello.rpm -k {k}; grep -x -e '-Uvh /root/hello.rpm' /root/rpm; dkms status | grep ': installed'
             dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0 /root/rpm; done; touch /root/refuse",
    )?;
    let said = ends(&bed, 9, "dkms add /root/hello.rpm -k {k}")?;
    ensure!(said.contains("using rpm"), "{said}");
    ends(&bed, 2, "dkms ldtarball /root/none.rpm -k {k}")?;
    Ok(())
}

/// Whatever is done, no private key gets into an archive.
fn keys_stay() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    lay(&bed, &[package("hello")])?;
    ok(&bed, "dkms build hello/1.0 -k {k}")?;
    ok(&bed, "dkms mktarball hello/1.0 -k {k} --archive /root/a.tar; (! grep -a 'PRIVATE KEY' /root/a.tar)")?;
    for copy in [
        "cp /var/lib/dkms/mok.key /usr/src/hello-1.0/notes.txt",
        "ln -f /var/lib/dkms/mok.key /usr/src/hello-1.0/key",
        "openssl pkcs8 -topk8 -nocrypt -in /var/lib/dkms/mok.key -outform DER -out /usr/src/hello-1.0/x",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /usr/src/hello-1.0/x",
        "echo secret-words >/root/token; echo 'mok_signing_key=/root/token' >/etc/dkms/framework.conf.d/k.conf; cp /root/token /usr/src/hello-1.0/x",
    ] {
        ok(&bed, copy)?;
        let said = ends(&bed, 6, "dkms mktarball hello/1.0 -k {k} --archive /root/b.tar")?;
        ensure!(said.contains("not archived because"), "{said}");
        ok(
            &bed,
            "test ! -e /root/b.tar; rm -f /usr/src/hello-1.0/notes.txt /usr/src/hello-1.0/key /usr/src/hello-1.0/x",
        )?;
    }
    Ok(())
}

/// One owned file, from the first installation to the last removal.
fn modprobe_files() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let wants = |name: &str| {
        package(name)
            .conf_line("MODULES_CONF[0]='options hello debug=1'")
            .conf_line("MODULES_CONF_OBSOLETES[0]='oldhello'")
            .conf_line("MODULES_CONF_ALIAS_TYPE[0]='eth'")
            .conf_line("MODULES_LOAD[0]='hello'")
            .conf_line("REMAKE_INITRD=yes")
            .conf_line("CLEAN='make clean'")
    };
    lay(&bed, &[wants("hello"), wants("other")])?;
    ok(&bed, "echo 'alias eth0 mine' >/etc/modprobe.d/mine.conf; echo mine >/etc/modprobe.d/dkms-other.conf")?;
    let said = ends(&bed, 0, "dkms install hello/1.0 -k {k} -k {k2}")?;
    ensure!(said.contains("REMAKE_INITRD (") && said.contains("): the kernel's hooks renew"), "{said}");
    // Debian's packages are full of CLEAN, and its dkms says nothing about it.
    ensure!(!said.contains("CLEAN ("), "{said}");
    let file = bed.read("/etc/modprobe.d/dkms-hello.conf")?;
    ensure!(file.ends_with("options hello debug=1\nblacklist oldhello\nalias eth1 hello\n"), "{file}");
    ok(
        &bed,
        "modprobe -S {k} -c | grep -x 'options hello debug=1' && grep -x hello /etc/modules-load.d/dkms-hello.conf",
    )?;
    ok(&bed, "dkms uninstall hello/1.0 -k {k} && test -e /etc/modprobe.d/dkms-hello.conf")?;
    ok(
        &bed,
        "dkms remove hello/1.0 --all && test ! -e /etc/modprobe.d/dkms-hello.conf -a ! -e /etc/modules-load.d/dkms-hello.conf",
    )?;
    let said = ends(&bed, 0, "dkms install other/1.0 -k {k} && dkms remove other/1.0 --all")?;
    ensure!(said.contains("/etc/modprobe.d/dkms-other.conf does not belong to dkms"), "{said}");
    ok(&bed, "grep -x mine /etc/modprobe.d/dkms-other.conf; grep -x 'alias eth0 mine' /etc/modprobe.d/mine.conf")?;
    ok(&bed, "echo 'modprobe_conf=\"no\"' >/etc/dkms/framework.conf.d/m.conf; dkms install hello/1.0 -k {k}")?;
    ok(&bed, "test ! -e /etc/modprobe.d/dkms-hello.conf")?;
    let said =
        ends(&bed, 0, "rm -f /etc/os-release; echo ID=gentoo >/etc/os-release; dkms build --force hello/1.0 -k {k}")?;
    ensure!(said.contains("CLEAN (") && said.contains("): nothing is cleaned"), "{said}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("what_the_classic_makes_loads_here", || round_trip(true))
        .case("what_we_make_loads_in_the_classic", || round_trip(false))
        .case("binaries_are_full_citizens", binaries_are_full_citizens)
        .case("three_kernels_two_packages", three_kernels_two_packages)
        .case("plain_sources", plain_sources)
        .case("hostile", hostile)
        .case("truncated", truncated)
        .case_needing(&[Need::Long, Need::Beside("dkms-apt")], "postinst_with_a_tarball", postinst_with_a_tarball)
        .case("rpms_go_to_rpm", rpms_go_to_rpm)
        .case("keys_stay", keys_stay)
        .case("modprobe_files", modprobe_files)
        .main()
}
