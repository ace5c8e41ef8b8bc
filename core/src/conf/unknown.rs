//! What framework.conf assigns and nothing reads: options of earlier versions, and misspelt ones.

use std::path::{Path, PathBuf};

use super::directive::FRAMEWORK;

/// Options that were called otherwise, and what to write instead.
const RENAMED: &[(&str, &str)] = &[(
    "sign_tool",
    "the option is called sign_file now, and the program is run with the hash, the key (mok_signing_key), the certificate \
     (mok_certificate) and the module",
)];

/// What counts for one package, and the option for all of them.
const OF_ONE_PACKAGE: &[(&str, &str)] = &[
    ("DKMS_BUILD_AS", "build_as"),
    ("DKMS_BUILD_NETWORK", "build_network"),
    ("DKMS_POLICY", "policy"),
    ("DKMS_JOBS", "parallel_jobs"),
    ("DKMS_REUSE", "reuse"),
];

/// How many letters of a misspelt option may be wrong.
const TYPING_ERRORS: usize = 2;

/// An assignment that means nothing to dkms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The file, inside the root.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// What is assigned to.
    pub name: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}: dkms has no option {}", self.file.display(), self.line, self.name)?;
        match &self.hint {
            Some(hint) if hint.ends_with('?') => write!(f, "; {hint}"),
            Some(hint) => write!(f, ": {hint}."),
            None => write!(f, "; the line has no effect."),
        }
    }
}

/// The assignments in `files` (name inside the root, text) that are neither options nor used by the files themselves.
/// Names in capital letters are a shell's own business, unless an option was meant.
pub fn unknown(files: &[(&Path, &str)]) -> Vec<Unknown> {
    let mut found: Vec<Unknown> = Vec::new();
    for (file, text) in files {
        for (index, line) in text.lines().enumerate() {
            let Some(name) = assigned(line) else { continue };
            if FRAMEWORK.contains(&name) || files.iter().any(|(_, text)| uses(text, name)) {
                continue;
            }
            let hint = hint(name);
            if hint.is_some() || name.starts_with(|c: char| c.is_ascii_lowercase()) {
                found.push(Unknown { file: file.to_path_buf(), line: index + 1, name: name.to_owned(), hint });
            }
        }
    }
    found
}

/// The name that a line assigns to.
fn assigned(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, _) = line.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

/// Whether shell text expands the variable `name`.
fn uses(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end] == name
    })
}

fn hint(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, hint)) = RENAMED.iter().find(|(old, _)| *old == lower) {
        return Some((*hint).to_owned());
    }
    if let Some((_, option)) = OF_ONE_PACKAGE.iter().find(|(directive, _)| *directive == name) {
        return Some(format!("it is for one package, in /etc/dkms/NAME.conf; for all of them it is called {option}"));
    }
    if FRAMEWORK.contains(&lower.as_str()) {
        return Some(format!("its name is written in lower case, {lower}"));
    }
    let distance = |option: &&&str| strsim::damerau_levenshtein(&lower, option);
    let nearest = FRAMEWORK.iter().min_by_key(distance).filter(|option| distance(option) <= TYPING_ERRORS)?;
    // Two wrong letters make another word of a short one.
    (lower.len() > 2 * TYPING_ERRORS).then(|| format!("did you mean {nearest}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_of(text: &str) -> Vec<String> {
        unknown(&[(Path::new("/etc/dkms/framework.conf"), text)]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn old_and_misspelt_options_are_named_with_what_was_meant() {
        for (line, words) in [
            ("sign_tool=/etc/dkms/sign_helper.sh", "sign_file"),
            ("SIGN_TOOL=\"/etc/dkms/sign_helper.sh\"", "sign_file"),
            ("  sign_tool=\"/s/$kernelver\"", "sign_file"),
            ("export sign_tool='x'", "sign_file"),
            ("POLICY=fail", "lower case, policy"),
            ("DKMS_BUILD_NETWORK=yes", "for all of them it is called build_network"),
            ("polcy=fail", "did you mean policy"),
            ("paralel_jobs=4", "did you mean parallel_jobs"),
            ("mok_sigining_key=/k", "did you mean mok_signing_key"),
            ("TRY_SIGN_MODULE=true", "did you mean try_sign_modules"),
            ("colour=red", "no effect"),
        ] {
            let found = warnings_of(&format!("# first\nverbose=1\n{line}\n"));
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(found[0].starts_with("/etc/dkms/framework.conf, line 3: dkms has no option "), "{found:?}");
            assert!(found[0].contains(words) && found[0].ends_with(['.', '?']), "{line}: {found:?}");
        }
    }

    #[test]
    fn options_variables_and_other_shell_are_left_alone() {
        for option in FRAMEWORK {
            assert_eq!(warnings_of(&format!("{option}=x\n")), [""; 0], "{option}");
        }
        for text in [
            "base=/srv\nsource_tree=$base/src\n",
            "base=/srv\nsource_tree=\"${base}/src\"\n",
            "base=/srv\nsource_tree=${base:-/x}/src\n",
            "CC=clang\nPATH=/x\n",
            "# sign_tool=/x\n",
            "if [ x = y ]; then verbose=1; fi\n",
            "test x == y\n",
            "=x\n1a=x\n",
        ] {
            assert_eq!(warnings_of(text), [""; 0], "{text}");
        }
        // A variable may be made in one file and used in another.
        let files = [(Path::new("/a"), "base=/srv\n"), (Path::new("/b"), "source_tree=$base\n")];
        assert_eq!(unknown(&files), []);
        assert_eq!(unknown(&files[..1]).len(), 1);
    }
}
