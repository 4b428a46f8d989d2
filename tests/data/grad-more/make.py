"""Makes the cases of this folder: `python make.py` with jax, optax and numpy. Float64 on the CPU, rounded once."""

import json
import os
import struct

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax, nn

FOLDER = os.path.dirname(os.path.abspath(__file__))
random = np.random.default_rng(3)
cases, optimizers = [], []


def uniform(*shape, low=-2.0, high=2.0):
    """Numbers that single precision has, so that an input is the same for both sides."""
    return np.float64(np.float32(random.uniform(low, high, shape)))


def save(name, tensors):
    header, parts, offset = {}, [], 0
    for key, value in tensors.items():
        value = np.asarray(value)
        kinds = {"f": ("F32", np.float32), "b": ("BOOL", np.bool_), "i": ("I64", np.int64)}
        dtype, held_as = kinds[value.dtype.kind]
        part = np.ascontiguousarray(value.astype(held_as)).tobytes()
        header[key] = {
            "dtype": dtype,
            "shape": list(value.shape),
            "data_offsets": [offset, offset + len(part)],
        }
        offset += len(part)
        parts.append(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(FOLDER, name), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def case(name, op, f, inputs, attrs=None, constant=()):
    """An op of named inputs, with the gradients of all inputs of floats that are not constant."""
    floats = [k for k, v in inputs.items() if np.asarray(v).dtype.kind == "f"]
    diff = [k for k in floats if k not in constant]
    inputs = {k: jnp.asarray(v) for k, v in inputs.items()}
    y, vjp = jax.vjp(lambda some: f(*{**inputs, **some}.values()), {k: inputs[k] for k in diff})
    cotangent = uniform(*y.shape, low=-1.0, high=1.0)
    gradients = vjp(jnp.asarray(cotangent))[0]
    tensors = {f"in.{k}": v for k, v in inputs.items()}
    tensors |= {"cot.y": cotangent, "out.y": y} | {f"grad.{k}": gradients[k] for k in diff}
    file = f"{name}.safetensors"
    save(file, tensors)
    cases.append({
        "name": name,
        "op": op,
        "file": file,
        "attrs": attrs or {},
        "diff": diff,
        "const": [k for k in inputs if k not in diff],
        "rtol": 2e-4,
        "atol": 2e-5,
        "shapes": {k: list(np.shape(v)) for k, v in tensors.items()},
    })


def optimizer(name, transformation, config):
    """Twelve steps; gradients are `g.0` and so on, weights `p.0` to `p.12`."""
    weights = jnp.asarray(uniform(3, 5))
    tensors = {"p.0": weights}
    state = transformation.init(weights)
    for step in range(12):
        gradient = uniform(3, 5, low=-1.0, high=1.0)
        updates, state = transformation.update(jnp.asarray(gradient), state, weights)
        weights = optax.apply_updates(weights, updates)
        tensors |= {f"g.{step}": gradient, f"p.{step + 1}": weights}
    file = f"opt_{name}.safetensors"
    save(file, tensors)
    optimizers.append(
        {"name": name, "file": file, "steps": 12, "config": config, "rtol": 2e-5, "atol": 2e-6}
    )


def elementwise():
    for op, f, low, high in [
        ("abs", jnp.abs, -2, 2), ("acos", jnp.arccos, -0.9, 0.9), ("acosh", jnp.arccosh, 1.1, 3),
        ("asin", jnp.arcsin, -0.9, 0.9), ("asinh", jnp.arcsinh, -2, 2), ("atan", jnp.arctan, -2, 2),
        ("atanh", jnp.arctanh, -0.9, 0.9), ("ceil", jnp.ceil, -2, 2), ("cosh", jnp.cosh, -2, 2),
        ("exp", jnp.exp, -2, 2), ("expm1", jnp.expm1, -1, 1), ("floor", jnp.floor, -2, 2),
        ("gelu_exact", lambda x: nn.gelu(x, approximate=False), -3, 3),
        ("hard_sigmoid", nn.hard_sigmoid, -5, 5), ("hard_tanh", nn.hard_tanh, -2, 2),
        ("mish", nn.mish, -3, 3), ("round", jnp.round, -2, 2), ("rsqrt", lax.rsqrt, 0.2, 2),
        ("selu", nn.selu, -2, 2), ("sign", jnp.sign, -2, 2), ("sinh", jnp.sinh, -2, 2),
        ("sqrt", jnp.sqrt, 0.2, 2), ("tan", jnp.tan, -1, 1), ("tanh", jnp.tanh, -2, 2),
    ]:
        case(f"unary_{op}", op, f, {"x": uniform(4, 33, low=low, high=high)})
    x = uniform(4, 5)
    case("leaky_relu", "leaky_relu", lambda x: nn.leaky_relu(x, 0.1), {"x": x}, {"negative_slope": 0.1})
    case("elu_alpha", "elu", lambda x: nn.elu(x, 0.7), {"x": x}, {"alpha": 0.7})
    case("prelu", "prelu", lambda x, slope: jnp.where(x > 0, x, slope * x), {"x": x, "slope": uniform(5)})
    case("pow_both", "pow", lambda a, b: a**b, {"a": uniform(4, 5, low=0.3), "b": uniform(5)})
    case("maximum", "maximum", lambda a, b: jnp.maximum(a, b), {"a": x, "b": uniform(5)})
    where = {"c": random.uniform(size=(4, 5)) > 0.5, "a": x, "b": uniform(5)}
    case("where", "where", lambda c, a, b: jnp.where(c, a, b), where)


def reductions():
    for op, f in [("var", jnp.var), ("std", jnp.std)]:
        for ddof in (0, 1):
            attrs = {"axes": [0, 2], "ddof": ddof, "keepdims": True}
            x = {"x": uniform(3, 5, 4)}
            case(f"{op}_ddof{ddof}", op, lambda x: f(x, axis=(0, 2), ddof=ddof, keepdims=True), x, attrs)
    zeros = np.array([[1.0, 0, 2], [0, 0, 3], [1, 2, 3]])
    case("prod_all", "prod", lambda x: jnp.prod(x), {"x": uniform(3, 4)}, {"axes": None})
    case("prod_zeros", "prod", lambda x: jnp.prod(x, axis=1), {"x": zeros}, {"axes": [1]})
    x = {"x": uniform(4, 9)}
    case("l1_norm", "l1norm", lambda x: jnp.abs(x).sum(-1), x, {"axes": [-1]})
    case("sum_square", "sumsq", lambda x: (x * x).sum(0), x, {"axes": [0]})
    case("logsumexp_all", "logsumexp", lambda x: nn.logsumexp(x), x, {"axes": None})
    case("cumsum_axis0", "cumsum", lambda x: jnp.cumsum(x, 0), x, {"axis": 0})
    case("cumprod", "cumprod", lambda x: jnp.cumprod(x, -1), x, {"axis": -1})


def movement():
    x = {"x": uniform(4, 5)}
    for mode in ("constant", "reflect", "edge", "wrap", "symmetric"):
        attrs = {"pads": [[1, 2], [0, 3]], "mode": mode}
        case(f"pad_{mode}", "pad", lambda x: jnp.pad(x, [(1, 2), (0, 3)], mode=mode), x, attrs)
    two = {"a": uniform(2, 3), "b": uniform(2, 4)}
    case("concat", "concat", lambda a, b: jnp.concatenate([a, b], 1), two, {"axis": 1})
    two = {"a": uniform(2, 3), "b": uniform(2, 3)}
    case("stack", "stack", lambda a, b: jnp.stack([a, b], -1), two, {"axis": -1})
    case("tile", "tile", lambda x: jnp.tile(x, (2, 3)), x, {"repeats": [2, 3]})
    three = {"x": uniform(2, 3, 4)}
    case("transpose", "transpose", lambda x: x.transpose(2, 0, 1), three, {"perm": [2, 0, 1]})
    attrs = {"starts": [-1, 1], "ends": [0, -1], "steps": [-2, 1]}
    case("slice_backwards", "slice", lambda x: x[-1:0:-2, 1:-1], x, attrs)
    case("squeeze", "squeeze", lambda x: x.squeeze(1), {"x": uniform(2, 1, 3)}, {"axes": [1]})
    case("unsqueeze", "unsqueeze", lambda x: jnp.expand_dims(x, (0, 3)), x, {"axes": [0, 3]})
    case("tril", "tril", lambda x: jnp.tril(x, -1), x, {"k": -1})
    case("triu", "triu", lambda x: jnp.triu(x, 1), three, {"k": 1})
    at = {"i": np.array([[0, 4], [2, 2]])}
    case("gather", "gather", lambda x, i: jnp.take(x, i, 1), x | at, {"axis": 1})
    at = {"i": random.integers(0, 5, (4, 3))}
    case("gather_along", "gather", lambda x, i: jnp.take_along_axis(x, i, 1), x | at, {"axis": 1})
    table = {"w": uniform(6, 3), "i": random.integers(0, 6, (2, 4))}
    case("embedding", "embedding", lambda w, i: w[i], table)


def convolve(x, w, b=None, strides=(1, 1), pads=((0, 0), (0, 0)), dilations=(1, 1), groups=1):
    y = lax.conv_general_dilated(
        x, w, strides, pads, rhs_dilation=dilations, feature_group_count=groups,
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    return y if b is None else y + b[None, :, None, None]


def convolve_back(x, w, strides, pads, shape):
    forward = lambda y: convolve(y, w, None, strides, pads)
    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, x.dtype))(x)[0]


