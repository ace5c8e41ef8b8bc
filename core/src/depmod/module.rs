//! What depmod takes from a module's file.

use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol};

use super::Unusual;
use crate::compress;

/// An entry of `__versions` (struct modversion_info in the kernel's include/linux/module.h): a checksum in a `long`, and a name.
const VERSION_ENTRY: usize = 64;

/// No kernel has a module whose names are longer, in bytes, together.
const LONGEST: usize = 1 << 24;

/// The facts of one module, each list in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// `alias` of `.modinfo`.
    pub aliases: Vec<String>,
    /// `softdep` of `.modinfo`.
    pub softdeps: Vec<String>,
    /// `weakdep` of `.modinfo`.
    pub weakdeps: Vec<String>,
    /// The symbols that it exports.
    pub exports: Vec<String>,
    /// The symbols that it needs.
    pub needs: Vec<String>,
}

impl Contents {
    /// Reads a module's file, decompressed by its suffix. What depmod would report is an error.
    pub fn read(path: &Path) -> Result<Self, Unusual> {
        let odd = |why: String| Unusual::Module { path: path.to_owned(), why };
        let bytes = compress::read_module(path).map_err(|error| odd(error.to_string()))?;
        Self::parse(&bytes).map_err(odd)
    }

    /// From the bytes of an ELF file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let said = |error: object::Error| error.to_string();
        let file = object::File::parse(bytes).map_err(said)?;
        let section = |name: &str| match file.section_by_name(name) {
            Some(section) => section.data().map_err(said),
            None => Ok(&[][..]),
        };
        let mut contents = Self::default();
        let mut length = 0;
        for field in section(".modinfo")?.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
            let end = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
            let list = match &field[..end] {
                b"alias" => &mut contents.aliases,
                b"softdep" => &mut contents.softdeps,
                b"weakdep" => &mut contents.weakdeps,
                _ => continue,
            };
            list.push(text(field.get(end + 1..).unwrap_or_default(), &mut length)?);
        }
        for symbol in file.symbols() {
            let name = symbol.name_bytes().map_err(said)?;
            if symbol.is_undefined() {
                if !name.is_empty() && !symbol.is_local() {
                    contents.needs.push(needed(text(name, &mut length)?));
                }
            } else if let Some(name) = name.strip_prefix(b"__crc_") {
                contents.exports.push(text(name, &mut length)?);
            }
        }
        // Only where no symbol has a checksum.
        if contents.exports.is_empty() {
            let names = section("__ksymtab_strings")?.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            contents.exports = names.map(|name| text(name, &mut length)).collect::<Result<_, _>>()?;
        }
        let width = if file.is_64() { 8 } else { 4 };
        for entry in section("__versions")?.chunks_exact(VERSION_ENTRY) {
            let name = entry[width..].split(|byte| *byte == 0).next().unwrap_or_default();
            if !name.is_empty() {
                contents.needs.push(needed(text(name, &mut length)?));
            }
        }
        Ok(contents)
    }
}

/// A symbol as depmod looks for it.
fn needed(mut name: String) -> String {
    if name.starts_with('.') {
        name.remove(0);
    }
    name
}

fn text(bytes: &[u8], length: &mut usize) -> Result<String, String> {
    *length += bytes.len();
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii() && !text.contains('\n'));
    text.filter(|_| *length < LONGEST).map(str::to_owned).ok_or_else(|| "its names are no plain text".to_owned())
}
