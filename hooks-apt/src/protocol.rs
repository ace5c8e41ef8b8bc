//! What apt tells a `DPkg::Pre-Install-Pkgs` program, version 3 of its protocol: a line with the version, lines of apt's
//! configuration, an empty line, then one line for each step, in the order in which dpkg will take them (apt.conf(5),
//! "How APT calls dpkg"; the fields are listed in apt's own doc/examples and apt-pkg/deb/dpkgpm.cc).

/// One thing that dpkg is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The package.
    pub name: String,
    /// The version that is installed now.
    pub old_version: Option<String>,
    /// The version to come.
    pub new_version: Option<String>,
    /// What happens.
    pub action: Action,
}

/// What happens to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Its archive is unpacked: the file.
    Unpack(String),
    /// It is configured.
    Configure,
    /// It goes.
    Remove,
    /// Anything else.
    Other,
}

/// The steps of a list; `None` if it is not of version 3.
pub fn parse(text: &str) -> Option<Vec<Step>> {
    let mut lines = text.lines();
    if lines.next()?.trim() != "VERSION 3" {
        return None;
    }
    Some(lines.skip_while(|line| !line.is_empty()).skip(1).filter_map(step).collect())
}

/// `NAME OLD ARCH MULTIARCH < NEW ARCH MULTIARCH FILE|**CONFIGURE**|**REMOVE**`; `-` stands for no version.
fn step(line: &str) -> Option<Step> {
    let fields: Vec<&str> = line.splitn(9, ' ').collect();
    let [name, old, _, _, _, new, _, _, action] = fields[..] else { return None };
    let version = |text: &str| (text != "-").then(|| text.to_owned());
    Some(Step {
        name: name.to_owned(),
        old_version: version(old),
        new_version: version(new),
        action: match action {
            "**CONFIGURE**" => Action::Configure,
            "**REMOVE**" => Action::Remove,
            file if file.starts_with('/') => Action::Unpack(file.to_owned()),
            _ => Action::Other,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list() {
        let text = "VERSION 3\nAPT::Architecture=amd64\nquiet=1\n\n\
            linux-image-6.1 - - none < 6.1.4-1 amd64 none /var/cache/apt/archives/a b.deb\n\
            hello-dkms 1-1 all none < 2-1 all foreign **CONFIGURE**\n\
            old-dkms 1-1 all none > - - none **REMOVE**\nrubbish\n";
        let steps = parse(text).unwrap();
        assert_eq!(steps.len(), 3);
        assert_eq!(steps[0].action, Action::Unpack("/var/cache/apt/archives/a b.deb".into()));
        assert_eq!((steps[0].old_version.as_deref(), steps[0].new_version.as_deref()), (None, Some("6.1.4-1")));
        assert_eq!(steps[1].action, Action::Configure);
        assert_eq!((&steps[2].action, steps[2].new_version.as_deref()), (&Action::Remove, None));
        assert_eq!(parse("VERSION 2\n\n"), None);
        assert_eq!(parse(""), None);
    }
}
