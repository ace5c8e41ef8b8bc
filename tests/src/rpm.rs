//! A Fedora of sorts in a Debian root: real rpm, dnf and zypper, kernels in Fedora's layout with its scriptlets, our own
//! package, and module packages as they are shipped.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::bed::{Base, Bed};
use crate::hello::{self, module};
use crate::run::{Outcome, command, run};
use crate::settings::{self, Subject};

/// The kernels in the repository, oldest first.
pub const KERNELS: [&str; 3] = ["7.2.13", "7.2.14", "7.2.15"];

/// The release of a kernel of [`KERNELS`].
pub fn release(version: &str) -> String {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    format!("{version}-100.fc99.{machine}")
}

/// Which package manager the root has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// dnf 5 and rpm 6.
    Dnf5,
    /// dnf 4, zypper and rpm 4.18.
    Old,
}

impl Kind {
    fn suite(self) -> &'static str {
        match self {
            Kind::Dnf5 => "sid",
            Kind::Old => "bookworm",
        }
    }

    fn packages(self) -> Vec<&'static str> {
        let mut packages = "rpm createrepo-c systemd gcc make kmod patch xz-utils zstd openssl gawk libc6-dev file"
            .split(' ')
            .collect::<Vec<_>>();
        packages.extend(match self {
            Kind::Dnf5 => {
                &["dnf5", "python3-minimal", "python3-libdnf5", "dnf5-server", "dbus-daemon", "dbus-bin", "polkitd"][..]
            }
            Kind::Old => &["dnf", "zypper"],
        });
        packages
    }

    /// The root: the kept one, or a new one (some three minutes).
    pub fn base(self) -> Result<Base> {
        let scripts = settings::project().join("tests/scripts");
        let mut hasher = DefaultHasher::new();
        for script in ["make-bed.sh", "make-kernel-tree.sh", "rpm-world.sh"] {
            fs_err::read_to_string(scripts.join(script))?.hash(&mut hasher);
        }
        self.packages().hash(&mut hasher);
        let name = format!("rpm-{}-{:08x}", self.suite(), hasher.finish() >> 32);
        let made = Base::kept(&settings::cache().join("beds"), &name, |new| {
            let mut make = command("bash");
            make.arg(scripts.join("make-bed.sh")).arg(self.suite()).arg(new).args(["1", "cloud"]);
            run(make.args(self.packages()), b"")?.ok()?;
            let mut inside = command(scripts.join("in-bed.sh"));
            run(inside.arg(new).args(["bash", "/mnt/rpm-world.sh"]).env("BED_BIND", &scripts), b"")?.ok()?;
            Ok(())
        })?;
        Ok(Base { root: made.root, kernels: KERNELS.iter().rev().map(|version| release(version)).collect() })
    }
}

/// One of the module packages, as rpm.
struct ModuleRpm {
    name: &'static str,
    version: &'static str,
    release: &'static str,
    fails: bool,
    /// With our macros; else with the scriptlets that shipped packages have.
    macros: bool,
    /// Passes --rpm_safe_upgrade, as most do; `remove --all` alone is what the others call.
    safe: bool,
}

const fn rpm(name: &'static str, version: &'static str, release: &'static str) -> ModuleRpm {
    ModuleRpm { name, version, release, fails: false, macros: false, safe: false }
}

const MODULES: &[ModuleRpm] = &[
    rpm("hello", "1.0", "1"),
    rpm("hello", "1.0", "2"),
    rpm("hello", "2.0", "1"),
    ModuleRpm { fails: true, ..rpm("hello", "3.0", "1") },
    ModuleRpm { macros: true, ..rpm("world", "1.0", "1") },
    ModuleRpm { macros: true, ..rpm("world", "2.0", "1") },
    ModuleRpm { macros: true, fails: true, ..rpm("world", "3.0", "1") },
    ModuleRpm { safe: true, ..rpm("careful", "1.0", "1") },
    ModuleRpm { safe: true, ..rpm("careful", "1.0", "2") },
    ModuleRpm { safe: true, ..rpm("careful", "2.0", "1") },
];

