// The order of sorted rows, as whole numbers: the bits of f32 as numbers that compare as the reals do, whatever a device
// makes of denormal numbers. Both zeros are equal; NaN is larger than all, and equal to itself.

const DESCENDING: u32 = 0u; // 1: the largest first

fn order_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    var order = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
    if (magnitude == 0u) {
        order = 0x80000000u;
    }
    if (magnitude > 0x7f800000u) {
        order = 0xffffffffu;
    }
    return select(order, ~order, DESCENDING == 1u);
}
