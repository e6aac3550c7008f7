//! Reading a config file.

use super::{Config, keys};
use crate::error::Error;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Reads and checks a config file. Its paths become absolute: they are relative to the file.
///
/// # Errors
/// With the file and the key at fault.
pub(crate) fn read(path: &Path) -> Result<Config, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::usage(format!("cannot read the config file {}: {error}; check the path", path.display()))
    })?;
    let fault = |message: String| Error::usage(format!("{}: {message}", path.display()));
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| fault(error.to_string().trim_end().into()))?;
    let folder = std::path::absolute(path).map_err(|error| fault(error.to_string()))?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    inline_model_config(&mut table, folder).map_err(fault)?;
    keys::check(&table).map_err(fault)?;
    let mut config: Config = table.try_into().map_err(|error: toml::de::Error| fault(one_line(&error.to_string())))?;
    let paths = [
        &mut config.model.weights,
        &mut config.model.adapter,
        &mut config.data.path,
        &mut config.data.inputs,
        &mut config.data.targets,
        &mut config.output.dir,
    ];
    let tokenizer = config.data.tokenizer.as_mut().filter(|path| path.as_os_str() != "char");
    for path in paths.into_iter().flatten().chain(tokenizer) {
        *path = folder.join(&*path);
    }
    if config.output.name.is_empty() {
        config.output.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    config.check().map_err(fault)?;
    Ok(config)
}

/// A message of several lines as one.
fn one_line(message: &str) -> String {
    message.trim().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Leaves out what is `null`: not said, and not to be said in TOML.
fn drop_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Replaces `model.config = "file.json"` by the file's content, and puts an empty table where there is none.
fn inline_model_config(table: &mut Table, folder: &Path) -> Result<(), String> {
    let Some(Value::Table(model)) = table.get_mut("model") else { return Ok(()) };
    let path = match model.get("config") {
        // All at its defaults.
        None => {
            model.insert("config".into(), Value::Table(Table::new()));
            return Ok(());
        }
        Some(Value::String(path)) => path,
        Some(_) => return Ok(()),
    };
    let path: PathBuf = folder.join(path);
    let fault = |error: &dyn std::fmt::Display| {
        format!("model.config: {}: {error}; give a JSON file with the model's settings, or a table", path.display())
    };
    let text = std::fs::read_to_string(&path).map_err(|error| fault(&error))?;
    let mut content: serde_json::Value = serde_json::from_str(&text).map_err(|error| fault(&error))?;
    drop_nulls(&mut content);
    let content = Value::try_from(content).map_err(|error| fault(&error))?;
    model.insert("config".into(), content);
    Ok(())
}
