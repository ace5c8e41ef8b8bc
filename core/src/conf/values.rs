//! Values that several directives and options have.

use std::time::Duration;

/// A yes or a no, in letters of any case; `None` if it is neither.
pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("yes") { Some(true) } else { text.eq_ignore_ascii_case("no").then_some(false) }
}

/// A time: a number with `s`, `m` or `h` after it.
pub(super) fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].trim_end().parse().ok().filter(|number| *number > 0)?;
    Some(Duration::from_secs(number.checked_mul(unit)?))
}
