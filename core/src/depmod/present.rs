//! The text files of a kernel's index as they are.

use std::collections::HashMap;
use std::ops::Range;

use super::{Unusual, hash};

/// depmod's table of symbols has so many rows.
const ROWS: u32 = 2048;

/// What begins each line of modules.symbols.
pub const SYMBOL: &str = "alias symbol:";

/// One module of modules.dep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its file.
    pub path: &'a str,
    /// Where its dependencies are among [`Present::needs`].
    pub needs: Range<usize>,
}

/// `modules.dep`.
#[derive(Debug, Default)]
pub struct Present<'a> {
    /// The modules, in depmod's order.
    pub lines: Vec<Line<'a>>,
    /// The dependencies of all, as numbers of lines, each module's in the order of its line.
    pub needs: Vec<u32>,
    /// Numbers of lines by the modules' names.
    pub by_name: HashMap<String, u32>,
}

impl<'a> Present<'a> {
    /// From the text of modules.dep.
    pub fn parse(text: &'a str) -> Result<Self, Unusual> {
        let odd = |line: &str| Unusual::Malformed { file: "modules.dep", what: format!("the line {line:?}") };
        let mut present = Self::default();
        let mut by_path: HashMap<&str, u32> = HashMap::new();
        for line in text.lines() {
            let (path, _) = line.split_once(':').ok_or_else(|| odd(line))?;
            let number = u32::try_from(by_path.len()).map_err(|_| odd(line))?;
            let name = module_name(path);
            if by_path.insert(path, number).is_some() || present.by_name.insert(name, number).is_some() {
                return Err(odd(line));
            }
            present.lines.push(Line { path, needs: 0..0 });
        }
        for (place, line) in text.lines().enumerate() {
            let from = present.needs.len();
            for word in line.split_once(':').map_or("", |(_, rest)| rest).split_ascii_whitespace() {
                present.needs.push(*by_path.get(word).ok_or_else(|| odd(line))?);
            }
            present.lines[place].needs = from..present.needs.len();
        }
        Ok(present)
    }

    /// The dependencies of module `number`.
    pub fn needs_of(&self, number: u32) -> &[u32] {
        &self.needs[self.lines[number as usize].needs.clone()]
    }

    /// The lines of each module in a file, by the module's number. They are in the order of the modules, each module's together.
    /// `name` gives the name of the module that a line is of.
    pub fn blocks(
        &self,
        file: &'static str,
        text: &'a str,
        name: fn(&str) -> Option<&str>,
    ) -> Result<Blocks<'a>, Unusual> {
        let odd = |line: &str| Unusual::Malformed { file, what: format!("the line {line:?}") };
        let mut blocks = Blocks { text, header: 0..0, of: HashMap::new() };
        let mut at = 0;
        let mut before: Option<(&str, u32)> = None;
        for line in text.split_inclusive('\n') {
            let whole = at..at + line.len();
            at = whole.end;
            if line.starts_with('#') && blocks.of.is_empty() {
                blocks.header = 0..at;
                continue;
            }
            let words = line.strip_suffix('\n').ok_or_else(|| odd(line))?;
            let name = name(words).ok_or_else(|| odd(line))?;
            match before {
                Some((same, number)) if same == name => {
                    if let Some(block) = blocks.of.get_mut(&number) {
                        block.end = at;
                    }
                }
                _ => {
                    let number = *self.by_name.get(name).ok_or_else(|| odd(line))?;
                    if before.is_some_and(|(_, last)| last >= number) {
                        return Err(odd(line));
                    }
                    blocks.of.insert(number, whole);
                    before = Some((name, number));
                }
            }
        }
        Ok(blocks)
    }

    /// The symbols of modules.symbols with the numbers of their modules, in the order of the file.
    pub fn symbols(&self, text: &'a str) -> Result<Vec<Symbol<'a>>, Unusual> {
        let odd = |line: &str| Unusual::Malformed { file: "modules.symbols", what: format!("the line {line:?}") };
        let mut symbols: Vec<Symbol<'a>> = Vec::with_capacity(text.len() / 40);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, module) =
                line.strip_prefix(SYMBOL).and_then(|rest| rest.split_once(' ')).ok_or_else(|| odd(line))?;
            let owner = *self.by_name.get(module).ok_or_else(|| odd(line))?;
            let symbol = Symbol { row: row(name), name, owner };
            if symbols.last().is_some_and(|last| last.key() >= symbol.key()) {
                return Err(odd(line));
            }
            symbols.push(symbol);
        }
        Ok(symbols)
    }
}

