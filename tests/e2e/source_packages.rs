//! Our source packages, built as distributions build them: with their own tools and compilers, as an ordinary user, without
//! a network. What comes of it is judged by lintian, and tried.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::building;
use dkms_tests::needs::Need;
use dkms_tests::run::{command, run};
use dkms_tests::settings;
use dkms_tests::suite::Suite;

/// The oldest compiler that is promised is Debian 13's.
const OLDEST: &str = "1.85.";

/// What Debian's packages are made of is taken by the oldest compiler that is promised. Only looked at: `debian` builds it.
fn oldest_compiler() -> Result<()> {
    let bed = building::bed(&building::debian()?, &building::tarball()?, "build-debian.sh")?;
    let said =
        bed.ok("useradd --create-home builder; su builder -c 'tar -xf /srv/dist/dkms-rs-*.tar.xz -C /home/builder'
         unshare --net -- su builder -c 'cd /home/builder/dkms-rs-*; rustc --version
             cargo check --frozen --lib --bins -p dkms-core -p dkms-hooks-apt -p dkms-debhelper -p dkms-gen' 2>&1")?;
    ensure!(said.contains(&format!("rustc {OLDEST}")), "not with Rust {OLDEST}:\n{said}");
    Ok(())
}

/// Debian's source package builds with that compiler; the unit tests of the core and of
/// hooks-apt pass there; lintian has nothing against it, and the packages' own autopkgtest passes. Compiled for debugging:
/// `debian_as_released` does the same with what is shipped.
fn debian() -> Result<()> {
    let bed = building::bed(&building::debian()?, &building::source()?, "build-debian.sh")?;
    let said = bed.ok("bash /srv/build dev /home/builder/here builder 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    ensure!(said.contains(&format!("\nrustc {OLDEST}")), "not with Rust {OLDEST}:\n{said}");

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
        ("dkms", "usr/share/doc/dkms/contract."),
        ("dkms", "usr/share/doc/dkms/examples/hello/dkms.conf"),
        ("dh-dkms", "usr/share/perl5/Debian/Debhelper/Sequence/dkms.pm"),
    ] {
        bed.ok(&format!("dpkg-deb -c /srv/built/{package}_*.deb | grep -F ' ./{file}'"))?;
    }
    let made = bed.ok("dpkg-deb -c /srv/built/dkms_*.deb")?;
    ensure!(!made.contains("SUMMARY."), "what makes the website is installed:\n{made}");
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
    let said = bed.ok("bash /srv/build dev /home/one/rpm one --with mkpkg --with share 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    let names = bed.ok("cd /srv/built; rpm -qp --qf '%{NAME}.%{ARCH} %{SOURCERPM}\\n' *.rpm | sort")?;
    let wanted = ["dkms-dnf4.", "dkms-mkpkg.", "dkms-rs.", "dkms-share.", "dkms."];
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

    if new {
        // Compiled for debugging, programs are not stripped.
        let found = bed.sh(
            "cd /srv/built; rpmlint -r /srv/dist/dkms-rs.rpmlintrc /srv/dist/dkms-rs.spec *.rpm 2>&1 |
             grep -v unstripped-binary-or-object | tee /dev/stderr | grep -E '(: [EW]: | packages and 1 specfiles checked)'",
        )?;
        let lines: Vec<&str> = found.stdout.lines().collect();
        ensure!(lines.len() == 1 && lines[0].contains("5 packages"), "rpmlint:\n{}", found.stdout);
    }

    // Once more, in another place, by another user.
    let sums = "cd /srv/built; sha256sum $(ls *.rpm | grep -v 'src.rpm$')";
    let first = bed.ok(sums)?;
    bed.ok("BUILD_UMASK=077 bash /srv/build dev /srv/a/longer/place another --with mkpkg --with share --without check 2>&1")?;
    let second = bed.ok(sums)?;
    ensure!(first == second && first.lines().count() == 4, "not the same bytes:\n{first}\n{second}");
    Ok(())
}

/// The PKGBUILD, with a real makepkg.
fn arch() -> Result<()> {
    let bed = building::bed(&building::unstable()?, &building::source()?, "build-arch.sh")?;
    let said = bed.ok("bash /srv/build dev /home/one/arch one 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    ensure!(said.contains("Passed"), "the checksum was not looked at:\n{said}");
    let files = bed.ok("cd /srv/built; for p in *.pkg.tar.zst; do echo \"$p\"; bsdtar -tf $p; done")?;
    for file in [
        "usr/bin/dkms",
        "usr/lib/dkms/dkms-alpm",
        "usr/lib/dkms/dkms-alpm-preflight",
        "usr/lib/dkms/dkms-mkpkg",
        "usr/lib/dkms/dkms-share",
        "usr/share/libalpm/hooks/70-dkms-install.hook",
        "usr/share/doc/dkms/guide/start.",
        "usr/share/licenses/dkms/copyright",
        "usr/share/licenses/dkms-mkpkg/copyright",
        "usr/share/licenses/dkms-share/copyright",
    ] {
        ensure!(files.lines().any(|line| line.starts_with(file)), "no {file} in\n{files}");
    }
    ensure!(files.matches(".pkg.tar.zst").count() == 3, "not three packages:\n{files}");
    ensure!(
        !files.contains("SUMMARY.") && !files.contains("book.toml"),
        "what makes the website is installed:\n{files}"
    );

    // Once more, in another place, by another user. makepkg notes the place in the package; all else is the same.
    let sums = "cd /srv/built; for p in *.pkg.tar.zst; do mkdir /tmp/x; bsdtar -xf $p -C /tmp/x
        (cd /tmp/x; grep -vE '^(builddir|startdir) = ' .BUILDINFO >noted; mv noted .BUILDINFO; rm .MTREE
         find . -printf '%p %m %l\\n' | sort; find . -type f -exec sha256sum {} + | sort -k 2); bsdtar -tvf $p; rm -r /tmp/x; done";
    let first = bed.ok(sums)?;
    bed.ok("BUILD_UMASK=077 bash /srv/build dev /srv/a/longer/place another --nocheck 2>&1")?;
    let second = bed.ok(sums)?;
    ensure!(first == second, "not the same:\n{}", Difference(&first, &second));
    Ok(())
}

/// The lines of the one that the other has not.
struct Difference<'a>(&'a str, &'a str);

impl std::fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let without = |these: &str, those: &str| {
            let those: Vec<&str> = those.lines().collect();
            these.lines().filter(|line| !those.contains(line)).collect::<Vec<_>>().join("\n")
        };
        write!(f, "{}\n--\n{}", without(self.0, self.1), without(self.1, self.0))
    }
}

/// What `make deb` and `make rpm` pack is what the programs and the source are: not where, when and by whom they are packed, nor
/// with which modes a checkout was made.
fn packed_twice() -> Result<()> {
    let project = settings::project();
    let mut sums = Vec::new();
    for (place, user, umask, zone, day) in
        [("here", "65534", "022", "UTC", "2026-11-25"), ("another/place", "1", "077", "Pacific/Auckland", "2027-01-02")]
    {
        let keep = tempfile::tempdir()?;
        let top = keep.path().join(place);
        let target = top.join("target");
        fs_err::create_dir_all(&target)?;
        let project = project.display();
        let mut hand = String::new();
        for name in ["dkms", "dkms-apt", "dh_dkms", "dkms-rpm", "dkms-mkpkg", "dkms-share"] {
            if let Some(program) = settings::beside(name) {
                hand += &format!("cp '{}' target/\n", program.display());
            }
        }
        let script = format!(
            "set -eo pipefail; umask {umask}; cd '{top}'
             tar c -C '{project}' --exclude=./target --exclude=./.git --exclude=./vendor . | tar x --no-same-permissions
             cp -r '{project}'/target/man '{project}'/target/completions target/
             {hand}
             [ {umask} = 022 ] || chmod -R go= .
             find . -exec touch -h -d '{day} 12:00' {{}} +
             chmod 755 '{keep}'; find '{keep}' -type d -exec chmod 755 {{}} +; chown -R {user} '{top}'
             exec setpriv --reuid={user} --regid={user} --clear-groups env HOME=/nonexistent TZ={zone} \\
                 make --no-print-directory -j1 deb-now rpm-prebuilt 2>&1",
            top = top.display(),
            keep = keep.path().display(),
        );
        run(command("bash").args(["-c", &script]), b"")?.ok().with_context(|| format!("pack in {place}"))?;
        sums.push(
            run(
                command("sh").args(["-c", "cd \"$1\"/packages; sha256sum deb/*.deb rpm/*.rpm", "sh"]).arg(&target),
                b"",
            )?
            .ok()?,
        );
        // What is for everybody can be read by everybody.
        let modes = "cd \"$1\"/packages; for p in deb/*.deb; do dpkg-deb -c $p; done; rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\\n]' rpm/*.rpm";
        let modes = run(command("sh").args(["-ec", modes, "sh"]).arg(&target), b"")?.ok()?;
        let closed: Vec<&str> = modes.lines().filter(|line| line.get(7..8) == Some("-")).collect();
        ensure!(modes.lines().count() > 100 && closed.is_empty(), "only root reads\n{}", closed.join("\n"));
    }
    ensure!(sums[0] == sums[1] && sums[0].lines().count() >= 4, "not the same bytes:\n{}\n{}", sums[0], sums[1]);
    Ok(())
}

/// A pipeline of the Makefile's fails if any part of it does: `make dist` never packs what is not whole.
fn pipelines() -> Result<()> {
    let probe = |recipe: &str| {
        let rule = format!("probe:;@{recipe}");
        let mut make = command("make");
        make.args(["--no-print-directory", &format!("--eval={rule}"), "probe"]).current_dir(settings::project());
        run(&mut make, b"")
    };
    ensure!(probe("true | true")?.code == 0, "a pipeline fails");
    ensure!(probe("false | true")?.code != 0, "a pipeline whose first part fails does not");
    Ok(())
}

/// Debian's source package, cross-built for arm64 as buildds' bootstrappers do; the programs run in qemu's emulation of that
/// machine.
fn debian_for_arm64() -> Result<()> {
    let bed = building::bed(&building::debian()?, &building::source()?, "build-debian.sh")?;
    bed.ok("dpkg --add-architecture arm64; apt-get -q update
         apt-get -q -y install gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-dev:arm64 qemu-user >&2")?;
    bed.ok("BUILD_FOR=arm64 bash /srv/build dev /home/one/here one 2>&1")?;
    let said = bed.ok(
        "mkdir /tmp/x; cd /tmp/x; for deb in /srv/built/*_arm64.deb; do dpkg-deb -x $deb .; done
         [ $(ls /srv/built/*.deb | wc -l) = $(ls /srv/built/*_arm64.deb | wc -l) ]
         file -b usr/sbin/dkms usr/lib/dkms/dkms-apt usr/bin/dh_dkms
         qemu-aarch64 usr/sbin/dkms --version
         mkdir -p root/usr/src/hello-1.0; printf 'PACKAGE_NAME=hello\\nPACKAGE_VERSION=1.0\\nBUILT_MODULE_NAME=hello\\nDEST_MODULE_LOCATION=/extra\\n' >root/usr/src/hello-1.0/dkms.conf
         qemu-aarch64 usr/sbin/dkms --root $PWD/root add hello/1.0
         qemu-aarch64 usr/sbin/dkms --root $PWD/root status
         qemu-aarch64 usr/bin/dh_dkms --help | head -n 1",
    )?;
    ensure!(said.matches("ARM aarch64").count() == 3, "not for arm64:\n{said}");
    ensure!(said.contains("\ndkms-4.") && said.contains("hello/1.0: added"), "they say\n{said}");
    Ok(())
}

/// The same with what Debian unstable has: its compiler, debhelper and dpkg; with a Rust that is new enough for all packages.
fn debian_unstable() -> Result<()> {
    let bed = building::bed(&building::debian_unstable()?, &building::source()?, "build-debian.sh")?;
    let said = bed.ok("bash /srv/build dev /home/builder/here builder 2>&1")?;
    ensure!(said.matches("test result: ok.").count() >= 2 && !said.contains("FAILED"), "the unit tests say\n{said}");
    let tags = bed.sh("lintian --allow-root --fail-on error,warning /srv/dist/*.dsc /srv/built/*.changes 2>&1")?;
    ensure!(tags.code == 0, "lintian:\n{}", tags.stdout);
    let names = bed.ok("cd /srv/built; ls *.deb | cut -d_ -f1")?;
    ensure!(names.lines().eq(["dh-dkms", "dkms", "dkms-mkpkg", "dkms-share"]), "the packages are\n{names}");
    bed.ok("apt-get -q -y install /srv/built/*.deb >&2; dkms --version | grep -x dkms-4.*; dkms add /usr/share/doc/dkms/examples/hello >&2
         test -s \"$(dkms mkpkg hello/1.0 --format deb)\"; dkms remove hello/1.0 --all >&2; dkms share --help >&2; cd /root; autopkgtest --no-built-binaries /srv/built/*.deb /srv/dist/*.dsc -- null >&2")?;
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
        said.contains("without hooks")
            && said.lines().last().is_some_and(
                |line| line.starts_with("The package has the hooks; in its place: sudo make uninstall && make ")
            ),
        "{said}"
    );
    Ok(())
}

fn main() -> ExitCode {
    let bed = [Need::Bed, Need::Program("dpkg-source")];
    let long = [Need::Bed, Need::Program("dpkg-source"), Need::Long];
    Suite::new(&[])
        .case_needing(&bed, "oldest_compiler", oldest_compiler)
        .case_needing(&long, "debian", debian)
        .case_needing(&long, "debian_as_released", debian_as_released)
        .case_needing(&long, "rpm_new", || rpm(true))
        .case_needing(&long, "rpm_old", || rpm(false))
        .case_needing(&long, "arch", arch)
        .case_needing(&long, "debian_for_arm64", debian_for_arm64)
        .case_needing(&long, "debian_unstable", debian_unstable)
        .case_needing(
            &[Need::Ours, Need::Packages, Need::Rpms, Need::Program("setpriv"), Need::Bed],
            "packed_twice",
            packed_twice,
        )
        .case("pipelines", pipelines)
        .case_needing(&[Need::Ours], "install_and_uninstall", install_and_uninstall)
        .main()
}
