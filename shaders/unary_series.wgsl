// Elementwise functions of one tensor that WGSL has not, or that drivers compute to few digits: y = f(x), and dx = dy * f'.
// They are made of polynomials, interpolated at Chebyshev nodes, and hold over the whole range of f32.
//
// OP picks the function (its row in ops/unary_table.rs). The derivative is written in terms of v, which is x or y,
// whichever the row saves. `a` and `b` are the function's constants, such as an exponent.
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

// Made from p, so that no compiler folds it.
fn nan() -> f32 {
    return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
}

fn infinity() -> f32 {
    return bitcast<f32>(0x7f800000u | (p.pad & 0u));
}

// NaN where v is.
fn keep(v: f32, y: f32) -> f32 {
    return select(y, v, nan_bits(v));
}

fn with_sign(magnitude: f32, v: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(magnitude) & 0x7fffffffu) | (bitcast<u32>(v) & 0x80000000u));
}

// e^r as (1 + e) * 2^k with a whole k and e from -0.3 to 0.42, which keeps its digits near r = 0.
struct Power {
    e: f32,
    k: i32,
}

// e^x - 1 for |x| up to log(2) / 2.
fn small_expm1(x: f32) -> f32 {
    return ((((1.39261761e-3 * x + 8.36317307e-3) * x + 4.16665547e-2) * x + 0.166665770) * x + 0.5) * x * x + x;
}

fn power_of_e(r: f32) -> Power {
    let k = round(r * 1.44269504);
    // log(2) in two parts: k times the first is exact.
    let x = (r - k * 0.693359375) + k * 2.12194440e-4;
    return Power(small_expm1(x), i32(k));
}

// v * 2^k for k from -252 to 254; 2^128 alone would overflow.
fn scaled(v: f32, k: i32) -> f32 {
    let half = k >> 1u;
    return v * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(k - half + 127) << 23u);
}

// e^v to the last bits, which exp need not be for large |v|.
fn exact_exp(v: f32) -> f32 {
    let power = power_of_e(clamp(v, -104.0, 90.0));
    return scaled(1.0 + power.e, power.k);
}

// e^v / 2, which overflows later than e^v.
fn half_exp(v: f32) -> f32 {
    let power = power_of_e(clamp(v, -104.0, 91.0));
    return scaled(1.0 + power.e, power.k - 1);
}

fn exp_minus_1(v: f32) -> f32 {
    let power = power_of_e(clamp(v, -60.0, 90.0));
    let s = scaled(1.0, min(power.k, 24));
    return with_sign(select(s * power.e + (s - 1.0), scaled(1.0 + power.e, power.k), power.k > 24), v);
}

// log(v) = k log(2) + l for positive v, with |l| up to log(2) / 2. A subnormal v is its bits times 2^-149.
struct Logarithm {
    k: f32,
    l: f32,
}

// log((1 + s) / (1 - s)) for |s| up to 0.172.
fn log_of_ratio(s: f32) -> f32 {
    let z = s * s;
    return s * (((0.295802772 * z + 0.399887733) * z + 0.666666851) * z + 2.0);
}

fn logarithm_of(v: f32) -> Logarithm {
    let bits = bitcast<u32>(v);
    let small = bits < 0x800000u;
    let b = select(bits, bitcast<u32>(f32(bits)), small);
    // Splits off the power of 2 that leaves a number from sqrt(1/2) to sqrt(2).
    let k = bitcast<i32>(b - 0x3f3504f3u) >> 23u;
    let m = bitcast<f32>(b - bitcast<u32>(k << 23u));
    return Logarithm(f32(k) - select(0.0, 149.0, small), log_of_ratio((m - 1.0) / (m + 1.0)));
}

// log(v), to the last bits near 1 too.
fn exact_log(v: f32) -> f32 {
    let parts = logarithm_of(v);
    let y = parts.k * 0.693359375 + (parts.l - parts.k * 2.12194440e-4);
    let edge = select(select(v, -infinity(), bitcast<u32>(v) << 1u == 0u), nan(), v < 0.0);
    return select(edge, y, finite(v) && bitcast<i32>(v) > 0);
}

fn log_1_plus(v: f32) -> f32 {
    return select(exact_log(1.0 + v), log_of_ratio(v / (2.0 + v)), v > -0.29 && v < 0.41);
}

fn logistic(v: f32) -> f32 {
    // exp of a non-positive number can't overflow.
    let e = exp(-abs(v));
    return select(1.0 / (1.0 + e), e / (1.0 + e), v < 0.0);
}

