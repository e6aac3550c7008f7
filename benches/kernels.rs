//! Throughput of single kernels: `cargo bench --bench kernels -- [device]` (default `cpu`).
//!
//! Each line gives the median of several groups of runs, in GFLOP/s for matrix products and convolutions and GB/s for the others
//! (bytes read and written at least once). On a GPU the runs of a group are queued and waited for once.

use nn_core::ops::Convolution;
use nn_core::passes::differentiate;
use nn_core::{DType, Device, Session, StepScalars, Tensor, Value, graph};
use std::time::Instant;

struct Bench {
    kernel: &'static str,
    shapes: &'static [&'static [usize]],
    build: fn(&[Value]) -> Value,
    /// Measured with the gradients of Σ y·x2 by these.
    gradients: Option<&'static [&'static str]>,
}

/// Sizes for the CPU and hardware GPUs; a software adapter takes the first of each kernel.
const BENCHES: &[Bench] = &[
    Bench { kernel: "matmul", shapes: &[&[256, 256], &[256, 256]], build: |x| x[0].matmul(x[1]), gradients: None },
    Bench { kernel: "matmul", shapes: &[&[512, 512], &[512, 512]], build: |x| x[0].matmul(x[1]), gradients: None },
    Bench { kernel: "matmul", shapes: &[&[1024, 1024], &[1024, 1024]], build: |x| x[0].matmul(x[1]), gradients: None },
    Bench {
        kernel: "matmul, right transposed",
        shapes: &[&[512, 512], &[512, 512]],
        build: |x| x[0].matmul(x[1].transpose()),
        gradients: None,
    },
    Bench {
        kernel: "a·b+c",
        shapes: &[&[1 << 20], &[1 << 20], &[1 << 20]],
        build: |x| x[0] * x[1] + x[2],
        gradients: None,
    },
    Bench {
        kernel: "a·b+c",
        shapes: &[&[1 << 24], &[1 << 24], &[1 << 24]],
        build: |x| x[0] * x[1] + x[2],
        gradients: None,
    },
    Bench { kernel: "gelu", shapes: &[&[1 << 20]], build: |x| x[0].gelu(), gradients: None },
    Bench { kernel: "sum of all", shapes: &[&[1 << 20]], build: |x| x[0].sum_all(), gradients: None },
    Bench { kernel: "sum of columns", shapes: &[&[1024, 1024]], build: |x| x[0].sum(&[0]), gradients: None },
    Bench { kernel: "softmax", shapes: &[&[1024, 1024]], build: |x| x[0].softmax(1), gradients: None },
    Bench { kernel: "softmax", shapes: &[&[4096, 1024]], build: |x| x[0].softmax(1), gradients: None },
    Bench {
        kernel: "moments of rows",
        shapes: &[&[4096, 1024]],
        build: |x| x[0].moments(&[1], 1e-5).variance,
        gradients: None,
    },
    Bench {
        kernel: "layer norm",
        shapes: &[&[4096, 1024], &[1024], &[1024]],
        build: |x| x[0].normalise(&[1], 1e-5, Some(x[1]), Some(x[2])),
        gradients: None,
    },
    Bench {
        kernel: "batch norm",
        shapes: &[&[32, 64, 56, 56], &[64, 1, 1], &[64, 1, 1]],
        build: |x| x[0].normalise(&[0, 2, 3], 1e-5, Some(x[1]), Some(x[2])),
        gradients: None,
    },
    Bench {
        kernel: "convolution",
        shapes: &[&[64, 1, 28, 28], &[32, 1, 3, 3]],
        build: |x| convolved(x, 1),
        gradients: None,
    },
    Bench {
        kernel: "convolution",
        shapes: &[&[64, 32, 14, 14], &[64, 32, 3, 3]],
        build: |x| convolved(x, 1),
        gradients: None,
    },
    Bench {
        kernel: "convolution",
        shapes: &[&[4, 64, 56, 56], &[64, 64, 3, 3]],
        build: |x| convolved(x, 1),
        gradients: None,
    },
    Bench {
        kernel: "convolution, 1×1",
        shapes: &[&[4, 256, 56, 56], &[64, 256, 1, 1]],
        build: |x| convolved(x, 1),
        gradients: None,
    },
    Bench {
        kernel: "convolution, depthwise",
        shapes: &[&[16, 96, 28, 28], &[96, 1, 3, 3]],
        build: |x| convolved(x, 96),
        gradients: Some(&["x1"]),
    },
    Bench {
        kernel: "convolution, gradients",
        shapes: &[&[64, 1, 28, 28], &[32, 1, 3, 3], &[64, 32, 28, 28]],
        build: |x| convolved(x, 1),
        gradients: Some(&["x0", "x1"]),
    },
    Bench {
        kernel: "convolution, gradients",
        shapes: &[&[64, 32, 14, 14], &[64, 32, 3, 3], &[64, 64, 14, 14]],
        build: |x| convolved(x, 1),
        gradients: Some(&["x0", "x1"]),
    },
    Bench {
        kernel: "convolution, gradients",
        shapes: &[&[4, 64, 56, 56], &[64, 64, 3, 3], &[4, 64, 56, 56]],
        build: |x| convolved(x, 1),
        gradients: Some(&["x0", "x1"]),
    },
    Bench {
        kernel: "convolution, depthwise, gradients",
        shapes: &[&[16, 96, 28, 28], &[96, 1, 3, 3], &[16, 96, 28, 28]],
        build: |x| convolved(x, 96),
        gradients: Some(&["x0", "x1"]),
    },
];

