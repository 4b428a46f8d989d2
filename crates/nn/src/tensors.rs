//! One tensor or several, as arguments: a model may have several inputs and outputs.

use tilegrad_core::Tensor;

/// The inputs of a model or the true values of its outputs: a tensor for each, in the model's order.
#[derive(Clone, Debug)]
pub struct Tensors<'a>(pub(crate) Vec<&'a Tensor>);

impl<'a> From<&'a Tensor> for Tensors<'a> {
    fn from(one: &'a Tensor) -> Tensors<'a> {
        Tensors(vec![one])
    }
}

impl<'a, const N: usize> From<[&'a Tensor; N]> for Tensors<'a> {
    fn from(several: [&'a Tensor; N]) -> Tensors<'a> {
        Tensors(several.into())
    }
}

impl<'a> From<&[&'a Tensor]> for Tensors<'a> {
    fn from(several: &[&'a Tensor]) -> Tensors<'a> {
        Tensors(several.to_vec())
    }
}

impl<'a> From<&'a [Tensor]> for Tensors<'a> {
    fn from(several: &'a [Tensor]) -> Tensors<'a> {
        Tensors(several.iter().collect())
    }
}

impl<'a> From<&'a Vec<Tensor>> for Tensors<'a> {
    fn from(several: &'a Vec<Tensor>) -> Tensors<'a> {
        Tensors(several.iter().collect())
    }
}
