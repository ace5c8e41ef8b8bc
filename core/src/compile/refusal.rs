//! What the programs of a build say they were refused or did not find, out of its log.

/// A line in which a program says that it did not get a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The line.
    pub line: &'a str,
    /// The file, as the line names it; `None`: it names none.
    pub name: Option<&'a str>,
    /// The directory that make had entered by then, if it said so.
    pub dir: Option<&'a str>,
    /// What the system said.
    pub kind: Kind,
}

/// What the system said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// EACCES.
    Denied,
    /// EPERM, or what sudo(8) makes of it.
    NotPermitted,
    /// EROFS.
    ReadOnly,
    /// ENOENT.
    Missing,
}

impl Kind {
    /// Whether somebody may have been refused something for who they are.
    pub fn is_refusal(self) -> bool {
        self != Self::Missing
    }
}

/// Where a line names the file.
#[derive(Debug, Clone, Copy)]
enum Named {
    /// Before the words.
    Before,
    /// In quotes after them.
    After,
    Nowhere,
}

/// The words of the C locale, what they mean, and where the file's name is. The longer come first.
const WORDS: [(&str, Kind, Named); 12] = [
    ("cannot execute: required file not found", Kind::Missing, Named::Before),
    ("bad interpreter", Kind::Missing, Named::Before),
    ("Permission denied", Kind::Denied, Named::Before),
    ("Operation not permitted", Kind::NotPermitted, Named::Before),
    ("Read-only file system", Kind::ReadOnly, Named::Before),
    ("No such file or directory", Kind::Missing, Named::Before),
    ("command not found", Kind::Missing, Named::Before),
    ("not found", Kind::Missing, Named::Before),
    ("\"no new privileges\" flag", Kind::NotPermitted, Named::Nowhere),
    ("must be owned by uid 0", Kind::NotPermitted, Named::Nowhere),
    ("No rule to make target '", Kind::Missing, Named::After),
    ("No rule to make target `", Kind::Missing, Named::After),
];

/// Every such line of `log`, in order.
pub fn refusals(log: &str) -> Vec<Refusal<'_>> {
    let mut entered: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in log.lines() {
        if let Some(dir) = line.split_once(": Entering directory ").map(|(_, dir)| unquoted(dir)) {
            entered.push(dir);
        } else if line.contains(": Leaving directory ") {
            entered.pop();
        } else if let Some((at, (words, kind, named))) = said(line) {
            let name = match named {
                Named::Before => name_before(&line[..at]),
                Named::After => quoted(&line[at + words.len() - 1..]),
                Named::Nowhere => None,
            };
            found.push(Refusal { line: line.trim(), name, dir: entered.last().copied(), kind: *kind });
        }
    }
    found
}

/// The refusal that stopped make: the last one before it first gave up. Sooner ones did not stop it.
pub fn last_before_the_end<'a>(log: &'a str, wanted: impl Fn(&Refusal<'a>) -> bool) -> Option<Refusal<'a>> {
    let gave_up = |line: &str| line.starts_with("make") && line.contains("*** ") && !line.contains("No rule to make");
    let mut end = 0;
    for line in log.split_inclusive('\n') {
        if gave_up(line) {
            break;
        }
        end += line.len();
    }
    let last = |log: &'a str| refusals(log).into_iter().rfind(|found| wanted(found));
    last(&log[..end]).or_else(|| last(log))
}

fn said(line: &str) -> Option<(usize, &'static (&'static str, Kind, Named))> {
    WORDS.iter().find_map(|words| Some((line.find(words.0)?, words)))
}

/// The name in `cannot touch 'NAME': `, `line 3: NAME: `, `cannot create NAME: `.
fn name_before(text: &str) -> Option<&str> {
    let text = text.trim_end().strip_suffix(':')?.trim_end();
    let name = match text.chars().next_back()? {
        '\'' | '"' | '\u{2019}' => {
            let inner = &text[..text.len() - text.chars().next_back()?.len_utf8()];
            let begin = inner.rfind(['\'', '"', '`', '\u{2018}'])?;
            &inner[begin + inner[begin..].chars().next()?.len_utf8()..]
        }
        _ => text.rsplit(' ').next()?,
    };
    // `Makefile:41: NAME` has been cut at the blank; of `FILE:LINE` no name is left.
    let name = name.trim_end_matches(':');
    (!name.is_empty() && !name.chars().all(|c| c.is_ascii_digit())).then_some(name)
}

