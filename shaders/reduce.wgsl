// Reductions of the middle axis of x seen as (outer, reduce, inner): y[s, o, i] = R over r of x[o, r, i].
//
// OP: 0 sum, 1 max, 2 min. One thread makes one output of one split: split s covers `chunk` steps of the reduced axis, and
// with more than one split a second launch reduces the partial results (a tensor (splits, outer * inner)). The order of
// additions is fixed, so results are the same run to run.

struct Params {
    outputs: u32,  // outer * inner
    reduce: u32,   // length of the reduced axis
    inner: u32,    // elements behind the reduced axis
    chunk: u32,    // steps of the reduced axis in one split
    splits: u32,
    x_offset: u32, // in elements
    scale: f32,    // multiplies a sum: 1, or 1/reduce for a mean (in the last launch)
    pad: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;       // (outer, reduce, inner)
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // (splits, outputs)
@group(0) @binding(1) var<storage, read_write> index: array<u32>; // (splits, outputs)
@group(0) @binding(1) var<storage, read> candidates: array<u32>;  // index, as reduce_index left it
@group(0) @binding(2) var<storage, read_write> merged: array<u32>; // (outputs)
@group(0) @binding(0) var<storage, read> x4: array<vec4<f32>>;       // x and y for reduce_columns
@group(0) @binding(1) var<storage, read_write> y4: array<vec4<f32>>;

fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

// Whether a takes the place of b as the largest (or smallest): NaN beats everything, and the first one stays.
fn beats(a: f32, b: f32) -> bool {
    if nan_bits(b) {
        return false;
    }
    return nan_bits(a) || select((a < b), (a > b), OP == 1u);
}

@compute @workgroup_size(SIZE)
fn reduce_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.outputs * p.splits {
        return;
    }
    let output = thread % p.outputs;
    let split = thread / p.outputs;
    let first = split * p.chunk;
    let last = min(first + p.chunk, p.reduce);
    var at = p.x_offset + (output / p.inner * p.reduce + first) * p.inner + output % p.inner;
    if OP == 0u {
        // Four sums side by side: shorter chains of additions, and a smaller rounding error.
        var sums = vec4(0.0);
        var r = first;
        for (; r + 4u <= last; r += 4u) {
            sums += vec4(x[at], x[at + p.inner], x[at + 2u * p.inner], x[at + 3u * p.inner]);
            at += 4u * p.inner;
        }
        for (; r < last; r++) {
            sums.x += x[at];
            at += p.inner;
        }
        y[thread] = ((sums.x + sums.y) + (sums.z + sums.w)) * p.scale;
    } else {
        var best = x[at];
        for (var r = first + 1u; r < last; r++) {
            at += p.inner;
            if beats(x[at], best) {
                best = x[at];
            }
        }
        y[thread] = best;
    }
}

// Sums where `inner`, and with it the number of outputs, is a multiple of four, and x starts at one: a thread makes four
// neighbouring outputs, with a quarter of the loads.
@compute @workgroup_size(SIZE)
fn reduce_columns(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    let quads = p.outputs / 4u;
    if thread >= quads * p.splits {
        return;
    }
    let output = thread % quads * 4u;
    let first = thread / quads * p.chunk;
    let last = min(first + p.chunk, p.reduce);
    let step = p.inner / 4u;
    var at = (p.x_offset + (output / p.inner * p.reduce + first) * p.inner + output % p.inner) / 4u;
    var even = vec4(0.0);
    var odd = vec4(0.0);
    var r = first;
    for (; r + 2u <= last; r += 2u) {
        even += x4[at];
        odd += x4[at + step];
        at += 2u * step;
    }
    if r < last {
        even += x4[at];
    }
    y4[thread] = (even + odd) * p.scale;
}

// index[s, o, i] = the first r of split s with the largest (OP 1) or smallest (OP 2) x[o, r, i].
@compute @workgroup_size(SIZE)
fn reduce_index(
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
    var best = x[at];
    var best_at = first;
    for (var r = first + 1u; r < last; r++) {
        at += p.inner;
        if beats(x[at], best) {
            best = x[at];
            best_at = r;
        }
    }
    index[thread] = best_at;
}

// The best of the splits' candidates. The splits are in order, so the first of equal ones stays.
@compute @workgroup_size(SIZE)
fn reduce_index_merge(
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
    var best = x[start + best_at * p.inner];
    for (var s = 1u; s < p.splits; s++) {
        let r = candidates[s * p.outputs + output];
        let v = x[start + r * p.inner];
        if beats(v, best) {
            best = v;
            best_at = r;
        }
    }
    merged[output] = best_at;
}
