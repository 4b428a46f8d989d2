// A stable merge sort of positions along the middle axis of x seen as (outer, n, inner), and elements moved by the result.
//
// In a pass, each row consists of sorted runs of `width` positions, and each pair of runs becomes one. A thread moves one
// position: by as many places as the other run has elements before its own, which a binary search finds. Of equal elements
// those of the left run come first, so their order stays.
//
// Elements are compared as u32 keys in their order; TYPE is 0 for f32, 1 for i32, 2 for u32.

struct Params {
    len: u32,          // outer * n * inner
    n: u32,            // length of the axis
    inner: u32,        // elements behind the axis
    x_offset: u32,     // in elements
    order_offset: u32, // in elements
    width: u32,        // of a run; 1 in the first pass, when the positions are in order
    descending: u32,   // 1: largest first
    pad: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;           // (outer, n, inner), as bits
@group(0) @binding(1) var<storage, read> order: array<u32>;       // (outer, n, inner): positions
@group(0) @binding(2) var<storage, read_write> sorted: array<u32>; // (outer, n, inner): positions
@group(0) @binding(2) var<storage, read_write> y: array<u32>;     // (outer, n, inner), as bits

// NaN is above all others, and -0 has the key of 0.
fn key(bits: u32) -> u32 {
    var k = bits;
    if TYPE == 0u {
        let v = select(bits, 0u, bits == 0x80000000u);
        let nan = (bits & 0x7fffffffu) > 0x7f800000u;
        k = select(select(v | 0x80000000u, ~v, v >= 0x80000000u), 0xffffffffu, nan);
    } else if TYPE == 1u {
        k = bits ^ 0x80000000u;
    }
    return select(k, ~k, p.descending == 1u);
}

// What lies at place i of the row that starts at `base`.
fn position(base: u32, i: u32) -> u32 {
    if p.width == 1u {
        return i;
    }
    return order[base + i * p.inner];
}

fn key_of(base: u32, position: u32) -> u32 {
    return key(x[p.x_offset + base + position * p.inner]);
}

@compute @workgroup_size(SIZE)
fn sort_merge(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.len {
        return;
    }
    let i = thread / p.inner % p.n;
    let base = thread - i * p.inner;
    let mine = position(base, i);
    let k = key_of(base, mine);
    let run = i / p.width;
    let left = run % 2u == 0u;
    let other = min(select(run - 1u, run + 1u, left) * p.width, p.n);
    var low = other;
    var high = min(other + p.width, p.n);
    while low < high {
        let middle = (low + high) / 2u;
        let its = key_of(base, position(base, middle));
        if its < k || (its == k && !left) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    let place = i + (low - other) - select(p.width, 0u, left);
    sorted[base + place * p.inner] = mine;
}

// y[k] = x[order[k]] along the axis.
@compute @workgroup_size(SIZE)
fn sort_take(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.len {
        return;
    }
    let base = thread - thread / p.inner % p.n * p.inner;
    y[thread] = x[p.x_offset + base + order[p.order_offset + thread] * p.inner];
}

// y[order[k]] = x[k] along the axis, where the order names each position once.
@compute @workgroup_size(SIZE)
fn sort_put(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.len {
        return;
    }
    let base = thread - thread / p.inner % p.n * p.inner;
    y[base + order[p.order_offset + thread] * p.inner] = x[p.x_offset + thread];
}
