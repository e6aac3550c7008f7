//! Tests of text metrics: against sacreBLEU, SQuAD's rules and scikit-learn, by `scripts/make-golden-text.py`.

use serde_json::Value;

use super::*;

fn cases(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Sums of a few numbers, in another order at most.
fn assert_near(found: f64, expected: f64, what: &Value) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}: {what}");
}

#[test]
fn bleu_is_that_of_sacrebleu() {
    let cases = cases(include_str!("../tests/golden/bleu.json"));
    assert!(cases.len() > 30);
    for case in cases {
        let references: Vec<Vec<String>> = case["references"].as_array().unwrap().iter().map(strings).collect();
        let found = corpus_bleu(&strings(&case["hypotheses"]), &references).unwrap();
        assert_eq!(
            [found.hypothesis_words as u64, found.reference_words as u64].map(Value::from)[..],
            *case["words"].as_array().unwrap(),
            "{case}"
        );
        for order in 0..ORDERS {
            assert_near(found.precisions[order], case["precisions"][order].as_f64().unwrap(), &case);
        }
        assert_near(found.brevity_penalty, case["brevity_penalty"].as_f64().unwrap(), &case);
        assert_near(found.score, case["score"].as_f64().unwrap(), &case);
    }
}

#[test]
fn bleu_of_equal_texts_is_100() {
    let found = corpus_bleu(&["A man in a hat sits down."], &[vec!["A man in a hat sits down."]]).unwrap();
    assert!((found.score - 100.0).abs() < 1e-9, "{found:?}");
}

#[test]
fn bleu_needs_references() {
    let none: [&str; 0] = [];
    assert!(corpus_bleu(&none, &Vec::<Vec<&str>>::new()).is_err());
    assert!(corpus_bleu(&["a"], &[vec!["a"], vec!["b"]]).unwrap_err().to_string().contains("1 translations"));
    assert!(corpus_bleu(&["a", "b"], &[vec!["a"], vec![]]).unwrap_err().to_string().contains("sentence 1"));
}

#[test]
fn answers_are_compared_by_the_rules_of_squad() {
    for case in cases(include_str!("../tests/golden/answers.json")) {
        let (answer, accepted) = (case["answer"].as_str().unwrap(), strings(&case["accepted"]));
        assert_eq!(normalise_answer(answer), case["normalised"].as_str().unwrap(), "{case}");
        assert_eq!(exact_match(answer, &accepted), case["exact"].as_bool().unwrap(), "{case}");
        assert_near(answer_f1(answer, &accepted), case["f1"].as_f64().unwrap(), &case);
    }
    let none: [&str; 0] = [];
    assert!(!exact_match("a", &none) && answer_f1("a", &none) == 0.0);
}

#[test]
fn macro_f1_is_that_of_scikit_learn() {
    for case in cases(include_str!("../tests/golden/macro_f1.json")) {
        let rows = case["confusion"].as_array().unwrap().iter();
        let numbers =
            |row: &Value| row.as_array().unwrap().iter().map(|count| count.as_u64().unwrap() as u32).collect();
        let confusion: Vec<Vec<u32>> = rows.map(numbers).collect();
        assert_near(macro_f1(&confusion), case["score"].as_f64().unwrap(), &case);
    }
    assert!(macro_f1(&[]).is_nan() && macro_f1(&[vec![0, 0], vec![0, 0]]).is_nan());
}
