//! Packs the project's own sources into the crate, as the default text to train on, for release builds.
//!
//! Other builds read the files where they lie: packing them anew at each change would make every build longer.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::ZlibEncoder;

#[path = "src/corpus/pack.rs"]
mod pack;
#[path = "src/corpus/tree.rs"]
mod tree;

fn main() -> std::io::Result<()> {
    println!("cargo::rustc-check-cfg=cfg(packed_sources)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/corpus/pack.rs");
    println!("cargo::rerun-if-changed=src/corpus/tree.rs");
    let variable = |name| std::env::var_os(name).ok_or_else(|| std::io::Error::other(format!("{name} is not set")));
    if variable("PROFILE")? != "release" {
        return Ok(());
    }
    println!("cargo::rustc-cfg=packed_sources");
    let root = tree::root(&PathBuf::from(variable("CARGO_MANIFEST_DIR")?));
    for folder in tree::FOLDERS.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()) {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let packed = pack::pack(&tree::read(&root)?);
    let file = std::fs::File::create(PathBuf::from(variable("OUT_DIR")?).join("sources.zlib"))?;
    let mut encoder = ZlibEncoder::new(file, Compression::best());
    encoder.write_all(packed.as_bytes())?;
    encoder.finish()?;
    Ok(())
}
