//! Shell patterns for single names: `*`, `?`, `[…]` and `\` (glob(7)).

/// Whether the whole of `name` matches `pattern`.
pub fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '?', '[', '\\']) {
        return pattern == name;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last star: its place in the pattern and the name it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(next) = one(&pattern, p, name[n]) {
            p = next;
            n += 1;
        } else if let Some((star_p, star_n)) = star {
            star = Some((star_p, star_n + 1));
            p = star_p + 1;
            n = star_n + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character at `p`; gives the place in the pattern after it.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' if p + 1 < pattern.len() => (pattern[p + 1] == c).then_some(p + 2),
        '[' => match set(pattern, p, c) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            // No closing bracket: an ordinary character.
            None => (c == '[').then_some(p + 1),
        },
        other => (*other == c).then_some(p + 1),
    }
}

/// Reads the set that begins at `p`: whether it holds `c`, and the place after it.
fn set(pattern: &[char], p: usize, c: char) -> Option<(bool, usize)> {
    let mut i = p + 1;
    let negated = matches!(pattern.get(i), Some('!' | '^'));
    if negated {
        i += 1;
    }
    let first = i;
    let mut found = false;
    loop {
        let low = *pattern.get(i)?;
        if low == ']' && i > first {
            return Some((found != negated, i + 1));
        }
        match (pattern.get(i + 1), pattern.get(i + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                found |= low <= c && c <= *high;
                i += 3;
            }
            _ => {
                found |= low == c;
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_shell_does() {
        for (pattern, name, expected) in [
            ("6.12*", "6.12.117+deb13-cloud-amd64", true),
            ("*cloud*", "6.12.117+deb13-cloud-amd64", true),
            ("*a*b*c", "xaxxbxxbc", true),
            ("*a*b*c", "xaxxbxxbcd", false),
            ("6.1", "6.12", false),
            ("6.1?", "6.12", true),
            ("6.1?", "6.1", false),
            ("v[0-9].[!5]", "v3.4", true),
            ("v[0-9].[!5]", "v3.5", false),
            ("[]a]x", "]x", true),
            ("[ab", "[ab", true),
            ("[ab", "a", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("", "", true),
            ("", "a", false),
            ("**", "", true),
            ("[a-]", "-", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }
}
