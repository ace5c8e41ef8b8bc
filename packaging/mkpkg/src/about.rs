//! What a package says of itself: from options, the environment, and the source.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use dkms_core::cli::args::Args;
use dkms_core::context::Context;
use dkms_core::names::Release;
use dkms_mkpkg::Family;
use dkms_mkpkg::source::About;

/// Most of a source's files name their licence in their first lines (Documentation/process/license-rules.rst).
const SPDX: &str = "SPDX-License-Identifier:";
/// A kernel module that says nothing else has the kernel's licence.
const KERNEL_LICENCE: &str = "GPL-2.0-only";

/// What can be said of the package whose source is in `tree`.
pub fn of(ctx: &Context, args: &Args, tree: &Path) -> About {
    let option = |name: &str| args.value(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let now = i64::try_from(ctx.now).unwrap_or(0);
    About {
        release: option("package-release").unwrap_or_else(|| "1".to_owned()),
        summary: option("summary").unwrap_or_default(),
        description: String::new(),
        licence: option("licence").unwrap_or_else(|| licence(tree)),
        maintainer: option("maintainer").unwrap_or_else(|| maintainer(ctx)),
        changelog: vec!["Packaged by dkms mkpkg.".to_owned()],
        mtime: ctx.source_date_epoch().unwrap_or(now),
    }
}

/// As devscripts (debchange(1)) and makepkg.conf(5) know people.
fn maintainer(ctx: &Context) -> String {
    let var = |name: &str| {
        let value = ctx.environment.get(OsStr::new(name))?.to_str()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let address = var("DEBEMAIL").or_else(|| var("EMAIL"));
    match (var("PACKAGER"), var("DEBFULLNAME"), address) {
        (Some(whole), ..) => whole,
        (None, _, Some(whole)) if whole.contains('<') => whole,
        (None, Some(name), Some(address)) => format!("{name} <{address}>"),
        (None, None, Some(address)) => format!("DKMS user <{address}>"),
        (None, ..) => "DKMS user <root@localhost>".to_owned(),
    }
}

/// The licences that the source's files name.
fn licence(tree: &Path) -> String {
    let mut found = BTreeSet::new();
    collect(tree, 0, &mut found);
    match found.len() {
        0 => KERNEL_LICENCE.to_owned(),
        1 => found.into_iter().next().unwrap_or_default(),
        _ => found
            .iter()
            .map(|one| if one.contains(' ') { format!("({one})") } else { one.clone() })
            .collect::<Vec<_>>()
            .join(" AND "),
    }
}

fn collect(dir: &Path, depth: usize, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) && depth < 8 {
            collect(&path, depth + 1, found);
        } else if path.extension().is_some_and(|end| end == "c" || end == "h") {
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[..text.len().min(1024)]).into_owned();
            let line = text.lines().take(5).find_map(|line| line.split_once(SPDX));
            let word = line.map(|(_, rest)| rest.trim().trim_end_matches("*/").trim().to_owned());
            let plain = |c: char| c.is_ascii_alphanumeric() || " .-+()".contains(c);
            found.extend(word.filter(|word| !word.is_empty() && word.chars().all(plain)));
        }
    }
}

/// The package and version of one of Arch's kernels: its name is beside the modules, and the version follows from
/// the release (`6.12.1-arch1-1` is 6.12.1.arch1-1, `6.12.1-1-lts` is 6.12.1-1).
pub fn arch_kernel(modules: &Path, release: &Release) -> Option<String> {
    let base = std::fs::read_to_string(modules.join("pkgbase")).ok()?.trim().to_owned();
    let text = release.as_str();
    let text = match base.strip_prefix("linux-") {
        Some(flavour) => text.strip_suffix(&format!("-{flavour}")).unwrap_or(text),
        None => text,
    };
    let (version, revision) = text.rsplit_once('-')?;
    Some(format!("{base}={}-{revision}", version.replace('-', ".")))
}

/// A package of SUSE's whose kernel is `release`: by a file that only that kernel has, since neither its package's name
/// nor its version follow from the release. Where /usr is merged the path is the second.
pub fn suse_kernel(release: &Release) -> String {
    format!("(/lib/modules/{release}/modules.builtin or /usr/lib/modules/{release}/modules.builtin)")
}

/// `NAME[=VERSION]` in the family's syntax; what has blanks or parentheses is taken to be in it.
pub fn relation(family: Family, given: &str) -> String {
    match given.split_once('=') {
        Some((name, version)) if !given.contains([' ', '(', '<', '>']) => match family {
            Family::Deb => format!("{name} (= {version})"),
            Family::Rpm => format!("{name} = {version}"),
            Family::Arch => given.to_owned(),
        },
        _ => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arch_kernels_versions() {
        let tmp = tempfile::tempdir().unwrap();
        for (base, release, package) in [
            ("linux", "6.12.1-arch1-1", "linux=6.12.1.arch1-1"),
            ("linux-lts", "6.12.1-1-lts", "linux-lts=6.12.1-1"),
            ("linux-zen", "6.12.1-zen1-1-zen", "linux-zen=6.12.1.zen1-1"),
        ] {
            std::fs::write(tmp.path().join("pkgbase"), format!("{base}\n")).unwrap();
            assert_eq!(arch_kernel(tmp.path(), &Release::new(release).unwrap()).as_deref(), Some(package));
        }
    }

    #[test]
    fn the_licences_named_in_the_source() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(licence(tmp.path()), KERNEL_LICENCE);
        std::fs::write(tmp.path().join("a.c"), "// SPDX-License-Identifier: GPL-2.0-or-later\n").unwrap();
        assert_eq!(licence(tmp.path()), "GPL-2.0-or-later");
        std::fs::write(tmp.path().join("a.h"), "/* SPDX-License-Identifier: GPL-2.0 OR MIT */\n").unwrap();
        assert_eq!(licence(tmp.path()), "(GPL-2.0 OR MIT) AND GPL-2.0-or-later");
    }
}
