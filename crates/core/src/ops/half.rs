//! Products of `F16` operands: which types go together, what becomes of a gradient, and whether cooperative matrices can be
//! trusted.
//!
//! Mixed precision rounds the operands of a product to 11 significant bits, multiplies them exactly, and adds up in `f32`.
//! The definition is the product of the rounded operands in `f32`, which is what runs on the CPU and wherever no kernel reads
//! `F16`: [`Halves::Widened`]. Where an adapter has cooperative matrices (tensor cores), `matmul_cooperative.wgsl` reads
//! them, and convolutions go through columns of halves to it.

use tilegrad_shaders::{MATMUL_COOPERATIVE_8, MATMUL_COOPERATIVE_16, Shader};

use super::compare::types_differ;
use super::gemm::Tile;
use super::matmul;
use crate::device::Device;
use crate::dtype::DType;
use crate::gpu::{Gpu, Stream};
use crate::op::Halves;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

/// The type of a product: `F32`, from two operands that are both `F32` or both `F16`, and perhaps a bias that is `F32`.
pub(super) fn product_dtype(x: &[DType]) -> Result<DType, ShapeError> {
    match x {
        [DType::F32, DType::F32, rest @ ..] | [DType::F16, DType::F16, rest @ ..] => match rest {
            [] | [DType::F32] => Ok(DType::F32),
            [other, ..] => Err(ShapeError::new(format!("the bias is {other}, expected f32"))),
        },
        [l @ (DType::F32 | DType::F16), r @ (DType::F32 | DType::F16), ..] => Err(types_differ(*l, *r)),
        _ => {
            let i = usize::from(matches!(x[0], DType::F32 | DType::F16));
            Err(ShapeError::new(format!("input {i} is {}, expected f32 or f16", x[i])))
        }
    }
}

/// The gradient of a product, rounded if its operands are: what it is multiplied by is then of its type.
pub(super) fn like(operand: &Tensor, dz: &Tensor) -> Tensor {
    dz.cast(operand.dtype())
}

/// What a product does with halves; `fits` says whether the kernel of cooperative matrices can take its operands.
pub(super) fn halves(gpu: Option<&Gpu>, fits: bool) -> Halves {
    match gpu.and_then(Gpu::cooperative_matrix) {
        Some(_) if fits => Halves::Read,
        _ => Halves::Widened,
    }
}

fn offers_cooperative(gpu: &Gpu) -> bool {
    gpu.description().cooperative_matrix.is_some() && !gpu.wants_software_kernels()
}

/// Before a product of halves: makes sure that the device's kernels for them have been checked.
pub(super) fn prepare(operand: &Tensor) {
    if operand.dtype() == DType::F16 {
        operand.device().half_products();
    }
}

macro_rules! cooperative {
    ($side:literal, $subgroup:literal) => {
        Tile { rows: 4 * $side, columns: 4 * $side, step: 2 * $side, splits: 0, constants: &[("SUBGROUP", $subgroup)] }
    };
}

/// For cooperative matrices of 8 x 8, by the number of threads in a subgroup: 8, 16, 32, 64.
pub(super) static COOPERATIVE_8: [Tile; 4] =
    [cooperative!(8, 8), cooperative!(8, 16), cooperative!(8, 32), cooperative!(8, 64)];

/// For cooperative matrices of 16 x 16, likewise.
pub(super) static COOPERATIVE_16: [Tile; 4] =
    [cooperative!(16, 8), cooperative!(16, 16), cooperative!(16, 32), cooperative!(16, 64)];

/// The tile and shader of products of halves, on a device whose products [`halves`] said are read.
pub(super) fn kernel(gpu: &Stream) -> (Tile, &'static Shader) {
    let (tiles, shader) = match gpu.gpu().cooperative_matrix() {
        Some(8) => (&COOPERATIVE_8, &MATMUL_COOPERATIVE_8),
        _ => (&COOPERATIVE_16, &MATMUL_COOPERATIVE_16),
    };
    let subgroup = gpu.gpu().subgroup_sizes().map_or(32, |(size, _)| size);
    (tiles[subgroup.ilog2().clamp(3, 6) as usize - 3], shader)
}

