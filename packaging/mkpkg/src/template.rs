//! Vendors' templates, as the classic's mkdeb and mkrpm took them: what a package in-process can take from them.
//!
//! Debian: `debian/` of `<source>/<m>-dkms-mkdeb` or `/etc/dkms/template-dkms-mkdeb`, with the words
//! DEBIAN_PACKAGE, MODULE_NAME, MODULE_VERSION and DATE_STAMP. Taken: `control` (Maintainer, Depends, Conflicts,
//! Provides, Description), `postinst`, `prerm`, `postrm`, `copyright`. rpm: `<source>/<m>-dkms-mkrpm.spec` or
//! `/etc/dkms/template-dkms-mkrpm.spec`. Taken: Summary, License, Packager, Requires, Conflicts, Provides,
//! `%description`, `%post`, `%preun`, `%postun`; of macros, `%{module_name}`, `%{version}`, `%{name}`, `%{release}`.
//!
//! Packages of built modules have scripts and relations of their own. For them the template may say the rest: Debian's
//! is `<m>-dkms-mkbmdeb` or `template-dkms-mkbmdeb` (KERNEL_VERSION is one more word), rpm's the same as for sources.

use std::path::{Path, PathBuf};

use deb822_fast::{Deb822, Paragraph};
use dkms_core::context::Context;
use dkms_core::names::{Kernel, Package};
use dkms_mkpkg::{Family, Plan};

use crate::error::Error;

/// Lays the template of the family, if there is one, over `plan`.
pub fn apply(
    ctx: &Context,
    family: Family,
    package: &Package,
    tree: &Path,
    kernel: Option<&Kernel>,
    plan: &mut Plan,
) -> Result<(), Error> {
    let (own, general) = match family {
        Family::Deb if kernel.is_some() => {
            (format!("{}-dkms-mkbmdeb", package.name), "/etc/dkms/template-dkms-mkbmdeb")
        }
        Family::Deb => (format!("{}-dkms-mkdeb", package.name), "/etc/dkms/template-dkms-mkdeb"),
        Family::Rpm => (format!("{}-dkms-mkrpm.spec", package.name), "/etc/dkms/template-dkms-mkrpm.spec"),
        Family::Arch => return Ok(()),
    };
    let template = [tree.join(own), ctx.trees.outer(general)].into_iter().find(|path| path.exists());
    let Some(template) = template else { return Ok(()) };
    let before = plan.clone();
    match family {
        Family::Deb => debian(&template.join("debian"), package, kernel, plan)?,
        _ => spec(&template, package, plan)?,
    }
    if kernel.is_some() {
        (plan.scripts, plan.depends) = (before.scripts, before.depends);
    }
    Ok(())
}

