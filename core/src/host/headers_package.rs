//! Which package brings the headers of a kernel, said to a person.

use std::path::{Path, PathBuf};

use crate::durable;
use crate::host::Distribution;
use crate::kernel::installed::{self, Presence};
use crate::names::{Release, nearest};
use crate::tree::Trees;

/// What to do about missing headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The package, if this distribution has one with a name that is known.
    pub package: Option<String>,
    /// The command to type, if there is one.
    pub command: Option<String>,
    /// One sentence that says both, without a full stop at its end.
    pub text: String,
}

impl Advice {
    fn install(package: String, before: &str) -> Self {
        let command = format!("{before} {package}");
        Self {
            text: format!("install the package {package}: {command}"),
            package: Some(package),
            command: Some(command),
        }
    }

    fn words(text: &str) -> Self {
        Self { package: None, command: None, text: text.to_owned() }
    }
}

/// The advice for kernel `release`. Runs nothing and asks no package manager: it goes by how each distribution names its
/// packages, and by where the kernel's own link to its headers leads.
pub fn advise(distribution: &Distribution, release: &Release, trees: &Trees) -> Advice {
    let k = release.as_str();
    let modules_dir = &trees.modules_dir(release);
    let build = trees.install.inside.join(release).join("build");
    if let Some(target) = built_in(trees, modules_dir) {
        return Advice::words(&format!(
            "put the tree that this kernel was built in back: {} is a link to {}, which does not exist",
            build.display(),
            target.display()
        ));
    }
    if k.to_ascii_lowercase().contains("microsoft") {
        return Advice::words(&format!(
            "build the kernel's own source of this version (WSL's kernels have no headers package), run 'make modules_prepare' \
             in it, and make {} a link to it",
            build.display()
        ));
    }
    let by_dpkg = distribution.is_like(&["debian", "ubuntu"]);
    if by_dpkg && modules_dir.is_dir() && is_nobodys(trees, k) {
        return Advice::words(&format!(
            "make {} a link to the tree that this kernel was built in, where 'make modules_prepare' has been run: no \
             package brought this kernel, so none has its headers",
            build.display()
        ));
    }
    if by_dpkg {
        return Advice::install(format!("linux-headers-{k}"), "apt install");
    }
    if distribution.is_like(&["fedora", "centos", "rhel"]) {
        return Advice::install(fedora(k), "dnf install");
    }
    if distribution.is_like(&["sles", "suse", "opensuse"]) {
        return suse(k);
    }
    if distribution.is_like(&["arch"]) {
        let base = pkgbase(modules_dir).unwrap_or_else(|| arch_base(k).to_owned());
        return Advice::install(format!("{base}-headers"), "pacman -S");
    }
    match distribution.id.as_str() {
        "alpine" => {
            // `6.12.9-0-lts`: the flavour is the last word.
            let flavour = k.rsplit('-').next().unwrap_or("lts");
            Advice::install(format!("linux-{flavour}-dev"), "apk add")
        }
        "void" => {
            // `6.12.9_1`: one package per series.
            let series: Vec<&str> = k.splitn(3, '.').take(2).collect();
            Advice::install(format!("linux{}-headers", series.join(".")), "xbps-install")
        }
        "gentoo" => Advice::words(
            "keep the kernel's build tree: emerge the kernel (sys-kernel/gentoo-kernel or \
             gentoo-kernel-bin) again, or run 'make modules_prepare' in the sources it was \
             configured from",
        ),
        _ => Advice::words("install your distribution's kernel headers package for exactly this kernel"),
    }
}

/// What to do about the headers that `release` lacks in `trees`, as [`advise`] says; of a kernel that is not there at all,
/// that, and which are.
pub fn missing(distribution: &Distribution, trees: &Trees, release: &Release) -> String {
    let dir = trees.modules_dir(release);
    if dir.exists() {
        return advise(distribution, release, trees).text;
    }
    let found = installed::scan(trees, &|_, _| false).unwrap_or_default();
    let there: Vec<&str> = found
        .iter()
        .filter(|found| found.presence == Presence::Installed)
        .map(|found| found.release.as_str())
        .collect();
    let meant = nearest(release.as_str(), there.iter().copied());
    let meant = meant.map(|meant| format!(": did you mean {meant}?")).unwrap_or_default();
    format!("no kernel {release} is installed here{meant} (installed: {})", there.join(", "))
}

