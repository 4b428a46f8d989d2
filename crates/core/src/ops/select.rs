//! Elements chosen by their values: nonzero, masked_select, compress; and one-hot tensors of any values.
//!
//! How many elements are chosen depends on the values, so the first three read the mask back and wait for the device.
//! They return a `Result` for that reason. What they pick is then an ordinary gather, with a gradient.

use super::axes::named_axes;
use super::gather_axis::check_index;
use super::movement::{axis_of, refuse};
use super::scatter::ScatterMode;
use crate::dtype::DType;
use crate::error::Result;
use crate::op::fits;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

/// Positions of the elements that are not 0, in row-major order. NaN is not 0.
fn chosen(mask: &Tensor) -> Result<Vec<u32>> {
    let mask = mask.cast(DType::Bool).to_vec::<bool>()?;
    Ok((0..).zip(mask).filter_map(|(i, chosen)| chosen.then_some(i)).collect())
}

impl Tensor {
    /// The positions of the elements that are not 0, in row-major order: a row `(rank)` of type `u32` for each, so the
    /// result is `(count, rank)`. Reads the tensor back.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[1.0, 0.0, 0.0, -2.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.nonzero().unwrap().to_vec::<u32>().unwrap(), [0, 0, 1, 1]);
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    #[track_caller]
    pub fn nonzero(&self) -> Result<Tensor> {
        let at = chosen(self)?;
        let rank = self.rank();
        let strides = self.shape().strides();
        let position = |at: u32| (0..rank).map(move |a| (at as usize / strides[a] % self.shape()[a]) as u32);
        let rows: Vec<u32> = at.iter().flat_map(|&at| position(at)).collect();
        Ok(Tensor::new(&rows, [at.len(), rank], self.device()))
    }

    /// The elements for which `mask`, which broadcasts to this shape, is not 0: one axis, in row-major order. Reads the mask
    /// back; differentiable in the tensor.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    ///
    /// # Panics
    /// When the mask does not broadcast to the shape.
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        let fits = mask.rank() <= self.rank() && mask.shape().broadcast(self.shape()) == Ok(*self.shape());
        if !fits {
            let error = ShapeError::new("the mask does not broadcast to x");
            refuse("masked_select", error.operand("x", self.shape()).operand("mask", mask.shape()));
        }
        let at = chosen(&mask.broadcast_to(self.shape()))?;
        let index = Tensor::new(&at, [at.len()], self.device());
        Ok(self.reshape([self.len()]).index_select(0, &index))
    }

    /// Slices along an axis for which a mask `(n)` is not 0, or elements of the flattened tensor if `axis` is `None`. The
    /// mask may be shorter than the axis: nothing is chosen past its end. Reads the mask back; differentiable.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &d);
    /// let y = x.compress(&Tensor::new(&[0u8, 1], [2], &d), Some(0)).unwrap();
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 4.0]);
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    ///
    /// # Panics
    /// When the axis is out of range, the mask has not one axis, or is longer than the axis.
    #[track_caller]
    pub fn compress(&self, mask: &Tensor, axis: Option<isize>) -> Result<Tensor> {
        let x = if axis.is_none() { self.reshape([self.len()]) } else { self.clone() };
        let axis = axis_of("compress", &x, axis.unwrap_or(0));
        if mask.rank() != 1 || mask.len() > x.shape()[axis] {
            let error = ShapeError::new("the mask is not one axis of at most the length of x's");
            refuse("compress", error.operand_axis("x", x.shape(), axis).operand("mask", mask.shape()));
        }
        let at = chosen(mask)?;
        Ok(x.index_select(axis as isize, &Tensor::new(&at, [at.len()], x.device())))
    }

    /// Labels of type `u32` or `i32` as one-hot vectors along a new axis of length `depth`, at position `axis` of the
    /// result: `values`, two elements of any type, are what stands elsewhere and at the label. Negative labels count from
    /// the end, and one that lies outside has no place.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let labels = Tensor::new(&[-1i32, 0], [2], &d);
    /// let y = labels.one_hot_values(3, -1, &Tensor::new(&[2.0, 5.0], [2], &d));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 2.0, 5.0, 5.0, 2.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When the labels have another type, the axis is out of range, or there are not two values.
    #[track_caller]
    pub fn one_hot_values(&self, depth: usize, axis: isize, values: &Tensor) -> Tensor {
        if values.shape()[..] != [2] {
            let error = ShapeError::new("the values elsewhere and at the label are not two elements");
            refuse("one_hot_values", error.operand("values", values.shape()));
        }
        fits("one_hot_values", check_index(self.dtype()));
        named_axes("one_hot_values", self, &[axis], self.rank() + 1);
        let index = self.unsqueeze(axis);
        let axis = if axis < 0 { axis + index.rank() as isize } else { axis };
        let value =
            |i: usize, shape| values.slice(&[i..i + 1]).reshape(vec![1; index.rank()].as_slice()).broadcast_to(shape);
        let elsewhere = value(0, index.shape().with(axis as usize, depth));
        elsewhere.scatter(axis, &index, &value(1, *index.shape()), ScatterMode::Replace)
    }
}
