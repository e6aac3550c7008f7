//! Views of views read the elements that a naive computation of indices says, as layouts and on every device.

use crate::call::Call;
use crate::common;
use crate::execute::run;
use crate::recipe::view_recipe;
use crate::runner::{check, check_on_gpu};
use crate::traced::Traced;
use nn_core::Device;
use nn_core::passes::ScheduleOptions;
use nn_core::tensor::{Layout, Shape};

/// The coordinates of every element in row-major order.
fn coordinates(shape: &[usize]) -> Vec<Vec<usize>> {
    let longer = |places: Vec<Vec<usize>>, &size: &usize| -> Vec<Vec<usize>> {
        let with = |place: &Vec<usize>| (0..size).map(|last| [&place[..], &[last]].concat()).collect::<Vec<_>>();
        places.iter().flat_map(with).collect()
    };
    shape.iter().fold(vec![Vec::new()], longer)
}

/// A view as its shape and, for each element, which of the input's it is.
#[derive(Clone)]
struct View {
    shape: Vec<usize>,
    elements: Vec<usize>,
}

impl View {
    fn at(&self, place: &[usize]) -> usize {
        let number = place.iter().zip(&self.shape).fold(0, |number, (coordinate, size)| number * size + coordinate);
        self.elements[number]
    }

    fn through(&self, shape: Vec<usize>, origin: impl Fn(&[usize]) -> Vec<usize>) -> View {
        let elements = coordinates(&shape).iter().map(|place| self.at(&origin(place))).collect();
        View { shape, elements }
    }
}

/// What a call makes of the views before it.
fn view(call: &Call, views: &[View]) -> View {
    match call {
        Call::Input(_, _, shape) => View { shape: shape.clone(), elements: (0..shape.iter().product()).collect() },
        Call::Permute(x, order) => {
            let shape = order.iter().map(|&axis| views[*x].shape[axis]).collect();
            let origin = |place: &[usize]| {
                let mut origin = vec![0; order.len()];
                order.iter().zip(place).for_each(|(&axis, &coordinate)| origin[axis] = coordinate);
                origin
            };
            views[*x].through(shape, origin)
        }
        Call::Broadcast(x, shape) => {
            let before = &views[*x].shape;
            let missing = shape.len() - before.len();
            let origin = |place: &[usize]| {
                let pairs = place[missing..].iter().zip(before);
                pairs.map(|(&coordinate, &size)| if size == 1 { 0 } else { coordinate }).collect()
            };
            views[*x].through(shape.clone(), origin)
        }
        Call::Slice(x, starts, sizes) => {
            let origin = |place: &[usize]| place.iter().zip(starts).map(|(place, start)| place + start).collect();
            views[*x].through(sizes.clone(), origin)
        }
        Call::Reshape(x, shape) => View { shape: shape.clone(), elements: views[*x].elements.clone() },
        other => panic!("{other} is no view"),
    }
}

/// The same by the code under test; `None` where a view takes a copy.
fn layout(call: &Call, layouts: &[Layout]) -> Option<Layout> {
    Some(match call {
        Call::Input(_, _, shape) => Layout::contiguous(&shape[..].into()),
        Call::Permute(x, order) => layouts[*x].permute(order),
        Call::Broadcast(x, shape) => layouts[*x].broadcast_to(&shape[..].into()),
        Call::Slice(x, starts, sizes) => layouts[*x].slice(starts, &sizes[..].into()),
        Call::Reshape(x, shape) => return layouts[*x].reshape(&shape[..].into()),
        other => panic!("{other} is no view"),
    })
}

fn views(calls: &[Call]) -> Vec<View> {
    let mut made = Vec::new();
    calls.iter().for_each(|call| made.push(view(call, &made)));
    made
}

/// The value that a call reads.
fn operand(call: &Call) -> Option<usize> {
    match call {
        Call::Permute(x, _) | Call::Broadcast(x, _) | Call::Slice(x, ..) | Call::Reshape(x, _) => Some(*x),
        _ => None,
    }
}

/// The buffer elements that strides lead to, in order.
fn steps(sizes: &[usize], strides: &[usize], offset: usize) -> Vec<usize> {
    let step =
        |place: &Vec<usize>| offset + place.iter().zip(strides).map(|(place, stride)| place * stride).sum::<usize>();
    coordinates(sizes).iter().map(step).collect()
}

fn check_layouts(calls: &[Call]) -> Result<(), String> {
    let views = views(calls);
    let mut layouts: Vec<Layout> = Vec::new();
    // What lies in the buffer that each value is a view of.
    let mut buffers: Vec<Vec<usize>> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let view = &views[number];
        let shape = Shape::from(&view.shape[..]);
        let before = operand(call);
        let found = layout(call, &layouts);
        if found.is_none() && before.is_some_and(|x| layouts[x].is_contiguous()) {
            return Err(format!("v{number} takes a copy of elements that lie in order"));
        }
        let buffer = match (&found, before) {
            (Some(_), Some(x)) => buffers[x].clone(),
            _ => view.elements.clone(),
        };
        let layout = found.unwrap_or_else(|| Layout::contiguous(&shape));
        let read = steps(&layout.shape, &layout.strides, layout.offset);
        let ensure =
            |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what} of v{number}: {layout:?}")) };
        ensure(layout.shape == shape, "the shape")?;
        ensure(read.iter().map(|&place| buffer[place]).eq(view.elements.iter().copied()), "an element")?;
        ensure(layout.end() == 1 + read.iter().max().copied().unwrap_or(0), "the end")?;
        let in_order = read.iter().copied().eq(layout.offset..layout.offset + read.len());
        ensure(layout.is_contiguous() == in_order, "the order")?;
        ensure(layout.is_identity() == (in_order && layout.offset == 0), "the identity")?;
        let whole = Layout::contiguous(&shape);
        let (sizes, strides) = Layout::collapse(&[&layout, &whole], &shape);
        ensure(steps(&sizes, &strides[0], layout.offset) == read, "the merged steps")?;
        ensure(steps(&sizes, &strides[1], 0).into_iter().eq(0..read.len()), "the merged steps beside another view")?;
        layouts.push(layout);
        buffers.push(buffer);
    }
    Ok(())
}

/// Every output holds the input's elements that the views name.
fn check_device(device: &Device, traced: &Traced) -> Result<(), String> {
    let views = views(&traced.calls);
    let input = traced.leaf("x0").as_f32().map_err(|error| error.to_string())?;
    let (outputs, _) = run(device, ScheduleOptions::default(), traced)?;
    for (name, value) in &traced.outputs {
        let expected: Vec<f64> = views[*value].elements.iter().map(|&element| f64::from(input[element])).collect();
        if outputs[name] != expected {
            return Err(format!("{}: {name} is {:?} instead of {expected:?}", device.name(), outputs[name]));
        }
    }
    Ok(())
}

#[test]
fn views_of_views_read_the_right_elements() {
    check(2000, view_recipe(), |recipe| {
        let traced = recipe.traced().map_err(|error| error.to_string())?;
        check_layouts(&traced.calls)?;
        [Device::cpu(), Device::oracle()].iter().try_for_each(|device| check_device(device, &traced))
    });
}

#[test]
fn views_of_views_read_the_right_elements_on_the_gpu() {
    let Some(device) = common::gpu() else { return };
    check_on_gpu(100, view_recipe(), |recipe| {
        check_device(&device, &recipe.traced().map_err(|error| error.to_string())?)
    });
}
