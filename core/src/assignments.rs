//! Plain assignments in shell text, read without a shell: `NAME=value` with comments and quotes as in sh(1) ("Shell
//! Grammar" and "Quoting" of POSIX.1-2024, XCU 2.2 and 2.9.1). Nothing is expanded and nothing runs: a value that a
//! shell would have to work out is no plain assignment.
//!
//! The one reader for os-release, make.conf, Red Hat's sysconfig, framework.conf, and what decides in
//! `/etc/dkms/<package>.conf` although the rest of that file may fail.

/// One simple command of shell text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Only assignments, all of them plain; also after `export`. Names and values.
    Assignments(Vec<(String, String)>),
    /// Anything else.
    Other,
}

/// The value of the last plain assignment to `name` in `text`.
pub fn value(text: &str, name: &str) -> Option<String> {
    let assigned = commands(text).into_iter().filter_map(|command| match command {
        Command::Assignments(assigned) => Some(assigned),
        Command::Other => None,
    });
    assigned.flatten().filter(|(known, _)| known == name).map(|(_, value)| value).next_back()
}

/// All assignments of `text` in order; `None` if there is anything else in it.
pub fn all(text: &str) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    for command in commands(text) {
        match command {
            Command::Assignments(assigned) => all.extend(assigned),
            Command::Other => return None,
        }
    }
    Some(all)
}

/// The commands of `text`, which newlines and semicolons separate.
pub fn commands(text: &str) -> Vec<Command> {
    let mut reader = Reader { chars: text.chars().peekable(), words: Vec::new(), plain: true, found: Vec::new() };
    while reader.chars.peek().is_some() {
        reader.step();
    }
    reader.end();
    reader.found
}

/// A word, and how many characters of it, from its start, stand without quotes.
#[derive(Default)]
struct Word {
    text: String,
    bare: usize,
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    /// The words of the present command.
    words: Vec<Word>,
    /// Whether nothing of it has to be worked out.
    plain: bool,
    found: Vec<Command>,
}

impl Reader<'_> {
    /// Reads one separator, comment or word.
    fn step(&mut self) {
        match self.chars.peek() {
            Some('\n' | ';') => {
                self.chars.next();
                self.end();
            }
            Some('#') => while self.chars.next_if(|c| *c != '\n').is_some() {},
            Some(' ' | '\t') => _ = self.chars.next(),
            Some(_) => self.word(),
            None => {}
        }
    }

    /// The present command is complete.
    fn end(&mut self) {
        let words = std::mem::take(&mut self.words);
        let plain = std::mem::replace(&mut self.plain, true);
        let Some(first) = words.first() else {
            if !plain {
                self.found.push(Command::Other);
            }
            return;
        };
        let exported = first.text == "export" && first.bare == first.text.len() && words.len() > 1;
        let assigned: Option<Vec<_>> = words.iter().skip(usize::from(exported)).map(assignment).collect();
        self.found.push(assigned.filter(|_| plain).map_or(Command::Other, Command::Assignments));
    }

    fn word(&mut self) {
        let mut word = Word::default();
        let mut all_bare = true;
        while let Some(c) = self.chars.next_if(|c| !matches!(c, ' ' | '\t' | '\n' | ';')) {
            if all_bare && !matches!(c, '\'' | '"' | '\\') {
                word.bare += c.len_utf8();
            } else {
                all_bare = false;
            }
            match c {
                '\'' => loop {
                    match self.chars.next() {
                        Some('\'') => break,
                        Some(c) => word.text.push(c),
                        None => {
                            self.plain = false;
                            break;
                        }
                    }
                },
                '"' => self.double_quoted(&mut word.text),
                '\\' => match self.chars.next() {
                    Some('\n') => {}
                    Some(c) => word.text.push(c),
                    None => self.plain = false,
                },
                c => {
                    // A tilde is a home directory at the start of a value, and behind colons.
                    let home = c == '~' && word.text.ends_with(['=', ':']);
                    self.plain &= !home && !matches!(c, '$' | '`' | '(' | ')' | '<' | '>' | '|' | '&');
                    word.text.push(c);
                }
            }
        }
        self.words.push(word);
    }

    fn double_quoted(&mut self, text: &mut String) {
        loop {
            match self.chars.next() {
                Some('"') => return,
                Some('\\') => match self.chars.next() {
                    Some('\n') => {}
                    Some(c) => {
                        if !matches!(c, '$' | '`' | '"' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                    None => self.plain = false,
                },
                Some(c) => {
                    self.plain &= !matches!(c, '$' | '`');
                    text.push(c);
                }
                None => {
                    self.plain = false;
                    return;
                }
            }
        }
    }
}

/// `NAME=value`, if the name and the `=` are not quoted.
fn assignment(word: &Word) -> Option<(String, String)> {
    let (name, value) = word.text.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && word.bare > name.len()).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell makes of the same text is the measure.
    #[allow(clippy::disallowed_methods)] // a test's own question to bash
    fn in_bash(text: &str, name: &str) -> Option<String> {
        let script = format!("{text}\nprintf '%s' \"${{{name}+x}}${{{name}}}\"");
        let output = std::process::Command::new("bash")
            .args(["--norc", "--noprofile", "-c", &script])
            .env_clear()
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().strip_prefix('x').map(str::to_owned)
    }

    #[test]
    fn as_a_shell_reads_them() {
        for text in [
            "A=b",
            "  A=b  ",
            "A=b # a comment",
            "A=b#c",
            "#A=c\nA=b",
            "A='b c' # x",
            "A=\"b # c\"",
            "A=\"b \\\"c\\\" \\x \\\\\"",
            "A=b\\ c",
            "A='b'\"c\"d",
            "A=\"b\"c",
            "A=",
            "A=''",
            "B=1 A=b",
            "A=b; B=1",
            "A=b;B=1 # x",
            "export A=b",
            "A='b\nc'",
            "A=b\\\nc",
            "A=1\nA=2",
            "A=b=c",
            "AB=c",
            "AB=1 A=* B=2",
            "A=a:b,c/d@e+f%g",
            "A=b\r",
            "A=1~2",
            "\"A\"=b 2>/dev/null",
            "'A=b' 2>/dev/null",
            "A=b true",
        ] {
            assert_eq!(value(text, "A"), in_bash(text, "A"), "{text:?}");
        }
    }

    #[test]
    fn what_has_to_be_worked_out_is_not_plain() {
        for text in [
            "A=$B",
            "A=`b`",
            "A=\"$B\"",
            "A=$(b)",
            "A=~",
            "A=(b c)",
            "A='b",
            "A=\"b",
            "A=b | c",
            "A=b && A=c",
            "A[0]=b",
            "A=b\\",
        ] {
            assert_eq!(value(text, "A"), None, "{text:?}");
            assert_eq!(all(text), None, "{text:?}");
        }
        assert_eq!(value("A=b\nif true; then A=c\nfi", "A").as_deref(), Some("b"));
        assert_eq!(all("# x\n\nA=b; C='d e'\n"), Some(vec![("A".into(), "b".into()), ("C".into(), "d e".into())]));
        assert_eq!(all("A=b\n. /etc/x"), None);
        assert_eq!(all(""), Some(Vec::new()));
    }
}
