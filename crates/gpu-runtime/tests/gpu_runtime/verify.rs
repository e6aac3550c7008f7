//! Every way in which a program can be refused before it runs, and what a refusal says.

use crate::common::{accumulate, launch, spec};
use gpu_runtime::{BufferId, BufferRole, Error, Limits, Memory, Output, Program, fold_groups};
use std::sync::Arc;

const LIMITS: Limits = Limits::WEBGPU_DEFAULT;

fn refusal(change: impl FnOnce(&mut Program)) -> Error {
    let mut program = accumulate(100);
    assert_eq!(program.verify(&LIMITS), Ok(()));
    change(&mut program);
    let error = program.verify(&LIMITS).expect_err("the program was changed for the worse");
    assert!(!error.to_string().is_empty());
    error
}

fn fault(change: impl FnOnce(&mut Program)) -> String {
    match refusal(change) {
        Error::Internal(message) => message,
        other => panic!("expected an internal error, got {other}"),
    }
}

#[test]
fn refuses_what_is_not_well_formed() {
    let cases: Vec<(&str, String)> = vec![
        ("uses kernel 2 of 2", fault(|program| program.launches[0].kernel = 2)),
        ("binds buffer 9 of 3", fault(|program| program.launches[0].windows[0] = BufferId(9).into())),
        ("gives 1 buffers to the 2", fault(|program| program.launches[0].windows.truncate(1))),
        ("\"x\" both for reading", fault(|program| program.launches[0].windows[1] = BufferId(0).into())),
        ("has 12 bytes of parameters", fault(|program| program.launches[0].parameters.truncate(12))),
        ("no workgroups in dimension 1", fault(|program| program.launches[1].groups[1] = 0)),
        ("\"scaled\" has 0 bytes", fault(|program| program.buffers[1].bytes = 0)),
        ("\"scaled\" has 401 bytes", fault(|program| program.buffers[1].bytes = 401)),
        (
            "has 3 bytes of data for 400",
            fault(|program| program.buffers[0].role = BufferRole::Constant(Arc::new([0; 3]))),
        ),
        ("writes the constant", fault(|program| program.buffers[1].role = BufferRole::Constant(Arc::new([0; 400])))),
        ("two buffers are the state", fault(|program| program.buffers[1].role = BufferRole::State("total".into()))),
        ("two buffers are the input", fault(|program| program.buffers[1].role = BufferRole::Input("x".into()))),
        ("bytes of parameters that don't fit", fault(|program| program.kernels[0].parameter_bytes = 0)),
        (
            "through two bindings",
            fault(|program| {
                let bindings = program.kernels[1].bindings.to_mut();
                bindings[0].kind = bindings[1].kind;
                program.launches[1].windows[0] = BufferId(2).into();
            }),
        ),
        (
            "binds Parameters twice",
            fault(|program| {
                let bindings = program.kernels[0].bindings.to_mut();
                bindings[3].kind = bindings[2].kind;
            }),
        ),
    ];
    for (wanted, message) in cases {
        assert!(message.contains(wanted), "expected {wanted:?} in: {message}");
    }
    let label = fault(|program| program.launches[0].kernel = 2);
    assert!(label.contains("model/scale#0"), "{label}");
}

#[test]
fn refuses_outputs_that_are_not_there() {
    let output = |buffer, bytes| Output { name: "y".to_string(), buffer: BufferId(buffer), bytes, streamed: false };
    for (outputs, wanted) in [
        (vec![output(3, 4)], "is buffer 3 of 3"),
        (vec![output(1, 404)], "takes 404 of the 400 bytes"),
        (vec![output(1, 0)], "takes 0"),
        (vec![output(1, 2)], "takes 2"),
        (vec![output(1, 4), output(2, 4)], "declared twice"),
    ] {
        let message = fault(|program| program.outputs = outputs);
        assert!(message.contains(wanted), "expected {wanted:?} in: {message}");
    }
}

