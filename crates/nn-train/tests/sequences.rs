//! Operators along an axis and einsum against what PyTorch makes of the same numbers, with gradients and mistakes.

use nn_core::ops::{CumulativeSum, einsum};
use nn_core::passes::{ScheduleOptions, differentiate, schedule};
use nn_core::{DType, Device, Session, StepScalars, Tensor, Value, graph};

/// The numbers 1, 2, 3, …
fn counted(count: usize) -> Vec<f32> {
    (1..=count).map(|number| number as f32).collect()
}

/// The result on the CPU for inputs of the numbers 1, 2, 3, …, and the gradients of Σ y·(1, 2, 3, …) by each.
#[track_caller]
fn computed<const N: usize>(
    shapes: [&[usize]; N],
    function: impl Fn([Value; N]) -> Value,
) -> (Vec<usize>, Vec<f32>, [Vec<f32>; N]) {
    let names: [String; N] = std::array::from_fn(|place| format!("x{place}"));
    let graph = graph::trace(|trace| {
        let y = function(std::array::from_fn(|place| trace.state(&names[place], DType::F32, shapes[place])));
        let weights = Tensor::from_f32(y.shape(), &counted(y.shape().elements())).unwrap();
        trace.output("loss", (y * trace.constant(&weights)).sum_all());
        trace.output("y", y);
        Ok(())
    });
    let graph = differentiate(&graph.unwrap(), "loss", &names.each_ref().map(String::as_str)).unwrap();
    let mut session = Session::new(&Device::cpu());
    for (name, shape) in names.iter().zip(shapes) {
        let values = Tensor::from_f32(shape, &counted(shape.iter().product())).unwrap();
        session.set_state(name, &values).unwrap();
    }
    let mut program = session.compile(&graph).unwrap();
    session.run(&mut program, &[], StepScalars::default()).unwrap();
    let mut read = |name: &str| session.output(&mut program, name).unwrap();
    let y = read("y");
    let gradients = names.each_ref().map(|name| read(&format!("gradient/{name}")).as_f32().unwrap().to_vec());
    (y.shape().to_vec(), y.as_f32().unwrap().to_vec(), gradients)
}

#[track_caller]
fn refused<const N: usize>(shapes: [&[usize]; N], words: &str, function: impl Fn([Value; N]) -> Value) {
    let result = graph::trace(|trace| {
        let inputs = std::array::from_fn(|place| trace.input(&format!("x{place}"), DType::F32, shapes[place]));
        trace.output("y", function(inputs));
        Ok(())
    });
    let message = result.map(|_| ()).expect_err("it cannot work").to_string();
    assert!(message.contains(words), "{words:?} is not in: {message}");
}

/// A constant of natural numbers.
fn indices(beside: Value, shape: &[usize], values: &[u32]) -> Value {
    beside.recorder().constant(&Tensor::from_u32(shape, values).unwrap())
}

#[test]
fn sums_go_on_along_an_axis() {
    // torch.cumsum(x, 0), for x = [[1, 2, 3], [4, 5, 6]]
    let (_, y, [dx]) = computed([&[2, 3]], |[x]| x.cumulative_sum(0));
    assert_eq!(y, [1.0, 2.0, 3.0, 5.0, 7.0, 9.0]);
    assert_eq!(dx, [5.0, 7.0, 9.0, 4.0, 5.0, 6.0]);
    let options = CumulativeSum { exclusive: true, reverse: true };
    let (_, y, [dx]) = computed([&[2, 3]], |[x]| x.cumulative_sum_by(1, options));
    assert_eq!(y, [5.0, 3.0, 0.0, 11.0, 6.0, 0.0]);
    assert_eq!(dx, [0.0, 1.0, 3.0, 0.0, 4.0, 9.0]);
    refused([&[2, 3]], "axis 2", |[x]| x.cumulative_sum(2));
    refused([&[2, 3]], "cumulative_sum", |[x]| x.to_u32().cumulative_sum(0));
}