impl ModuleRpm {
    fn source(&self, to: &Path) -> Result<()> {
        // The release is part of the code: a package rebuilt with a fix brings another source under the same version.
        let marker = format!("MODULE_INFO(packaged, \"{}\");\n", self.release);
        let mut package = hello::package(self.name).version(self.version).module(module(self.name).code(&marker));
        if self.fails {
            package = package.that_fails();
        }
        package.build_in(to)?;
        Ok(())
    }

    fn spec(&self) -> String {
        let Self { name, version, release, .. } = self;
        let safe = if self.safe { " --rpm_safe_upgrade" } else { "" };
        let scripts = if self.macros {
            format!("%post\n%dkms_post {name} {version}\n%preun\n%dkms_preun {name} {version}\n")
        } else {
            format!(
                "%post
dkms add -m {name} -v {version} -q{safe} || :
dkms build -m {name} -v {version} -q -k ${{KVER:-$(ls /lib/modules | sort -V | tail -n 1)}} || :
dkms install -m {name} -v {version} -q --force -k ${{KVER:-$(ls /lib/modules | sort -V | tail -n 1)}} || :
%preun
dkms remove -m {name} -v {version} -q --all{safe} || :
"
            )
        };
        format!(
            "%global debug_package %{{nil}}
%global __os_install_post %{{nil}}
Name: {name}-dkms
Version: {version}
Release: {release}
Summary: A module package
License: GPL-2.0-only
BuildArch: noarch
AutoReqProv: no
Requires: dkms >= 2.1
%description
%{{summary}}.
%install
mkdir -p %{{buildroot}}/usr/src
cp -a /mnt/sources/{release}/{name}-{version} %{{buildroot}}/usr/src/
{scripts}%files
/usr/src/{name}-{version}
"
        )
    }
}

/// A vendor's kernel: the files of a kernel in the repository, in packages whose names and versions tell nothing of its
/// release, nor which of them has the headers.
const VENDOR: &str = r"%global debug_package %{nil}
%global __os_install_post %{nil}
%global __brp_mangle_shebangs %{nil}
%global _build_id_links none
%global K 7.2.15-100.fc99.%{_arch}
Name: vendor-linux
Version: 1
Release: 9
Summary: A vendor's kernel
License: GPL-2.0-only
AutoReqProv: no
Provides: installonlypkg(kernel)
%description
%{summary}.
%package extras
Summary: What builds modules for it
AutoReqProv: no
%description extras
%{summary}.
%install
cd %{buildroot}
for name in core modules devel; do rpm2archive - </srv/rpm/repo/%{_arch}/kernel-$name-%{K}.rpm | tar xz; done
%posttrans
kernel-install add %{K} /lib/modules/%{K}/vmlinuz || exit $?
%preun
kernel-install remove %{K} || exit $?
%files
/lib/modules/%{K}
%files extras
/usr/src/kernels/%{K}
";

/// Our package and the module packages, made once a run: directories of the host.
#[derive(Debug)]
struct Packages {
    _keep: TempDir,
    dir: PathBuf,
}

fn packages(kind: Kind, base: &Base) -> Result<&'static Path> {
    static MADE: OnceLock<Result<Packages, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make_packages(kind, base).map_err(|error| format!("{error:#}")));
    match made {
        Ok(packages) => Ok(&packages.dir),
        Err(error) => bail!("make the packages: {error}"),
    }
}

