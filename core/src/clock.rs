//! The time of day in words, without asking for it.

/// Seconds since 1970 as date(1) prints them with `TZ=UTC LC_ALL=C`: `Sun Nov 22 23:41:21 UTC 2026`.
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let week = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let weekday = week[usize::try_from(days % 7).unwrap_or(0)];
    format!(
        "{weekday} {} {day:>2} {:02}:{:02}:{:02} UTC {year}",
        months[month - 1],
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Year, month (1 to 12) and day of the `days`th day after 1 January 1970 (Gregorian calendar).
fn civil(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while month < 11 && days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn known_dates() {
        assert_eq!(date(0), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(date(951_782_400), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(1_795_390_881), "Sun Nov 22 23:41:21 UTC 2026");
    }
}
