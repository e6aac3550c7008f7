//! `wgrad train`: from a preset or a config file to a run's folder.

use super::judge::{Extent, Findings, Judge};
use super::log::{Log, STOP, bits_per_byte, evaluation_fields, findings_fields, number};
use super::progress::{Progress, speed};
use super::write::Writer;
use super::{DeviceArgument, adapters, device_name, mistakes, open_device, pictures, print, with_commas};
use crate::config::{self, Architecture, Config, DataKind, LoadedData, PRESETS, Text, Trial};
use crate::error::Error;
use crate::report::{self, RunReport};
use crate::run_folder::{Place, RunFolder};
use nn_core::{Check, Session};
use nn_data::text_metrics::macro_f1;
use nn_train::{Evaluation, Trainer, train::read_tensors};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A preset (listed when there is none) or a config file
    #[arg(value_name = "PRESET | FILE.toml")]
    target: Option<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// The run's folder; by default runs/<name>-<n>
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, from its newest whole checkpoint
    #[arg(long, value_name = "DIR", conflicts_with = "overwrite")]
    resume: Option<PathBuf>,
    /// Replace the run that is in the folder
    #[arg(long)]
    overwrite: bool,
    /// The seed of initial weights, order and dropout
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Take so many steps
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Take each row so many times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Rows of a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// In place of the preset's or the config's data: for text a CSV or TSV file of texts with labels, for digits-cnn a
    /// folder of MNIST's files, for resnet-cifar one of CIFAR-10's
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Leave broken pictures out of a folder of pictures, and say how many
    #[arg(long)]
    skip_broken: bool,
    /// Compare every launch with the CPU in double precision, and stop at the first that computes wrong; with a NAME,
    /// from that scope, operator or launch on. Slow
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    check: Option<String>,
}

/// # Errors
/// If the config, the data or the device is wrong (nothing is written then), or the run fails or is stopped.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let start = Instant::now();
    if arguments.target.is_none() && arguments.resume.is_none() {
        return list_presets();
    }
    let (mut config, at) = configuration(arguments)?;
    let place = place(arguments, &config)?;
    place.check()?;
    let device_name = device_name(arguments.device.device.as_deref(), config.train.device.as_deref());
    let device = open_device(&device_name)?;
    let data = config.complete(&at)?;
    config.train.device = Some(device_name.0);
    data.text.iter().flat_map(|text| &text.notes).for_each(|note| eprintln!("{note}"));
    let check =
        arguments.check.as_ref().map(|name| if name.is_empty() { Check::Every } else { Check::From(name.clone()) });
    let mut trainer = config.trainer(device)?.check(check);
    config.load_beginning(&mut trainer)?;
    let resumed = match &place {
        Place::Resumed(path) => Some(go_on(&mut trainer, path)?),
        _ => None,
    };
    trainer.prepare(&data.training)?;

    // Config, data and weights are good, and the model fits the device: from here on there is a folder.
    let folder = place.make()?;
    if let Some(text) = &data.text {
        text.tokenizer.save(&folder.tokenizer())?;
        // Beside the config, wherever the folder goes.
        config.data.tokenizer = Some("tokenizer.json".into());
    }
    let toml = config.to_toml()?;
    folder.write_config(&toml)?;
    let mut log = begin_log(&folder, &config, &data, trainer.step())?;
    if resumed == Some(true) {
        evaluate_missed(&mut log, &mut trainer, &config, &data)?;
    }
    if ctrlc::set_handler(stop).is_err() {
        ::log::warn!("Ctrl-C cannot be caught here: it would end the run without a checkpoint");
    }
    let finished = fit(&mut trainer, &data, &mut log)?;
    if !finished {
        let path = folder.path().display();
        return Err(Error::Interrupted(format!(
            "stopped after step {} of {}; a checkpoint is written; go on with: wgrad train --resume {path}",
            trainer.step(),
            log.total
        )));
    }
    finish(&config, toml, &data, &mut trainer, &mut log, start)
}

