//! The loop of elementwise functions of two tensors that broadcast.

use super::par;
use crate::shape::{Layout, Shape};

/// One operand: its buffer, and its layout in it.
pub(crate) type Operand<'a, T> = (&'a [T], Layout);

/// `y[i] = f(a[i], b[i])` for every index of `shape`, to which both operands broadcast.
pub(crate) fn map2<T: Sync, Y: Send>(
    shape: &Shape,
    (a, a_layout): Operand<'_, T>,
    (b, b_layout): Operand<'_, T>,
    y: &mut [Y],
    f: impl Fn(&T, &T) -> Y + Sync,
) {
    let [l, r] = Layout::merge_axes([a_layout.broadcast_to(shape), b_layout.broadcast_to(shape)]);
    if y.is_empty() {
        return;
    }
    if l.shape.rank() <= 1 {
        let at = |l: &Layout, i: usize| l.offset + i * l.strides[0];
        return par::map(y, |i| f(&a[at(&l, i)], &b[at(&r, i)]));
    }
    // Rows of the innermost axis: the outer position is worked out once a row.
    let last = l.shape.rank() - 1;
    let inner = l.shape[last];
    let outer = Shape::new(&l.shape[..last]);
    let rows = |l: &Layout| -> Vec<usize> { Layout { shape: outer, ..*l }.positions().collect() };
    let (l_rows, r_rows, l_step, r_step) = (rows(&l), rows(&r), l.strides[last], r.strides[last]);
    par::chunks(y, inner, |first, chunk| {
        for (row, y) in (first / inner..).zip(chunk.chunks_mut(inner)) {
            let (a, b) = (&a[l_rows[row]..], &b[r_rows[row]..]);
            for (i, y) in y.iter_mut().enumerate() {
                *y = f(&a[i * l_step], &b[i * r_step]);
            }
        }
    });
}
