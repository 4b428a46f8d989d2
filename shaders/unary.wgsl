// Elementwise functions of one tensor: y = f(x), and dx = dy * f'.
//
// OP picks the function (its row in ops/unary_table.rs; some rows are in unary_series.wgsl). The derivative is written in terms of v, which is x or y, whichever
// the row saves. `a` and `b` are the function's constants, such as a slope.
//
// A thread makes four neighbouring elements. With VEC 1, when the inputs start at a multiple of four, it reads and writes
// them as one vec4; the last one may run past the end, into the padding that every buffer has. Else one by one.

struct Params {
    len: u32,      // elements
    x_offset: u32, // first element of x (or v), in elements
    g_offset: u32, // first element of dy, in elements
    pad: u32,
    a: f32,
    b: f32,
    pad2: f32,
    pad3: f32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // (len); v in backward
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;  // (len)
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;       // (len)
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>; // (len)

// Compilers may assume that no value is NaN, so it is told by its bits.
fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

fn finite(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) < 0x7f800000u;
}

// NaN where v is.
fn keep(v: f32, y: f32) -> f32 {
    return select(y, v, nan_bits(v));
}

fn with_sign(magnitude: f32, v: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(magnitude) & 0x7fffffffu) | (bitcast<u32>(v) & 0x80000000u));
}

// By bits: a subnormal number is not 0.
fn sign_of(v: f32) -> f32 {
    return select(with_sign(1.0, v), 0.0, bitcast<u32>(v) << 1u == 0u);
}

// With selects in place of min and max, which may turn -0 into 0.
fn limited(v: f32, low: f32, high: f32) -> f32 {
    let w = select(v, low, v < low);
    return select(w, high, w > high);
}

fn logistic(v: f32) -> f32 {
    // exp of a non-positive number can't overflow.
    let e = exp(-abs(v));
    return select(1.0 / (1.0 + e), e / (1.0 + e), v < 0.0);
}

fn safe_tanh(v: f32) -> f32 {
    let z = v * v;
    let near = ((((-6.26911972e-3 * z + 2.11109590e-2) * z - 5.38739488e-2) * z + 0.133329154) * z - 0.333333303) * z;
    // 1 to the last bit past 9.02.
    let far = 1.0 - 2.0 / (1.0 + exp(2.0 * min(abs(v), 10.0)));
    return keep(v, with_sign(select(far, v * near + v, abs(v) < 0.6), v));
}

const GELU_1: f32 = 1.5957691;   // 2 sqrt(2 / pi)
const GELU_3: f32 = 0.071354816; // 2 sqrt(2 / pi) * 0.044715

fn gelu(v: f32) -> f32 {
    let w = max(v, -20.0);
    return keep(v, w * logistic(w * (GELU_1 + GELU_3 * w * w)));
}

fn gelu_derivative(v: f32) -> f32 {
    let w = clamp(v, -20.0, 20.0);
    let u = w * (GELU_1 + GELU_3 * w * w);
    let s = logistic(u);
    return keep(v, s + w * s * logistic(-u) * (GELU_1 + 3.0 * GELU_3 * w * w));
}

// tanh(softplus(v)) = n / (n + 2) with n = (1 + e^v)^2 - 1.
fn mish(v: f32) -> f32 {
    let w = max(v, -110.0);
    let e = exp(min(w, 20.0));
    let n = e * (e + 2.0);
    return w * (n / (n + 2.0));
}

fn mish_derivative(v: f32) -> f32 {
    let w = clamp(v, -110.0, 20.0);
    let e = exp(w);
    let n = e * (e + 2.0);
    return n / (n + 2.0) + w * (4.0 * e * (1.0 + e) / ((n + 2.0) * (n + 2.0)));
}

