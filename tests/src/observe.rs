//! What a run of dkms left behind, as text that two programs can be compared by.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::bed::Bed;
use crate::settings;

/// Everything about a bed that dkms answers for: `dkms status`, the tree, the files of each kernel's module directory,
/// what depmod knows of them, and the modinfo of each.
///
/// Left out: what only one of the two programs keeps (our manifests, journal and records), keys, dates, signatures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    sections: BTreeMap<String, Vec<String>>,
}

impl Observation {
    /// Looks at a bed.
    pub fn of(bed: &Bed) -> Result<Self> {
        let script = fs_err::read_to_string(settings::project().join("tests/scripts/observe.sh"))?;
        let text = bed.sh(&script)?.ok().context("observe the bed")?;
        Ok(Self::parse(&text))
    }

    /// Reads what `observe.sh` prints.
    fn parse(text: &str) -> Self {
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = String::new();
        for line in text.lines() {
            if let Some(next) = line.strip_prefix("@@ ") {
                next.clone_into(&mut name);
                sections.entry(name.clone()).or_default();
            } else {
                sections.entry(name.clone()).or_default().push(line.to_owned());
            }
        }
        Self { sections }
    }

    /// The lines of one section; none if it is not there.
    pub fn lines(&self, section: &str) -> &[String] {
        self.sections.get(section).map_or(&[], Vec::as_slice)
    }

    /// The names of its sections.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// Leaves a section out.
    pub fn forget(&mut self, section: &str) {
        self.sections.remove(section);
    }

    /// Without the files that ours keeps on purpose where the `classic` does not (COMPATIBILITY.md): the exports of modules
    /// in subdirectories. One that the classic has stays, so that it is missed where ours lacks it.
    #[must_use]
    pub fn without_own_exports(mut self, classic: &Self) -> Self {
        if let Some(tree) = self.sections.get_mut("tree") {
            tree.retain(|line| !line.contains("/module/Module.symvers ->") || classic.lines("tree").contains(line));
        }
        self
    }

    /// Every line in which `other` differs, under the name of its section; empty if none.
    pub fn difference(&self, other: &Self) -> String {
        let names: std::collections::BTreeSet<&String> = self.sections.keys().chain(other.sections.keys()).collect();
        names
            .into_iter()
            .filter_map(|name| {
                let lines = difference(self.lines(name), other.lines(name));
                (!lines.is_empty()).then(|| format!("in {name}:\n{lines}"))
            })
            .collect()
    }
}

/// The lines that only `left` has (`-`) and that only `right` has (`+`), in order.
pub fn difference(left: &[String], right: &[String]) -> String {
    // Longest common subsequence, after the equal ends are cut off: lists are long, differences short.
    let head = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[head..], &right[head..]);
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[..left.len() - tail], &right[..right.len() - tail]);
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i][j] =
                if left[i] == right[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, String::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines += &format!("  - {}\n", left[i]);
            i += 1;
        } else {
            lines += &format!("  + {}\n", right[j]);
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_that_only_ours_keeps_are_no_difference_and_missing_ones_are() {
        let tree = |lines: &[&str]| Observation::parse(&format!("@@ tree\n{}", lines.join("\n")));
        let (with, without) =
            (&["f 644 a/1/k/x/module/Module.symvers -> "][..], &["f 644 a/1/k/x/module/a.ko -> "][..]);
        let differs = |classic: &[&str], ours: &[&str]| {
            let classic = tree(classic);
            !classic.difference(&tree(ours).without_own_exports(&classic)).is_empty()
        };
        assert!(!differs(without, &[without, with].concat()));
        assert!(!differs(&[without, with].concat(), &[without, with].concat()));
        assert!(differs(&[without, with].concat(), without));
    }

    #[test]
    fn a_difference_names_its_section_and_lines() {
        let classic = Observation::parse("@@ status\na/1: added\nb/1: added\n@@ tree\nd 755 a -> \n");
        let ours = Observation::parse("@@ status\na/1: added\nc/1: added\nb/1: added\n@@ tree\n");
        assert_eq!(classic.difference(&ours), "in status:\n  + c/1: added\nin tree:\n  - d 755 a -> \n");
        assert_eq!(classic.difference(&classic), "");
    }
}