fn list_presets() -> Result<(), Error> {
    let mut text = String::from("Presets:\n");
    for (name, what) in PRESETS {
        text += &format!("  {name:<12} {what}\n");
    }
    print(&(text + "\nTrain one with: wgrad train <preset>, or your own with: wgrad train <file.toml>\n"))
}

/// The second Ctrl-C does not wait.
fn stop() {
    if STOP.swap(true, Ordering::Relaxed) {
        std::process::exit(1);
    }
    eprintln!("\nstopping after this step; once more to stop at once");
}

/// The configuration that the arguments ask for, and what to call it in messages.
fn configuration(arguments: &Arguments) -> Result<(Config, String), Error> {
    let own = arguments.resume.as_deref().map(RunFolder::open);
    let (mut config, at) = match (&arguments.target, own) {
        (Some(target), _) => named(target)?,
        (None, Some(folder)) => (folder.read_config()?, folder.config().display().to_string()),
        (None, None) => return Err(Error::usage("name a preset or a config file")),
    };
    if let Some(seed) = arguments.seed {
        config.train.seed = seed;
    }
    if arguments.steps.is_some() || arguments.epochs.is_some() {
        (config.train.steps, config.train.epochs) = (arguments.steps, arguments.epochs);
    }
    if let Some(size) = arguments.batch_size {
        config.data.batch_size = Some(size as usize);
    }
    if let Some(path) = &arguments.data {
        replace_data(&mut config, path)?;
    }
    if arguments.skip_broken {
        config.data.skip_broken = Some(true);
    }
    Ok((config, at))
}

/// A preset or a config file, and what to call it in messages.
///
/// # Errors
/// If there is neither, or the file is wrong.
pub(super) fn named(target: &str) -> Result<(Config, String), Error> {
    if let Some(config) = config::preset(target).or_else(|| config::workload(target)) {
        return Ok((config, format!("preset {target}")));
    }
    let path = Path::new(target);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "toml") {
        return Ok((config::read(path)?, target.to_string()));
    }
    let near = config::nearest(target, PRESETS.iter().map(|(name, _)| *name)).unwrap_or_default();
    Err(Error::usage(format!(
        "there is no preset {target:?} and no such file; the nearest preset is {near:?}; `wgrad train` lists them all"
    )))
}

fn replace_data(config: &mut Config, path: &Path) -> Result<(), Error> {
    let data = &mut config.data;
    match data.kind {
        kind if kind.has_path() => {}
        DataKind::Digits if !matches!(config.model.architecture, Architecture::Mlp(_)) => {
            (data.kind, data.validation) = (DataKind::Mnist, Some(0.0));
        }
        DataKind::Shapes => {
            data.kind = DataKind::Cifar10;
            // These have a part for testing.
            (data.samples, data.size, data.validation) = (None, None, Some(0.0));
        }
        DataKind::Topics => {
            let (batch_size, validation, seed) = (data.batch_size, data.validation, data.seed);
            *data = config::Data { kind: DataKind::TextTable, batch_size, validation, seed, ..Default::default() };
            if config.optimizer.kind == "sgd" {
                // A bag of words is several times longer than a mean of word vectors, and gradients grow with it.
                config.optimizer.lr = config.optimizer.lr.map(|lr| lr / 20.0);
            }
        }
        kind => {
            return Err(Error::usage(format!(
                "--data {}: the data {:?} cannot be replaced by one file; for a table of numbers write a config with \
                 data.kind = \"csv\", for arrays one with \"arrays\"",
                path.display(),
                kind.name()
            )));
        }
    }
    // The config is written to another folder than this path may be relative to.
    data.path = Some(std::path::absolute(path).map_err(|error| Error::usage(format!("--data: {error}")))?);
    Ok(())
}

