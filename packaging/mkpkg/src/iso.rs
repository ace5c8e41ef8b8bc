//! A small ISO 9660 image (ECMA-119) with Rock Ridge names (IEEE P1282): enough for a driver disk.

use std::collections::BTreeMap;

use dkms_core::clock;

use crate::plan::PackageError;

const SECTOR: usize = 2048;
/// What a directory record has room for besides its other fields.
const MAX_NAME: usize = 150;

/// Makes the image of `files` (relative path to content) with the volume label `label` (upper case letters,
/// digits and `_`, at most 32); everything has the time `mtime`, in seconds since 1970, until 2155.
pub fn image(label: &str, files: &BTreeMap<String, Vec<u8>>, mtime: i64) -> Result<Vec<u8>, PackageError> {
    let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if label.is_empty() || label.len() > 32 || !label.chars().all(good) {
        return Err(PackageError::Word {
            what: "volume label",
            text: label.to_owned(),
            why: "it is not of the characters that ISO 9660 allows",
        });
    }
    let mut disc = Disc { nodes: vec![Node::default()], mtime };
    for (path, content) in files {
        disc.add(path, content)?;
    }
    disc.write(label)
}

#[derive(Default)]
struct Node<'a> {
    name: String,
    parent: usize,
    children: Vec<usize>,
    content: Option<&'a [u8]>,
    sector: usize,
    length: usize,
}

struct Disc<'a> {
    nodes: Vec<Node<'a>>,
    mtime: i64,
}

impl<'a> Disc<'a> {
    fn add(&mut self, path: &str, content: &'a [u8]) -> Result<(), PackageError> {
        let mut here = 0;
        let parts: Vec<_> = path.split('/').collect();
        for (n, part) in parts.iter().enumerate() {
            let is_last = n + 1 == parts.len();
            let refused = |why| PackageError::File { path: path.to_owned(), why };
            if part.is_empty() || [".", ".."].contains(part) || part.len() > MAX_NAME || n > 6 {
                return Err(refused("its name is empty, too long or too deep for the image"));
            }
            let found = self.nodes[here].children.iter().copied().find(|c| self.nodes[*c].name == *part);
            here = match found {
                Some(node) if !is_last && self.nodes[node].content.is_none() => node,
                Some(_) => return Err(refused("it is a file and a directory")),
                None => {
                    let node = Node {
                        name: (*part).to_owned(),
                        parent: here,
                        content: is_last.then_some(content),
                        ..Node::default()
                    };
                    self.nodes.push(node);
                    let new = self.nodes.len() - 1;
                    self.nodes[here].children.push(new);
                    new
                }
            };
        }
        Ok(())
    }

    fn write(mut self, label: &str) -> Result<Vec<u8>, PackageError> {
        // The path table wants directories by depth, then by parent; adding keeps parents before children.
        let mut directories = vec![0];
        let mut at = 0;
        while at < directories.len() {
            let node = directories[at];
            directories.extend(self.nodes[node].children.iter().copied().filter(|c| self.nodes[*c].content.is_none()));
            at += 1;
        }
        let table_size: usize = directories.iter().map(|d| self.path_entry(*d, &directories, true).len()).sum();
        if table_size > SECTOR {
            return Err(PackageError::File {
                path: label.to_owned(),
                why: "there are too many directories for one image",
            });
        }
        // 16 empty sectors, two descriptors, the path table in both byte orders.
        let mut next = 20;
        for node in &directories {
            self.nodes[*node].sector = next;
            self.nodes[*node].length = self.directory(*node).len();
            next += self.nodes[*node].length / SECTOR;
        }
        for node in &mut self.nodes {
            if let Some(content) = node.content {
                (node.sector, node.length) = (next, content.len());
                next += content.len().div_ceil(SECTOR);
            }
        }
        let mut bytes = vec![0; 16 * SECTOR];
        bytes.extend(self.descriptor(label, next, table_size));
        let mut end = b"\xffCD001\x01".to_vec();
        end.resize(SECTOR, 0);
        bytes.extend(end);
        for little in [true, false] {
            let mut table: Vec<u8> =
                directories.iter().flat_map(|d| self.path_entry(*d, &directories, little)).collect();
            table.resize(SECTOR, 0);
            bytes.extend(table);
        }
        for node in &directories {
            bytes.extend(self.directory(*node));
        }
        for node in &self.nodes {
            if let Some(content) = node.content {
                bytes.extend(content);
                bytes.resize(bytes.len().div_ceil(SECTOR) * SECTOR, 0);
            }
        }
        Ok(bytes)
    }

    /// The plain name that readers without Rock Ridge see.
    fn plain(&self, node: usize) -> String {
        if self.nodes[node].content.is_some() { format!("F{node:07}.BIN;1") } else { format!("D{node:07}") }
    }