fn log1p_exp(v: f32) -> f32 {
    return max(v, 0.0) + log_1_plus(exp(-abs(v)));
}

fn hyperbolic_sine(v: f32) -> f32 {
    let z = v * v;
    let near = ((2.02588849e-4 * z + 8.33176273e-3) * z + 0.166666754) * z * v + v;
    let half = half_exp(abs(v));
    return select(with_sign(half - 0.25 / half, v), near, abs(v) < 1.0);
}

fn hyperbolic_cosine(v: f32) -> f32 {
    let half = half_exp(abs(v));
    return half + 0.25 / half;
}

// The high 32 bits of a * b, for a below 2^24.
fn high_product(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b >> 16u) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
    let high = (a >> 16u) * (b & 0xffffu) + (low & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (low >> 16u) + (high >> 16u);
}

// |v| is r radians past quarter turn number q.
struct Angle {
    q: u32,
    r: f32,
}

// Exact for every finite v: |v| = m * 2^e with a whole m of 24 bits, and what is left of m * 2^e * (2 / pi) modulo 4 depends
// on 96 bits of 2 / pi only (Payne and Hanek 1983).
fn angle(v: f32) -> Angle {
    let bits = bitcast<u32>(v) & 0x7fffffffu;
    let m = (bits & 0x7fffffu) | 0x800000u;
    // Where the 96 bits start, of 2 / pi behind 32 zeros.
    let start = max(bits >> 23u, 126u) - 120u;
    let word = start / 32u;
    var a = vec4(0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u);
    a = select(a, vec4(0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u), word == 1u);
    a = select(a, vec4(0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u), word == 2u);
    a = select(a, vec4(0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u), word == 3u);
    a = select(a, vec4(0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu), word == 4u);
    let shift = start % 32u;
    let w = (a.xyz << vec3(shift)) | ((a.yzw >> vec3(1u)) >> vec3(31u - shift));
    let carried = high_product(m, w.z);
    let low = m * w.y + carried;
    let high = m * w.x + high_product(m, w.y) + select(0u, 1u, low < carried);
    // To the nearest quarter: the rest is between -1/2 and 1/2 of one.
    let q = (high + 0x20000000u) >> 30u;
    let rest = f32(bitcast<i32>(high - (q << 30u))) + f32(low) * 2.3283064e-10;
    let small = bitcast<f32>(bits);
    return Angle(select(q, 0u, small < 0.785), select(rest * 1.4629181e-9, small, small < 0.785));
}

fn sine_of_rest(r: f32) -> f32 {
    let z = r * r;
    return ((-1.95878909e-4 * z + 8.33274827e-3) * z - 0.166666647) * z * r + r;
}

fn cosine_of_rest(r: f32) -> f32 {
    let z = r * r;
    return ((2.45479421e-5 * z - 1.38883030e-3) * z + 4.16666647e-2) * z * z - 0.5 * z + 1.0;
}

// The sine of an angle with q quarter turns more.
fn sine_at(a: Angle, q: u32) -> f32 {
    let turns = a.q + q;
    let y = select(sine_of_rest(a.r), cosine_of_rest(a.r), (turns & 1u) == 1u);
    return bitcast<f32>(bitcast<u32>(y) ^ ((turns & 2u) << 30u));
}

fn sine(v: f32) -> f32 {
    let y = bitcast<f32>(bitcast<u32>(sine_at(angle(v), 0u)) ^ (bitcast<u32>(v) & 0x80000000u));
    return select(nan(), y, finite(v));
}

fn cosine(v: f32) -> f32 {
    return select(nan(), sine_at(angle(v), 1u), finite(v));
}

fn tangent(v: f32) -> f32 {
    let a = angle(v);
    let y = bitcast<f32>(bitcast<u32>(sine_at(a, 0u) / sine_at(a, 1u)) ^ (bitcast<u32>(v) & 0x80000000u));
    return select(nan(), y, finite(v));
}

// For |v| up to 1/2.
fn small_arc_sine(v: f32) -> f32 {
    let z = v * v;
    let series = (((3.80850236e-2 * z + 2.65545422e-2) * z + 4.50013801e-2) * z + 7.49885507e-2) * z + 0.166666724;
    return series * z * v + v;
}

fn arc_sine(v: f32) -> f32 {
    let a = abs(v);
    let far = 1.57079633 - 2.0 * small_arc_sine(sqrt(max(0.5 - 0.5 * a, 0.0)));
    return select(select(with_sign(far, v), small_arc_sine(v), a < 0.5), nan(), a > 1.0);
}

