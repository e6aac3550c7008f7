//! Tests of corpora. The project's sources change with every commit: what is asked of them holds for any.

use std::collections::HashMap;
use std::io::Write;

use super::chunks::chunks;
use super::own::unpack;
use super::*;
use crate::LabelledTexts;
use crate::test_files::Folder;

#[test]
fn texts_are_read_whole() {
    let folder = Folder::new();
    assert_eq!(read_text(&folder.write("x.txt", "\u{feff}a\r\nb")).unwrap(), "a\r\nb");
    let error = read_text(&folder.write("y.txt", b"a\nb\xff")).unwrap_err().to_string();
    assert!(error.contains("y.txt, line 2") && error.contains("position 3"), "{error}");
    assert!(read_text(&folder.write("z.txt", "")).unwrap_err().to_string().contains("empty"));
    assert!(read_text(&folder.path().join("none")).is_err());
}

#[test]
fn the_end_is_held_out_by_characters() {
    assert_eq!(split_text("äöüabcdefgh", 0.1).unwrap(), ("äöüabcdef", "gh"));
    assert_eq!(split_text("äöü", 0.4).unwrap(), ("ä", "öü"));
    // The published split of a text of 1,115,394 characters.
    let text = "x".repeat(1_115_394);
    assert_eq!(split_text(&text, 0.1).unwrap().0.len(), 1_003_854);
    for fraction in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(split_text("abc", fraction).is_err());
    }
    for text in ["", "a"] {
        assert!(split_text(text, 0.5).unwrap_err().to_string().contains("cannot be split"));
    }
}

#[test]
fn the_sources_are_those_of_the_project() {
    let sources = own_sources().unwrap();
    let has = |path: &str| sources.iter().find(|source| source.path == path);
    for path in ["Cargo.toml", "README.md", "crates/nn-data/src/corpus/tests.rs", "src/lib.rs", "docs/accuracy.md"] {
        assert!(has(path).is_some(), "{path}");
    }
    assert!(has("Cargo.toml").unwrap().text.contains("[workspace]"));
    assert!(sources.iter().any(|source| source.path.starts_with("shaders/") && source.path.ends_with(".wgsl")));
    assert!(sources.is_sorted_by(|a, b| a.path < b.path));
    assert!(!sources.iter().any(|source| source.path.contains("golden/") || source.path.contains("target/")));
}

#[test]
fn a_crate_by_itself_has_its_own_files() {
    let folder = Folder::new();
    for name in ["project/crates/nn-data/src/lib.rs", "project/shaders/x.wgsl", "elsewhere/nn-data-0.1.0/src/lib.rs"] {
        folder.write(name, "");
    }
    let own = folder.path().join("project/crates/nn-data");
    assert_eq!(tree::root(&own), folder.path().join("project"));
    let alone = folder.path().join("elsewhere/nn-data-0.1.0");
    assert_eq!(tree::root(&alone), alone);
    let sources = vec![Source { path: "src/lib.rs".into(), text: "fn main() {}".into() }];
    let error = chunks(&sources, 0, 10).unwrap_err().to_string();
    assert!(error.contains("0 Markdown files"), "{error}");
}

#[test]
fn only_text_of_the_kinds_is_read() {
    let folder = Folder::new();
    for name in
        ["b.md", "src/a.rs", "src/deep/x.toml", "src/.hidden/y.rs", "src/golden/z.rs", "other/w.rs", "src/v.txt"]
    {
        folder.write(name, "line\r\n");
    }
    folder.write("src/bad.rs", b"\xff");
    let files = tree::read(folder.path()).unwrap();
    let paths: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(paths, [("b.md", "line\n"), ("src/a.rs", "line\n"), ("src/deep/x.toml", "line\n")]);
}