fn place(arguments: &Arguments, config: &Config) -> Result<Place, Error> {
    if let Some(path) = &arguments.resume {
        if arguments.out.as_ref().is_some_and(|out| out != path) {
            return Err(Error::usage("--out and --resume name different folders; --resume goes on in its own"));
        }
        return Ok(Place::Resumed(path.clone()));
    }
    let overwrite = arguments.overwrite;
    Ok(match arguments.out.as_ref().or(config.output.dir.as_ref()) {
        Some(path) => Place::Named { path: path.clone(), overwrite },
        None => Place::Numbered(config.output.name.clone()),
    })
}

/// Takes up the newest whole checkpoint; says which. Returns whether there was one.
fn go_on(trainer: &mut Trainer, path: &Path) -> Result<bool, Error> {
    for checkpoint in RunFolder::open(path).list_checkpoints() {
        if let Err(error) = read_tensors(&checkpoint) {
            eprintln!("skipped: {error}");
            continue;
        }
        trainer.load_training(&checkpoint)?;
        eprintln!("going on after step {} from {}", trainer.step(), checkpoint.display());
        return Ok(true);
    }
    eprintln!("{} has no whole checkpoint; starting over", path.display());
    Ok(false)
}

fn begin_log(folder: &RunFolder, config: &Config, data: &LoadedData, step: u32) -> Result<Log, Error> {
    let lines = if step > 0 { folder.read_metrics(step) } else { Vec::new() };
    let total = config.total_steps(data);
    let mut log = Log {
        metrics: folder.begin_metrics(&lines)?,
        folder: folder.clone(),
        progress: Progress::new(total),
        log_every: config.train.log_every,
        checkpoint_every: config.checkpoint.every.unwrap_or(total).max(1),
        keep: config.checkpoint.keep,
        total,
        steps: Vec::new(),
        evaluations: Vec::new(),
        last: None,
        speed: 0.0,
        bytes_per_token: data.text.as_ref().and_then(|text| text.bytes_per_token),
        writer: Writer::new(config, data),
        judge: judge(config, data.text.as_ref().map(|text| (text, &text.evaluated)))?,
        measures: Vec::new(),
        failure: None,
    };
    log.take_up(&lines);
    Ok(log)
}

/// What tries the model out on these texts, if it is a model of such.
///
/// # Errors
/// If the model does not know its lengths.
pub(super) fn judge(config: &Config, text: Option<(&Text, &Option<Trial>)>) -> Result<Option<(Judge, Trial)>, Error> {
    let Some((text, Some(trial))) = text else { return Ok(None) };
    Ok(Judge::new(config, text)?.map(|judge| (judge, trial.clone())))
}

/// A checkpoint is written before the evaluation of its step; a run that ended between the two lacks that line.
fn evaluate_missed(log: &mut Log, trainer: &mut Trainer, config: &Config, data: &LoadedData) -> Result<(), Error> {
    let step = trainer.step();
    let due = config.train.eval_every.is_some_and(|every| step.is_multiple_of(every)) || step >= log.total;
    if due && log.evaluations.last().is_none_or(|(known, ..)| *known != u64::from(step)) {
        let set = data.evaluated();
        let rows = config.train.eval_batches.map_or(set.rows(), |batches| batches.saturating_mul(config.batch_size()));
        let rows: Vec<usize> = (0..rows.min(set.rows())).collect();
        let evaluation = trainer.evaluate(&set.subset(&rows)?)?;
        log.try_out(trainer, step, &evaluation)?;
    }
    Ok(())
}

/// Trains; returns whether the run is complete.
fn fit(trainer: &mut Trainer, data: &LoadedData, log: &mut Log) -> Result<bool, Error> {
    if trainer.step() >= log.total {
        eprintln!("the run has taken all of its {} steps; give a larger --steps or --epochs to go on", log.total);
        return Ok(true);
    }
    let report = trainer.fit(&data.training, Some(data.evaluated()), log);
    log.progress.end();
    if let Some(failure) = log.failure.take() {
        return Err(failure);
    }
    match report {
        Err(nn_train::Error::NonFinite { step, epoch, loss }) => Err(Error::run(format!(
            "the loss became {loss} at step {step} (epoch {epoch}); `wgrad where {}` names the operator that began it; \
             lower the learning rate, clip gradients (train.clip_norm), or correct the data",
            log.folder.path().display()
        ))),
        report => Ok(report?.finished),
    }
}

