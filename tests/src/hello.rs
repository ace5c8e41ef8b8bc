//! Small module packages, made to order.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Begins a package called `name`, version 1.0, with no module yet.
pub fn package(name: &str) -> Package {
    Package {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        modules: Vec::new(),
        directives: Vec::new(),
        files: Vec::new(),
        conf: None,
        make: Some(DEFAULT_MAKE.to_owned()),
    }
}

const DEFAULT_MAKE: &str =
    "make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build modules";

/// A module package being described.
#[derive(Debug, Clone)]
pub struct Package {
    name: String,
    version: String,
    modules: Vec<Module>,
    directives: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    conf: Option<Vec<u8>>,
    make: Option<String>,
}

/// One module of a [`Package`].
#[derive(Debug, Clone)]
pub struct Module {
    name: String,
    directory: String,
    destination: String,
    destination_name: Option<String>,
    code: String,
}

/// A module called `name`, in the package's own directory, for `/updates/dkms`.
pub fn module(name: &str) -> Module {
    Module {
        name: name.to_owned(),
        directory: String::new(),
        destination: "/updates/dkms".to_owned(),
        destination_name: None,
        code: String::new(),
    }
}

impl Module {
    /// Keeps its source in this directory of the package (`BUILT_MODULE_LOCATION`).
    #[must_use]
    pub fn in_directory(mut self, directory: &str) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// `DEST_MODULE_LOCATION`.
    #[must_use]
    pub fn destination(mut self, destination: &str) -> Self {
        destination.clone_into(&mut self.destination);
        self
    }

    /// `DEST_MODULE_NAME`.
    #[must_use]
    pub fn installed_as(mut self, name: &str) -> Self {
        self.destination_name = Some(name.to_owned());
        self
    }

    /// Adds C at the end of its source.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        self.code.push_str(code);
        self
    }
}

impl Package {
    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Adds a module. A package without any gets one of its own name.
    #[must_use]
    pub fn module(mut self, module: Module) -> Self {
        self.modules.push(module);
        self
    }

    /// Adds a line to dkms.conf as it stands.
    #[must_use]
    pub fn conf_line(mut self, line: &str) -> Self {
        self.directives.push(line.to_owned());
        self
    }

    /// `MAKE[0]`; the default names the kernel and the build directory as most packages do.
    #[must_use]
    pub fn make(mut self, command: &str) -> Self {
        self.make = Some(command.to_owned());
        self
    }

    /// No `MAKE` directive at all.
    #[must_use]
    pub fn without_make(mut self) -> Self {
        self.make = None;
        self
    }

    /// `BUILD_DEPENDS` on another package.
    #[must_use]
    pub fn depends_on(self, other: &str) -> Self {
        let index = self.directives.iter().filter(|line| line.starts_with("BUILD_DEPENDS[")).count();
        self.conf_line(&format!("BUILD_DEPENDS[{index}]=\"{other}\""))
    }

    /// Adds a script and the directive that runs it, for example `script("POST_INSTALL", "echo hello")`.
    #[must_use]
    pub fn script(self, directive: &str, body: &str) -> Self {
        let file = format!("{}.sh", directive.to_lowercase());
        self.conf_line(&format!("{directive}=\"{file}\"")).file(&file, format!("#!/bin/bash\n{body}\n"))
    }

    /// Adds a patch below `patches/` and its `PATCH` directive.
    #[must_use]
    pub fn patch(self, name: &str, text: &str) -> Self {
        let index = self.directives.iter().filter(|line| line.starts_with("PATCH[")).count();
        self.conf_line(&format!("PATCH[{index}]=\"{name}\"")).file(&format!("patches/{name}"), text)
    }

