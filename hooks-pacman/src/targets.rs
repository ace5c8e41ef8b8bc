//! What a hook gets on its standard input: the paths of the transaction that match its triggers, one a line, without
//! a leading slash (alpm-hooks(5), `NeedsTargets`).

use std::collections::BTreeSet;
use std::io::Read;

use dkms_core::names::Release;

/// The paths of a transaction, by what they mean. Whether a thing comes or goes, the disk tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Directories of `/usr/src` with a dkms.conf, by name: normally `<name>-<version>`.
    pub sources: BTreeSet<String>,
    /// Kernels whose modules come or go.
    pub kernels: BTreeSet<Release>,
    /// Kernels whose headers come or go.
    pub headers: BTreeSet<Release>,
}

/// More than a transaction with every kernel of the world has.
const LONGEST: u64 = 64 * 1024 * 1024;

impl Targets {
    /// Reads them to the end of `input`.
    pub fn read(input: impl Read) -> std::io::Result<Self> {
        let mut text = Vec::new();
        input.take(LONGEST).read_to_end(&mut text)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Understands the lines of `text`; what is no business of ours is passed over.
    pub fn parse(text: &str) -> Self {
        let mut targets = Self::default();
        for line in text.lines() {
            let path = line.trim().trim_start_matches('/');
            if let Some(source) = path.strip_prefix("usr/src/").and_then(|rest| rest.strip_suffix("/dkms.conf")) {
                if !source.is_empty() && !source.contains('/') && !source.starts_with('.') {
                    targets.sources.insert(source.to_owned());
                }
            } else if let Some((release, rest)) =
                path.strip_prefix("usr/lib/modules/").and_then(|rest| rest.split_once('/'))
            {
                let Ok(release) = Release::new(release) else { continue };
                if rest == "build" || rest.starts_with("build/") {
                    targets.headers.insert(release);
                } else {
                    targets.kernels.insert(release);
                }
            }
        }
        targets
    }

    /// Kernels of which anything comes or goes.
    pub fn all_kernels(&self) -> BTreeSet<Release> {
        self.kernels.union(&self.headers).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_sorted_by_meaning() {
        let targets = Targets::parse(
            "usr/src/hello-1.0/dkms.conf\n/usr/src/a-b-2/dkms.conf\nusr/src/x/y/dkms.conf\nusr/src/../dkms.conf\n\
             usr/lib/modules/6.1-arch1-1/modules.order\nusr/lib/modules/6.1-arch1-1/build/include/\n\
             usr/lib/modules/6.2-lts/vmlinuz\nusr/lib/modules/a b/vmlinuz\nusr/lib/modules/6.3\nboot/vmlinuz\n\n",
        );
        let words = |set: &BTreeSet<Release>| set.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(targets.sources.iter().collect::<Vec<_>>(), ["a-b-2", "hello-1.0"]);
        assert_eq!(words(&targets.kernels), ["6.1-arch1-1", "6.2-lts"]);
        assert_eq!(words(&targets.headers), ["6.1-arch1-1"]);
        assert_eq!(targets.all_kernels().len(), 2);
    }
}
