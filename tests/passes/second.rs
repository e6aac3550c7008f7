//! Gradients of gradients: those of normalisations, whose rule is one for the whole formula.

use cpu_reference::philox::Philox;
use nn_core::graph::{self, Graph, Trace};
use nn_core::passes::differentiate;
use nn_core::{DType, Device, Session, StepScalars, Tensor};

const SHAPES: [(&str, &[usize]); 3] = [("x", &[3, 4, 5]), ("weight", &[4, 1]), ("bias", &[4, 1])];

/// Σ of the squared gradients of Σ r·tanh(y), where y is `x` normalised over the axes.
fn squared_gradients(axes: &[usize], r: &Tensor) -> Graph {
    let first = graph::trace(|trace: &Trace| {
        let [x, weight, bias] = SHAPES.map(|(name, shape)| trace.state(name, DType::F32, shape));
        let y = x.normalise(axes, 0.1, Some(weight), Some(bias)).tanh();
        trace.output("first", (y * trace.constant(r)).sum_all());
        Ok(())
    });
    let first = differentiate(&first.unwrap(), "first", &["x", "weight", "bias"]).unwrap();
    let (mut graph, ()) = graph::extend(first, |trace| {
        let squares = SHAPES.map(|(name, shape)| {
            let gradient = trace.existing_output(&format!("gradient/{name}")).expect("it was differentiated");
            gradient.sum_of_squares(&(0..shape.len()).collect::<Vec<_>>())
        });
        trace.output("loss", squares[0] + squares[1] + squares[2]);
        Ok(())
    })
    .unwrap();
    graph.outputs.retain(|(name, _)| name == "loss");
    graph
}

#[test]
fn gradients_of_a_normalisation_are_differentiated_again() {
    let mut random = Philox::new(41, 0);
    let mut draw = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal() as f32).collect();
        Tensor::from_f32(shape, &values).unwrap()
    };
    let (states, r) = (SHAPES.map(|(_, shape)| draw(shape)), draw(SHAPES[0].1));
    // Parameter and statistics shared by the same elements, and not.
    for axes in [&[0, 2][..], &[2], &[1, 2]] {
        let plain = squared_gradients(axes, &r);
        let twice = differentiate(&plain, "loss", &["x", "weight", "bias"]).unwrap();
        let run = |graph: &Graph, states: &[Tensor], output: &str| -> Vec<f64> {
            let mut session = Session::new(&Device::oracle());
            for ((name, _), tensor) in SHAPES.iter().zip(states) {
                session.set_state(name, tensor).unwrap();
            }
            let mut program = session.compile(graph).unwrap();
            session.run(&mut program, &[], StepScalars::default()).unwrap();
            session.output_f64(&mut program, output).unwrap()
        };
        for (place, (name, _)) in SHAPES.iter().enumerate() {
            let exact = run(&twice, &states, &format!("gradient/{name}"));
            for element in (0..exact.len()).step_by(7) {
                // States are f32: the step is what two neighbours of the value really lie apart.
                let at = |by: f32| {
                    let mut values = states[place].as_f32().unwrap().to_vec();
                    values[element] += by;
                    let mut shifted = states.to_vec();
                    let moved = f64::from(values[element]);
                    shifted[place] = Tensor::from_f32(states[place].shape().clone(), &values).unwrap();
                    (moved, run(&plain, &shifted, "loss")[0])
                };
                let ((right, above), (left, below)) = (at(1e-3), at(-1e-3));
                let numeric = (above - below) / (right - left);
                let apart = (numeric - exact[element]).abs();
                // The third derivative times the step squared.
                assert!(apart < 1e-4 * (1.0 + numeric.abs()), "{name} {element}: {} and {numeric}", exact[element]);
            }
        }
    }
}
