//! A matrix product for one thread whose left matrix is read where it lies, a tile of the result in registers at a time.
//!
//! Element `(i, p)` of the left matrix is `data[rows[i] + at(p)]`. That covers plain and transposed matrices, and also the
//! windows that slide over an image: they overlap, and nothing has to be copied to columns. The right matrix is packed into
//! panels as wide as a tile. Faster than columns and the `gemm` crate because a window's copy costs as much as it saves.

use super::lanes::{self, Kernel, Lanes, lanes};

/// The left matrix: row `i` begins at `rows[i]`, and its elements lie in runs of `run` elements, `step` apart, that begin at
/// `starts` from there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: &'a [usize],
    pub(crate) starts: &'a [usize],
    pub(crate) run: usize,
    pub(crate) step: usize,
}

impl Left<'_> {
    /// Columns of the matrix, rows of the right one.
    fn depth(&self) -> usize {
        self.starts.len() * self.run
    }

    fn holds_all(&self) -> bool {
        let last = |of: &[usize]| of.iter().max().copied().unwrap_or(0);
        self.rows.is_empty()
            || self.depth() == 0
            || last(self.rows) + last(self.starts) + (self.run - 1) * self.step < self.data.len()
    }
}

/// Vectors in a row of a tile. AVX2, with 8 lanes, has 16 registers; the others have 32.
fn vectors(lanes: usize) -> usize {
    if lanes == 8 { 2 } else { 4 }
}

/// The right matrix, packed into panels of columns, and of each panel the rows one behind the other. The last panel is as many
/// vectors wide as it has to be, filled up with zeros.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    panels: Vec<f32>,
    depth: usize,
    cols: usize,
}

impl Packed {
    /// Packs a matrix whose rows and columns are some elements apart.
    pub(crate) fn new(b: &[f32], strides: [usize; 2], size: [usize; 2]) -> Packed {
        let mut packed = Packed::default();
        packed.fill(b, strides, size);
        packed
    }

    /// [`Packed::new`] in memory that is there.
    pub(crate) fn fill(&mut self, b: &[f32], [row_stride, col_stride]: [usize; 2], [depth, cols]: [usize; 2]) {
        let lanes = lanes();
        let widest = lanes * vectors(lanes);
        (self.depth, self.cols) = (depth, cols);
        self.panels.clear();
        self.panels.reserve(depth * cols.next_multiple_of(lanes));
        for first in (0..cols).step_by(widest) {
            let (begin, width) = (self.panels.len(), (cols - first).min(widest));
            if col_stride == 1 {
                for row in 0..depth {
                    self.panels.extend_from_slice(&b[row * row_stride + first..][..width]);
                    self.panels.resize(self.panels.len().next_multiple_of(lanes), 0.0);
                }
                continue;
            }
            let padded = width.next_multiple_of(lanes);
            self.panels.resize(begin + depth * padded, 0.0);
            for col in 0..width {
                let column = self.panels[begin + col..].iter_mut().step_by(padded).take(depth);
                let b = &b[(first + col) * col_stride..];
                column.enumerate().for_each(|(row, y)| *y = b[row * row_stride]);
            }
        }
    }
}

/// `y = act(a b + bias)` or `y += a b`, row-major and `stride` elements from row to row.
pub(crate) struct Product<'a> {
    pub(crate) a: Left<'a>,
    pub(crate) right: &'a Packed,
    pub(crate) y: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) end: End<'a>,
}

/// What a product does with its sums.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    /// Adds them to `y`.
    Add,
    /// Writes them to `y`, with a bias for each column added, and cut off below 0.
    Write { bias: Option<&'a [f32]>, relu: bool },
}

