//! Generated stories with questions, to train a small model on that finds answers in a text.

use std::collections::BTreeSet;
use std::ops::Range;

use cpu_reference::philox::Philox;

use crate::DataError;
use crate::parts::PartSizes;
use crate::questions::{Question, QuestionParts, Questions};

/// The random stream of the stories.
const STREAM: u32 = 0x5000_0002;
/// Facts of a kind that a story tells at most, but for things that are moved.
const FACTS: usize = 4;
/// People of a story: those who put things, those who move them, and one with a job.
const CAST: usize = FACTS + 3;
/// So many stories can be told apart with ease.
const MOST: usize = 1_000_000;

const PEOPLE: [&str; 20] = [
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jonas", "Kate", "Liam", "Mia", "Noah",
    "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor",
];
const COLOURS: [&str; 10] = ["red", "blue", "green", "yellow", "black", "white", "brown", "grey", "orange", "purple"];
const THINGS: [&str; 16] = [
    "ball", "book", "cup", "key", "lamp", "hat", "coat", "box", "chair", "bag", "clock", "spoon", "letter", "shoe",
    "umbrella", "guitar",
];
const ROOMS: [&str; 14] = [
    "kitchen", "garden", "hall", "cellar", "attic", "garage", "office", "bathroom", "bedroom", "library", "workshop",
    "barn", "school", "station",
];
const JOBS: [&str; 10] =
    ["baker", "teacher", "doctor", "painter", "gardener", "driver", "lawyer", "cook", "farmer", "nurse"];
const CITIES: [&str; 12] =
    ["London", "Paris", "Berlin", "Madrid", "Rome", "Oslo", "Vienna", "Lisbon", "Dublin", "Prague", "Athens", "Warsaw"];
const ASIDES: [&str; 8] = [
    "It was raining.",
    "The day was warm.",
    "Nobody was in a hurry.",
    "A dog barked outside.",
    "It was late in the evening.",
    "The windows were open.",
    "Everyone was tired.",
    "Music came from the street.",
];

/// Short stories about people, things and places, each with a question whose one answer is a span of it: the same ones
/// for the same `seed`.
///
/// "Anna put the red ball in the kitchen. Ben works in Rome as a baker. Later Ben took the red ball to the garden."
/// Where is the red ball? "garden". There are questions for people, things, colours, rooms, jobs and cities. A story tells
/// `facts` of one kind, things or jobs, from 1 to 4; where it tells only one, also one of the other kind. With one fact a
/// kind of question has one answer, with several it has to be found out which fact is asked for, which is much harder to
/// learn. No two stories are alike, so that the parts have none in common.
///
/// # Errors
/// [`DataError::Argument`] if a part is to be empty, all are to have more than a million stories, or there are no facts or
/// more than four.
pub fn stories(sizes: PartSizes, facts: usize, seed: u64) -> Result<QuestionParts, DataError> {
    sizes.check("stories", MOST)?;
    if !(1..=FACTS).contains(&facts) {
        return Err(DataError::argument(
            format!("stories cannot tell {facts} facts of a kind"),
            format!("give from 1 to {FACTS}"),
        ));
    }
    let mut random = Philox::new(seed, STREAM);
    let mut told = BTreeSet::new();
    let mut part = |name: &str, count: usize| {
        let mut found = Questions::default();
        while found.len() < count {
            let story = tell(facts, &mut random);
            if !told.insert(story.text.clone()) {
                continue;
            }
            found.questions.push(Question {
                id: format!("{name}-{}", found.len()),
                context: found.contexts.len(),
                question: story.question,
                answers: vec![story.answer],
            });
            found.contexts.push(story.text);
        }
        found
    };
    Ok(QuestionParts {
        training: part("training", sizes.training),
        validation: Some(part("validation", sizes.validation)),
        test: Some(part("test", sizes.test)),
    })
}

struct Story {
    text: String,
    question: String,
    answer: Range<usize>,
}

/// A sentence of which some parts may be asked for.
#[derive(Default)]
struct Sentence {
    text: String,
    /// Questions with the part of `text` that answers each.
    questions: Vec<(String, Range<usize>)>,
}

impl Sentence {
    /// A sentence from pieces; the first question is answered by piece `questions[0].0`, and so on.
    fn new<const N: usize>(pieces: [&str; N], questions: Vec<(usize, String)>) -> Self {
        let span = |index: usize| {
            let start = pieces[..index].iter().map(|piece| piece.len()).sum::<usize>();
            start..start + pieces[index].len()
        };
        let questions = questions.into_iter().map(|(index, question)| (question, span(index))).collect();
        Self { text: pieces.concat(), questions }
    }
}

/// A thing that someone put somewhere.
struct Placed {
    colour: &'static str,
    thing: &'static str,
    person: &'static str,
    room: &'static str,
}