    /// Adds a file, or replaces one that would be made.
    #[must_use]
    pub fn file(mut self, path: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), contents.into()));
        self
    }

    /// Uses this dkms.conf instead of the one made from the description.
    #[must_use]
    pub fn conf(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.conf = Some(text.into());
        self
    }

    /// Code that no compiler takes, in line 1 of the first module's source.
    #[must_use]
    pub fn that_fails(self) -> Self {
        let file = format!("{}.c", self.modules.first().map_or(self.name.as_str(), |m| m.name.as_str()));
        self.file(&file, "int broken(void) { return no_such_thing; }\n")
    }

    /// `name/version`, as on the command line.
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// Writes it to `directory/name-version`, which it gives back.
    pub fn build_in(&self, directory: &Path) -> Result<PathBuf> {
        let root = directory.join(format!("{}-{}", self.name, self.version));
        for (path, contents) in self.contents() {
            let path = root.join(path);
            fs_err::create_dir_all(path.parent().unwrap_or(&root))?;
            fs_err::write(&path, &contents)?;
            if contents.starts_with(b"#!") {
                use std::os::unix::fs::PermissionsExt;
                fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(root)
    }

    /// Every file of it: path and contents.
    fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let own = [module(&self.name)];
        let modules: &[Module] = if self.modules.is_empty() { &own } else { &self.modules };
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let mut directories: Vec<&str> = modules.iter().map(|m| m.directory.as_str()).collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in &directories {
            let mut makefile = String::new();
            for m in modules.iter().filter(|m| m.directory == **directory) {
                let _ = writeln!(makefile, "obj-m += {}.o", m.name);
                files.push((beside(directory, &format!("{}.c", m.name)), self.source(m).into_bytes()));
            }
            if directory.is_empty() {
                for below in directories.iter().filter(|d| !d.is_empty()) {
                    let _ = writeln!(makefile, "obj-m += {below}/");
                }
            }
            files.push((beside(directory, "Makefile"), makefile.into_bytes()));
        }
        if !directories.contains(&"") {
            let lines: String = directories.iter().fold(String::new(), |all, d| format!("{all}obj-m += {d}/\n"));
            files.push(("Makefile".into(), lines.into_bytes()));
        }
        files.push(("dkms.conf".into(), self.conf.clone().unwrap_or_else(|| self.conf_text(modules).into_bytes())));
        files.extend(self.files.iter().cloned()); // later ones win
        files
    }

    fn conf_text(&self, modules: &[Module]) -> String {
        let mut conf = format!("PACKAGE_NAME=\"{}\"\nPACKAGE_VERSION=\"{}\"\n", self.name, self.version);
        for (i, m) in modules.iter().enumerate() {
            let _ = writeln!(conf, "BUILT_MODULE_NAME[{i}]=\"{}\"", m.name);
            let _ = writeln!(conf, "DEST_MODULE_LOCATION[{i}]=\"{}\"", m.destination);
            if !m.directory.is_empty() {
                let _ = writeln!(conf, "BUILT_MODULE_LOCATION[{i}]=\"{}/\"", m.directory);
            }
            if let Some(name) = &m.destination_name {
                let _ = writeln!(conf, "DEST_MODULE_NAME[{i}]=\"{name}\"");
            }
        }
        if let Some(make) = &self.make {
            let _ = writeln!(conf, "MAKE[0]=\"{make}\"");
        }
        conf.push_str("AUTOINSTALL=\"yes\"\n");
        for line in &self.directives {
            let _ = writeln!(conf, "{line}");
        }
        conf
    }

    fn source(&self, module: &Module) -> String {
        let symbol: String = module.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!(
            "#include <linux/module.h>
static int __init {symbol}_init(void) {{ return 0; }}
static void __exit {symbol}_exit(void) {{ }}
module_init({symbol}_init);
module_exit({symbol}_exit);
MODULE_LICENSE(\"GPL\");
MODULE_VERSION(\"{version}\");
MODULE_DESCRIPTION(\"a module of the dkms tests\");
{code}",
            version = self.version,
            code = module.code,
        )
    }
}

fn beside(directory: &str, file: &str) -> String {
    if directory.is_empty() { file.to_owned() } else { format!("{directory}/{file}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_modules_scripts_and_conf() {
        let dir = tempfile::tempdir().unwrap();
        let root = package("two")
            .version("2.5")
            .module(module("first"))
            .module(module("second").in_directory("sub").destination("/kernel/drivers/net"))
            .depends_on("other")
            .script("POST_BUILD", "true")
            .build_in(dir.path())
            .unwrap();
        assert_eq!(root, dir.path().join("two-2.5"));
        assert_eq!(fs_err::read_to_string(root.join("Makefile")).unwrap(), "obj-m += first.o\nobj-m += sub/\n");
        assert_eq!(fs_err::read_to_string(root.join("sub/Makefile")).unwrap(), "obj-m += second.o\n");
        let conf = fs_err::read_to_string(root.join("dkms.conf")).unwrap();
        for line in ["BUILT_MODULE_LOCATION[1]=\"sub/\"", "BUILD_DEPENDS[0]=\"other\"", "POST_BUILD=\"post_build.sh\""]
        {
            assert!(conf.lines().any(|l| l == line), "no {line} in\n{conf}");
        }
    }
}
