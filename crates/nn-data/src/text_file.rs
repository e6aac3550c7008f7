//! Text files as a whole: plain or gzip, UTF-8, without a byte order mark.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::DataError;

/// The bytes of a file, unpacked if they are gzip, whatever its name.
pub(crate) fn read_bytes(path: &Path, expected: &'static str) -> Result<Vec<u8>, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Read { path: path.to_path_buf(), expected, source })?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).map_err(|error| {
        DataError::file(path, format!("damaged gzip file: {error}"), "get the file again, whole; `gzip -t` tests it")
    })?;
    Ok(unpacked)
}

/// The text of a file, plain or gzip, without a byte order mark; line ends stay as they are.
pub(crate) fn read(path: &Path, expected: &'static str) -> Result<String, DataError> {
    decode(read_bytes(path, expected)?, path)
}

/// Bytes as text; `path` is used in messages only.
pub(crate) fn decode(mut bytes: Vec<u8>, path: &Path) -> Result<String, DataError> {
    let mark = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let (place, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        DataError::Line {
            path: path.to_path_buf(),
            line: 1 + bytes[..place].iter().filter(|&&byte| byte == b'\n').count() as u64,
            what: if utf16 {
                "the text is UTF-16, not UTF-8".into()
            } else {
                format!("the text is not UTF-8: byte 0x{:02x} at position {} (from 0)", bytes[place], mark + place)
            },
            remedy: "save the file as UTF-8".into(),
        }
    })
}

/// A file's extension in lower case, not counting `.gz`.
pub(crate) fn extension(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::{Folder, gzip};

    #[test]
    fn plain_and_gzip_text_is_read_without_its_byte_order_mark() {
        let folder = Folder::new();
        for (name, content) in [
            ("plain", "\u{feff}a\r\nß\n".as_bytes().to_vec()),
            ("packed", gzip("\u{feff}a\r\n".as_bytes()).into_iter().chain(gzip("ß\n".as_bytes())).collect()),
        ] {
            assert_eq!(read(&folder.write(name, content), "text").unwrap(), "a\r\nß\n", "{name}");
        }
        let error = read(&folder.write("cut.gz", &gzip(b"a text")[..12]), "text").unwrap_err().to_string();
        assert!(error.contains("cut.gz: damaged gzip file"), "{error}");
    }

    #[test]
    fn the_first_bad_byte_is_told() {
        let folder = Folder::new();
        let told = |content: &[u8]| read(&folder.write("x.txt", content), "text").unwrap_err().to_string();
        let error = told("\u{feff}ä\n\nb".bytes().chain([0xe4, b'c', 0xff]).collect::<Vec<_>>().as_slice());
        assert!(error.contains("x.txt, line 3") && error.contains("0xe4 at position 8"), "{error}");
        assert!(told(b"\xff\xfea\0").contains("UTF-16"));
        // A character cut off at the end of the file.
        assert!(told(b"a\xc3").contains("0xc3 at position 1"));
    }

    #[test]
    fn extensions_ignore_case_and_packing() {
        let of = |name: &str| extension(Path::new(name));
        assert_eq!(of("a/b.TSV.gz").as_deref(), Some("tsv"));
        assert_eq!(of("train.en").as_deref(), Some("en"));
        assert_eq!(of("a.b/plain"), None);
    }
}
