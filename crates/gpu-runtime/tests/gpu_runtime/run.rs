//! Plans on a device: order of launches, streamed results, what is made when, and refusals by the driver.

use crate::common::{SCALE, accumulate, bytes, device, floats, fresh_device, kernel, launch, spec, step};
use gpu_runtime::{BufferId, BufferRole, Error, Output, Plan, Program, Window, fold_groups};
use std::collections::HashMap;
use std::sync::Arc;

fn output(name: &str, buffer: usize, bytes: u64, streamed: bool) -> Output {
    Output { name: name.to_string(), buffer: BufferId(buffer), bytes, streamed }
}

#[test]
fn streams_results_in_order_and_makes_nothing_after_the_second_run() {
    let Some(device) = fresh_device() else { return };
    let mut program = accumulate(3);
    program.outputs = vec![output("total", 2, 12, true), output("scaled", 1, 8, true), output("x", 0, 12, false)];
    let states = HashMap::from([("total".to_string(), device.buffer("total", 12).unwrap())]);
    let mut plan = Plan::new(&device, Arc::new(program), &states).unwrap();
    let mut expected = [0.0f32; 3];
    let mut results = Vec::new();
    let mut wanted = Vec::new();
    let mut counters = Vec::new();
    for run in 0..11u32 {
        let x = [run as f32, 0.5, -1.0];
        plan.write_input("x", &bytes(&x)).unwrap();
        assert_eq!(plan.run(&step(run as f32 * 10.0)).unwrap(), u64::from(run));
        let scaled = x.map(|value| 2.0 * value + run as f32 * 10.0);
        for (total, add) in expected.iter_mut().zip(scaled) {
            *total += add;
        }
        wanted.push((u64::from(run), vec![bytes(&expected), bytes(&scaled[..2])]));
        if run >= 7 {
            results.extend(plan.results(false).unwrap());
        }
        counters.push(device.counters());
    }
    results.extend(plan.results(true).unwrap());
    assert_eq!(results, wanted);
    assert_eq!(plan.results(true).unwrap(), vec![]);
    assert_eq!(floats(&plan.read_output("x").unwrap()), [10.0, 0.5, -1.0]);
    let (second, last) = (counters[1], counters[10]);
    assert_eq!(last.submits, second.submits + 9, "one submit a run");
    assert_eq!(gpu_runtime::Counters { submits: second.submits, ..last }, second);
    assert!(second.buffers_created >= 8 && second.bind_groups_created == 2 && second.pipelines_created == 2);
}

#[test]
fn memory_is_what_was_told_and_shared_states_count_once() {
    let Some(device) = fresh_device() else { return };
    let alive = || device.counters().bytes_alive;
    let empty = Plan::new(&device, Arc::new(Program::default()), &HashMap::new()).unwrap();
    assert_eq!(alive(), Program::default().memory(device.limits()).peak());
    drop(empty);
    let states = HashMap::from([("total".to_string(), device.buffer("total", 400).unwrap())]);
    let mut told = 400;
    let mut plans = Vec::new();
    for streamed in [0, 8, 400] {
        let mut program = accumulate(100);
        program.outputs = vec![output("total", 2, streamed.max(4), streamed > 0)];
        let memory = program.memory(device.limits());
        assert_eq!(memory.staging, 4 * streamed);
        told += memory.own();
        plans.push(Plan::new(&device, Arc::new(program), &states).unwrap());
        assert_eq!(alive(), told, "{streamed} bytes come back from each run");
        let plan = plans.last_mut().unwrap();
        for _ in 0..5 {
            plan.run(&[0; 16]).unwrap();
        }
        plan.results(true).unwrap();
        assert_eq!(alive(), told, "after runs");
    }
}

