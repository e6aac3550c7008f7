// One element of the gradient of cross-entropy.

fn gradient(index: u32, logit: f32) -> f32 {
    let columns = parameters.columns;
    let row = index / columns;
    let column = index % columns;
    let class_number = targets[parameters.targets_offset + row];
    if (is_ignored(class_number)) {
        return 0.0;
    }
    let place = parameters.statistics_offset + 2u * row;
    let largest = statistics[place];
    let own = own_weight(min(class_number, columns - 1u));
    var probability = exponential(logit - largest) / statistics[place + 1u];
    var wanted = select(0.0, own, column == class_number);
    if (WEIGHTED == 1u) {
        var all = own;
        if (SMOOTHING == 1u) {
            all += parameters.each * weight_of_all(columns);
        }
        probability *= all;
    }
    if (SMOOTHING == 1u) {
        wanted += parameters.each * weight_of(column);
    }
    let value = (probability - wanted) * dloss[parameters.dloss_offset + row];
    return select(not_a_number(), value, class_number < columns && is_finite(largest));
}
