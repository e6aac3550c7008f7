//! Tests of fetching, without a network: from files, and by functions and programs in curl's place.

use std::cell::RefCell;

use super::*;
use crate::test_files::{Folder, gzip};

/// Of the text "digits\n".
const DIGITS_MD5: &str = "ae381caaad86c0de9b810274803a79bc";

fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn checksums_are_those_of_md5() {
    let folder = Folder::new();
    for (text, sum) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("digits\n", DIGITS_MD5),
    ] {
        assert_eq!(md5_of(&folder.write("x", text)).unwrap(), sum);
    }
}

#[test]
fn a_file_is_fetched_checked_and_not_fetched_again() {
    let folder = Folder::new();
    let source = folder.write("source", "digits\n");
    let url = file_url(&source);
    let calls = RefCell::new(0);
    let download = |url: &str, target: &Path| {
        *calls.borrow_mut() += 1;
        let source = url.strip_prefix("file://").unwrap();
        std::fs::copy(source, target).map(drop).map_err(|source| DataError::Write { path: target.into(), source })
    };
    let target = folder.path().join("new/folder/file.gz");
    let good = RemoteFile { url: &url, md5: DIGITS_MD5 };
    fetch_file(good, &target, &download).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"digits\n");
    fetch_file(good, &target, &download).unwrap();
    assert_eq!(*calls.borrow(), 1);
    assert_eq!(names(target.parent().unwrap()), ["file.gz"]);

    // What was there and differs is the user's: it stays.
    std::fs::write(&target, "other").unwrap();
    let message = fetch_file(good, &target, &download).unwrap_err().to_string();
    assert!(message.contains("file.gz") && message.contains(DIGITS_MD5) && message.contains("remove"), "{message}");
    assert_eq!(std::fs::read(&target).unwrap(), b"other");

    // What came and differs goes.
    std::fs::remove_file(&target).unwrap();
    let bad = RemoteFile { url: &url, md5: "00000000000000000000000000000000" };
    let message = fetch_file(bad, &target, &download).unwrap_err().to_string();
    assert!(message.contains(&url) && message.contains("it was removed"), "{message}");
    assert!(names(target.parent().unwrap()).is_empty());

    // So does what came only in part.
    let fails = |_: &str, target: &Path| {
        std::fs::write(target, "dig").unwrap();
        Err(DataError::argument("the line is cut", "mend it"))
    };
    assert!(fetch_file(good, &target, &fails).unwrap_err().to_string().contains("line is cut"));
    assert!(names(target.parent().unwrap()).is_empty());
}

