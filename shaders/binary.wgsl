// Elementwise functions of two tensors with broadcasting: y = f(lhs, rhs).
//
// The host merges axes that both operands step through as one, so that most calls have one or two. A stride of 0 repeats
// an operand along an axis. RANK is the number of axes that the index is split into (spare ones have length 1), OP the
// function's row in ops/binary.rs.
//
// The most frequent calls have RANK 0: one axis that each operand steps through one by one, from a multiple of four on, or
// repeats. There a thread makes four elements with vec4 loads; the last one may run past the end, into the padding that
// every buffer has.

struct Params {
    len: u32,        // elements of y
    lhs_offset: u32, // in elements
    rhs_offset: u32, // in elements
    pad: u32,
    shape: array<vec4<u32>, 2>, // axis lengths, outermost first
    lhs: array<vec4<u32>, 2>,   // strides, in elements
    rhs: array<vec4<u32>, 2>,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;
const ONE: u32 = 0x3f800000u;

@group(0) @binding(0) var<storage, read> lhs: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> rhs: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // (len)

fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > INFINITY;
}

// IEEE 754's pow. WGSL's leaves a negative base open, and assumes that neither NaN nor infinity occurs. Both are made from p,
// so that no compiler folds them.
fn power(a: f32, b: f32) -> f32 {
    let nan = bitcast<f32>(0x7fc00000u | (p.pad & 0u));
    let infinity = bitcast<f32>(INFINITY | (p.pad & 0u));
    let base = bitcast<u32>(a) & 0x7fffffffu;
    let exponent = bitcast<u32>(b) & 0x7fffffffu;
    let negative = base != bitcast<u32>(a);
    let raises = exponent == bitcast<u32>(b);
    if exponent == 0u || bitcast<u32>(a) == ONE {
        return 1.0;
    }
    if base > INFINITY || exponent > INFINITY {
        return nan;
    }
    // From 2^24 on every exponent is even.
    let huge = exponent >= 0x4b800000u;
    let whole = huge || floor(b) == b;
    let odd = !huge && whole && b - 2.0 * floor(b * 0.5) == 1.0;
    var magnitude = 0.0;
    if base == 0u || base == INFINITY || exponent == INFINITY {
        let grows = select((base > ONE) == raises, false, base == ONE);
        magnitude = select(select(0.0, infinity, grows), 1.0, base == ONE);
    } else if negative && !whole {
        return nan;
    } else {
        magnitude = pow(abs(a), b);
    }
    return select(magnitude, -magnitude, negative && odd);
}

// A float's magnitude as mantissa and exponent, with the leading one of the mantissa in bit 23.
fn parts(magnitude: u32) -> vec2<i32> {
    let exponent = i32(magnitude >> 23u);
    if exponent == 0 {
        let shift = i32(countLeadingZeros(magnitude)) - 8;
        return vec2(i32(magnitude << u32(shift)), 1 - shift);
    }
    return vec2(i32((magnitude & 0x7fffffu) | 0x800000u), exponent);
}

// The exact remainder of a / b with the sign of a: long division of the mantissas, a bit of the quotient a round.
fn fmod(a: f32, b: f32) -> f32 {
    let sign = bitcast<u32>(a) & 0x80000000u;
    let dividend = bitcast<u32>(a) & 0x7fffffffu;
    let divisor = bitcast<u32>(b) & 0x7fffffffu;
    if dividend >= 0x7f800000u || divisor > 0x7f800000u || divisor == 0u {
        return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
    }
    if dividend < divisor {
        return a;
    }
    var rest = parts(dividend);
    let by = parts(divisor);
    for (; rest.y > by.y; rest.y--) {
        rest.x = select(rest.x, rest.x - by.x, rest.x >= by.x) << 1u;
    }
    rest.x = select(rest.x, rest.x - by.x, rest.x >= by.x);
    if rest.x == 0 {
        return bitcast<f32>(sign);
    }
    let shift = i32(countLeadingZeros(u32(rest.x))) - 8;
    let mantissa = u32(rest.x) << u32(shift);
    let exponent = rest.y - shift;
    if exponent > 0 {
        return bitcast<f32>(sign | (mantissa & 0x7fffffu) | (u32(exponent) << 23u));
    }
    return bitcast<f32>(sign | (mantissa >> u32(1 - exponent)));
}

fn f(a: f32, b: f32) -> f32 {
    switch OP {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return a / b; }
        case 4u: { return power(a, b); }
        // NaN in either operand wins, which max and min of WGSL leave open.
        case 5u: { return select(select(max(a, b), b, nan_bits(b)), a, nan_bits(a)); }
        case 6u: { return select(select(min(a, b), b, nan_bits(b)), a, nan_bits(a)); }
        case 7u: { return fmod(a, b); }
        default: {
            let r = fmod(a, b);
            return select(r, r + b, r != 0.0 && !nan_bits(r) && (r < 0.0) != (b < 0.0));
        }
    }
}

@compute @workgroup_size(SIZE)
fn binary_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if RANK == 0u {
        if i * 4u < p.len {
            var a = lhs[p.lhs_offset / 4u + i * p.lhs[0].x];
            var b = rhs[p.rhs_offset / 4u + i * p.rhs[0].x];
            if p.lhs[0].x == 0u {
                a = vec4(a[p.lhs_offset % 4u]);
            }
            if p.rhs[0].x == 0u {
                b = vec4(b[p.rhs_offset % 4u]);
            }
            y[i] = vec4(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w));
        }
        return;
    }
    if i >= p.len {
        return;
    }
    var l = p.lhs_offset;
    var r = p.rhs_offset;
    var rest = i;
    for (var k = 0u; k < RANK; k++) {
        let axis = RANK - 1u - k;
        let index = rest % p.shape[axis / 4u][axis % 4u];
        rest = rest / p.shape[axis / 4u][axis % 4u];
        l += index * p.lhs[axis / 4u][axis % 4u];
        r += index * p.rhs[axis / 4u][axis % 4u];
    }
    y[i / 4u][i % 4u] = f(lhs[l / 4u][l % 4u], rhs[r / 4u][r % 4u]);
}
