// Softmax and log-softmax along the middle axis of x seen as (outer, n, inner), and their derivatives. LOG: 0 or 1.
//
// A thread makes one row: all n elements with the same outer and inner index. The largest element is subtracted first, so
// that no exp overflows. A row with a NaN, with plus infinity, or of minus infinity only is NaN throughout, as on the CPU;
// it is told by bits, because compilers may assume that neither exists.
//
// A long row is made in three launches: softmax_parts summarises each part of it, softmax_merge the row, and a thread of
// softmax_apply makes one element.

struct Params {
    rows: u32,     // outer * inner
    n: u32,        // length of the axis
    inner: u32,    // elements behind the axis
    x_offset: u32, // first element of x (y in backward), in elements
    g_offset: u32, // first element of dy, in elements
    chunk: u32,    // elements in a part of a long row
    parts: u32,
    pad: u32,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // (outer, n, inner); y in backward
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // (outer, n, inner)
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // (outer, n, inner)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (outer, n, inner)
// Long rows: the largest element, and the sum of e^(x - largest), or in `whole` what shift_or_scale makes of it.
@group(0) @binding(1) var<storage, read_write> parts_made: array<vec2<f32>>; // (parts, rows)
@group(0) @binding(0) var<storage, read> parts: array<vec2<f32>>;            // (parts, rows)
@group(0) @binding(1) var<storage, read_write> whole_made: array<vec2<f32>>; // (rows)
@group(0) @binding(1) var<storage, read> whole: array<vec2<f32>>;            // (rows)
@group(0) @binding(2) var<storage, read_write> y_of_long: array<f32>;        // (outer, n, inner)

struct Summary {
    top: f32, // the largest element; plus infinity where there is a NaN
    sum: f32, // of e^(x - top); 0 where all are minus infinity
}

// Of n elements from `first` on.
fn summarise(first: u32, n: u32) -> Summary {
    var top = x[first];
    var bad = false;
    for (var i = 0u; i < n; i++) {
        let v = x[first + i * p.inner];
        // NaN of either sign.
        bad |= (bitcast<u32>(v) & 0x7fffffffu) > INFINITY;
        top = max(top, v);
    }
    var sum = 0.0;
    for (var i = 0u; i < n; i++) {
        sum += exp(x[first + i * p.inner] - top);
    }
    // Infinity is made from p so that no compiler folds it.
    let empty = bitcast<u32>(top) == (INFINITY | 0x80000000u);
    return Summary(select(top, bitcast<f32>(INFINITY | (p.pad & 0u)), bad), select(sum, 0.0, empty));
}

// What is subtracted from x - top, or multiplies its exponential.
fn shift_or_scale(sum: f32) -> f32 {
    if LOG == 1u {
        return log(sum);
    }
    return 1.0 / sum;
}

fn softmax(v: f32, top: f32, by: f32) -> f32 {
    let nan = bitcast<f32>(0x7fc00000u | (p.pad & 0u));
    let bad = (bitcast<u32>(top) & 0x7fffffffu) == INFINITY;
    if LOG == 1u {
        return select(v - top - by, nan, bad);
    }
    return select(exp(v - top) * by, nan, bad);
}

@compute @workgroup_size(SIZE)
fn softmax_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let first = row / p.inner * p.n * p.inner + row % p.inner;
    let of_row = summarise(p.x_offset + first, p.n);
    let by = shift_or_scale(of_row.sum);
    for (var i = 0u; i < p.n; i++) {
        let at = first + i * p.inner;
        y[at] = softmax(x[p.x_offset + at], of_row.top, by);
    }
}

@compute @workgroup_size(SIZE)
fn softmax_parts(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.rows * p.parts {
        return;
    }
    let row = thread % p.rows;
    let start = thread / p.rows * p.chunk;
    let first = (row / p.inner * p.n + start) * p.inner + row % p.inner;
    let of_part = summarise(p.x_offset + first, min(p.chunk, p.n - start));
    parts_made[thread] = vec2(of_part.top, of_part.sum);
}

@compute @workgroup_size(SIZE)
fn softmax_merge(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    var top = parts[row].x;
    for (var i = 1u; i < p.parts; i++) {
        top = max(top, parts[i * p.rows + row].x);
    }
    var sum = 0.0;
    for (var i = 0u; i < p.parts; i++) {
        let part = parts[i * p.rows + row];
        sum += part.y * exp(part.x - top);
    }
    whole_made[row] = vec2(top, shift_or_scale(sum));
}

@compute @workgroup_size(SIZE)
fn softmax_apply(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.rows * p.n {
        return;
    }
    let of_row = whole[i / (p.n * p.inner) * p.inner + i % p.inner];
    y_of_long[i] = softmax(x[p.x_offset + i], of_row.x, of_row.y);
}

// Softmax: dx = y * (dy - sum(y * dy)). Log-softmax: dx = dy - e^y * sum(dy).
@compute @workgroup_size(SIZE)
fn softmax_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let first = row / p.inner * p.n * p.inner + row % p.inner;
    var sum = 0.0;
    for (var i = 0u; i < p.n; i++) {
        let at = first + i * p.inner;
        let g = dy[p.g_offset + at];
        if LOG == 1u {
            sum += g;
        } else {
            sum += g * x[p.x_offset + at];
        }
    }
    for (var i = 0u; i < p.n; i++) {
        let at = first + i * p.inner;
        let v = x[p.x_offset + at];
        let g = dy[p.g_offset + at];
        if LOG == 1u {
            dx[at] = g - exp(v) * sum;
        } else {
            dx[at] = v * (g - sum);
        }
    }
}
