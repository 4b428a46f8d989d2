// Conditions, from two tensors with broadcasting: one byte an element, packed four to a word. A thread makes four.
//
// KIND is the type of the operands: 0 f32, 1 i32, 2 u32, 3 bytes. RANK is the number of axes that the index is split into.
// The host merges axes that both operands step through as one; a stride of 0 repeats an operand along an axis.

struct Params {
    len: u32,        // elements of y
    lhs_offset: u32, // in elements
    rhs_offset: u32, // in elements
    op: u32,         // as in ops/compare.rs
    shape: array<vec4<u32>, 2>, // axis lengths, outermost first
    lhs: array<vec4<u32>, 2>,   // strides, in elements
    rhs: array<vec4<u32>, 2>,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;

@group(0) @binding(0) var<storage, read> lhs: array<u32>;
@group(0) @binding(1) var<storage, read> rhs: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // (len) bytes

fn byte_of(word: u32, at: u32) -> u32 {
    return (word >> (at % 4u * 8u)) & 0xffu;
}

fn nan_bits(v: u32) -> bool {
    return (v & 0x7fffffffu) > INFINITY;
}

// An integer with the order of the element: floats of either sign, with both zeros as 0; unsigned ones shifted to signed.
fn order(v: u32) -> i32 {
    if KIND == 0u {
        let magnitude = i32(v & 0x7fffffffu);
        return select(magnitude, -magnitude, (v >> 31u) == 1u);
    }
    if KIND == 2u {
        return bitcast<i32>(v ^ 0x80000000u);
    }
    return bitcast<i32>(v);
}

fn holds(a: u32, b: u32) -> bool {
    let comparable = KIND != 0u || !(nan_bits(a) || nan_bits(b));
    let l = order(a);
    let r = order(b);
    switch p.op {
        case 0u: { return comparable && l == r; }
        case 1u: { return !comparable || l != r; }
        case 2u: { return comparable && l > r; }
        case 3u: { return comparable && l >= r; }
        case 4u: { return comparable && l < r; }
        case 5u: { return comparable && l <= r; }
        case 6u: { return (a & b) != 0u; }
        case 7u: { return (a | b) != 0u; }
        case 8u: { return (a ^ b) != 0u; }
        case 9u: { return a == 0u; }
        case 10u: { return nan_bits(a); }
        case 11u: { return a == INFINITY; }
        case 12u: { return a == (INFINITY | 0x80000000u); }
        case 13u: { return (a & 0x7fffffffu) == INFINITY; }
        default: { return (a & 0x7fffffffu) < INFINITY; }
    }
}

@compute @workgroup_size(SIZE)
fn compare_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if first >= p.len {
        return;
    }
    var packed = 0u;
    for (var i = first; i < min(first + 4u, p.len); i++) {
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
        var holds_here = false;
        if KIND == 3u {
            holds_here = holds(byte_of(lhs[l / 4u], l), byte_of(rhs[r / 4u], r));
        } else {
            holds_here = holds(lhs[l], rhs[r]);
        }
        packed |= select(0u, 1u, holds_here) << (i % 4u * 8u);
    }
    y[first / 4u] = packed;
}
