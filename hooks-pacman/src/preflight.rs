//! What comes with a transaction, for the core's judgement: kernels, headers and module packages. The package manager is
//! asked through [`Packages`].

use dkms_core::context::Context;
use dkms_core::names::{Package, Release};
use dkms_core::preflight::{self, Incoming, Kernel};

use crate::sources;
use crate::targets::Targets;

/// The package that holds the headers of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// Its name.
    pub package: String,
    /// The version of it that is installed.
    pub installed: Option<String>,
}

/// What only the package manager knows.
pub trait Packages {
    /// Which package holds the headers of the incoming kernel `release`.
    fn headers(&self, release: &Release) -> Option<Headers>;
}

/// What comes with `targets`, the paths of a transaction's installs and upgrades.
pub fn incoming(ctx: &Context, targets: &Targets, packages: &dyn Packages) -> Incoming {
    let registered = sources::registered(&ctx.trees);
    // What is in the source tree and not registered yet is registered after the transaction, as what comes is.
    let known = |directory: &str| registered.iter().any(|(known, _)| known == directory);
    let unknown = sources::on_disk(&ctx.trees).into_iter().filter(|directory| !known(directory));
    let names = || registered.iter().map(|(_, package)| package.name.as_str());
    Incoming {
        kernels: targets
            .kernels
            .iter()
            .map(|release| Kernel { release: release.clone(), headers: mend(packages.headers(release)) })
            .collect(),
        headers: targets.headers.clone(),
        packages: preflight::Packages {
            sources: targets
                .sources
                .iter()
                .cloned()
                .chain(unknown)
                .filter_map(|directory| Package::of_directory(&directory, names()))
                .collect(),
            ..preflight::Packages::default()
        },
        by_hand: true,
        ..Incoming::default()
    }
}

/// What brings the headers that do not come.
fn mend(headers: Option<Headers>) -> Option<String> {
    let Headers { package, installed } = headers?;
    Some(match installed {
        None => format!("pacman -S {package}"),
        Some(version) => format!(
            "{package} {version} is installed, which is for another kernel; upgrade both: pacman -Syu {package}"
        ),
    })
}

/// Which of `names` (packages that hold a kernel) may hold the kernel `release`, given their versions: Arch writes
/// `6.12.9.arch1-1` for the kernel `6.12.9-arch1-1`, and adds the flavour of all others (`6.12.9-1-lts`). The one that
/// explains most of the release comes first.
pub fn holders<'a>(release: &Release, packages: &'a [(String, String)]) -> Vec<&'a str> {
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let wanted = letters(release.as_str());
    // False comes first: an exact match.
    let mut found: Vec<(bool, &str)> = packages
        .iter()
        .filter_map(|(name, version)| {
            // An epoch is not part of the kernel's release.
            let version = letters(version.rsplit_once(':').map_or(version.as_str(), |(_, version)| version));
            let rest = wanted.strip_prefix(&version)?;
            let flavour = letters(name.strip_prefix("linux").unwrap_or(name));
            (rest == flavour || rest.is_empty() || flavour.is_empty()).then_some((rest != flavour, name.as_str()))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        Release::new(text).unwrap()
    }

    use crate::preflight_table as table;

    struct Known(Option<Headers>);

    impl Packages for Known {
        fn headers(&self, _: &Release) -> Option<Headers> {
            self.0.clone()
        }
    }

    #[test]
    fn the_table_that_is_published() {
        table::walk(&|ctx, with_headers| {
            let headers = format!("usr/lib/modules/{}/build/include/\n", table::RELEASE);
            let kernel = format!("usr/lib/modules/{}/vmlinuz\n", table::RELEASE);
            let targets = Targets::parse(&[kernel, if with_headers { headers } else { String::new() }].concat());
            incoming(ctx, &targets, &Known(None))
        });
    }

    #[test]
    fn what_comes_is_named_by_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = table::system(dir.path(), "wanted", "");
        fs_err::create_dir_all(ctx.trees.outer("/usr/src/other-3")).unwrap();
        fs_err::write(ctx.trees.outer("/usr/src/other-3/dkms.conf"), "").unwrap();
        let targets = Targets::parse("usr/src/zfs-2.0-1/dkms.conf\nusr/src/my-hello-1/dkms.conf\n");
        let found = incoming(&ctx, &targets, &Known(None)).packages.sources;
        let names: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["my-hello/1", "other/3", "zfs/2.0-1"]);
    }

    #[test]
    fn the_command_is_named() {
        let headers = |installed: Option<&str>| {
            mend(Some(Headers { package: "linux-lts-headers".into(), installed: installed.map(str::to_owned) }))
                .unwrap()
        };
        assert_eq!(headers(None), "pacman -S linux-lts-headers");
        assert!(headers(Some("6.0-1")).contains("6.0-1 is installed"));
        assert_eq!(mend(None), None);
    }

    #[test]
    fn kernels_and_their_packages() {
        let packages: Vec<(String, String)> = [
            ("linux", "7.2.14.arch1-1"),
            ("linux-lts", "6.12.95-1"),
            ("linux-zen", "7.2.14.zen1-1"),
            ("linux-hardened", "7.2.13.hardened1-1"),
            ("linux-git", "1:7.2.14.arch1-1"),
        ]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .into();
        for (kernel, names) in [
            ("7.2.14-arch1-1", &["linux", "linux-git"][..]),
            ("6.12.95-1-lts", &["linux-lts"]),
            ("7.2.14-zen1-1-zen", &["linux-zen"]),
            ("7.2.13-hardened1-1-hardened", &["linux-hardened"]),
            ("5.10.1-1", &[]),
        ] {
            assert_eq!(holders(&release(kernel), &packages), names, "{kernel}");
        }
    }
}