/// A symbol that a module exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its row in depmod's table.
    pub row: u32,
    /// Its name.
    pub name: &'a str,
    /// The number of its module.
    pub owner: u32,
}

impl<'a> Symbol<'a> {
    /// What symbols are sorted by.
    pub fn key(&self) -> (u32, &'a str) {
        (self.row, self.name)
    }
}

/// The row of a symbol.
pub fn row(name: &str) -> u32 {
    hash::superfast(name.as_bytes()) % ROWS
}

/// The lines of a file by module.
#[derive(Debug)]
pub struct Blocks<'a> {
    text: &'a str,
    header: Range<usize>,
    of: HashMap<u32, Range<usize>>,
}

impl<'a> Blocks<'a> {
    /// The comment that the file begins with.
    pub fn header(&self) -> &'a str {
        &self.text[self.header.clone()]
    }

    /// The lines of a module, each with its end.
    pub fn of(&self, number: u32) -> &'a str {
        self.of.get(&number).map_or("", |range| &self.text[range.clone()])
    }
}

/// The name of the module whose file is at `path`.
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/a.ko.xz:\nkernel/b-c.ko.xz: kernel/a.ko.xz\n/opt/d.ko: kernel/b-c.ko.xz kernel/a.ko.xz\n";

    #[test]
    fn the_texts() {
        let present = Present::parse(DEP).unwrap();
        assert_eq!(present.by_name["b_c"], 1);
        assert_eq!(present.needs_of(2), [1, 0]);
        let alias = "# Head.\nalias x a\nalias a b y-* a\nalias  d\n";
        let blocks = present.blocks("modules.alias", alias, |line| line.rsplit(' ').next()).unwrap();
        assert_eq!(blocks.header(), "# Head.\n");
        assert_eq!([0, 1, 2].map(|number| blocks.of(number)), ["alias x a\nalias a b y-* a\n", "", "alias  d\n"]);
        let name = "# Head.\na x c10:1\nd y b1:2\n";
        assert_eq!(present.blocks("modules.devname", name, |line| line.split(' ').next()).unwrap().of(2), "d y b1:2\n");
        let symbols = present.symbols("# Head.\nalias symbol:drm_need_swiotlb a\n").unwrap();
        assert_eq!((symbols[0].name, symbols[0].owner), ("drm_need_swiotlb", 0));
    }

    /// What depmod would not have written so is not taken for its index.
    #[test]
    fn texts_that_are_not_depmods() {
        for dep in ["kernel/a.ko\n", "kernel/a.ko: kernel/b.ko\n", "a/x-y.ko:\nb/x_y.ko:\n"] {
            assert!(Present::parse(dep).is_err(), "{dep}");
        }
        let present = Present::parse(DEP).unwrap();
        for text in ["alias x nobody\n", "alias x d\nalias y a\n", "alias x a\nalias y d\nalias z a\n", "alias x a"] {
            let blocks = present.blocks("modules.alias", text, |line| line.rsplit(' ').next());
            assert!(blocks.is_err(), "{text}");
        }
        for text in
            ["alias symbol:a\n", "alias x a\n", "alias symbol:b nobody\n", "alias symbol:b a\nalias symbol:b a\n"]
        {
            assert!(present.symbols(text).is_err(), "{text}");
        }
    }
}
