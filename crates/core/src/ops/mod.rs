//! The ops, one or one family a file, and their registry.

pub mod batch_norm;
pub mod binary;
pub mod conv2d;
mod conv2d_gpu;
pub mod copy;
pub mod cross_entropy;
mod fill;
pub mod gather;
mod gemm;
mod matmul;
pub mod movement;
pub mod optimizer;
pub mod pool2d;
pub mod random;
pub mod reduce;
pub mod softmax;
pub mod unary;

pub(crate) use fill::fill;

use tilegrad_shaders::Shader;

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

/// Every op family.
pub static ALL: &[&OpInfo] = &[
    &batch_norm::INFO,
    &binary::INFO,
    &conv2d::INFO,
    &copy::INFO,
    &cross_entropy::INFO,
    &fill::INFO,
    &gather::INFO,
    &matmul::INFO,
    &movement::INFO,
    &optimizer::INFO,
    &pool2d::INFO,
    &random::INFO,
    &reduce::INFO,
    &softmax::INFO,
    &unary::INFO,
];
