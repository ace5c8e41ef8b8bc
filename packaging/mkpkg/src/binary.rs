//! The plan of a package that brings modules already built, for one kernel, to machines without a compiler.
//!
//! The modules lie in `/usr/lib/dkms-prebuilt/NAME/K/` and are linked into `/lib/modules/K/updates/prebuilt/`
//! when the package is installed, unless DKMS has the package installed for that kernel: two copies beside
//! the modules would leave it to chance which of them depmod takes.

use std::path::PathBuf;

use dkms_core::archive::layout::module_name;
use dkms_core::names::{Kernel, Package};
use fs_err as fs;

use crate::plan::{Family, File, Node, PackageError, Plan};
use crate::source::{self, About};

/// Modules for one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prebuilt {
    /// The kernel they fit.
    pub kernel: Kernel,
    /// Their files, as in an artefact's `module/`.
    pub modules: Vec<PathBuf>,
    /// What the package depends on, in the family's syntax, instead of what follows from the kernel; for Arch, where
    /// nothing follows, the kernel package and its version: `linux=6.12.1.arch1-1`.
    pub kernel_package: Option<String>,
    /// For driver disks: the modules lie in `/lib/modules/K/updates/prebuilt/` themselves, where Anaconda looks
    /// for them, and can't step aside.
    pub in_place: bool,
}

/// The package that brings `built`.
pub fn plan(family: Family, package: &Package, built: &Prebuilt, about: &About) -> Result<Plan, PackageError> {
    let (name, release) = (package.name.as_str(), built.kernel.release.as_str());
    let mut plan = match (family, &built.kernel_package) {
        // A kernel's package has one name for all its versions there, and goes with its modules in one transaction.
        (Family::Arch, Some(kernel)) => {
            let base = kernel.split(['=', '<', '>', ' ']).next().unwrap_or_default();
            let mut plan = source::start(family, package, &format!("modules-{base}"), about);
            plan.version = format!("{}_{}", plan.version, source::arch_version(release));
            plan
        }
        _ => source::start(family, package, &format!("modules-{release}"), about),
    };
    plan.arch = Some(arch_word(family, built.kernel.arch.as_str()));
    if plan.summary.is_empty() {
        plan.summary = format!("{name} kernel module for Linux {release}");
    }
    if plan.description.is_empty() {
        plan.description = format!(
            "This package provides the {name} kernel module, built for Linux {release}.\nIt steps aside where DKMS provides the module."
        );
    }
    plan.depends = vec![match (&built.kernel_package, family) {
        (Some(given), _) => given.clone(),
        // No alternatives such as linux-image-K-unsigned: apt would install one when this is removed.
        (None, Family::Deb) => format!("linux-image-{release}"),
        // What Fedora's and its clones' kernel-core packages provide.
        (None, Family::Rpm) => format!("kernel-core-uname-r = {release}"),
        (None, Family::Arch) => {
            let why = "the kernel's package and version can't be told from its release; name them";
            return Err(PackageError::Word { what: "kernel", text: release.to_owned(), why });
        }
    }];
    // For depmod; what pacman installs a kernel with has it.
    if family != Family::Arch {
        plan.depends.push("kmod".into());
    }
    let place = if built.in_place {
        format!("/lib/modules/{release}/updates/prebuilt")
    } else {
        format!("/usr/lib/dkms-prebuilt/{name}/{release}")
    };
    for module in &built.modules {
        let leaf = module.file_name().and_then(|n| n.to_str()).filter(|n| module_name(n).is_some());
        let Some(leaf) = leaf else {
            return Err(PackageError::File {
                path: module.display().to_string(),
                why: "it is not called like a module",
            });
        };
        plan.file(format!("{place}/{leaf}"), fs::read(module)?, 0o644);
    }
    if plan.files.is_empty() {
        return Err(PackageError::File { path: place, why: "there are no modules to put there" });
    }
    if family == Family::Rpm && built.in_place {
        plan.provides.push(format!("kernel-modules = {release}"));
    }
    if family == Family::Rpm {
        // rpm removes only directories that it owns.
        let updates = format!("/lib/modules/{release}/updates");
        let mut owned = vec![format!("{updates}/prebuilt"), updates];
        if !built.in_place {
            owned.extend(["/usr/lib/dkms-prebuilt".to_owned(), format!("/usr/lib/dkms-prebuilt/{name}"), place]);
        }
        for path in owned {
            plan.files.insert(path, File { mode: 0o755, node: Node::Directory });
        }
    }
    let fill = |text: &str| text.replace("@NAME@", name).replace("@KERNEL@", release);
    let unlink = if family == Family::Rpm { UNLINK.to_owned() } else { format!("{UNLINK}{PRUNE}") };
    let (link, unlink, depmod) = (fill(&format!("{UNLINK}{LINK}")), fill(&unlink), fill(DEPMOD));
    match family {
        Family::Rpm if built.in_place => {
            plan.scripts.post_transaction.clone_from(&depmod);
            plan.scripts.post_remove = depmod;
        }
        _ if built.in_place => {
            plan.scripts.post_install.clone_from(&depmod);
            plan.scripts.post_remove = depmod;
        }
        Family::Deb => {
            plan.scripts.post_install = format!(
                "if [ \"$1\" = configure ] || [ \"$1\" = abort-remove ] || [ \"$1\" = abort-upgrade ] || [ \"$1\" = abort-deconfigure ]; then\n{link}{depmod}fi\n"
            );
            plan.scripts.pre_remove =
                format!("if [ \"$1\" = remove ] || [ \"$1\" = deconfigure ]; then\n{unlink}{depmod}fi\n");
        }
        Family::Rpm => {
            // Only after the transaction the files of an older version are gone.
            plan.scripts.post_transaction = format!("{link}{depmod}");
            plan.scripts.pre_remove = format!("if [ \"$1\" = 0 ]; then\n{unlink}{depmod}fi\n");
        }
        Family::Arch => {
            plan.scripts.post_install = format!("{}{link}{depmod}", fill(STALE));
            plan.scripts.pre_remove = format!("{unlink}{depmod}");
        }
    }
    Ok(plan)
}

