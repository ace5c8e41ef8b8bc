//! How C sources compare the kernel's version (include/generated/uapi/linux/version.h).
//!
//! That header is another one in each kernel, and most external modules include it. Where all they do is to compare, the
//! comparisons' results are what counts.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The macro that is the version.
const CODE: &str = "LINUX_VERSION_CODE";
/// The macro that makes a number of a version's three.
const NUMBER: &str = "KERNEL_VERSION";
/// Macros that are parts of the version.
const PARTS: [&str; 3] = ["LINUX_VERSION_MAJOR", "LINUX_VERSION_PATCHLEVEL", "LINUX_VERSION_SUBLEVEL"];

/// One comparison: `LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Comparison {
    /// `<`, `<=`, `>`, `>=`, `==` or `!=`.
    operator: String,
    /// The version's three numbers.
    version: [u32; 3],
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.version;
        write!(f, "{CODE} {} {NUMBER}({major}, {minor}, {patch})", self.operator)
    }
}

impl Comparison {
    /// Whether it is true for a kernel whose LINUX_VERSION_CODE is `code`.
    pub fn holds(&self, code: u32) -> bool {
        let [major, minor, patch] = self.version;
        let other = (major << 16).wrapping_add(minor << 8).wrapping_add(patch.min(255));
        match self.operator.as_str() {
            "<" => code < other,
            "<=" => code <= other,
            ">" => code > other,
            ">=" => code >= other,
            "==" => code == other,
            _ => code != other,
        }
    }
}

/// The comparisons in a source; `None` if it does anything else with the version.
pub fn comparisons(text: &str) -> Option<BTreeSet<Comparison>> {
    if !text.contains("LINUX_VERSION_") {
        return Some(BTreeSet::new());
    }
    let words: Vec<&str> = words(text).collect();
    let mut found = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        if PARTS.contains(word) {
            return None;
        }
        if *word != CODE {
            continue;
        }
        // What is bound more tightly than a comparison changes what is compared.
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let after = words.get(at + 1).copied().unwrap_or_default();
        let comparison = if is_comparison(after) && is_edge(before) {
            number(&words[at + 2..]).filter(|(_, rest)| is_edge(rest)).map(|(version, _)| (after, version))
        } else if let (true, Some(begin)) = (is_comparison(before) && is_edge(after), at.checked_sub(9)) {
            let edge = begin.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
            let version = number(&words[begin..at - 1]).filter(|(_, rest)| rest.is_empty() && is_edge(edge));
            version.map(|(version, _)| (turned(before), version))
        } else {
            None
        };
        let (operator, version) = comparison?;
        found.insert(Comparison { operator: operator.to_owned(), version });
    }
    Some(found)
}

/// `KERNEL_VERSION ( a , b , c )` at the beginning of `words`, and the word after it.
fn number<'a>(words: &[&'a str]) -> Option<([u32; 3], &'a str)> {
    let [NUMBER, "(", major, ",", minor, ",", patch, ")", ..] = words else { return None };
    let digits = |word: &str| word.parse::<u32>().ok().filter(|number| *number < 1 << 15);
    let version = [digits(major)?, digits(minor)?, digits(patch)?];
    Some((version, words.get(8).copied().unwrap_or_default()))
}

fn is_comparison(word: &str) -> bool {
    ["<", "<=", ">", ">=", "==", "!="].contains(&word)
}

/// The same comparison with its sides changed.
fn turned(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

/// Whether a comparison begins after, and ends before, this word: `#if`, `&&`, `||`, a bracket, the line's end.
fn is_edge(word: &str) -> bool {
    ["", "\n", "if", "elif", "&&", "||", "(", ")", "!", "?", ":"].contains(&word)
}

/// The words of C text: names, numbers, signs, ends of lines. Comments are none.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let next = rest.chars().next()?;
            if rest.starts_with("\\\n") {
                rest = &rest[2..];
            } else if rest.starts_with("//") {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            } else if rest.starts_with("/*") {
                rest = rest[2..].split_once("*/").map_or("", |(_, after)| after);
            } else if next != '\n' && next.is_whitespace() {
                rest = &rest[next.len_utf8()..];
            } else if let Some(length) = literal(rest) {
                let (word, after) = rest.split_at(length);
                rest = after;
                return Some(word);
            } else {
                let is_word = |c: char| c == '_' || c.is_alphanumeric();
                let length = if is_word(next) {
                    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
                } else if ["<=", ">=", "==", "!=", "&&", "||"].iter().any(|sign| rest.starts_with(sign)) {
                    2
                } else {
                    next.len_utf8()
                };
                let (word, after) = rest.split_at(length);
                rest = after;
                return Some(word);
            }
        }
    })
}

