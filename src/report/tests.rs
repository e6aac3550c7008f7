//! Tests of whole reports: files written, and no text that overlaps or is cut, whatever the data.

use super::*;

/// Checks that each text lies inside the picture and meets no other; `height` comes from the PNG.
fn check_texts(name: &str, canvas: &canvas::Canvas) {
    let file = canvas.png().unwrap();
    // Width and height stand at bytes 16 and 20 of every PNG file.
    let size = |at: usize| i32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    let (width, height) = (size(16), size(20));
    for (index, (a, text)) in canvas.text_boxes.iter().enumerate() {
        assert!(
            a.0 >= 0 && a.1 >= 0 && a.2 <= width && a.3 <= height,
            "{name}: {text:?} at {a:?} leaves the picture of {width} x {height}"
        );
        for (b, other) in &canvas.text_boxes[index + 1..] {
            let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
            assert!(apart, "{name}: {text:?} at {a:?} meets {other:?} at {b:?}");
        }
    }
    if let Some(folder) = std::env::var_os("WGRAD_TEST_PICTURES") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), file).unwrap();
    }
}

/// A falling loss with some noise, without a random generator.
fn falling(count: u64, scale: f32) -> Vec<(u64, f32)> {
    (1..=count)
        .map(|step| {
            let noise = ((step * 7919 % 101) as f32 / 101.0 - 0.5) * 0.3;
            let progress = step as f32 / count as f32;
            (step, scale * (2.2 * (-4.0 * progress).exp() + 0.1) * (1.0 + noise))
        })
        .collect()
}

fn evaluations(count: u64, every: u64) -> Vec<(u64, f32, Option<f32>)> {
    (1..=count)
        .map(|index| {
            let part = index as f32 / count as f32;
            (index * every, 2.0 * (-3.0 * part).exp(), Some(0.98 - 0.6 * (-4.0 * part).exp()))
        })
        .collect()
}

fn named(count: usize, name: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(name).collect()
}

fn counts(classes: usize, right: u32) -> Vec<Vec<u32>> {
    (0..classes)
        .map(|row| {
            (0..classes)
                .map(|column| match row.abs_diff(column) {
                    0 => right + row as u32,
                    1 => right / 20,
                    5 => 1,
                    _ => 0,
                })
                .collect()
        })
        .collect()
}

#[test]
fn loss_charts_keep_their_texts_apart() {
    let decades: Vec<(u64, f32)> =
        falling(500, 1.0).into_iter().map(|(step, loss)| (step, loss * 10f32.powf(-(step as f32) / 60.0))).collect();
    let mut gaps = falling(300, 1.0);
    gaps[100..130].iter_mut().for_each(|point| point.1 = f32::NAN);
    gaps[200].1 = f32::INFINITY;
    gaps[202].1 = f32::NAN;
    let all_nan: Vec<(u64, f32)> = (1..50).map(|step| (step, f32::NAN)).collect();
    let constant: Vec<(u64, f32)> = (1..=200).map(|step| (step, 1.25)).collect();
    let cases = [
        ("usual", falling(800, 1.0), evaluations(8, 100)),
        ("few", falling(12, 1.0), evaluations(3, 4)),
        ("one", vec![(1, 2.3)], vec![]),
        ("one-evaluated", vec![(1, 2.3)], vec![(1, 2.1, Some(0.1))]),
        ("constant", constant, vec![]),
        ("gaps", gaps, vec![(100, f32::NAN, None), (300, 0.2, None)]),
        ("all-nan", all_nan, vec![]),
        ("decades", decades, vec![]),
        ("negative", (1..=60).map(|s| (s, -(s as f32))).collect(), vec![]),
        ("huge", falling(100, 1e30), vec![]),
        ("long", falling(200_000, 1.0), evaluations(200, 1000)),
        ("nothing", vec![], vec![]),
    ];
    for (name, steps, evaluations) in cases {
        let canvas = chart::loss("digits with a small perceptron", &steps, &evaluations);
        check_texts(&format!("loss-{name}"), &canvas);
    }
    let long_title = "a title that goes on and on ".repeat(10);
    check_texts("loss-long-title", &chart::loss(&long_title, &falling(50, 1e-9), &[]));
    let late: Vec<(u64, f32)> = (0..50).map(|step| (4_000_000_000 + step, 1.0)).collect();
    check_texts("loss-late", &chart::loss("", &late, &[]));
}

#[test]
fn accuracy_charts_keep_their_texts_apart() {
    check_texts("accuracy", &chart::accuracy("digits", &evaluations(8, 100)).unwrap());
    check_texts("accuracy-one", &chart::accuracy("", &[(5, 1.0, Some(1.0))]).unwrap());
    assert!(chart::accuracy("", &[(5, 1.0, None)]).is_none());
}

#[test]
fn charts_of_texts_keep_theirs_apart_and_leave_out_what_was_measured_once() {
    let points = |count: u64| (1..=count).map(|step| (100 * step, 9.5 * step as f64)).collect::<Vec<(u64, f64)>>();
    let several =
        chart::measures("t", &[("Exact match", points(9)), ("BLEU", points(9)), ("BLEU with beams", points(1))]);
    let several = several.unwrap();
    check_texts("texts", &several);
    let shows = |canvas: &canvas::Canvas, name: &str| canvas.text_boxes.iter().any(|(_, text)| text.contains(name));
    assert!(shows(&several, "Exact match") && !shows(&several, "beams"));
    let one = chart::measures("", &[("F1", points(1))]).unwrap();
    check_texts("texts-one", &one);
    assert!(shows(&one, "F1") || one.text_boxes.len() > 2);
    assert!(chart::measures("", &[]).is_none());
}

