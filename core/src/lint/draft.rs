//! A first dkms.conf for a source that kbuild can build.

use std::path::Path;

use crate::durable;
use crate::names::{Name, Version};

/// A package, as far as its source tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    name: Name,
    version: Version,
    /// Directory below the source, empty or ending in `/`, and name of each module.
    modules: Vec<(String, String)>,
}

/// What is lacking for a draft.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Neither Kbuild nor Makefile names a module.
    #[error("neither a Kbuild nor a Makefile in it has a line such as: obj-m := driver.o")]
    NoModules,
    /// No usable name or version.
    #[error("{0}; give one with -m NAME -v VERSION")]
    Unnamed(String),
}

impl Draft {
    /// Reads `dir`. `name` and `version` count more than what is found: the only module's name or that of the directory, and
    /// MODULE_VERSION or 1.0.
    pub fn of(dir: &Path, name: Option<&str>, version: Option<&str>) -> Result<Self, DraftError> {
        let mut modules = Vec::new();
        modules_of(dir, "", 8, &mut modules);
        modules.dedup();
        let found = match modules.as_slice() {
            [] => return Err(DraftError::NoModules),
            [(_, only)] => only.clone(),
            _ => dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        let unnamed = |error: crate::names::NameError| DraftError::Unnamed(error.to_string());
        let name = Name::new(name.unwrap_or(&found)).map_err(unnamed)?;
        let found = modules.iter().find_map(|(place, module)| module_version(&dir.join(place), module));
        let version =
            Version::new(version.map(str::to_owned).or(found).unwrap_or_else(|| "1.0".to_owned())).map_err(unnamed)?;
        Ok(Self { name, version, modules })
    }

    /// The dkms.conf.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Made by dkms init; dkms.conf(5) describes all directives.\n\
             PACKAGE_NAME=\"{}\"\nPACKAGE_VERSION=\"{}\"\nAUTOINSTALL=\"yes\"\n",
            self.name, self.version
        );
        for (index, (place, module)) in self.modules.iter().enumerate() {
            text.push_str(&format!("\nBUILT_MODULE_NAME[{index}]=\"{module}\"\n"));
            if !place.is_empty() {
                text.push_str(&format!("BUILT_MODULE_LOCATION[{index}]=\"{place}\"\n"));
            }
            text.push_str(&format!("DEST_MODULE_LOCATION[{index}]=\"/updates/dkms\"\n"));
        }
        text
    }
}

/// The modules that kbuild makes in `dir` and in the directories that it descends to (Documentation/kbuild/makefiles.rst:
/// Kbuild counts more than Makefile). Those that depend on the kernel's configuration are left out.
fn modules_of(dir: &Path, place: &str, depth: u32, modules: &mut Vec<(String, String)>) {
    let read = |name: &str| durable::text(&dir.join(name)).ok();
    let Some(text) = read("Kbuild").or_else(|| read("Makefile")) else { return };
    for line in text.replace("\\\n", " ").lines() {
        let Some((left, right)) = line.split('#').next().and_then(|line| line.split_once('=')) else { continue };
        if !matches!(left.trim_end_matches([':', '+', '?', ' ', '\t']).trim(), "obj-m" | "obj-y") {
            continue;
        }
        let is_module = left.contains("obj-m");
        for word in right.split_whitespace() {
            if let Some(below) = word.strip_suffix('/').filter(|below| depth > 0 && !below.contains(['$', '.'])) {
                modules_of(&dir.join(below), &format!("{place}{below}/"), depth - 1, modules);
            } else if let Some(name) = word.strip_suffix(".o").filter(|name| is_module && !name.contains('$')) {
                let (below, name) = name.rsplit_once('/').map_or(("", name), |(below, name)| (below, name));
                let place = if below.is_empty() { place.to_owned() } else { format!("{place}{below}/") };
                let module = (place, name.to_owned());
                if !modules.contains(&module) {
                    modules.push(module);
                }
            }
        }
    }
}

/// The text of MODULE_VERSION in the source that is called like the module.
fn module_version(dir: &Path, module: &str) -> Option<String> {
    let text = durable::text(&dir.join(format!("{module}.c"))).ok()?;
    let (_, rest) = text.split_once("MODULE_VERSION(\"")?;
    let version = rest.split('"').next()?;
    Version::new(version).ok().map(|_| version.to_owned())
}
