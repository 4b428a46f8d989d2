// Weighted elements along the middle axis: y[o,i,k] = sum over t from starts[i] to starts[i+1] of
// weights[t] * x[o,taps[t],k]. Where a row is one tap of weight 1, elements of any type of four bytes are copied.
// x (outer, input, inner), y (outer, output, inner). One invocation makes one element, or four neighbours along the
// inner axis where that is a multiple of four.

struct Params {
    len: u32,       // elements of y, or quads
    input: u32,     // length of x's middle axis
    output: u32,    // length of y's middle axis
    inner: u32,     // elements, or quads, behind it
    x_offset: u32,  // element, or quad, where x starts
    starts: u32,    // elements where the tables start
    taps: u32,
    weights: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> taps: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@group(0) @binding(0) var<storage, read> x_quads: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y_quads: array<vec4<f32>>;

@group(0) @binding(0) var<storage, read> x_bits: array<u32>;
@group(0) @binding(2) var<storage, read_write> y_bits: array<u32>;
@group(0) @binding(1) var<storage, read> copied: array<u32>;

@group(0) @binding(0) var<storage, read> x_bits_quads: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y_bits_quads: array<vec4<u32>>;

// Where an element's row of x's middle axis starts, and its position along y's middle axis.
struct Place { first: u32, row: u32 }

fn place(id: u32) -> Place {
    let line = id / p.inner;
    return Place(p.x_offset + line / p.output * p.input * p.inner + id % p.inner, line % p.output);
}

@compute @workgroup_size(SIZE)
fn resample_sum(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let id = (group.x + group.y * groups.x) * SIZE + local;
    if id >= p.len {
        return;
    }
    let at = place(id);
    let end = starts[p.starts + at.row + 1u];
    var t = starts[p.starts + at.row];
    var sum = 0.0;
    // The first on its own: added to zero, -0.0 would lose its sign.
    if t < end {
        sum = weights[p.weights + t] * x[at.first + taps[p.taps + t] * p.inner];
    }
    for (t++; t < end; t++) {
        sum += weights[p.weights + t] * x[at.first + taps[p.taps + t] * p.inner];
    }
    y[id] = sum;
}

@compute @workgroup_size(SIZE)
fn resample_sum_quads(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let id = (group.x + group.y * groups.x) * SIZE + local;
    if id >= p.len {
        return;
    }
    let at = place(id);
    let end = starts[p.starts + at.row + 1u];
    var t = starts[p.starts + at.row];
    var sum = vec4<f32>(0.0);
    if t < end {
        sum = weights[p.weights + t] * x_quads[at.first + taps[p.taps + t] * p.inner];
    }
    for (t++; t < end; t++) {
        sum += weights[p.weights + t] * x_quads[at.first + taps[p.taps + t] * p.inner];
    }
    y_quads[id] = sum;
}

@compute @workgroup_size(SIZE)
fn resample_copy(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let id = (group.x + group.y * groups.x) * SIZE + local;
    if id >= p.len {
        return;
    }
    let at = place(id);
    y_bits[id] = x_bits[at.first + copied[p.taps + at.row] * p.inner];
}

@compute @workgroup_size(SIZE)
fn resample_copy_quads(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let id = (group.x + group.y * groups.x) * SIZE + local;
    if id >= p.len {
        return;
    }
    let at = place(id);
    y_bits_quads[id] = x_bits_quads[at.first + copied[p.taps + at.row] * p.inner];
}
