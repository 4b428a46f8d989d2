// Negative log-likelihood of classes, with a weight a class and a class that does not count, and its derivative.
//
// loss[row] = -w[t] * x[row, t], where t is the row's class. A row of the ignored class has loss, weight and derivative 0. A
// class that isn't one gives NaN.

struct Params {
    rows: u32,
    n: u32,             // classes
    x_offset: u32,      // first element of x, or of dy in backward, in elements
    label_offset: u32,
    weight_offset: u32,
    ignores: u32,       // 1: there is an ignored class
    ignored: u32,       // its bits
    pad: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;                // (rows, n): log-probabilities
@group(0) @binding(1) var<storage, read> classes: array<u32>;          // (rows): bits of u32 or i32
@group(0) @binding(2) var<storage, read> weights: array<f32>;          // (n)
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;       // (rows)
@group(0) @binding(4) var<storage, read_write> picked: array<f32>;     // (rows): the class's weight
@group(0) @binding(0) var<storage, read> dy: array<f32>;               // (rows)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;         // (rows, n)

// NaN, made from p so that no compiler folds it.
fn nan() -> f32 {
    return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
}

fn is_ignored(class_of: u32) -> bool {
    return p.ignores == 1u && class_of == p.ignored;
}

@compute @workgroup_size(SIZE)
fn nll_loss_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let class_of = classes[p.label_offset + row];
    if is_ignored(class_of) {
        loss[row] = 0.0;
        picked[row] = 0.0;
        return;
    }
    let at = min(class_of, p.n - 1u);
    let weight = weights[p.weight_offset + at];
    loss[row] = select(nan(), -weight * x[p.x_offset + row * p.n + at], class_of < p.n);
    picked[row] = select(nan(), weight, class_of < p.n);
}

// dx[row, t] = -dy[row] * w[t], and 0 elsewhere. A thread makes one element.
@compute @workgroup_size(SIZE)
fn nll_loss_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.rows * p.n {
        return;
    }
    let c = i % p.n;
    let class_of = classes[p.label_offset + i / p.n];
    if is_ignored(class_of) {
        dx[i] = 0.0;
        return;
    }
    let slope = -dy[p.x_offset + i / p.n] * weights[p.weight_offset + c];
    dx[i] = select(nan(), select(0.0, slope, c == class_of), class_of < p.n);
}
