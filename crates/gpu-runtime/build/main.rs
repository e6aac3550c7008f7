//! Reads `shaders/*.wgsl` at build time: a shader's file is its registration.

mod reflect;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    if let Err(error) = generate() {
        // Printed, not returned: naga's messages have many lines, and `main` would escape them.
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// Writes the table of kernels.
fn generate() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../shaders");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    paths.sort();
    let mut table = "static SHADERS: &[Kernel] = &[\n".to_string();
    for path in paths {
        println!("cargo:rerun-if-changed={}", path.display());
        row(&path, &folder, &mut table).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    table.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("shaders.rs"), table)?;
    Ok(())
}

/// Appends one `Kernel` to the table.
fn row(path: &Path, folder: &Path, table: &mut String) -> Result<(), Box<dyn Error>> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("not a UTF-8 name")?;
    let mut included = Vec::new();
    let source = reflect::resolve_includes(&std::fs::read_to_string(path)?, folder, &mut included)?;
    for piece in included {
        println!("cargo:rerun-if-changed={}", piece.display());
    }
    let facts = reflect::reflect(name, &source)?;
    writeln!(
        table,
        "Kernel {{ name: Cow::Borrowed({name:?}), source: Cow::Borrowed({source:?}), bindings: Cow::Borrowed(&["
    )?;
    for (variable, kind) in &facts.bindings {
        writeln!(table, "Binding {{ name: Cow::Borrowed({variable:?}), kind: BindingKind::{kind} }},")?;
    }
    let (size, bytes) = (facts.workgroup_size, facts.workgroup_bytes);
    writeln!(table, "]), workgroup_size: {size:?}, workgroup_bytes: {bytes}, fields: Cow::Borrowed(&[")?;
    for (field, offset, words) in &facts.fields {
        writeln!(table, "Field {{ name: Cow::Borrowed({field:?}), offset: {offset}, words: {words} }},")?;
    }
    writeln!(table, "]), parameter_bytes: {} }},", facts.parameter_bytes)?;
    Ok(())
}