#[test]
fn a_buffer_too_large_is_told_with_the_largest_ones() {
    let error = refusal(|program| {
        for size in [10, 20, 30, 40, 50, 60] {
            program.buffers.push(spec(&format!("other{size}"), size << 10, BufferRole::Slot));
        }
        program.buffers[1].bytes = LIMITS.max_buffer_bytes + 4;
    });
    let Error::TooLarge { label, bytes, limit, remedy, .. } = &error else {
        panic!("expected a size error, got {error}");
    };
    assert_eq!((label.as_str(), *bytes, *limit), ("scaled", (256 << 20) + 4, 256 << 20));
    assert!(remedy.contains("use a smaller batch"), "{remedy}");
    assert!(remedy.contains("scaled (268435460 bytes), other60 (61440 bytes), other50"), "{remedy}");
    assert!(remedy.contains("other30") && !remedy.contains("other20"), "five are listed: {remedy}");
}

#[test]
fn a_window_is_held_to_the_binding_and_its_buffer_is_not() {
    let limits = Limits { max_binding_bytes: 256, ..LIMITS };
    let bind = |number: usize, offset: u64, bytes: Option<u64>| {
        let mut program = accumulate(200); // 800 bytes each
        for launch in &mut program.launches {
            launch.windows.iter_mut().for_each(|window| window.bytes = Some(256));
        }
        let window = &mut program.launches[1].windows[number];
        (window.offset, window.bytes) = (offset, bytes);
        program
    };
    for (offset, bytes) in [(0, 256), (256, 4), (512, 256), (768, 32)] {
        assert_eq!(bind(1, offset, Some(bytes)).verify(&limits), Ok(()));
    }
    assert_eq!(bind(1, 768, None).verify(&limits), Ok(()), "the rest of the buffer is 32 bytes");
    let Err(Error::TooLarge { label, bytes: 260, limit: 256, what, remedy }) = bind(1, 0, Some(260)).verify(&limits)
    else {
        panic!("260 bytes were bound");
    };
    assert_eq!((label.as_str(), what), ("total", "the largest storage binding"));
    assert!(remedy.contains("model/add_to#1") && remedy.contains("smaller batch"), "{remedy}");
    assert!(matches!(bind(1, 512, None).verify(&limits), Err(Error::TooLarge { bytes: 288, .. })));
    for (offset, bytes, why) in [
        (128, Some(128), "[128..256] of the 800 bytes of \"total\": it must begin at a multiple of 256"),
        (768, Some(36), "end where the buffer does"),
        (1024, Some(4), "end where the buffer does"),
        (1024, None, "above 0"),
        (0, Some(0), "above 0"),
        (0, Some(6), "a multiple of 4"),
        (u64::MAX - 255, Some(256), "end where the buffer does"),
    ] {
        match bind(1, offset, bytes).verify(&limits) {
            Err(Error::Internal(message)) => assert!(message.contains(why), "expected {why:?} in: {message}"),
            other => panic!("{offset} {bytes:?} gave {other:?}"),
        }
    }
    let fine = Limits { storage_alignment: 64, ..limits };
    assert_eq!(bind(1, 64, Some(256)).verify(&fine), Ok(()));
    // Two windows of one buffer that don't meet are still one buffer.
    let mut program = bind(0, 256, Some(256));
    program.launches[1].windows[0].buffer = BufferId(2);
    assert!(matches!(program.verify(&limits), Err(Error::Internal(message)) if message.contains("both for reading")));
}

