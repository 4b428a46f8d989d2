// One part of a concatenation of bytes: y[o, start + a, i] = x[o, a, i] for a < count. A thread makes one word of y, and
// keeps the bytes in it that belong to other parts.

struct Params {
    len: u32,      // bytes of y
    inner: u32,    // elements behind the axis
    total: u32,    // length of y's axis
    start: u32,    // where the part begins on it
    count: u32,    // length of the part's axis
    x_offset: u32, // first element of x
    pad: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;       // (outer, count, inner), four to a word
@group(0) @binding(1) var<storage, read_write> y: array<u32>; // (outer, total, inner), four to a word

@compute @workgroup_size(SIZE)
fn join_bytes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let word = (group.x + group.y * groups.x) * SIZE + local;
    if word >= (p.len + 3u) / 4u {
        return;
    }
    var packed = y[word];
    for (var k = 0u; k < 4u; k++) {
        let i = word * 4u + k;
        let row = i / p.inner;
        // Below `start` this wraps around to a large number.
        let a = row % p.total - p.start;
        if i < p.len && a < p.count {
            let at = p.x_offset + (row / p.total * p.count + a) * p.inner + i % p.inner;
            let byte = (x[at / 4u] >> (at % 4u * 8u)) & 0xffu;
            packed = (packed & ~(0xffu << (k * 8u))) | (byte << (k * 8u));
        }
    }
    y[word] = packed;
}
