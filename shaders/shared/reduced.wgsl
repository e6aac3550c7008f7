// Where the elements are that one output element is reduced from.

// The offset of reduced element `index` from the first one.
// The rank is the number of dimensions in use, at least 1; the outermost needs no division.
fn reduced_offset(index: u32) -> u32 {
    var rest = index;
    var offset = 0u;
    for (var dimension = parameters.reduced_rank - 1u; dimension > 0u; dimension--) {
        let size = parameters.reduced_sizes[dimension >> 2u][dimension & 3u];
        offset += (rest % size) * parameters.reduced_strides[dimension >> 2u][dimension & 3u];
        rest /= size;
    }
    return offset + rest * parameters.reduced_strides[0].x;
}
