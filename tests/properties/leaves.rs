//! Leaves of recipes: their shapes and elements.

use crate::call::Call;
use crate::recipe::{Leaf, Origin, Relation};
use crate::resolve::{LARGEST, LEAF, Resolver};
use cpu_reference::philox::Philox;
use nn_core::{DType, Tensor};

/// An element between −2 and 2 of three decimals, now and then 0, −0 or 1.
fn element(random: &mut Philox) -> f32 {
    match random.below(40) {
        0 => 0.0,
        1 => -0.0,
        2 => 1.0,
        _ => (random.below(4001) as f32 - 2000.0) / 1000.0,
    }
}

/// Halves the longest dimension until the shape has few elements.
fn limited(mut shape: Vec<usize>) -> Vec<usize> {
    while shape.iter().product::<usize>() > LARGEST / 2 {
        if let Some(longest) = shape.iter_mut().max() {
            *longest = longest.div_ceil(2);
        }
    }
    shape
}

/// The shape of a leaf beside a first one.
pub(crate) fn leaf_shape(leaf: &Leaf, base: &[usize]) -> Vec<usize> {
    let own: Vec<usize> = leaf.sizes[..leaf.rank as usize].iter().map(|&size| size as usize + 1).collect();
    let shape = match leaf.relation {
        Relation::Same => base.to_vec(),
        Relation::Thin => {
            let thin = |(axis, &size): (usize, &usize)| if leaf.sizes[axis % 4].is_multiple_of(2) { 1 } else { size };
            base.iter().enumerate().map(thin).collect()
        }
        Relation::Inner => base[leaf.rank as usize % (base.len() + 1)..].to_vec(),
        Relation::Reversed => base.iter().rev().copied().collect(),
        Relation::Free => own,
    };
    limited(shape)
}

impl Resolver<'_> {
    /// Declares a leaf and draws its elements.
    pub(crate) fn leaf(&mut self, number: usize, leaf: &Leaf, shape: Vec<usize>, random: &mut Philox) {
        let count: usize = shape.iter().product();
        let name = format!("x{number}");
        let reals = |random: &mut Philox| -> Vec<f32> { (0..count).map(|_| element(random)).collect() };
        let (call, tensor, bound) = match leaf.origin {
            Origin::Input => {
                let tensor = Tensor::from_f32(shape.clone(), &reals(random)).unwrap();
                (Call::Input(name.clone(), DType::F32, shape), Some(tensor), LEAF)
            }
            Origin::State => {
                self.states.push(name.clone());
                let tensor = Tensor::from_f32(shape.clone(), &reals(random)).unwrap();
                (Call::State(name.clone(), shape), Some(tensor), LEAF)
            }
            Origin::Indices => {
                let indices: Vec<u32> = (0..count).map(|_| random.below(7)).collect();
                let tensor = Tensor::from_u32(shape.clone(), &indices).unwrap();
                (Call::Input(name.clone(), DType::U32, shape), Some(tensor), 7.0)
            }
            Origin::Whole => {
                let numbers: Vec<i32> = (0..count).map(|_| random.below(15) as i32 - 7).collect();
                let tensor = Tensor::from_i32(shape.clone(), &numbers).unwrap();
                (Call::Input(name.clone(), DType::I32, shape), Some(tensor), 7.0)
            }
            Origin::Constant => (Call::Constant(Tensor::from_f32(shape, &reals(random)).unwrap()), None, LEAF),
            Origin::Scalar => (Call::Scalar(element(random)), None, LEAF),
            Origin::LearningRate => (Call::LearningRate, None, 1.0),
        };
        self.leaves.extend(tensor.map(|tensor| (name, tensor)));
        self.push(call, bound);
    }
}
