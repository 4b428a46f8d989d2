// Softmax and log-softmax along the middle axis of x seen as (outer, n, inner), and their derivatives. LOG: 0 or 1.
//
// A thread makes one row: all n elements with the same outer and inner index. The largest element is subtracted first, so
// that no exp overflows. A row with a NaN, with plus infinity, or of minus infinity only is NaN throughout, as on the CPU;
// it is told by bits, because compilers may assume that neither exists.

struct Params {
    rows: u32,     // outer * inner
    n: u32,        // length of the axis
    inner: u32,    // elements behind the axis
    x_offset: u32, // first element of x (y in backward), in elements
    g_offset: u32, // first element of dy, in elements
    pad: u32,
    pad2: u32,
    pad3: u32,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // (outer, n, inner); y in backward
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // (outer, n, inner)
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // (outer, n, inner)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (outer, n, inner)

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
    var top = x[p.x_offset + first];
    var bad = false;
    for (var i = 0u; i < p.n; i++) {
        let v = x[p.x_offset + first + i * p.inner];
        // NaN of either sign, or plus infinity.
        let bits = bitcast<u32>(v);
        bad |= bits == INFINITY || (bits & 0x7fffffffu) > INFINITY;
        top = max(top, v);
    }
    bad |= bitcast<u32>(top) == (INFINITY | 0x80000000u);
    var sum = 0.0;
    for (var i = 0u; i < p.n; i++) {
        sum += exp(x[p.x_offset + first + i * p.inner] - top);
    }
    let scale = 1.0 / sum;
    let shift = log(sum);
    let nan = bitcast<f32>(0x7fc00000u | (p.pad & 0u));
    for (var i = 0u; i < p.n; i++) {
        let at = first + i * p.inner;
        let v = x[p.x_offset + at] - top;
        if LOG == 1u {
            y[at] = select(v - shift, nan, bad);
        } else {
            y[at] = select(exp(v) * scale, nan, bad);
        }
    }
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
