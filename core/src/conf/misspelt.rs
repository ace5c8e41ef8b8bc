//! Names in a dkms.conf that are nearly a directive's.
//!
//! bash sets any variable without a word, so a slip of the finger leaves a directive unset. This looks at the text
//! only to help: it decides nothing.

use std::fmt;
use std::path::Path;

use super::directive::PACKAGE;
use crate::durable;
use crate::names::nearest;

/// An assignment to a name that is no directive but nearly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelt {
    /// Its line, from 1.
    pub line: usize,
    /// The name as it is in the file.
    pub name: String,
    /// The directive that was probably meant.
    pub meant: &'static str,
}

impl fmt::Display for Misspelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} is not a directive: did you mean {}?", self.line, self.name, self.meant)
    }
}

/// The misspelt directives of the dkms.conf at `path`; none if it can't be read.
pub fn misspelt_in(path: &Path) -> Vec<Misspelt> {
    misspelt(&String::from_utf8_lossy(&durable::read(path).ok().flatten().unwrap_or_default()))
}

/// The assignments in `text` whose names are nearly a directive's, or are one but for their case. A name that the file uses itself (`$NAME`) is a
/// variable of its author's, however it is spelt.
pub fn misspelt(text: &str) -> Vec<Misspelt> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let name = assigned(line)?;
            let used = text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
            if used || PACKAGE.contains(&name) {
                return None;
            }
            let upper = name.to_ascii_uppercase();
            let meant = match PACKAGE.iter().find(|directive| **directive == upper) {
                Some(directive) => directive,
                None if name == upper => nearest(name, PACKAGE.iter().copied())?,
                None => return None,
            };
            Some(Misspelt { line: index + 1, name: name.to_owned(), meant })
        })
        .collect()
}

/// The name that a line assigns to, as `NAME=`, `NAME+=` or `NAME[i]=`, also behind `export` or `declare -a`.
fn assigned(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let builtin = ["export ", "declare ", "typeset ", "readonly "].iter().find_map(|word| line.strip_prefix(word));
    let mut line = builtin.unwrap_or(line).trim_start();
    while let Some(options) = line.strip_prefix('-').filter(|_| builtin.is_some()) {
        line = options.split_once(' ')?.1.trim_start();
    }
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, rest) = line.split_at(end);
    let rest = match rest.strip_prefix('[') {
        Some(index) => index.split_once(']')?.1,
        None => rest,
    };
    let is_assignment = rest.strip_prefix('+').unwrap_or(rest).starts_with('=');
    (is_assignment && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_named_with_their_line_and_what_was_meant() {
        for (name, meant) in [
            ("BUILT_MODULE_NAM[0]", "BUILT_MODULE_NAME"),
            ("BUILD_MODULE_NAME[0]", "BUILT_MODULE_NAME"),
            ("DEST_MODUL_LOCATION[12]", "DEST_MODULE_LOCATION"),
            ("PACAKGE_NAME", "PACKAGE_NAME"),
            ("AUTO_INSTALL", "AUTOINSTALL"),
            ("MKAE[0]", "MAKE"),
            ("BUILD_EXCLUSIVE_KERNEL_MNI", "BUILD_EXCLUSIVE_KERNEL_MIN"),
            ("autoinstall", "AUTOINSTALL"),
            ("Built_Module_Name[0]", "BUILT_MODULE_NAME"),
        ] {
            for before in ["", "export ", "declare -a ", "typeset -x -a "] {
                let found = misspelt(&format!("# a comment\n  {before}{name}=\"x\"\n"));
                let name = name.split('[').next().unwrap();
                assert_eq!(found, [Misspelt { line: 2, name: name.to_owned(), meant }]);
            }
        }
    }

    #[test]
    fn what_is_no_slip_is_left_alone() {
        for text in [
            "BUILT_MODULE_NAME[0]=x",
            "BUILT_MODULE_NAMES=\"a b\"\nfor m in $BUILT_MODULE_NAMES; do :; done",
            "KERNELDIR=/x\nCC=gcc\nMAKEFLAGS=-s\nPATCHES=1\nSRC=x\nARCH=y",
            "# BUILT_MODULE_NAM=x",
            "if [ \"$BUILT_MODULE_NAM\" = x ]; then :; fi",
            "BUILT_MODULE_NAM",
            "make=x\nMAKE=\"$make all\"",
            "Built_Module=x",
            "declare -p",
            "",
        ] {
            assert_eq!(misspelt(text), [], "{text}");
        }
    }
}
