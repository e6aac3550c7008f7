//! The sources as one text, which the build script compresses and `own.rs` takes apart.

/// For each file its length in bytes and its path on a line, then its content.
pub(crate) fn pack(files: &[(String, String)]) -> String {
    files.iter().map(|(path, text)| format!("{} {path}\n{text}", text.len())).collect()
}
