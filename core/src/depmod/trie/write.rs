//! Writing the binary files beside modules.dep.

use super::{HAS_CHILDREN, HAS_PREFIX, HAS_VALUES, MAGIC};

/// The version that kmod 30 and 34 write.
const VERSION: u32 = 0x0002_0001;

/// Where a node is, as seen from its children. kmod 30 writes it behind them, kmod 34 before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The root is the first node.
    ParentsFirst,
    /// The root is the last node.
    ChildrenFirst,
}

impl Layout {
    /// That of a file; `None` if it is no such file, or has another version.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let number = |at| super::number(bytes, at);
        let is_known = number(0)? == MAGIC && number(4)? == VERSION;
        is_known.then_some(if number(8)? & super::OFFSET == HEADER { Self::ParentsFirst } else { Self::ChildrenFirst })
    }
}

/// Of the header: magic number, version, root.
const HEADER: u32 = 12;

/// A key with one of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The values of a key are in the order of their priorities.
    pub priority: u32,
    /// The value.
    pub value: &'a [u8],
}

/// A file with these entries. `None` if it would be too long (256 MiB).
pub fn file(mut entries: Vec<Entry<'_>>, layout: Layout) -> Option<Vec<u8>> {
    entries.sort_unstable();
    let mut bytes = Vec::with_capacity(entries.len() * 48);
    for number in [MAGIC, VERSION, 0] {
        bytes.extend(number.to_be_bytes());
    }
    let root = node(&mut bytes, &entries, 0, true, layout);
    bytes[8..12].copy_from_slice(&root.to_be_bytes());
    (bytes.len() <= super::OFFSET as usize).then_some(bytes)
}

/// Writes the node of `entries`, whose keys have the same first `skip` letters, and all below it. Gives what leads to it.
fn node(bytes: &mut Vec<u8>, entries: &[Entry<'_>], skip: usize, is_root: bool, layout: Layout) -> u32 {
    let (first, last) = match entries {
        [first, .., last] => (&first.key[skip..], &last.key[skip..]),
        [only] => (&only.key[skip..], &only.key[skip..]),
        [] => (&[][..], &[][..]),
    };
    // They are sorted: what the outer ones share all do. The root has no prefix.
    let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let prefix = if is_root { &[][..] } else { &first[..shared] };
    let skip = skip + prefix.len();
    let (values, below) = entries.split_at(entries.iter().take_while(|entry| entry.key.len() == skip).count());
    let children: Vec<&[Entry<'_>]> = below.chunk_by(|a, b| a.key[skip] == b.key[skip]).collect();
    let range = match (below.first(), below.last()) {
        (Some(first), Some(last)) => Some((first.key[skip], last.key[skip])),
        _ => None,
    };
    let mut written = Vec::new();
    if layout == Layout::ChildrenFirst {
        written.extend(children.iter().map(|child| node(bytes, child, skip + 1, false, layout)));
    }
    // A file that has become too long for its numbers is not used.
    let mut at = u32::try_from(bytes.len()).unwrap_or_default();
    if !prefix.is_empty() {
        at |= HAS_PREFIX;
        bytes.extend_from_slice(prefix);
        bytes.push(0);
    }
    let mut numbers = 0;
    if let Some((first, last)) = range {
        at |= HAS_CHILDREN;
        bytes.extend([first, last]);
        numbers = bytes.len();
        bytes.resize(numbers + 4 * (usize::from(last - first) + 1), 0);
    }
    if !values.is_empty() {
        at |= HAS_VALUES;
        bytes.extend(u32::try_from(values.len()).unwrap_or_default().to_be_bytes());
        for value in values {
            bytes.extend(value.priority.to_be_bytes());
            bytes.extend_from_slice(value.value);
            bytes.push(0);
        }
    }
    if layout == Layout::ParentsFirst {
        written.extend(children.iter().map(|child| node(bytes, child, skip + 1, false, layout)));
    }
    if let Some((first, _)) = range {
        for (child, leads) in children.iter().zip(written) {
            let at = numbers + 4 * usize::from(child[0].key[skip] - first);
            bytes[at..at + 4].copy_from_slice(&leads.to_be_bytes());
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::Trie;
    use super::*;

    /// What is written can be read; the bytes themselves are compared with depmod's own in the suite `depmod`.
    #[test]
    fn both_layouts() {
        let entry = |key: &'static str, priority, value: &'static str| Entry {
            key: key.as_bytes(),
            priority,
            value: value.as_bytes(),
        };
        let entries = vec![
            entry("ab", 2, "b"),
            entry("ab", 1, "a"),
            entry("abc", 0, ""),
            entry("x", 3, "y"),
            entry("", 9, "none"),
        ];
        for layout in [Layout::ParentsFirst, Layout::ChildrenFirst] {
            let bytes = file(entries.clone(), layout).unwrap();
            assert_eq!(Layout::of(&bytes), Some(layout));
            let trie = Trie::new(bytes).unwrap();
            assert_eq!(trie.get("ab"), ["a", "b"]);
            assert_eq!(trie.get("abc"), [""]);
            assert_eq!(trie.get(""), ["none"]);
            assert_eq!(trie.first_values().len(), 4);
        }
        assert_eq!(file(Vec::new(), Layout::ParentsFirst).unwrap().len(), 12);
        assert_eq!(Layout::of(b"kernel/a.ko:"), None);
    }
}
