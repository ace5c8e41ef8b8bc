//! What may precede a tar entry: GNU long names and pax records (POSIX.1-2017 pax, "pax Interchange Format").
//!
//! Both may only say what the plain header can't: a name too long or not ASCII, or times. Anything that
//! would let one reader see another file than the next (size, sparse maps, character sets) is refused.

use super::fault::Fault;

/// The most bytes that a long name may have (`PATH_MAX`).
pub const MAX_NAME: u64 = 4096;
/// The most bytes that a pax header may have.
pub const MAX_PAX: u64 = 64 * 1024;
/// What is certain to fit in a plain header's name or link field, with its zero byte.
const SHORT_NAME: usize = 100;

/// What was said before the entry it belongs to.
#[derive(Debug, Default)]
pub struct Pending {
    /// The entry's name, if too long for its header.
    pub name: Option<Vec<u8>>,
    /// The entry's link target, if too long for its header.
    pub link: Option<Vec<u8>>,
    /// The entry's modification time in seconds.
    pub mtime: Option<i64>,
    seen_pax: bool,
}

impl Pending {
    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && !self.seen_pax
    }

    /// Takes the content of a GNU `L` (name) or `K` (link) entry.
    pub fn gnu_long(&mut self, is_link: bool, content: &[u8]) -> Result<(), Fault> {
        let text = content.strip_suffix(b"\0").unwrap_or(content);
        if text.len() < SHORT_NAME {
            return Err(Fault::LongName("it is short enough for the entry itself"));
        }
        if text.contains(&0) {
            return Err(Fault::LongName("it contains a zero byte"));
        }
        Self::set(if is_link { &mut self.link } else { &mut self.name }, text)
    }

    /// Takes the content of a pax `x` entry.
    pub fn pax(&mut self, content: &[u8]) -> Result<(), Fault> {
        if self.seen_pax {
            return Err(Fault::Pax("a second pax header for the same entry".into()));
        }
        self.seen_pax = true;
        let mut keys = std::collections::BTreeSet::new();
        for record in records(content) {
            let (key, value) = record?;
            if !keys.insert(key) {
                return Err(Fault::Pax(format!("{key:?} twice")));
            }
            match key {
                "path" => Self::set(&mut self.name, needed(key, value)?)?,
                "linkpath" => Self::set(&mut self.link, needed(key, value)?)?,
                "mtime" => self.mtime = Some(seconds(value)?),
                // Owners are never taken over, and the other times can't be.
                "atime" | "ctime" | "LIBARCHIVE.creationtime" | "uid" | "gid" | "uname" | "gname" | "comment" => {}
                _ => return Err(Fault::Pax(format!("the record {key:?}"))),
            }
        }
        Ok(())
    }

    fn set(place: &mut Option<Vec<u8>>, text: &[u8]) -> Result<(), Fault> {
        if place.is_some() {
            return Err(Fault::LongName("it was given twice"));
        }
        *place = Some(text.to_vec());
        Ok(())
    }
}

/// Checks a global pax header, which may hold comments only (`git archive` puts the commit there).
pub fn check_global(content: &[u8]) -> Result<(), Fault> {
    for record in records(content) {
        let (key, _) = record?;
        if key != "comment" {
            return Err(Fault::Pax(format!("the record {key:?} for all entries")));
        }
    }
    Ok(())
}

/// A name that a plain header can hold must be there: pax may not give an entry a second name.
fn needed<'a>(key: &str, value: &'a [u8]) -> Result<&'a [u8], Fault> {
    if value.len() < SHORT_NAME && value.is_ascii() {
        return Err(Fault::Pax(format!("the record {key:?} without need")));
    }
    if value.len() as u64 > MAX_NAME {
        return Err(Fault::LongName("it is longer than any path"));
    }
    Ok(value)
}

fn seconds(value: &[u8]) -> Result<i64, Fault> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().map_err(|_| Fault::Pax(format!("the time {text:?}")))
}

/// Splits `LENGTH KEY=VALUE\n` records. Not by the crate's `PaxExtensions`: it ends quietly at an empty line, whatever
/// follows there, and at a line end inside a value.
fn records(mut content: &[u8]) -> impl Iterator<Item = Result<(&str, &[u8]), Fault>> {
    std::iter::from_fn(move || {
        if content.is_empty() {
            return None;
        }
        let Some((record, rest)) = split(content) else {
            content = &[];
            return Some(Err(Fault::Pax("a record that is not well-formed".into())));
        };
        content = rest;
        Some(Ok(record))
    })
}

type Record<'a> = (&'a str, &'a [u8]);

fn split(content: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let blank = content.iter().position(|b| *b == b' ')?;
    let digits = std::str::from_utf8(&content[..blank]).ok()?;
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let length: usize = digits.parse().ok()?;
    let body = content.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    let key = std::str::from_utf8(&body[..equals]).ok()?;
    Some(((key, &body[equals + 1..]), &content[length..]))
}
