//! Tests of generated pairs: each target must follow from its source, read by another way.

use super::*;

const SIZES: PartSizes = PartSizes { training: 3000, validation: 300, test: 400 };

/// The date that a text says, read word by word, without the code that wrote it.
fn read_date(text: &str) -> String {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split([' ', ',', '/']).filter(|word| !word.is_empty() && *word != "of").collect();
    let is_weekday =
        |word: &str| ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].contains(&&word[..word.len().min(3)]);
    let words: Vec<&str> = words.into_iter().filter(|word| !is_weekday(word)).collect();
    assert_eq!(words.len(), 3, "{text}");
    let number = |word: &str| word.trim_end_matches(char::is_alphabetic).parse::<u32>().unwrap();
    let names = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (month, others): (u32, Vec<&str>) =
        match words.iter().position(|word| word.starts_with(|c: char| c.is_alphabetic())) {
            Some(place) => {
                let month = names.iter().position(|name| words[place].starts_with(name)).unwrap() as u32 + 1;
                (month, words.iter().enumerate().filter(|&(index, _)| index != place).map(|(_, word)| *word).collect())
            }
            None => (number(words[0]), words[1..].to_vec()),
        };
    let year_first = number(others[0]) > 31;
    let (mut year, day) =
        if year_first { (number(others[0]), number(others[1])) } else { (number(others[1]), number(others[0])) };
    if year < 100 {
        year += if year < 50 { 2000 } else { 1900 };
    }
    format!("{year}-{month:02}-{day:02}")
}

/// The number that words say.
fn read_number(text: &str) -> String {
    let (mut total, mut group) = (0, 0);
    for word in text.split([' ', '-']).filter(|word| *word != "and") {
        match word {
            "hundred" => group *= 100,
            "thousand" => {
                total = group * 1000;
                group = 0;
            }
            word => {
                let small = SMALL.iter().position(|name| name == &word);
                group += small.unwrap_or_else(|| TENS.iter().position(|name| name == &word).unwrap() * 10);
            }
        }
    }
    (total + group).to_string()
}

fn all(parts: &PairParts) -> Vec<(&String, &String)> {
    let parts = [Some(&parts.training), parts.validation.as_ref(), parts.test.as_ref()];
    parts.into_iter().flatten().flat_map(|part| part.sources.iter().zip(&part.targets)).collect()
}

fn check(make: fn(PartSizes, u64) -> Result<PairParts, DataError>, read: fn(&str) -> String) {
    let made = make(SIZES, 5).unwrap();
    let pairs = all(&made);
    for (source, target) in &pairs {
        assert_eq!(&&read(source), target, "{source}");
    }
    assert_eq!(made.training.len(), 3000);
    assert_eq!(made.test.as_ref().unwrap().len(), 400);
    let targets: BTreeSet<_> = pairs.iter().map(|(_, target)| target).collect();
    assert_eq!(targets.len(), pairs.len(), "the parts have nothing in common");
    assert_eq!(made, make(SIZES, 5).unwrap());
    assert_ne!(made, make(SIZES, 6).unwrap());
    for sizes in [PartSizes { test: 0, ..SIZES }, PartSizes { training: 600_000, ..SIZES }] {
        assert!(make(sizes, 0).unwrap_err().to_string().contains("cannot be made"));
    }
}

#[test]
fn dates_mean_what_their_targets_say() {
    check(dates, read_date);
}

#[test]
fn numbers_mean_what_their_targets_say() {
    check(number_words, read_number);
}

#[test]
fn the_calendar_is_right() {
    // Known days: the first, a leap day, the last, and the example of the documentation.
    for (days, iso, weekday) in [
        (0, "1950-01-01", "Sunday"),
        (18_321, "2000-02-29", "Tuesday"),
        (25_994, "2021-03-03", "Wednesday"),
        (DAYS - 1, "2049-12-31", "Friday"),
    ] {
        let date = Date::of(days);
        assert_eq!((date.iso().as_str(), WEEKDAYS[date.weekday]), (iso, weekday));
    }
}

#[test]
fn numbers_are_written_as_in_english() {
    let forms = |number: u32| -> BTreeSet<String> {
        let mut random = Philox::new(1, 1);
        (0..64).map(|_| write_number(number, &mut random)).collect()
    };
    assert!(forms(402).iter().eq(["four hundred and two", "four hundred two"]));
    assert!(forms(41).iter().eq(["forty one", "forty-one"]));
    assert!(forms(700_000).iter().eq(["seven hundred thousand"]));
    assert!(forms(0).iter().eq(["zero"]));
    assert!(forms(5_012).iter().eq(["five thousand and twelve", "five thousand twelve"]));
    assert!(forms(12_300).iter().eq(["twelve thousand three hundred"]));
}

#[test]
fn all_forms_and_lengths_occur() {
    let made = dates(SIZES, 1).unwrap();
    for form in ["/", " of ", ", ", "day, ", "Mon ", "monday"] {
        assert!(made.training.sources.iter().any(|source| source.contains(form)), "{form}");
    }
    let made = number_words(SIZES, 1).unwrap();
    for digits in 1..=6 {
        assert!(made.training.targets.iter().any(|target| target.len() == digits), "{digits}");
    }
    // Most numbers of three digits and more are left for later parts too.
    let test = made.test.unwrap();
    assert!((3..=6).all(|digits| test.targets.iter().any(|target| target.len() == digits)));
}