#[test]
fn elements_are_sorted_with_their_places() {
    let shuffle = |x: Value| x.gather(1, indices(x, &[2, 3], &[1, 2, 0, 2, 0, 1]));
    // torch.sort(torch.tensor([[2., 3., 1.], [6., 4., 5.]]))
    let (_, y, [dx]) = computed([&[2, 3]], |[x]| shuffle(x).sort(1, true)[0]);
    assert_eq!(y, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    assert_eq!(dx, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    let (_, places, _) = computed([&[2, 3]], |[x]| shuffle(x).sort(1, false)[1].to_f32() + x * 0.0);
    assert_eq!(places, [2.0, 0.0, 1.0, 1.0, 2.0, 0.0]);
    // torch.topk(…, 2, dim=1), and along the other axis the smallest
    let (shape, y, [dx]) = computed([&[2, 3]], |[x]| shuffle(x).top_k(1, 2, true)[0]);
    assert_eq!((&*shape, &*y, &*dx), (&[2, 2][..], &[3.0, 2.0, 6.0, 5.0][..], &[0.0, 2.0, 1.0, 0.0, 4.0, 3.0][..]));
    let (shape, y, _) = computed([&[2, 3]], |[x]| shuffle(x).top_k(0, 1, false)[0]);
    assert_eq!((&*shape, &*y), (&[1, 3][..], &[2.0, 3.0, 1.0][..]));
    refused([&[2, 3]], "axis 2", |[x]| x.sort(2, false)[0]);
    refused([&[]], "axis 0", |[x]| x.sort(0, false)[0]);
    refused([&[2, 3]], "from 1 to 3", |[x]| x.top_k(1, 4, true)[0]);
    refused([&[2, 3]], "from 1 to 3", |[x]| x.top_k(1, 0, true)[1]);
    refused([&[2, 3]], "axis 5", |[x]| x.top_k(5, 1, true)[0]);
}

#[test]
fn elements_are_gathered_and_added_by_index() {
    // torch.gather(x, 0, torch.tensor([[1, 0], [1, 1], [0, 1]])), for x = [[1, 2, 3], [4, 5, 6]]
    let chosen = [1, 0, 1, 1, 0, 1];
    let (shape, y, [dx]) = computed([&[2, 3]], |[x]| x.gather(0, indices(x, &[3, 2], &chosen)));
    assert_eq!((&*shape, &*y), (&[3, 2][..], &[4.0, 2.0, 4.0, 5.0, 1.0, 5.0][..]));
    assert_eq!(dx, [5.0, 2.0, 0.0, 4.0, 10.0, 0.0]);
    // torch.scatter_add(x, 0, …, source) of a source [3, 4], of which [3, 2] is read
    let (_, y, [dx, ds]) =
        computed([&[2, 3], &[3, 4]], |[x, source]| x.scatter_add(0, indices(x, &[3, 2], &chosen), source));
    assert_eq!(y, [10.0, 4.0, 3.0, 10.0, 21.0, 6.0]);
    assert_eq!(dx, counted(6));
    assert_eq!(ds, [4.0, 2.0, 0.0, 0.0, 4.0, 5.0, 0.0, 0.0, 1.0, 5.0, 0.0, 0.0]);
    // Beyond the axis there is nothing to read, and nothing is added.
    let beyond = [0, 3, u32::MAX];
    let (_, y, _) = computed([&[3]], |[x]| x.gather(0, indices(x, &[3], &beyond)));
    assert!(y[0] == 1.0 && y[1].is_nan() && y[2].is_nan());
    let (_, y, [_, ds]) = computed([&[3], &[3]], |[x, source]| x.scatter_add(0, indices(x, &[3], &beyond), source));
    assert_eq!((&*y, &*ds), (&[2.0, 2.0, 3.0][..], &[1.0, 0.0, 0.0][..]));
    refused([&[2, 3]], "axis 2", |[x]| x.gather(2, indices(x, &[2, 3], &[0; 6])));
    refused([&[2, 3]], "along other axes", |[x]| x.gather(0, indices(x, &[2, 4], &[0; 8])));
    refused([&[2, 3]], "same number of dimensions", |[x]| x.gather(0, indices(x, &[2], &[0; 2])));
    refused([&[2, 3]], "must be u32", |[x]| x.gather(0, x));
    refused([&[2, 3]], "no more indices", |[x]| x.scatter_add(1, indices(x, &[2, 4], &[0; 8]), x));
    refused([&[2, 3]], "for f32", |[x]| x.to_u32().scatter_add(1, indices(x, &[2, 3], &[0; 6]), x.to_u32()));
}

/// The sum of products by its definition: over all values of all labels.
fn by_definition(equation: &str, shapes: &[&[usize]]) -> Vec<f32> {
    let (left, right) = equation.split_once("->").unwrap();
    let operands: Vec<Vec<char>> = left.split(',').map(|labels| labels.trim().chars().collect()).collect();
    let result: Vec<char> = right.trim().chars().collect();
    let mut labels: Vec<(char, usize)> = Vec::new();
    for (operand, shape) in operands.iter().zip(shapes) {
        for (&label, &size) in operand.iter().zip(*shape) {
            if labels.iter().all(|(known, _)| *known != label) {
                labels.push((label, size));
            }
        }
    }
    let size = |label: &char| labels.iter().find(|(known, _)| known == label).unwrap().1;
    let mut sums = vec![0f64; result.iter().map(size).product()];
    for number in 0..labels.iter().map(|(_, size)| size).product() {
        let mut rest: usize = number;
        let mut places = Vec::new();
        for (label, size) in &labels {
            places.push((*label, rest % size));
            rest /= size;
        }
        let place = |list: &[char]| {
            list.iter().fold(0, |place, label| {
                place * size(label) + places.iter().find(|(known, _)| known == label).unwrap().1
            })
        };
        sums[place(&result)] += operands.iter().map(|operand| (place(operand) + 1) as f64).product::<f64>();
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

#[test]
fn einsum_is_the_sum_of_products_over_all_labels() {
    let one: [(&str, &[usize]); 6] = [
        ("ab->ba", &[2, 3]),
        ("abc->b", &[2, 3, 4]),
        ("a->", &[5]),
        ("->", &[]),
        ("abcd -> dbca", &[2, 3, 2, 2]),
        ("Ab->b", &[2, 3]),
    ];
    for (equation, shape) in one {
        let (_, y, _) = computed([shape], |[x]| einsum(equation, &[x]));
        assert_eq!(y, by_definition(equation, &[shape]), "{equation}");
    }
    let two: [(&str, &[usize], &[usize]); 14] = [
        ("bhqd,bhkd->bhqk", &[2, 2, 3, 2], &[2, 2, 4, 2]),
        ("bhqk,bhkd->bqhd", &[2, 2, 3, 4], &[2, 2, 4, 2]),
        ("ij,jk->ik", &[2, 3], &[3, 4]),
        ("ij,kj->ki", &[2, 3], &[4, 3]),
        ("i,i->", &[4], &[4]),
        ("i,j->ij", &[2], &[3]),
        ("i,j->ji", &[2], &[3]),
        ("ij,ij->ij", &[2, 3], &[2, 3]),
        ("ij,j->ij", &[2, 3], &[3]),
        // Labels that only one operand has and the result lacks are summed first.
        ("aij,jkb->ik", &[2, 2, 3], &[3, 2, 2]),
        ("ab,cd->", &[2, 2], &[2, 3]),
        // Two labels in each group.
        ("abcd,cdef->abef", &[2, 3, 2, 2], &[2, 2, 3, 2]),
        ("adbce,bcdfg->dgeaf", &[2, 2, 3, 2, 2], &[3, 2, 2, 2, 2]),
        ("bij,b->ij", &[3, 2, 2], &[3]),
    ];
    for (equation, left, right) in two {
        let (_, y, _) = computed([left, right], |operands| einsum(equation, &operands));
        assert_eq!(y, by_definition(equation, &[left, right]), "{equation}");
    }
    let three: [(&str, [&[usize]; 3]); 3] = [
        ("ij,jk,kl->il", [&[2, 3], &[3, 2], &[2, 2]]),
        ("bi,bj,ijk->bk", [&[2, 3], &[2, 2], &[3, 2, 2]]),
        ("a,a,a->a", [&[3], &[3], &[3]]),
    ];
    for (equation, shapes) in three {
        let (_, y, _) = computed(shapes, |operands| einsum(equation, &operands));
        assert_eq!(y, by_definition(equation, &shapes), "{equation}");
    }
    // Without an arrow: labels that appear once, in alphabetic order.
    let (shape, y, _) = computed([&[2, 3], &[4, 3]], |operands| einsum("kj,ij", &operands));
    assert_eq!((shape, y), (vec![4, 2], by_definition("kj,ij->ik", &[&[2, 3], &[4, 3]])));
}

/// Operands are read through views, without a copy.
#[test]
fn einsum_of_attention_is_one_matrix_product() {
    for (equation, left, right) in [
        ("bhqd,bhkd->bhqk", [2, 3, 4, 5], [2, 3, 6, 5]),
        ("bqhd,bkhd->bhqk", [2, 4, 3, 5], [2, 6, 3, 5]),
        ("bhqk,bhkd->bhqd", [2, 3, 4, 6], [2, 3, 6, 5]),
    ] {
        let graph = graph::trace(|trace| {
            let operands = [trace.input("a", DType::F32, left), trace.input("b", DType::F32, right)];
            trace.output("y", einsum(equation, &operands));
            Ok(())
        });
        let schedule = schedule(&graph.unwrap(), ScheduleOptions::default()).unwrap();
        assert_eq!(schedule.launches.len(), 1, "{equation}: {schedule}");
    }
}

#[test]
fn einsum_has_gradients_and_refuses_what_it_cannot_do() {
    // By torch.einsum("bij,jk->bki", x0, x1) and autograd.
    let (shape, y, [dx0, dx1]) = computed([&[2, 1, 2], &[2, 3]], |operands| einsum("bij,jk->bki", &operands));
    assert_eq!((&*shape, &*y), (&[2, 3, 1][..], &[9.0, 12.0, 15.0, 19.0, 26.0, 33.0][..]));
    assert_eq!(dx0, [14.0, 32.0, 32.0, 77.0]);
    assert_eq!(dx1, [13.0, 17.0, 21.0, 18.0, 24.0, 30.0]);
    let matrices: [&[usize]; 2] = [&[2, 3], &[3, 4]];
    refused(matrices, "repeated", |operands| einsum("ii,jk->ik", &operands));
    refused(matrices, "ellipsis", |operands| einsum("...j,jk->...k", &operands));
    refused(matrices, "in no operand", |operands| einsum("ij,jk->il", &operands));
    refused(matrices, "3 elements in one operand and 4", |operands| einsum("ij,kj->ik", &operands));
    refused(matrices, "3 dimensions", |[a, b]| einsum("ij,jk->ik", &[a.reshape([1, 2, 3]), b]));
    refused(matrices, "2 operands for 1", |operands| einsum("ij->ji", &operands));
    refused(matrices, "'1' is no label", |operands| einsum("i1,1k->ik", &operands));
}
