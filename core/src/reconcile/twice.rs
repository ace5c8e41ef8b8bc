//! One source that is registered under two names: where a version has dashes, `xo/0.3-88` and `xo-0.3/88` have the same source
//! directory. Only the name in dkms.conf is its own; the other would fail at every look, since its module is installed.

use std::collections::BTreeMap;

use crate::assignments;
use crate::durable;
use crate::names::Package;
use crate::tree::Trees;
use crate::tree::walk::{PackageEntry, Source, Walk};

/// Takes such entries out of `walk`; says which they are, and how to be rid of them.
pub(super) fn take_out(trees: &Trees, walk: &mut Walk) -> Vec<String> {
    let mut by_directory: BTreeMap<String, Vec<&PackageEntry>> = BTreeMap::new();
    for entry in walk.packages.iter().filter(|entry| entry.source == Source::Added) {
        by_directory.entry(format!("{}-{}", entry.package.name, entry.package.version)).or_default().push(entry);
    }
    let mut twice: Vec<(Package, Package)> = Vec::new();
    for entries in by_directory.into_values().filter(|entries| entries.len() > 1) {
        let conf = trees.source_of(&entries[0].package).join("dkms.conf");
        let text = durable::text(&conf).unwrap_or_default();
        let Some(name) = assignments::value(&text, "PACKAGE_NAME") else { continue };
        let Some(own) = entries.iter().find(|entry| entry.package.name.as_str() == name) else { continue };
        let is_installed = |entry: &PackageEntry| entry.built.iter().any(|built| built.installed);
        for other in entries.iter().filter(|entry| entry.package != own.package) {
            // What is installed keeps working until somebody decides.
            if is_installed(other) && !is_installed(own) {
                twice.push((own.package.clone(), other.package.clone()));
            } else {
                twice.push((other.package.clone(), own.package.clone()));
            }
        }
    }
    walk.packages.retain(|entry| !twice.iter().any(|(passed_over, _)| *passed_over == entry.package));
    let tell = |(passed_over, kept): &(Package, Package)| {
        format!(
            "{passed_over} and {kept} are one source, registered twice: only {kept} is looked after. To be rid of the \
             other: dkms remove {passed_over} --all"
        )
    };
    twice.iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Kernel;
    use crate::root::Root;
    use crate::tree::walk::Built;

    fn entry(name: &str, version: &str, installed: bool) -> PackageEntry {
        let kernel = Kernel::new("6.1", "x86_64").unwrap();
        let built = Built { kernel, installed, original_modules: false, nothing_archived: false };
        PackageEntry { package: Package::new(name, version).unwrap(), source: Source::Added, built: vec![built] }
    }

    #[test]
    fn one_source_is_looked_after_once() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for (name, version) in [("xo", "0.3-88"), ("xo-0.3", "88")] {
            let source = trees.source_of(&Package::new(name, version).unwrap());
            fs_err::create_dir_all(&source).unwrap();
            fs_err::write(source.join("dkms.conf"), "PACKAGE_NAME=xo\nPACKAGE_VERSION=0.3-88\n").unwrap();
        }
        for (own, other, kept) in [
            (false, false, "xo/0.3-88"),
            (true, false, "xo/0.3-88"),
            (true, true, "xo/0.3-88"),
            (false, true, "xo-0.3/88"),
        ] {
            let packages = vec![entry("a", "1", true), entry("xo", "0.3-88", own), entry("xo-0.3", "88", other)];
            let mut walk = Walk { packages, unreadable: Vec::new() };
            let notes = take_out(&trees, &mut walk);
            let left: Vec<String> = walk.packages.iter().map(|entry| entry.package.to_string()).collect();
            assert_eq!(left, ["a/1", kept], "{own} {other}");
            assert_eq!(notes.len(), 1);
            assert!(notes[0].contains(&format!("only {kept} is looked after")), "{notes:?}");
        }
    }
}