/// Writes what a finished run leaves, and prints its results.
fn finish(
    config: &Config,
    toml: String,
    data: &LoadedData,
    trainer: &mut Trainer,
    log: &mut Log,
    start: Instant,
) -> Result<(), Error> {
    let set = data.tested();
    let evaluation = match log.last.take() {
        // The last step's evaluation was of the same rows.
        Some((step, evaluation))
            if step == trainer.step() && evaluation.rows == set.rows() && std::ptr::eq(set, data.evaluated()) =>
        {
            evaluation
        }
        _ => trainer.evaluate(set)?,
    };
    let findings = match (&mut log.judge, data.text.as_ref().and_then(|text| text.tested.as_ref())) {
        (Some((judge, _)), Some(trial)) => judge.try_out(trainer, trial, Extent::All)?,
        _ => Findings::default(),
    };
    if data.test.is_some() && data.held_out.is_some() {
        // The last line of an evaluation is that of the test data.
        log.evaluated(trainer.step(), &evaluation, &findings)?;
    }
    let folder = log.folder.clone();
    // Merging begins a new session, which knows nothing of the checks.
    let checked = checked(trainer);
    let adapters = adapters::finish(config, trainer, &folder)?;
    trainer.save(folder.model())?;
    let labels = config.data.classes.as_deref().unwrap_or_default();
    if let Some(document) = config.model.architecture.model().hugging_face(labels) {
        let path = folder.hugging_face();
        std::fs::write(&path, format!("{document:#}\n")).map_err(|error| Error::write(&path, &error))?;
    }
    let device = trainer.device_name().unwrap_or_default();
    let parameters = trainer.declarations().parameter_count();
    let seconds = start.elapsed().as_secs_f64();

    let mut last = json!({"final": true, "steps": trainer.step(), "device": device});
    last["seconds"] = json!((seconds * 1000.0).round() / 1000.0);
    last["parameters"] = json!(parameters);
    if let Some(adapters) = &adapters {
        last["trained_parameters"] = json!(adapters.parameters);
    }
    last["loss"] = log.steps.last().map_or(json!(null), |(_, loss)| number(*loss));
    evaluation_fields(&mut last, &evaluation, log.bytes_per_token);
    findings_fields(&mut last, &findings);
    last["eval_rows"] = json!(evaluation.rows);
    last["samples_per_s"] = json!(speed(log.speed));
    log.metrics.write(&last)?;

    let model = config.model.architecture.model().describe();
    let mut measures = measures(&evaluation, &findings);
    measures.extend(
        log.bytes_per_token.map(|bytes| ("Bits per byte".into(), format!("{:.4}", bits_per_byte(&evaluation, bytes)))),
    );
    let summary = [
        ("Model", format!("{model}, {} parameters", with_commas(parameters as u64))),
        ("Training data", format!("{}, {} rows", data.training.name, with_commas(data.training.rows() as u64))),
        ("Seed", config.train.seed.to_string()),
        ("Time", format!("{seconds:.1} s")),
        ("Evaluated on", format!("{}, {} rows", data.tested_name(), with_commas(evaluation.rows as u64))),
    ];
    let summary = summary.into_iter().map(|(name, value)| (name.to_string(), value));
    let summary = summary.chain(adapters.map(|adapters| ("Adapters".into(), adapters.description)));
    // The names that the report itself would add, without how many rows were right.
    let last = measures.iter().map(|(name, value)| (format!("Last evaluation {}", name.to_lowercase()), value.clone()));
    let summary = summary.chain(last).collect();
    let mistakes = mistakes::most_confident(config, data, trainer)?;
    let report = RunReport {
        title: format!("{}: {model}", config.output.name),
        config_toml: toml,
        device: device.clone(),
        steps: std::mem::take(&mut log.steps),
        evaluations: std::mem::take(&mut log.evaluations),
        measures: std::mem::take(&mut log.measures),
        confusion: confusion(config, &evaluation).filter(|_| findings.measures.is_empty()),
        mistakes: mistakes.clone(),
        roofline: None,
        sheets: pictures::sheets(config, data, trainer)?,
        summary,
    };
    report::write(folder.path(), &report).map_err(|error| Error::run(error.to_string()))?;

    let measures: Vec<String> =
        measures.iter().map(|(name, value)| format!("{} {value}", name.to_lowercase())).collect();
    print(&format!(
        "{}: {model}, {} parameters, {} steps on {device} in {:.1} s\n{} ({} rows): {}\n{}{}run: {}\nreport: {}\n",
        config.output.name,
        with_commas(parameters as u64),
        with_commas(trainer.step().into()),
        start.elapsed().as_secs_f64(),
        data.tested_name(),
        with_commas(evaluation.rows as u64),
        measures.join(", "),
        told(&mistakes),
        checked,
        folder.path().display(),
        folder.report().display()
    ))
}