impl Product<'_> {
    /// Calculates it, where there are vectors.
    pub(crate) fn run(self) {
        let (rows, cols) = (self.a.rows.len(), self.right.cols);
        if rows == 0 || cols == 0 {
            return;
        }
        let y_holds = cols <= self.stride && (rows - 1) * self.stride + cols <= self.y.len();
        let fit = self.a.depth() == self.right.depth;
        let bias_holds = !matches!(self.end, End::Write { bias: Some(bias), .. } if bias.len() < cols);
        let holds = self.a.holds_all() && fit && y_holds && bias_holds;
        assert!(holds, "product: operands are smaller than {rows}x{cols}x{} says", self.a.depth());
        lanes::run(self);
    }

    /// The columns from vector `first` on, `V` vectors of them, `R` rows at a time.
    ///
    /// # Safety
    /// The processor must have such vectors; left matrix, panels, bias and `y` must be as large as rows, runs and columns say.
    #[inline(always)]
    unsafe fn panel<L: Lanes, const R: usize, const V: usize>(&mut self, first: usize) {
        let (a, rows, depth) = (self.a, self.a.rows.len(), self.a.depth());
        let panel = &self.right.panels[first * L::LANES * depth..];
        let column = first * L::LANES;
        let cols = (self.right.cols - column).min(V * L::LANES);
        let mut bias = [[0.0; MAX_LANES]; V];
        if let End::Write { bias: Some(of_all), .. } = self.end {
            for (bias, of_all) in bias.iter_mut().zip(of_all[column..][..cols].chunks(L::LANES)) {
                bias[..of_all.len()].copy_from_slice(of_all);
            }
        }
        // SAFETY: the caller has made sure of the vectors.
        let mut tile = unsafe { [[L::splat(0.0); V]; R] };
        for top in (0..rows).step_by(R) {
            // Past the end a tile repeats the last row.
            let mut row = [a.data.as_ptr(); R];
            for (r, row) in row.iter_mut().enumerate() {
                *row = row.wrapping_add(a.rows[(top + r).min(rows - 1)]);
            }
            // SAFETY: the caller has made sure of the sizes.
            unsafe {
                sums::<L, R, V>(&a, row, panel.as_ptr(), &mut tile);
                for (sums, i) in tile.iter().zip(top..rows) {
                    let y = &mut self.y[i * self.stride + column..][..cols];
                    for ((y, &sum), bias) in y.chunks_mut(L::LANES).zip(sums).zip(&bias) {
                        finish(self.end, sum, bias, y);
                    }
                }
            }
        }
    }
}

impl Kernel for Product<'_> {
    // Tiles with sums enough to hide the time that a multiply-add takes, that leave registers for a row of the panel and an
    // element of the left matrix.
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let (all, most) = (self.right.cols.div_ceil(L::LANES), vectors(L::LANES));
        for first in (0..all).step_by(most) {
            // SAFETY: `Product::run` has checked the sizes.
            unsafe {
                match (most, (all - first).min(most)) {
                    (4, 4) => self.panel::<L, 6, 4>(first),
                    (4, 3) => self.panel::<L, 8, 3>(first),
                    (4, 2) => self.panel::<L, 8, 2>(first),
                    (2, 2) => self.panel::<L, 6, 2>(first),
                    _ => self.panel::<L, 8, 1>(first),
                }
            }
        }
    }
}

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// Does with a vector of sums what is to be done; `y` may be shorter.
///
/// # Safety
/// The processor must have such vectors.
#[inline(always)]
unsafe fn finish<L: Lanes>(end: End<'_>, sums: L, bias: &[f32; MAX_LANES], y: &mut [f32]) {
    let whole = y.len() == L::LANES;
    let mut copy = [0.0; MAX_LANES];
    if !whole {
        copy[..y.len()].copy_from_slice(y);
    }
    let at = if whole { y.as_mut_ptr() } else { copy.as_mut_ptr() };
    // SAFETY: `at` and `bias` have as many elements as a vector.
    unsafe {
        let sums = match end {
            End::Add => sums.add(L::load(at)),
            End::Write { bias: None, .. } => sums,
            End::Write { .. } => sums.add(L::load(bias.as_ptr())),
        };
        let cut = matches!(end, End::Write { relu: true, .. });
        let sums = if cut { sums.relu() } else { sums };
        sums.store(at);
    }
    if !whole {
        y.copy_from_slice(&copy[..y.len()]);
    }
}

/// A tile: the sums over the depth of `R` rows, which begin at `a`, by a panel's `V` vectors.
///
/// # Safety
/// The processor must have such vectors, and rows and panel must hold what `left` says.
#[inline(always)]
unsafe fn sums<L: Lanes, const R: usize, const V: usize>(
    left: &Left<'_>,
    a: [*const f32; R],
    mut panel: *const f32,
    tile: &mut [[L; V]; R],
) {
    // SAFETY: the caller has made sure of the sizes.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; R];
        for &start in left.starts {
            let mut at = start;
            for _ in 0..left.run {
                let mut b = [L::splat(0.0); V];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = L::load(panel.add(v * L::LANES));
                }
                for r in 0..R {
                    let x = L::splat(*a[r].add(at));
                    for v in 0..V {
                        sums[r][v] = x.mul_add(b[v], sums[r][v]);
                    }
                }
                panel = panel.add(V * L::LANES);
                at += left.step;
            }
        }
        // Sums that are kept in registers are no memory that anything else points to.
        for r in 0..R {
            for v in 0..V {
                tile[r][v] = sums[r][v];
            }
        }
    }
}