/// What stands between the quotes that `text` begins with.
fn quoted(text: &str) -> Option<&str> {
    text.get(1..)?.split('\'').next().filter(|name| !name.is_empty())
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['\'', '`', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_file_is_named_as_each_tool_does() {
        for (line, name, kind) in [
            ("/bin/sh: 1: ./gen.sh: Permission denied", Some("./gen.sh"), Kind::Denied),
            ("bash: line 1: /t/m/1/build/gen.sh: Permission denied", Some("/t/m/1/build/gen.sh"), Kind::Denied),
            ("make[1]: execvp: ./gen.sh: Permission denied", Some("./gen.sh"), Kind::Denied),
            ("/bin/sh: 2: cannot create /etc/x: Permission denied", Some("/etc/x"), Kind::Denied),
            ("touch: cannot touch '/usr/src/a b': Permission denied", Some("/usr/src/a b"), Kind::Denied),
            (
                "mkdir: cannot create directory \u{2018}/opt/pz\u{2019}: Permission denied",
                Some("/opt/pz"),
                Kind::Denied,
            ),
            (
                "sed: couldn't open temporary file /usr/src/h/sedXy: Permission denied",
                Some("/usr/src/h/sedXy"),
                Kind::Denied,
            ),
            ("/h/scripts/Makefile.build:41: src/Makefile: Permission denied", Some("src/Makefile"), Kind::Denied),
            ("cc1: error: /opt/v/v.h: Permission denied", Some("/opt/v/v.h"), Kind::Denied),
            ("x.c:1:10: fatal error: v.h: Permission denied", Some("v.h"), Kind::Denied),
            ("install: cannot create regular file '/bin/x': Read-only file system", Some("/bin/x"), Kind::ReadOnly),
            ("insmod: ERROR: could not insert module x.ko: Operation not permitted", Some("x.ko"), Kind::NotPermitted),
            ("sudo: The \"no new privileges\" flag is set", None, Kind::NotPermitted),
            ("bash: line 1: /b/gen.sh: cannot execute: required file not found", Some("/b/gen.sh"), Kind::Missing),
            ("/bin/sh: 1: ./gen.sh: not found", Some("./gen.sh"), Kind::Missing),
            (
                "/bin/bash: ./gen.sh: /bin/sh^M: bad interpreter: No such file or directory",
                Some("/bin/sh^M"),
                Kind::Missing,
            ),
            ("/bin/bash: line 1: pahole: command not found", Some("pahole"), Kind::Missing),
            ("make[2]: *** No rule to make target 'a/x.c', needed by 'x.o'.  Stop.", Some("a/x.c"), Kind::Missing),
        ] {
            let expected = Refusal { line, name, dir: None, kind };
            assert_eq!(refusals(line), [expected]);
        }
        assert_eq!(refusals("all is well"), []);
    }

    #[test]
    fn make_says_where_it_is() {
        let log = "make[1]: Entering directory '/a'\nmake[2]: Entering directory '/b'\nmake[2]: Leaving directory '/b'\n\
                   cp: cannot create regular file 'x': Permission denied\nmake[1]: Leaving directory '/a'\nsh: y: Permission denied";
        let dirs: Vec<_> = refusals(log).into_iter().map(|found| (found.name, found.dir)).collect();
        assert_eq!(dirs, [(Some("x"), Some("/a")), (Some("y"), None)]);
    }

    #[test]
    fn what_stopped_make_is_the_last_before_it_gave_up() {
        let log =
            "sh: /a: Permission denied\nsh: /b: Permission denied\nmake: *** [x] Error 1\nsh: /c: Permission denied\n";
        let name = |log| last_before_the_end(log, |found| found.kind.is_refusal()).and_then(|found| found.name);
        assert_eq!(name(log), Some("/b"));
        assert_eq!(name("make: *** [x] Error 1\nsh: /c: Permission denied\n"), Some("/c"));
        assert_eq!(name("make: *** [x] Error 1\n"), None);
    }
}
