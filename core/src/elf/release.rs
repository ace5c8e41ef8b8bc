//! The release that a module says it was built for, written anew.
//!
//! It is the first word of `vermagic` in `.modinfo` (include/linux/vermagic.h), a text that nothing in a module refers to: what
//! modpost would have written for another kernel differs in nothing else.

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

use super::{ElfError, Module, symbols};

const FIELD: &[u8] = b"vermagic=";
/// The sizes of a section's header and of a symbol in 64-bit ELF files (elf(5)).
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// The module's bytes with `release` in its vermagic.
///
/// # Errors
/// If it is no module of 64 bits, in the order of little-endian machines, that says so once, and whose other parts do not
/// depend on it.
pub fn with_release(bytes: &[u8], release: &str) -> Result<Vec<u8>, ElfError> {
    let damaged = |error: object::Error| ElfError::Damaged(error.to_string());
    let refused = |why: &str| ElfError::Damaged(why.to_owned());
    let before = Module::parse(bytes)?;
    let file = object::File::parse(bytes).map_err(damaged)?;
    if !file.is_64() || !file.is_little_endian() {
        return Err(refused("it is of a kind whose vermagic is not written anew"));
    }
    if before.signature != super::Signature::None || before.fields("vermagic").count() != 1 {
        return Err(refused("it is signed, or does not have one vermagic"));
    }
    let mut all = file.sections().filter(|section| section.name_bytes() == Ok(b".modinfo"));
    let (Some(modinfo), None) = (all.next(), all.next()) else { return Err(refused("it does not have one .modinfo")) };
    let index = modinfo.index();
    for section in file.sections() {
        for (_, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(symbol).map_err(damaged)?;
            if section.index() == index || symbol.section_index() == Some(index) {
                return Err(refused("something refers to its .modinfo"));
            }
        }
    }
    let data = modinfo.data().map_err(damaged)?;
    let (offset, _) = modinfo.file_range().ok_or_else(|| refused("its .modinfo is nowhere"))?;
    let starts = data
        .windows(FIELD.len())
        .enumerate()
        .filter(|(at, found)| *found == FIELD && (*at == 0 || data.get(at - 1) == Some(&0)));
    let mut starts = starts.map(|(at, _)| at);
    let (Some(at), None) = (starts.next(), starts.next()) else { return Err(refused("it does not have one vermagic")) };
    let begin = at + FIELD.len();
    let length = data[begin..].iter().position(|byte| [b' ', 0].contains(byte));
    let end = begin + length.ok_or_else(|| refused("its vermagic has no end"))?;
    let new = [&data[..begin], release.as_bytes(), &data[end..]].concat();
    let mut made = bytes.to_vec();
    let offset = usize::try_from(offset).map_err(|_| refused("its .modinfo is nowhere"))?;
    if new.len() == data.len() {
        made[offset..offset + new.len()].copy_from_slice(&new);
    } else {
        let table = Table { index: index.0, at, old: data.len(), new: &new };
        table.write(&mut made).ok_or_else(|| refused("its tables are none that can be written anew"))?;
    }
    check(bytes, &before, &made, release)?;
    Ok(made)
}

/// A section that gets other contents, of another length.
struct Table<'a> {
    index: usize,
    /// Where in it the text that changes begins.
    at: usize,
    old: usize,
    new: &'a [u8],
}

impl Table<'_> {
    /// Puts the contents at the end of the file, and has the header and the symbols of the section say so.
    fn write(&self, file: &mut Vec<u8>) -> Option<()> {
        let sections = usize::try_from(number(file, 40)?).ok()?;
        let (size, count) = (half(file, 58)?, half(file, 60)?);
        if size != SECTION || count <= self.index {
            return None;
        }
        let header = |index: usize| sections.checked_add(index.checked_mul(SECTION)?);
        for index in 0..count {
            let at = header(index)?;
            // SHT_SYMTAB
            if word(file, at + 4)? == 2 {
                if number(file, at + 56)? != SYMBOL as u64 {
                    return None;
                }
                let begin = usize::try_from(number(file, at + 24)?).ok()?;
                let length = usize::try_from(number(file, at + 32)?).ok()?;
                for symbol in (begin..begin.checked_add(length)?).step_by(SYMBOL) {
                    self.move_symbol(file, symbol)?;
                }
            }
        }
        while file.len() % 8 != 0 {
            file.push(0);
        }
        let end = file.len() as u64;
        file.extend_from_slice(self.new);
        let own = header(self.index)?;
        put(file, own + 24, end)?;
        put(file, own + 32, self.new.len() as u64)
    }

    fn move_symbol(&self, file: &mut [u8], symbol: usize) -> Option<()> {
        if half(file, symbol + 6)? != self.index {
            return Some(());
        }
        let (value, size) = (number(file, symbol + 8)?, number(file, symbol + 16)?);
        let (at, old, new) = (self.at as u64, self.old as u64, self.new.len() as u64);
        let moved = |number: u64| number.checked_add(new)?.checked_sub(old);
        if value > at {
            put(file, symbol + 8, moved(value)?)
        } else if value == at && size > 0 {
            put(file, symbol + 16, moved(size)?)
        } else if value.checked_add(size)? > at {
            // One text across another.
            None
        } else {
            Some(())
        }
    }
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(file: &[u8], at: usize) -> Option<usize> {
    bytes(file, at).map(u16::from_le_bytes).map(usize::from)
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    bytes(file, at).map(u32::from_le_bytes)
}

