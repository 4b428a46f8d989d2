// Softmax cross-entropy of logits x (rows, n) against classes or targets, its derivative, and whether a row's largest
// logit is the labelled one.
//
// loss = sum over c of t[c] * (log sum e^x - x[c]), where t is 1 at the class and 0 elsewhere, or a row of targets.
// Each row leaves (max, log sum e^(x - max), sum of t) for backward: the parts apart, since their sum would lose the digits
// behind a large max.
//
// A thread makes one row. Of a long row, threads of cross_entropy_parts_* summarise parts, and one of cross_entropy_merge_*
// puts them together.

struct Params {
    rows: u32,
    n: u32,            // classes
    x_offset: u32,     // first element of x, in elements
    label_offset: u32, // first element of classes or targets
    stats_offset: u32, // first element of stats, in backward
    g_offset: u32,     // first element of dy
    chunk: u32,        // elements in a part of a long row
    pad: u32,
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
// Long rows: (max, sum of e^(x - max), sum of t, sum of t * (x - max)).
@group(0) @binding(2) var<storage, read_write> parts_made: array<vec4<f32>>; // (parts, rows)
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>;            // (parts, rows)
@group(0) @binding(3) var<storage, read_write> merged_loss: array<f32>;      // (rows): loss
@group(0) @binding(4) var<storage, read_write> merged: array<f32>;           // (rows, 3): made
@group(0) @binding(0) var<storage, read> found: array<u32>;                  // (rows): places of the largest logits

fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > INFINITY;
}

// NaN, made from p so that no compiler folds it.
fn nan() -> f32 {
    return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
}

// Of a row, or of a part of one.
struct Summary {
    top: f32, // the largest logit; plus infinity where there is a NaN
    sum: f32, // of e^(x - top); 0 where all are minus infinity
}

fn summarise(first: u32, n: u32) -> Summary {
    var top = x[first];
    var bad = false;
    for (var c = 0u; c < n; c++) {
        let v = x[first + c];
        bad |= nan_bits(v);
        top = max(top, v);
    }
    var sum = 0.0;
    for (var c = 0u; c < n; c++) {
        sum += exp(x[first + c] - top);
    }
    return Summary(select(top, bitcast<f32>(INFINITY | (p.pad & 0u)), bad), select(sum, 0.0, lowest(top)));
}

// Whether v is minus infinity.
fn lowest(v: f32) -> bool {
    return bitcast<u32>(v) == (INFINITY | 0x80000000u);
}

// log sum e^(x - top) of a whole row; NaN when it has NaN or plus infinity, or nothing but minus infinity.
fn log_sum_of(r: Summary) -> f32 {
    return select(log(r.sum), nan(), (bitcast<u32>(r.top) & 0x7fffffffu) == INFINITY);
}

// The loss of the row whose label is the class `class_of`. A label that is no class reads nothing outside the row, and its
// loss is NaN, as is its weight.
fn loss_of_class(row: u32, class_of: u32, top: f32, log_sum: f32) -> f32 {
    let v = x[p.x_offset + row * p.n + min(class_of, p.n - 1u)];
    return select(nan(), log_sum - (v - top), class_of < p.n);
}

fn weight_of_class(class_of: u32) -> f32 {
    return select(nan(), 1.0, class_of < p.n);
}

fn leave(row: u32, top: f32, log_sum: f32, weight: f32) {
    made[row * 3u] = top;
    made[row * 3u + 1u] = log_sum;
    made[row * 3u + 2u] = weight;
}

fn leave_merged(row: u32, top: f32, log_sum: f32, weight: f32) {
    merged[row * 3u] = top;
    merged[row * 3u + 1u] = log_sum;
    merged[row * 3u + 2u] = weight;
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
    let r = summarise(p.x_offset + row * p.n, p.n);
    let log_sum = log_sum_of(r);
    loss[row] = loss_of_class(row, class_of, r.top, log_sum);
    leave(row, r.top, log_sum, weight_of_class(class_of));
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
    let r = summarise(p.x_offset + row * p.n, p.n);
    let log_sum = log_sum_of(r);
    var sum = 0.0;
    var weight = 0.0;
    for (var c = 0u; c < p.n; c++) {
        let t = targets[p.label_offset + row * p.n + c];
        weight += t;
        // A class of target 0 adds nothing, though its logit be minus infinity.
        if t != 0.0 || nan_bits(t) {
            sum += t * (log_sum - (x[p.x_offset + row * p.n + c] - r.top));
        }
    }
    loss[row] = select(sum, nan(), nan_bits(log_sum));
    leave(row, r.top, log_sum, weight);
}

@compute @workgroup_size(SIZE)
fn cross_entropy_parts_classes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    let start = thread / p.rows * p.chunk;
    if start >= p.n {
        return;
    }
    let r = summarise(p.x_offset + thread % p.rows * p.n + start, min(p.chunk, p.n - start));
    parts_made[thread] = vec4(r.top, r.sum, 0.0, 0.0);
}

@compute @workgroup_size(SIZE)
fn cross_entropy_parts_targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    let start = thread / p.rows * p.chunk;
    if start >= p.n {
        return;
    }
    let first = thread % p.rows * p.n + start;
    let n = min(p.chunk, p.n - start);
    let r = summarise(p.x_offset + first, n);
    var sum = 0.0;
    var weight = 0.0;
    for (var c = 0u; c < n; c++) {
        let t = targets[p.label_offset + first + c];
        weight += t;
        if t != 0.0 || nan_bits(t) {
            sum += t * (x[p.x_offset + first + c] - above(r.top));
        }
    }
    parts_made[thread] = vec4(r.top, r.sum, weight, sum);
}

// What a part's sum of t * (x - max) subtracts: not minus infinity, from which minus infinity has no distance.
fn above(top: f32) -> f32 {
    return select(top, 0.0, lowest(top));
}

fn merge_parts(row: u32) -> Summary {
    let count = (p.n + p.chunk - 1u) / p.chunk;
    var top = parts[row].x;
    for (var i = 1u; i < count; i++) {
        top = max(top, parts[i * p.rows + row].x);
    }
    var sum = 0.0;
    for (var i = 0u; i < count; i++) {
        let part = parts[i * p.rows + row];
        sum += part.y * exp(part.x - top);
    }
    return Summary(top, sum);
}

@compute @workgroup_size(SIZE)
fn cross_entropy_merge_classes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let class_of = classes[p.label_offset + row];
    let r = merge_parts(row);
    let log_sum = log_sum_of(r);
    merged_loss[row] = loss_of_class(row, class_of, r.top, log_sum);
    leave_merged(row, r.top, log_sum, weight_of_class(class_of));
}

@compute @workgroup_size(SIZE)
fn cross_entropy_merge_targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    let r = merge_parts(row);
    let log_sum = log_sum_of(r);
    var sum = 0.0;
    var weight = 0.0;
    for (var i = 0u; i * p.chunk < p.n; i++) {
        let part = parts[i * p.rows + row];
        weight += part.z;
        sum += part.z * (log_sum - (above(part.x) - r.top)) - part.w;
    }
    merged_loss[row] = select(sum, nan(), nan_bits(log_sum));
    leave_merged(row, r.top, log_sum, weight);
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

// The same for long rows, whose largest elements have been found before.
@compute @workgroup_size(SIZE)
fn correct_found(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row < p.rows {
        loss[row] = select(0.0, 1.0, found[row] == classes[p.label_offset + row]);
    }
}