fn arc_cosine(v: f32) -> f32 {
    let a = abs(v);
    let far = 2.0 * small_arc_sine(sqrt(max(0.5 - 0.5 * a, 0.0)));
    let near = 1.57079633 - small_arc_sine(v);
    return select(select(select(far, 3.14159265 - far, v < 0.0), near, a < 0.5), nan(), a > 1.0);
}

fn arc_tangent(v: f32) -> f32 {
    let a = abs(v);
    // To arguments below tan(pi / 8): the arc tangent of (a - 1) / (a + 1) is pi/4 less, that of -1 / a is pi/2 less.
    let middle = a > 0.41421356;
    let far = a > 2.4142136;
    let x = select(select(a, (a - 1.0) / (a + 1.0), middle), -1.0 / a, far);
    let z = x * x;
    let series = (((-6.45192821e-2 * z + 0.107437315) * z - 0.142639556) * z + 0.199995405) * z - 0.333333318;
    return with_sign(select(select(0.0, 0.785398163, middle), 1.57079633, far) + (series * z * x + x), v);
}

fn area_sine(v: f32) -> f32 {
    let a = abs(v);
    let near = log_1_plus(a + a * a / (1.0 + sqrt(a * a + 1.0)));
    return with_sign(select(near, exact_log(a) + 0.693147181, a > 1e4), v);
}

fn area_cosine(v: f32) -> f32 {
    let t = v - 1.0;
    let near = log_1_plus(t + sqrt(max(2.0 * t + t * t, 0.0)));
    return select(select(near, exact_log(v) + 0.693147181, v > 1e4), nan(), v < 1.0);
}

fn area_tangent(v: f32) -> f32 {
    let a = abs(v);
    let y = 0.5 * log_1_plus(2.0 * a / (1.0 - a));
    return select(select(with_sign(y, v), with_sign(infinity(), v), a == 1.0), nan(), a > 1.0);
}

// e^(-c v^2). The square of the first 12 bits of v is exact.
fn bell(v: f32, c: f32) -> f32 {
    let a = min(abs(v), 20.0);
    let first = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    return exact_exp(-c * first * first) * exp(-c * (a - first) * (a + first));
}

// erf(v) for |v| up to 1.
fn small_erf(v: f32) -> f32 {
    let z = v * v;
    let series = ((((7.87587506e-5 * z - 8.01686429e-4) * z + 5.18908742e-3) * z - 2.68542120e-2) * z + 0.112835947) * z;
    return ((series - 0.376126267) * z + 1.12837917) * v;
}

// erfc(v) e^(v^2) for v from 1 on.
fn erfc_scaled(v: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.4 * v);
    let high = (((3.87906637e-2 * t - 0.150635243) * t + 0.132566220) * t + 1.56597680e-2) * t + 0.134671412;
    return ((((high * t + 0.169687451) * t + 0.207749551) * t + 0.225672402) * t + 0.225675849) * t;
}

fn error_function(v: f32) -> f32 {
    let a = abs(v);
    return select(with_sign(1.0 - bell(v, 1.0) * erfc_scaled(a), v), small_erf(v), a < 1.0);
}

// The probability that a normal number is below v.
fn normal_cdf(v: f32) -> f32 {
    let s = v * 0.70710678;
    let tail = 0.5 * bell(v, 0.5) * erfc_scaled(abs(s));
    return select(select(1.0 - tail, tail, v < 0.0), 0.5 + 0.5 * small_erf(s), abs(s) < 1.0);
}

fn whole_power(m: f32, n: u32) -> f32 {
    var y = 1.0;
    var square = m;
    for (var i = 0u; i < 5u; i++) {
        y *= select(1.0, square, (n >> i & 1u) == 1u);
        square *= square;
    }
    return y;
}

// m to the power a, for finite positive m.
fn positive_power(m: f32, a: f32) -> f32 {
    let parts = logarithm_of(m);
    let doublings = a * parts.k;
    let k = round(doublings + a * parts.l * 1.44269504);
    let rest = (doublings - k) * 0.693147181 + a * parts.l;
    return scaled(1.0 + small_expm1(clamp(rest, -0.5, 0.5)), i32(clamp(k, -252.0, 252.0)));
}

