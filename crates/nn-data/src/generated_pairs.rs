//! Generated pairs to train a small translator on: dates as people write them, and numbers in words.

use std::collections::BTreeSet;

use cpu_reference::philox::Philox;

use crate::DataError;
use crate::pairs::{PairParts, Pairs};
use crate::parts::PartSizes;

/// Random streams, one for each set.
const DATES_STREAM: u32 = 0x5000_0000;
const NUMBERS_STREAM: u32 = 0x5000_0001;

/// The years of the dates: a hundred, so that two digits tell the year.
const FIRST_YEAR: u32 = 1950;
const YEARS: u32 = 100;
/// From 1 January 1950 to 31 December 2049.
const DAYS: u32 = 36_525;
/// The weekday of 1 January 1950, a Sunday, in [`WEEKDAYS`].
const FIRST_WEEKDAY: u32 = 6;

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
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Numbers below this are written in words.
const LIMIT: u32 = 1_000_000;
const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// Dates from 1950 to 2049 as people write them, each with its ISO 8601 form: the same ones for the same `seed`.
///
/// `3 Mar 2021`, `March 3, 2021`, `Wednesday, 3 March 2021`, `03/03/21` (month first, as with `March 3`), `3rd of
/// March 2021` and others, drawn at random, some in lower case; all become `2021-03-03`. No date is drawn twice, so
/// that the parts have none in common.
///
/// # Errors
/// [`DataError::Argument`] if a part is to be empty, or all are to have more than 36,525 dates.
pub fn dates(sizes: PartSizes, seed: u64) -> Result<PairParts, DataError> {
    sizes.check("dates", DAYS as usize)?;
    let mut random = Philox::new(seed, DATES_STREAM);
    let mut days = random.permutation(DAYS as usize).into_iter();
    Ok(parts(sizes, |count| {
        let days = days.by_ref().take(count);
        days.map(|day| (write_date(Date::of(day), &mut random), Date::of(day).iso())).collect()
    }))
}

/// Whole numbers below a million in English words, each with its digits: the same ones for the same `seed`.
///
/// `four hundred and two` or `four hundred two`, `forty-one` or `forty one`, drawn at random, become `402` and `41`.
/// Numbers of one digit are drawn as often as those of six, as far as there are enough; none is drawn twice, so that
/// the parts have none in common.
///
/// # Errors
/// [`DataError::Argument`] if a part is to be empty, or all are to have more than half a million numbers.
pub fn number_words(sizes: PartSizes, seed: u64) -> Result<PairParts, DataError> {
    sizes.check("number words", LIMIT as usize / 2)?;
    let mut random = Philox::new(seed, NUMBERS_STREAM);
    // Numbers are drawn before they are dealt out, or the short ones would all come first, in the training part.
    let mut drawn = BTreeSet::new();
    let mut numbers = Vec::new();
    while numbers.len() < sizes.as_array().iter().sum() {
        let digits = 1 + random.below(6);
        let number = random.below(10u32.pow(digits));
        if drawn.insert(number) {
            numbers.push(number);
        }
    }
    random.shuffle(&mut numbers);
    let mut numbers = numbers.into_iter();
    Ok(parts(sizes, |count| {
        let numbers = numbers.by_ref().take(count);
        numbers.map(|number| (write_number(number, &mut random), number.to_string())).collect()
    }))
}

/// The three parts, drawn one after the other.
fn parts(sizes: PartSizes, mut draw: impl FnMut(usize) -> Vec<(String, String)>) -> PairParts {
    let mut part = |count| {
        let (sources, targets) = draw(count).into_iter().unzip();
        Pairs { sources, targets, skipped: 0 }
    };
    PairParts { training: part(sizes.training), validation: Some(part(sizes.validation)), test: Some(part(sizes.test)) }
}

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: u32,
    /// From 0.
    month: usize,
    /// From 1.
    day: u32,
    /// An index of [`WEEKDAYS`].
    weekday: usize,
}

impl Date {
    /// The date `days` after 1 January 1950; `days` is below [`DAYS`].
    fn of(days: u32) -> Self {
        let weekday = ((days + FIRST_WEEKDAY) % 7) as usize;
        let (mut year, mut day) = (FIRST_YEAR, days);
        // 1950 to 2049 holds no century that is not a leap year.
        let february = |year: u32| if year.is_multiple_of(4) { 29 } else { 28 };
        while day >= 337 + february(year) {
            day -= 337 + february(year);
            year += 1;
        }
        let lengths = [31, february(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while day >= lengths[month] {
            day -= lengths[month];
            month += 1;
        }
        Self { year, month, day: day + 1, weekday }
    }

    fn iso(self) -> String {
        format!("{}-{:02}-{:02}", self.year, self.month + 1, self.day)
    }
}

/// A date in one of the forms that people use.
fn write_date(date: Date, random: &mut Philox) -> String {
    let Date { year, month, day, weekday } = date;
    let (short_month, short_weekday) = (&MONTHS[month][..3], &WEEKDAYS[weekday][..3]);
    let (month_name, weekday) = (MONTHS[month], WEEKDAYS[weekday]);
    let (number, ordinal, two_digits) = (month + 1, ordinal(day), year % YEARS);
    let text = match random.below(12) {
        0 => format!("{day} {short_month} {year}"),
        1 => format!("{day} {month_name} {year}"),
        2 => format!("{month_name} {day}, {year}"),
        3 => format!("{short_month} {day}, {year}"),
        4 => format!("{number:02}/{day:02}/{two_digits:02}"),
        5 => format!("{number}/{day}/{year}"),
        6 => format!("{weekday}, {day} {month_name} {year}"),
        7 => format!("{short_weekday} {day} {short_month} {year}"),
        8 => format!("{weekday}, {month_name} {day}, {year}"),
        9 => format!("{ordinal} of {month_name} {year}"),
        10 => format!("{month_name} {ordinal}, {year}"),
        _ => format!("{year} {short_month} {day:02}"),
    };
    if random.below(4) == 0 { text.to_lowercase() } else { text }
}

/// `1st`, `2nd`, `3rd`, `4th`, … for a day of a month.
fn ordinal(day: u32) -> String {
    let ending = match (day / 10, day % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

/// A number below a million in words, with or without `and` and hyphens.
fn write_number(number: u32, random: &mut Philox) -> String {
    let and = if random.below(2) == 0 { " and " } else { " " };
    let hyphen = if random.below(2) == 0 { "-" } else { " " };
    let below_hundred = |number: u32| match (number / 10, number % 10) {
        (0 | 1, _) => SMALL[number as usize].to_owned(),
        (tens, 0) => TENS[tens as usize].to_owned(),
        (tens, ones) => format!("{}{hyphen}{}", TENS[tens as usize], SMALL[ones as usize]),
    };
    let below_thousand = |number: u32| match (number / 100, number % 100) {
        (0, rest) => below_hundred(rest),
        (hundreds, 0) => format!("{} hundred", SMALL[hundreds as usize]),
        (hundreds, rest) => format!("{} hundred{and}{}", SMALL[hundreds as usize], below_hundred(rest)),
    };
    match (number / 1000, number % 1000) {
        (0, rest) => below_thousand(rest),
        (thousands, 0) => format!("{} thousand", below_thousand(thousands)),
        (thousands, rest) => {
            let join = if rest < 100 { and } else { " " };
            format!("{} thousand{join}{}", below_thousand(thousands), below_thousand(rest))
        }
    }
}

#[cfg(test)]
#[path = "generated_pairs_tests.rs"]
mod tests;