    fn path_entry(&self, node: usize, directories: &[usize], little: bool) -> Vec<u8> {
        let name = if node == 0 { vec![0] } else { self.plain(node).into_bytes() };
        let parent = directories.iter().position(|d| *d == self.nodes[node].parent).unwrap_or(0) + 1;
        let (sector, parent) = (u32_of(self.nodes[node].sector), u16::try_from(parent).unwrap_or(1));
        let mut entry = vec![byte(name.len()), 0];
        if little {
            entry.extend(sector.to_le_bytes());
            entry.extend(parent.to_le_bytes());
        } else {
            entry.extend(sector.to_be_bytes());
            entry.extend(parent.to_be_bytes());
        }
        entry.extend(&name);
        entry.resize(entry.len().div_ceil(2) * 2, 0);
        entry
    }

    /// The records of a directory; none crosses a sector's end.
    fn directory(&self, node: usize) -> Vec<u8> {
        let mut own = px(true);
        if node == 0 {
            // SP begins the system use area of the first record; ER names the extension.
            own = [&b"SP\x07\x01\xbe\xef\x00"[..], &own, b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A"].concat();
        }
        let mut records = vec![self.record(node, &[0], &own), self.record(self.nodes[node].parent, &[1], &px(true))];
        let mut children: Vec<_> = self.nodes[node].children.iter().map(|c| (self.plain(*c), *c)).collect();
        children.sort();
        for (plain, child) in children {
            let name = self.nodes[child].name.as_bytes();
            let mut extra = px(self.nodes[child].content.is_none());
            extra.extend([b'N', b'M', byte(name.len() + 5), 1, 0]);
            extra.extend(name);
            records.push(self.record(child, plain.as_bytes(), &extra));
        }
        let mut bytes = Vec::new();
        for record in records {
            if bytes.len() % SECTOR + record.len() > SECTOR {
                bytes.resize(bytes.len().div_ceil(SECTOR) * SECTOR, 0);
            }
            bytes.extend(record);
        }
        bytes.resize(bytes.len().div_ceil(SECTOR) * SECTOR, 0);
        bytes
    }

    fn record(&self, node: usize, plain: &[u8], extra: &[u8]) -> Vec<u8> {
        let of = &self.nodes[node];
        let mut record = vec![0, 0];
        record.extend(both32(of.sector));
        record.extend(both32(of.length));
        let [year, rest @ ..] = self.date();
        record.push(byte(year - 1900));
        record.extend(rest.map(byte));
        // Quarters of an hour from UTC.
        record.push(0);
        record.extend([if of.content.is_none() { 2 } else { 0 }, 0, 0]);
        record.extend(both16(1));
        record.push(byte(plain.len()));
        record.extend(plain);
        if plain.len().is_multiple_of(2) {
            record.push(0);
        }
        record.extend(extra);
        record.resize(record.len().div_ceil(2) * 2, 0);
        record[0] = byte(record.len());
        record
    }

    /// Year, month, day, hour, minute, second.
    fn date(&self) -> [usize; 6] {
        let at = clock::utc(self.mtime.max(0));
        let number = |n: i8| usize::try_from(n).unwrap_or(0);
        let year = usize::try_from(at.year()).unwrap_or(0).min(2155);
        [year, number(at.month()), number(at.day()), number(at.hour()), number(at.minute()), number(at.second())]
    }

    fn descriptor(&self, label: &str, sectors: usize, table_size: usize) -> Vec<u8> {
        let [year, month, day, hour, minute, second] = self.date();
        let date = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
        let mut bytes = b"\x01CD001\x01\0".to_vec();
        bytes.extend(format!("{:<32}{label:<32}", "LINUX").bytes());
        bytes.extend([0; 8]);
        bytes.extend(both32(sectors));
        bytes.extend([0; 32]);
        bytes.extend([both16(1), both16(1), both16(SECTOR)].concat());
        bytes.extend(both32(table_size));
        bytes.extend(18u32.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(19u32.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.record(0, &[0], &[]));
        // Volume set, publisher, preparer, application; copyright, abstract and bibliography files.
        bytes.extend(format!("{:384}{:<128}{:111}", "", "DKMS", "").bytes());
        bytes.extend(date.bytes());
        bytes.extend(date.bytes());
        bytes.extend(format!("{:016}\0", 0).bytes());
        bytes.extend(date.bytes());
        bytes.extend([1, 0]);
        bytes.resize(SECTOR, 0);
        bytes
    }
}

/// POSIX attributes: mode, links, owner, group.
fn px(is_directory: bool) -> Vec<u8> {
    let mode = if is_directory { 0o040_755 } else { 0o100_644 };
    [b"PX\x24\x01".to_vec(), both32(mode), both32(if is_directory { 2 } else { 1 }), both32(0), both32(0)].concat()
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn both32(number: usize) -> Vec<u8> {
    let number = u32_of(number);
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn both16(number: usize) -> Vec<u8> {
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}