fn debian(dir: &Path, package: &Package, kernel: Option<&Kernel>, plan: &mut Plan) -> Result<(), Error> {
    let stamp = plan.mtime.to_string();
    let name = plan.name.clone();
    let read = |file: &str| -> Result<Option<String>, Error> {
        match fs_err::read_to_string(dir.join(file)) {
            Ok(text) => Ok(Some(
                text.replace(
                    "DEBIAN_PACKAGE",
                    name.split("-modules-").next().unwrap_or_default().trim_end_matches("-dkms"),
                )
                .replace("MODULE_NAME", package.name.as_str())
                .replace("MODULE_VERSION", package.version.as_str())
                .replace("KERNEL_VERSION", kernel.map_or("", |kernel| kernel.release.as_str()))
                .replace("DATE_STAMP", &stamp),
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    if let Some(control) = read("control")? {
        // Of a field that several paragraphs have, the last counts.
        let paragraphs = paragraphs(&dir.join("control"), &control)?;
        for (field, value) in paragraphs.iter().flat_map(Paragraph::iter) {
            match field.to_lowercase().as_str() {
                "maintainer" => value.trim().clone_into(&mut plan.maintainer),
                "depends" => merge(&mut plan.depends, list(value)),
                "conflicts" => merge(&mut plan.conflicts, list(value)),
                "provides" => merge(&mut plan.provides, list(value)),
                "description" => {
                    let (summary, rest) = value.split_once('\n').unwrap_or((value, ""));
                    summary.trim().clone_into(&mut plan.summary);
                    if !rest.trim().is_empty() {
                        rest.lines()
                            .map(|line| if line.trim() == "." { "" } else { line.trim() })
                            .collect::<Vec<_>>()
                            .join("\n")
                            .clone_into(&mut plan.description);
                    }
                }
                _ => {}
            }
        }
    }
    let helper = |text: String| {
        text.lines()
            .filter(|line| line.trim() != "#DEBHELPER#" && !line.starts_with("#!"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    for (file, script) in [
        ("postinst", &mut plan.scripts.post_install),
        ("prerm", &mut plan.scripts.pre_remove),
        ("postrm", &mut plan.scripts.post_remove),
    ] {
        if let Some(text) = read(file)? {
            *script = helper(text);
        }
    }
    if let Some(text) = read("copyright")? {
        let path = format!("/usr/share/doc/{}/copyright", plan.name);
        plan.file(path, text, 0o644);
    }
    Ok(())
}

/// The paragraphs of a control file (deb-control(5)).
fn paragraphs(file: &Path, control: &str) -> Result<Deb822, Error> {
    // Blanks at a line's end mean nothing, and a line of blanks ends a paragraph as an empty one does.
    let lines: Vec<&str> = control.lines().map(str::trim_end).collect();
    lines.join("\n").parse().map_err(|error| {
        let why = match error {
            deb822_fast::Error::UnexpectedToken(line) => {
                format!("the line {line:?} belongs to no field; fields are written NAME: VALUE (deb-control(5))")
            }
            other => other.to_string(),
        };
        Error::Template { file: file.to_owned(), why }
    })
}

/// A list of relations, without the variables that only debhelper can fill.
fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(|word| word.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|word| !word.is_empty() && !word.contains("${"))
        .collect()
}

/// Adds the relations to names that are not mentioned yet.
fn merge(to: &mut Vec<String>, more: Vec<String>) {
    let name = |text: &str| text.split([' ', '(', '|']).next().unwrap_or_default().to_owned();
    for one in more {
        to.retain(|old| name(old) != name(&one));
        to.push(one);
    }
}

fn spec(file: &Path, package: &Package, plan: &mut Plan) -> Result<(), Error> {
    let text = fs_err::read_to_string(file)?;
    let (name, release) = (plan.name.clone(), plan.release.clone());
    let expand = |text: &str| -> Result<String, Error> {
        let filled = text
            .replace("%{module_name}", package.name.as_str())
            .replace("%module_name", package.name.as_str())
            .replace("%{version}", package.version.as_str())
            .replace("%{name}", &name)
            .replace("%{release}", &release)
            .replace("%%", "\u{0}");
        match filled.find("%{") {
            None => Ok(filled.replace('\u{0}', "%")),
            Some(at) => {
                let end = filled[at..].find('}').map_or(filled.len(), |end| at + end + 1);
                let why = format!("the macro {} is not known here; only rpmbuild could expand it", &filled[at..end]);
                Err(Error::Template { file: PathBuf::from(file), why })
            }
        }
    };
    let mut section = String::new();
    let mut body = String::new();
    let sections = [
        "%description",
        "%prep",
        "%build",
        "%install",
        "%clean",
        "%files",
        "%pre",
        "%post",
        "%preun",
        "%postun",
        "%posttrans",
        "%changelog",
        "%package",
    ];
    let close = |section: &str, body: &mut String, plan: &mut Plan| -> Result<(), Error> {
        let text = std::mem::take(body);
        match section {
            "%description" => expand(text.trim())?.clone_into(&mut plan.description),
            "%post" => plan.scripts.post_install = expand(&text)?,
            "%preun" => plan.scripts.pre_remove = expand(&text)?,
            "%postun" => plan.scripts.post_remove = expand(&text)?,
            "%posttrans" => plan.scripts.post_transaction = expand(&text)?,
            _ => {}
        }
        Ok(())
    };
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        if sections.contains(&word) {
            close(&section, &mut body, plan)?;
            word.clone_into(&mut section);
            continue;
        }
        if !section.is_empty() {
            body.push_str(line);
            body.push('\n');
            continue;
        }
        let Some((tag, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let words = || -> Result<Vec<String>, Error> { Ok(vec![expand(value)?]) };
        match tag.trim().to_lowercase().as_str() {
            "summary" => plan.summary = expand(value)?,
            "license" => plan.licence = expand(value)?,
            "packager" => plan.maintainer = expand(value)?,
            "requires" => merge(&mut plan.depends, words()?),
            "conflicts" => merge(&mut plan.conflicts, words()?),
            "provides" => merge(&mut plan.provides, words()?),
            _ => {}
        }
    }
    close(&section, &mut body, plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            name: "hello-dkms".into(),
            version: "1".into(),
            release: "1".into(),
            depends: vec!["dkms (>= 3.0.11)".into()],
            ..Plan::default()
        }
    }

    #[test]
    fn a_debian_template() {
        let tmp = tempfile::tempdir().unwrap();
        let control = "Source: DEBIAN_PACKAGE-dkms\nMaintainer: V <v@x>\n\nPackage: DEBIAN_PACKAGE-dkms\n\
                       Depends: dkms (>= 3.1), ${misc:Depends}, libc6\nDescription: MODULE_NAME driver\n first\n .\n second\n";
        fs_err::write(tmp.path().join("control"), control).unwrap();
        fs_err::write(tmp.path().join("postinst"), "#!/bin/sh\nset -e\necho MODULE_VERSION\n#DEBHELPER#\n").unwrap();
        let mut plan = plan();
        debian(tmp.path(), &Package::new("hello", "1").unwrap(), None, &mut plan).unwrap();
        assert_eq!((plan.maintainer.as_str(), plan.summary.as_str()), ("V <v@x>", "hello driver"));
        assert_eq!(plan.description, "\nfirst\n\nsecond".trim_start());
        assert_eq!(plan.depends, ["dkms (>= 3.1)", "libc6"]);
        assert_eq!(plan.scripts.post_install, "set -e\necho 1\n");
    }

    #[test]
    fn control_files_as_dpkg_reads_them_or_an_error() {
        let tmp = tempfile::tempdir().unwrap();
        let package = Package::new("hello", "1").unwrap();
        let laid = |control: &str| {
            fs_err::write(tmp.path().join("control"), control).unwrap();
            let mut plan = plan();
            debian(tmp.path(), &package, None, &mut plan).map(|()| plan).map_err(|error| error.to_string())
        };
        // Comments, DOS line ends, blanks at line ends, lists over lines, a later paragraph, any case of names.
        for control in [
            "# first\nMAINTAINER: V <v@x>\n\n\nPackage: a\n# inside\nDepends: libc6,\n libd (>= 2)\nDescription: A\n b\n",
            "Maintainer: V <v@x>\r\n\r\nPackage: a\r\nDepends:\r\n libc6,\r\n libd (>= 2)\r\nDescription: A\r\n b\r\n",
            " \n\t\nMaintainer: W <w@x>\n \t\nmaintainer:\tV <v@x>  \nDepends: libc6, libd (>=  2)  \nDescription: A \n\t b",
        ] {
            let plan = laid(control).unwrap();
            assert_eq!(plan.maintainer, "V <v@x>", "{control:?}");
            assert_eq!(plan.depends, ["dkms (>= 3.0.11)", "libc6", "libd (>= 2)"], "{control:?}");
            assert_eq!((plan.summary.as_str(), plan.description.as_str()), ("A", "b"), "{control:?}");
        }
        assert_eq!(laid("").unwrap(), plan());
        assert_eq!(laid("\n# nothing\n").unwrap(), plan());
        for control in ["no field\n", "Package: a\nno field\n", " b\nPackage: a\n", ": value\n", "Package: a\n\n b\n"] {
            let error = laid(control).unwrap_err();
            assert!(error.contains("control: the line \"") && error.contains("deb-control(5)"), "{control:?}: {error}");
        }
    }

    #[test]
    fn a_spec_template() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("x.spec");
        let text = "%{?!module_name: %{error: no}}\nSummary: The %{module_name} driver\nLicense: MIT\nRequires: dkms >= 3\nRequires: bash\n%description\nAbout it.\n\
                    %prep\n%{anything}\n%post\necho %{module_name} %{version} 100%%\n%files\n/x\n";
        fs_err::write(&file, text).unwrap();
        let mut plan = plan();
        let package = Package::new("hello", "1").unwrap();
        spec(&file, &package, &mut plan).unwrap();
        assert_eq!((plan.summary.as_str(), plan.licence.as_str()), ("The hello driver", "MIT"));
        assert_eq!(plan.depends, ["dkms >= 3", "bash"]);
        assert_eq!(plan.scripts.post_install, "echo hello 1 100%\n");
        assert_eq!(plan.description, "About it.");
        fs_err::write(&file, "%post\n%{other} x\n").unwrap();
        assert!(spec(&file, &package, &mut plan).unwrap_err().to_string().contains("%{other}"));
    }
}