/// The length of the text or character in quotes that `text` begins with, if it ends on the same line.
fn literal(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' if !escaped => return None,
            c if c == quote && !escaped => return Some(at + 1),
            c => escaped = c == '\\' && !escaped,
        }
    }
    None
}

/// version.h: the number of its LINUX_VERSION_CODE, and what is left of it without its numbers. `None` if it has none.
pub fn split(text: &str) -> Option<(u32, String)> {
    let mut code = None;
    let mut rest = String::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        let (define, name, value) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
        let is_number = define == Some("#define") && (name == CODE || PARTS.contains(&name));
        if is_number && parts.next().is_none() {
            let value: u32 = value?.parse().ok()?;
            if name == CODE {
                code = Some(value);
            }
        } else {
            rest += line;
            rest.push('\n');
        }
    }
    Some((code?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<Vec<String>> {
        Some(comparisons(text)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn comparisons_and_nothing_else() {
        for (text, expected) in [
            ("int x;", vec![]),
            ("#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)\n", vec![">= 6.1.0"]),
            ("#if defined(X) && (LINUX_VERSION_CODE<KERNEL_VERSION(5,4,300))\n", vec!["< 5.4.300"]),
            ("#if KERNEL_VERSION(4,11,0) <= LINUX_VERSION_CODE // x\n", vec![">= 4.11.0"]),
            ("#if LINUX_VERSION_CODE \\\n  > /* y */ KERNEL_VERSION(3, 0, 0) || \\\n X\n", vec!["> 3.0.0"]),
            (
                "#elif !(LINUX_VERSION_CODE == KERNEL_VERSION(6,1,2))\n#define A KERNEL_VERSION(1,2,3)\n",
                vec!["== 6.1.2"],
            ),
            ("// LINUX_VERSION_CODE & x\n/* LINUX_VERSION_SUBLEVEL */", vec![]),
        ] {
            let expected: Vec<String> = expected
                .iter()
                .map(|wanted| {
                    let (operator, version) = wanted.split_once(' ').unwrap();
                    format!("LINUX_VERSION_CODE {operator} KERNEL_VERSION({})", version.replace('.', ", "))
                })
                .collect();
            assert_eq!(shown(text), Some(expected), "{text}");
        }
        for text in [
            "int v = LINUX_VERSION_CODE;",
            "#define OLD(x) (LINUX_VERSION_CODE < (x))\n",
            "#if LINUX_VERSION_CODE >= VERSION_OF_OURS\n",
            "#if (LINUX_VERSION_CODE >> 8) == 1\n",
            "#if LINUX_VERSION_CODE & 0xff < KERNEL_VERSION(1,2,3)\n",
            "#if 1 + LINUX_VERSION_CODE < KERNEL_VERSION(1,2,3)\n",
            "#if LINUX_VERSION_CODE < KERNEL_VERSION(1,2,3) + 1\n",
            "#if LINUX_VERSION_CODE < KERNEL_VERSION(1,2,X)\n",
            "#if 1 + KERNEL_VERSION(4,11,0) <= LINUX_VERSION_CODE\n",
            "printk(\"%d\", LINUX_VERSION_SUBLEVEL);",
            "#define X LINUX_VERSION_CODE\n",
            "f(\"http://x /*\", LINUX_VERSION_CODE);",
            "#error don't\nint v = LINUX_VERSION_CODE;",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn what_holds() {
        let one = |operator: &str, version| Comparison { operator: operator.to_owned(), version };
        let code = 396_403; // 6.12.115
        for (operator, version, expected) in [
            (">=", [6, 12, 115], true),
            (">=", [6, 12, 116], false),
            ("<", [6, 12, 116], true),
            ("==", [6, 12, 115], true),
            ("!=", [6, 12, 115], false),
            (">", [6, 12, 115], false),
            ("<=", [6, 12, 114], false),
            ("<", [6, 12, 4000], true),
        ] {
            assert_eq!(one(operator, version).holds(code), expected, "{operator} {version:?}");
        }
    }

    #[test]
    fn the_header() {
        let text = "#define LINUX_VERSION_CODE 396403\n#define KERNEL_VERSION(a,b,c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))\n#define LINUX_VERSION_MAJOR 6\n#define LINUX_VERSION_PATCHLEVEL 12\n#define LINUX_VERSION_SUBLEVEL 115\n";
        let (code, rest) = split(text).unwrap();
        assert_eq!(code, 396_403);
        assert_eq!(rest.lines().count(), 1);
        assert_eq!(split(&text.replace("115", "116")).unwrap().1, rest);
        assert_ne!(split(&(text.to_owned() + "#define RHEL_MAJOR 9\n")).unwrap().1, rest);
        assert_eq!(split("#define LINUX_VERSION_CODE x\n"), None);
        assert_eq!(split(""), None);
    }
}
