// How much classes count in a cross-entropy.

// Whether rows of this class count for nothing.
fn is_ignored(class_number: u32) -> bool {
    return IGNORING == 1u && class_number == parameters.ignored;
}

fn weight_of(class_number: u32) -> f32 {
    if (WEIGHTED == 1u) {
        return weight[parameters.weight_offset + class_number];
    }
    return 1.0;
}

// What a row's own class counts beside what all classes count.
fn own_weight(class_number: u32) -> f32 {
    return parameters.confidence * weight_of(class_number);
}

// The sum of the weights of so many classes.
fn weight_of_all(columns: u32) -> f32 {
    if (WEIGHTED == 1u) {
        return total[parameters.total_offset];
    }
    return f32(columns);
}
