//! Convolution as matrix products whose left matrix are the windows where they lie: blocks of padded image rows are copied to
//! the cache, once, in place of a copy for each tap as `im2col.rs` makes.

use std::ops::Range;

use super::gemm::{Mat, add_column_sums};
use super::im2col::Columns;
use super::par;
use super::product::{End, Left, Packed, Product};

/// What a block's rows, of images and outputs, take of the cache of one core, in elements (256 KiB).
const BLOCK: usize = 65_536;

/// Parts of a sum over the pixels: whatever the number of threads, so that results don't depend on it.
const PARTS: usize = 8;

impl Columns {
    /// Pixels in a row of the padded image.
    fn pitch(&self) -> usize {
        let w = &self.axes[1];
        (w.output - 1) * w.stride + (w.size - 1) * w.dilation + 1
    }

    /// Rows of the padded image that `rows` rows of outputs see.
    fn padded_rows(&self, rows: usize) -> usize {
        let h = &self.axes[0];
        (rows - 1) * h.stride + (h.size - 1) * h.dilation + 1
    }

    /// Output rows to work on together, out of one image: the image's rows divided by a whole number. At least 1.
    fn output_rows(&self, images: usize, out: usize) -> usize {
        let [h, w] = &self.axes;
        let fits = |rows: usize| self.padded_rows(rows) * self.pitch() * self.group + rows * w.output * out <= BLOCK;
        // Few images are split all the same, for other threads.
        let most = (images * h.output / 32).max(1);
        (1..=most.min(h.output)).rev().find(|&rows| h.output.is_multiple_of(rows) && fits(rows)).unwrap_or(1)
    }

    /// Copies the padded rows that output rows `first..first + rows` of image `n` see. Channels are the group's.
    fn pad(&self, x: &[f32], n: usize, first: usize, rows: usize, padded: &mut Vec<f32>) {
        let ([h, w], group) = (&self.axes, self.group);
        let (pitch, left) = (self.pitch(), w.before);
        padded.clear();
        for row in 0..self.padded_rows(rows) {
            let end = padded.len() + pitch * group;
            if let Some(y) = (first * h.stride + row).checked_sub(h.before).filter(|&y| y < h.input) {
                padded.resize(padded.len() + left.min(pitch) * group, 0.0);
                let seen = w.input.min(pitch.saturating_sub(left));
                let line = &x[(n * h.input + y) * w.input * self.channels..][..seen * self.channels];
                if group == self.channels {
                    padded.extend_from_slice(line);
                } else {
                    line.chunks(self.channels).for_each(|x| padded.extend_from_slice(&x[self.first..][..group]));
                }
            }
            padded.resize(end, 0.0);
        }
    }

    /// Where in the padded rows the windows of `rows` output rows begin.
    fn windows(&self, rows: usize) -> Vec<usize> {
        let [h, w] = &self.axes;
        let at = |y: usize, x: usize| (y * h.stride * self.pitch() + x * w.stride) * self.group;
        (0..rows).flat_map(|y| (0..w.output).map(move |x| at(y, x))).collect()
    }

    /// Where in a window its runs begin, and their length: rows of the window, or single taps if there are holes.
    fn runs(&self) -> (Vec<usize>, usize) {
        let [h, w] = &self.axes;
        let (taps, run) = if w.dilation == 1 { (1, w.size * self.group) } else { (w.size, self.group) };
        let at = |y: usize, x: usize| (y * h.dilation * self.pitch() + x * w.dilation) * self.group;
        ((0..h.size).flat_map(|y| (0..taps).map(move |x| at(y, x))).collect(), run)
    }
}

/// A convolution on the CPU: where channels of a group lie, and how many there are of outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) images: usize,
    /// Of the first group.
    pub(crate) columns: Columns,
    pub(crate) groups: usize,
    /// Output channels of all groups.
    pub(crate) out: usize,
}

impl Convolution {
    fn group(&self, group: usize) -> Columns {
        Columns { first: group * self.columns.group, ..self.columns }
    }

    /// Whether columns would not be better: for images of hardly an output, which are then worked on many together, and for
    /// windows so far spread that the rows which one output sees are past the cache.
    pub(crate) fn pays(&self) -> bool {
        let g = &self.columns;
        g.axes[0].output * g.axes[1].output >= 4 && g.padded_rows(1) * g.pitch() * g.group <= 8 * BLOCK
    }