fn f(v: f32) -> f32 {
    switch OP {
        case 0u: { return -v; }                                                  // neg
        case 1u: { return exp(v); }                                              // exp
        case 3u: { return sqrt(v); }                                             // sqrt
        case 4u: { return abs(v); }                                              // abs
        case 5u: { return select(v, 0.0, v <= 0.0 && !nan_bits(v)); }            // relu
        case 6u: { return logistic(v); }                                         // sigmoid
        case 7u: { return safe_tanh(v); }                                        // tanh
        case 8u: { return v * logistic(v); }                                     // swish
        case 9u: { return v * v; }                                               // square
        case 10u: { return 1.0 / v; }                                            // reciprocal
        case 11u: { return p.a * v + p.b; }                                      // affine
        case 14u: { return select(v, p.a * v, v < 0.0); }                        // leaky_relu
        case 15u: { return gelu(v); }                                            // gelu
        case 18u: { return keep(v, limited(v, p.a, p.b)); }                      // clip
        case 26u: { return keep(v, with_sign(ceil(v), v)); }                     // ceil
        case 27u: { return keep(v, with_sign(floor(v), v)); }                    // floor
        case 28u: { return keep(v, with_sign(round(v), v)); }                    // round
        case 29u: { return keep(v, with_sign(trunc(v), v)); }                    // trunc
        case 30u: { return keep(v, sign_of(v)); }                                // sign
        case 36u: { return keep(v, 1.0 / sqrt(v)); }                             // rsqrt
        case 39u: { return keep(v, limited(v, 0.0, 6.0)); }                      // relu6
        case 42u: { return keep(v, limited(p.a * v + p.b, 0.0, 1.0)); }          // hard_sigmoid
        case 43u: { return keep(v, select(select(v * (v + 3.0) / 6.0, v, v >= 3.0), 0.0, v <= -3.0)); } // hard_swish
        case 44u: { return keep(v, mish(v)); }                                   // mish
        case 45u: { return keep(v, select(with_sign(1.0, v), v / (1.0 + abs(v)), finite(v))); } // softsign
        case 47u: { return keep(v, select(v, 0.0, v <= p.a)); }                  // thresholded_relu
        default: { return keep(v, select(select(0.0, v - p.a, v > p.b), v + p.a, v < -p.b)); } // shrink
    }
}

fn df(v: f32) -> f32 {
    switch OP {
        case 0u: { return -1.0; }
        case 1u: { return v; }
        case 3u: { return 0.5 / v; }
        case 4u: { return keep(v, sign_of(v)); }
        case 5u: { return select(0.0, 1.0, v > 0.0 || nan_bits(v)); }
        case 6u: { return v * (1.0 - v); }
        case 7u: { return 1.0 - v * v; }
        case 8u: { let s = logistic(v); return s * (1.0 + v * (1.0 - s)); }
        case 9u: { return 2.0 * v; }
        case 10u: { return -v * v; }
        case 11u: { return p.a; }
        case 14u: { return select(1.0, p.a, v < 0.0); }
        case 15u: { return gelu_derivative(v); }
        case 18u: { return select(0.0, 1.0, v >= p.a && v <= p.b); }
        case 26u, 27u, 28u, 29u, 30u: { return 0.0; }
        case 36u: { return -0.5 * v * (v * v); }
        case 39u: { return select(0.0, 1.0, (v > 0.0 && v < 6.0) || nan_bits(v)); }
        case 42u: { let y = p.a * v + p.b; return select(0.0, p.a, (y > 0.0 && y < 1.0) || nan_bits(y)); }
        case 43u: { return keep(v, select(select(v / 3.0 + 0.5, 1.0, v >= 3.0), 0.0, v <= -3.0)); }
        case 44u: { return keep(v, mish_derivative(v)); }
        case 45u: { let d = 1.0 / (1.0 + abs(v)); return keep(v, d * d); }
        case 47u: { return select(0.0, 1.0, v > p.a || nan_bits(v)); }
        default: { return select(0.0, 1.0, v < -p.b || v > p.b); }
    }
}

fn load_x(at: u32) -> vec4<f32> {
    if VEC == 1u {
        return x[at / 4u];
    }
    return vec4(
        x[at / 4u][at % 4u],
        x[(at + 1u) / 4u][(at + 1u) % 4u],
        x[(at + 2u) / 4u][(at + 2u) % 4u],
        x[(at + 3u) / 4u][(at + 3u) % 4u],
    );
}

fn load_dy(at: u32) -> vec4<f32> {
    if VEC == 1u {
        return dy[at / 4u];
    }
    return vec4(
        dy[at / 4u][at % 4u],
        dy[(at + 1u) / 4u][(at + 1u) % 4u],
        dy[(at + 2u) / 4u][(at + 2u) % 4u],
        dy[(at + 3u) / 4u][(at + 3u) % 4u],
    );
}

@compute @workgroup_size(SIZE)
fn unary_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i * 4u < p.len {
        let v = load_x(p.x_offset + i * 4u);
        // In a loop, which is unrolled, f is compiled once and not four times.
        var r = v;
        for (var k = 0u; k < 4u; k++) {
            r[k] = f(v[k]);
        }
        y[i] = r;
    }
}

@compute @workgroup_size(SIZE)
fn unary_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i * 4u < p.len {
        let v = load_x(p.x_offset + i * 4u);
        var r = load_dy(p.g_offset + i * 4u);
        for (var k = 0u; k < 4u; k++) {
            r[k] *= df(v[k]);
        }
        dx[i] = r;
    }
}