/// The most confident mistakes, a line each; nothing where there are none.
fn told(mistakes: &[(String, String)]) -> String {
    let lines: String = mistakes.iter().map(|(what, text)| format!("  {what}: {text}\n")).collect();
    if lines.is_empty() { lines } else { format!("most confident mistakes:\n{lines}") }
}

/// What `--check` compared, as a line; nothing without it.
fn checked(trainer: &Trainer) -> String {
    let Some(report) = trainer.session().map(Session::check_report).filter(|report| !report.is_empty()) else {
        return String::new();
    };
    let cases: u64 = report.ops().map(|op| op.cases).sum();
    let elements: u64 = report.ops().map(|op| op.elements).sum();
    let nearest = report.ops().max_by(|a, b| a.share.total_cmp(&b.share));
    let nearest = nearest.map(|op| format!("; nearest to its tolerance {} at {:.2} of it", op.op, op.share));
    format!(
        "checked: {} results, {} elements, all as the oracle has them{}\n",
        with_commas(cases),
        with_commas(elements),
        nearest.unwrap_or_default()
    )
}

/// Names and values of what was measured.
pub(super) fn measures(evaluation: &Evaluation, findings: &Findings) -> Vec<(String, String)> {
    let mut measures = vec![("Loss".to_string(), format!("{:.4}", evaluation.loss))];
    if let Some(accuracy) = evaluation.accuracy {
        let right = (accuracy * evaluation.targets as f64).round() as u64;
        let counted =
            format!("{accuracy:.4} ({} of {} right)", with_commas(right), with_commas(evaluation.targets as u64));
        measures.push(("Accuracy".into(), counted));
    }
    // Tokens and places are no classes of which each matters as much.
    let classes = evaluation.mean_iou.is_none() && findings.measures.is_empty();
    if let (Some(counts), true) = (&evaluation.confusion, classes) {
        measures.push(("Macro F1".into(), format!("{:.4}", macro_f1(counts))));
    }
    if let Some(overlap) = evaluation.mean_iou {
        measures.push(("Mean IoU".into(), format!("{overlap:.4}")));
    }
    if let Some(error) = evaluation.mean_absolute_error {
        measures.push(("Mean absolute error".into(), format!("{error:.4}")));
    }
    measures.extend(findings.measures.iter().map(|measure| (measure.name.into(), measure.text.clone())));
    measures
}

fn confusion(config: &Config, evaluation: &Evaluation) -> Option<(Vec<String>, Vec<Vec<u32>>)> {
    let counts = evaluation.confusion.clone()?;
    Some(((0..counts.len()).map(|class| config.class_name(class)).collect(), counts))
}
