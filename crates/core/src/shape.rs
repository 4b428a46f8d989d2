//! Shapes, strides and broadcasting: index arithmetic that every op shares. Window geometry is in `window.rs`.

use std::fmt;
use std::ops::Deref;

/// The most axes a tensor can have. Kernels carry shapes and strides in parameters of a fixed size.
pub const MAX_RANK: usize = 8;

/// The most elements of four bytes that Rust allows in one allocation.
const MAX_ELEMENTS: usize = isize::MAX as usize / 4;

/// The lengths of a tensor's axes, outermost first. A rank-0 shape is a scalar and has one element.
///
/// ```
/// use tilegrad_core::Shape;
/// let s = Shape::from([2, 3, 4]);
/// assert_eq!((s.rank(), s.len(), s[1]), (3, 24, 3));
/// assert_eq!(s.to_string(), "[2, 3, 4]");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// A shape with these axes.
    ///
    /// # Panics
    /// With more than [`MAX_RANK`] axes, or when the elements are more than memory could hold.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Shape {
        match Shape::try_new(dims) {
            Ok(shape) => shape,
            Err(error) => panic!("{}", error.of("shape")),
        }
    }

    /// [`Shape::new`] for shapes that are worked out: by ops, whose message names the op, and from files.
    ///
    /// # Errors
    /// With more than [`MAX_RANK`] axes, or when the elements are more than memory could hold.
    pub fn try_new(dims: &[usize]) -> Result<Shape, ShapeError> {
        if dims.len() > MAX_RANK {
            let problem = format!("{dims:?} has {} axes, at most {MAX_RANK} are supported", dims.len());
            return Err(ShapeError::new(problem));
        }
        // Axes of length 0 don't count, so that strides don't overflow either. Past this, the size in bytes would.
        let product = dims.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d));
        if product.is_none_or(|n| n > MAX_ELEMENTS) {
            let problem = format!("{dims:?} has more elements than memory could hold ({MAX_ELEMENTS})");
            return Err(ShapeError::new(problem));
        }
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Ok(Shape { dims: all, rank: dims.len() as u8 })
    }

    /// The shape of a single number: no axes, one element.
    pub fn scalar() -> Shape {
        Shape::new(&[])
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// Number of elements; 1 for a scalar, 0 when any axis is 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.iter().product()
    }

    /// The axis lengths.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank()]
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step *= self[axis];
        }
        strides
    }

    /// This shape with axis `axis` set to `len`.
    #[track_caller]
    pub fn with(&self, axis: usize, len: usize) -> Shape {
        let mut dims = *self;
        dims.dims[axis] = len;
        Shape::new(dims.dims())
    }

    /// Turns a possibly negative axis (`-1` is the last) into an index.
    ///
    /// # Errors
    /// When the axis is outside `-rank..rank`.
    pub fn axis(&self, axis: isize) -> Result<usize, ShapeError> {
        let rank = self.rank() as isize;
        if (-rank..rank).contains(&axis) {
            Ok(if axis < 0 { axis + rank } else { axis } as usize)
        } else {
            Err(ShapeError::new(format!("axis {axis} is out of range for rank {rank}")).operand("x", self))
        }
    }

    /// The shape two operands broadcast to, by numpy's rule: aligned at the last axis, lengths equal or 1.
    ///
    /// # Errors
    /// Names the clashing axes, or says that the elements are more than memory could hold.
    pub fn broadcast(&self, rhs: &Shape) -> Result<Shape, ShapeError> {
        let rank = self.rank().max(rhs.rank());
        let mut dims = [1; MAX_RANK];
        for (back, dim) in (1..=rank).zip(dims[..rank].iter_mut().rev()) {
            let l = if back <= self.rank() { self[self.rank() - back] } else { 1 };
            let r = if back <= rhs.rank() { rhs[rhs.rank() - back] } else { 1 };
            *dim = match (l, r) {
                (l, r) if l == r => l,
                (1, r) => r,
                (l, 1) => l,
                (l, r) => {
                    return Err(ShapeError::new(format!("shapes do not broadcast ({l} != {r})"))
                        .operand_axis("lhs", self, self.rank() - back)
                        .operand_axis("rhs", rhs, rhs.rank() - back)
                        .help("axes are aligned at the last one; lengths must be equal, or one of them 1"));
                }
            };
        }
        Shape::try_new(&dims[..rank]).map_err(|error| error.operand("lhs", self).operand("rhs", rhs))
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Shape {
        Shape::new(dims)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Shape {
        Shape::new(&dims)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        *shape
    }
}

impl From<&Vec<usize>> for Shape {
    #[track_caller]
    fn from(dims: &Vec<usize>) -> Shape {
        Shape::new(dims)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a tensor's elements lie in its buffer: element `(i, j, ..)` is at `offset + i*strides[0] + j*strides[1] + ..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Axis lengths.
    pub shape: Shape,
    /// Step of each axis, in elements; 0 repeats one element (broadcasting). No tensor steps backwards, but the layouts that
    /// `flip` copies through do, and keep a negative step as its two's complement: additions wrap around.
    pub strides: [usize; MAX_RANK],
    /// Position of the first element, in elements.
    pub offset: usize,
}

impl Layout {
    /// Row-major, from the start of a buffer.
    pub fn contiguous(shape: Shape) -> Layout {
        Layout { shape, strides: shape.strides(), offset: 0 }
    }

    /// Whether the elements lie row-major without gaps (at any offset). Axes of length 1 have no say.
    pub fn is_contiguous(&self) -> bool {
        let want = self.shape.strides();
        self.shape.contains(&0) || (0..self.shape.rank()).all(|a| self.shape[a] == 1 || self.strides[a] == want[a])
    }

    /// The same elements seen as `shape` (which this layout's shape broadcasts to): new and stretched axes get stride 0.
    pub fn broadcast_to(&self, shape: &Shape) -> Layout {
        let pad = shape.rank() - self.shape.rank();
        let mut strides = [0; MAX_RANK];
        for axis in 0..self.shape.rank() {
            strides[axis + pad] = if self.shape[axis] == shape[axis + pad] { self.strides[axis] } else { 0 };
        }
        Layout { shape: *shape, strides, offset: self.offset }
    }

    /// The same elements in the same order as another shape with as many, if strides can express it without a copy.
    pub fn reshape(&self, shape: &Shape) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(*shape) });
        }
        // Split the merged axes up again, innermost first: each new axis takes its part of one merged axis.
        let [merged] = Layout::merge_axes([*self]);
        let mut blocks = merged.shape.iter().copied().zip(merged.strides).rev();
        let (mut left, mut step) = (1, 0);
        let mut strides = [0; MAX_RANK];
        for axis in (0..shape.rank()).rev().filter(|&a| shape[a] != 1) {
            if left == 1 {
                (left, step) = blocks.next()?;
            }
            if left % shape[axis] != 0 {
                return None;
            }
            strides[axis] = step;
            left /= shape[axis];
            step *= shape[axis];
        }
        Some(Layout { shape: *shape, strides, offset: self.offset })
    }

    /// Positions in the buffer of all elements, in row-major order of the indices.
    pub fn positions(&self) -> Positions<'_> {
        Positions { layout: self, index: [0; MAX_RANK], at: self.offset, left: self.shape.len() }
    }

    /// Merges neighbouring axes that every layout steps through as one, so that kernels loop over fewer axes.
    /// All layouts have the same shape, and so do the results.
    pub fn merge_axes<const N: usize>(layouts: [Layout; N]) -> [Layout; N] {
        let shape = layouts[0].shape;
        let mut dims: Vec<usize> = Vec::with_capacity(MAX_RANK);
        let mut strides = [[0; MAX_RANK]; N];
        let span = |stride: usize, len: usize| stride.wrapping_mul(len);
        for axis in (0..shape.rank()).filter(|&a| shape[a] != 1) {
            let rank = dims.len();
            let joins = rank > 0
                && layouts.iter().zip(&strides).all(|(l, s)| s[rank - 1] == span(l.strides[axis], shape[axis]));
            let at = if joins { rank - 1 } else { rank };
            if joins {
                dims[at] *= shape[axis];
            } else {
                dims.push(shape[axis]);
            }
            for (merged, l) in strides.iter_mut().zip(&layouts) {
                merged[at] = l.strides[axis];
            }
        }
        let shape = Shape::new(&dims);
        std::array::from_fn(|i| Layout { shape, strides: strides[i], offset: layouts[i].offset })
    }
}

