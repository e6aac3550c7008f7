//! Pictures through the program: folders of them, what the report shows, and what a model draws.

#[path = "program/files.rs"]
mod files;
mod program;

use program::{Folder, wgrad};
use serde_json::Value;

/// Pictures of 4×4 pixels in two colours, by class.
fn picture(red: u8, blue: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 4, 4);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[red, 20, blue].repeat(16)).unwrap();
    writer.finish().unwrap();
    file
}

#[test]
fn a_folder_of_pictures_is_trained_on_and_asked_about() {
    let folder = Folder::new();
    for (number, shade) in (0..10_u8).map(|number| (number, 100 + 15 * number)) {
        folder.write(&format!("pictures/red/{number}.png"), picture(shade, 0));
        folder.write(&format!("pictures/blue/{number}.png"), picture(0, shade));
    }
    folder.write(
        "pictures.toml",
        "[model]\nkind = \"cnn\"\nconfig = { channels = [4], hidden = 8 }\n[data]\nkind = \"images\"\npath = \"pictures\"\n\
         size = 4\nbatch_size = 4\nnormalise = true\n[data.augment]\nflip = true\n[optimizer]\nlr = 1e-2\n[train]\n\
         epochs = 10\ndevice = \"cpu\"\n",
    );
    wgrad(&folder, &["train", "pictures.toml", "--out", "run"]).succeeds();
    for (red, blue, class) in [(200, 10, "red"), (10, 200, "blue")] {
        folder.write("one.png", picture(red, blue));
        let text = wgrad(&folder, &["predict", "run", "one.png"]).succeeds();
        assert!(text.starts_with(class) && text.contains("red ") && text.contains("blue "), "{text}");
    }
    assert!(
        folder.exists("run/plots/examples.png") && folder.read("run/config.toml").contains("sample_shape = [3, 4, 4]")
    );

    folder.write("pictures/red/broken.png", "no picture");
    wgrad(&folder, &["train", "pictures.toml", "--out", "again"]).fails(1, "broken.png");
    let outcome = wgrad(&folder, &["train", "pictures.toml", "--out", "again", "--skip-broken"]);
    assert!(
        outcome.errors.contains("broken pictures are left out") && outcome.errors.contains("broken.png"),
        "{}",
        outcome.errors
    );
    outcome.succeeds();
    wgrad(&folder, &["predict", "run", "pictures/red/broken.png"]).fails(1, "neither PNG nor JPEG");
    std::fs::create_dir(folder.path().join("pictures/green")).unwrap();
    wgrad(&folder, &["train", "pictures.toml", "--out", "third"]).fails(1, "green");
}

#[test]
fn every_preset_takes_a_step_and_leaves_its_pictures() {
    let folder = Folder::new();
    for (preset, plot) in [
        ("digits-cnn", "examples"),
        ("denoise", "returned"),
        ("vae-digits", "generated"),
        ("unet-shapes", "masks"),
        ("resnet-cifar", "mistakes"),
    ] {
        wgrad(&folder, &["train", preset, "--device", "cpu", "--steps", "1", "--out", preset]).succeeds();
        assert!(folder.exists(&format!("{preset}/plots/{plot}.png")), "{preset} left no {plot}.png");
    }
}

#[test]
fn drawn_pictures_are_written_by_class_and_can_be_judged() {
    let folder = Folder::new();
    for preset in ["ddpm-digits", "digits-cnn", "vae-digits"] {
        let arguments = ["train", preset, "--device", "cpu", "--steps", "1", "--out", preset];
        wgrad(&folder, &arguments).succeeds();
    }
    let text = wgrad(&folder, &["generate", "ddpm-digits", "--count", "2", "--device", "cpu"]).succeeds();
    assert!(text.starts_with("drew 20 pictures, 2 of each class, on cpu"), "{text}");
    let names = ["sheet.png", "0/0001.png", "0/0002.png", "9/0002.png"];
    assert!(names.iter().all(|name| folder.exists(&format!("ddpm-digits/generated/{name}"))));
    // The folder is laid out as data, and classes keep their numbers where some are missing.
    let arguments =
        ["generate", "ddpm-digits", "--class", "7", "--count", "3", "--out", "sevens", "--device", "cpu", "--json"];
    let document: Value = serde_json::from_str(&wgrad(&folder, &arguments).succeeds()).unwrap();
    assert_eq!(document["pictures"].as_array().map(Vec::len), Some(3));
    let arguments = ["eval", "digits-cnn", "--data", "sevens", "--json", "--device", "cpu"];
    let judged: Value = serde_json::from_str(&wgrad(&folder, &arguments).succeeds()).unwrap();
    let row =
        |class: usize| -> u64 { judged["confusion"][class].as_array().unwrap().iter().filter_map(Value::as_u64).sum() };
    assert_eq!((judged["rows"].as_u64(), row(0), row(7)), (Some(3), 0, 3));

    let once = |out: &str, seed: &str| {
        let arguments = ["generate", "vae-digits", "--count", "1", "--seed", seed, "--out", out, "--device", "cpu"];
        wgrad(&folder, &arguments).succeeds();
        folder.bytes(&format!("{out}/0001.png"))
    };
    let first = once("a", "1");
    assert_eq!(first, once("b", "1"), "the same seed draws the same picture");
    assert_ne!(first, once("c", "2"));

    wgrad(&folder, &["generate", "ddpm-digits"]).fails(2, "holds files already");
    wgrad(&folder, &["generate", "ddpm-digits", "--class", "seven", "--out", "d"]).fails(2, "no such class");
    wgrad(&folder, &["generate", "vae-digits", "--class", "7", "--out", "d"]).fails(2, "without classes");
    wgrad(&folder, &["generate", "digits-cnn", "--out", "d"]).fails(2, "draws no pictures");
    folder.write("sevens/ten/1.png", folder.bytes("a/0001.png"));
    wgrad(&folder, &["eval", "digits-cnn", "--data", "sevens"]).fails(2, "sub-folder");
    assert!(!folder.exists("d"));
}
