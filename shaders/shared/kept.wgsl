// Where a reduction's output element is, and where what it is reduced from begins.

// The input's and the output's offset of kept element `index`, without those of the whole tensors. The rank is the
// number of dimensions in use, at least 1; the outermost needs no division.
fn kept_places(index: u32) -> vec2<u32> {
    var rest = index;
    var places = vec2<u32>();
    for (var dimension = parameters.kept_rank - 1u; dimension > 0u; dimension--) {
        let size = parameters.kept_sizes[dimension >> 2u][dimension & 3u];
        let input_stride = parameters.kept_strides[dimension >> 2u][dimension & 3u];
        let output_stride = parameters.output_strides[dimension >> 2u][dimension & 3u];
        places += (rest % size) * vec2<u32>(input_stride, output_stride);
        rest /= size;
    }
    return places + rest * vec2<u32>(parameters.kept_strides[0].x, parameters.output_strides[0].x);
}
