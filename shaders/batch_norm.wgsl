// Batch normalisation over all axes of x but the last, x seen as (rows, C): statistics, output, gradients.
//
// Sums over rows are made in two launches: a thread of the first goes through one split of the rows for four channels, and
// the second merges the splits, one thread to four channels. The order of additions is fixed. The merging launch also
// leaves per-channel coefficients, so that the launches over all elements do one multiplication or two.
//
// Header: C; VEC (1: C and the offsets of x and dy are multiples of 4). Scratch buffers hold whole groups of four channels.

struct Params {
    rows: u32,
    chunk: u32,        // rows in a split
    splits: u32,
    x_offset: u32,     // first elements
    dy_offset: u32,
    gamma_offset: u32,
    beta_offset: u32,
    len: u32,          // elements, in update_running
    epsilon: f32,      // momentum in update_running
    pad: u32,
    pad2: u32,
    pad3: u32,
}

const SIZE: u32 = 64u;
const QUADS: u32 = (C + 3u) / 4u; // groups of four channels
const LANES: u32 = min(C, 4u);

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;                 // (rows, C)
// Statistics: splits of (mean, sum of squared deviations).
@group(0) @binding(1) var<storage, read_write> made: array<vec4<f32>>;        // (splits, 2, QUADS)
@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;          // (splits, 2, QUADS)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;                   // (C)
@group(0) @binding(2) var<storage, read> beta: array<f32>;                    // (C)
@group(0) @binding(3) var<storage, read_write> mean_made: array<vec4<f32>>;   // (QUADS)
@group(0) @binding(4) var<storage, read_write> variance_made: array<vec4<f32>>; // (QUADS)
@group(0) @binding(5) var<storage, read_write> factors_made: array<vec4<f32>>; // (3, QUADS): mean, scale, beta
@group(0) @binding(1) var<storage, read> factors: array<vec4<f32>>;           // as factors_made
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;           // (rows, C)
// Gradients: splits of (sum of dy, sum of dy * (x - mean)).
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;                // (rows, C)
@group(0) @binding(2) var<storage, read> mean: array<vec4<f32>>;              // (QUADS)
@group(0) @binding(3) var<storage, read_write> sums_made: array<vec4<f32>>;   // (splits, 2, QUADS)
@group(0) @binding(3) var<storage, read> variance: array<vec4<f32>>;          // (QUADS)
@group(0) @binding(4) var<storage, read_write> dgamma: array<vec4<f32>>;      // (QUADS)
@group(0) @binding(5) var<storage, read_write> dbeta: array<vec4<f32>>;       // (QUADS)
@group(0) @binding(6) var<storage, read_write> slopes_made: array<vec4<f32>>; // (4, QUADS): mean, a, b, c of dx
@group(0) @binding(2) var<storage, read> slopes: array<vec4<f32>>;            // as slopes_made
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;          // (rows, C)
@group(0) @binding(0) var<storage, read> batch: array<f32>;                   // (len)
@group(0) @binding(1) var<storage, read_write> running: array<f32>;           // (len)

// Four channels of a row, of which those past the last are the last one's.
fn load_x(row: u32, quad: u32) -> vec4<f32> {
    let at = p.x_offset + row * C + quad * 4u;
    if VEC == 1u {
        return x[at / 4u];
    }
    var v = vec4(0.0);
    for (var i = 0u; i < LANES; i++) {
        let k = at + min(i, C - 1u - quad * 4u);
        v[i] = x[k / 4u][k % 4u];
    }
    return v;
}

fn load_dy(row: u32, quad: u32) -> vec4<f32> {
    let at = p.dy_offset + row * C + quad * 4u;
    if VEC == 1u {
        return dy[at / 4u];
    }
    var v = vec4(0.0);
    for (var i = 0u; i < LANES; i++) {
        let k = at + min(i, C - 1u - quad * 4u);
        v[i] = dy[k / 4u][k % 4u];
    }
    return v;
}

fn load_gamma(quad: u32) -> vec4<f32> {
    var v = vec4(0.0);
    for (var i = 0u; i < LANES; i++) {
        v[i] = gamma[p.gamma_offset + min(quad * 4u + i, C - 1u)];
    }
    return v;
}

fn load_beta(quad: u32) -> vec4<f32> {
    var v = vec4(0.0);
    for (var i = 0u; i < LANES; i++) {
        v[i] = beta[p.beta_offset + min(quad * 4u + i, C - 1u)];
    }
    return v;
}

@compute @workgroup_size(SIZE)
fn batch_norm_statistics(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    let quad = thread % QUADS;
    let split = thread / QUADS;
    if split >= p.splits {
        return;
    }
    let first = split * p.chunk;
    let last = min(first + p.chunk, p.rows);
    // Deviations from the first row, not from 0: the squares of a small spread around a large mean would lose all digits.
    let shift = load_x(first, quad);
    var sum = vec4(0.0);
    var squares = vec4(0.0);
    for (var row = first + 1u; row < last; row++) {
        let d = load_x(row, quad) - shift;
        sum += d;
        squares += d * d;
    }
    let n = f32(last - first);
    made[split * 2u * QUADS + quad] = shift + sum / n;
    made[(split * 2u + 1u) * QUADS + quad] = max(squares - sum * sum / n, vec4(0.0));
}