/// Draws different elements of `from`.
fn draw<const N: usize>(from: &[&'static str], random: &mut Philox) -> [&'static str; N] {
    let order = random.permutation(from.len());
    std::array::from_fn(|index| from[order[index] as usize])
}

fn tell(facts: usize, random: &mut Philox) -> Story {
    let people = draw(&PEOPLE, random);
    let of_jobs = random.below(3) == 0;
    let mut sentences = match (facts, of_jobs) {
        (1, _) => {
            let mut sentences = tell_of_things(1, people, random);
            // Before, between or after what happens to the thing.
            let place = random.below(sentences.len() as u32 + 1) as usize;
            sentences.splice(place..place, tell_of_jobs(1, &people[FACTS + 2..], random));
            sentences
        }
        (_, true) => tell_of_jobs(facts, &people, random),
        (_, false) => tell_of_things(facts, people, random),
    };
    for aside in draw::<2>(&ASIDES, random) {
        if random.below(2) == 0 {
            let place = random.below(sentences.len() as u32 + 1) as usize;
            sentences.insert(place, Sentence { text: aside.to_owned(), questions: Vec::new() });
        }
    }
    let (mut text, mut questions) = (String::new(), Vec::new());
    for sentence in sentences {
        if !text.is_empty() {
            text.push(' ');
        }
        let start = text.len();
        let moved =
            sentence.questions.into_iter().map(|(question, span)| (question, start + span.start..start + span.end));
        questions.extend(moved);
        text.push_str(&sentence.text);
    }
    let chosen = random.below(questions.len() as u32) as usize;
    let (question, answer) = questions.swap_remove(chosen);
    Story { text, question, answer }
}

/// So many people put a thing each somewhere; up to two of the things are moved afterwards.
fn tell_of_things(facts: usize, people: [&'static str; CAST], random: &mut Philox) -> Vec<Sentence> {
    let things: [_; FACTS] = draw(&THINGS, random);
    let rooms: [_; FACTS + 2] = draw(&ROOMS, random);
    let colours: [_; FACTS] = draw(&COLOURS, random);
    let moves = random.below(3).min(facts as u32) as usize;
    let mut sentences = Vec::new();
    for index in 0..facts {
        let (colour, thing, person, room) = (colours[index], things[index], people[index], rooms[index]);
        // The things that are moved are the last ones: their first place is no longer where they are.
        let stays = index < facts - moves;
        sentences.push(put(&Placed { colour, thing, person, room }, stays, random));
    }
    // Told in another order, so that the last ones are not always those that are moved.
    random.shuffle(&mut sentences);
    for index in 0..moves {
        let (colour, thing) = (colours[facts - 1 - index], things[facts - 1 - index]);
        let (person, room) = (people[facts + index], rooms[facts + index]);
        sentences.push(carry(&Placed { colour, thing, person, room }, random));
    }
    sentences
}

fn put(placed: &Placed, stays: bool, random: &mut Philox) -> Sentence {
    let Placed { colour, thing, person, room } = placed;
    let (who, what) = (format!("Who put the {thing} in the {room}?"), format!("What did {person} put in the {room}?"));
    let colour_question = format!("Which colour is the {thing}?");
    let place = format!("Where is the {thing}?");
    let full_place = format!("Where is the {colour} {thing}?");
    let object = format!("{colour} {thing}");
    let mut sentence = match random.below(3) {
        0 => Sentence::new(
            [person, " put the ", &object, " in the ", room, "."],
            vec![(0, who), (2, what), (4, place), (4, full_place)],
        ),
        1 => Sentence::new(
            ["In the ", room, ", ", person, " put down the ", &object, "."],
            vec![(3, who), (5, what), (1, place), (1, full_place)],
        ),
        _ => Sentence::new(
            ["The ", &object, " was put in the ", room, " by ", person, "."],
            vec![(5, who), (1, what), (3, place), (3, full_place)],
        ),
    };
    if !stays {
        sentence.questions.truncate(2);
    }
    let object = sentence.questions[1].1.start;
    sentence.questions.push((colour_question, object..object + colour.len()));
    sentence
}

fn carry(placed: &Placed, random: &mut Philox) -> Sentence {
    let Placed { colour, thing, person, room } = placed;
    let who = format!("Who took the {thing} to the {room}?");
    let what = format!("What did {person} take to the {room}?");
    let (place, full_place) = (format!("Where is the {thing}?"), format!("Where is the {colour} {thing}?"));
    let object = format!("{colour} {thing}");
    let (first, verb) = match random.below(3) {
        0 => ("Later ", " took the "),
        1 => ("Then ", " took the "),
        _ => ("After that ", " carried the "),
    };
    Sentence::new(
        [first, person, verb, &object, " to the ", room, "."],
        vec![(1, who), (3, what), (5, place), (5, full_place)],
    )
}

/// So many people with their jobs and the cities that they work in.
fn tell_of_jobs(facts: usize, people: &[&'static str], random: &mut Philox) -> Vec<Sentence> {
    let jobs: [_; FACTS] = draw(&JOBS, random);
    let cities: [_; FACTS] = draw(&CITIES, random);
    let mut sentences = Vec::new();
    for ((person, job), city) in people.iter().zip(jobs).zip(cities).take(facts) {
        let where_question = format!("Where does {person} work?");
        let what_question = format!("What is the job of {person}?");
        let (who, who_there) = (format!("Who is the {job}?"), format!("Who works in {city}?"));
        sentences.push(match random.below(3) {
            0 => Sentence::new(
                [person, " works in ", city, " as a ", job, "."],
                vec![(2, where_question), (4, what_question), (0, who), (0, who_there)],
            ),
            1 => Sentence::new(
                [person, " is a ", job, " in ", city, "."],
                vec![(4, where_question), (2, what_question), (0, who), (0, who_there)],
            ),
            _ => Sentence::new(
                ["A ", job, " named ", person, " works in ", city, "."],
                vec![(5, where_question), (1, what_question), (3, who), (3, who_there)],
            ),
        });
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: PartSizes = PartSizes { training: 3000, validation: 200, test: 300 };

    fn parts(made: &QuestionParts) -> [&Questions; 3] {
        [&made.training, made.validation.as_ref().unwrap(), made.test.as_ref().unwrap()]
    }

    #[test]
    fn the_seed_decides_and_no_story_is_told_twice() {
        let made = stories(SIZES, 4, 3).unwrap();
        assert_eq!(parts(&made).map(Questions::len), [3000, 200, 300]);
        assert_eq!(made, stories(SIZES, 4, 3).unwrap());
        assert_ne!(made, stories(SIZES, 4, 4).unwrap());
        let contexts: BTreeSet<_> = parts(&made).into_iter().flat_map(|part| &part.contexts).collect();
        assert_eq!(contexts.len(), 3500);
        assert!(stories(PartSizes { test: 0, ..SIZES }, 4, 0).is_err());
        assert!(stories(PartSizes { test: MOST, ..SIZES }, 4, 0).is_err());
    }

    /// The answer to a question about things, found by following the story sentence by sentence.
    fn follow(context: &str, question: &str) -> Option<String> {
        let question = question.strip_suffix('?')?;
        let words_of = |sentence: &str| -> Vec<String> {
            let words = sentence.split([' ', ',', '.']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let word_in =
            |sentence: &str, list: &[&str]| words_of(sentence).into_iter().find(|word| list.contains(&&**word));
        let sentences: Vec<&str> =
            context.split_inclusive('.').filter(|sentence| word_in(sentence, &PEOPLE).is_some()).collect();
        let with = |words: &[&str]| -> Vec<&str> {
            let has_all = |sentence: &&str| words.iter().all(|word| words_of(sentence).iter().any(|own| own == word));
            sentences.iter().copied().filter(has_all).collect()
        };
        let asked = question.split(' ').collect::<Vec<_>>();
        match asked.as_slice() {
            // The last sentence that names the thing says where it is.
            ["Where", "is", "the", .., thing] => word_in(with(&[thing]).last()?, &ROOMS),
            ["Who", "put" | "took", "the", thing, _, "the", room] => word_in(with(&[thing, room]).first()?, &PEOPLE),
            ["What", "did", person, "put" | "take", _, "the", room] => {
                let sentence = *with(&[person, room]).first()?;
                Some(format!("{} {}", word_in(sentence, &COLOURS)?, word_in(sentence, &THINGS)?))
            }
            ["Which", "colour", "is", "the", thing] => word_in(with(&[thing]).first()?, &COLOURS),
            ["Where", "does", person, "work"] => word_in(with(&[person]).first()?, &CITIES),
            ["What", "is", "the", "job", "of", person] => word_in(with(&[person]).first()?, &JOBS),
            ["Who", "is", "the", job] => word_in(with(&[job]).first()?, &PEOPLE),
            ["Who", "works", "in", city] => word_in(with(&[city]).first()?, &PEOPLE),
            _ => None,
        }
    }

    #[test]
    fn answers_follow_from_the_stories() {
        for facts in 1..=FACTS {
            let made = stories(SIZES, facts, 8).unwrap();
            let mut moved = 0;
            for part in parts(&made) {
                for (index, question) in part.questions.iter().enumerate() {
                    let context = part.context(index).unwrap();
                    let answers = part.answers(index);
                    let expected = follow(context, &question.question);
                    assert_eq!(answers, [expected.as_deref().unwrap_or("")], "{context} {}", question.question);
                    moved += usize::from(question.question.starts_with("Where is") && context.contains(" to the "));
                }
            }
            assert!(moved > 300, "things are moved, and asked for: {moved}");
        }
        for facts in [0, 5] {
            assert!(stories(SIZES, facts, 0).unwrap_err().to_string().contains("from 1 to 4"));
        }
    }

    #[test]
    fn no_place_of_the_answer_is_a_good_guess() {
        // The answer is neither always the first nor the last of its kind: guessing a fixed sentence must fail.
        let made = stories(PartSizes { training: 10, validation: 10, test: 3000 }, 4, 1).unwrap();
        let test = made.test.unwrap();
        let mut counts = [0; 8];
        for (index, question) in test.questions.iter().enumerate() {
            let before = &test.context(index).unwrap()[..question.answers[0].start];
            counts[before.matches('.').count()] += 1;
        }
        assert!(counts.iter().all(|&count| count < 1000), "{counts:?}");
        assert!(counts[..6].iter().all(|&count| count > 50), "{counts:?}");
    }
}
