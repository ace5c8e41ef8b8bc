//! The plan of a package that brings a DKMS package's source and has DKMS build it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dkms_core::archive::links;
use dkms_core::names::Package;
use fs_err as fs;

use crate::plan::{Family, File, Node, PackageError, Plan};

/// What can't be known from the source itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The packaging's own revision: `1`.
    pub release: String,
    /// One line; empty for a general one.
    pub summary: String,
    /// Paragraphs; empty for a general one.
    pub description: String,
    /// The licence, as SPDX writes it.
    pub licence: String,
    /// `Name <address>`.
    pub maintainer: String,
    /// What changed, one line each.
    pub changelog: Vec<String>,
    /// The time of everything in the package, in seconds since 1970.
    pub mtime: i64,
}

/// The package that installs the source in `tree` as `/usr/src/NAME-VERSION`. `tree` is the directory itself.
pub fn plan(family: Family, package: &Package, tree: &Path, about: &About) -> Result<Plan, PackageError> {
    let (name, version) = (package.name.as_str(), package.version.as_str());
    let place = format!("/usr/src/{name}-{version}");
    let mut plan = start(family, package, "dkms", about);
    if plan.summary.is_empty() {
        plan.summary = format!("source of the {name} kernel module, built by DKMS");
    }
    if plan.description.is_empty() {
        plan.description = format!(
            "This package provides the source of the {name} kernel module.\nDKMS builds it for every kernel whose headers are installed."
        );
    }
    plan.depends = vec![match family {
        // Directives for kernel configurations are known from this version on.
        Family::Deb => "dkms (>= 3.0.11)".into(),
        Family::Rpm => "dkms >= 3.0.11".into(),
        Family::Arch => "dkms".into(),
    }];
    if let Some(stray) = links::first_stray(tree)? {
        return Err(PackageError::File { path: tree.join(stray.link).display().to_string(), why: stray.why });
    }
    collect(tree, &place, &mut plan)?;
    match family {
        Family::Deb => {
            plan.scripts.post_install = DEB_POSTINST.replace("@NAME@", name).replace("@VERSION@", version);
            plan.scripts.pre_remove = DEB_PRERM.replace("@NAME@", name).replace("@VERSION@", version);
        }
        Family::Rpm => {
            plan.files.insert(place, File { mode: 0o755, node: Node::Directory });
            plan.scripts.post_install = RPM_POST.replace("@NAME@", name).replace("@VERSION@", version);
            plan.scripts.pre_remove = RPM_PREUN.replace("@NAME@", name).replace("@VERSION@", version);
        }
        // The hooks of the dkms package see /usr/src/*/dkms.conf come and go.
        Family::Arch => {}
    }
    Ok(plan)
}

/// common.postinst does all that follows from the administrator's settings (docs/contract.md 9.2, 9.3).
const DEB_POSTINST: &str = r#"if [ "$1" = configure ]; then
    helper=/usr/lib/dkms/common.postinst
    if [ ! -x "$helper" ]; then
        echo "$helper is missing: is dkms installed? @NAME@ @VERSION@ is not built." >&2
        exit 1
    fi
    "$helper" @NAME@ @VERSION@ "/usr/share/@NAME@-dkms" "" "$2"
fi
"#;

const DEB_PRERM: &str = r#"case "$1" in
remove|upgrade|deconfigure)
    if command -v dkms >/dev/null && [ -n "$(dkms status -m @NAME@ -v @VERSION@)" ]; then
        dkms remove -m @NAME@ -v @VERSION@ --all
    fi
    ;;
esac
"#;

/// A failed build must not fail the transaction: `dkms status` tells of it and the boot unit tries again.
const RPM_POST: &str = r"dkms add -m @NAME@ -v @VERSION@ -q --rpm_safe_upgrade || :
dkms build -m @NAME@ -v @VERSION@ -q && dkms install -m @NAME@ -v @VERSION@ -q --force || :
";

const RPM_PREUN: &str = r"dkms remove -m @NAME@ -v @VERSION@ -q --all --rpm_safe_upgrade || :
";

/// The plan's head: `NAME-SUFFIX` in the family's spelling.
pub(crate) fn start(family: Family, package: &Package, suffix: &str, about: &About) -> Plan {
    let version = package.version.as_str();
    Plan {
        name: spelt(family, &format!("{}-{suffix}", package.name)),
        // A dash would begin the release.
        version: match family {
            Family::Deb => version.replace('_', "."),
            Family::Rpm => version.replace(['-', ':'], "."),
            Family::Arch => arch_version(version),
        },
        release: about.release.clone(),
        summary: about.summary.clone(),
        description: about.description.clone(),
        licence: about.licence.clone(),
        maintainer: about.maintainer.clone(),
        changelog: about.changelog.clone(),
        mtime: about.mtime,
        ..Plan::default()
    }
}

/// `version` as pacman lets one be.
pub(crate) fn arch_version(version: &str) -> String {
    version.replace(['-', ':', '~', '^'], ".")
}

/// `name` as the family lets packages be called.
pub(crate) fn spelt(family: Family, name: &str) -> String {
    match family {
        Family::Deb => name.to_lowercase().replace(['_', '~', ':'], "-"),
        Family::Rpm => name.replace([':', '~'], "-"),
        Family::Arch => name.to_lowercase().replace([':', '~'], "-"),
    }
}

fn collect(from: &Path, to: &str, plan: &mut Plan) -> Result<(), PackageError> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let refused = |why| PackageError::File { path: path.display().to_string(), why };
        let leaf = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| refused("its name is not UTF-8"))?;
        let (place, meta) = (format!("{to}/{leaf}"), fs::symlink_metadata(&path)?);
        let mode = if meta.mode() & 0o111 != 0 { 0o755 } else { 0o644 };
        let node = if meta.is_dir() {
            collect(&path, &place, plan)?;
            Node::Directory
        } else if meta.is_symlink() {
            let target = fs::read_link(&path)?;
            Node::Link(target.to_str().ok_or_else(|| refused("its target is not UTF-8"))?.to_owned())
        } else if meta.is_file() {
            Node::Regular(fs::read(&path)?)
        } else {
            return Err(refused("it is neither a file, a directory nor a link"));
        };
        plan.files.insert(place, File { mode, node });
    }
    Ok(())
}
