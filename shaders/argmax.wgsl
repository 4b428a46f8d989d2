// Position of the largest (SMALLEST 0) or smallest (SMALLEST 1) element along the middle axis of x seen as
// (outer, reduce, inner).
//
// Elements are compared as u32 keys in their order; TYPE is 0 for f32, 1 for i32, 2 for u32. A long axis is split: part s
// covers `chunk` steps and gives a candidate, and a second launch finds the best of the candidates.

struct Params {
    outputs: u32,  // outer * inner
    reduce: u32,   // length of the axis
    inner: u32,    // elements behind the axis
    chunk: u32,    // steps of the axis in one part
    splits: u32,
    x_offset: u32, // in elements
    last: u32,     // 1: of equal elements the last one
    pad: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;            // (outer, reduce, inner), as bits
@group(0) @binding(1) var<storage, read_write> index: array<u32>;  // (splits, outputs)
@group(0) @binding(1) var<storage, read> candidates: array<u32>;   // index, as argmax_forward left it
@group(0) @binding(2) var<storage, read_write> merged: array<u32>; // (outputs)

// Larger for what is nearer to the extreme. NaN is nearest of all, and -0 has the key of 0.
fn key(bits: u32) -> u32 {
    var k = bits;
    if TYPE == 0u {
        if (bits & 0x7fffffffu) > 0x7f800000u {
            return 0xffffffffu;
        }
        let v = select(bits, 0u, bits == 0x80000000u);
        k = select(v | 0x80000000u, ~v, v >= 0x80000000u);
    } else if TYPE == 1u {
        k = bits ^ 0x80000000u;
    }
    return select(k, ~k, SMALLEST == 1u);
}

// Whether an element takes the place of the best one before it.
fn beats(k: u32, best: u32) -> bool {
    return k > best || (k == best && p.last == 1u);
}

@compute @workgroup_size(SIZE)
fn argmax_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.outputs * p.splits {
        return;
    }
    let output = thread % p.outputs;
    let first = thread / p.outputs * p.chunk;
    let last = min(first + p.chunk, p.reduce);
    var at = p.x_offset + (output / p.inner * p.reduce + first) * p.inner + output % p.inner;
    var best = key(x[at]);
    var best_at = first;
    for (var r = first + 1u; r < last; r++) {
        at += p.inner;
        let k = key(x[at]);
        if beats(k, best) {
            best = k;
            best_at = r;
        }
    }
    index[thread] = best_at;
}

// The best of the parts' candidates, which are in order.
@compute @workgroup_size(SIZE)
fn argmax_merge(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let output = (group.x + group.y * groups.x) * SIZE + local;
    if output >= p.outputs {
        return;
    }
    let start = p.x_offset + output / p.inner * p.reduce * p.inner + output % p.inner;
    var best_at = candidates[output];
    var best = key(x[start + best_at * p.inner]);
    for (var s = 1u; s < p.splits; s++) {
        let r = candidates[s * p.outputs + output];
        let k = key(x[start + r * p.inner]);
        if beats(k, best) {
            best = k;
            best_at = r;
        }
    }
    merged[output] = best_at;
}
