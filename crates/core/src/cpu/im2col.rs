//! Images to columns and back, for convolution as a matrix product.
//!
//! Row `(n, oy, ox)` of the columns holds what the window at `(oy, ox)` of image `n` sees, in the order `(kh, kw, c)` of a
//! kernel `(KH, KW, C, O)`. Works on a block of output rows `(n, oy)` at a time, so that the columns stay in the cache.

use std::ops::Range;

use crate::window::Axis;

/// The images that columns are made from, and the window that slides over them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Geometry of height and width.
    pub(crate) axes: [Axis; 2],
    /// Channels of the images.
    pub(crate) channels: usize,
    /// First channel of the convolution group.
    pub(crate) first: usize,
    /// Channels of the group.
    pub(crate) group: usize,
}

impl Columns {
    /// Elements in a row of columns.
    pub(crate) fn width(&self) -> usize {
        self.axes[0].size * self.axes[1].size * self.group
    }

    /// Output rows `(n, oy)` whose columns fit the cache of one core (256 KiB), at least one.
    pub(crate) fn block(&self) -> usize {
        (65_536 / (self.width() * self.axes[1].output).max(1)).max(1)
    }

    /// Element of image row `n, iy` of `x`, of its first pixel and of the group's first channel.
    fn row_start(&self, n: usize, iy: usize) -> usize {
        (n * self.axes[0].input + iy) * self.axes[1].input * self.channels + self.first
    }

    /// Calls `f(start of a run in the columns, start of the same run in x or None for padding)` for every tap of every
    /// window in a block of output rows. A run is `group` elements long.
    fn for_each_tap(&self, rows: Range<usize>, mut f: impl FnMut(usize, Option<usize>)) {
        let [h, w] = &self.axes;
        let mut at = 0;
        for row in rows {
            let (n, oy) = (row / h.output, row % h.output);
            for ox in 0..w.output {
                for kh in 0..h.size {
                    let line = h.tap(oy, kh).map(|iy| self.row_start(n, iy));
                    for kw in 0..w.size {
                        f(at, line.zip(w.tap(ox, kw)).map(|(line, ix)| line + ix * self.channels));
                        at += self.group;
                    }
                }
            }
        }
    }

    /// Fills the columns of a block of output rows.
    pub(crate) fn gather(&self, x: &[f32], rows: Range<usize>, columns: &mut [f32]) {
        let group = self.group;
        self.for_each_tap(rows, |at, source| match (source, group) {
            (Some(source), 1) => columns[at] = x[source],
            (Some(source), _) => columns[at..at + group].copy_from_slice(&x[source..source + group]),
            (None, _) => columns[at..at + group].fill(0.0),
        });
    }

    /// Adds the columns of a block of output rows to where they came from. `dx` starts with the block's first image.
    pub(crate) fn scatter(&self, columns: &[f32], rows: Range<usize>, dx: &mut [f32]) {
        let group = self.group;
        let origin = self.row_start(rows.start / self.axes[0].output, 0) - self.first;
        self.for_each_tap(rows, |at, target| {
            if let Some(target) = target {
                let dx = &mut dx[target - origin..][..group];
                dx.iter_mut().zip(&columns[at..at + group]).for_each(|(dx, c)| *dx += c);
            }
        });
    }
}
