//! The symbols that a module needs and those that it offers, with the checksums of their types (CONFIG_MODVERSIONS).
//!
//! Kept apart from the other facts: a build may name as many symbols as it likes, and most who ask about a module do not
//! want them.

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolSection};

use super::ElfError;
use crate::digest::{Digest, Hasher};

/// No kernel knows a longer name (KSYM_NAME_LEN in its include/linux/kallsyms.h).
const LONGEST_NAME: usize = 512;

/// An entry of `__versions` (struct modversion_info in the kernel's include/linux/module.h): a checksum in a `long`, and a name.
const VERSION_ENTRY: usize = 64;

/// The symbols of one module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Those it can't be loaded without, each with the checksum that it was built against, if it has one.
    pub needs: BTreeMap<String, Option<u32>>,
    /// Those it exports, with their checksums.
    pub offers: BTreeMap<String, Option<u32>>,
    /// The checksum of the kernel's own structures that it was built against (`module_layout`).
    pub layout: Option<u32>,
}

impl Symbols {
    /// Reads those of a module's bytes (not compressed).
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let damaged = |error: object::Error| ElfError::Damaged(error.to_string());
        let file = object::File::parse(bytes).map_err(damaged)?;
        let section = |name: &str| match file.section_by_name(name) {
            Some(section) => section.data().map_err(damaged),
            None => Ok(&[][..]),
        };
        let is_little = file.is_little_endian();
        let read = if is_little { u32::from_le_bytes } else { u32::from_be_bytes };
        let number = |bytes: &[u8]| bytes.try_into().map(read).ok();
        let mut versions = BTreeMap::new();
        let width = if file.is_64() { 8 } else { 4 };
        for entry in section("__versions")?.chunks_exact(VERSION_ENTRY) {
            // Of a big-endian `long`, the checksum is at the end.
            let at = if is_little { 0 } else { width - 4 };
            if let (Some(name), Some(crc)) = (text(&entry[width..]), number(&entry[at..at + 4])) {
                versions.insert(name, crc);
            }
        }
        // Linux 6.13 and later: names of any length.
        let names = section("__version_ext_names")?.split(|byte| *byte == 0);
        for (name, crc) in names.zip(section("__version_ext_crcs")?.chunks_exact(4)) {
            if let (Some(name), Some(crc)) = (text(name), number(crc)) {
                versions.insert(name, crc);
            }
        }
        let mut symbols = Self { layout: versions.get("module_layout").copied(), ..Self::default() };
        for name in section("__ksymtab_strings")?.split(|byte| *byte == 0).filter_map(text) {
            symbols.offers.insert(name, None);
        }
        for symbol in file.symbols() {
            let Some(name) = symbol.name_bytes().ok().and_then(text) else { continue };
            if symbol.is_undefined() {
                if !symbol.is_weak() && !is_the_linkers(&name) {
                    symbols.needs.insert(name.clone(), versions.get(&name).copied());
                }
            } else if let Some(known) = name.strip_prefix("__crc_").and_then(|name| symbols.offers.get_mut(name)) {
                *known = match symbol.section() {
                    SymbolSection::Absolute => u32::try_from(symbol.address() & 0xffff_ffff).ok(),
                    SymbolSection::Section(index) => {
                        let section = file.section_by_index(index).map_err(damaged)?;
                        let at = usize::try_from(symbol.address()).unwrap_or(usize::MAX);
                        let data = section.data().map_err(damaged)?;
                        data.get(at..).and_then(|data| data.get(..4)).and_then(number)
                    }
                    _ => None,
                };
            }
        }
        Ok(symbols)
    }
}

/// A name, up to its NUL; `None` if it is empty, or longer than a kernel's.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (1..=LONGEST_NAME).contains(&end).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// Names that no kernel exports: the loader or the architecture's module loader sees to them (scripts/mod/modpost.c leaves
/// them out, too).
fn is_the_linkers(name: &str) -> bool {
    const WHOLE: [&str; 4] = ["_GLOBAL_OFFSET_TABLE_", "__this_module", ".TOC.", "__global_pointer$"];
    const BEGINNINGS: [&str; 5] = ["_restgpr", "_savegpr", "_restvr_", "_savevr_", "__s390_indirect_jump"];
    WHOLE.contains(&name) || BEGINNINGS.iter().any(|some| name.starts_with(some)) || name.starts_with("_rest32gpr_")
}

/// What a module does: a digest of all that a kernel takes into memory, apart from what it says about itself and its build
/// (`.modinfo`, notes, type information, checksums). Neither a signature nor stripping changes it.
pub fn content(bytes: &[u8]) -> Result<Digest, ElfError> {
    let damaged = |error: object::Error| ElfError::Damaged(error.to_string());
    let file = object::File::parse(bytes).map_err(damaged)?;
    let mut hasher = Hasher::default();
    for section in file.sections() {
        let name = section.name_bytes().map_err(damaged)?;
        let is_about_itself = name == b".modinfo"
            || name.starts_with(b".note")
            || name.starts_with(b".BTF")
            || name.starts_with(b"__version");
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if sh_flags.0 & object::elf::SHF_ALLOC.0 == 0 || is_about_itself {
            continue;
        }
        hasher.field(name);
        hasher.field(section.data().map_err(damaged)?);
        // What is filled in when it is loaded. Symbols by their names: stripping moves them.
        for (offset, relocation) in section.relocations() {
            hasher.update(&offset.to_le_bytes());
            hasher.update(&relocation.addend().to_le_bytes());
            if let RelocationTarget::Symbol(index) = relocation.target() {
                let symbol = file.symbol_by_index(index).map_err(damaged)?;
                let name = symbol.name_bytes().map_err(damaged)?;
                let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
                let of = section.as_ref().and_then(|section| section.name_bytes().ok()).unwrap_or_default();
                hasher.field(if name.is_empty() { of } else { name });
            }
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
pub(crate) mod tests;
