//! The matrix product of the CPU backend: by the tiles of `product.rs` where they pay, else by the `gemm` crate.

use super::lanes::has_vectors;
use super::par;
use super::product::{End, Left, Packed, Product};

/// A matrix in memory: the first element's position and the strides of rows and columns, in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mat<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix with `cols` columns.
    pub(crate) fn rows(data: &'a [f32], cols: usize) -> Mat<'a> {
        Mat { data, row_stride: cols, col_stride: 1 }
    }

    /// The transpose of a row-major matrix with `cols` columns.
    pub(crate) fn transposed(data: &'a [f32], cols: usize) -> Mat<'a> {
        Mat { data, row_stride: 1, col_stride: cols }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}

/// Row-major `y (m, n) = a (m, k) b (k, n)`, or `y += a b` with `accumulate`. Rows of `y` are `y_stride` elements apart.
/// `threads` says whether the product may use all threads; inside a parallel loop it should not.
pub(crate) fn gemm(
    y: &mut [f32],
    y_stride: usize,
    [m, n, k]: [usize; 3],
    a: Mat<'_>,
    b: Mat<'_>,
    accumulate: bool,
    threads: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    let room = (m - 1) * y_stride + n <= y.len() && n <= y_stride;
    assert!(room && a.holds(m, k) && b.holds(k, n), "gemm: operands are smaller than {m}x{n}x{k} says");
    if k == 0 {
        if !accumulate {
            y.chunks_mut(y_stride).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    // Packing the right matrix pays from a few rows on.
    if m >= 6 && has_vectors() {
        tiled(y, y_stride, [m, n, k], a, b, accumulate, threads);
    } else {
        by_crate(y, y_stride, [m, n, k], a, b, accumulate, threads);
    }
}

/// Rows of the right matrix that are multiplied together: as many as leave a panel of them in the first cache.
const DEPTH: usize = 128;

fn tiled(
    y: &mut [f32],
    y_stride: usize,
    [m, n, k]: [usize; 3],
    a: Mat<'_>,
    b: Mat<'_>,
    accumulate: bool,
    threads: bool,
) {
    let depths: Vec<usize> = (0..k).step_by(DEPTH).collect();
    let mut packed: Vec<Packed> = depths.iter().map(|_| Packed::default()).collect();
    let pack = |(packed, &first): (&mut Packed, &usize)| {
        packed.fill(&b.data[first * b.row_stride..], [b.row_stride, b.col_stride], [DEPTH.min(k - first), n]);
    };
    each(packed.iter_mut().zip(&depths), threads, pack);
    // Blocks of whole tiles, for threads to share.
    let block = (m / 8).next_multiple_of(6).clamp(6, 96);
    let rows: Vec<usize> = (0..m).map(|row| row * a.row_stride).collect();
    let product = |(y, rows): (&mut [f32], &[usize])| {
        for (&first, right) in depths.iter().zip(&packed) {
            let (data, run) = (&a.data[first * a.col_stride..], DEPTH.min(k - first));
            let left = Left { data, rows, starts: &[0], run, step: a.col_stride };
            let end = if first > 0 || accumulate { End::Add } else { End::Write { bias: None, relu: false } };
            Product { a: left, right, y, stride: y_stride, end }.run();
        }
    };
    let y = &mut y[..(m - 1) * y_stride + n];
    each(y.chunks_mut(block * y_stride).zip(rows.chunks(block)), threads, product);
}

/// Runs `f` on every item, on all threads or on this one.
fn each<I: Iterator + Send>(items: I, threads: bool, f: impl Fn(I::Item) + Sync) {
    if threads { par::share(items, || (), |(), item| f(item)) } else { items.for_each(f) }
}

fn by_crate(
    y: &mut [f32],
    y_stride: usize,
    [m, n, k]: [usize; 3],
    a: Mat<'_>,
    b: Mat<'_>,
    accumulate: bool,
    threads: bool,
) {
    let parallelism = if threads { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the assertion in `gemm` holds every index of the three matrices inside its slice, and `y` is exclusive.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            y_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    if k <= 2 && !accumulate {
        // Such products don't start from zero in the crate, so -0.0 comes out where a sum gives 0.0.
        y.chunks_mut(y_stride).take(m).for_each(|row| row[..n].iter_mut().for_each(|y| *y += 0.0));
    }
}

/// Adds the sum of each column of `x (rows, sums.len())`: sums of a few rows in single precision, and their sums in double.
pub(crate) fn add_column_sums(sums: &mut [f32], x: Mat<'_>, rows: usize) {
    const FEW: usize = 32;
    assert!(x.holds(rows, sums.len()), "add_column_sums: the matrix is smaller than {rows}x{} says", sums.len());
    let (mut totals, mut part) = (vec![0.0f64; sums.len()], vec![0.0f32; sums.len()]);
    if sums.is_empty() {
        return;
    }
    for first in (0..rows).step_by(FEW) {
        part.fill(0.0);
        for row in first..(first + FEW).min(rows) {
            let x_row = &x.data[row * x.row_stride..];
            if x.col_stride == 1 {
                part.iter_mut().zip(x_row).for_each(|(part, x)| *part += x);
            } else {
                part.iter_mut().enumerate().for_each(|(column, part)| *part += x_row[column * x.col_stride]);
            }
        }
        totals.iter_mut().zip(&part).for_each(|(total, part)| *total += f64::from(*part));
    }
    sums.iter_mut().zip(&totals).for_each(|(sum, total)| *sum += *total as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_give_what_the_crate_gives() {
        let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect() };
        for [m, n, k] in [[1, 1, 1], [6, 64, 3], [13, 100, 300], [200, 7, 128], [33, 65, 129], [7, 300, 20]] {
            let (a, b) = (numbers(m * k), numbers(k * n));
            for (a, b) in [
                (Mat::rows(&a, k), Mat::rows(&b, n)),
                (Mat::transposed(&a, m), Mat::rows(&b, n)),
                (Mat::rows(&a, k), Mat::transposed(&b, k)),
                (Mat { data: &a, row_stride: 0, col_stride: 1 }, Mat { data: &b, row_stride: 1, col_stride: 0 }),
            ] {
                for (accumulate, threads) in [(false, true), (true, false)] {
                    let stride = n + 2;
                    let mut y = numbers(m * stride);
                    let mut defined = y.clone();
                    if has_vectors() {
                        tiled(&mut y, stride, [m, n, k], a, b, accumulate, threads);
                        by_crate(&mut defined, stride, [m, n, k], a, b, accumulate, threads);
                    }
                    let differ = y.iter().zip(&defined).position(|(y, defined)| (y - defined).abs() > 1e-4);
                    assert_eq!(differ, None, "{m}x{n}x{k}, accumulate {accumulate}: {a:?} {b:?}");
                }
            }
        }
    }
}