/// Iterator of [`Layout::positions`].
pub struct Positions<'a> {
    layout: &'a Layout,
    index: [usize; MAX_RANK],
    at: usize,
    left: usize,
}

impl Iterator for Positions<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let here = self.at;
        for axis in (0..self.layout.shape.rank()).rev() {
            self.index[axis] += 1;
            self.at = self.at.wrapping_add(self.layout.strides[axis]);
            if self.index[axis] < self.layout.shape[axis] {
                break;
            }
            self.at = self.at.wrapping_sub(self.layout.strides[axis].wrapping_mul(self.index[axis]));
            self.index[axis] = 0;
        }
        Some(here)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Positions<'_> {}

/// Why operands do not fit an op. `Display` gives the message form that every shape mistake has:
///
/// ```text
/// matmul: inner axes differ (784 != 512)
///   lhs: [32, 784]   axis 1 = 784
///   rhs: [512, 784]   axis 0 = 512
///   help: if rhs is stored as (out, in), use rhs.transpose()
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError(Box<Report>);

/// Boxed, so that a `Result` of a shape rule stays small where all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Report {
    op: String,
    problem: String,
    operands: Vec<String>,
    help: Option<String>,
}

impl ShapeError {
    /// An error that says what is wrong, without the op's name: whoever runs the op adds it.
    pub fn new(problem: impl Into<String>) -> ShapeError {
        ShapeError(Box::new(Report { op: String::new(), problem: problem.into(), operands: Vec::new(), help: None }))
    }

