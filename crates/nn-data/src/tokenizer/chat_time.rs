//! Date and time as Python's `strftime` writes them, for chat templates; in UTC, as no table of time zones is at hand.

use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time of this call.
///
/// # Errors
/// If the format has a directive that is not known here.
pub(super) fn now(format: &str) -> Result<String, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock stands before 1970".to_string())?;
    at(format, since.as_secs())
}

/// The time so many seconds after 1970 began.
fn at(format: &str, seconds: u64) -> Result<String, String> {
    let days = seconds / 86_400;
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let name = DAYS[(days % 7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        text += &match rest.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => month_name.to_string(),
            Some('b') => month_name[..3].to_string(),
            Some('A') => name.to_string(),
            Some('a') => name[..3].to_string(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_string(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".to_string(),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("strftime_now({format:?}): the directive \"%{other}\" is not supported"));
            }
        };
    }
    Ok(text)
}

/// Year, month from 1 and day from 1 of a day counted from 1 January 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `datetime.fromtimestamp(…, timezone.utc).strftime(…)`.
    #[test]
    fn dates_are_those_of_python() {
        let all = "%d %B %Y|%b %y %m|%A %a|%H:%M:%S %I %p|%F %T %%";
        for (seconds, expected) in [
            (0, "01 January 1970|Jan 70 01|Thursday Thu|00:00:00 12 AM|1970-01-01 00:00:00 %"),
            (951_827_696, "29 February 2000|Feb 00 02|Tuesday Tue|12:34:56 12 PM|2000-02-29 12:34:56 %"),
            (1_735_689_599, "31 December 2024|Dec 24 12|Tuesday Tue|23:59:59 11 PM|2024-12-31 23:59:59 %"),
            (4_107_542_400, "01 March 2100|Mar 00 03|Monday Mon|00:00:00 12 AM|2100-03-01 00:00:00 %"),
        ] {
            assert_eq!(at(all, seconds).unwrap(), expected);
        }
        assert!(at("%Q", 0).unwrap_err().contains("\"%Q\" is not supported"));
        assert!(at("%", 0).is_err());
        assert_eq!(now("%Y").unwrap().len(), 4);
    }
}
