// Softmax cross-entropy in a training step: from the logits x (rows, n) of a batch and its labels, in one pass, the loss and
// whether the prediction is right, added to sums, and the gradient of the weighted sum of losses.
//
// loss = sum over c of t[c] * (log sum e^x - x[c]), dx = scale * (sum(t) * softmax(x) - t). It is cross_entropy.wgsl's forward,
// backward and correct_* in one: what they pass on through memory stays in registers. A thread makes a row.

struct Params {
    rows: u32,
    n: u32,            // classes
    x_offset: u32,     // first element of x, in elements
    label_offset: u32, // first element of classes or targets
    capacity: u32,     // rows that there are sums for: losses, and behind them right answers
    scale: f32,        // weight of each loss
    pad: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;

@group(0) @binding(0) var<storage, read> x: array<f32>;          // (rows, n)
@group(0) @binding(1) var<storage, read> classes: array<u32>;    // (rows)
@group(0) @binding(1) var<storage, read> targets: array<f32>;    // (rows, n)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;   // (rows, n)
@group(0) @binding(3) var<storage, read_write> sums: array<f32>; // (2, capacity)

fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > INFINITY;
}

// NaN, made from p so that no compiler folds it.
fn nan() -> f32 {
    return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
}

// Whether a takes the place of b as the largest: NaN beats everything, and the first one stays.
fn beats(a: f32, b: f32) -> bool {
    return !nan_bits(b) && (nan_bits(a) || a > b);
}

struct Row {
    top: f32,     // the largest logit
    log_sum: f32, // log sum e^(x - top); NaN when the row has NaN or plus infinity, or nothing but minus infinity
    found: u32,   // where the largest logit is
}

fn summarise(first: u32) -> Row {
    var best = x[first];
    var found = 0u;
    for (var c = 1u; c < p.n; c++) {
        let v = x[first + c];
        if beats(v, best) {
            best = v;
            found = c;
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < p.n; c++) {
        sum += exp(x[first + c] - best);
    }
    // NaN and both infinities.
    let bad = (bitcast<u32>(best) & 0x7fffffffu) >= INFINITY;
    return Row(best, select(log(sum), nan(), bad), found);
}

fn add(row: u32, loss: f32, right: bool) {
    sums[row] += loss;
    sums[p.capacity + row] += select(0.0, 1.0, right);
}

@compute @workgroup_size(SIZE)
fn cross_entropy_step_classes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let first = p.x_offset + row * p.n;
    let r = summarise(first);
    let label = classes[p.label_offset + row];
    // A label that is no class makes NaN.
    let known = label < p.n;
    add(row, select(nan(), r.log_sum - (x[first + min(label, p.n - 1u)] - r.top), known), r.found == label);
    let weight = select(nan(), 1.0, known);
    for (var c = 0u; c < p.n; c++) {
        let softmax = exp(x[first + c] - r.top - r.log_sum);
        dx[row * p.n + c] = p.scale * (softmax * weight - select(0.0, 1.0, c == label));
    }
}

@compute @workgroup_size(SIZE)
fn cross_entropy_step_targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let first = p.x_offset + row * p.n;
    let r = summarise(first);
    var loss = 0.0;
    var weight = 0.0;
    var best = targets[p.label_offset + row * p.n];
    var best_at = 0u;
    for (var c = 0u; c < p.n; c++) {
        let t = targets[p.label_offset + row * p.n + c];
        weight += t;
        // A class of target 0 adds nothing, though its logit be minus infinity.
        if t != 0.0 || nan_bits(t) {
            loss += t * (r.log_sum - (x[first + c] - r.top));
        }
        if c > 0u && beats(t, best) {
            best = t;
            best_at = c;
        }
    }
    add(row, select(loss, nan(), nan_bits(r.log_sum)), r.found == best_at);
    for (var c = 0u; c < p.n; c++) {
        let softmax = exp(x[first + c] - r.top - r.log_sum);
        dx[row * p.n + c] = p.scale * (softmax * weight - targets[p.label_offset + row * p.n + c]);
    }
}
