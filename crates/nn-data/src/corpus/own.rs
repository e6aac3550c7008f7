//! The project's own source code as text: in the program in release builds, where it lies in others.

use crate::DataError;
use crate::text_table::fnv1a;

/// A file of the project's source code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path in the project, separated by slashes.
    pub path: String,
    /// What it holds; lines end with a line feed alone.
    pub text: String,
}

/// The project's own Rust, WGSL, TOML and Markdown files, sorted by path; no tests' data.
///
/// A release build holds them as they were when it was built; any other reads them where they lay then. A crate that was
/// built by itself, outside of the project, has its own files only.
///
/// # Errors
/// [`DataError::Read`] if the folder of the sources is gone from under a build that is not for release;
/// [`DataError::Argument`] if the sources in the program are damaged.
pub fn own_sources() -> Result<Vec<Source>, DataError> {
    let files = files()?;
    Ok(files.into_iter().map(|(path, text)| Source { path, text }).collect())
}

#[cfg(packed_sources)]
fn files() -> Result<Vec<(String, String)>, DataError> {
    unpack(include_bytes!(concat!(env!("OUT_DIR"), "/sources.zlib")))
}

#[cfg(not(packed_sources))]
fn files() -> Result<Vec<(String, String)>, DataError> {
    use super::tree;

    let root = tree::root(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    tree::read(&root).map_err(|source| DataError::Read {
        path: root,
        expected: "the sources that this program was built from, which only a release build (--release) carries along",
        source,
    })
}

/// Reads what the build script made.
#[cfg(any(packed_sources, test))]
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<(String, String)>, DataError> {
    let damaged = || DataError::argument("internal: the sources in the program are damaged", "build it anew");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(packed), &mut text).map_err(|_| damaged())?;
    let (mut files, mut rest) = (Vec::new(), text.as_str());
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').ok_or_else(damaged)?;
        let (length, path) = line.split_once(' ').ok_or_else(damaged)?;
        let length: usize = length.parse().map_err(|_| damaged())?;
        let (content, after) = after.split_at_checked(length).ok_or_else(damaged)?;
        files.push((path.to_owned(), content.to_owned()));
        rest = after;
    }
    Ok(files)
}

/// The project's own source code as one text to train a language model on: each file after a line with its path.
///
/// The files are in an order that has nothing to do with where they lie (that of their paths' hashes), so that the end
/// of the text, which is held out, is like the rest of it.
///
/// # Errors
/// As [`own_sources`].
pub fn own_corpus() -> Result<String, DataError> {
    let mut sources = own_sources()?;
    sources.sort_by_cached_key(|source| (fnv1a(source.path.as_bytes()), source.path.clone()));
    Ok(sources.into_iter().map(|Source { path, text }| format!("==== {path}\n{text}\n")).collect())
}