def pool(x, start, f, kernel, strides, pads):
    return lax.reduce_window(x, start, f, (1, 1) + kernel, (1, 1) + strides, ((0, 0), (0, 0)) + pads)


def mean_without_padding(x, *window):
    return pool(x, 0.0, lax.add, *window) / pool(jnp.ones_like(x), 0.0, lax.add, *window)


def images():
    attrs = {"strides": [2, 1], "pads": [[0, 1], [2, 0]], "dilations": [1, 2], "groups": 1}
    inputs = {"x": uniform(2, 3, 9, 8), "w": uniform(4, 3, 3, 2), "b": uniform(4)}
    case("conv2d_uneven", "conv2d", lambda x, w, b: convolve(x, w, b, (2, 1), ((0, 1), (2, 0)), (1, 2)), inputs, attrs)
    inputs = {"x": uniform(2, 3, 6, 6), "w": uniform(6, 1, 3, 3)}
    for op in ("conv2d", "depthwise_conv2d"):
        case(f"{op}_by_channel", op, lambda x, w: convolve(x, w, groups=3), inputs, {"groups": 3})
    attrs = {"strides": [2, 1], "pads": [[1, 1], [0, 0]], "output_shape": [2, 3, 8, 6]}
    back = lambda x, w: convolve_back(x, w, (2, 1), ((1, 1), (0, 0)), (2, 3, 8, 6))
    case("conv_transpose2d_uneven", "conv_transpose2d", back, {"x": uniform(2, 4, 4, 4), "w": uniform(4, 3, 3, 3)}, attrs)
    attrs = {"kernel": [3, 2], "strides": [2, 1], "pads": [[1, 0], [0, 1]]}
    largest = lambda x: pool(x, -jnp.inf, lax.max, (3, 2), (2, 1), ((1, 0), (0, 1)))
    case("maxpool2d_uneven", "maxpool2d", largest, {"x": uniform(2, 2, 7, 6)}, attrs)
    mean = lambda x: mean_without_padding(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    attrs = {"kernel": [3, 3], "strides": [2, 2], "pads": [[1, 1], [1, 1]], "count_include_pad": False}
    case("avgpool2d_edges", "avgpool2d", mean, {"x": uniform(2, 2, 9, 9)}, attrs)


def normal(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / jnp.sqrt(x.var(axes, keepdims=True) + eps)


def by_channel(y, g, b):
    shape = (1, -1) + (1,) * (y.ndim - 2)
    return y * g.reshape(shape) + b.reshape(shape)


def group_norm(x, g, b, groups):
    y = normal(x.reshape(x.shape[0], groups, -1), -1).reshape(x.shape)
    return by_channel(y, g, b)


def normalisation():
    inputs = {"x": uniform(4, 16), "g": uniform(16), "b": uniform(16)}
    case("layernorm", "layernorm", lambda x, g, b: normal(x, -1) * g + b, inputs, {"eps": 1e-5})
    inputs = {"x": uniform(4, 3, 5), "g": uniform(3, 5), "b": uniform(3, 5)}
    attrs = {"eps": 1e-5, "axes": [1, 2]}
    case("layernorm_two_axes", "layernorm", lambda x, g, b: normal(x, (1, 2)) * g + b, inputs, attrs)
    inputs = {"x": uniform(2, 4, 3, 3), "g": uniform(4), "b": uniform(4)}
    case("groupnorm", "groupnorm", lambda x, g, b: group_norm(x, g, b, 2), inputs, {"groups": 2, "eps": 1e-5})
    case("instancenorm", "instancenorm", lambda x, g, b: group_norm(x, g, b, 4), inputs, {"eps": 1e-5})
    inputs = {"x": uniform(8, 3), "g": uniform(3), "b": uniform(3)}
    case("batchnorm_train_1d", "batchnorm_train", lambda x, g, b: by_channel(normal(x, 0, 1e-3), g, b), inputs, {"eps": 1e-3})


def losses():
    x, t = uniform(5, 10), random.integers(0, 10, 5)
    rows = jnp.arange(5)
    negative_log = lambda x: -nn.log_softmax(x)
    smooth = lambda x, t: (0.9 * negative_log(x)[rows, t] + 0.1 * negative_log(x).mean(-1)).mean()
    case("cross_entropy_smoothed", "cross_entropy", smooth, {"x": x, "t": t}, {"label_smoothing": 0.1})
    weighted = lambda x, t, w: (negative_log(x)[rows, t] * w[t]).sum() / w[t].sum()
    inputs = {"x": x, "t": t, "w": uniform(10, low=0.1)}
    case("cross_entropy_weighted", "cross_entropy", weighted, inputs, constant=["w"])
    counted = lambda x, t: jnp.where(t != t[0], negative_log(x)[rows, t], 0).sum() / (t != t[0]).sum()
    case("cross_entropy_ignored", "cross_entropy", counted, {"x": x, "t": t}, {"ignore_index": int(t[0])})
    soft = {"x": x, "t": np.asarray(nn.softmax(uniform(5, 10)))}
    case("cross_entropy_soft", "cross_entropy", lambda x, t: (t * negative_log(x)).sum(-1).mean(), soft, constant=["t"])
    case("nll", "nll", lambda x, t: -x[rows, t].mean(), {"x": x, "t": t})
    inputs = {"x": uniform(5, 4, low=0.1, high=0.9), "t": uniform(5, 4, low=0, high=1)}
    bce = lambda x, t: -(t * jnp.log(x) + (1 - t) * jnp.log1p(-x)).mean()
    case("bce", "bce", bce, inputs, constant=["t"])
    inputs = {"x": uniform(5, 4), "t": uniform(5, 4, low=0.1, high=1)}
    from_logits = lambda x, t: optax.sigmoid_binary_cross_entropy(x, t).sum()
    case("bce_with_logits", "bce_with_logits", from_logits, inputs, {"reduction": "sum"}, ["t"])
    case("kl_div", "kl_div", lambda x, t: (t * (jnp.log(t) - x)).mean(), inputs, constant=["t"])
    huber = lambda x, t: optax.huber_loss(x, t, delta=0.5).sum()
    case("huber_half", "huber", huber, inputs, {"delta": 0.5, "reduction": "sum"}, ["t"])


def trajectories():
    adam = {"lr": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8}
    optimizer("momentum", optax.sgd(0.1, 0.9), {"lr": 0.1, "momentum": 0.9})
    optimizer("adam", optax.adam(0.01), adam)
    large = {"eps": 1e-2, "eps_root": 1e-3}
    optimizer("adam_epsilons", optax.adam(0.01, **large), adam | large)
    optimizer("adamw", optax.adamw(0.01, weight_decay=0.1), adam | {"weight_decay": 0.1})
    # A second beta at which the largest corrected mean square is not the last one.
    optimizer("amsgrad", optax.amsgrad(0.01, b2=0.9, eps=1e-3), adam | {"b2": 0.9, "eps": 1e-3})
    optimizer("nadam", optax.nadam(0.01), adam)
    optimizer("nadamw", optax.nadamw(0.01, weight_decay=0.1), adam | {"weight_decay": 0.1})
    optimizer("adamax", optax.adamax(0.01, eps=1e-3), adam | {"eps": 1e-3})
    optimizer("adadelta", optax.adadelta(1.0), {"lr": 1.0, "rho": 0.9, "eps": 1e-6})
    rmsprop = {"decay": 0.9, "eps": 1e-3}
    for name, more in [
        ("centered", {"centered": True}),
        ("momentum", {"momentum": 0.9}),
        ("nesterov", {"momentum": 0.9, "nesterov": True, "initial_scale": 1.0}),
        ("epsilon_after_root", {"eps_in_sqrt": False}),
    ]:
        config = rmsprop | more
        optimizer(f"rmsprop_{name}", optax.rmsprop(0.01, **config), {"lr": 0.01} | config)
    lion = {"b1": 0.9, "b2": 0.99, "weight_decay": 0.1}
    optimizer("lion_decay", optax.lion(0.01, **lion), {"lr": 0.01} | lion)
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))
    optimizer("sgd_clipped", clipped, {"lr": 0.1, "clip_norm": 1.0})


for make in (elementwise, reductions, movement, images, normalisation, losses, trajectories):
    make()
source = {"jax": jax.__version__, "optax": optax.__version__, "numpy": np.__version__, "precision": "float64"}
with open(os.path.join(FOLDER, "manifest.json"), "w") as file:
    json.dump({"format": 1, "source": source, "cases": cases, "optimizers": optimizers}, file, indent=1)
