//! Data of kind `random`, for configurations that are to be measured.

use super::Data;
use super::pictures::Parts;
use crate::error::Error;
use nn_core::DType;
use nn_data::{Drawn, random as draw};
use nn_models::Model;

/// Rows if nothing is said.
const ROWS: usize = 256;

/// Data of kind `random`: `samples` rows of `sample_shape`, with classes or next tokens as the model has them.
///
/// # Errors
/// If the shape is missing or empty, or the model leaves open how many classes or tokens there are.
pub(super) fn random(data: &mut Data, model: &dyn Model) -> Result<Parts, Error> {
    let Some(shape) = &data.sample_shape else {
        return Err(Error::usage(
            "data.sample_shape is missing; random data needs it, such as [3, 224, 224] for pictures or [128] for tokens",
        ));
    };
    let said = |number: Option<usize>, what: &str| {
        let number = number.filter(|&number| number > 0);
        number
            .ok_or_else(|| Error::usage(format!("random data needs a model whose settings say how many {what} it has")))
    };
    let tokens = model.input_dtype() == DType::U32;
    let drawn = match model.language() {
        Some(_) => Drawn::NextTokens { vocabulary: said(model.vocabulary(), "tokens")? },
        None if tokens => Drawn::Tokens {
            vocabulary: said(model.vocabulary(), "tokens")?,
            classes: said(model.outputs(), "classes")?,
        },
        None => Drawn::Numbers { classes: said(model.outputs(), "outputs")?.max(2) },
    };
    Ok(Parts::one(draw(drawn, *data.samples.get_or_insert(ROWS), shape, data.seed.unwrap_or(0))?))
}
