// Where an invocation of a rotary embedding works, and how it turns a pair.

struct Place {
    batch: u32,
    position: u32,
    head: u32,
    number: u32, // of the pair, or beyond the pairs of an element that is not rotated
}

fn place_of(index: u32) -> Place {
    let each = parameters.size - parameters.pairs;
    let row = index / each;
    let position = row / parameters.heads;
    return Place(position / parameters.length, position % parameters.length, row % parameters.heads, index % each);
}

fn output_start(place: Place) -> u32 {
    return parameters.output_offset + place.batch * parameters.output_batch_stride
        + place.position * parameters.output_length_stride + place.head * parameters.size;
}

// The elements of a pair within their head.
fn elements_of(pair: u32) -> vec2<u32> {
    if (INTERLEAVED == 1u) {
        return vec2<u32>(2u * pair, 2u * pair + 1u);
    }
    return vec2<u32>(pair, pair + parameters.pairs);
}

fn turn(place: Place, pair: vec2<f32>) -> vec2<f32> {
    let angle = place.position * parameters.pairs + place.number;
    let c = cosine[parameters.cosine_offset + angle];
    let s = sine[parameters.sine_offset + angle] * parameters.direction;
    return vec2<f32>(pair.x * c - pair.y * s, pair.y * c + pair.x * s);
}
