//! Our source packages, built as distributions build them: with their own tools and compilers, as an ordinary user, without
//! a network. What comes of it is judged by lintian, and tried.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::building;
use dkms_tests::needs::Need;
use dkms_tests::run::{command, run};
use dkms_tests::settings;
use dkms_tests::suite::Suite;

/// Debian's source package builds with Debian 13's compiler, the oldest that is promised; the unit tests of the core and of
/// hooks-apt pass there; lintian has nothing against it, and the packages' own autopkgtest passes. Compiled for debugging:
/// `debian_as_released` does the same with what is shipped.
fn debian() -> Result<()> {
    let bed = building::bed(&building::debian()?, &building::source()?, "build-debian.sh")?;
    let said = bed.ok("bash /srv/build dev /home/builder/here builder 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    let version = said.lines().filter_map(|line| line.strip_prefix("rustc ")).find(|line| line.starts_with('1'));
    ensure!(
        version.is_some_and(|version| version.starts_with("1.85.")),
        "rustc {version:?} is not the oldest promised"
    );

    let tags = bed.sh("lintian --allow-root --fail-on error,warning /srv/dist/*.dsc /srv/built/*.changes 2>&1")?;
    ensure!(tags.code == 0, "lintian:\n{}", tags.stdout);
    // Every page, as its readers' programs see it.
    let pages = bed.ok(
        "cd /tmp; for deb in /srv/built/*.deb; do dpkg-deb -x $deb x; done; cd x/usr/share/man; n=0
         for page in man*/*.gz; do n=$((n + 1)); zcat $page >/tmp/page; mandoc -T lint -W warning /tmp/page >&2
             test -z \"$(man --warnings -E UTF-8 -l -Tutf8 -Z /tmp/page 2>&1 >/dev/null | tee /dev/stderr)\"; done; echo $n",
    )?;
    ensure!(pages.trim().parse::<u32>()? > 30, "only {pages} manual pages");
    for (package, file) in [
        ("dkms", "usr/share/doc/dkms/copyright"),
        ("dkms", "usr/share/doc/dkms/NEWS.Debian.gz"),
        ("dkms", "usr/share/doc/dkms/README.Debian"),
        ("dkms", "usr/share/doc/dkms/guide/start."),
        ("dkms", "usr/share/doc/dkms/examples/hello/dkms.conf"),
        ("dh-dkms", "usr/share/perl5/Debian/Debhelper/Sequence/dkms.pm"),
    ] {
        bed.ok(&format!("dpkg-deb -c /srv/built/{package}_*.deb | grep -F ' ./{file}'"))?;
    }
    let fields = bed.ok("dpkg-deb -f /srv/built/dkms_*.deb")?;
    for field in ["Source: dkms-rs", "Built-Using: glibc (= ", "Static-Built-Using: rustc (= ", "Multi-Arch: foreign"] {
        ensure!(fields.contains(field), "no {field} in\n{fields}");
    }
    bed.ok("cd /root; autopkgtest --no-built-binaries /srv/built/*.deb /srv/dist/*.dsc -- null >&2")?;
    Ok(())
}

/// Two builds as they are released, in other places, by other users, at other times, give the same bytes.
fn debian_as_released() -> Result<()> {
    let source = building::source()?;
    let mut sums = Vec::new();
    for words in ["/home/one/here one", "/srv/a/longer/place another"] {
        let bed = building::bed(&building::debian()?, &source, "build-debian.sh")?;
        bed.ok(&format!("bash /srv/build release {words} 2>&1"))?;
        sums.push(bed.ok("cd /srv/built; sha256sum *.deb")?);
        bed.ok("apt-get -q -y install /srv/built/*.deb >&2; dkms --version | grep -x dkms-4.*")?;
        let kept =
            bed.ok("strings -n 8 /usr/sbin/dkms /usr/lib/dkms/dkms-apt | grep -E '/home/one|longer/place' || true")?;
        ensure!(kept.is_empty(), "a program has the place where it was built in it:\n{kept}");
    }
    ensure!(sums[0] == sums[1] && sums[0].lines().count() == 2, "not the same bytes:\n{}\n{}", sums[0], sums[1]);
    Ok(())
}

/// The spec, from source to packages, with both ends of the range of rpm.
fn rpm(new: bool) -> Result<()> {
    let base = if new { building::unstable()? } else { building::oldest_rpm()? };
    let bed = building::bed(&base, &building::source()?, "build-rpm.sh")?;
    if !new {
        building::with_our_rust(&bed)?;
    }
    let said = bed.ok("bash /srv/build dev --with mkpkg 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    let names = bed.ok("cd /srv/built; rpm -qp --qf '%{NAME}.%{ARCH} %{SOURCERPM}\\n' *.rpm | sort")?;
    let wanted = ["dkms-dnf4.", "dkms-mkpkg.", "dkms-rs.", "dkms."];
    ensure!(
        names.lines().count() == wanted.len() && names.lines().zip(wanted).all(|(line, start)| line.starts_with(start)),
        "the packages are\n{names}"
    );
    ensure!(names.contains("dkms-rs-4"), "built from another source package:\n{names}");
    let files = bed.ok(
        "cd /srv/built; rpm -qpl dkms-4*.rpm; rpm -qp --licensefiles dkms-4*.rpm; rpm -qp --provides dkms-4*.rpm",
    )?;
    for file in ["/usr/lib/dkms/dkms-rpm", "guide/start.", "/copyright", "bundled(crate(serde)) = "] {
        ensure!(files.contains(file), "no {file} in\n{files}");
    }
    ensure!(!files.contains("90-dkms.preset"), "a preset of ours is in a distribution's package");
    bed.ok("mkdir /tmp/x; cd /tmp/x; rpm2cpio /srv/built/dkms-4*.rpm | cpio -id --quiet; ./usr/sbin/dkms --version | grep -x dkms-4.*")?;
    Ok(())
}

/// The PKGBUILD, with a real makepkg.
fn arch() -> Result<()> {
    let bed = building::bed(&building::unstable()?, &building::source()?, "build-arch.sh")?;
    let said = bed.ok("bash /srv/build dev 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    ensure!(said.contains("Passed"), "the checksum was not looked at:\n{said}");
    let files = bed.ok("cd /srv/built; for p in *.pkg.tar.zst; do echo \"$p\"; bsdtar -tf $p; done")?;
    for file in [
        "usr/bin/dkms",
        "usr/lib/dkms/dkms-alpm",
        "usr/lib/dkms/dkms-alpm-preflight",
        "usr/lib/dkms/dkms-mkpkg",
        "usr/share/libalpm/hooks/70-dkms-install.hook",
        "usr/share/doc/dkms/guide/start.",
        "usr/share/licenses/dkms/copyright",
        "usr/share/licenses/dkms-mkpkg/copyright",
    ] {
        ensure!(files.lines().any(|line| line.starts_with(file)), "no {file} in\n{files}");
    }
    ensure!(files.matches(".pkg.tar.zst").count() == 2, "not two packages:\n{files}");
    Ok(())
}

/// `make uninstall` takes away what `make install` put there, and nothing else; `make install` ends with what is missing.
fn install_and_uninstall() -> Result<()> {
    let place = tempfile::tempdir()?;
    let make = |words: &[&str], root: &str| {
        let mut make = command("make");
        make.args(["--no-print-directory", &format!("DESTDIR={root}")]).args(words).current_dir(settings::project());
        run(&mut make, b"")?.ok().with_context(|| format!("make {words:?}"))
    };
    let root = place.path().display().to_string();
    make(&["install"], &root)?;
    ensure!(place.path().join("usr/sbin/dkms").exists(), "dkms is not there");
    fs_err::write(place.path().join("usr/sbin/other"), "")?;
    make(&["uninstall"], &root)?;
    let left = run(command("find").args([&root, "-type", "f", "-printf", "%P\n"]), b"")?.ok()?;
    let left: Vec<&str> = left.lines().collect();
    ensure!(
        left == ["etc/dkms/framework.conf", "usr/sbin/other"] || left == ["usr/sbin/other", "etc/dkms/framework.conf"],
        "left: {left:?}"
    );
    let said = run(command("bash").arg(settings::project().join("packaging/installed.sh")), b"")?.ok()?;
    ensure!(
        said.contains("No hooks were installed")
            && said.lines().last().is_some_and(|line| line.starts_with("With hooks: ")),
        "{said}"
    );
    Ok(())
}

fn main() -> ExitCode {
    let bed = [Need::Bed, Need::Program("dpkg-source")];
    let long = [Need::Bed, Need::Program("dpkg-source"), Need::Long];
    Suite::new(&[])
        .case_needing(&bed, "debian", debian)
        .case_needing(&long, "debian_as_released", debian_as_released)
        .case_needing(&long, "rpm_new", || rpm(true))
        .case_needing(&long, "rpm_old", || rpm(false))
        .case_needing(&long, "arch", arch)
        .case_needing(&[Need::Ours], "install_and_uninstall", install_and_uninstall)
        .main()
}
