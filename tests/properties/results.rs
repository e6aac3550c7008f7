//! What a graph means is left alone: by each pass, by fusion, by running it again.

use crate::common;
use crate::execute::{Execution, Results, compare_results, run};
use crate::interpreter::{Named, Reading, interpret};
use crate::recipe::{Recipe, any_recipe};
use crate::runner::{check, check_on_gpu};
use crate::traced::Traced;
use nn_core::graph::{Graph, OpKind};
use nn_core::passes::{ScheduleOptions, insert_copies, schedule, simplify, verify};
use nn_core::{Device, Error};

const OPTIONS: [ScheduleOptions; 3] = [
    ScheduleOptions { fuse: true, max_buffers: 8 },
    ScheduleOptions { fuse: false, max_buffers: 8 },
    ScheduleOptions { fuse: true, max_buffers: 4 },
];

fn text(error: Error) -> String {
    error.to_string()
}

fn traced(recipe: &Recipe) -> Result<Traced, String> {
    recipe.traced().map_err(text)
}

/// Operators that take time: all but views.
fn work(graph: &Graph) -> usize {
    let works = |kind: OpKind<'_>| !matches!(kind, OpKind::View(_));
    graph.nodes().iter().filter(|node| node.op_kind().is_some_and(works)).count()
}

#[test]
fn passes_leave_what_a_graph_means() {
    check(3000, any_recipe(), |recipe| {
        let Traced { graph, .. } = &traced(recipe)?;
        let leaves = traced(recipe)?.wide();
        verify(graph).map_err(text)?;
        let expected = interpret(graph, &leaves, Reading::Copies);
        let simple = simplify(graph).map_err(text)?;
        let again = simplify(&simple).map_err(text)?.to_string();
        if again != simple.to_string() || work(&simple) > work(graph) {
            return Err(format!("there was more to drop from\n{simple}\nnamely\n{again}"));
        }
        let copies = insert_copies(&simple).map_err(text)?;
        for (pass, graph) in [("simplify", &simple), ("insert_copies", &copies)] {
            verify(graph).map_err(text)?;
            compare_results(pass, &interpret(graph, &leaves, Reading::Copies), &expected)?;
        }
        Ok(())
    });
}

/// States keep double precision between the oracle's runs and are narrowed when they are read.
fn narrowed(states: &Named) -> Named {
    let narrow = |values: &Vec<f64>| values.iter().map(|&value| f64::from(value as f32)).collect();
    states.iter().map(|(name, values)| (name.clone(), narrow(values))).collect()
}

#[test]
fn schedules_mean_the_same_as_their_graphs() {
    check(2500, any_recipe(), |recipe| {
        let traced = traced(recipe)?;
        for options in OPTIONS {
            let what = format!("oracle, {options:?}");
            let schedule = schedule(&traced.graph, options).map_err(text)?;
            verify(&schedule.graph).map_err(text)?;
            let mut execution = Execution::new(&Device::oracle(), options, &traced).map_err(text)?;
            let mut leaves = traced.wide();
            // The second run begins with the states that the first left.
            for _ in 0..2 {
                let (outputs, updates) = interpret(&schedule.graph, &leaves, Reading::Views);
                let found = execution.run().map_err(text)?;
                compare_results(&what, &found, &(outputs, narrowed(&updates)))?;
                leaves.extend(updates);
            }
        }
        Ok(())
    });
}

#[test]
fn fusion_changes_no_bit_on_the_cpu() {
    check(2500, any_recipe(), |recipe| {
        let traced = traced(recipe)?;
        for device in [Device::cpu(), Device::oracle()] {
            let alone = run(&device, OPTIONS[1], &traced)?;
            for options in [OPTIONS[0], OPTIONS[2]] {
                compare_results(&format!("{}, {options:?}", device.name()), &run(&device, options, &traced)?, &alone)?;
            }
        }
        Ok(())
    });
}

/// The same bits in the same session, begun anew, and in another one.
fn repeats(device: &Device, traced: &Traced) -> Result<Results, String> {
    let repeat = || -> Result<[Results; 3], Error> {
        let mut execution = Execution::new(device, OPTIONS[0], traced)?;
        let first = execution.run()?;
        execution.reset()?;
        let second = execution.run()?;
        Ok([first, second, Execution::new(device, OPTIONS[0], traced)?.run()?])
    };
    let [first, second, third] = repeat().map_err(text)?;
    compare_results("the second run", &second, &first)?;
    compare_results("another session", &third, &first)?;
    Ok(first)
}

#[test]
fn runs_repeat_their_bits_on_the_cpu() {
    check(2000, any_recipe(), |recipe| {
        let traced = traced(recipe)?;
        [Device::cpu(), Device::oracle()].iter().try_for_each(|device| repeats(device, &traced).map(|_| ()))
    });
}

#[test]
fn runs_repeat_their_bits_on_the_gpu() {
    let Some(device) = common::gpu() else { return };
    check_on_gpu(60, any_recipe(), |recipe| repeats(&device, &traced(recipe)?).map(|_| ()));
}
