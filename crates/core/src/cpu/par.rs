//! Parallel loops of the CPU backend. Each output element is computed by one thread in a fixed order, so results do not
//! depend on the number of threads.

use rayon::prelude::*;

/// Elements below which a loop is not worth splitting across threads.
const GRAIN: usize = 16 * 1024;

/// Runs `f(first_index, chunk)` over consecutive chunks of `y`, in parallel when there is enough of it. `row` is the
/// number of elements that belong together: chunks hold whole rows.
pub(crate) fn chunks<T: Send>(y: &mut [T], row: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let row = row.max(1);
    if y.len() <= GRAIN {
        return f(0, y);
    }
    let rows_per_chunk = (GRAIN / row).max(1);
    y.par_chunks_mut(rows_per_chunk * row).enumerate().for_each(|(i, chunk)| f(i * rows_per_chunk * row, chunk));
}

/// `y[i] = f(i)` in parallel.
pub(crate) fn map<T: Send>(y: &mut [T], f: impl Fn(usize) -> T + Sync) {
    chunks(y, 1, |first, chunk| {
        for (i, y) in chunk.iter_mut().enumerate() {
            *y = f(first + i);
        }
    });
}

/// Runs `f(row_index, row)` for each row of `y`, in parallel when the work (`work` operations a row) is worth it.
pub(crate) fn rows<T: Send>(y: &mut [T], row: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if row == 0 {
        return;
    }
    if y.len() / row * work <= GRAIN {
        return y.chunks_mut(row).enumerate().for_each(|(i, row)| f(i, row));
    }
    y.par_chunks_mut(row).enumerate().for_each(|(i, row)| f(i, row));
}

/// [`rows`] of two slices in step, for ops with two outputs.
pub(crate) fn rows2<T: Send, U: Send>(
    y: &mut [T],
    z: &mut [U],
    row: usize,
    work: usize,
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    if row == 0 {
        return;
    }
    if y.len() / row * work <= GRAIN {
        return y.chunks_mut(row).zip(z.chunks_mut(row)).enumerate().for_each(|(i, (y, z))| f(i, y, z));
    }
    y.par_chunks_mut(row).zip(z.par_chunks_mut(row)).enumerate().for_each(|(i, (y, z))| f(i, y, z));
}

/// Runs `f(first_index, parts)` over slices of one length cut at the same places, in parallel when there is enough of
/// them: for updates of several tensors in step.
pub(crate) fn together<const N: usize>(y: [&mut [f32]; N], f: &(impl Fn(usize, [&mut [f32]; N]) + Sync)) {
    fn halve<const N: usize>(first: usize, y: [&mut [f32]; N], f: &(impl Fn(usize, [&mut [f32]; N]) + Sync)) {
        let len = y[0].len();
        if len <= GRAIN {
            return f(first, y);
        }
        let mut right = [(); N].map(|()| &mut [][..]);
        let mut i = 0;
        let left = y.map(|y| {
            let (left, rest) = y.split_at_mut(len / 2);
            right[i] = rest;
            i += 1;
            left
        });
        rayon::join(|| halve(first, left, f), || halve(first + len / 2, right, f));
    }
    halve(0, y, f);
}