#[test]
fn the_right_files_are_asked_for() {
    let folder = Folder::new();
    let asked = RefCell::new(Vec::new());
    for published in [Published::Mnist, Published::FashionMnist, Published::Cifar10] {
        let download = |url: &str, target: &Path| {
            asked.borrow_mut().push(url.to_owned());
            std::fs::write(target, "no data").map_err(|source| DataError::Write { path: target.into(), source })
        };
        let message = published.fetch_with(folder.path(), &download).unwrap_err().to_string();
        assert!(message.contains("MD5"), "{message}");
        assert_eq!(Published::named(published.name()).unwrap(), published);
    }
    assert_eq!(
        *asked.borrow(),
        [
            "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        ]
    );
    assert!(names(folder.path()).is_empty());
    let message = Published::named("imagenet").unwrap_err().to_string();
    assert!(message.contains("mnist, fashion-mnist, cifar-10"), "{message}");
    // An MD5 sum has 32 digits, and no two files have the same.
    let mut sums = [MNIST_MD5, FASHION_MD5].concat();
    sums.push(CIFAR10.md5);
    assert!(sums.iter().all(|sum| sum.len() == 32 && sum.bytes().all(|digit| digit.is_ascii_hexdigit())));
    sums.sort_unstable();
    sums.dedup();
    assert_eq!(sums.len(), 9);
}

#[test]
fn fashion_has_its_names() {
    let folder = Folder::new();
    for part in ["train", "t10k"] {
        folder.write(&format!("{part}-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6]);
        folder.write(&format!("{part}-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 9]);
    }
    let (training, test) = Published::FashionMnist.read(folder.path()).unwrap();
    assert_eq!((training.targets.names()[9].as_str(), test.targets.names()[0].as_str()), ("ankle boot", "T-shirt/top"));
    assert_eq!(Published::Mnist.read(folder.path()).unwrap().0.targets.names()[9], "9");
    assert!(Published::Cifar10.read(folder.path()).is_err());
}

#[test]
fn curl_fetches_and_says_why_it_cannot() {
    let folder = Folder::new();
    let source = folder.write("source", "digits\n");
    let target = folder.path().join("target");
    let message = curl(OsStr::new("no-such-program"), "https://x/y", &target).unwrap_err().to_string();
    assert!(message.contains("https://x/y") && message.contains("no program no-such-program"), "{message}");

    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: no curl");
        return;
    }
    curl(OsStr::new("curl"), &file_url(&source), &target).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"digits\n");
    let url = file_url(&folder.path().join("nothing"));
    let message = curl(OsStr::new("curl"), &url, &folder.path().join("other")).unwrap_err().to_string();
    assert!(message.contains(&url) && message.contains("curl: (37)") && message.contains("network"), "{message}");
}

/// A member of a tar archive, padded to blocks.
fn member(path: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[156] = kind;
    block.extend(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// CIFAR-10's archive with one record in each file.
fn cifar_archive() -> Vec<u8> {
    let mut archive = member("cifar-10-batches-bin/", b'5', &[]);
    archive.extend(member("cifar-10-batches-bin/readme.html", b'0', b"read me"));
    for name in CIFAR10_FILES {
        let content = if name.ends_with(".txt") { b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n".to_vec() } else { vec![7; 3073] };
        archive.extend(member(&format!("cifar-10-batches-bin/{name}"), b'0', &content));
    }
    archive.extend([0; 1024]);
    archive
}

#[test]
fn an_archive_is_unpacked_whole_or_not_at_all() {
    let folder = Folder::new();
    let archive = gzip(&cifar_archive());
    let source = folder.write("source.tar.gz", &archive);
    let sum = md5_of(&source).unwrap();
    let remote = RemoteFile { url: "file", md5: &sum };
    let target = folder.path().join("data");
    let download = |_: &str, target: &Path| {
        std::fs::write(target, &archive).map_err(|source| DataError::Write { path: target.into(), source })
    };
    fetch_cifar(remote, &target, &download).unwrap();
    assert_eq!(names(&target), ["cifar-10-batches-bin"]);
    assert_eq!(names(&target.join("cifar-10-batches-bin")).len(), 7);
    let (training, test) = Published::Cifar10.read(&target).unwrap();
    assert_eq!((training.rows(), test.rows(), training.targets.names()[7].as_str()), (5, 1, "h"));
    let never = |_: &str, _: &Path| -> Result<(), DataError> { panic!("it is there") };
    fetch_cifar(remote, &target, &never).unwrap();
    // A folder that lacks a file is replaced.
    std::fs::remove_file(target.join("cifar-10-batches-bin/test_batch.bin")).unwrap();
    fetch_cifar(remote, &target, &download).unwrap();
    assert_eq!(names(&target.join("cifar-10-batches-bin")).len(), 7);

    let whole = cifar_archive();
    for (bad, part) in [
        (gzip(&whole[..whole.len() - 4000]), "ends within cifar-10-batches-bin/"),
        (gzip(&whole[..3 * 512]), "ends early"),
        (gzip(&[0; 1024]), "does not hold data_batch_1.bin"),
        (archive[..archive.len() / 2].to_vec(), "bad.tar.gz"),
        (b"no archive".to_vec(), "bad.tar.gz"),
    ] {
        let path = folder.write("bad.tar.gz", bad);
        let message = unpack(&path, &folder.path().join("unpacked"), &CIFAR10_FILES).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(names(folder.path()), ["bad.tar.gz", "data", "source.tar.gz"]);
}

#[test]
fn nothing_is_written_outside_the_folder() {
    let folder = Folder::new();
    let mut archive = member("../../evil.bin", b'0', b"evil");
    archive.extend(member("/x/../wanted.bin", b'0', b"good"));
    archive.extend([0; 1024]);
    let path = folder.write("x.tar.gz", gzip(&archive));
    unpack(&path, &folder.path().join("a/b"), &["wanted.bin"]).unwrap();
    assert_eq!(names(&folder.path().join("a/b")), ["wanted.bin"]);
    assert!(!folder.path().join("evil.bin").exists());
}