#[test]
fn a_folded_grid_covers_every_element() {
    let Some(device) = device() else { return };
    let text = "
@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1)
fn number(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let flat = id.y * groups.x + id.x;
    if (flat < arrayLength(&y)) { y[flat] = y[flat] + flat + 1u; }
}
";
    let count = 65_535 + 1_234u64;
    let program = Program {
        kernels: vec![kernel("number", text)],
        buffers: vec![spec("y", 4 * count, BufferRole::Slot)],
        launches: vec![launch("number#0", 0, &[0], vec![], fold_groups(count))],
        outputs: vec![output("y", 0, 4 * count, false)],
    };
    let mut plan = Plan::new(&device, Arc::new(program), &HashMap::new()).unwrap();
    plan.run(&[0; 16]).unwrap();
    let found = plan.read_output("y").unwrap();
    let right = (1..=count as u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    assert!(found == right, "some element was missed or met twice");
}

#[test]
fn a_launch_sees_its_windows_only() {
    let Some(device) = device() else { return };
    let mut program = accumulate(200);
    program.outputs = vec![output("total", 2, 800, false)];
    // total[64..128] += scaled[128..192]: the kernel takes its count from the window.
    let [from, to] =
        [(1, 512), (2, 256)].map(|(buffer, offset)| Window { offset, bytes: Some(256), ..BufferId(buffer).into() });
    program.launches[1].windows = vec![from, to];
    let total = device.buffer("total", 800).unwrap();
    let mut plan = Plan::new(&device, Arc::new(program), &HashMap::from([("total".to_string(), total)])).unwrap();
    let x: Vec<f32> = (0..200).map(|index| index as f32).collect();
    plan.write_input("x", &bytes(&x)).unwrap();
    plan.run(&[0; 16]).unwrap();
    let right: Vec<f32> =
        (0..200).map(|index| if (64..128).contains(&index) { 2.0 * (index + 64) as f32 } else { 0.0 }).collect();
    assert_eq!(floats(&plan.read_output("total").unwrap()), right);
}

#[test]
fn a_bad_shader_is_an_error_that_names_it() {
    let Some(device) = fresh_device() else { return };
    let states = HashMap::from([("total".to_string(), device.buffer("total", 12).unwrap())]);
    let refuse = |change: &dyn Fn(&mut Program), name: &str| {
        let mut program = accumulate(3);
        change(&mut program);
        let error = Plan::new(&device, Arc::new(program), &states).expect_err("a fault was put in");
        assert!(matches!(error, Error::Device { .. }), "{error:?}");
        assert!(error.to_string().contains(name), "expected {name:?} in: {error}");
    };
    refuse(&|program| program.kernels[0].source = SCALE.replace("y[id.x] =", "y[id.x] +").into(), "kernel \"scale\"");
    refuse(&|program| program.kernels[0].source = SCALE.replace("array<f32>", "array<f99>").into(), "f99");
    refuse(&|program| program.kernels[0].source = SCALE.replace("fn scale", "fn other").into(), "kernel \"scale\"");
    // The kernel claims that it only reads what its text writes.
    let swapped = |program: &mut Program| program.kernels[0].bindings.to_mut().swap(0, 1);
    refuse(&swapped, "kernel \"scale\"");
    // Layouts promise elements of four bytes.
    let wide = |program: &mut Program| {
        program.kernels[1].source = program.kernels[1].source.replace("array<f32>", "array<vec4<f32>>").into();
    };
    refuse(&wide, "kernel \"add_to\"");
    // The device is as good as before.
    let mut plan = Plan::new(&device, Arc::new(accumulate(3)), &states).unwrap();
    plan.run(&[0; 16]).unwrap();
    assert_eq!(plan.results(true).unwrap(), vec![(0, vec![])]);
}