/// The command that has the headers of all later kernels of this kind come with them, where the distribution has a package
/// for that and the kernel is one of its own.
pub fn lasting(distribution: &Distribution, release: &Release) -> Option<String> {
    let k = release.as_str();
    if distribution.is_like(&["debian", "ubuntu"]) {
        return Some(format!("apt install linux-headers-{}", debian_flavour(k)?));
    }
    if distribution.is_like(&["fedora", "centos", "rhel"]) {
        return (!k.contains('+')).then(|| "dnf install kernel-devel-matched".to_owned());
    }
    if distribution.is_like(&["sles", "suse", "opensuse"]) {
        return Some(format!("zypper install kernel-{}-devel", k.rsplit_once('-')?.1));
    }
    None
}

/// `cloud-amd64` of `6.12.9+deb13-cloud-amd64`, `generic` of `6.8.0-31-generic`: the last words of linux-headers-…, which
/// depends on those of the newest kernel. `None` of a kernel that is not built as a package of Debian or Ubuntu is.
fn debian_flavour(k: &str) -> Option<&str> {
    /// What Debian's kernels end in that have neither an ABI's number nor a suite's mark.
    const ARCHITECTURES: [&str; 8] = ["amd64", "arm64", "686", "armmp", "powerpc64le", "s390x", "riscv64", "loong64"];
    let (version, mut rest) = k.split_once('-')?;
    let mut ours = version.contains('+');
    while let Some((word, more)) = rest.split_once('-') {
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        let is_candidate = word.strip_prefix("rc").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_number && !is_candidate {
            break;
        }
        ours |= is_number;
        rest = more;
    }
    ours |= ARCHITECTURES.contains(&rest.rsplit('-').next()?);
    ours.then_some(rest)
}

/// Where a kernel's link to its headers leads, if nothing is there and no package puts its headers there.
fn built_in(trees: &Trees, modules_dir: &Path) -> Option<PathBuf> {
    let target = std::fs::read_link(modules_dir.join("build")).ok()?;
    // Relative ones, too, are packages'.
    let of_packages =
        ["/usr/src", "/usr/lib", "/lib"].iter().any(|dir| target.starts_with(dir)) || target.is_relative();
    (!of_packages && !trees.outer(&target).exists()).then_some(target)
}

/// Whether dpkg has installed no package of a kernel of this release. To be asked only where dpkg is the package manager: other
/// distributions have it as a tool, with a list of what it unpacked and no kernel in it.
fn is_nobodys(trees: &Trees, release: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(trees.outer("/var/lib/dpkg/info")) else { return false };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut lists = names.filter(|name| name.ends_with(".list")).peekable();
    let is_of_this = |name: &String| name.contains(&format!("-{release}")) && !name.contains("-headers-");
    lists.peek().is_some() && !lists.any(|name| is_of_this(&name))
}

/// The name of the kernel package that mkinitcpio and Arch's packages keep beside the modules.
pub fn pkgbase(modules_dir: &Path) -> Option<String> {
    let text = durable::text(&modules_dir.join("pkgbase")).ok()?;
    let base = text.trim();
    (!base.is_empty()).then(|| base.to_owned())
}

/// `kernel-devel-<V>`; a variant stands behind `+` in the release and within the name of the
/// package: `6.12.9-1.el10.x86_64+rt` is kernel-rt's.
fn fedora(k: &str) -> String {
    if let Some((plain, variant)) = k.split_once('+') {
        let variant = variant.replace('+', "-");
        return format!("kernel-{variant}-devel-{plain}");
    }
    // Oracle's kernel on the same base.
    if k.contains("uek.") {
        return format!("kernel-uek-devel-{k}");
    }
    // EL7-9's real-time kernels have `.rt` in the release proper.
    if k.contains(".rt") {
        return format!("kernel-rt-devel-{k}");
    }
    format!("kernel-devel-{k}")
}

/// `kernel-<flavour>-devel=<version>`. The package's release has one part more than the kernel's
/// (`6.4.0-150600.21-default` comes from `kernel-default-6.4.0-150600.21.1`), so any build fits.
fn suse(k: &str) -> Advice {
    let Some((version, flavour)) = k.rsplit_once('-') else {
        return Advice::words("install the kernel-…-devel package of exactly this kernel");
    };
    let package = format!("kernel-{flavour}-devel");
    let command = format!("zypper install '{package}={version}'");
    Advice {
        text: format!("install the package {package}, version {version}: {command}"),
        package: Some(package),
        command: Some(command),
    }
}

