//! What can be foreseen before a transaction: kernels that come without headers, and modules that are known not to
//! build for a kernel that comes. Deciding only; the packages are asked through [`Packages`].

use std::collections::BTreeSet;

use dkms_core::conf::framework::Policy;
use dkms_core::error::Error;
use dkms_core::names::{Arch, Kernel, Release};
use dkms_core::run::Session;
use dkms_core::tree::record::{Outcome, Record};
use dkms_core::tree::walk::Source;

use crate::localdb::LocalDb;
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

/// Something foreseen, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub text: String,
    /// It would leave the kernel without a module that is wanted: policy `fail` refuses the transaction.
    pub grave: bool,
}

/// Looks ahead at a transaction that brings `targets`.
pub fn foresee(session: &Session<'_>, targets: &Targets, packages: &dyn Packages) -> Result<Vec<Warning>, Error> {
    let ctx = session.ctx;
    let mut warnings = Vec::new();
    let there = sources::on_disk(&ctx.trees);
    if there.is_empty() && targets.sources.is_empty() {
        return Ok(warnings);
    }
    for release in without_headers(targets, &|release| ctx.trees.modules_dir(release).join("build/include").is_dir()) {
        warnings.push(Warning { text: missing(&release, packages.headers(&release).as_ref()), grave: true });
    }
    let db = LocalDb::of(&ctx.trees.root);
    for release in &targets.kernels {
        let arch = Arch::new(ctx.distribution.arch_label(release, &ctx.machine.name))?;
        let kernel = Kernel { release: release.clone(), arch };
        for (directory, entry) in sources::registered(&ctx.trees) {
            // What the transaction brings anew may build; what serves no kernel is missed by nobody.
            let serves = entry.built.iter().any(|built| built.installed);
            if entry.source != Source::Added || sources::replaces(&targets.sources, &entry.package) {
                continue;
            }
            let from = db.owner(&format!("usr/src/{directory}/dkms.conf"), "dkms");
            let from = from.map_or(String::new(), |owner| format!(" (package {} {})", owner.name, owner.version));
            let why = match Record::load(&ctx.trees, &entry.package, &kernel) {
                Ok(Some(Record { outcome: Outcome::Failed { step, diagnostic, .. }, .. })) => Some(format!(
                    "failed for it before, in step {step}{}",
                    diagnostic.map_or(String::new(), |d| format!(": {d}"))
                )),
                _ if serves => excluded(session, &entry.package, &kernel),
                _ => None,
            };
            if let Some(why) = why {
                let text = format!("{}{from} is not expected to work with kernel {release}: {why}", entry.package);
                warnings.push(Warning { text, grave: true });
            }
        }
    }
    Ok(warnings)
}

/// The kernels that come, or are there and come anew, without headers on disk or in the transaction.
fn without_headers(targets: &Targets, on_disk: &dyn Fn(&Release) -> bool) -> BTreeSet<Release> {
    targets.kernels.difference(&targets.headers).filter(|release| !on_disk(release)).cloned().collect()
}

fn missing(release: &Release, headers: Option<&Headers>) -> String {
    let start = format!("kernel {release} comes without its headers, so no module can be built for it");
    match headers {
        Some(Headers { package, installed: None }) => format!("{start}: pacman -S {package}"),
        Some(Headers { package, installed: Some(version) }) => {
            format!(
                "{start}: {package} {version} is installed, which is for another kernel; upgrade both: pacman -Syu {package}"
            )
        }
        None => format!("{start}: install the headers package of this kernel"),
    }
}

/// Why dkms.conf excludes `kernel`, as far as it can be told before the kernel is there.
fn excluded(session: &Session<'_>, package: &dkms_core::names::Package, kernel: &Kernel) -> Option<String> {
    let facts = session.facts.kernel(kernel).ok()?;
    let evaluated = session.facts.evaluate(package, &facts, None, false).ok()?;
    let reasons: Vec<String> = evaluated.recipe.excluded_wholly.iter().map(ToString::to_string).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Whether `warnings` are a reason to refuse the transaction.
pub fn refuses(warnings: &[Warning], policy: Policy) -> bool {
    policy == Policy::Fail && warnings.iter().any(|warning| warning.grave)
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

    #[test]
    fn headers_count_on_disk_and_in_the_transaction() {
        let targets = Targets::parse(
            "usr/lib/modules/1/modules.order\nusr/lib/modules/2/modules.order\nusr/lib/modules/2/build/include/\n\
             usr/lib/modules/3/modules.order\nusr/lib/modules/4/build/include/\n",
        );
        let found = without_headers(&targets, &|release| release.as_str() == "3");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [release("1")]);
    }

    #[test]
    fn the_command_is_named() {
        let headers = |installed: Option<&str>| Headers {
            package: "linux-lts-headers".into(),
            installed: installed.map(str::to_owned),
        };
        assert!(missing(&release("6.1-lts"), Some(&headers(None))).ends_with("pacman -S linux-lts-headers"));
        assert!(missing(&release("6.1-lts"), Some(&headers(Some("6.0-1")))).contains("6.0-1 is installed"));
        assert!(missing(&release("6.1-lts"), None).contains("headers package"));
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

    #[test]
    fn only_policy_refuses() {
        let grave = [Warning { text: String::new(), grave: true }];
        assert!(!refuses(&grave, Policy::Warn));
        assert!(refuses(&grave, Policy::Fail));
        assert!(!refuses(&[], Policy::Fail));
    }
}
