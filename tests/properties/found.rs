//! Faults that the properties have found, each by its smallest recipe.

use crate::replay::{count_buffers, replay};
use nn_core::graph;
use nn_core::passes::{ScheduleOptions, differentiate, schedule};
use nn_core::{DType, Device, Error, Input, Session, StepScalars, Tensor};

/// A slot of an odd number of whole numbers was no slice of f64, which made the oracle panic.
#[test]
fn a_slot_holds_an_odd_number_of_whole_numbers_and_then_reals() -> Result<(), Error> {
    let graph = graph::trace(|t| {
        let x = t.input("x", DType::F32, [2, 3]);
        let product = x.matmul(x.permute(&[1, 0]));
        let padded = product.sum(&[1]).multiply(0.5).pad(&[(2, 1)], 0.0);
        t.output("mask", padded.less(padded));
        t.output("product", product);
        Ok(())
    })?;
    let mut session = Session::new(&Device::oracle());
    let mut program = session.compile(&graph)?;
    let x = [-1.0, 0.5, -0.5, 0.25, 1.0, -0.5];
    session.run(&mut program, &[("x", Input::F32(&x))], StepScalars::default())?;
    assert_eq!(session.output_f64(&mut program, "mask")?, [0.0; 5]);
    assert_eq!(session.output_f64(&mut program, "product")?, [1.5, 0.5, 0.5, 1.3125]);
    Ok(())
}

/// Rows beyond the table add nothing, but their gradient was NaN.
#[test]
fn rows_that_add_nothing_have_no_gradient() -> Result<(), Error> {
    let graph = graph::trace(|t| {
        let indices = t.input("indices", DType::U32, [2]);
        let rows = t.state("rows", DType::F32, [2, 1]);
        let table = rows.scatter_add_rows(indices, 1);
        t.output("loss", table.multiply(table).sum_all());
        Ok(())
    })?;
    let graph = differentiate(&graph, "loss", &["rows"])?;
    let mut session = Session::new(&Device::oracle());
    session.set_state("rows", &Tensor::from_f32([2, 1], &[1.5, 0.25])?)?;
    let mut program = session.compile(&graph)?;
    session.run(&mut program, &[("indices", Input::U32(&[4, 0]))], StepScalars::default())?;
    assert_eq!(session.output_f64(&mut program, "gradient/rows")?, [0.0, 0.5]);
    Ok(())
}

/// A state that could not be written in place took a buffer beyond the limit.
#[test]
fn a_state_replaced_by_a_copy_counts_among_the_buffers() -> Result<(), Error> {
    let graph = graph::trace(|t| {
        t.state("p", DType::F32, [2]);
        let q = t.state("q", DType::F32, [2]);
        let negative = q.negate();
        let sine = negative.sin();
        // This reads the old q and the new value's group.
        t.output("joined", q.concat(&[negative], 0));
        t.output("sine", sine);
        t.update("p", sine);
        t.update("q", sine);
        Ok(())
    })?;
    for max_buffers in 4..=8 {
        let schedule = schedule(&graph, ScheduleOptions { fuse: true, max_buffers })?;
        replay(&schedule).and_then(|()| count_buffers(&schedule, max_buffers)).unwrap();
    }
    Ok(())
}
