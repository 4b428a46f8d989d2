// Arithmetic of 32-bit integers with broadcasting: y = f(lhs, rhs). Results wrap; a quotient or remainder by 0 is 0.
//
// SIGNED tells i32 from u32. RANK is the number of axes that the index is split into. The host merges axes that both
// operands step through as one; a stride of 0 repeats an operand along an axis.

struct Params {
    len: u32,        // elements of y
    lhs_offset: u32, // in elements
    rhs_offset: u32, // in elements
    op: u32,         // as in ops/integer.rs
    shape: array<vec4<u32>, 2>, // axis lengths, outermost first
    lhs: array<vec4<u32>, 2>,   // strides, in elements
    rhs: array<vec4<u32>, 2>,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> lhs: array<u32>;
@group(0) @binding(1) var<storage, read> rhs: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // (len)

fn negative(v: u32) -> bool {
    return SIGNED == 1u && (v >> 31u) == 1u;
}

fn magnitude(v: u32) -> u32 {
    return select(v, 0u - v, negative(v));
}

// Of magnitudes, so that the one quotient that overflows wraps: it is its own negative.
fn quotient(a: u32, b: u32) -> u32 {
    let q = magnitude(a) / max(magnitude(b), 1u);
    return select(select(q, 0u - q, negative(a) != negative(b)), 0u, b == 0u);
}

// With the sign of a.
fn fmod(a: u32, b: u32) -> u32 {
    return select(a - quotient(a, b) * b, 0u, b == 0u);
}

// With the sign of b.
fn remainder(a: u32, b: u32) -> u32 {
    let r = fmod(a, b);
    return select(r, r + b, r != 0u && negative(r) != negative(b));
}

// By squaring, one bit of the exponent after the other.
fn power(base: u32, exponent: u32) -> u32 {
    let odd = (exponent & 1u) == 1u;
    if negative(exponent) {
        // 1 / base^n: 0 but for 1 and -1.
        let unit = select(base, 1u, !odd);
        return select(0u, unit, magnitude(base) == 1u);
    }
    var square = base;
    var result = 1u;
    for (var bits = exponent; bits != 0u; bits = bits >> 1u) {
        result *= select(1u, square, (bits & 1u) == 1u);
        square *= square;
    }
    return result;
}

fn less(a: u32, b: u32) -> bool {
    let flip = SIGNED << 31u;
    return (a ^ flip) < (b ^ flip);
}

fn f(a: u32, b: u32) -> u32 {
    switch p.op {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return quotient(a, b); }
        case 4u: { return power(a, b); }
        case 5u: { return select(a, b, less(a, b)); }
        case 6u: { return select(a, b, less(b, a)); }
        case 7u: { return fmod(a, b); }
        case 8u: { return remainder(a, b); }
        case 9u: { return a & b; }
        case 10u: { return a | b; }
        case 11u: { return a ^ b; }
        case 12u: { return select(a << (b & 31u), 0u, b > 31u); }
        default: {
            let places = select(b, 31u, b > 31u);
            if SIGNED == 1u {
                return bitcast<u32>(bitcast<i32>(a) >> places);
            }
            return select(a >> places, 0u, b > 31u);
        }
    }
}

@compute @workgroup_size(SIZE)
fn integer_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
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
    y[i] = f(lhs[l], rhs[r]);
}
