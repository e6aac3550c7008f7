//! A run's folder: made only when all else is well, read again to go on or to use the model.

use crate::config::{self, Config};
use crate::error::Error;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

/// Where a run's folder comes from.
#[derive(Debug)]
pub(crate) enum Place {
    /// `runs/<name>-<n>`, the first free number.
    Numbered(String),
    /// A folder by name; what an earlier run left there is removed first if so wished.
    Named { path: PathBuf, overwrite: bool },
    /// The folder of a run that goes on.
    Resumed(PathBuf),
}

/// All that a run may leave in its folder.
const FILES: [&str; 4] = ["config.toml", "metrics.jsonl", "model.safetensors", "report.html"];
const FOLDERS: [&str; 3] = ["adapter", "checkpoints", "plots"];

impl Place {
    /// Whether the run can be written there, before any work is done. Makes nothing.
    ///
    /// # Errors
    /// If there is a file in its place, or a folder with content that may not be overwritten.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (path, may_be_full) = match self {
            Place::Numbered(_) => (Path::new("runs"), true),
            Place::Named { path, overwrite } => (path.as_path(), *overwrite),
            Place::Resumed(path) => (path.as_path(), true),
        };
        if let Some(file) = path.ancestors().find(|path| path.is_file()) {
            return Err(Error::run(format!(
                "cannot write the run to {}: {} is a file; choose another folder with --out",
                path.display(),
                file.display()
            )));
        }
        let full = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if full && !may_be_full {
            let path = path.display();
            return Err(Error::usage(format!(
                "the folder {path} is not empty; choose another with --out, go on with it by --resume {path}, or give \
                 --overwrite"
            )));
        }
        Ok(())
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// Those of [`Place::check`], and the system's.
    pub(crate) fn make(&self) -> Result<RunFolder, Error> {
        self.check()?;
        let folder = match self {
            Place::Numbered(name) => RunFolder { path: numbered(name)? },
            Place::Named { path, overwrite } => {
                let folder = RunFolder { path: path.clone() };
                if *overwrite {
                    folder.clear()?;
                }
                folder
            }
            Place::Resumed(path) => RunFolder { path: path.clone() },
        };
        let checkpoints = folder.checkpoints();
        fs::create_dir_all(&checkpoints).map_err(|error| Error::write(&checkpoints, &error))?;
        Ok(folder)
    }
}

fn numbered(name: &str) -> Result<PathBuf, Error> {
    let runs = Path::new("runs");
    fs::create_dir_all(runs).map_err(|error| Error::write(runs, &error))?;
    let mut number = 1;
    loop {
        let path = runs.join(format!("{name}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // Made by another run, perhaps just now.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::write(&path, &error)),
        }
    }
}

impl RunFolder {
    /// The folder of an earlier run.
    pub(crate) fn open(path: &Path) -> RunFolder {
        RunFolder { path: path.to_path_buf() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// The folder of low-rank adapters, as PEFT has them.
    pub(crate) fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The tokeniser of a model of texts.
    pub(crate) fn tokenizer(&self) -> PathBuf {
        self.path.join("tokenizer.json")
    }

    /// The settings of a model of `transformers`, as that reads them.
    pub(crate) fn hugging_face(&self) -> PathBuf {
        self.path.join("config.json")
    }

    fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Removes what an earlier run left, and nothing else.
    fn clear(&self) -> Result<(), Error> {
        let absent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let files = FILES.iter().map(|name| (self.path.join(name), false));
        for (path, is_folder) in files.chain(FOLDERS.iter().map(|name| (self.path.join(name), true))) {
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Some(error) = removed.err().filter(|error| !absent(error)) {
                return Err(Error::write(&path, &error));
            }
        }
        Ok(())
    }

    pub(crate) fn write_config(&self, toml: &str) -> Result<(), Error> {
        fs::write(self.config(), toml).map_err(|error| Error::write(&self.config(), &error))
    }

    /// Reads the run's configuration.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub(crate) fn read_config(&self) -> Result<Config, Error> {
        if !self.config().is_file() {
            let path = self.path.display();
            return Err(Error::usage(format!("{path} holds no run: there is no config.toml in it; check the path")));
        }
        config::read(&self.config())
    }

    /// Where the checkpoint of a step goes.
    pub(crate) fn checkpoint(&self, step: u32) -> PathBuf {
        self.checkpoints().join(format!("step-{step:09}.safetensors"))
    }

    /// The checkpoints, newest first. Files that are not whole have other names.
    pub(crate) fn list_checkpoints(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.checkpoints()) else { return Vec::new() };
        let is_checkpoint = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("step-") && name.ends_with(".safetensors")
        };
        let mut found: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_checkpoint).collect();
        found.sort();
        found.reverse();
        found
    }

    /// Removes all but the newest checkpoints.
    pub(crate) fn keep_checkpoints(&self, keep: usize) -> Result<(), Error> {
        for path in self.list_checkpoints().iter().skip(keep) {
            fs::remove_file(path).map_err(|error| Error::write(path, &error))?;
        }
        Ok(())
    }

    /// The weights to use: the final ones, else those of the newest checkpoint.
    ///
    /// # Errors
    /// If there are none.
    pub(crate) fn weights(&self) -> Result<PathBuf, Error> {
        if self.model().is_file() {
            return Ok(self.model());
        }
        self.list_checkpoints().into_iter().next().ok_or_else(|| {
            let path = self.path.display();
            Error::run(format!("{path} has neither model.safetensors nor a checkpoint; train first"))
        })
    }

    /// The lines of an earlier part of the run, up to a step, without the final one. A line that was cut off is left
    /// out.
    pub(crate) fn read_metrics(&self, up_to: u32) -> Vec<Value> {
        let text = fs::read_to_string(self.metrics()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let kept = |line: &Value| {
            line.get("final").is_none()
                && line.get("step").and_then(Value::as_u64).is_some_and(|step| step <= up_to.into())
        };
        lines.filter(kept).collect()
    }

    /// Begins `metrics.jsonl` with these lines.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn begin_metrics(&self, lines: &[Value]) -> Result<Metrics, Error> {
        let path = self.metrics();
        let file = File::create(&path).map_err(|error| Error::write(&path, &error))?;
        let mut metrics = Metrics { path, file };
        lines.iter().try_for_each(|line| metrics.write(line))?;
        Ok(metrics)
    }
}

/// `metrics.jsonl`, open for writing.
#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Appends a line; it is in the file when this returns.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, line: &Value) -> Result<(), Error> {
        let line = format!("{line}\n");
        self.file.write_all(line.as_bytes()).map_err(|error| Error::write(&self.path, &error))
    }
}
