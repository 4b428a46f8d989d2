//! The ops, one or one family a file, and their registry.

pub mod affine_warp;
mod argmax;
mod axes;
pub mod batch_norm;
pub mod binary;
pub mod blocks;
mod broadcast;
mod cast;
pub mod clock;
mod compare;
mod conv2d;
mod conv2d_columns;
mod conv2d_cpu;
mod conv2d_gpu;
mod conv_nd;
pub mod conv_options;
pub mod conv_transpose;
pub mod copy;
pub mod cross_entropy;
pub mod cross_entropy_step;
pub mod cumulative;
mod fill;
pub mod flip;
pub mod gather;
mod gather_axis;
mod gather_nd;
mod gemm;
pub(crate) mod gemm_tiles;
pub mod half;
mod integer;
mod join;
pub mod local_response_norm;
pub mod losses;
mod lp_pool2d;
pub mod matmul;
mod max_pool2d;
mod max_unpool;
pub mod movement;
pub mod nll_loss;
mod norm;
pub mod optimizer;
mod optimizer_constants;
mod optimizer_rates;
pub mod pack;
mod pad;
pub mod pool;
pub mod pool2d;
pub mod random;
mod ranges;
pub mod reduce;
mod resample;
pub mod resize;
pub mod restore;
pub mod running_statistics;
pub mod scatter;
mod select;
pub mod softmax;
mod sort;
mod statistics;
mod tile;
mod triangle;
pub mod unary;
mod unary_cpu;
mod unary_curve;
mod unary_methods;
mod unary_table;
mod where_cond;

pub(crate) use fill::fill;

use tilegrad_shaders::Shader;

use crate::gpu::Stream;

/// What the registry knows of an op family: enough for tests to enumerate every kernel with every header, and for the
/// documentation to list every op.
#[derive(Debug)]
pub struct OpInfo {
    /// Names as [`crate::op::Op::name`] gives them.
    pub names: &'static [&'static str],
    /// Whether the family has gradients.
    pub differentiable: bool,
    /// The kernels it launches.
    pub kernels: &'static [KernelInfo],
}

/// One WGSL file as an op family uses it.
#[derive(Debug)]
pub struct KernelInfo {
    /// The file.
    pub shader: &'static Shader,
    /// The entry points that are launched.
    pub entries: &'static [&'static str],
    /// Every header of constants, or a set that covers every path where shapes are baked in.
    pub headers: fn() -> Vec<Vec<(&'static str, u32)>>,
    /// Size of the Rust struct that is sent as `Params`, in bytes.
    pub params_bytes: usize,
}

/// Rows up to this length are one thread's work; longer ones are split, see [`parts_of_row`].
const LONG_ROW: u32 = 4096;

/// The most rounds that the loops of one thread may make together. llvmpipe silently ends a kernel after 65,535, and loops
/// over a pixel's channels need a few.
const MAX_ROUNDS: usize = 65_000;

/// Into how many parts a row of `n` elements is split, and the length of one. There are about as many parts as elements in
/// one, so that neither the kernel that goes through a part nor the one that merges them loops for long.
fn parts_of_row(gpu: &Stream, op: &str, n: u32) -> (u32, u32) {
    let length = if n <= LONG_ROW { n.max(1) } else { n.isqrt().next_multiple_of(64) };
    // No kernel goes through its part more than three times.
    check_rounds(op, gpu.gpu().is_software(), 3 * length as usize);
    (n.div_ceil(length), length)
}

/// Refuses what a software adapter would compute wrongly, without a word, because a thread's loops make too many rounds.
///
/// # Panics
/// At the caller, on a software adapter.
#[track_caller]
fn check_rounds(op: &str, is_software: bool, rounds: usize) {
    assert!(
        rounds <= MAX_ROUNDS || !is_software,
        "{op}: takes {rounds} loop rounds in a thread, a software adapter runs at most {MAX_ROUNDS}\n  \
         help: use the CPU device or a graphics card"
    );
}

/// Every op family.
pub static ALL: &[&OpInfo] = &[
    &affine_warp::INFO,
    &argmax::INFO,
    &batch_norm::INFO,
    &binary::INFO,
    &cast::INFO,
    &clock::INFO,
    &compare::INFO,
    &conv2d::INFO,
    &copy::INFO,
    &cross_entropy::INFO,
    &cross_entropy_step::INFO,
    &cumulative::INFO,
    &fill::INFO,
    &flip::INFO,
    &gather::INFO,
    &gather_axis::INFO,
    &gather_nd::INFO,
    &integer::INFO,
    &join::INFO,
    &lp_pool2d::INFO,
    &matmul::INFO,
    &max_pool2d::INFO,
    &max_unpool::INFO,
    &movement::INFO,
    &nll_loss::INFO,
    &optimizer::INFO,
    &pack::INFO,
    &pool2d::INFO,
    &random::INFO,
    &reduce::INFO,
    &resample::INFO,
    &restore::INFO,
    &scatter::INFO,
    &softmax::INFO,
    &sort::INFO,
    &unary::INFO,
    &where_cond::INFO,
];
