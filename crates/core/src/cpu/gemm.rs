//! The matrix product of the CPU backend, through the `gemm` crate.

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
    let parallelism = if threads { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the assertion above holds every index of the three matrices inside its slice, and `y` is exclusive.
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

/// Adds the sum of each column of `x (rows, sums.len())`.
pub(crate) fn add_column_sums(sums: &mut [f32], x: Mat<'_>, rows: usize) {
    assert!(x.holds(rows, sums.len()), "add_column_sums: the matrix is smaller than {rows}x{} says", sums.len());
    let mut totals = vec![0.0f64; sums.len()];
    for row in 0..rows {
        for (column, total) in totals.iter_mut().enumerate() {
            *total += f64::from(x.data[row * x.row_stride + column * x.col_stride]);
        }
    }
    sums.iter_mut().zip(&totals).for_each(|(sum, total)| *sum += *total as f32);
}