#[test]
fn inputs_outputs_and_states_are_checked_by_name_and_length() {
    let Some(device) = device() else { return };
    let total = device.buffer("total", 12).unwrap();
    let error = Plan::new(&device, Arc::new(accumulate(3)), &HashMap::new()).unwrap_err();
    assert!(matches!(&error, Error::UnknownName { what: "state", name, .. } if name == "total"), "{error}");
    let wrong = HashMap::from([("total".to_string(), device.buffer("total", 16).unwrap())]);
    let error = Plan::new(&device, Arc::new(accumulate(3)), &wrong).unwrap_err();
    assert!(matches!(error, Error::WrongLength { what: "state", expected: 12, given: 16, .. }), "{error}");
    let states = HashMap::from([("total".to_string(), total)]);
    let plan = Plan::new(&device, Arc::new(accumulate(3)), &states).unwrap();
    let error = plan.write_input("x", &[0; 11]).unwrap_err();
    assert!(matches!(error, Error::WrongLength { expected: 12, given: 11, .. }), "{error}");
    let error = plan.write_input("y", &[0; 12]).unwrap_err();
    assert!(error.to_string().contains("no input is named \"y\"; there are: x"), "{error}");
    let error = plan.read_output("loss").unwrap_err();
    assert!(error.to_string().contains("no output is named \"loss\"; there are: none"), "{error}");
}

#[test]
fn a_constant_is_there_in_every_run_and_slots_begin_with_zeros() {
    let Some(device) = device() else { return };
    let mut program = accumulate(3);
    program.buffers[0] = spec("ones", 12, BufferRole::Constant(bytes(&[1.0, 2.0, 3.0]).into()));
    program.buffers[2] = spec("sum", 12, BufferRole::Slot);
    program.outputs = vec![output("sum", 2, 12, true)];
    let mut plan = Plan::new(&device, Arc::new(program), &HashMap::new()).unwrap();
    for _ in 0..3 {
        plan.run(&[0; 16]).unwrap();
    }
    let sums: Vec<Vec<f32>> = plan.results(true).unwrap().iter().map(|(_, outputs)| floats(&outputs[0])).collect();
    assert_eq!(sums, [[2.0, 4.0, 6.0], [4.0, 8.0, 12.0], [6.0, 12.0, 18.0]]);
}

#[test]
fn a_program_without_launches_runs() {
    let Some(device) = device() else { return };
    let program = Program {
        buffers: vec![spec("x", 8, BufferRole::Input("x".to_string()))],
        outputs: vec![output("x", 0, 8, true)],
        ..Program::default()
    };
    let mut plan = Plan::new(&device, Arc::new(program), &HashMap::new()).unwrap();
    plan.write_input("x", &bytes(&[1.0, f32::NAN])).unwrap();
    plan.run(&[0; 16]).unwrap();
    assert_eq!(plan.results(true).unwrap(), vec![(0, vec![bytes(&[1.0, f32::NAN])])]);
}

#[test]
fn every_hand_written_shader_becomes_a_pipeline() {
    let Some(device) = fresh_device() else { return };
    let program = Program { kernels: gpu_runtime::shaders().to_vec(), ..Program::default() };
    Plan::new(&device, Arc::new(program), &HashMap::new()).unwrap();
    assert_eq!(device.counters().pipelines_created, gpu_runtime::shaders().len() as u64);
}

#[test]
fn objects_may_move_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<gpu_runtime::Device>();
    shared::<gpu_runtime::Buffer>();
    shared::<Plan>();
}

#[test]
fn threads_that_share_a_device_all_get_their_answers() {
    let Some(device) = device() else { return };
    let work = |streamed: bool| {
        let mut program = accumulate(100);
        program.outputs = vec![output("total", 2, 400, streamed)];
        let states = HashMap::from([("total".to_string(), device.buffer("total", 400).unwrap())]);
        let mut plan = Plan::new(&device, Arc::new(program), &states).unwrap();
        for run in 0..300 {
            assert_eq!(plan.run(&step(1.0)), Ok(run));
            if run % 3 == 0 {
                plan.results(true).unwrap();
                plan.read_output("total").unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let work = &work;
            scope.spawn(move || work(thread % 2 == 0));
        }
    });
}
