//! Other names of the same ops: JAX's, numpy's, PyTorch's and ONNX's, each brought to the one that the families know.

/// The name under which a family knows an op.
pub fn canonical(op: &str) -> &str {
    // `reduce_sum` and the like: a name of the reduction in XLA.
    match op.strip_prefix("reduce_").unwrap_or(op) {
        "negative" => "neg",
        "power" => "pow",
        "subtract" => "sub",
        "multiply" => "mul",
        "divide" | "true_divide" => "div",
        "logistic" => "sigmoid",
        "hardsigmoid" => "hard_sigmoid",
        "hardswish" | "hardsilu" => "hard_swish",
        "leakyrelu" => "leaky_relu",
        "variance" => "var",
        "sum_of_squares" | "sumsquare" => "sum_square",
        "lse" => "logsumexp",
        "top_k" => "topk",
        "dense" => "linear",
        "moveaxis" => "move_axis",
        "conv2d_depthwise" | "depthwise_conv" | "depthwise" => "depthwise_conv2d",
        "conv2d_transpose" | "convtranspose2d" => "conv_transpose2d",
        "logsoftmax" => "log_softmax",
        "crossentropy" | "softmax_cross_entropy" | "softmax_xent" | "sparse_cross_entropy" => "cross_entropy",
        "mse_loss" => "mse",
        "l1_loss" => "l1",
        "huber_loss" => "huber",
        "smooth_l1_loss" => "smooth_l1",
        "bce_loss" => "bce",
        "bce_with_logits_loss" => "bce_with_logits",
        "kl_div_loss" | "kldiv" => "kl_div",
        "cross_entropy_loss" => "cross_entropy",
        other => pooling(other),
    }
}

/// Global pooling, whose names are legion.
fn pooling(op: &str) -> &str {
    let plain: String = op.chars().filter(|c| *c != '_').collect();
    match plain.trim_end_matches("2d") {
        "globalavgpool" | "globalaveragepool" | "gap" => "global_avgpool2d",
        "globalmaxpool" | "gmp" => "global_maxpool2d",
        _ => op,
    }
}