#[test]
fn refuses_what_the_device_cannot_do() {
    let program = accumulate(100);
    let limited = |limits: Limits| match program.verify(&limits) {
        Err(Error::LaunchLimit { what, needed, limit, .. }) => (what, needed, limit),
        other => panic!("expected a limit, got {other:?}"),
    };
    assert_eq!(limited(Limits { max_storage_buffers_per_stage: 1, ..LIMITS }), ("storage buffers", 2, 1));
    assert_eq!(limited(Limits { max_invocations: 63, ..LIMITS }), ("invocations per workgroup", 64, 63));
    let mut memory = accumulate(100);
    memory.kernels[0].workgroup_bytes = 16_400;
    let error = memory.verify(&LIMITS).unwrap_err();
    assert!(matches!(error, Error::LaunchLimit { needed: 16_400, limit: 16_384, .. }), "{error}");
    let matmul = gpu_runtime::shader("matmul").unwrap();
    assert_eq!(matmul.workgroup_bytes, 8192, "two tiles of 256 vectors");
    let groups = refusal(|program| program.launches[0].groups = [1, 65_536, 1]);
    assert!(matches!(groups, Error::LaunchLimit { needed: 65_536, limit: 65_535, .. }), "{groups}");
    let mut long = accumulate(100);
    long.launches[0].iterations = 100;
    assert_eq!(long.verify(&LIMITS), Ok(()));
    let error = long.verify(&Limits { max_loop_iterations: Some(99), ..LIMITS }).unwrap_err();
    assert!(matches!(error, Error::LaunchLimit { needed: 100, limit: 99, .. }), "{error}");
    // Three buffers of 400 bytes, one parameter block and the block of step scalars.
    let bytes = program.memory(&LIMITS).peak();
    assert_eq!(bytes, 1200 + 256 + 64);
    let exact = Limits { memory_budget: Some(bytes), ..LIMITS };
    assert_eq!(program.verify(&exact), Ok(()));
    let tight = Limits { memory_budget: Some(bytes - 1), ..LIMITS };
    let error = program.verify(&tight).unwrap_err();
    assert!(matches!(error, Error::OverBudget { bytes: 1520, budget: 1519, .. }), "{error}");
    assert!(error.to_string().contains("largest buffers: x (400 bytes)"), "{error}");
}

#[test]
fn folded_groups_cover_the_count_within_the_limit() {
    for count in [0u64, 1, 5, 65_535, 65_536, 65_537, 131_071, 1 << 20, 123_456_789, 65_535 * 65_535] {
        let [x, y, z] = fold_groups(count);
        let allowed = 1..=65_535;
        assert!(allowed.contains(&x) && allowed.contains(&y) && z == 1, "{count}: {x} {y} {z}");
        let covered = u64::from(x) * u64::from(y);
        assert!(covered >= count && covered < count.max(1) + u64::from(y), "{count}: {covered}");
    }
    assert_eq!(fold_groups(65_535), [65_535, 1, 1]);
    let [_, rows, _] = fold_groups(u64::MAX);
    assert!(rows > 65_535, "an impossible count must be refused by verify, not wrapped");
}

#[test]
fn sums_operations_and_memory() {
    let mut program = accumulate(100);
    program.launches[0].flops = 200;
    program.buffers.push(spec("table", 12, BufferRole::Constant(Arc::new([0; 12]))));
    program.launches.push(launch("model/scale#2", 0, &[0, 1], program.launches[0].parameters.clone(), [2, 1, 1]));
    for bytes in [8, 4] {
        program.outputs.push(Output { name: format!("y{bytes}"), buffer: BufferId(2), bytes, streamed: true });
    }
    assert_eq!(program.flops(), 200);
    let memory = program.memory(&LIMITS);
    let expected = Memory {
        states: 400,
        inputs: 400,
        constants: 12,
        slots: 400,
        // Blocks begin at multiples of 256 bytes and are bound as if they were that long.
        parameters: 512,
        step_block: 64,
        // The second output begins at a multiple of 256 bytes too, in each of four parts.
        staging: 4 * (256 + 4),
    };
    assert_eq!(memory, expected);
    assert_eq!((memory.own(), memory.peak()), (400 + 12 + 400 + 512 + 64, 400 + 400 + 12 + 400 + 512 + 64));
    // Closer blocks need less, but each is bound with 256 bytes.
    let close = program.memory(&Limits { uniform_alignment: 32, ..LIMITS });
    assert_eq!(close.parameters, 32 + 256);
}
