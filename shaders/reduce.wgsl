// Reductions of the middle axis of x seen as (outer, reduce, inner): y[s, o, i] = R over r of x[o, r, i].
//
// OP: 0 sum, 1 max, 2 min, 3 product. One thread makes one output of one split: split s covers `chunk` steps of the reduced
// axis, and with more than one split a second launch reduces the partial results (a tensor (splits, outer * inner)). The
// order of additions is fixed, so results are the same run to run.

struct Params {
    outputs: u32,  // outer * inner
    reduce: u32,   // length of the reduced axis
    inner: u32,    // elements behind the reduced axis
    chunk: u32,    // steps of the reduced axis in one split
    splits: u32,
    x_offset: u32, // in elements
    scale: f32,    // multiplies a sum: 1, or 1/reduce for a mean (in the last launch)
    divisor: u32,  // divides a sum of integers: 1, or reduce
    sign: u32,     // the sign bit of i32, 0 for u32
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;
const BLOCK: u32 = 512u;

@group(0) @binding(0) var<storage, read> x: array<f32>;       // (outer, reduce, inner)
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // (splits, outputs)
@group(0) @binding(0) var<storage, read> x4: array<vec4<f32>>;       // x and y for reduce_columns
@group(0) @binding(1) var<storage, read_write> y4: array<vec4<f32>>;
@group(0) @binding(0) var<storage, read> words: array<u32>;          // x and y for reduce_integers
@group(0) @binding(1) var<storage, read_write> results: array<u32>;

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
        // Four sums side by side, and a sum of the sums of blocks: shorter chains of additions, and a smaller rounding error.
        var sums = vec4(0.0);
        var r = first;
        while r < last {
            let stop = min(r + BLOCK, last);
            var block = vec4(0.0);
            for (; r + 4u <= stop; r += 4u) {
                block += vec4(x[at], x[at + p.inner], x[at + 2u * p.inner], x[at + 3u * p.inner]);
                at += 4u * p.inner;
            }
            for (; r < stop; r++) {
                block.x += x[at];
                at += p.inner;
            }
            sums += block;
        }
        y[thread] = ((sums.x + sums.y) + (sums.z + sums.w)) * p.scale;
    } else if OP == 3u {
        var product = 1.0;
        for (var r = first; r < last; r++) {
            product *= x[at];
            at += p.inner;
        }
        y[thread] = product;
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
    var sums = vec4(0.0);
    var r = first;
    while r < last {
        let stop = min(r + BLOCK, last);
        var even = vec4(0.0);
        var odd = vec4(0.0);
        for (; r + 2u <= stop; r += 2u) {
            even += x4[at];
            odd += x4[at + step];
            at += 2u * step;
        }
        for (; r < stop; r++) {
            even += x4[at];
            at += step;
        }
        sums += even + odd;
    }
    y4[thread] = sums * p.scale;
}

// Of two integers, as OP says. With its sign bit flipped, an i32 is in the order of u32.
fn combine(a: u32, b: u32) -> u32 {
    switch OP {
        case 0u: { return a + b; }
        case 1u: { return max(a ^ p.sign, b ^ p.sign) ^ p.sign; }
        case 2u: { return min(a ^ p.sign, b ^ p.sign) ^ p.sign; }
        default: { return a * b; }
    }
}

@compute @workgroup_size(SIZE)
fn reduce_integers(
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
    var whole = 0u;
    if OP == 3u {
        whole = 1u;
    } else if OP != 0u {
        whole = words[at];
    }
    for (var r = first; r < last; r++) {
        whole = combine(whole, words[at]);
        at += p.inner;
    }
    if p.divisor > 1u && p.sign != 0u {
        whole = bitcast<u32>(bitcast<i32>(whole) / i32(p.divisor));
    } else if p.divisor > 1u {
        whole = whole / p.divisor;
    }
    results[thread] = whole;
}