#[test]
fn what_is_packed_is_unpacked() {
    let files = [("a b.rs", "5 x\n\n"), ("empty.md", ""), ("z/ä.toml", "größe = 1")];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(pack::pack(&files).as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(unpack(&packed).unwrap(), files);
    assert!(unpack(&packed[..packed.len() / 2]).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn the_corpus_holds_every_file_after_its_path() {
    let corpus = own_corpus().unwrap();
    let sources = own_sources().unwrap();
    for source in &sources {
        assert!(corpus.contains(&format!("==== {}\n{}\n", source.path, source.text)), "{}", source.path);
    }
    assert!(corpus.len() > 1_000_000);
    assert_eq!(corpus, own_corpus().unwrap());
    // The end is like the rest: files of more than one folder.
    let (_, end) = split_text(&corpus, 0.1).unwrap();
    let crates = ["crates/nn-core/", "crates/nn-train/", "crates/nn-data/", "src/"];
    let there = crates.iter().filter(|folder| end.contains(&format!("==== {folder}"))).count();
    assert!(there >= 3, "{there}");
}

fn pairs(text: &str) -> Vec<(char, char)> {
    text.chars().zip(text.chars().skip(1)).collect()
}

/// The share of texts whose pairs of characters speak for their class, as those of `training` do (naive Bayes).
fn accuracy(training: &LabelledTexts, held_out: &LabelledTexts) -> f64 {
    let mut counts: HashMap<(char, char), [f64; 4]> = HashMap::new();
    for (text, &label) in training.texts.iter().zip(&training.labels) {
        for pair in pairs(text) {
            counts.entry(pair).or_insert([0.1; 4])[label as usize] += 1.0;
        }
    }
    let guess = |text: &str| {
        let mut scores = [0.0; 4];
        for found in pairs(text).iter().filter_map(|pair| counts.get(pair)) {
            for (score, count) in scores.iter_mut().zip(found) {
                *score += count.ln();
            }
        }
        (0..4).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as u32
    };
    let right = held_out.texts.iter().zip(&held_out.labels).filter(|(text, label)| guess(text) == **label);
    right.count() as f64 / held_out.texts.len() as f64
}

#[test]
fn chunks_are_balanced_and_come_from_different_files() {
    let (training, held_out) = own_chunks(3, 120).unwrap();
    assert_eq!(training.names, ["Markdown", "Rust", "TOML", "WGSL"]);
    for (part, most) in [(&training, 1000), (&held_out, 200)] {
        let count = |class: u32| part.labels.iter().filter(|&&label| label == class).count();
        assert!((0..4).all(|class| count(class) == count(0)), "balanced");
        assert!(count(0) > most / 2 && count(0) <= most, "{}", count(0));
        assert!(part.texts.iter().all(|text| text.chars().count() <= 120));
    }
    assert_eq!((&training, &held_out), (&own_chunks(3, 120).unwrap().0, &own_chunks(3, 120).unwrap().1));
    assert_ne!(training, own_chunks(4, 120).unwrap().0);
    assert!(own_chunks(3, 0).is_err());
    let accuracy = accuracy(&training, &held_out);
    assert!(accuracy > 0.8, "the kinds can be told apart: {accuracy}");
}

#[test]
fn no_held_out_chunk_comes_from_a_file_that_is_trained_on() {
    // Each file has letters of its own, so that chunks tell where they are from.
    let mut sources = Vec::new();
    for (kind, extension) in ["md", "rs", "toml", "wgsl"].into_iter().enumerate() {
        for file in 0..8u32 {
            let letter = char::from_u32(0x4e00 + kind as u32 * 100 + file).unwrap();
            let count = if file == 0 && kind == 2 { 5000 } else { 300 };
            sources.push(Source { path: format!("{file}.{extension}"), text: letter.to_string().repeat(count) });
        }
    }
    for seed in 0..20 {
        let (training, held_out) = chunks(&sources, seed, 50).unwrap();
        let letters = |part: &LabelledTexts| -> std::collections::BTreeSet<char> {
            part.texts.iter().filter_map(|text| text.chars().next()).collect()
        };
        assert!(letters(&training).is_disjoint(&letters(&held_out)), "{seed}");
        assert_eq!(training.labels.len() % 4, 0);
        for (text, label) in training.texts.iter().zip(&training.labels) {
            assert_eq!((text.chars().next().unwrap() as u32 - 0x4e00) / 100, *label);
        }
    }
}

#[test]
fn files_shorter_than_a_chunk_are_chunks() {
    let sources: Vec<Source> = ["md", "rs", "toml", "wgsl"]
        .iter()
        .flat_map(|kind| (0..3).map(move |file| Source { path: format!("{file}.{kind}"), text: "x".repeat(5 + file) }))
        .collect();
    let (training, held_out) = chunks(&sources, 0, 100).unwrap();
    assert_eq!((training.texts.len(), held_out.texts.len()), (8, 4));
    // Two large files: the smaller one is held out.
    let pair = |kind: &str| [10, 30].map(|size| Source { path: format!("{size}.{kind}"), text: "y".repeat(size) });
    let sources: Vec<Source> = ["md", "rs", "toml", "wgsl"].iter().flat_map(|kind| pair(kind)).collect();
    let (training, held_out) = chunks(&sources, 0, 100).unwrap();
    assert!(training.texts.iter().all(|text| text.len() == 30) && held_out.texts.iter().all(|text| text.len() == 10));
}
