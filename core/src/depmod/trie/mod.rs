//! The binary files beside modules.dep (`modules.dep.bin` and its like), which modprobe reads instead of the text: a trie
//! that depmod writes. Numbers are big-endian. A node has, as the upper bits of the number that leads to it say, a prefix (ended by a NUL),
//! a range of characters with a number for each that leads to a child, and a list of values (a priority, a text ended by a NUL).

pub mod write;

use std::collections::HashSet;

/// What such a file begins with.
const MAGIC: u32 = 0xb007_f457;

/// The version that is understood, its upper half; the lower one tells of additions.
const MAJOR: u32 = 2;

const HAS_PREFIX: u32 = 1 << 31;
const HAS_VALUES: u32 = 1 << 30;
const HAS_CHILDREN: u32 = 1 << 29;
const OFFSET: u32 = (1 << 28) - 1;

/// The content of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trie {
    bytes: Vec<u8>,
    root: u32,
}

struct Node<'a> {
    prefix: &'a [u8],
    first: u8,
    /// Four bytes a child.
    children: &'a [u8],
    values: Vec<&'a [u8]>,
}

impl Trie {
    /// `None` if it is no such file.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let root = number(&bytes, 8)?;
        let is_known = number(&bytes, 0)? == MAGIC && number(&bytes, 4)? >> 16 == MAJOR;
        is_known.then_some(Self { bytes, root })
    }

    /// The first values of all keys, in any order; what is damaged is left out.
    pub fn first_values(&self) -> Vec<&[u8]> {
        let mut found = Vec::new();
        let mut todo = vec![self.root];
        // A node is one other's child: only damage leads to it twice, or in a circle.
        let mut seen = HashSet::new();
        while let Some(at) = todo.pop() {
            let Some(node) = self.node(at).filter(|_| seen.insert(at & OFFSET)) else { continue };
            found.extend(node.values.first());
            let children = node.children.chunks_exact(4).filter_map(|child| number(child, 0));
            todo.extend(children.filter(|child| child & OFFSET != 0));
        }
        found
    }

    /// The values of `key`.
    pub fn get(&self, key: &str) -> Vec<String> {
        self.of_key(key).map(|node| node.values.into_iter().map(lossy).collect()).unwrap_or_default()
    }

    /// The first value of `key`.
    pub fn first(&self, key: &str) -> Option<&[u8]> {
        self.of_key(key)?.values.first().copied()
    }

    /// The node that `key` leads to.
    fn of_key(&self, key: &str) -> Option<Node<'_>> {
        let mut rest = key.as_bytes();
        let mut at = self.root;
        loop {
            let node = self.node(at)?;
            let more = rest.strip_prefix(node.prefix)?;
            let Some((next, more)) = more.split_first() else { return Some(node) };
            let index = usize::from(next.checked_sub(node.first)?);
            at = number(node.children, index * 4).filter(|child| child & OFFSET != 0)?;
            rest = more;
        }
    }

    /// The node that `at` leads to. Some kmods write parents before their children (34), some behind.
    fn node(&self, at: u32) -> Option<Node<'_>> {
        let offset = at & OFFSET;
        let mut rest = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let mut prefix = &[][..];
        if at & HAS_PREFIX != 0 {
            (prefix, rest) = text(rest)?;
        }
        let (mut first, mut children) = (0, &[][..]);
        if at & HAS_CHILDREN != 0 {
            let [from, to, behind @ ..] = rest else { return None };
            let count = usize::from(to.checked_sub(*from)?) + 1;
            first = *from;
            (children, rest) = behind.split_at_checked(count * 4)?;
        }
        let mut values = Vec::new();
        if at & HAS_VALUES != 0 {
            let count = number(rest, 0)?;
            rest = rest.get(4..)?;
            for _ in 0..count {
                let value;
                (value, rest) = text(rest.get(4..)?)?;
                values.push(value);
            }
        }
        Some(Node { prefix, first, children, values })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.get(..4)?.try_into().ok().map(u32::from_be_bytes)
}

