//! The keys and kinds that a config file may have, and the nearest known one for those it may not.

use super::kinds::DATA_KINDS;
use toml::{Table, Value};

/// Names, each with what belongs to it.
type Named<T> = &'static [(&'static str, T)];

const SECTIONS: Named<&[&str]> = &[
    ("model", &["kind", "config", "weights", "adapter"]),
    ("data", &["kind", "sample_shape"]),
    ("loss", &["kind"]),
    ("lora", &["rank", "alpha", "dropout", "rslora", "targets", "modules_to_save"]),
    ("optimizer", &["kind", "lr", "weight_decay", "decay"]),
    (
        "train",
        &[
            "steps",
            "epochs",
            "seed",
            "device",
            "precision",
            "log_every",
            "clip_norm",
            "mixup",
            "eval_every",
            "eval_batches",
        ],
    ),
    ("schedule", &["kind", "warmup", "min_lr"]),
    ("checkpoint", &["every", "keep"]),
    ("output", &["dir", "name"]),
];

/// Keys in groups.
type Keys = &'static [&'static [&'static str]];

/// Per section: the kinds, and the keys of each on top of the section's own.
const KINDS: Named<Named<Keys>> = &[
    (
        "model",
        &[
            ("mlp", &[]),
            ("cnn", &[]),
            ("resnet", &[]),
            ("googlenet", &[]),
            ("vgg", &[]),
            ("mobilenet_v2", &[]),
            ("unet", &[]),
            ("autoencoder", &[]),
            ("vae", &[]),
            ("ddpm", &[]),
            ("gpt2", &[]),
            ("llama", &[]),
            ("bert", &[]),
            ("distilbert", &[]),
            ("seq2seq", &[]),
        ],
    ),
    ("data", DATA_KINDS),
    (
        "loss",
        &[
            ("cross_entropy", &[]),
            ("own", &[]),
            ("binary_cross_entropy", &[]),
            ("mse", &[]),
            ("mse_one_hot", &[]),
            ("l1", &[]),
            ("huber", &[&["delta"]]),
        ],
    ),
    (
        "optimizer",
        &[
            ("sgd", &[&["momentum", "nesterov"]]),
            ("adam", &[&["betas", "eps"]]),
            ("adamw", &[&["betas", "eps"]]),
            ("rmsprop", &[&["alpha", "eps", "momentum"]]),
        ],
    ),
    ("schedule", &[("constant", &[]), ("linear", &[]), ("cosine", &[])]),
];

/// The keys of `[model.config]` by the model's kind. Models that are not here look at their keys themselves: a file of
/// Hugging Face's has many.
const CONFIGS: Named<&[&str]> = &[
    ("mlp", &["sizes", "activation", "init", "gain", "dropout"]),
    ("cnn", &["channels", "convolutions", "batch_norm", "hidden", "dropout", "in_channels", "num_classes"]),
    ("resnet", &["block", "layers", "width", "in_channels", "num_classes", "stem"]),
    ("googlenet", &["aux_logits", "dropout", "dropout_aux", "in_channels", "num_classes"]),
    ("vgg", &["stages", "batch_norm", "pool", "hidden", "dropout", "in_channels", "num_classes"]),
    ("mobilenet_v2", &["width_mult", "dropout", "in_channels", "num_classes"]),
    ("unet", &["widths", "in_channels", "num_classes"]),
    ("autoencoder", &["widths", "in_channels"]),
    ("vae", &["widths", "latent", "beta", "in_channels"]),
    ("ddpm", &["widths", "steps", "embedding", "in_channels", "num_classes"]),
    (
        "seq2seq",
        &[
            "vocab_size",
            "d_model",
            "nhead",
            "num_encoder_layers",
            "num_decoder_layers",
            "dim_feedforward",
            "dropout",
            "activation",
            "norm_first",
            "max_source",
            "max_target",
            "pad_token_id",
            "bos_token_id",
            "eos_token_id",
            "tie_word_embeddings",
            "label_smoothing",
            "initializer",
        ],
    ),
];

/// What a section is if it has no `kind`.
const DEFAULT_KINDS: Named<&str> = &[("optimizer", "adam"), ("schedule", "constant")];

/// What other programs call some of the keys.
const ALSO_CALLED: Named<&str> =
    &[("lr", "learning_rate"), ("eps", "epsilon"), ("epochs", "num_epochs"), ("clip_norm", "max_norm")];

/// The one of `known` that looks most like `name`, by its own spelling or by what others call it.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |known: &str| {
        let spellings = std::iter::once(known).chain(of(ALSO_CALLED, known));
        spellings.map(|spelling| strsim::damerau_levenshtein(&name, spelling)).min()
    };
    known.into_iter().min_by_key(|known| distance(known))
}

