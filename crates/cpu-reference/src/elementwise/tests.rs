//! Tests of the block runner against plain loops.

use super::*;
use crate::testing::{assert_same_bits, dot, indices, values};

// An input that is the same everywhere is a stretch, to be read again and again.
fn add(inputs: &[&[u8]], output: &mut [u8], _: usize, _: &Ahead) {
    let (a, b) = (floats(inputs[0]), floats(inputs[1]));
    for ((out, a), b) in
        bytemuck::cast_slice_mut::<u8, f32>(output).iter_mut().zip(a.iter().cycle()).zip(b.iter().cycle())
    {
        *out = a + b;
    }
}

fn multiply(inputs: &[&[u8]], output: &mut [u8], _: usize, _: &Ahead) {
    let (a, b) = (floats(inputs[0]), floats(inputs[1]));
    for ((out, a), b) in
        bytemuck::cast_slice_mut::<u8, f32>(output).iter_mut().zip(a.iter().cycle()).zip(b.iter().cycle())
    {
        *out = a * b;
    }
}

fn index(_: &[&[u8]], output: &mut [u8], first_index: usize, _: &Ahead) {
    for (place, out) in bytemuck::cast_slice_mut::<u8, f32>(output).iter_mut().enumerate() {
        *out = (first_index + place) as f32;
    }
}

fn widen(inputs: &[&[u8]], output: &mut [u8], _: usize, _: &Ahead) {
    let input = bytemuck::cast_slice::<u8, u16>(inputs[0]);
    for (out, input) in bytemuck::cast_slice_mut::<u8, f64>(output).iter_mut().zip(input) {
        *out = f64::from(*input);
    }
}

fn floats(bytes: &[u8]) -> &[f32] {
    bytemuck::cast_slice(bytes)
}

fn instruction(function: BlockFunction, inputs: &[Source], destination: Destination) -> Instruction {
    Instruction { function, inputs: inputs.to_vec(), destination }
}

/// Outputs (a + b)·c and (a + b)·c + index.
fn sample() -> BlockProgram {
    BlockProgram {
        registers: vec![4, 4],
        instructions: vec![
            instruction(add, &[Source::Input(0), Source::Input(1)], Destination::Register(0)),
            instruction(multiply, &[Source::Register(0), Source::Input(2)], Destination::Output(0)),
            instruction(index, &[], Destination::Register(1)),
            instruction(add, &[Source::Output(0), Source::Register(1)], Destination::Output(1)),
        ],
        input_bytes: vec![4; 3],
        output_bytes: vec![4; 2],
    }
}

fn run_sample(sizes: &[usize], views: [(&[f32], &[usize], usize); 3]) -> [Vec<f32>; 2] {
    let count: usize = sizes.iter().product();
    let (mut first, mut second) = (vec![0f32; count], vec![0f32; count]);
    let inputs = views.map(|(values, strides, offset)| BlockInput {
        bytes: InputBytes::Slice(bytemuck::cast_slice(values)),
        strides,
        offset,
    });
    run(&sample(), sizes, &inputs, &mut [bytemuck::cast_slice_mut(&mut first), bytemuck::cast_slice_mut(&mut second)]);
    [first, second]
}

#[test]
fn strided_and_broadcast_inputs_agree_with_a_plain_loop() {
    let data: Vec<f32> = values(200_000, 1);
    let cases: [(&[usize], [&[usize]; 3]); 9] = [
        (&[], [&[], &[], &[]]),
        (&[1], [&[1], &[0], &[7]]),
        (&[1023], [&[1], &[0], &[3]]),
        (&[1024], [&[1], &[2], &[0]]),
        (&[1025], [&[0], &[1], &[1]]),
        (&[33, 65], [&[65, 1], &[0, 1], &[1, 0]]),
        (&[7, 3, 1, 500], [&[1500, 500, 9, 1], &[1, 7, 0, 21], &[0, 1, 0, 3]]),
        (&[200, 301], [&[301, 1], &[1, 200], &[0, 0]]),
        (&[3, 20_000], [&[20_000, 1], &[1, 3], &[1, 0]]),
    ];
    for (sizes, strides) in cases {
        let offsets = [0, 5, 11];
        let views = [0, 1, 2].map(|view| (&data[..], strides[view], offsets[view]));
        let [first, second] = run_sample(sizes, views);
        for (place, index) in indices(sizes).iter().enumerate() {
            let [a, b, c] = [0, 1, 2].map(|view| data[offsets[view] + dot(index, strides[view])]);
            assert_eq!(first[place], (a + b) * c, "{sizes:?} {index:?}");
            assert_eq!(second[place], (a + b) * c + place as f32);
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let data: Vec<f32> = values(400_000, 2);
    assert_same_bits(|| {
        let [first, second] =
            run_sample(&[400, 251], [(&data, &[251, 1], 0), (&data, &[1, 400], 3), (&data, &[0, 1], 9)]);
        [first, second].concat()
    });
}

#[test]
fn an_input_in_place_is_read_before_it_is_overwritten() {
    // The program writes the output first and reads the input afterwards.
    let program = BlockProgram {
        registers: vec![],
        instructions: vec![
            instruction(index, &[], Destination::Output(0)),
            instruction(add, &[Source::Output(0), Source::Input(0)], Destination::Output(1)),
        ],
        input_bytes: vec![4],
        output_bytes: vec![4, 4],
    };
    let count = 50_001;
    let before: Vec<f32> = values(count, 3);
    let (mut first, mut second) = (before.clone(), vec![0f32; count]);
    run(
        &program,
        &[count],
        &[BlockInput { bytes: InputBytes::InPlaceOf(0), strides: &[1], offset: 0 }],
        &mut [bytemuck::cast_slice_mut(&mut first), bytemuck::cast_slice_mut(&mut second)],
    );
    for place in 0..count {
        assert_eq!(first[place], place as f32);
        assert_eq!(second[place], before[place] + place as f32);
    }
}

#[test]
fn element_sizes_of_two_and_eight_bytes_are_gathered() {
    let program = BlockProgram {
        registers: vec![],
        instructions: vec![instruction(widen, &[Source::Input(0)], Destination::Output(0))],
        input_bytes: vec![2],
        output_bytes: vec![8],
    };
    let data: Vec<u16> = (0..6000).collect();
    let (rows, columns) = (50, 120);
    for strides in [[120, 1], [1, 50], [0, 1], [1, 0], [0, 0]] {
        let mut output = vec![0f64; rows * columns];
        run(
            &program,
            &[rows, columns],
            &[BlockInput { bytes: InputBytes::Slice(bytemuck::cast_slice(&data)), strides: &strides, offset: 0 }],
            &mut [bytemuck::cast_slice_mut(&mut output)],
        );
        for row in 0..rows {
            for column in 0..columns {
                let expected = data[row * strides[0] + column * strides[1]];
                assert_eq!(output[row * columns + column], f64::from(expected));
            }
        }
    }
}

#[test]
#[should_panic(expected = "internal: an elementwise input reaches element")]
fn a_view_beyond_its_slice_is_refused() {
    let data = [0f32; 9];
    run_sample(&[10], [(&data, &[1], 0), (&data, &[0], 0), (&data, &[0], 0)]);
}

#[test]
#[should_panic(expected = "internal: an elementwise instruction")]
fn an_instruction_that_reads_its_own_destination_is_refused() {
    let program = BlockProgram {
        registers: vec![4],
        instructions: vec![instruction(index, &[Source::Register(0)], Destination::Register(0))],
        ..BlockProgram::default()
    };
    run(&program, &[1], &[], &mut []);
}
