// Elementwise functions of one tensor: y = f(x), and dx = dy * f'.
//
// OP picks the function (its row in ops/unary.rs). The derivative is written in terms of v, which is x or y, whichever
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

fn logistic(v: f32) -> f32 {
    // exp of a non-positive number can't overflow.
    let e = exp(-abs(v));
    return select(1.0 / (1.0 + e), e / (1.0 + e), v < 0.0);
}

fn safe_tanh(v: f32) -> f32 {
    // tanh is 1 to the last bit past 9.02, and some drivers compute it from an exp that overflows.
    return select(tanh(clamp(v, -10.0, 10.0)), v, nan_bits(v));
}

fn log1p_exp(v: f32) -> f32 {
    return max(v, 0.0) + log(1.0 + exp(-abs(v)));
}

const GELU: f32 = 0.7978845608028654; // sqrt(2 / pi)

fn f(v: f32) -> f32 {
    switch OP {
        case 0u: { return -v; }                                                  // neg
        case 1u: { return exp(v); }                                              // exp
        case 2u: { return log(v); }                                              // log
        case 3u: { return sqrt(v); }                                             // sqrt
        case 4u: { return abs(v); }                                              // abs
        case 5u: { return select(v, 0.0, v <= 0.0 && !nan_bits(v)); }            // relu
        case 6u: { return logistic(v); }                                         // sigmoid
        case 7u: { return safe_tanh(v); }                                        // tanh
        case 8u: { return v * logistic(v); }                                     // swish
        case 9u: { return v * v; }                                               // square
        case 10u: { return 1.0 / v; }                                            // reciprocal
        case 11u: { return p.a * v + p.b; }                                      // affine
        case 12u: { return log1p_exp(v); }                                       // softplus
        case 13u: { return select(v, p.a * (exp(v) - 1.0), v < 0.0); }           // elu
        case 14u: { return select(v, p.a * v, v < 0.0); }                        // leaky_relu
        case 15u: { return 0.5 * v * (1.0 + safe_tanh(GELU * (v + 0.044715 * v * v * v))); } // gelu
        case 16u: { return sin(v); }                                             // sin
        case 17u: { return cos(v); }                                             // cos
        case 18u: { return select(clamp(v, p.a, p.b), v, nan_bits(v)); }         // clip
        default: { return powr(v, p.a); }                                        // pow
    }
}

// v to the power a. WGSL leaves pow of a negative base open; whole exponents are defined here.
fn powr(v: f32, a: f32) -> f32 {
    let whole = floor(a) == a;
    let magnitude = pow(abs(v), a);
    let odd = abs(a - 2.0 * floor(a * 0.5)) == 1.0;
    let signed = select(magnitude, -magnitude, v < 0.0 && odd);
    let zero_power = select(signed, 1.0, a == 0.0);
    return select(zero_power, bitcast<f32>(0x7fc00000u | (p.pad & 0u)), v < 0.0 && !whole);
}

fn df(v: f32) -> f32 {
    switch OP {
        case 0u: { return -1.0; }
        case 1u: { return v; }
        case 2u: { return 1.0 / v; }
        case 3u: { return 0.5 / v; }
        case 4u: { return sign(v); }
        case 5u: { return select(0.0, 1.0, v > 0.0 || nan_bits(v)); }
        case 6u: { return v * (1.0 - v); }
        case 7u: { return 1.0 - v * v; }
        case 8u: { let s = logistic(v); return s * (1.0 + v * (1.0 - s)); }
        case 9u: { return 2.0 * v; }
        case 10u: { return -v * v; }
        case 11u: { return p.a; }
        case 12u: { return logistic(v); }
        case 13u: { return select(1.0, p.a * exp(v), v < 0.0); }
        case 14u: { return select(1.0, p.a, v < 0.0); }
        case 15u: {
            let t = safe_tanh(GELU * (v + 0.044715 * v * v * v));
            return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * GELU * (1.0 + 0.134145 * v * v);
        }
        case 16u: { return cos(v); }
        case 17u: { return -sin(v); }
        case 18u: { return select(0.0, 1.0, v >= p.a && v <= p.b); }
        default: { return select(p.a * powr(v, p.a - 1.0), 0.0, p.a == 0.0); }
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
        y[i] = vec4(f(v.x), f(v.y), f(v.z), f(v.w));
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
        dx[i] = load_dy(p.g_offset + i * 4u) * vec4(df(v.x), df(v.y), df(v.z), df(v.w));
    }
}
