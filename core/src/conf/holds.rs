//! Which packages the administrator wants left as they are: `/etc/dkms/holds`, which `dkms hold` writes and anybody may edit.
//!
//! A line is the name of a package, held for all kernels, or a name and a kernel's release. `#` begins a comment.

use std::collections::BTreeSet;

use crate::durable::{self, FileError};
use crate::names::{Name, Release};
use crate::tree::Trees;

/// The file.
pub const HOLDS: &str = "/etc/dkms/holds";

/// A package that is held, for all kernels or for one.
pub type Hold = (Name, Option<Release>);

/// All holds of a system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    /// The file, as it is.
    text: String,
    holds: BTreeSet<Hold>,
}

impl Holds {
    /// Reads the file; there is no hold if there is no file.
    pub fn read(trees: &Trees) -> Result<Self, FileError> {
        let bytes = durable::read(&trees.outer(HOLDS))?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(text: &str) -> Self {
        let holds = text.lines().filter_map(of_line).collect();
        Self { text: text.to_owned(), holds }
    }

    /// Every hold, in order.
    pub fn all(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter()
    }

    /// Whether the package `name` is to be left as it is for the kernel `release`.
    pub fn holds(&self, name: &Name, release: &Release) -> bool {
        let of = |release: Option<&Release>| self.holds.contains(&(name.clone(), release.cloned()));
        of(None) || of(Some(release))
    }

    /// Whether it is held for some kernel.
    pub fn holds_any(&self, name: &Name) -> bool {
        self.holds.iter().any(|(held, _)| held == name)
    }

    /// Adds holds; says whether any is new.
    pub fn add(&mut self, holds: &[Hold]) -> bool {
        let before = self.holds.len();
        for hold in holds {
            if self.holds.insert(hold.clone()) {
                if !self.text.is_empty() && !self.text.ends_with('\n') {
                    self.text.push('\n');
                }
                let (name, release) = hold;
                let release = release.as_ref().map(|release| format!(" {release}")).unwrap_or_default();
                self.text.push_str(&format!("{name}{release}\n"));
            }
        }
        self.holds.len() > before
    }

    /// Takes the holds for which `goes` holds away, and leaves all other lines; says whether there was any.
    pub fn remove(&mut self, goes: impl Fn(&Hold) -> bool) -> bool {
        let before = self.holds.len();
        self.holds.retain(|hold| !goes(hold));
        let stays = |line: &&str| of_line(line).is_none_or(|hold| !goes(&hold));
        self.text = self.text.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
        self.holds.len() < before
    }

    /// Writes the file anew.
    pub fn write(&self, trees: &Trees) -> Result<(), FileError> {
        let path = trees.outer(HOLDS);
        if let Some(dir) = path.parent() {
            durable::own_dirs(dir)?;
        }
        durable::write_atomic(&path, self.text.as_bytes(), 0o644)
    }
}

fn of_line(line: &str) -> Option<Hold> {
    let mut words = line.split('#').next()?.split_whitespace();
    let name = Name::new(words.next()?).ok()?;
    match (words.next(), words.next()) {
        (None, _) => Some((name, None)),
        (Some(release), None) => Some((name, Some(Release::new(release).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(name: &str, release: Option<&str>) -> Hold {
        (Name::new(name).unwrap(), release.map(|release| Release::new(release).unwrap()))
    }

    #[test]
    fn lines_and_what_they_hold() {
        let holds = Holds::parse("# mine\nhello  # until 2.1\nother 6.1\nmore words than two\n\n  nvidia\t6.9\n");
        assert_eq!(holds.all().count(), 3);
        for (name, release, held) in [
            ("hello", "6.1", true),
            ("hello", "6.9", true),
            ("other", "6.1", true),
            ("other", "6.9", false),
            ("nvidia", "6.9", true),
            ("more", "words", false),
        ] {
            assert_eq!(
                holds.holds(&Name::new(name).unwrap(), &Release::new(release).unwrap()),
                held,
                "{name} {release}"
            );
        }
    }

    #[test]
    fn what_the_administrator_wrote_stays() {
        let mut holds = Holds::parse("# mine\nhello # why\nother 6.1");
        assert!(holds.add(&[hold("new", None), hold("hello", None)]));
        assert!(!holds.add(&[hold("new", None)]));
        assert_eq!(holds.text, "# mine\nhello # why\nother 6.1\nnew\n");
        assert!(holds.remove(|(name, _)| name.as_str() == "hello"));
        assert!(!holds.remove(|(name, _)| name.as_str() == "hello"));
        assert_eq!(holds.text, "# mine\nother 6.1\nnew\n");
        assert_eq!(Holds::parse(&holds.text), holds);
    }
}
