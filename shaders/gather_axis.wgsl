// Elements by index along an axis: y[o, k, i] = x[o, index[o, k, i], i]. The index is a strided view, so that one index for
// all o and i is one of stride 0. An index outside the axis gives `fill`.

struct Params {
    len: u32,          // elements of y
    n: u32,            // length of the axis
    picks: u32,        // length of y's axis
    inner: u32,        // elements behind the axis
    x_offset: u32,     // first element of x, in elements
    index_offset: u32, // first element of index
    wrap: u32,         // added to a negative index: n, or 0 where indices have no sign
    fill: u32,         // bits of an element that isn't there
    index_strides: vec4<u32>, // of o, k and i
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;       // (outer, n, inner)
@group(0) @binding(1) var<storage, read> index: array<u32>;   // (outer, picks, inner)
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // (outer, picks, inner)

// The position in x of element i of y, and whether there is one.
fn source(at: u32) -> vec2<u32> {
    let i = at % p.inner;
    let k = at / p.inner % p.picks;
    let o = at / p.inner / p.picks;
    var pick = index[p.index_offset + dot(vec3(o, k, i), p.index_strides.xyz)];
    if pick >= 0x80000000u {
        pick += p.wrap;
    }
    return vec2(p.x_offset + (o * p.n + pick) * p.inner + i, u32(pick < p.n));
}

@compute @workgroup_size(SIZE)
fn gather_axis_words(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    let place = source(i);
    var v = p.fill;
    if place.y == 1u {
        v = x[place.x];
    }
    y[i] = v;
}

// Elements of one byte, four to a word. A thread makes a word.
@compute @workgroup_size(SIZE)
fn gather_axis_bytes(
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
            let place = source(i);
            if place.y == 1u {
                packed |= ((x[place.x / 4u] >> (place.x % 4u * 8u)) & 0xffu) << (k * 8u);
            }
        }
    }
    y[word] = packed;
}