/// How a device multiplies `F16` operands: [`Device::half_products`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfProducts {
    /// As `f32`, after they were rounded: the precision of mixed precision, and none of its speed.
    AsF32,
    /// By cooperative matrices, also called tensor cores, added up in `f32`.
    Cooperative,
}

impl Device {
    /// How products of [`DType::F16`] operands run here. The first call on a GPU that offers cooperative matrices multiplies
    /// a few matrices by them and compares with `f32`; if that fails it says so on stderr, and `f32` it is.
    ///
    /// ```
    /// use tilegrad_core::{Device, HalfProducts};
    /// assert_eq!(Device::cpu().half_products(), HalfProducts::AsF32);
    /// ```
    pub fn half_products(&self) -> HalfProducts {
        let Some(gpu) = self.as_gpu().filter(|gpu| offers_cooperative(gpu)) else {
            return HalfProducts::AsF32;
        };
        let mut checked = gpu.0.cooperative_checked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !*checked {
            gpu.trust_cooperative(true);
            if let Some(difference) = first_difference(self) {
                gpu.trust_cooperative(false);
                let name = &gpu.description().name;
                eprintln!("tilegrad: f16 products run as f32 on {name}: its cooperative matrices {difference}");
            }
            *checked = true;
        }
        match gpu.cooperative_matrix() {
            Some(_) => HalfProducts::Cooperative,
            None => HalfProducts::AsF32,
        }
    }
}

/// Multiplies matrices that need every way to load and every edge of a tile, and compares with sums in `f64`.
fn first_difference(device: &Device) -> Option<String> {
    // Lengths that fill no tile, and such that are loaded by fours.
    for [m, k, n] in [[70, 90, 66], [64, 96, 68]] {
        // Halves between -1 and 1, no two rows or columns alike.
        let numbers = |len: usize, step: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * step) % 509) as f32 / 256.0 - 1.0).collect()
        };
        let (a, w) = (numbers(m * k, 37), numbers(k * n, 101));
        let half = |x: &[f32], shape: [usize; 2]| Tensor::new(x, shape, device).cast(DType::F16);
        let turned = |x: &[f32], shape| half(x, shape).transpose().contiguous().transpose();
        for (a_turned, w_turned) in [(false, false), (true, false), (false, true), (true, true)] {
            let operand = |x: &[f32], shape, turn| if turn { turned(x, shape) } else { half(x, shape) };
            let (left, right) = (operand(&a, [m, k], a_turned), operand(&w, [k, n], w_turned));
            let y = match matmul::plain(&left.unsqueeze(0), &right.unsqueeze(0)).to_vec::<f32>() {
                Ok(y) => y,
                Err(error) => return Some(format!("gave an error ({error})")),
            };
            for (i, got) in y.iter().enumerate() {
                let terms = (0..k).map(|j| f64::from(a[i / n * k + j]) * f64::from(w[j * n + i % n]));
                let (want, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                // Adding up in f32 is off by at most k units in the last place of the terms; in f16 it would be by more.
                if !close(*got, want, size * k as f64 * f64::from(f32::EPSILON)) {
                    return Some(format!("gave {got} in place of {want}"));
                }
            }
        }
    }
    None
}

/// Whether a result is within a bound; NaN is not.
fn close(got: f32, want: f64, bound: f64) -> bool {
    (f64::from(got) - want).abs() <= bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_finds_what_it_is_for() {
        assert_eq!(first_difference(&Device::cpu()), None);
        assert!(close(1.0, 1.0, 1e-6) && !close(1.001, 1.0, 1e-6));
        assert!(!close(f32::NAN, 1.0, 1e-6) && !close(f32::INFINITY, 1.0, 1e-6));
    }
}
