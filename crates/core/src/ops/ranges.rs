//! Tensors made from numbers: arange, linspace, eye. The values are worked out in f64 on the host and uploaded.

use super::movement::refuse;
use crate::device::Device;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

/// The most elements that are made here: positions fit 31 bits.
const MOST: usize = i32::MAX as usize;

/// Number of elements of `start, start + step, ..` before `end`, given the distance in steps.
#[track_caller]
fn count(op: &str, start: f64, end: f64, step: f64, steps: f64) -> usize {
    let count = steps.ceil();
    if step == 0.0 || !count.is_finite() {
        refuse(
            op,
            ShapeError::new(format!("from {start} to {end} in steps of {step} is no finite number of elements")),
        );
    }
    if count > MOST as f64 {
        let problem =
            format!("from {start} to {end} in steps of {step} are {count} elements, at most {MOST} are supported");
        refuse(op, ShapeError::new(problem));
    }
    count.max(0.0) as usize
}

impl Tensor {
    /// `start, start + step, ..` up to but not including `end`: `ceil((end - start) / step)` numbers, none if the step leads
    /// away from `end`.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::arange(1.0, 6.0, 2.0, &Device::cpu());
    /// assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 3.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// When the step is 0, or there are more than 2^31 - 1 numbers.
    #[track_caller]
    pub fn arange(start: f32, end: f32, step: f32, device: &Device) -> Tensor {
        // In f32, so that 0.3 is three steps of 0.1.
        let steps = f64::from((end - start) / step);
        let (start, step) = (f64::from(start), f64::from(step));
        let n = count("arange", start, end.into(), step, steps);
        let values: Vec<f32> = (0..n).map(|i| (start + i as f64 * step) as f32).collect();
        Tensor::new(&values, [n], device)
    }

    /// [`Tensor::arange`] of whole numbers.
    ///
    /// # Panics
    /// As [`Tensor::arange`].
    #[track_caller]
    pub fn arange_i32(start: i32, end: i32, step: i32, device: &Device) -> Tensor {
        let steps = (f64::from(end) - f64::from(start)) / f64::from(step);
        let n = count("arange_i32", start.into(), end.into(), step.into(), steps);
        let values: Vec<i32> = (0..n as i64).map(|i| (i64::from(start) + i * i64::from(step)) as i32).collect();
        Tensor::new(&values, [n], device)
    }

    /// `count` numbers at equal distances from `start` to `end`, both included.
    ///
    /// # Panics
    /// With more than 2^31 - 1 numbers.
    #[track_caller]
    pub fn linspace(start: f32, end: f32, count: usize, device: &Device) -> Tensor {
        if count > MOST {
            refuse("linspace", ShapeError::new(format!("{count} elements, at most {MOST} are supported")));
        }
        let (from, to, last) = (f64::from(start), f64::from(end), count.saturating_sub(1).max(1) as f64);
        let at = |i: usize| (from * (1.0 - i as f64 / last) + to * (i as f64 / last)) as f32;
        Tensor::new(&(0..count).map(at).collect::<Vec<_>>(), [count], device)
    }

    /// A matrix `(rows, columns)` of zeros with ones on diagonal `k`: 0 is the main one, positive ones lie above it.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::eye(2, 3, 1, &Device::cpu());
    /// assert_eq!(x.to_vec::<f32>().unwrap(), [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// With more than 2^31 - 1 rows or columns.
    #[track_caller]
    pub fn eye(rows: usize, columns: usize, k: isize, device: &Device) -> Tensor {
        if rows.max(columns) > MOST {
            refuse(
                "eye",
                ShapeError::new(format!(
                    "{rows} x {columns} elements, at most {MOST} in a row or column are supported"
                )),
            );
        }
        let column = |row: usize| {
            let at = (row as isize).saturating_add(k);
            if (0..columns as isize).contains(&at) { at as u32 } else { u32::MAX }
        };
        let labels: Vec<u32> = (0..rows).map(column).collect();
        Tensor::new(&labels, [rows], device).one_hot(columns)
    }
}
