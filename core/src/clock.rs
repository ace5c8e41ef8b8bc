//! The time of day in words, without asking for it. The calendar is that of [`jiff`]; only its fields are asked for, as
//! its `strftime` adds 186 KB to the program.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date and time in UTC of `seconds` since 1970. What is before the year -9999 or after 9999 becomes the first or
/// the last time that the calendar has.
pub fn utc(seconds: i64) -> DateTime {
    let outside = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Offset::UTC.to_datetime(Timestamp::from_second(seconds).unwrap_or(outside))
}

/// Seconds since 1970 as date(1) prints them with `TZ=UTC LC_ALL=C`: `Sun Nov 22 23:41:21 UTC 2026`.
pub fn date(seconds: u64) -> String {
    let at = utc(i64::try_from(seconds).unwrap_or(i64::MAX));
    format!("{} {} {:>2} {} UTC {}", weekday(at), month(at), at.day(), time(at), at.year())
}

/// Seconds since 1970 as changelogs write them, in UTC: `Tue, 14 Nov 2023 22:13:20 +0000` (RFC 5322, "Date and Time
/// Specification").
pub fn rfc5322(seconds: i64) -> String {
    let at = utc(seconds);
    format!("{}, {:02} {} {} {} +0000", weekday(at), at.day(), month(at), at.year(), time(at))
}

fn weekday(at: DateTime) -> &'static str {
    WEEKDAYS[usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0)]
}

fn month(at: DateTime) -> &'static str {
    MONTHS[usize::try_from(at.month() - 1).unwrap_or(0)]
}

fn time(at: DateTime) -> String {
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(date(0), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(date(951_782_400), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(1_795_390_881), "Sun Nov 22 23:41:21 UTC 2026");
        assert_eq!(date(4_107_542_400), "Mon Mar  1 00:00:00 UTC 2100");
    }

    #[test]
    fn any_number_is_a_date() {
        assert_eq!(rfc5322(-1), "Wed, 31 Dec 1969 23:59:59 +0000");
        for seconds in [i64::MIN, -62_135_596_801, -1, 0, 253_402_207_200, 253_402_300_800, i64::MAX] {
            assert!((-9999..=9999).contains(&utc(seconds).year()), "{seconds}");
        }
        assert_eq!(date(u64::MAX), date(u64::MAX / 4));
    }

    #[test]
    fn the_days_of_two_centuries_follow_each_other() {
        let mut last = utc(-86_400);
        for day in 0..73_000 {
            let here = utc(day * 86_400);
            assert_eq!(last.tomorrow().unwrap(), here);
            assert_eq!(WEEKDAYS[usize::try_from((day + 3) % 7).unwrap()], weekday(here));
            last = here;
        }
    }
}