#[test]
fn confusion_matrices_keep_their_texts_apart() {
    let long = |class: usize| format!("a rather long name of class {class}");
    let digit = |class: usize| class.to_string();
    let cases = [
        ("2", named(2, |class| ["negative", "positive"][class].into()), 900),
        ("2-huge", named(2, digit), 4_000_000_000),
        ("10", named(10, digit), 30),
        ("20-long", named(20, long), 1234),
        ("30", named(30, long), 123_456),
        ("100", named(100, digit), 50),
        ("1000", named(1000, long), 50),
        ("1", named(1, digit), 5),
        ("0", Vec::new(), 5),
    ];
    for (name, names, right) in cases {
        let canvas = confusion::draw(&names, &counts(names.len(), right));
        check_texts(&format!("confusion-{name}"), &canvas);
    }
    check_texts("confusion-ragged", &confusion::draw(&named(3, digit), &[vec![1], vec![]]));
}

/// Drawn rings and bars: pictures enough to look at.
fn pictures(count: usize, side: usize, name: impl Fn(usize) -> String) -> Vec<Tile> {
    let middle = side as f32 / 2.0 - 0.5;
    (0..count)
        .map(|index| {
            let ink = |at: usize| {
                let (x, y) = ((at % side) as f32 - middle, (at / side) as f32 - middle);
                let distance = if index % 2 == 0 { x.hypot(y) - middle * 0.7 } else { x };
                [(255.0 * (distance.abs() / (side as f32 / 8.0)).clamp(0.0, 1.0)) as u8; 3]
            };
            let picture = Picture { pixels: (0..side * side).map(ink).collect(), width: side, height: side };
            let (truth, predicted) = (index % 10, if index % 7 == 3 { 8 } else { index % 10 });
            Tile {
                pictures: vec![picture; 1 + index % 3],
                captions: vec![format!("true {}", name(truth)), format!("got {}", name(predicted))],
                right: Some(truth == predicted),
            }
        })
        .collect()
}

#[test]
fn contact_sheets_keep_their_texts_apart() {
    let digit = |class: usize| class.to_string();
    check_texts("sheet-digits", &contact_sheet::draw(&pictures(40, 8, digit)));
    check_texts("sheet-mnist", &contact_sheet::draw(&pictures(300, 28, digit)));
    check_texts("sheet-one", &contact_sheet::draw(&pictures(1, 8, digit)));
    let long = |class: usize| format!("a rather long name of class {class}");
    check_texts("sheet-long", &contact_sheet::draw(&pictures(9, 100, long)));
}

fn whole_report() -> RunReport {
    RunReport {
        title: "digits with a small perceptron".into(),
        config_toml: "[train]\nsteps = 800\n".into(),
        device: "cpu".into(),
        steps: falling(800, 1.0),
        evaluations: evaluations(30, 100),
        measures: vec![("BLEU", vec![(10, 3.5), (20, 17.25)])],
        confusion: Some((named(10, |class| class.to_string()), counts(10, 30))),
        mistakes: Vec::new(),
        roofline: None,
        sheets: vec![Sheet {
            name: "examples",
            heading: "Examples".into(),
            note: "Below each picture: what it is.".into(),
            tiles: pictures(30, 8, |class| class.to_string()),
        }],
        summary: vec![("Samples per second".into(), "12,345".into())],
    }
}

#[test]
fn a_report_writes_a_page_that_stands_alone_and_its_pictures() {
    let folder = std::env::temp_dir().join(format!("wgrad-report-{}", std::process::id()));
    write(&folder, &whole_report()).unwrap();
    write(&folder, &whole_report()).unwrap();
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    for name in ["loss", "accuracy", "texts", "confusion", "examples"] {
        let file = std::fs::read(folder.join("plots").join(format!("{name}.png"))).unwrap();
        assert!(file.starts_with(b"\x89PNG"), "{name}");
    }
    assert_eq!(page.matches("src=\"data:image/png;base64,iVBORw0KGgo").count(), 5);
    for outside in ["http:", "https:", "//", "url(", "<script", "<link"] {
        // Base64 may hold two slashes, so pictures are cut out first.
        let text: String = page.split("base64,").map(|part| part.split_once('"').map_or(part, |p| p.1)).collect();
        assert!(!text.contains(outside), "{outside}");
    }
    assert!(page.contains("Below each picture") && page.contains("Samples per second") && page.contains("steps = 800"));
    assert!(page.contains("The last 20 of 30"));
    if let Some(folder) = std::env::var_os("WGRAD_TEST_PICTURES") {
        std::fs::write(Path::new(&folder).join("report.html"), page).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_empty_report_is_written_too() {
    let folder = std::env::temp_dir().join(format!("wgrad-report-empty-{}", std::process::id()));
    write(&folder, &RunReport::default()).unwrap();
    assert!(folder.join("plots/loss.png").exists());
    assert!(!folder.join("plots/confusion.png").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = std::env::temp_dir().join(format!("wgrad-report-file-{}", std::process::id()));
    std::fs::write(&file, "in the way").unwrap();
    let message = write(&file, &RunReport::default()).unwrap_err().to_string();
    assert!(message.contains(&file.display().to_string()), "{message}");
    std::fs::remove_file(&file).unwrap();
}