@compute @workgroup_size(SIZE)
fn batch_norm_merge(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let quad = (group.x + group.y * groups.x) * SIZE + local;
    if quad >= QUADS {
        return;
    }
    // Around the first split's mean, for the same reason as above.
    let shift = partials[quad];
    var sum = vec4(0.0);
    for (var s = 1u; s < p.splits; s++) {
        let n = f32(min(p.chunk, p.rows - s * p.chunk));
        sum += n * (partials[s * 2u * QUADS + quad] - shift);
    }
    let mu = shift + sum / f32(p.rows);
    var squares = vec4(0.0);
    for (var s = 0u; s < p.splits; s++) {
        let n = f32(min(p.chunk, p.rows - s * p.chunk));
        let d = partials[s * 2u * QUADS + quad] - mu;
        squares += partials[(s * 2u + 1u) * QUADS + quad] + n * d * d;
    }
    let spread = squares / f32(p.rows);
    mean_made[quad] = mu;
    variance_made[quad] = spread;
    factors_made[quad] = mu;
    factors_made[QUADS + quad] = load_gamma(quad) / sqrt(spread + p.epsilon);
    factors_made[2u * QUADS + quad] = load_beta(quad);
}

// y = (x - mean) * gamma / sqrt(variance + epsilon) + beta.
@compute @workgroup_size(SIZE)
fn batch_norm_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.rows * QUADS {
        return;
    }
    let row = thread / QUADS;
    let quad = thread % QUADS;
    let v = (load_x(row, quad) - factors[quad]) * factors[QUADS + quad] + factors[2u * QUADS + quad];
    let at = row * C + quad * 4u;
    if VEC == 1u {
        y[at / 4u] = v;
        return;
    }
    for (var i = 0u; i < min(C - quad * 4u, 4u); i++) {
        y[(at + i) / 4u][(at + i) % 4u] = v[i];
    }
}

@compute @workgroup_size(SIZE)
fn batch_norm_backward_sums(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    let quad = thread % QUADS;
    let split = thread / QUADS;
    if split >= p.splits {
        return;
    }
    let mu = mean[quad];
    var sum = vec4(0.0);
    var product = vec4(0.0);
    for (var row = split * p.chunk; row < min((split + 1u) * p.chunk, p.rows); row++) {
        let g = load_dy(row, quad);
        sum += g;
        product += g * (load_x(row, quad) - mu);
    }
    sums_made[split * 2u * QUADS + quad] = sum;
    sums_made[(split * 2u + 1u) * QUADS + quad] = product;
}

@compute @workgroup_size(SIZE)
fn batch_norm_backward_merge(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let quad = (group.x + group.y * groups.x) * SIZE + local;
    if quad >= QUADS {
        return;
    }
    var sum = vec4(0.0);
    var product = vec4(0.0);
    for (var s = 0u; s < p.splits; s++) {
        sum += partials[s * 2u * QUADS + quad];
        product += partials[(s * 2u + 1u) * QUADS + quad];
    }
    let inverse = 1.0 / sqrt(variance[quad] + p.epsilon);
    dgamma[quad] = product * inverse;
    dbeta[quad] = sum;
    slopes_made[quad] = mean[quad];
    slopes_made[QUADS + quad] = load_gamma(quad) * inverse;
    slopes_made[2u * QUADS + quad] = sum / f32(p.rows);
    slopes_made[3u * QUADS + quad] = product * inverse * inverse / f32(p.rows);
}

// dx = a * (dy - b - (x - mean) * c).
@compute @workgroup_size(SIZE)
fn batch_norm_backward_x(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.rows * QUADS {
        return;
    }
    let row = thread / QUADS;
    let quad = thread % QUADS;
    let deviation = load_x(row, quad) - slopes[quad];
    let g = load_dy(row, quad) - slopes[2u * QUADS + quad] - deviation * slopes[3u * QUADS + quad];
    let v = slopes[QUADS + quad] * g;
    let at = row * C + quad * 4u;
    if VEC == 1u {
        dx[at / 4u] = v;
        return;
    }
    for (var i = 0u; i < min(C - quad * 4u, 4u); i++) {
        dx[(at + i) / 4u][(at + i) % 4u] = v[i];
    }
}

// running = momentum * running + (1 - momentum) * batch. The offsets are those of batch and running.
@compute @workgroup_size(SIZE)
fn update_running(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i < p.len {
        let at = p.dy_offset + i;
        running[at] = p.epsilon * running[at] + (1.0 - p.epsilon) * batch[p.x_offset + i];
    }
}
