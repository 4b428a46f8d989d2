//! A model's outputs for a batch.

use tilegrad_core::{DType, Device, Error, Result, Rng, Shape, Tensor, no_grad};

use crate::activation::Activation;
use crate::layer::Context;
use crate::model::Model;
use crate::run::{Output, Wanted};

impl Model {
    /// The shapes of one example's inputs, without the batch axis.
    pub(crate) fn input_shapes(&self) -> Result<Vec<Shape>> {
        Ok(self.graph.input_shapes()?.iter().map(|shape| Shape::new(&shape[1..])).collect())
    }

    /// Refuses batches that are not the model's inputs.
    pub(crate) fn check_inputs(&self, x: &[&Tensor]) -> Result<()> {
        let built = self.ready()?;
        let inputs = self.input_shapes()?;
        if x.len() != inputs.len() {
            return Err(Error::invalid("inputs", format!("{}, as the model has", inputs.len()), x.len()));
        }
        for (x, input) in x.iter().zip(&inputs) {
            check_one(x, &built.device, input)?;
        }
        if let Some(other) = x.iter().find(|other| other.shape()[0] != x[0].shape()[0]) {
            let expected = format!("{}, as the first input has", x[0].shape()[0]);
            return Err(Error::invalid("examples in an input", expected, other.shape()[0]));
        }
        Ok(())
    }

    /// The output for a batch `(N, ..)`, as in inference: dropout keeps everything. Recorded on the tape if `x` or the
    /// weights want gradients.
    ///
    /// # Errors
    /// When the model is not built, or `x` has another shape than its input or lies on another device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_all(&[x])?.swap_remove(0))
    }

    /// All outputs for a batch of each input.
    ///
    /// # Errors
    /// As [`Model::forward`]; also when the batches have different numbers of examples.
    pub fn forward_all(&self, x: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.check_inputs(x)?;
        let mut rng = Rng::new(0);
        let mut context = Context { training: false, precision: self.precision, rng: &mut rng };
        let wanted: Vec<Wanted> = self.graph.outputs.iter().map(|&output| (output, None)).collect();
        Ok(self.graph.run(x, &wanted, &mut context).iter().map(|output| output.tensor().clone()).collect())
    }

    /// The output of one layer for a batch, as in inference: feature maps. As Keras's `Model(model.input, layer.output)`.
    ///
    /// # Errors
    /// As [`Model::forward`]; also when no layer has this name.
    pub fn forward_to(&self, layer: &str, x: &Tensor) -> Result<Tensor> {
        self.layer(layer)?;
        self.check_inputs(&[x])?;
        let index = self.layers().iter().position(|entry| entry.name == layer).expect("just found");
        let mut rng = Rng::new(0);
        let mut context = Context { training: false, precision: self.precision, rng: &mut rng };
        let output = self.graph.run(&[x], &[(self.graph.value_of(index), None)], &mut context);
        Ok(output[0].tensor().clone())
    }

    /// The first outputs, one for each of the heads, for batches that have been checked: each before its layer's activation,
    /// when that is its head; otherwise the output. Says which it was.
    pub(crate) fn forward_headless(
        &self,
        x: &[&Tensor],
        heads: &[Option<Activation>],
        context: &mut Context<'_>,
    ) -> Vec<Output> {
        let wanted: Vec<Wanted> = self.graph.outputs.iter().copied().zip(heads.iter().copied()).collect();
        self.graph.run(x, &wanted, context)
    }

    /// Runs `f` with inference's context and without a tape.
    pub(crate) fn infer<R>(&self, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let mut rng = Rng::new(0);
        no_grad(|| f(&mut Context { training: false, precision: self.precision, rng: &mut rng }))
    }
}

/// Refuses a batch that is not of this shape, the batch axis aside, or not on this device.
fn check_one(x: &Tensor, device: &Device, input: &[usize]) -> Result<()> {
    if x.dtype() != DType::F32 {
        return Err(Error::invalid("type of x", DType::F32.to_string(), x.dtype()));
    }
    if x.device() != device {
        return Err(Error::invalid("device of x", device.to_string(), x.device()));
    }
    let x = x.shape();
    if x.rank() > 0 && x[1..] == *input {
        return Ok(());
    }
    let axes = input.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(", ");
    let mut expected = format!("[batch, {axes}], the model's input");
    if x[..] == *input {
        expected += " (a single example needs a batch axis: `x.unsqueeze(0)`)";
    }
    Err(Error::invalid("shape of x", expected, x))
}