/// Removes our links: those that lead to this package's directory.
const UNLINK: &str = r#"    from=/usr/lib/dkms-prebuilt/@NAME@/@KERNEL@
    to=/lib/modules/@KERNEL@/updates/prebuilt
    for link in "$to"/*; do
        [ -h "$link" ] || continue
        case "$(readlink "$link")" in "$from"/*) rm -f "$link" ;; esac
    done
"#;

/// Removes links that an older version of this package had for an older kernel, which has gone meanwhile.
const STALE: &str = r#"    for link in /lib/modules/*/updates/prebuilt/*; do
        [ -h "$link" ] && [ ! -e "$link" ] || continue
        case "$(readlink "$link")" in /usr/lib/dkms-prebuilt/@NAME@/*) ;; *) continue ;; esac
        rm -f "$link"
        link=${link%/*}
        rmdir "$link" "${link%/*}" "${link%/*/*}" 2>/dev/null || :
    done
"#;

/// Removes the links' directories, where the package manager owns none of them.
const PRUNE: &str = r#"    rmdir "$to" "${to%/*}" 2>/dev/null || :
"#;

const LINK: &str = r#"    if command -v dkms >/dev/null 2>&1 && dkms status -m @NAME@ -k @KERNEL@ 2>/dev/null | grep -q ': installed'; then
        echo "DKMS provides @NAME@ for @KERNEL@; the modules of this package are not used." >&2
    elif [ -d /lib/modules/@KERNEL@ ]; then
        mkdir -p "$to"
        for module in "$from"/*; do ln -s -f "$module" "$to"/; done
    fi
"#;

const DEPMOD: &str = r"    if [ -f /lib/modules/@KERNEL@/modules.order ]; then depmod @KERNEL@ || :; fi
";

/// The family's word for an architecture label.
pub fn arch_word(family: Family, arch: &str) -> String {
    let debian = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i486" | "i586" | "i686" => "i386",
        "ppc64le" => "ppc64el",
        "armv7l" | "armv8l" => "armhf",
        "loongarch64" => "loong64",
        other => other,
    };
    let common = match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "ppc64el" => "ppc64le",
        other => other,
    };
    match family {
        Family::Deb => debian.to_owned(),
        Family::Rpm | Family::Arch => common.to_owned(),
    }
}