/// The package whose kernel bears this release, for want of a `pkgbase` file.
fn arch_base(k: &str) -> &'static str {
    [
        ("-lts", "linux-lts"),
        ("-zen", "linux-zen"),
        ("-hardened", "linux-hardened"),
        ("-rt-lts", "linux-rt-lts"),
        ("-rt", "linux-rt"),
    ]
    .iter()
    .find(|(mark, _)| k.contains(mark))
    .map_or("linux", |(_, base)| base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    /// Kernels whose headers no archive has.
    #[test]
    fn no_package_is_advised_where_none_can_help() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let debian = Distribution::parse("ID=debian");
        let (packaged, own) = (Release::new("6.12.9-amd64").unwrap(), Release::new("6.18.1-mine").unwrap());
        let text = |release: &Release| advise(&debian, release, &trees).text;
        for release in [&packaged, &own] {
            fs_err::create_dir_all(trees.modules_dir(release)).unwrap();
            assert!(text(release).contains("apt install"), "nobody knows whose it is");
        }
        let info = tmp.path().join("var/lib/dpkg/info");
        fs_err::create_dir_all(&info).unwrap();
        for name in ["linux-image-6.12.9-amd64.list", "linux-headers-6.18.1-mine.list", "dkms.list"] {
            fs_err::write(info.join(name), "").unwrap();
        }
        assert!(text(&packaged).contains("apt install linux-headers-6.12.9-amd64"));
        assert!(text(&own).contains("no package brought this kernel"));
        // One that is not installed may be installed with its headers.
        assert!(text(&Release::new("6.99").unwrap()).contains("apt install"));
        assert!(text(&Release::new("6.6.87.2-microsoft-standard-WSL2").unwrap()).contains("WSL"));
        let link = trees.modules_dir(&packaged).join("build");
        for (target, package) in [("/usr/src/linux-headers-6.12.9-amd64", true), ("/home/builder/linux", false)] {
            let _ = fs_err::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert_eq!(text(&packaged).contains("apt install"), package, "{target}");
            assert_eq!(text(&packaged).contains(target), !package, "{target}");
        }
    }

    /// Arch, Fedora and openSUSE package dpkg, too: what it knows there says nothing of their kernels.
    #[test]
    fn a_foreign_package_manager_is_not_asked() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let info = tmp.path().join("var/lib/dpkg/info");
        fs_err::create_dir_all(&info).unwrap();
        fs_err::write(info.join("something.list"), "").unwrap();
        for (os, release, command) in [
            ("ID=arch", "6.12.9-arch1-1", "pacman -S linux-headers"),
            ("ID=x\nID_LIKE=arch", "6.12.9-1-lts", "pacman -S linux-lts-headers"),
            ("ID=fedora", "6.12.9-200.fc41.x86_64", "dnf install kernel-devel-6.12.9-200.fc41.x86_64"),
            ("ID=x\nID_LIKE=\"opensuse suse\"", "6.12.9-1-default", "zypper install 'kernel-default-devel=6.12.9-1'"),
            ("ID=alpine", "6.12.9-0-virt", "apk add linux-virt-dev"),
        ] {
            let release = Release::new(release).unwrap();
            fs_err::create_dir_all(trees.modules_dir(&release)).unwrap();
            let advice = advise(&Distribution::parse(os), &release, &trees);
            assert_eq!(advice.command.as_deref(), Some(command), "{os}: {}", advice.text);
        }
    }

    #[test]
    fn a_kernel_that_is_not_there() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for release in ["6.12.9-amd64", "6.1.0-9-amd64"] {
            let dir = trees.modules_dir(&Release::new(release).unwrap());
            fs_err::create_dir_all(&dir).unwrap();
            fs_err::write(dir.join("modules.order"), "").unwrap();
        }
        let advice_for =
            |release: &str| missing(&Distribution::parse("ID=debian"), &trees, &Release::new(release).unwrap());
        let there = "(installed: 6.12.9-amd64, 6.1.0-9-amd64)";
        let slip = format!("no kernel 6.12.9-amd46 is installed here: did you mean 6.12.9-amd64? {there}");
        assert_eq!(advice_for("6.12.9-amd46"), slip);
        assert_eq!(advice_for("nonsense"), format!("no kernel nonsense is installed here {there}"));
        assert!(advice_for("6.12.9-amd64").contains("apt install linux-headers-6.12.9-amd64"));
    }

    #[test]
    fn what_keeps_headers_coming() {
        for (os, release, command) in [
            ("ID=debian", "6.12.118+deb13-cloud-amd64", Some("apt install linux-headers-cloud-amd64")),
            ("ID=debian", "6.1.0-9-amd64", Some("apt install linux-headers-amd64")),
            ("ID=debian", "6.12-rc6-amd64", Some("apt install linux-headers-amd64")),
            ("ID=debian", "6.12.9-rt-amd64", Some("apt install linux-headers-rt-amd64")),
            ("ID=ubuntu", "6.8.0-31-generic", Some("apt install linux-headers-generic")),
            // Nobody has a package for those.
            ("ID=debian", "6.18.44-custom", None),
            ("ID=debian", "6.6.87.2-microsoft-standard-WSL2", None),
            ("ID=debian", "6.18.44", None),
            ("ID=fedora", "6.12.9-200.fc41.x86_64", Some("dnf install kernel-devel-matched")),
            ("ID=fedora", "6.12.9-200.fc41.x86_64+debug", None),
            ("ID=x\nID_LIKE=\"opensuse suse\"", "6.12.9-1-default", Some("zypper install kernel-default-devel")),
            ("ID=arch", "6.12.9-arch1-1", None),
        ] {
            let found = lasting(&Distribution::parse(os), &Release::new(release).unwrap());
            assert_eq!(found.as_deref(), command, "{release}");
        }
    }

    #[test]
    fn commands() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for (os, release, command) in [
            ("ID=debian", "6.1.0-9-amd64", "apt install linux-headers-6.1.0-9-amd64"),
            ("ID=ubuntu", "6.8.0-31-generic", "apt install linux-headers-6.8.0-31-generic"),
            ("ID=raspbian\nID_LIKE=debian", "6.6.20+rpt-rpi-v8", "apt install linux-headers-6.6.20+rpt-rpi-v8"),
            ("ID=fedora", "6.12.9-200.fc41.x86_64", "dnf install kernel-devel-6.12.9-200.fc41.x86_64"),
            ("ID=fedora", "6.12.9-200.fc41.x86_64+debug", "dnf install kernel-debug-devel-6.12.9-200.fc41.x86_64"),
            (
                "ID=rhel\nID_LIKE=fedora",
                "6.12.0-55.el10.x86_64+rt",
                "dnf install kernel-rt-devel-6.12.0-55.el10.x86_64",
            ),
            (
                "ID=fedora",
                "6.12.9-200.fc41.aarch64+64k+debug",
                "dnf install kernel-64k-debug-devel-6.12.9-200.fc41.aarch64",
            ),
            ("ID=ol\nID_LIKE=fedora", "5.15.0-1.el9uek.x86_64", "dnf install kernel-uek-devel-5.15.0-1.el9uek.x86_64"),
            ("ID=x\nID_LIKE=\"opensuse suse\"", "6.12.9-1-default", "zypper install 'kernel-default-devel=6.12.9-1'"),
            ("ID=arch", "6.12.9-arch1-1", "pacman -S linux-headers"),
            ("ID=arch", "6.12.9-1-lts", "pacman -S linux-lts-headers"),
            ("ID=alpine", "6.12.9-0-virt", "apk add linux-virt-dev"),
            ("ID=void", "6.12.9_1", "xbps-install linux6.12-headers"),
        ] {
            let release = Release::new(release).unwrap();
            let advice = advise(&Distribution::parse(os), &release, &trees);
            assert_eq!(advice.command.as_deref(), Some(command), "{os}");
            assert!(advice.text.contains(command));
        }
        for os in ["ID=gentoo", "ID=plan9"] {
            let release = Release::new("6.1").unwrap();
            let advice = advise(&Distribution::parse(os), &release, &trees);
            assert_eq!(advice.command, None);
            assert!(!advice.text.is_empty());
        }
        let release = Release::new("6.12.9-1-tkg").unwrap();
        fs_err::create_dir_all(trees.modules_dir(&release)).unwrap();
        fs_err::write(trees.modules_dir(&release).join("pkgbase"), "linux-tkg\n").unwrap();
        let advice = advise(&Distribution::parse("ID=arch"), &release, &trees);
        assert_eq!(advice.package.as_deref(), Some("linux-tkg-headers"));
    }
}
