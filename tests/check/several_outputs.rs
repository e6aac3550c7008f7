//! An operator with two outputs, and shaders of its own, right and wrong.

use crate::support::{assert_differs, devices, found, three_steps};
use gpu_runtime::{Binding, BindingKind, Kernel};
use nn_core::graph::{
    Accuracy, Arithmetic, Backward, CpuCall, GpuCall, GpuLaunch, GpuWindow, Graph, KernelOp, Node, NodeKind, Op,
    OpKind, Precision, ValueId,
};
use nn_core::{Check, DType, Error, TensorType, Value};
use std::panic::Location;
use std::sync::Arc;

/// Eight numbers → their halves, and which of them are negative.
#[derive(Debug)]
struct Halves {
    /// What the shader takes off the sign.
    wrong_by: u32,
}

impl Op for Halves {
    fn name(&self) -> &'static str {
        "halves"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        Ok(vec![inputs[0].clone(), TensorType::new(DType::U32, inputs[0].shape.clone())])
    }

    fn gradient(&self, _backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl KernelOp for Halves {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let negative: Vec<u32> = match call.precision {
            Precision::F32 => {
                let x = call.inputs[0].elements::<f32>();
                call.output::<f32>(0).iter_mut().zip(x).for_each(|(half, x)| *half = x / 2.0);
                x.iter().map(|x| u32::from(*x < 0.0)).collect()
            }
            Precision::F64 => {
                let x = call.inputs[0].elements::<f64>();
                call.output::<f64>(0).iter_mut().zip(x).for_each(|(half, x)| *half = x / 2.0);
                x.iter().map(|x| u32::from(*x < 0.0)).collect()
            }
        };
        call.output::<u32>(1).copy_from_slice(&negative);
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let source = format!(
            "@group(0) @binding(0) var<storage, read> x: array<f32>;
            @group(0) @binding(1) var<storage, read_write> half: array<f32>;
            @group(0) @binding(2) var<storage, read_write> negative: array<u32>;
            @compute @workgroup_size(8)
            fn halves(@builtin(local_invocation_index) lane: u32) {{
                half[lane] = x[lane] / 2.0;
                negative[lane] = u32(x[lane] < 0.0) - {}u;
            }}",
            self.wrong_by
        );
        let binding = |name: &'static str, kind| Binding { name: name.into(), kind };
        let kernel = Kernel {
            name: "halves".into(),
            source: source.into(),
            bindings: vec![
                binding("x", BindingKind::Read),
                binding("half", BindingKind::ReadWrite),
                binding("negative", BindingKind::ReadWrite),
            ]
            .into(),
            workgroup_size: [8, 1, 1],
            workgroup_bytes: 0,
            fields: Vec::new().into(),
            parameter_bytes: 0,
        };
        let windows = (0..3).map(|operand| GpuWindow { operand, elements: None }).collect();
        let parameters = Vec::new();
        call.launches.push(GpuLaunch { kernel, windows, parameters, groups: [1, 1, 1], iterations: 0 });
        Ok(())
    }

    fn flops(&self, _inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        16
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

fn graph(wrong_by: u32) -> Graph {
    let kind = TensorType::new(DType::F32, [8]);
    let op = Halves { wrong_by };
    let outputs = op.infer(std::slice::from_ref(&kind)).unwrap();
    let node = |kind, inputs, outputs, scope: &str| {
        let location = Location::caller();
        Node { kind, inputs, outputs, scope: scope.into(), location }
    };
    let mut graph = Graph::default();
    let x = graph.push(node(NodeKind::Input("x".into()), Vec::new(), vec![kind], ""));
    let inputs = vec![ValueId { node: x, output: 0 }];
    let halves = graph.push(node(NodeKind::Op(Arc::new(op)), inputs, outputs, "pair"));
    for (name, output) in [("half", 0), ("negative", 1)] {
        graph.outputs.push((name.into(), ValueId { node: halves, output }));
    }
    graph
}

#[test]
fn every_output_is_compared() {
    for device in devices() {
        let (_, report) = three_steps(&device, &graph(0), Some(Check::Every)).unwrap();
        let cases: Vec<_> = report.ops().map(|op| (op.op, op.dtype, op.cases, op.elements)).collect();
        assert_eq!(cases, [("halves", DType::F32, 3, 24), ("halves", DType::U32, 3, 24)]);
        if device.as_gpu().is_some() {
            let finding = found(&device, &graph(1), Check::Every);
            assert_differs(&finding, "halves", "pair");
            assert_eq!(finding.output, 1, "{finding}");
        }
    }
}