fn number(file: &[u8], at: usize) -> Option<u64> {
    bytes(file, at).map(u64::from_le_bytes)
}

fn put(file: &mut [u8], at: usize, value: u64) -> Option<()> {
    file.get_mut(at..at.checked_add(8)?)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}

/// Reads what was made as others will: nothing but the release may have changed.
fn check(old: &[u8], before: &Module, made: &[u8], release: &str) -> Result<(), ElfError> {
    let mut expected = before.clone();
    for (_, value) in expected.modinfo.iter_mut().filter(|(key, _)| key == "vermagic") {
        let rest = value.find(' ').map_or("", |at| &value[at..]);
        *value = format!("{release}{rest}");
    }
    let is_same = Module::parse(made)? == expected
        && symbols::content(made)? == symbols::content(old)?
        && symbols::Symbols::parse(made)? == symbols::Symbols::parse(old)?;
    if is_same { Ok(()) } else { Err(ElfError::Damaged("its vermagic can't be written anew".to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::*;

    fn with_debug() -> Vec<u8> {
        fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/module.ko")).unwrap()
    }

    /// As modules are kept: stripped. Debug sections refer to all that there is.
    fn fixture() -> Vec<u8> {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("module.ko");
        fs_err::write(&file, with_debug()).unwrap();
        let environment = [("PATH".into(), crate::process::DEFAULT_PATH.into())].into();
        let argv = [OsStr::new("strip"), OsStr::new("-g"), file.as_os_str()];
        let end = crate::process::run(crate::process::Task::new(argv, Path::new("/"), &environment)).unwrap();
        assert!(end.status.success());
        fs_err::read(file).unwrap()
    }

    /// Names of symbols in `.modinfo`, with the text that each stands for.
    fn texts(bytes: &[u8]) -> Vec<(String, String)> {
        let file = object::File::parse(bytes).unwrap();
        let modinfo = file.section_by_name(".modinfo").unwrap();
        let data = modinfo.data().unwrap();
        let own = file.symbols().filter(|symbol| symbol.section_index() == Some(modinfo.index()) && symbol.size() > 0);
        own.map(|symbol| {
            let begin = usize::try_from(symbol.address()).unwrap();
            let text = &data[begin..begin + usize::try_from(symbol.size()).unwrap()];
            (symbol.name().unwrap().to_owned(), String::from_utf8(text.to_vec()).unwrap())
        })
        .collect()
    }

    #[test]
    fn a_release_of_any_length() {
        let old = fixture();
        let is_about = |(_, text): &(String, String)| text.starts_with("vermagic=");
        for release in ["6.12.118+deb13-amd64", "6.12.117+deb13.1-cloud-amd64", "6.1", "6.12.117+deb13-amd64"] {
            let made = with_release(&old, release).unwrap();
            let module = Module::parse(&made).unwrap();
            assert_eq!(module.field("vermagic"), Some(&*format!("{release} SMP preempt mod_unload modversions ")));
            assert_eq!(module.fields("alias").count(), 2);
            let (mut then, mut now) = (texts(&old), texts(&made));
            assert!(now.iter().all(|(_, text)| text.ends_with('\0')), "{now:?}");
            then.retain(|text| !is_about(text));
            now.retain(|text| !is_about(text));
            assert_eq!(then, now);
            // And back.
            let back = with_release(&made, "6.12.117+deb13-amd64").unwrap();
            assert_eq!(Module::parse(&back).unwrap(), Module::parse(&old).unwrap());
        }
        assert_eq!(with_release(&old, "6.12.117+deb13-amd64").unwrap(), old);
    }

    #[test]
    fn what_can_not_be_written_anew_is_refused() {
        let signed = fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/rsa4096.sha384.signed"));
        with_release(&signed.unwrap(), "6.1").unwrap_err();
        with_release(b"\x7fELF", "6.1").unwrap_err();
        with_release(&with_debug(), "6.1").unwrap_err();
        let whole = fixture();
        for cut in [64, 1000, whole.len() / 2, whole.len() - 1] {
            with_release(&whole[..cut], "6.1").unwrap_err();
        }
        // Two of them.
        let text = b"license=GPL\0";
        let at = whole.windows(text.len()).position(|window| window == text);
        let mut two = whole.clone();
        if let Some(at) = at {
            two[at..at + text.len()].copy_from_slice(b"vermagic=xx\0");
            with_release(&two, "6.1").unwrap_err();
        }
    }
}
