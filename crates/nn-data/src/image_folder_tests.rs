//! Tests of folders of pictures.

use super::*;
use crate::test_files::{Folder, jpeg, png};
use ::png::{BitDepth, ColorType};

fn options() -> ImageFolderOptions {
    ImageFolderOptions { picture: PictureOptions::new(3, 8, 8), skip_broken: false, threads: 2 }
}

/// A picture of one grey level.
fn plain(level: u8) -> Vec<u8> {
    png(8, 8, ColorType::Grayscale, BitDepth::Eight, &[level; 64])
}

fn message(folder: &Folder, options: ImageFolderOptions) -> String {
    read_image_folder(folder.path(), &options).unwrap_err().to_string()
}

fn labels(data: &Dataset) -> &[u32] {
    match &data.targets {
        Targets::Classes { labels, .. } => labels,
        _ => panic!("classes expected"),
    }
}

/// Two classes of three pictures, and things to pass over.
fn two_classes() -> Folder {
    let folder = Folder::new();
    for (class, level) in [("dog", 100), ("cat", 200)] {
        for number in 0..3 {
            folder.write(&format!("{class}/{number}.png"), plain(level + number));
        }
    }
    folder.write("dog/.hidden.png", "no picture");
    folder.write("dog/notes.txt", "good dogs");
    folder.write("README", "pictures");
    folder
}

#[test]
fn sub_folders_are_classes_in_order_of_their_names() {
    let folder = two_classes();
    folder.write("cat/more/x.JPG", jpeg(16, 12, |_, _| [50, 50, 50]));
    let found = read_image_folder(folder.path(), &options()).unwrap();
    assert_eq!(found.training.targets.names(), ["cat", "dog"]);
    assert_eq!(labels(&found.training), [0, 0, 0, 0, 1, 1, 1]);
    let first = |row| found.training.pixels(row).unwrap()[0];
    assert_eq!((first(0), first(2), first(4), first(6)), (200, 202, 100, 102));
    assert!(first(3).abs_diff(50) < 3);
    assert_eq!(found.training.sample_shape, [3, 8, 8]);
    assert_eq!((found.validation, found.test, found.broken, found.ignored), (None, None, vec![], 3));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = Folder::new();
    for class in ["a", "b", "c"] {
        for number in 0..12u32 {
            let size = 8 + number % 5;
            folder.write(
                &format!("{class}/{number}.jpeg"),
                jpeg(size, size + 3, |x, y| [(x * 9 + number) as u8, y as u8, 3]),
            );
        }
        folder.write(&format!("{class}/bad.png"), "");
    }
    let read = |threads| {
        let options = ImageFolderOptions { threads, skip_broken: true, ..options() };
        read_image_folder(folder.path(), &options).unwrap()
    };
    let one = read(1);
    assert_eq!((one.training.rows(), one.broken.len()), (36, 3));
    assert!([0, 2, 3, 7, 100].into_iter().all(|threads| read(threads) == one));
}

#[test]
fn folders_may_split_the_data() {
    let folder = Folder::new();
    for (split, count) in [("train", 3), ("valid", 1), ("Test", 2)] {
        for class in ["b", "a"] {
            for number in 0..count {
                folder.write(&format!("{split}/{class}/{number}.png"), plain(number));
            }
        }
    }
    folder.write("LICENSE", "free");
    let found = read_image_folder(folder.path(), &options()).unwrap();
    let rows = |part: &Option<Dataset>| part.as_ref().map(Dataset::rows);
    assert_eq!(
        (found.training.rows(), rows(&found.validation), rows(&found.test), found.ignored),
        (6, Some(2), Some(4), 1)
    );
    assert_eq!(found.training.targets.names(), found.test.unwrap().targets.names());

    folder.write("train/c/0.png", plain(1));
    folder.write("valid/d/0.png", plain(1));
    let text = message(&folder, options());
    assert!(text.contains("valid alone has d") && text.contains("train alone has c"), "{text}");
    folder.write("val/a/0.png", plain(1));
    assert!(message(&folder, options()).contains("val, valid mean the same"));
    folder.write("extra/a/0.png", plain(1));
    std::fs::remove_dir_all(folder.path().join("val")).unwrap();
    assert!(message(&folder, options()).contains("beside train there is extra"));
    std::fs::remove_dir_all(folder.path().join("train")).unwrap();
    assert!(message(&folder, options()).contains("no folder train"));
}

#[test]
fn a_class_may_be_called_train() {
    let folder = Folder::new();
    folder.write("train/0.png", plain(1));
    folder.write("plane/0.png", plain(1));
    let found = read_image_folder(folder.path(), &options()).unwrap();
    assert_eq!(found.training.targets.names(), ["plane", "train"]);
}

#[test]
fn broken_pictures_are_named_or_left_out() {
    let folder = two_classes();
    let whole = plain(9);
    folder.write("dog/1.png", &whole[..whole.len() / 2]);
    for number in 0..11 {
        folder.write(&format!("cat/empty{number:02}.png"), "");
    }
    let text = message(&folder, options());
    assert!(text.contains("12 of 17 pictures cannot be used: cat/empty00.png (the file is empty)"), "{text}");
    assert!(text.contains("cat/empty09.png") && !text.contains("empty10") && text.contains("and 2 more"), "{text}");
    let found = read_image_folder(folder.path(), &ImageFolderOptions { skip_broken: true, ..options() }).unwrap();
    assert_eq!((found.training.rows(), found.broken.len()), (5, 12));
    assert_eq!(found.broken[11], folder.path().join("dog/1.png"));
    assert_eq!(labels(&found.training), [0, 0, 0, 1, 1]);
    assert_eq!(found.training.pixels(4).unwrap()[0], 102);

    (0..3).for_each(|number| drop(folder.write(&format!("dog/{number}.png"), "")));
    let text = message(&folder, ImageFolderOptions { skip_broken: true, ..options() });
    assert!(text.contains("all pictures of dog are broken"), "{text}");
}

#[test]
fn small_pictures_are_an_error_or_scaled_up() {
    let folder = two_classes();
    folder.write("cat/1.png", png(4, 8, ColorType::Grayscale, BitDepth::Eight, &[5; 32]));
    let text = message(&folder, ImageFolderOptions { skip_broken: true, ..options() });
    assert!(text.contains("1 of 6 pictures are too small: cat/1.png") && text.contains("8×4"), "{text}");
    let mut large = options();
    large.picture.upscale = true;
    let found = read_image_folder(folder.path(), &large).unwrap();
    assert_eq!(found.training.pixels(1).unwrap(), [5; 192]);
}

#[test]
fn folders_that_hold_no_classes_are_refused() {
    let folder = two_classes();
    std::fs::create_dir(folder.path().join("bird")).unwrap();
    folder.write("fish/x.gif", "GIF89a");
    let text = message(&folder, options());
    assert!(text.contains("2 of 4 classes have no PNG or JPEG picture: bird, fish (1 other files)"), "{text}");

    let flat = Folder::new();
    flat.write("x.png", plain(1));
    assert!(message(&flat, options()).contains("no sub-folders (but 1 pictures)"));
    let missing = read_image_folder(Path::new("/nowhere"), &options()).unwrap_err().to_string();
    assert!(missing.contains("/nowhere") && missing.contains("sub-folder"), "{missing}");
    let mut wrong = options();
    wrong.picture.channels = 4;
    assert!(message(&flat, wrong).contains("4 channels"));
}
