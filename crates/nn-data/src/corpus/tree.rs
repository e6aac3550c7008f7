//! The project's own source files: which they are and where they lie. The build script uses this file too.

use std::path::{Path, PathBuf};

/// The folders of the workspace that are read, and the files at its root.
pub(crate) const FOLDERS: [&str; 6] = ["crates", "docs", "examples", "scripts", "shaders", "src"];
/// The kinds of files that are read, by their extensions.
pub(crate) const EXTENSIONS: [&str; 4] = ["md", "rs", "toml", "wgsl"];
/// Folders that hold what a machine wrote.
const LEFT_OUT: [&str; 3] = ["data", "golden", "target"];

/// The workspace's folder; where the crate lies alone, as a package registry unpacks it, that of the crate.
pub(crate) fn root(manifest: &Path) -> PathBuf {
    let workspace = manifest.ancestors().nth(2).unwrap_or(manifest);
    let is_own = workspace.join("crates/nn-data") == manifest && workspace.join("shaders").is_dir();
    if is_own { workspace.to_path_buf() } else { manifest.to_path_buf() }
}

/// All files with their paths below `root`, separated by slashes and sorted. Those that are no UTF-8 are left out.
pub(crate) fn read(root: &Path) -> std::io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            if FOLDERS.contains(&name.as_str()) {
                read_folder(&entry.path(), &name, &mut files)?;
            }
        } else {
            read_file(&entry.path(), name, &mut files)?;
        }
    }
    files.sort();
    Ok(files)
}

fn read_folder(folder: &Path, path: &str, files: &mut Vec<(String, String)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = format!("{path}/{name}");
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !LEFT_OUT.contains(&name.as_str()) {
                read_folder(&entry.path(), &below, files)?;
            }
        } else {
            read_file(&entry.path(), below, files)?;
        }
    }
    Ok(())
}

fn read_file(file: &Path, path: String, files: &mut Vec<(String, String)>) -> std::io::Result<()> {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    if extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
        && let Ok(text) = String::from_utf8(std::fs::read(file)?)
    {
        // A checkout on Windows has other line ends; the corpus is the same everywhere.
        files.push((path, text.replace("\r\n", "\n")));
    }
    Ok(())
}