/// A convolution that keeps the sizes.
fn convolved(x: &[Value], groups: usize) -> Value {
    let around = |axis: usize| (x[1].shape()[axis] / 2, x[1].shape()[axis] / 2);
    x[0].conv2d(x[1], &Convolution { padding: [around(2), around(3)], groups, ..Convolution::default() })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_else(|| "cpu".into());
    let device = Device::from_name(&name)?;
    let software = device.as_gpu().is_some_and(|gpu| gpu.info().kind == gpu_runtime::AdapterKind::Software);
    let mut seen = Vec::new();
    for bench in BENCHES {
        if software && seen.contains(&bench.kernel) {
            continue;
        }
        seen.push(bench.kernel);
        measure(&device, bench)?;
    }
    Ok(())
}

fn measure(device: &Device, bench: &Bench) -> Result<(), Box<dyn std::error::Error>> {
    // Operands are states, so that nothing is copied to the device in a run.
    let graph = graph::trace(|trace| {
        let leaf = |(place, shape): (usize, &&[usize])| trace.state(&format!("x{place}"), DType::F32, *shape);
        let inputs: Vec<Value> = bench.shapes.iter().enumerate().map(leaf).collect();
        let y = (bench.build)(&inputs);
        trace.output("y", y);
        if bench.gradients.is_some() {
            trace.output("loss", (y * inputs[2]).sum_all());
        }
        Ok(())
    })?;
    let graph = match bench.gradients {
        Some(names) => {
            let mut graph = differentiate(&graph, "loss", names)?;
            graph.outputs.retain(|(name, _)| name != "loss");
            graph
        }
        None => graph,
    };
    let mut session = Session::new(device);
    for (place, shape) in bench.shapes.iter().enumerate() {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 2000) as f32 / 1000.0 - 1.0).collect();
        session.set_state(&format!("x{place}"), &Tensor::from_f32(*shape, &values)?)?;
    }
    let mut program = session.compile(&graph)?;
    let schedule = program.schedule();
    let flops: u64 = schedule.launches.iter().map(|launch| schedule.flops(launch)).sum();
    let bytes: u64 = schedule.launches.iter().map(|launch| schedule.traffic(launch)).sum();
    let mut group = |runs: u32| -> Result<f64, nn_core::Error> {
        let begin = Instant::now();
        for _ in 0..runs {
            session.run(&mut program, &[], StepScalars::default())?;
        }
        session.results(&mut program, true)?;
        Ok(begin.elapsed().as_secs_f64() / f64::from(runs))
    };
    group(2)?;
    // Groups of about a twentieth of a second.
    let runs = (0.05 / group(2)?.max(1e-6)).clamp(1.0, 1000.0) as u32;
    let mut times = (0..9).map(|_| group(runs)).collect::<Result<Vec<f64>, _>>()?;
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    let shapes: Vec<String> = bench.shapes.iter().map(|shape| format!("{shape:?}")).collect();
    let rate = if ["matmul", "convolution"].iter().any(|name| bench.kernel.starts_with(name)) {
        format!("{:8.1} GFLOP/s", flops as f64 / seconds / 1e9)
    } else {
        format!("{:8.1} GB/s", bytes as f64 / seconds / 1e9)
    };
    println!("{} {:33} {:9.3} ms {rate}  {}", device.name(), bench.kernel, seconds * 1e3, shapes.join(" "));
    Ok(())
}
