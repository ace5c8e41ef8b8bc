//! The files of an index, as depmod writes them.

use std::fmt::Write as _;

use super::Unusual;
use super::merge::Module;
use super::module::Contents;
use super::present::{Blocks, Present, SYMBOL, Symbol};
use super::trie::write::{Entry, Layout, file};

/// A file's name and content.
pub type Made = (&'static str, Vec<u8>);

/// A text file of lines about modules, taken from `.modinfo`.
pub struct Kind {
    /// Its name.
    pub file: &'static str,
    /// The name of the module that a line is of.
    pub name: fn(&str) -> Option<&str>,
    /// Adds the lines of a module.
    pub lines: fn(&mut String, &str, &Contents) -> Result<(), String>,
}

/// Lines `alias PATTERN MODULE`.
pub const ALIAS: Kind = Kind {
    file: "modules.alias",
    name: |line| line.strip_prefix("alias ")?.rsplit(' ').next(),
    lines: |text, name, contents| {
        for alias in &contents.aliases {
            text.extend(["alias ", alias, " ", name, "\n"]);
        }
        Ok(())
    },
};

/// Lines `softdep MODULE WORDS`.
pub const SOFTDEP: Kind = Kind {
    file: "modules.softdep",
    name: |line| line.strip_prefix("softdep ")?.split(' ').next(),
    lines: |text, name, contents| {
        for words in &contents.softdeps {
            text.extend(["softdep ", name, " ", words, "\n"]);
        }
        Ok(())
    },
};

/// Lines `weakdep MODULE WORDS`; kmod 33 and later.
pub const WEAKDEP: Kind = Kind {
    file: "modules.weakdep",
    name: |line| line.strip_prefix("weakdep ")?.split(' ').next(),
    lines: |text, name, contents| {
        for words in &contents.weakdeps {
            text.extend(["weakdep ", name, " ", words, "\n"]);
        }
        Ok(())
    },
};

/// Lines `MODULE NAME TYPE MAJOR:MINOR`.
pub const DEVNAME: Kind = Kind {
    file: "modules.devname",
    name: |line| line.split(' ').next(),
    lines: |text, name, contents| {
        if let Some((device, kind, major, minor)) = device(contents)? {
            let _ = writeln!(text, "{name} {device} {kind}{major}:{minor}");
        }
        Ok(())
    },
};

impl Kind {
    /// The new text, from the old one's lines and from the contents of those that were read anew.
    pub fn text(&self, present: &Present<'_>, modules: &[Module], old: &str) -> Result<String, Unusual> {
        let blocks: Blocks<'_> = present.blocks(self.file, old, self.name)?;
        let mut text = String::with_capacity(old.len() + (old.len() >> 6) + 256);
        text.push_str(blocks.header());
        for module in modules {
            match &module.contents {
                Some(contents) => (self.lines)(&mut text, &module.name, contents)
                    .map_err(|why| Unusual::Module { path: module.path.clone().into(), why })?,
                None => text.push_str(module.old.map_or("", |old| blocks.of(old))),
            }
        }
        Ok(text)
    }
}

/// The device of a module that is loaded when the device is opened: its name, `c` or `b`, and its numbers. Its aliases are gone
/// through until both are known.
fn device(contents: &Contents) -> Result<Option<(&str, char, u32, u32)>, String> {
    let (mut name, mut numbers) = (None, None);
    for alias in &contents.aliases {
        if let Some(path) = alias.strip_prefix("devname:") {
            name = Some(path);
        } else {
            for (start, kind) in [("char-major-", 'c'), ("block-major-", 'b')] {
                let pair = alias.strip_prefix(start).and_then(|rest| rest.split_once('-'));
                if let Some((major, minor)) = pair {
                    // Read as sscanf(3) reads: what follows the digits is passed over.
                    let digits = minor.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(minor.len());
                    if major.contains([' ', '+']) || minor.starts_with([' ', '+', '-']) {
                        return Err(format!("the alias {alias}"));
                    }
                    if let (Ok(major), Ok(minor)) = (major.parse(), minor[..digits].parse()) {
                        numbers = Some((kind, major, minor));
                    }
                }
            }
        }
        if let (Some(name), Some((kind, major, minor))) = (name, numbers) {
            return Ok(Some((name, kind, major, minor)));
        }
    }
    if name.is_some() {
        // depmod says so.
        return Err("it names a device without numbers".to_owned());
    }
    Ok(None)
}

/// `modules.dep` and `modules.dep.bin`.
pub fn dep(modules: &[Module], needs: &[Vec<u32>], layout: Layout) -> Option<[Made; 2]> {
    let mut text = String::new();
    let mut ranges = Vec::with_capacity(modules.len());
    for (module, needs) in modules.iter().zip(needs) {
        let from = text.len();
        text.extend([&module.path, ":"]);
        for needed in needs {
            text.extend([" ", &modules[*needed as usize].path]);
        }
        ranges.push(from..text.len());
        text.push('\n');
    }
    let entries = modules.iter().zip(ranges).zip(0..).map(|((module, range), priority)| Entry {
        key: module.name.as_bytes(),
        priority,
        value: &text.as_bytes()[range],
    });
    let bin = file(entries.collect(), layout)?;
    Some([("modules.dep", text.into_bytes()), ("modules.dep.bin", bin)])
}

/// `modules.alias.bin`, from the text. `None` if it would be too long, or the text is not depmod's.
pub fn alias_bin(text: &str, modules: &[Module], layout: Layout) -> Option<Made> {
    let mut keys = String::with_capacity(text.len());
    let mut values = Vec::new();
    let mut modules = modules.iter().zip(0..);
    let (mut module, mut priority) = ("", 0);
    for line in text.lines() {
        let Some((alias, name)) = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' ')) else { continue };
        while module != name {
            let (next, number) = modules.next()?;
            (module, priority) = (&next.name, number);
        }
        let from = keys.len();
        if normal(alias, &mut keys) {
            values.push((from..keys.len(), priority, name));
        } else {
            keys.truncate(from);
        }
    }
    let entries = values.into_iter().map(|(range, priority, name)| Entry {
        key: &keys.as_bytes()[range],
        priority,
        value: name.as_bytes(),
    });
    Some(("modules.alias.bin", file(entries.collect(), layout)?))
}

