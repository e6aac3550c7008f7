// e^difference for a difference that is not positive: 0 for −∞, which an approximation may miss.
fn exponential(difference: f32) -> f32 {
    return select(exp(difference), 0.0, difference < -87.0);
}
