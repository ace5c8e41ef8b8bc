//! The orders of kernel releases and package versions.
//!
//! Both read a version as a sequence of numbers (of any size, leading zeros meaningless) and single
//! other characters, compared place by place. Characters below `0` in ASCII (`+`, `-`, `.`) come
//! before every number, the others (letters, `:`, `_`, `~`) after.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// The order of bounds: `BUILD_EXCLUSIVE_KERNEL_MIN`, `_MAX` and the version sanity check.
///
/// The classic pads numbers to three digits and compares text in the C locale; this gives the same
/// answers, and the right ones for numbers of four digits and more (`5.15.0-1020` is above
/// `5.15.0-999`). As there, what is longer is greater, so `4.12-rc1` is above `4.12`.
pub fn compare(a: &str, b: &str) -> Ordering {
    order(Places::new(a, false), Places::new(b, false))
}

/// The order of age, for "the newest kernel" and "the newest version of a package".
///
/// As [`compare`], but a release candidate (`-rc1`, `~rc1`, and anything behind a `~`, as in
/// deb-version(7)) comes before what it is a candidate for.
pub fn by_age(a: &str, b: &str) -> Ordering {
    order(Places::new(a, true), Places::new(b, true))
}

/// One place of a version. The variants are in the order in which they sort.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// What follows belongs to something before the release.
    Before,
    /// The end of the text.
    End,
    /// A character below the digits.
    Low(char),
    /// A number without its leading zeros: first by length, then by digits.
    Number(usize, String),
    /// A character above the digits.
    High(char),
}

struct Places<'a> {
    text: Peekable<Chars<'a>>,
    candidates: bool,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, candidates: bool) -> Self {
        Self { text: text.chars().peekable(), candidates }
    }

    /// Whether a candidate's mark follows `-`: `rc` and a digit.
    fn candidate_follows(&self) -> bool {
        let mut ahead = self.text.clone();
        ahead.next() == Some('r') && ahead.next() == Some('c') && ahead.next().is_some_and(|c| c.is_ascii_digit())
    }

    fn next(&mut self) -> Place {
        let Some(c) = self.text.next() else {
            return Place::End;
        };
        if c.is_ascii_digit() {
            let mut digits = String::from(c);
            while let Some(d) = self.text.next_if(char::is_ascii_digit) {
                digits.push(d);
            }
            let digits = digits.trim_start_matches('0').to_owned();
            return Place::Number(digits.len(), digits);
        }
        if self.candidates && (c == '~' || (c == '-' && self.candidate_follows())) {
            return Place::Before;
        }
        if c < '0' { Place::Low(c) } else { Place::High(c) }
    }
}

fn order(mut a: Places<'_>, mut b: Places<'_>) -> Ordering {
    loop {
        let (x, y) = (a.next(), b.next());
        let ended = x == Place::End;
        match x.cmp(&y) {
            Ordering::Equal if ended => return Ordering::Equal,
            Ordering::Equal => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        for (low, high) in [
            ("5.15.0-999", "5.15.0-1020"),
            ("4.12", "4.12-rc1"),
            ("4.12-rc1", "4.12.1"),
            ("4.9", "4.12"),
            ("4.12", "4.12.0"),
            ("6.1.0-9-amd64", "6.1.0-10-amd64"),
            ("1.0", "1.0a"),
            ("1.0.9999999999999999999998", "1.0.9999999999999999999999"),
            ("6.12.9+deb13", "6.12.9-1"),
        ] {
            assert_eq!(compare(low, high), Ordering::Less, "{low} {high}");
            assert_eq!(compare(high, low), Ordering::Greater, "{high} {low}");
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }

    #[test]
    fn age() {
        for (old, new) in [
            ("4.12-rc1", "4.12"),
            ("6.12~rc6-amd64", "6.12-amd64"),
            ("6.12-rc2", "6.12-rc10"),
            ("6.12-rc10", "6.12.0"),
            ("2.0~beta", "2.0"),
            ("5.15.0-999", "5.15.0-1020"),
            ("6.11.9", "6.12-rc1"),
        ] {
            assert_eq!(by_age(old, new), Ordering::Less, "{old} {new}");
            assert_eq!(by_age(new, old), Ordering::Greater, "{new} {old}");
        }
        // A name that merely begins like a candidate's mark.
        assert_eq!(by_age("6.1-rcu", "6.1"), Ordering::Greater);
    }

    /// Small numbers order as padded text does, which is how the classic compares.
    #[test]
    fn agrees_with_padded_text() {
        fn padded(text: &str) -> String {
            use std::fmt::Write;
            let mut out = String::new();
            let mut digits = String::new();
            for c in text.chars().chain(['\0']) {
                if c.is_ascii_digit() {
                    digits.push(c);
                    continue;
                }
                if !digits.is_empty() {
                    let _ = write!(out, "{digits:0>3}");
                    digits.clear();
                }
                if c != '\0' {
                    out.push(c);
                }
            }
            out
        }
        for a in all() {
            for b in all() {
                assert_eq!(compare(&a, &b), padded(&a).cmp(&padded(&b)), "{a} {b}");
            }
        }
    }

    /// Exhaustive over every short word of an alphabet that has all kinds of places.
    #[test]
    fn both_are_total_orders() {
        let words = all();
        for order in [compare, by_age] {
            for a in &words {
                assert_eq!(order(a, a), Ordering::Equal);
            }
            let mut sorted = words.clone();
            sorted.sort_by(|a, b| order(a, b));
            // In a total preorder every pair agrees with the sorted sequence.
            for (i, a) in sorted.iter().enumerate() {
                for b in &sorted[i..] {
                    assert_ne!(order(a, b), Ordering::Greater, "{a} {b}");
                    assert_eq!(order(a, b), order(b, a).reverse(), "{a} {b}");
                }
            }
        }
    }

    fn all() -> Vec<String> {
        let parts = ["1", "9", "10", "012", ".", "-", "+", "-rc1", "~", "a"];
        let mut words = vec![String::new()];
        let mut last = words.clone();
        for _ in 0..3 {
            last = last.iter().flat_map(|w| parts.iter().map(move |p| format!("{w}{p}"))).collect();
            words.extend(last.iter().cloned());
        }
        // Runs of digits that grew beyond three are where the classic errs.
        words.retain(|w| w.split(|c: char| !c.is_ascii_digit()).all(|run| run.len() <= 3));
        words
    }
}