    /// Adds the name of the op or layer in front, unless one is there already.
    pub fn of(mut self, op: &str) -> ShapeError {
        if self.0.op.is_empty() {
            self.0.op = op.to_string();
        }
        self
    }

    /// Adds a line with an operand's name and shape.
    pub fn operand(mut self, name: &str, shape: &Shape) -> ShapeError {
        self.0.operands.push(format!("{name}: {shape}"));
        self
    }

    /// Adds a line with an operand's name and shape, and points out one axis.
    pub fn operand_axis(mut self, name: &str, shape: &Shape, axis: usize) -> ShapeError {
        self.0.operands.push(format!("{name}: {shape}   axis {axis} = {}", shape[axis]));
        self
    }

    /// Adds a `help:` line: the likely fix.
    pub fn help(mut self, help: impl Into<String>) -> ShapeError {
        self.0.help = Some(help.into());
        self
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.op.is_empty() {
            write!(f, "{}: ", self.0.op)?;
        }
        f.write_str(&self.0.problem)?;
        for operand in &self.0.operands {
            write!(f, "\n  {operand}")?;
        }
        match &self.0.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ShapeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasts_like_numpy() {
        let b = |l: &[usize], r: &[usize]| Shape::new(l).broadcast(&Shape::new(r));
        assert_eq!(b(&[2, 1, 3], &[4, 1]).unwrap(), Shape::from([2, 4, 3]));
        assert_eq!(b(&[], &[5]).unwrap(), Shape::from([5]));
        assert_eq!(b(&[0], &[1]).unwrap(), Shape::from([0]));
        let error = b(&[2, 3], &[2, 4]).unwrap_err().of("add").to_string();
        assert!(error.starts_with("add: shapes do not broadcast (3 != 4)\n  lhs: [2, 3]   axis 1 = 3\n"), "{error}");
    }

    #[test]
    fn positions_follow_strides() {
        let x = Layout::contiguous(Shape::from([2, 3]));
        let t = Layout { shape: Shape::from([3, 2]), strides: [1, 3, 0, 0, 0, 0, 0, 0], offset: 0 };
        assert_eq!(x.positions().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(t.positions().collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        assert!(x.is_contiguous() && !t.is_contiguous());
        assert_eq!(Layout::contiguous(Shape::scalar()).positions().count(), 1);
        assert_eq!(Layout::contiguous(Shape::from([0, 3])).positions().count(), 0);
    }

    #[test]
    fn reshapes_without_a_copy_where_strides_allow() {
        let t = Layout { shape: Shape::from([2, 6, 4]), strides: [24, 1, 6, 0, 0, 0, 0, 0], offset: 5 };
        let split = t.reshape(&Shape::from([2, 1, 3, 2, 4])).unwrap();
        assert_eq!(split.positions().collect::<Vec<_>>(), t.positions().collect::<Vec<_>>());
        assert!(t.reshape(&Shape::from([12, 4])).is_none() && t.reshape(&Shape::from([2, 24])).is_none());
    }

    #[test]
    fn merges_axes_that_step_as_one() {
        let x = Layout::contiguous(Shape::from([2, 3, 4]));
        let row = Layout::contiguous(Shape::from([4])).broadcast_to(&x.shape);
        let [x, row] = Layout::merge_axes([x, row]);
        assert_eq!((x.shape, row.shape), (Shape::from([6, 4]), Shape::from([6, 4])));
        assert_eq!((&x.strides[..2], &row.strides[..2]), (&[4, 1][..], &[0, 1][..]));
    }
}