fn of<T: Copy>(table: &[(&'static str, T)], section: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == section).map(|(_, found)| *found)
}

/// Checks that a config file has known sections, kinds and keys only.
///
/// # Errors
/// The first that is unknown, with the nearest known one.
pub(super) fn check(config: &Table) -> Result<(), String> {
    for (section, content) in config {
        let Some(own) = of(SECTIONS, section) else {
            return Err(unknown_section(section, content));
        };
        let Value::Table(content) = content else {
            return Err(format!("{section} must be a section: write [{section}] on a line of its own, its keys below"));
        };
        let kind = kind_of(section, content)?;
        let of_kind = of(KINDS, section).and_then(|kinds| of(kinds, kind?)).unwrap_or_default().concat();
        for key in content.keys() {
            if !own.contains(&key.as_str()) && !of_kind.contains(&key.as_str()) {
                return Err(unknown_key(section, key, kind, own.iter().chain(&of_kind).copied()));
            }
        }
        if let (Some(Value::Table(model)), "model", Some(kind)) = (content.get("config"), section.as_str(), kind) {
            let known = of(CONFIGS, kind);
            let is_unknown = |key: &&String| known.is_some_and(|known| !known.contains(&key.as_str()));
            if let Some(key) = model.keys().find(is_unknown) {
                return Err(unknown_key("model.config", key, Some(kind), known.unwrap_or_default().iter().copied()));
            }
        }
    }
    for section in ["model", "data"] {
        if !config.contains_key(section) {
            return Err(format!("there is no section [{section}]; add one with at least a kind"));
        }
    }
    Ok(())
}

fn unknown_section(section: &str, content: &Value) -> String {
    let homes = homes_of(section);
    if let (false, Some(home)) = (content.is_table(), homes.first()) {
        return format!("unknown key {section} outside of any section; the nearest known one is {home}.{section}");
    }
    let near = nearest(section, SECTIONS.iter().map(|(name, _)| *name)).unwrap_or_default();
    format!("unknown section [{section}]; the nearest known one is [{near}]")
}

/// The kind of a section, if it has kinds and names one.
fn kind_of<'a>(section: &str, content: &'a Table) -> Result<Option<&'a str>, String> {
    let Some(kinds) = of(KINDS, section) else { return Ok(None) };
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let supported = names.join(", ");
    match content.get("kind") {
        None => match of(DEFAULT_KINDS, section) {
            Some(kind) => Ok(Some(kind)),
            None => Err(format!("{section}.kind is missing; supported kinds: {supported}")),
        },
        Some(Value::String(kind)) if names.contains(&kind.as_str()) => Ok(Some(kind)),
        Some(kind) => {
            let near = nearest(kind.as_str().unwrap_or_default(), names).unwrap_or_default();
            Err(format!("unknown {section}.kind = {kind}; the nearest known one is {near:?} (of {supported})"))
        }
    }
}

/// The sections that know a key, with any kind.
fn homes_of(key: &str) -> Vec<&'static str> {
    let knows = |(section, own): &&(&str, &[&str])| {
        let kinds = of(KINDS, section).unwrap_or_default();
        key != "kind"
            && (own.contains(&key) || kinds.iter().any(|(_, keys)| keys.iter().any(|keys| keys.contains(&key))))
    };
    SECTIONS.iter().filter(knows).map(|(section, _)| *section).collect()
}

fn unknown_key<'a>(
    section: &str,
    key: &str,
    kind: Option<&str>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let all = known.clone().collect::<Vec<_>>().join(", ");
    let homes = homes_of(key);
    let near = nearest(key, known).unwrap_or_default();
    // A slip of one letter is likelier than a key in the wrong section.
    let slip = strsim::damerau_levenshtein(key, near) == 1;
    match (kind, homes.as_slice()) {
        _ if slip => format!("unknown key {section}.{key}; the nearest known one is {section}.{near} (of {all})"),
        (Some(kind), homes) if homes.contains(&section) => {
            format!(
                "unknown key {section}.{key} for the kind {kind:?}, which takes {all}; the nearest is {section}.{near}"
            )
        }
        (_, [home, ..]) => format!("unknown key {section}.{key}; the nearest known one is {home}.{key}"),
        _ => format!("unknown key {section}.{key}; the nearest known one is {section}.{near} (of {all})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        check(&text.parse().unwrap()).expect_err(text)
    }

    const GOOD: &str = "[model]\nkind = 'mlp'\n[data]\nkind = 'csv'\npath = 'x'\n";

    #[test]
    fn the_nearest_key_is_named() {
        check(&GOOD.parse().unwrap()).unwrap();
        for (more, expected) in [
            ("bath_size = 3", "unknown key data.bath_size; the nearest known one is data.batch_size"),
            ("inputs = 'x'", "unknown key data.inputs for the kind \"csv\""),
            ("lr = 3", "unknown key data.lr; the nearest known one is optimizer.lr"),
            ("[optimiser]\nlr = 3", "unknown section [optimiser]; the nearest known one is [optimizer]"),
            ("[optimizer]\nbeta = [0.9, 0.9]", "the nearest known one is optimizer.betas"),
            ("[optimizer]\nkind = 'sgd'\nbetas = [0.9, 0.9]", "unknown key optimizer.betas for the kind \"sgd\""),
            ("[optimizer]\nkind = 'adan'", "the nearest known one is \"adam\""),
            ("[model.config]\nsize = [1]", "the nearest known one is model.config.sizes"),
        ] {
            let text =
                if more.starts_with("[model") { more.to_string() + "\n" + GOOD } else { GOOD.to_string() + more };
            let error = fault(&text);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn misspelt_kinds_and_missing_sections_are_told() {
        let error = fault(&GOOD.replace("csv", "cvs"));
        assert!(error.contains("the nearest known one is \"csv\""), "{error}");
        assert!(fault("[model]\nkind = 'mlp'").contains("no section [data]"));
        assert!(fault("steps = 3").contains("train.steps"));
    }
}
