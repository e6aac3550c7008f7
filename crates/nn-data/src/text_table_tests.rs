//! Tests of text tables: columns, labels, and bags of words.

use super::*;
use crate::test_files::Folder;

fn read_as(name: &str, text: &str) -> Result<TextTable, String> {
    let folder = Folder::new();
    let path = folder.write(name, text);
    TextTable::read(&path).map_err(|error| error.to_string())
}

fn read(text: &str) -> TextTable {
    read_as("x.csv", text).unwrap()
}

#[test]
fn columns_are_found_by_their_names() {
    let table = read("id,Label,note,Sentence\n7,good,x,\"fine, really\"\n8,bad,y,no\n");
    assert_eq!(table.texts, ["fine, really", "no"]);
    assert_eq!(table.labels, ["good", "bad"]);
    assert_eq!(table.lines, [2, 3]);
    let table = read("kind,text\na,b\n");
    assert_eq!((table.texts[0].as_str(), table.labels[0].as_str()), ("b", "a"));
    let table = read("label,review\na,b\n");
    assert_eq!((table.texts[0].as_str(), table.labels[0].as_str()), ("b", "a"));
}

#[test]
fn without_known_names_the_first_two_columns_serve() {
    let table = read_as("x.tsv", "fine film\t1\nbad film\t0\ndull\t0\nso good\t1\n").unwrap();
    assert_eq!(table.texts.len(), 4);
    assert_eq!(table.texts[0], "fine film");
    let table = read("review,sentiment\nfine film,1\nbad film,0\ndull,0\n");
    assert_eq!(table.texts, ["fine film", "bad film", "dull"]);
}

#[test]
fn labels_are_sorted_and_numbers_by_their_value() {
    let table = read("text,label\na,10\nb,9\nc,10\nd,-1\n");
    assert_eq!(table.label_names(), ["-1", "9", "10"]);
    let data = table.dataset(50).unwrap();
    let Targets::Classes { labels, names } = &data.targets else {
        panic!("classes expected");
    };
    assert_eq!(labels, &[2, 1, 2, 0]);
    assert_eq!(names, &["-1", "9", "10"]);
    assert_eq!(read("text,label\na,b\nc,a10\nd,a9\n").label_names(), ["a10", "a9", "b"]);
}

#[test]
fn another_files_labels_can_be_used() {
    let train = read("text,label\na,x\nb,y\nc,z\n");
    let test = read("text,label\nd,z\n\ne,unheard\n");
    let error = test.dataset_with_names(10, &train.label_names()).unwrap_err().to_string();
    assert!(error.contains("line 4") && error.contains("unheard") && error.contains("x, y, z"), "{error}");
    let test = read("text,label\nd,z\ne,y\n");
    let data = test.dataset_with_names(10, &train.label_names()).unwrap();
    assert!(matches!(&data.targets, Targets::Classes { labels, .. } if labels == &[2, 1]));
}

#[test]
fn faults_name_file_line_and_column() {
    let error = read_as("x.csv", "text,label\na,b\nc\n").unwrap_err();
    assert!(error.contains("x.csv, line 3, column \"label\": there is no label"), "{error}");
    let error = read_as("x.csv", "text,label\na,b\n,c\n").unwrap_err();
    assert!(error.contains("line 3, column \"text\": there is no text"), "{error}");
    assert!(read_as("x.csv", "").unwrap_err().contains("empty"));
    assert!(read_as("x.csv", "text,label\n").unwrap_err().contains("no line after the header"));
    assert!(read_as("x.csv", "just words\n").unwrap_err().contains("one column"));
    let error = TextTable::read(Path::new("no/such.tsv")).unwrap_err().to_string();
    assert!(error.contains("no/such.tsv") && error.contains("label column"), "{error}");
    let folder = Folder::new();
    let path = folder.write("bad.csv", b"text,label\na,b\n\xff,c\n");
    let error = TextTable::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("UTF-8"), "{error}");
    assert!(read("text,label\na,b\n").dataset(0).is_err());
    assert!(TextTable::read(folder.path()).is_err(), "a folder is not a table");
}

#[test]
fn the_hash_is_fnv_1a() {
    // From the reference tables of the hash's authors (Fowler, Noll, Vo).
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn bags_ignore_order_case_and_punctuation_and_have_a_fixed_length() {
    let bag = bag_of_words("The cat, the DOG.", 100);
    assert_eq!(bag, bag_of_words("dog the cat THE", 100));
    assert_ne!(bag, bag_of_words("dog cat the", 100), "words are counted");
    let length: f32 = bag.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length - 10.0).abs() < 1e-5, "{length}");
    assert_eq!(bag_of_words("?! ...", 8), [0.0; 8]);
    assert_eq!(bag_of_words("Größe", 64), bag_of_words("GRÖSSE".replace("SS", "ß").as_str(), 64));
}

#[test]
fn a_word_lands_where_its_hash_says() {
    // 0xaf63dc4c8601ec8c (the hash of "a") is 12638187200555641996: 96 modulo 100, top bit set.
    let bag = bag_of_words("A a", 100);
    let mut expected = vec![0.0; 100];
    expected[96] = -10.0;
    assert_eq!(bag, expected);
}
