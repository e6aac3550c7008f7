// Rows of a tile whose columns lie scattered in `result`: reading them to go on from, and writing them. A row is one
// channel of `area` elements among so many; `places` are the columns' places in the first channel.

fn read_row(row: u32, rows: u32, area: u32, places: vec4<u32>, inside: vec4<bool>) -> vec4<f32> {
    var values = vec4<f32>();
    if (row >= rows) {
        return values;
    }
    let start = row * area;
    if (inside.x) {
        values.x = result[start + places.x];
    }
    if (inside.y) {
        values.y = result[start + places.y];
    }
    if (inside.z) {
        values.z = result[start + places.z];
    }
    if (inside.w) {
        values.w = result[start + places.w];
    }
    return values;
}

fn write_row(row: u32, rows: u32, area: u32, places: vec4<u32>, inside: vec4<bool>, values: vec4<f32>) {
    if (row >= rows) {
        return;
    }
    let start = row * area;
    if (inside.x) {
        result[start + places.x] = values.x;
    }
    if (inside.y) {
        result[start + places.y] = values.y;
    }
    if (inside.z) {
        result[start + places.z] = values.z;
    }
    if (inside.w) {
        result[start + places.w] = values.w;
    }
}
