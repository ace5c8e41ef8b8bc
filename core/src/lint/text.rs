//! What the text of a dkms.conf shows, before anybody evaluates it.

use super::{DOS_LINES, Finding, MISSPELT, UNQUOTED};
use crate::conf::{Problem, directive, misspelt};

/// Slips of the finger, quotes that are missing, line ends of another system.
pub(super) fn check(text: &str) -> Vec<Finding> {
    let mut found: Vec<_> = misspelt::misspelt(text)
        .into_iter()
        .map(|slip| {
            let message = format!("{} is not a directive: did you mean {}?", slip.name, slip.meant);
            Finding::conf(&MISSPELT, Some(slip.line), message)
        })
        .collect();
    // `lines` cuts carriage returns off.
    if let Some(index) = text.split('\n').position(|line| line.ends_with('\r')) {
        found.push(Finding::conf(&DOS_LINES, Some(index + 1), "the line ends in a carriage return"));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some((name, value, rest)) = unquoted(line) {
            let message = format!("{name}={value} ends at the blank; bash runs {rest:?}");
            found.push(Finding::conf(&UNQUOTED, Some(index + 1), message));
        }
    }
    found
}

/// An assignment to a directive whose value is followed by something that bash takes for a command: name, value, command.
fn unquoted(line: &str) -> Option<(&str, &str, &str)> {
    let (name, _, value) = assignment(line)?;
    if !directive::PACKAGE.contains(&name) {
        return None;
    }
    let end = value.find([' ', '\t'])?;
    let (word, rest) = value.split_at(end);
    let rest = rest.trim();
    // Quotes, expansions and continued lines are not looked into.
    let plain = !word.is_empty() && !word.contains(['"', '\'', '`', '$', '\\', '(', ';', '#']);
    let command = !rest.is_empty() && !rest.starts_with(['#', ';', '&', '|', '\\', ')', '}']);
    // `A=1 B=2` sets both.
    let another = rest.split([' ', '\t']).all(|word| assignment(word).is_some());
    (plain && command && !another).then_some((name, word, rest))
}

/// `NAME=VALUE` or `NAME[INDEX]=VALUE` at the beginning of a line, also behind other assignments' separators: name, index
/// as it is written, and what follows the equals sign.
fn assignment(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.trim_start();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, rest) = line.split_at(end);
    let (index, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("0", rest),
    };
    let value = rest.strip_prefix('+').unwrap_or(rest).strip_prefix('=')?;
    (!name.is_empty()).then_some((name, index, value))
}

/// The last line that sets `name[index]` with an index that is written out; the last that sets any element of it otherwise.
pub(super) fn line_of(text: &str, name: &str, index: usize) -> Option<usize> {
    let set = |exact: bool| {
        text.lines()
            .enumerate()
            .filter(|(_, line)| {
                assignment(line)
                    .is_some_and(|(at, number, _)| at == name && (!exact || number.trim() == index.to_string()))
            })
            .last()
            .map(|(at, _)| at + 1)
    };
    set(true).or_else(|| set(false))
}

/// Whether the value of `name[index]` depends on anything: an expansion, or no line that sets it by itself.
pub(super) fn is_computed(text: &str, name: &str, index: usize) -> bool {
    let Some(line) = line_of(text, name, index).and_then(|line| text.lines().nth(line - 1)) else { return true };
    assignment(line).is_none_or(|(_, _, value)| value.contains(['$', '`']))
}

/// The line that a problem of the check is about.
pub(super) fn line_of_problem(text: &str, problem: &Problem) -> Option<usize> {
    match problem {
        Problem::ZeroModules | Problem::Missing(_) | Problem::MissingFor(..) => None,
        Problem::Suffix(name, record) | Problem::Directory(name, record) | Problem::Duplicate(name, _, record) => {
            line_of(text, name, *record)
        }
        Problem::Location(record) => line_of(text, "DEST_MODULE_LOCATION", *record),
        Problem::Value(name, _) | Problem::Placeholder(name, _) => line_of(text, name, 0),
        Problem::Expression { name, index, .. } | Problem::Digit(name, index) => line_of(text, name, *index),
    }
}
