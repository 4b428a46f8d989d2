// Elements put to places by index: for each k in order, y[o, index[o, k, i], i] = rule(what is there, src[o, k, i]).
//
// A thread makes an element of y, and looks through the index along its axis for what goes there: nothing is atomic, and
// the order is that of the index. A launch goes through a part of a long index and starts from what the last one left.
//
// RULE: 0 replace, 1 add, 2 multiply, 3 larger, 4 smaller. KIND: 0 f32, 1 i32, 2 unsigned. Elements are kept as their bits.

struct Params {
    len: u32,          // elements of y
    n: u32,            // length of y's axis
    picks: u32,        // elements of the index's axis to go through
    inner: u32,        // elements behind the axis
    x_offset: u32,     // first element of x, in elements
    index_offset: u32, // first element of index
    src_offset: u32,   // first element of src, in elements
    wrap: u32,         // added to a negative index: n, or 0 where indices have no sign
    first: u32,        // where to begin on the index's axis
    start: u32,        // what y starts from: 0 zero, 1 x, 2 y itself
    pad: u32,
    pad2: u32,
    index_strides: vec4<u32>, // of o, k and i
    src_strides: vec4<u32>,   // of o, k and i
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;

@group(0) @binding(0) var<storage, read> x: array<u32>;       // (outer, n, inner)
@group(0) @binding(1) var<storage, read> index: array<u32>;   // (outer, picks, inner)
@group(0) @binding(2) var<storage, read> src: array<u32>;     // (outer, picks, inner)
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // (outer, n, inner)

fn is_nan(bits: u32) -> bool {
    return (bits & 0x7fffffffu) > INFINITY;
}

// Whether b takes the place of a.
fn wins(a: u32, b: u32) -> bool {
    if KIND == 0u {
        let f = bitcast<f32>(a);
        let g = bitcast<f32>(b);
        return !is_nan(a) && (is_nan(b) || select((g < f), (g > f), RULE == 3u));
    }
    if KIND == 1u {
        let f = bitcast<i32>(a);
        let g = bitcast<i32>(b);
        return select((g < f), (g > f), RULE == 3u);
    }
    return select((b < a), (b > a), RULE == 3u);
}

fn rule(a: u32, b: u32) -> u32 {
    switch RULE {
        case 0u: { return b; }
        case 1u: {
            if KIND == 0u {
                return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b));
            }
            return a + b;
        }
        case 2u: {
            if KIND == 0u {
                return bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b));
            }
            return a * b;
        }
        default: { return select(a, b, wins(a, b)); }
    }
}

// Element `at` of y, from what is there. `bytes` tells how src lies.
fn element(at: u32, there: u32, bytes: bool) -> u32 {
    let i = at % p.inner;
    let r = at / p.inner % p.n;
    let o = at / p.inner / p.n;
    var value = there;
    var pick_at = p.index_offset + dot(vec3(o, p.first, i), p.index_strides.xyz);
    var src_at = p.src_offset + dot(vec3(o, p.first, i), p.src_strides.xyz);
    for (var k = 0u; k < p.picks; k++) {
        var pick = index[pick_at];
        if pick >= 0x80000000u {
            pick += p.wrap;
        }
        if pick == r {
            if bytes {
                value = rule(value, (src[src_at / 4u] >> (src_at % 4u * 8u)) & 0xffu) & 0xffu;
            } else {
                value = rule(value, src[src_at]);
            }
        }
        pick_at += p.index_strides.y;
        src_at += p.src_strides.y;
    }
    return value;
}

@compute @workgroup_size(SIZE)
fn scatter_words(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    var there = 0u;
    if p.start == 1u {
        there = x[p.x_offset + i];
    } else if p.start == 2u {
        there = y[i];
    }
    y[i] = element(i, there, false);
}

// Elements of one byte, four to a word. A thread makes a word.
@compute @workgroup_size(SIZE)
fn scatter_bytes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let word = (group.x + group.y * groups.x) * SIZE + local;
    if word >= (p.len + 3u) / 4u {
        return;
    }
    var packed = 0u;
    for (var k = 0u; k < 4u; k++) {
        let i = word * 4u + k;
        if i < p.len {
            var there = 0u;
            if p.start == 1u {
                let at = p.x_offset + i;
                there = (x[at / 4u] >> (at % 4u * 8u)) & 0xffu;
            } else if p.start == 2u {
                there = (y[word] >> (k * 8u)) & 0xffu;
            }
            packed |= element(i, there, true) << (k * 8u);
        }
    }
    y[word] = packed;
}