/// A text, and what follows its NUL.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A file with these keys and values, its nodes shared as little as depmod's are.
    pub fn file(entries: &[(&str, &str)]) -> Vec<u8> {
        fn write(bytes: &mut Vec<u8>, entries: &BTreeMap<&[u8], Vec<&str>>) -> u32 {
            let longest = entries.keys().next().copied().unwrap_or_default();
            let shared = |length: usize| entries.keys().all(|key| key.starts_with(&longest[..length]));
            let prefix = &longest[..(0..=longest.len()).rev().find(|length| shared(*length)).unwrap_or(0)];
            let mut below: BTreeMap<u8, BTreeMap<&[u8], Vec<&str>>> = BTreeMap::new();
            for (key, values) in entries {
                if let Some((first, rest)) = key[prefix.len()..].split_first() {
                    below.entry(*first).or_default().insert(rest, values.clone());
                }
            }
            let mut at = u32::try_from(bytes.len()).unwrap();
            if !prefix.is_empty() {
                at |= HAS_PREFIX;
                bytes.extend(prefix);
                bytes.push(0);
            }
            let mut numbers = 0;
            if let (Some((first, _)), Some((last, _))) = (below.first_key_value(), below.last_key_value()) {
                at |= HAS_CHILDREN;
                bytes.extend([*first, *last]);
                numbers = bytes.len();
                bytes.resize(numbers + 4 * (usize::from(last - first) + 1), 0);
            }
            if let Some(values) = entries.get(prefix) {
                at |= HAS_VALUES;
                bytes.extend(u32::try_from(values.len()).unwrap().to_be_bytes());
                for value in values {
                    bytes.extend([&[0; 4], value.as_bytes(), &[0]].concat());
                }
            }
            let first = below.keys().next().copied().unwrap_or_default();
            for (key, entries) in below {
                let child = write(bytes, &entries).to_be_bytes();
                let at = numbers + 4 * usize::from(key - first);
                bytes[at..at + 4].copy_from_slice(&child);
            }
            at
        }
        let mut all: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
        for (key, value) in entries {
            all.entry(key.as_bytes()).or_default().push(value);
        }
        let mut bytes = [MAGIC, 0x2_0001, 0].iter().flat_map(|number| number.to_be_bytes()).collect();
        let root = write(&mut bytes, &all);
        bytes[8..12].copy_from_slice(&root.to_be_bytes());
        bytes
    }

    const ENTRIES: [(&str, &str); 5] = [
        ("crc16", "kernel/lib/crc16.ko.xz:"),
        ("crc32", "kernel/lib/crc32.ko.xz:"),
        ("crc32c", "kernel/lib/crc32c.ko.xz: kernel/lib/crc32.ko.xz"),
        ("ext4", "kernel/fs/ext4.ko.xz: kernel/lib/crc16.ko.xz"),
        ("ext4", "kernel/fs/other.ko.xz:"),
    ];

    #[test]
    fn keys_and_values() {
        let trie = Trie::new(file(&ENTRIES)).unwrap();
        let mut all = trie.first_values();
        all.sort_unstable();
        let mut expected: Vec<&[u8]> = ENTRIES[..4].iter().map(|(_, value)| value.as_bytes()).collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
        for (key, value) in &ENTRIES[..4] {
            assert_eq!(trie.first(key), Some(value.as_bytes()), "{key}");
        }
        assert_eq!(trie.get("crc32c"), [ENTRIES[2].1]);
        assert_eq!(trie.get("ext4"), [ENTRIES[3].1, ENTRIES[4].1]);
        for key in ["", "crc", "crc3", "crc32cc", "zzz", "a", "ext"] {
            assert_eq!((trie.get(key), trie.first(key)), (Vec::new(), None), "{key}");
        }
        assert_eq!(Trie::new(file(&[])).unwrap().first_values(), [[0; 0]; 0]);
    }

    /// A damaged file gives less, in bounded time; nothing else.
    #[test]
    fn damage() {
        let whole = file(&ENTRIES);
        for cut in 0..whole.len() {
            if let Some(trie) = Trie::new(whole[..cut].to_vec()) {
                assert!(trie.first_values().len() <= ENTRIES.len(), "{cut}");
                trie.get("crc32c");
            }
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Some(trie) = Trie::new(bytes) {
                    trie.first_values();
                    trie.get("ext4");
                }
            }
        }
        assert_eq!(Trie::new(b"kernel/a.ko:\n".to_vec()), None);
    }
}