fn make_packages(kind: Kind, base: &Base) -> Result<Packages> {
    let Subject::Ours(program) = settings::subject() else { bail!("there is no program to try") };
    let hooks = program.with_file_name("dkms-rpm");
    if !hooks.is_file() {
        bail!("{} is missing: run `make release` or build dkms-hooks-dnf", hooks.display());
    }
    let keep = TempDir::new()?;
    let dir = keep.path().join("modules");
    fs_err::create_dir_all(&dir)?;
    // The spec is built where it will be used: by that rpm.
    let bed = Bed::classic(base)?;
    let project = settings::project();
    bed.copy_in(&project.join("hook-files"), "/work/hook-files")?;
    bed.copy_in(&project.join("packaging"), "/work/packaging")?;
    for file in ["Makefile", "Cargo.toml", "LICENSE", "README.md", "COMPATIBILITY.md", "CHANGELOG.md", "docs"] {
        bed.copy_in(&project.join(file), &format!("/work/{file}"))?;
    }
    bed.copy_in(&project.join("tests/scripts"), "/work/tests/scripts")?;
    bed.copy_in(&program, "/work/target/dkms")?;
    bed.copy_in(&hooks, "/work/target/dkms-rpm")?;
    for documents in ["man", "completions"] {
        let made = project.join("target").join(documents);
        if !made.is_dir() {
            bail!("{} is missing: run `make release`", made.display());
        }
        bed.copy_in(&made, &format!("/work/target/{documents}"))?;
    }
    let sitelib = match kind {
        Kind::Dnf5 => "/usr/lib/python3.99/site-packages",
        Kind::Old => "/usr/lib/python3/dist-packages",
    };
    bed.ok(&format!(
        "cd /work; strip -g target/dkms target/dkms-rpm; make -s rpm-prebuilt PYTHON_SITELIB={sitelib} \
         RPM_DEFINES=\"--define '_binary_payload w1.gzdio' --define '_rpmmacrodir /usr/lib/rpm/macros.d'\" >/tmp/log 2>&1 \
         || {{ cat /tmp/log >&2; exit 1; }}
         mkdir -p /mnt/out; cp target/packages/rpm/*.rpm /mnt/out/
         cp hook-files/rpm/usr/lib/rpm/macros.d/macros.dkms /usr/lib/rpm/macros.d/"
    ))?;
    for package in MODULES {
        let sources = bed.exchange().join("sources").join(package.release);
        fs_err::create_dir_all(&sources)?;
        package.source(&sources)?;
        let file = format!("{}-{}-{}.spec", package.name, package.version, package.release);
        fs_err::write(bed.exchange().join(&file), package.spec())?;
    }
    fs_err::write(bed.exchange().join("vendor-linux.spec"), VENDOR)?;
    bed.ok("cd /mnt; chown -R 0:0 sources; for spec in *.spec; do
            rpmbuild -bb --quiet --define '_topdir /tmp/build' --define '_rpmdir /mnt/out' \
                --define '_binary_payload w1.gzdio' \"$spec\" >/tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
        done
        mv out/*/*.rpm out/; rmdir out/*/; createrepo_c -q out")?;
    run(command("cp").arg("-a").arg(bed.exchange().join("out/.")).arg(&dir), b"")?.ok()?;
    Ok(Packages { _keep: keep, dir })
}

/// Such a root with our package installed.
#[derive(Debug)]
pub struct World {
    /// The root.
    pub bed: Bed,
    tool: &'static str,
}

/// dnf5, speaking to the local repositories only.
pub const DNF5: &str = "dnf5 -y --setopt=install_weak_deps=0 --releasever=99";
/// dnf4.
pub const DNF4: &str = "dnf -y --setopt=install_weak_deps=0 --releasever=99";
/// zypper.
pub const ZYPPER: &str = "zypper --non-interactive --no-gpg-checks";

impl World {
    /// A new one, for the package manager `tool` (one of the constants here).
    pub fn new(kind: Kind, tool: &'static str) -> Result<Self> {
        let world = Self::without_dkms(kind, tool)?;
        world.bed.ok("rpm -i --nosignature /srv/rpm/modules/dkms-4*.rpm 2>&1")?;
        Ok(world)
    }

    /// The same before anybody has installed our package.
    pub fn without_dkms(kind: Kind, tool: &'static str) -> Result<Self> {
        let base = kind.base()?;
        let packages = packages(kind, &base)?;
        let bed = Bed::classic(&base)?;
        bed.copy_in(packages, "/srv/rpm/modules")?;
        bed.ok(
            "sed 's,\\[bed\\],[modules],; s,name=bed,name=modules,; s,/repo$,/modules,' /etc/yum.repos.d/bed.repo \
                 >/etc/yum.repos.d/modules.repo
             cp /etc/yum.repos.d/modules.repo /etc/zypp/repos.d/
             rpm -i --nodeps --nosignature /srv/rpm/repo/noarch/base-shim-*.rpm
             mkdir -p /etc/dkms; : >/var/log/seen
             # A real initramfs is made when a module comes after its kernel; nobody boots it.
             [ ! -d /etc/dracut.conf.d ] || echo 'compress=\"cat\"' >/etc/dracut.conf.d/bed.conf",
        )?;
        Ok(Self { bed, tool })
    }

    /// Runs the package manager: `do("install hello-dkms")`.
    pub fn run(&self, words: &str) -> Result<Outcome> {
        self.bed.sh(&format!("{} {words}", self.tool))
    }

    /// The same, which has to succeed; gives both streams.
    pub fn ok(&self, words: &str) -> Result<String> {
        let outcome = self.run(words)?;
        if outcome.code != 0 {
            bail!("{} {words}: exit code {}\n{}", self.tool, outcome.code, outcome.tail());
        }
        Ok(format!("{}\n{}", outcome.stdout, outcome.stderr))
    }

    /// Fails unless the transaction is stopped by us, with this reason, and has touched nothing.
    pub fn stopped(&self, words: &str, reason: &str) -> Result<()> {
        let announced = match self.tool {
            DNF5 => "Action calls for stop: dkms: ",
            DNF4 => "Error: dkms: ",
            other => bail!("{other} is stopped by nothing of ours"),
        };
        self.seen()?;
        let outcome = self.run(words)?;
        if outcome.code == 0 {
            bail!("{words} was not stopped: {}", outcome.tail());
        }
        for text in [announced, reason] {
            if !outcome.stderr.contains(text) {
                bail!("{words}: no {text:?}: {}", outcome.tail());
            }
        }
        if !self.seen()?.is_empty() {
            bail!("{words}: a scriptlet ran");
        }
        Ok(())
    }

    /// Where there is no room for builds of these kernels: that is reported, as the guess that it is, and stops the
    /// transaction by no policy.
    pub fn expect_word_of_little_room(&self, [first, second]: [&str; 2]) -> Result<()> {
        // 8 MiB are too few for any build.
        for (policy, version) in [("fail", first), ("warn", second)] {
            let outcome = self.bed.sh(&format!(
                "echo policy={policy} >/etc/dkms/framework.conf; cp -a /var/lib/dkms /srv/kept
                 mount -t tmpfs -o size=8m tmpfs /var/lib/dkms; cp -a /srv/kept/. /var/lib/dkms/; rm -rf /srv/kept
                 {} install {}",
                self.tool,
                Self::kernel(version, true)
            ))?;
            let room = "dkms: /var/lib/dkms has 7 MiB free, and building modules takes about 16 MiB";
            let failed = policy == "warn" && outcome.code != 0;
            if failed || !outcome.stderr.contains(room) || outcome.stderr.contains("stopped by") {
                bail!("policy {policy}: exit code {}: {}", outcome.code, outcome.tail());
            }
            self.bed.ok(&format!("test -e /lib/modules/{}/vmlinuz", release(version)))?;
        }
        Ok(())
    }

    /// The words that name a kernel's packages; with its headers if `devel`.
    pub fn kernel(version: &str, devel: bool) -> String {
        let names: &[&str] = if devel { &["core", "modules", "devel"] } else { &["core", "modules"] };
        names.iter().map(|name| format!("kernel-{name}-{version} ")).collect()
    }

    /// A kernel as messages call it: its release and, in brackets, its architecture.
    pub fn named(&self, version: &str) -> String {
        format!("{} ({})", release(version), rustix::system::uname().machine().to_string_lossy())
    }

    /// `dkms status`, a line each.
    pub fn status(&self) -> Result<Vec<String>> {
        Ok(self.bed.ok("dkms status")?.lines().map(str::to_owned).collect())
    }

    /// Fails unless `dkms status` prints exactly `lines`; `{13}` stands for the kernel 7.2.13's release and
    /// architecture.
    pub fn expect_status(&self, lines: &[&str]) -> Result<()> {
        let expected: Vec<String> = lines.iter().map(|line| fill(line)).collect();
        let found = self.status()?;
        if found != expected {
            bail!("dkms status: {found:#?}\ninstead of {expected:#?}");
        }
        Ok(())
    }

    /// Fails unless these modules, and no others of ours, lie in the kernel's tree, and depmod knows them.
    pub fn expect_modules(&self, version: &str, modules: &[&str]) -> Result<()> {
        let release = release(version);
        let found = self.bed.ok(&format!(
            "cd /lib/modules/{release} 2>/dev/null || exit 0
             find extra updates -name '*.ko*' 2>/dev/null | sed 's,.*/,,; s,\\.ko.*,,' | sort"
        ))?;
        let found: Vec<&str> = found.lines().collect();
        if found != modules {
            bail!("kernel {release} has the modules {found:?} instead of {modules:?}");
        }
        for module in modules {
            self.bed.ok(&format!("modinfo -k {release} -F vermagic {module} | grep -q '^{release} '"))?;
        }
        Ok(())
    }

    /// Fails unless nothing is left of a kernel.
    pub fn expect_gone(&self, version: &str) -> Result<()> {
        let release = release(version);
        let left = self.bed.ok(&format!(
            "ls -d /lib/modules/{release} /var/lib/dkms/*/*/{release} /var/lib/dkms/*/kernel-{release}-* /usr/src/kernels/{release} \
                 2>/dev/null || true; find /lib/modules/{release} 2>/dev/null || true"
        ))?;
        if !left.is_empty() {
            bail!("left of kernel {release}:\n{left}");
        }
        Ok(())
    }

    /// What kernel-install's other plugins and the kernels' scriptlets saw since the last call.
    pub fn seen(&self) -> Result<String> {
        self.bed.ok("cat /var/log/seen; : >/var/log/seen")
    }

    /// Fails unless both plugins were told, by what [`World::seen`] gave, that the kernel goes.
    pub fn check_initramfs_gone(seen: &str, version: &str) -> Result<()> {
        for plugin in ["50-dracut", "90-loaderentry"] {
            let line = format!("{plugin} remove {} modules:", release(version));
            if !seen.lines().any(|seen| seen.trim_end() == line) {
                bail!("not seen: {line:?}; but\n{seen}");
            }
        }
        Ok(())
    }

    /// Fails unless both plugins that make initramfs and boot entry ran for the kernel, and saw these modules.
    pub fn expect_initramfs(&self, version: &str, modules: &[&str]) -> Result<()> {
        Self::check_initramfs(&self.seen()?, version, modules)
    }

    /// The same of what [`World::seen`] gave.
    pub fn check_initramfs(seen: &str, version: &str, modules: &[&str]) -> Result<()> {
        for plugin in ["50-dracut", "90-loaderentry"] {
            let line = format!("{plugin} add {} modules: {}", release(version), modules.join(" "));
            if !seen.lines().any(|seen| seen.trim_end() == line.trim_end()) {
                bail!("not seen: {line:?}; but\n{seen}");
            }
        }
        Ok(())
    }
}

/// Puts release and architecture in: `hello/1.0, {13}: installed`; the release alone for `[13]`.
pub fn fill(line: &str) -> String {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    KERNELS.iter().fold(line.to_owned(), |line, version| {
        let minor = version.rsplit('.').next().unwrap_or_default();
        line.replace(&format!("{{{minor}}}"), &format!("{}, {machine}", release(version)))
            .replace(&format!("[{minor}]"), &release(version))
    })
}
