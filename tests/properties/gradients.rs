//! Gradients of random smooth graphs against differences in double precision.

use crate::interpreter::{Named, Reading, interpret};
use crate::recipe::smooth_recipe;
use crate::runner::check;
use cpu_reference::philox::Philox;
use nn_core::graph::Graph;
use nn_core::passes::{differentiate, insert_copies};

/// The loss with all states moved by `distance` along a direction.
fn loss(graph: &Graph, leaves: &Named, direction: &Named, distance: f64) -> f64 {
    let mut moved = leaves.clone();
    for (name, along) in direction {
        let values = moved.get_mut(name).expect("a direction is of states");
        values.iter_mut().zip(along).for_each(|(value, slope)| *value += distance * slope);
    }
    interpret(graph, &moved, Reading::Double).0["loss"][0]
}

/// Differences over several distances: over long ones they lack higher derivatives, over short ones digits.
fn differences(graph: &Graph, leaves: &Named, direction: &Named) -> Vec<f64> {
    let central = |distance: f64| {
        (loss(graph, leaves, direction, distance) - loss(graph, leaves, direction, -distance)) / (2.0 * distance)
    };
    let extrapolated = |distance: f64| (4.0 * central(distance / 2.0) - central(distance)) / 3.0;
    [1e-2, 1e-3, 1e-4, 1e-5].map(extrapolated).to_vec()
}

#[test]
fn gradients_agree_with_differences() {
    check(2000, smooth_recipe(), |recipe| {
        let traced = recipe.traced().map_err(|error| error.to_string())?;
        let states: Vec<&str> = traced.states.iter().map(String::as_str).collect();
        if states.is_empty() {
            return Ok(());
        }
        let derived = differentiate(&traced.graph, "loss", &states).map_err(|error| error.to_string())?;
        // Not simplified: that would round 1/12 of a mean to f32, which shows where large terms cancel.
        let derived = insert_copies(&derived).map_err(|error| error.to_string())?;
        let leaves = traced.wide();
        let gradients = interpret(&derived, &leaves, Reading::Double).0;
        let mut random = Philox::new(recipe.seed, 99);
        // Along a random direction of each state alone: a fault in one cannot hide behind another.
        for state in states {
            let along: Vec<f64> = leaves[state].iter().map(|_| 2.0 * random.uniform_f64() - 1.0).collect();
            let gradient = &gradients[&format!("gradient/{state}")];
            let slope: f64 = gradient.iter().zip(&along).map(|(slope, along)| slope * along).sum();
            let scale: f64 = gradient.iter().zip(&along).map(|(slope, along)| (slope * along).abs()).sum();
            let direction = Named::from([(state.to_string(), along)]);
            let found = differences(&traced.graph, &leaves, &direction);
            // Constants in gradient rules are rounded to f32.
            let room = 1e-6 * (scale + 1e-3);
            if !found.iter().any(|found| (found - slope).abs() <= room) {
                return Err(format!("gradient of {state}: the rules say {slope:e}, differences {found:?}"));
            }
        }
        Ok(())
    });
}
