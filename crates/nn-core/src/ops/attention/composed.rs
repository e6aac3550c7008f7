//! Attention by plain operators, and the gradient of its gradient.

use super::Settings;
use crate::Error;
use crate::graph::{Backward, Value};
use crate::tensor::Tensor;
use cpu_reference::AttentionSizes;

/// Scores below this are those of keys that are not seen.
const LOWEST: f32 = -3.0e38;

/// Where a query stands among the keys, and where each key stands: `(queries, 1)` and `(1, keys)`.
fn places(beside: Value, sizes: &AttentionSizes) -> Result<[Value; 2], Error> {
    let before = sizes.keys as i32 - sizes.queries as i32;
    let rows: Vec<i32> = (0..sizes.queries as i32).map(|row| row + before).collect();
    let columns: Vec<i32> = (0..sizes.keys as i32).collect();
    let trace = beside.recorder();
    Ok([
        trace.constant(&Tensor::from_i32([sizes.queries, 1], &rows)?),
        trace.constant(&Tensor::from_i32([1, sizes.keys], &columns)?),
    ])
}

/// `(batch, rows, heads, size)` as `(batch, groups, heads of a group, rows, size)`.
fn grouped(x: Value, groups: usize) -> Value {
    let shape = x.shape();
    x.reshape([shape[0], shape[1], groups, shape[2] / groups, shape[3]]).permute(&[0, 2, 3, 1, 4])
}

/// The other way, where `x` belongs to heads of queries; heads of a group are added up if keys have fewer.
fn ungrouped(x: Value, heads: usize) -> Value {
    let shape = x.shape();
    let x = if shape[1] == heads && shape[2] > 1 {
        x.sum(&[2]).reshape([shape[0], heads, 1, shape[3], shape[4]])
    } else {
        x
    };
    x.permute(&[0, 3, 1, 2, 4]).reshape([shape[0], shape[3], heads, shape[4]])
}

/// The weights before dropout, `(batch, heads, queries, keys)`.
fn weights(
    settings: &Settings,
    sizes: &AttentionSizes,
    [query, key]: [Value; 2],
    mask: Option<Value>,
    slopes: Option<Value>,
) -> Result<Value, Error> {
    let AttentionSizes { batch, queries, keys, heads, groups, .. } = *sizes;
    let full = [batch, heads, queries, keys];
    let products = grouped(query, groups).matmul(grouped(key, groups).transpose());
    let mut scores = products.reshape(full) * settings.scale;
    let [rows, columns] = places(query, sizes)?;
    if let Some(mask) = mask {
        scores = scores + mask;
    }
    if let Some(slopes) = slopes {
        let distance = (rows - columns).to_f32().abs();
        scores = scores - slopes.reshape([heads, 1, 1]) * distance;
    }
    let unseen = scores.full_like(f32::NEG_INFINITY);
    if settings.causal {
        scores = columns.less_equal(rows).select(scores, unseen);
    }
    if let Some(window) = settings.window {
        let window = query.recorder().constant(&Tensor::from_i32([], &[window.min(i32::MAX as usize) as i32])?);
        scores = (rows - columns).less(window).select(scores, unseen);
    }
    // Rows of which nothing is seen have no softmax.
    let blind = scores.max(&[3]).reshape([batch, heads, queries, 1]).less(LOWEST);
    let scores = blind.select(scores.zeros_like(), scores);
    let weights = scores.softmax(3);
    Ok(blind.select(weights.zeros_like(), weights))
}

/// The whole of attention.
pub(super) fn attention(
    settings: &Settings,
    sizes: &AttentionSizes,
    [query, key, value]: [Value; 3],
    mask: Option<Value>,
    slopes: Option<Value>,
) -> Result<Value, Error> {
    let AttentionSizes { batch, queries, keys, heads, groups, .. } = *sizes;
    let mut weights = weights(settings, sizes, [query, key], mask, slopes)?;
    if settings.dropout > 0.0 {
        weights = weights.dropout(settings.dropout, settings.stream);
    }
    let weights = weights.reshape([batch, groups, heads / groups, queries, keys]);
    Ok(ungrouped(weights.matmul(grouped(value, groups)), heads))
}

/// The gradient rule of the gradient, by plain operators.
///
/// With weights P, dropout's factors M, Z = dy·vᵀ, W = Z∘M, D the sums of rows of P∘W and dS = P∘(W − D), the gradient is
/// dq = scale·dS·k, dk = scale·dSᵀ·q, dv = (P∘M)ᵀ·dy. Of its rows' sums and logarithms nothing is asked: they depend on the
/// other inputs, and that is counted here.
pub(super) fn second_gradient(settings: &Settings, backward: &Backward<'_>) -> Vec<Option<Value>> {
    let [dy, query, key, value, rows] = [0, 1, 2, 3, 4].map(|place| backward.inputs[place]);
    let none = || vec![None; backward.inputs.len() - 4];
    let Ok(sizes) = super::sizes(&query.shape(), &key.shape(), &value.shape()) else { return none() };
    let AttentionSizes { batch, queries, keys, heads, groups, .. } = sizes;
    let share = heads / groups;
    let slopes = settings.sloped.then(|| rows.slice(&[0, 0, 0, 2], [1, 1, heads, 1]).reshape([heads]));
    let mask = if settings.masked { backward.inputs.get(5).copied() } else { None };
    let tiles = [batch, groups, share, queries, keys];
    let weights = match weights(settings, &sizes, [query, key], mask, slopes) {
        Ok(weights) => weights.reshape(tiles),
        Err(error) => {
            query.recorder().fail(super::NAMES[1], error.to_string());
            return none();
        }
    };
    let factors = (settings.dropout > 0.0).then(|| {
        let ones = weights.reshape([batch, heads, queries, keys]).full_like(1.0);
        ones.dropout(settings.dropout, settings.stream).reshape(tiles)
    });
    let dropped = |x: Value| factors.map_or(x, |factors| x * factors);
    let gradient = |place: usize| {
        let like = backward.inputs[place + 1];
        grouped(backward.gradients[place].unwrap_or_else(|| like.zeros_like()), groups)
    };
    let [uq, uk, uv] = [0, 1, 2].map(gradient);
    let [dy, query, key, value] = [dy, query, key, value].map(|x| grouped(x, groups));
    let scale = settings.scale;
    let sums = |x: Value| x.sum(&[4]).reshape([batch, groups, share, queries, 1]);
    let of_weights = dropped(dy.matmul(value.transpose()));
    let differences = of_weights - sums(weights * of_weights);
    let of_scores = weights * differences;
    // The loss by dS, then by W, P and the scores.
    let by_scores = (uq.matmul(key.transpose()) + query.matmul(uk.transpose())) * scale;
    let mean = sums(weights * by_scores);
    let by_products = dropped(weights * (by_scores - mean));
    let by_weights = by_scores * differences - mean * of_weights + dropped(dy.matmul(uv.transpose()));
    let again = weights * (by_weights - sums(weights * by_weights));
    let to_dy = dropped(weights).matmul(uv) + by_products.matmul(value);
    let to_query = (of_scores.matmul(uk) + again.matmul(key)) * scale;
    let to_key = (of_scores.transpose().matmul(uq) + again.transpose().matmul(query)) * scale;
    let to_value = by_products.transpose().matmul(dy);
    let of_heads = [to_dy, to_query].map(|x| Some(ungrouped(x, heads)));
    let of_keys = [to_key, to_value].map(|x| Some(ungrouped(x, groups)));
    of_heads.into_iter().chain(of_keys).chain(none()).collect()
}
