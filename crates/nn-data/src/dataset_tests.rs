//! Tests of [`Dataset`].

use super::*;

/// 100 rows of two numbers, the first of which is the row number; 70 of class 0, 20 of 1, 10 of 2.
fn sample() -> Dataset {
    Dataset {
        name: "sample".into(),
        inputs: Inputs::F32((0..100).flat_map(|row| [row as f32, 0.5]).collect()),
        sample_shape: vec![2],
        targets: Targets::Classes {
            labels: (0..100).map(|row| u32::from(row >= 70) + u32::from(row >= 90)).collect(),
            names: vec!["a".into(), "b".into(), "c".into()],
        },
        augmentation: None,
    }
}

fn row_numbers(dataset: &Dataset) -> Vec<usize> {
    (0..dataset.rows()).map(|row| dataset.input_row(row).unwrap()[0] as usize).collect()
}

fn class_counts(dataset: &Dataset) -> Vec<usize> {
    let Targets::Classes { labels, names } = &dataset.targets else {
        panic!("classes expected");
    };
    (0..names.len()).map(|class| labels.iter().filter(|&&label| label as usize == class).count()).collect()
}

#[test]
fn split_is_stratified_disjoint_shuffled_and_fixed_by_the_seed() {
    let data = sample();
    let (train, held_out) = data.split(0.2, 7).unwrap();
    assert_eq!(class_counts(&train), [56, 16, 8]);
    assert_eq!(class_counts(&held_out), [14, 4, 2]);
    let mut all = row_numbers(&train);
    assert!(!all.is_sorted(), "the training rows must come shuffled");
    all.extend(row_numbers(&held_out));
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(data.split(0.2, 7).unwrap(), (train.clone(), held_out));
    assert_ne!(data.split(0.2, 8).unwrap().0, train);
}

#[test]
fn split_keeps_inputs_and_targets_together() {
    let (train, held_out) = sample().split(0.31, 1).unwrap();
    assert_eq!((train.rows(), held_out.rows()), (69, 31));
    for part in [train, held_out] {
        let Targets::Classes { labels, .. } = &part.targets else {
            panic!("classes expected");
        };
        for (row, label) in row_numbers(&part).into_iter().zip(labels) {
            assert_eq!(*label, u32::from(row >= 70) + u32::from(row >= 90));
        }
    }
}

#[test]
fn a_trainer_sees_rows_and_targets_together() {
    let data: &dyn Data = &sample();
    let mut inputs = Vec::new();
    data.batch(&[95, 3], &mut inputs);
    assert_eq!(inputs, [95.0, 0.5, 3.0, 0.5]);
    assert_eq!((data.rows(), data.sample_shape()), (100, &[2][..]));
    let TargetsRef::Classes { labels, count } = data.targets() else {
        panic!("classes expected");
    };
    assert_eq!((labels[95], labels[3], count), (2, 0, 3));
}

#[test]
fn split_last_takes_the_end() {
    let (first, last) = sample().split_last(0.1).unwrap();
    assert_eq!(row_numbers(&first), (0..90).collect::<Vec<_>>());
    assert_eq!(row_numbers(&last), (90..100).collect::<Vec<_>>());
}

#[test]
fn split_refuses_what_leaves_a_part_empty() {
    for fraction in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(matches!(sample().split(fraction, 0), Err(DataError::Argument { .. })));
    }
    let (train, held_out) = sample().subset(&[3, 4]).unwrap().split(0.01, 0).unwrap();
    assert_eq!((train.rows(), held_out.rows()), (1, 1));
    assert!(sample().subset(&[3]).unwrap().split(0.5, 0).is_err());
}

#[test]
fn validate_names_the_row_and_column_of_a_bad_number() {
    let mut data = sample();
    let Inputs::F32(values) = &mut data.inputs else {
        panic!("numbers expected");
    };
    values[41] = f32::NAN;
    let message = data.validate().unwrap_err().to_string();
    assert!(message.contains("inputs row 20, column 1"), "{message}");
    let Inputs::F32(values) = &mut data.inputs else {
        panic!("numbers expected");
    };
    values[41] = 0.0;
    values[4] = f32::INFINITY;
    let message = data.validate().unwrap_err().to_string();
    assert!(message.contains("row 2, column 0") && message.contains("inf"), "{message}");
}

