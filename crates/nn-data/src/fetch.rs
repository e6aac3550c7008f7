//! Data sets that are fetched from where their authors publish them, by the system's `curl`, and checked.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use md5::{Digest, Md5};

use crate::cifar::{self, read_cifar10};
use crate::idx::{FASHION_CLASSES, read_idx};
use crate::{DataError, Dataset, Targets};

/// A data set that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Handwritten digits, 60,000 and 10,000 of 1×28×28.
    Mnist,
    /// Pictures of clothes, 60,000 and 10,000 of 1×28×28.
    FashionMnist,
    /// Photographs in ten classes, 50,000 and 10,000 of 3×32×32.
    Cifar10,
}

/// A file to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RemoteFile<'a> {
    url: &'a str,
    /// The MD5 sum that its authors publish. It tells a damaged file from a whole one, not a forged one.
    md5: &'a str,
}

/// The files of MNIST's form, in the order of their checksums below.
const IDX_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];
const MNIST: &str = "https://ossci-datasets.s3.amazonaws.com/mnist/";
const MNIST_MD5: [&str; 4] = [
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
];
const FASHION: &str = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
const FASHION_MD5: [&str; 4] = [
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
];
const CIFAR10: RemoteFile<'static> = RemoteFile {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
};
/// What is kept of CIFAR-10's archive.
const CIFAR10_FILES: [&str; 7] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
    "batches.meta.txt",
];

impl Published {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mnist, Self::FashionMnist, Self::Cifar10];

    /// The name by which it is asked for: `mnist`, `fashion-mnist`, `cifar-10`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar-10",
        }
    }

    /// The data set of this name.
    ///
    /// # Errors
    /// [`DataError::Argument`] for another name, with those that there are.
    pub fn named(name: &str) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|published| published.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            DataError::argument(format!("{name:?} is no data set that can be fetched"), format!("name one of {names}"))
        })
    }

    /// Fetches what is not yet in `folder`, which is made if need be, and checks it.
    ///
    /// A file gets its name only when it is whole and has the right checksum. What is there already is
    /// checked too, except the files unpacked from CIFAR-10's archive.
    ///
    /// # Errors
    /// [`DataError`] with URL and file: no `curl`, no network, a wrong checksum, a folder that cannot be written.
    pub fn fetch(self, folder: &Path) -> Result<(), DataError> {
        self.fetch_with(folder, &|url, target| curl(OsStr::new("curl"), url, target))
    }

    /// Reads what [`Published::fetch`] left in `folder` as (training, test).
    ///
    /// # Errors
    /// As [`read_idx`] and [`read_cifar10`].
    pub fn read(self, folder: &Path) -> Result<(Dataset, Dataset), DataError> {
        let (mut training, mut test) = match self {
            Self::Cifar10 => return read_cifar10(folder),
            Self::Mnist | Self::FashionMnist => read_idx(folder)?,
        };
        for part in [&mut training, &mut test] {
            if let (Self::FashionMnist, Targets::Classes { names, .. }) = (self, &mut part.targets) {
                *names = FASHION_CLASSES.map(String::from).to_vec();
                part.validate()?;
            }
        }
        Ok((training, test))
    }

    fn fetch_with(self, folder: &Path, download: &Download<'_>) -> Result<(), DataError> {
        let (base, sums) = match self {
            Self::Mnist => (MNIST, MNIST_MD5),
            Self::FashionMnist => (FASHION, FASHION_MD5),
            Self::Cifar10 => return fetch_cifar(CIFAR10, folder, download),
        };
        for (name, md5) in IDX_FILES.into_iter().zip(sums) {
            let url = format!("{base}{name}");
            fetch_file(RemoteFile { url: &url, md5 }, &folder.join(name), download)?;
        }
        Ok(())
    }
}

/// Writes what a URL names to a file.
type Download<'a> = dyn Fn(&str, &Path) -> Result<(), DataError> + 'a;

/// Fetches CIFAR-10's archive into `folder` and unpacks it, unless all its files are there.
fn fetch_cifar(archive: RemoteFile<'_>, folder: &Path, download: &Download<'_>) -> Result<(), DataError> {
    let unpacked = folder.join(cifar::FOLDER);
    if CIFAR10_FILES.iter().all(|name| unpacked.join(name).is_file()) {
        return Ok(());
    }
    let path = folder.join("cifar-10-binary.tar.gz");
    fetch_file(archive, &path, download)?;
    unpack(&path, &unpacked, &CIFAR10_FILES)?;
    // What it held is there; 170 MB of the same need not be.
    std::fs::remove_file(&path).map_err(|source| DataError::Write { path, source })
}