    /// `y = act(x * w + bias)`, where `act` is relu or nothing.
    pub(crate) fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, relu: bool, y: &mut [f32]) {
        let (g, width) = (self.columns, self.out / self.groups);
        let [h, along] = g.axes;
        let row = along.output * self.out;
        let weights = |group: usize| {
            let w = &w[(group * width).min(w.len())..];
            Packed::new(w, [self.out, 1], [g.width(), width])
        };
        let weights: Vec<Packed> = (0..self.groups).map(weights).collect();
        let block = g.output_rows(self.images, self.out);
        let (windows, (starts, run)) = (g.windows(block), g.runs());
        par::share(y.chunks_mut(block * row).enumerate(), Vec::new, |padded, (i, y)| {
            let (n, first) = (i * block / h.output, i * block % h.output);
            for (group, right) in weights.iter().enumerate() {
                self.group(group).pad(x, n, first, block, padded);
                let channels = group * width..(group + 1) * width;
                Product {
                    a: Left { data: padded, rows: &windows, starts: &starts, run, step: 1 },
                    right,
                    y: &mut y[channels.start..],
                    stride: self.out,
                    end: End::Write { bias: bias.map(|bias| &bias[channels]), relu },
                }
                .run();
            }
        });
    }

    /// `dw` from `x` and `dz`, and with `bias` behind it one more row, the sums of `dz`.
    pub(crate) fn weight_gradient(&self, bias: bool, x: &[f32], dz: &[f32], dw: &mut [f32]) {
        let (h, block) = (self.columns.axes[0], self.columns.output_rows(self.images, self.out));
        let blocks = self.images * h.output / block;
        let parts = blocks.clamp(1, PARTS);
        let (len, mut sums) = (dw.len(), vec![Vec::new(); parts]);
        par::share(
            sums.iter_mut().enumerate(),
            || (),
            |(), (part, sum)| {
                sum.resize(len, 0.0);
                let blocks = part * blocks / parts..(part + 1) * blocks / parts;
                self.add_weight_gradient(bias, x, dz, (block, blocks), sum);
            },
        );
        par::chunks(dw, 1, |first, dw| {
            dw.fill(0.0);
            for sum in &sums {
                dw.iter_mut().zip(&sum[first..]).for_each(|(dw, part)| *dw += part);
            }
        });
    }

    /// Adds what some blocks of `block` output rows give.
    fn add_weight_gradient(
        &self,
        bias: bool,
        x: &[f32],
        dz: &[f32],
        (block, blocks): (usize, Range<usize>),
        dw: &mut [f32],
    ) {
        let (g, width) = (self.columns, self.out / self.groups);
        let [h, w] = g.axes;
        let pixels = block * w.output;
        // The windows' transpose: a row for each tap and channel, a run for each row of outputs.
        let (runs, run) = g.runs();
        let taps: Vec<usize> = runs.iter().flat_map(|&start| start..start + run).collect();
        let rows: Vec<usize> = (0..block).map(|y| y * h.stride * g.pitch() * g.group).collect();
        let (mut padded, mut right) = (Vec::new(), Packed::default());
        for i in blocks {
            let (n, first) = (i * block / h.output, i * block % h.output);
            let dz = &dz[i * pixels * self.out..];
            if bias {
                add_column_sums(&mut dw[g.width() * self.out..], Mat::rows(dz, self.out), pixels);
            }
            for group in 0..self.groups {
                self.group(group).pad(x, n, first, block, &mut padded);
                right.fill(&dz[group * width..], [self.out, 1], [pixels, width]);
                Product {
                    a: Left { data: &padded, rows: &taps, starts: &rows, run: w.output, step: w.stride * g.group },
                    right: &right,
                    y: &mut dw[group * width..],
                    stride: self.out,
                    end: End::Add,
                }
                .run();
            }
        }
    }

    /// `dx` from `dz` and `w`, for stride 1: the convolution of `dz` with the kernel turned round and its channels swapped.
    /// `None` where the padding is wider than the window, so that some of `dz` is not seen.
    pub(crate) fn turned(&self) -> Option<Convolution> {
        let mut axes = self.columns.axes;
        for a in &mut axes {
            let before = ((a.size - 1) * a.dilation).checked_sub(a.before)?;
            (a.input, a.output, a.before) = (a.output, a.input, before);
            if a.stride != 1 {
                return None;
            }
        }
        let group = self.out / self.groups;
        let columns = Columns { axes, channels: self.out, first: 0, group };
        Some(Convolution { columns, out: self.columns.channels, ..*self })
    }
}

/// The kernel `(taps, c, O)` turned round: `(taps, O/groups, groups * c)`, where a group's channels lie together.
pub(crate) fn turn(w: &[f32], taps: usize, c: usize, groups: usize) -> Vec<f32> {
    let out = w.len() / (taps * c).max(1);
    let width = out / groups;
    let mut turned = vec![0.0; w.len()];
    for (tap, turned) in turned.chunks_mut((c * out).max(1)).rev().enumerate() {
        for (i, of_channel) in w[tap * c * out..][..c * out].chunks(out).enumerate() {
            for (o, &w) in of_channel.iter().enumerate() {
                turned[o % width * groups * c + o / width * c + i] = w;
            }
        }
    }
    turned
}
