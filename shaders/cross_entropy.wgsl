// Softmax cross-entropy of logits x (rows, n) against classes or targets, its derivative, and whether a row's largest
// logit is the labelled one.
//
// loss = sum over c of t[c] * (log sum e^x - x[c]), where t is 1 at the class and 0 elsewhere, or a row of targets.
// Each row leaves (max, log sum e^(x - max), sum of t) for backward: the parts apart, since their sum would lose the digits
// behind a large max.

struct Params {
    rows: u32,
    n: u32,            // classes
    x_offset: u32,     // first element of x, in elements
    label_offset: u32, // first element of classes or targets
    stats_offset: u32, // first element of stats, in backward
    g_offset: u32,     // first element of dy
    pad: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;

@group(0) @binding(0) var<storage, read> x: array<f32>;              // (rows, n)
@group(0) @binding(1) var<storage, read> classes: array<u32>;        // (rows)
@group(0) @binding(1) var<storage, read> targets: array<f32>;        // (rows, n)
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;     // (rows); 1 or 0 in correct_*
@group(0) @binding(3) var<storage, read_write> made: array<f32>;     // (rows, 3): stats, as forward writes them
@group(0) @binding(2) var<storage, read> stats: array<f32>;          // (rows, 3)
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (rows)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;       // (rows, n)

fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > INFINITY;
}

// NaN, made from p so that no compiler folds it.
fn nan() -> f32 {
    return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
}

struct Row {
    top: f32,     // the largest logit
    log_sum: f32, // log sum e^(x - top); NaN when the row has NaN or plus infinity, or nothing but minus infinity
}

fn summarise(row: u32) -> Row {
    let first = p.x_offset + row * p.n;
    var top = x[first];
    var bad = false;
    for (var c = 0u; c < p.n; c++) {
        let v = x[first + c];
        bad |= nan_bits(v) || bitcast<u32>(v) == INFINITY;
        top = max(top, v);
    }
    bad |= bitcast<u32>(top) == (INFINITY | 0x80000000u);
    var sum = 0.0;
    for (var c = 0u; c < p.n; c++) {
        sum += exp(x[first + c] - top);
    }
    return Row(top, select(log(sum), nan(), bad));
}

fn leave(row: u32, r: Row, weight: f32) {
    made[row * 3u] = r.top;
    made[row * 3u + 1u] = r.log_sum;
    made[row * 3u + 2u] = weight;
}

@compute @workgroup_size(SIZE)
fn cross_entropy_forward_classes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let class_of = classes[p.label_offset + row];
    let r = summarise(row);
    // A label that is no class reads nothing outside the row, and its loss is NaN.
    let exists = class_of < p.n;
    let v = x[p.x_offset + row * p.n + min(class_of, p.n - 1u)];
    loss[row] = select(nan(), r.log_sum - (v - r.top), exists);
    leave(row, r, select(nan(), 1.0, exists));
}

@compute @workgroup_size(SIZE)
fn cross_entropy_forward_targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let r = summarise(row);
    var sum = 0.0;
    var weight = 0.0;
    for (var c = 0u; c < p.n; c++) {
        let t = targets[p.label_offset + row * p.n + c];
        weight += t;
        // A class of target 0 adds nothing, though its logit be minus infinity.
        if t != 0.0 || nan_bits(t) {
            sum += t * (r.log_sum - (x[p.x_offset + row * p.n + c] - r.top));
        }
    }
    loss[row] = select(sum, nan(), nan_bits(r.log_sum));
    leave(row, r, weight);
}

// The softmax of one logit, times the sum of its row's targets.
fn weighted_softmax(i: u32) -> f32 {
    let s = p.stats_offset + i / p.n * 3u;
    return exp(x[p.x_offset + i] - stats[s] - stats[s + 1u]) * stats[s + 2u];
}

// dx = dy * (softmax - t). A thread makes one element.
@compute @workgroup_size(SIZE)
fn cross_entropy_backward_classes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.rows * p.n {
        return;
    }
    let t = select(0.0, 1.0, classes[p.label_offset + i / p.n] == i % p.n);
    dx[i] = dy[p.g_offset + i / p.n] * (weighted_softmax(i) - t);
}

@compute @workgroup_size(SIZE)
fn cross_entropy_backward_targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.rows * p.n {
        return;
    }
    dx[i] = dy[p.g_offset + i / p.n] * (weighted_softmax(i) - targets[p.label_offset + i]);
}

// Whether a takes the place of b as the largest: NaN beats everything, and the first one stays.
fn beats(a: f32, b: f32) -> bool {
    return !nan_bits(b) && (nan_bits(a) || a > b);
}

fn largest_logit(row: u32) -> u32 {
    var best = x[p.x_offset + row * p.n];
    var best_at = 0u;
    for (var c = 1u; c < p.n; c++) {
        let v = x[p.x_offset + row * p.n + c];
        if beats(v, best) {
            best = v;
            best_at = c;
        }
    }
    return best_at;
}

// loss[row] = 1 where the largest logit is the class, else 0.
@compute @workgroup_size(SIZE)
fn correct_classes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row < p.rows {
        loss[row] = select(0.0, 1.0, largest_logit(row) == classes[p.label_offset + row]);
    }
}

// loss[row] = 1 where the largest logit is at the largest target, else 0.
@compute @workgroup_size(SIZE)
fn correct_targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    var best = targets[p.label_offset + row * p.n];
    var best_at = 0u;
    for (var c = 1u; c < p.n; c++) {
        let v = targets[p.label_offset + row * p.n + c];
        if beats(v, best) {
            best = v;
            best_at = c;
        }
    }
    loss[row] = select(0.0, 1.0, largest_logit(row) == best_at);
}