/// Adds an alias as modprobe looks it up: `_` for `-`, but within brackets. Not if a bracket is alone: depmod passes over it.
fn normal(alias: &str, keys: &mut String) -> bool {
    let mut in_brackets = false;
    for letter in alias.chars() {
        match letter {
            '[' => in_brackets = true,
            ']' if !in_brackets => return false,
            ']' => in_brackets = false,
            _ => {}
        }
        keys.push(if letter == '-' && !in_brackets { '_' } else { letter });
    }
    !in_brackets
}

/// `modules.symbols` and `modules.symbols.bin`. `header`: the comment that the text begins with.
pub fn symbols(header: &str, symbols: &[Symbol<'_>], modules: &[Module], layout: Layout) -> Option<[Made; 2]> {
    const ALIAS: &str = "alias ";
    let mut text = header.to_owned();
    let mut entries = Vec::with_capacity(symbols.len());
    for symbol in symbols {
        let module = &modules[symbol.owner as usize].name;
        let from = text.len() + ALIAS.len();
        text.extend([SYMBOL, symbol.name]);
        entries.push((from..text.len(), symbol.owner, module));
        text.extend([" ", module, "\n"]);
    }
    let entries = entries.into_iter().map(|(key, priority, module)| Entry {
        key: &text.as_bytes()[key],
        priority,
        value: module.as_bytes(),
    });
    let bin = file(entries.collect(), layout)?;
    Some([("modules.symbols", text.into_bytes()), ("modules.symbols.bin", bin)])
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file)
    }
}