// v to the power a, as IEEE 754 defines it; WGSL's pow leaves much of that open.
fn powr(v: f32, a: f32) -> f32 {
    let m = abs(v);
    let whole = floor(a) == a;
    let odd = abs(a - 2.0 * floor(a * 0.5)) == 1.0;
    var y = positive_power(m, clamp(a, -1e12, 1e12));
    if whole && abs(a) < 32.0 {
        y = whole_power(select(m, 1.0 / m, a < 0.0), u32(abs(a)));
    }
    let edge = m == 0.0 || !finite(m) || !finite(a);
    y = select(y, select(0.0, infinity(), (m > 1.0) == (a > 0.0)), edge && m != 1.0);
    y = select(y, 1.0, m == 1.0);
    y = select(y, -y, odd && (bitcast<u32>(v) >> 31u) == 1u);
    y = select(y, nan(), (v < 0.0 && finite(v) && !whole && finite(a)) || nan_bits(v) || nan_bits(a));
    return select(y, 1.0, a == 0.0 || (v == 1.0 && !nan_bits(v)));
}

fn f(v: f32) -> f32 {
    switch OP {
        case 2u: { return exact_log(v); }                                          // log
        case 12u: { return keep(v, log1p_exp(v)); }                              // softplus
        case 13u: { return select(v, p.a * exp_minus_1(v), v < 0.0); }           // elu
        case 16u: { return sine(v); }                                            // sin
        case 17u: { return cosine(v); }                                          // cos
        case 19u: { return powr(v, p.a); }                                       // powf
        case 20u: { return keep(v, arc_cosine(v)); }                             // acos
        case 21u: { return keep(v, arc_sine(v)); }                               // asin
        case 22u: { return keep(v, arc_tangent(v)); }                            // atan
        case 23u: { return keep(v, area_cosine(v)); }                            // acosh
        case 24u: { return keep(v, area_sine(v)); }                              // asinh
        case 25u: { return keep(v, area_tangent(v)); }                           // atanh
        case 31u: { return keep(v, hyperbolic_cosine(v)); }                      // cosh
        case 32u: { return keep(v, hyperbolic_sine(v)); }                        // sinh
        case 33u: { return tangent(v); }                                         // tan
        case 34u: { return keep(v, select(log_1_plus(v), nan(), v < -1.0)); }    // log1p
        case 35u: { return keep(v, exp_minus_1(v)); }                            // expm1
        case 37u: { return keep(v, error_function(v)); }                         // erf
        case 38u: { let w = max(v, -15.0); return keep(v, w * normal_cdf(w)); }  // gelu_exact
        case 40u: { return keep(v, p.b * select(v, p.a * exp_minus_1(v), v < 0.0)); } // selu
        case 41u: { return keep(v, select(v, p.a * exp_minus_1(v / p.a), v < 0.0)); } // celu
        default: { return keep(v, min(v, 0.0) - log_1_plus(exp(-abs(v)))); }    // logsigmoid
    }
}

fn df(v: f32) -> f32 {
    switch OP {
        case 2u: { return 1.0 / v; }
        case 12u: { return logistic(v); }
        case 13u: { return select(1.0, p.a * exp(v), v < 0.0); }
        case 16u: { return cosine(v); }
        case 17u: { return -sine(v); }
        case 19u: { return select(p.a * powr(v, p.a - 1.0), 0.0, p.a == 0.0); }
        case 20u: { return keep(v, select(-1.0 / sqrt((1.0 - v) * (1.0 + v)), nan(), abs(v) > 1.0)); }
        case 21u: { return keep(v, select(1.0 / sqrt((1.0 - v) * (1.0 + v)), nan(), abs(v) > 1.0)); }
        case 22u: { return keep(v, 1.0 / (1.0 + v * v)); }
        case 23u: { return keep(v, select(1.0 / (sqrt(v - 1.0) * sqrt(v + 1.0)), nan(), v < 1.0)); }
        case 24u: { let a = abs(v); return keep(v, select(1.0 / sqrt(a * a + 1.0), 1.0 / a, a > 1e4)); }
        case 25u: { return keep(v, 1.0 / ((1.0 - v) * (1.0 + v))); }
        case 31u: { return keep(v, hyperbolic_sine(v)); }
        case 32u: { return keep(v, hyperbolic_cosine(v)); }
        case 33u: { return keep(v, 1.0 + v * v); }
        case 34u: { return keep(v, 1.0 / (1.0 + v)); }
        case 35u: { return keep(v, exact_exp(v)); }
        case 37u: { return keep(v, 1.12837917 * bell(v, 1.0)); }
        case 38u: {
            let w = clamp(v, -15.0, 15.0);
            return keep(v, normal_cdf(w) + w * (0.39894228 * bell(w, 0.5)));
        }
        case 40u: { return p.b * select(1.0, p.a * exp(v), v < 0.0); }
        case 41u: { return select(1.0, exp(v / p.a), v < 0.0); }
        default: { return keep(v, logistic(-v)); }
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