#[test]
fn validate_finds_each_kind_of_fault() {
    let mut data = sample();
    assert!(data.validate().is_ok());
    if let Targets::Classes { names, .. } = &mut data.targets {
        names.pop();
    }
    assert!(matches!(data.validate(), Err(DataError::ClassOutOfRange { row: 90, class: 2, classes: 2, .. })));
    let mut data = sample();
    data.sample_shape = vec![3];
    assert!(matches!(data.validate(), Err(DataError::Length { .. })));
    data.sample_shape = vec![0];
    assert!(matches!(data.validate(), Err(DataError::Empty { .. })));
    let mut data = sample();
    data.inputs = Inputs::F32(Vec::new());
    data.targets = Targets::Values { values: Vec::new(), width: 1 };
    assert!(matches!(data.validate(), Err(DataError::Empty { .. })));
    let mut data = sample();
    data.targets = Targets::Values { values: vec![0.0; 100], width: 1 };
    assert!(data.validate().is_ok());
    if let Targets::Values { values, .. } = &mut data.targets {
        values[9] = f32::NAN;
    }
    assert!(matches!(data.validate(), Err(DataError::NotFinite { part: "targets", row: 9, column: 0, .. })));
}

#[test]
fn rows_past_the_end_are_refused() {
    assert!(sample().input_row(100).is_none());
    assert!(sample().input_row(usize::MAX).is_none());
    assert!(sample().subset(&[0, 100]).is_err());
    assert_eq!(row_numbers(&sample().subset(&[5, 5, 2]).unwrap()), [5, 5, 2]);
}

#[test]
fn maps_of_classes_go_with_their_pictures() {
    let names: Vec<String> = vec!["out".into(), "in".into()];
    let labels: Vec<u32> = (0..18).map(|index| u32::from(index % 5 == 0)).collect();
    let maps = Dataset {
        name: "maps".into(),
        inputs: Inputs::pictures((0..18).collect(), 1),
        sample_shape: vec![1, 2, 3],
        targets: Targets::ClassMaps { labels: labels.clone(), size: 6, names: names.clone() },
        augmentation: None,
    };
    maps.validate().unwrap();
    assert_eq!((maps.rows(), maps.targets.names()), (3, &names[..]));
    let (training, held_out) = maps.split(0.3, 1).unwrap();
    for part in [training, held_out] {
        let Targets::ClassMaps { labels: found, size: 6, .. } = &part.targets else {
            panic!("maps expected");
        };
        for row in 0..part.rows() {
            let first = usize::from(part.pixels(row).unwrap()[0]);
            assert_eq!(found[row * 6..row * 6 + 6], labels[first..first + 6]);
        }
    }
    let with = |labels: Vec<u32>, size| Dataset {
        targets: Targets::ClassMaps { labels, size, names: names.clone() },
        ..maps.clone()
    };
    let mut wrong = vec![0; 18];
    wrong[13] = 2;
    assert!(matches!(with(wrong, 6).validate(), Err(DataError::ClassOutOfRange { row: 2, class: 2, .. })));
    assert!(matches!(with(vec![0; 17], 6).validate(), Err(DataError::Length { .. })));
    assert!(matches!(with(vec![0; 9], 3).validate(), Err(DataError::Length { .. })));
    assert!(matches!(with(Vec::new(), 0).validate(), Err(DataError::Empty { .. })));
}

#[test]
fn numbers_are_shown_from_black_to_white() {
    let mut data = sample();
    data.sample_shape = vec![1, 2];
    assert_eq!(data.subset(&[0]).unwrap().pixels(0).unwrap(), [0, 128]);
    // Numbers beyond 0 to 1 are stretched.
    assert_eq!(data.pixels(9).unwrap(), [255, 0]);
    assert!(data.pixels(100).is_none());
}
