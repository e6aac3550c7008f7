//! What a classifier of texts was most sure of and wrong about.

use crate::config::{Config, LoadedData};
use crate::error::Error;
use nn_data::Targets;
use nn_train::Trainer;

/// Mistakes that are told.
const MOST: usize = 10;
/// Characters of a text that are shown.
const SHOWN: usize = 160;

/// The most confident mistakes on the data that is evaluated at the end: what was said and what is right, and the text.
///
/// # Errors
/// If the device fails.
pub(super) fn most_confident(
    config: &Config,
    data: &LoadedData,
    trainer: &mut Trainer,
) -> Result<Vec<(String, String)>, Error> {
    let set = data.tested();
    let texts = data.text.as_ref().map(|text| text.shown.as_slice()).unwrap_or_default();
    let Targets::Classes { labels, .. } = &set.targets else { return Ok(Vec::new()) };
    if texts.len() != set.rows() || nn_train::Data::sample_dtype(set) != nn_core::DType::U32 {
        return Ok(Vec::new());
    }
    let mut tokens = Vec::new();
    (0..set.rows()).filter_map(|row| set.token_row(row)).for_each(|row| tokens.extend_from_slice(row));
    let output = trainer.predict(&tokens)?;
    let values = output.as_f32().map_err(nn_train::Error::from)?;
    let width = values.len() / set.rows();
    let mut wrong: Vec<(f64, usize, usize)> = Vec::new();
    for (row, logits) in values.chunks(width).enumerate() {
        let probabilities = super::predict::softmax(logits);
        let said = (0..width).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
        if said != labels[row] as usize {
            wrong.push((probabilities[said], row, said));
        }
    }
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let told = |&(probability, row, said): &(f64, usize, usize)| {
        let (said, right) = (config.class_name(said), config.class_name(labels[row] as usize));
        let text: String = texts[row].split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = text.chars().take(SHOWN).collect();
        let more = if short.len() < text.len() { "…" } else { "" };
        (format!("{said} ({:.0} %) instead of {right}", 100.0 * probability), short + more)
    };
    Ok(wrong.iter().take(MOST).map(told).collect())
}