/// Fetches one file, unless it is there and whole.
fn fetch_file(file: RemoteFile<'_>, target: &Path, download: &Download<'_>) -> Result<(), DataError> {
    if target.exists() {
        let found = md5_of(target)?;
        if found == file.md5 {
            return Ok(());
        }
        return Err(DataError::file(
            target,
            format!("its MD5 sum is {found}, but that of {} is {}", file.url, file.md5),
            "remove the file to fetch it anew",
        ));
    }
    let temporary = temporary_name(target);
    let write_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DataError::Write { path, source }
    };
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).map_err(write_error(folder))?;
    }
    let fetched = download(file.url, &temporary).and_then(|()| {
        let found = md5_of(&temporary)?;
        if found != file.md5 {
            return Err(DataError::file(
                target,
                format!("what came from {} has the MD5 sum {found}, not {}; it was removed", file.url, file.md5),
                "try again; if it stays so, the file was replaced: fetch it elsewhere",
            ));
        }
        std::fs::rename(&temporary, target).map_err(write_error(target))
    });
    if fetched.is_err() {
        // It may not have been written at all.
        let _ = std::fs::remove_file(&temporary);
    }
    fetched
}

/// A name beside `target` that no other process uses.
fn temporary_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.part-{}", std::process::id()))
}

/// Fetches `url` to `target` by a program that takes curl's arguments.
fn curl(program: &OsStr, url: &str, target: &Path) -> Result<(), DataError> {
    let by_hand = |why: String| {
        let folder = target.parent().unwrap_or(target).display();
        DataError::argument(format!("cannot fetch {url}: {why}"), format!("or fetch it by other means into {folder}"))
    };
    let mut command = Command::new(program);
    command.args(["--fail", "--location", "--silent", "--show-error", "--connect-timeout", "20", "--retry", "2"]);
    // A transfer that has stopped ends.
    command.args(["--speed-limit", "100", "--speed-time", "60", "--output"]).arg(target).arg("--").arg(url);
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(by_hand(format!("{}; check the network", said.trim())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(by_hand(format!("there is no program {}; install it", program.display())))
        }
        Err(error) => Err(by_hand(format!("{} cannot be started: {error}", program.display()))),
    }
}

fn md5_of(path: &Path) -> Result<String, DataError> {
    let read_error =
        |source| DataError::Read { path: path.to_path_buf(), expected: "the file that was fetched", source };
    let mut file = std::fs::File::open(path).map_err(read_error)?;
    let (mut sum, mut buffer) = (Md5::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(read_error)? {
            0 => break,
            count => sum.update(&buffer[..count]),
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Unpacks the files of these names, wherever they lie in a tar.gz archive, into `folder`, which appears with all.
fn unpack(archive: &Path, folder: &Path, names: &[&str]) -> Result<(), DataError> {
    let temporary = temporary_name(folder);
    let result = unpack_into(archive, &temporary, names).and_then(|()| {
        // What an earlier attempt of other means left there is incomplete.
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::fs::rename(&temporary, folder),
        }
        .map_err(|source| DataError::Write { path: folder.to_path_buf(), source })
    });
    if result.is_err() {
        let _ = std::fs::remove_dir_all(&temporary);
    }
    result
}

fn unpack_into(archive: &Path, folder: &Path, names: &[&str]) -> Result<(), DataError> {
    /// Tar counts in blocks of this.
    const BLOCK: usize = 512;
    let damaged = |what: String| DataError::file(archive, what, "remove the file to fetch it anew");
    let write_error = |path: PathBuf| move |source| DataError::Write { path, source };
    let file = std::fs::File::open(archive).map_err(|source| DataError::Read {
        path: archive.to_path_buf(),
        expected: "a tar.gz archive",
        source,
    })?;
    let mut reader = GzDecoder::new(std::io::BufReader::new(file));
    std::fs::create_dir_all(folder).map_err(write_error(folder.to_path_buf()))?;
    let mut missing = names.to_vec();
    let mut header = [0; BLOCK];
    while !missing.is_empty() {
        reader.read_exact(&mut header).map_err(|error| damaged(format!("the archive ends early: {error}")))?;
        if header.iter().all(|&byte| byte == 0) {
            return Err(damaged(format!("the archive does not hold {}", missing.join(", "))));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&text(&header[124..136]), 8)
            .map_err(|_| damaged("the archive has a file without a size".into()))?;
        let path = text(&header[..100]);
        // Only a file's last name counts, and only if it is one of those wanted: nothing is written elsewhere.
        let name = path.rsplit('/').next().unwrap_or_default();
        let mut content = reader.by_ref().take(size);
        let is_file = matches!(header[156], b'0' | 0);
        let copied = match missing.iter().position(|wanted| is_file && *wanted == name) {
            Some(index) => {
                let target = folder.join(missing.swap_remove(index));
                let mut file = std::fs::File::create(&target).map_err(write_error(target.clone()))?;
                std::io::copy(&mut content, &mut file)
            }
            None => std::io::copy(&mut content, &mut std::io::sink()),
        };
        let copied = copied.map_err(|error| damaged(format!("{path} cannot be unpacked: {error}")))?;
        if copied != size {
            return Err(damaged(format!("the archive ends within {path}")));
        }
        let rest = size.next_multiple_of(BLOCK as u64) - size;
        std::io::copy(&mut reader.by_ref().take(rest), &mut std::io::sink())
            .map_err(|error| damaged(format!("the archive ends after {path}: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
