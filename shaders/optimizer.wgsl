// Optimizer steps over flat arenas: all weights of a model lie in one buffer, and a step is one launch.
//
// The formulas are Keras 3's. Before each, weight decay: w -= lr * weight_decay * w.
//   sgd               w -= lr * g
//   sgd_momentum      a = momentum * a - lr * g; w += a, or with nesterov w += momentum * a - lr * g
//   adam              a += (1 - beta1) * (g - a); b += (1 - beta2) * (g^2 - b); w -= lr * a / (sqrt(b) + epsilon)
//   adam_amsgrad      the same with c = max(c, b) in place of b; lr carries the bias correction
//   rmsprop           a = rho * a + (1 - rho) * g^2; w -= lr * g / sqrt(a + epsilon)
//   rmsprop_centered  b = rho * b + (1 - rho) * g, and a - b^2 in place of a
//   rmsprop_momentum  the last state: s = momentum * s + increment; w -= s

struct Params {
    len: u32,      // elements
    g_offset: u32, // first elements
    w_offset: u32,
    a_offset: u32,
    b_offset: u32,
    c_offset: u32,
    nesterov: u32,
    pad: u32,
    lr: f32,
    momentum: f32,
    beta1: f32,
    beta2: f32,    // rho of rmsprop
    epsilon: f32,
    decay: f32,    // lr * weight_decay
    pad2: f32,
    pad3: f32,
}

const SIZE: u32 = 64u;
const EACH: u32 = 4u;

@group(0) @binding(0) var<storage, read> g: array<f32>;       // (len): gradients
@group(0) @binding(1) var<storage, read_write> w: array<f32>; // (len): weights
@group(0) @binding(2) var<storage, read_write> a: array<f32>; // (len): states
@group(0) @binding(3) var<storage, read_write> b: array<f32>; // (len)
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // (len)

fn nan_bits(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

// NaN if either is, which max of WGSL leaves open.
fn maximum(l: f32, r: f32) -> f32 {
    return select(select(max(l, r), r, nan_bits(r)), l, nan_bits(l));
}

fn gradient(i: u32) -> f32 {
    return g[p.g_offset + i];
}

fn add_to_weight(i: u32, change: f32) {
    let v = w[p.w_offset + i];
    w[p.w_offset + i] = v - v * p.decay + change;
}

fn sgd_momentum(i: u32) {
    let dw = p.lr * gradient(i);
    let velocity = p.momentum * a[p.a_offset + i] - dw;
    a[p.a_offset + i] = velocity;
    add_to_weight(i, select(velocity, p.momentum * velocity - dw, p.nesterov == 1u));
}

// Updates both moments; returns the second one.
fn adam_moments(i: u32) -> f32 {
    let v = gradient(i);
    let mean = a[p.a_offset + i];
    let square = b[p.b_offset + i];
    a[p.a_offset + i] = mean + (v - mean) * (1.0 - p.beta1);
    let next = square + (v * v - square) * (1.0 - p.beta2);
    b[p.b_offset + i] = next;
    return next;
}

fn adam_move(i: u32, second: f32) {
    add_to_weight(i, -(a[p.a_offset + i] * p.lr) / (sqrt(second) + p.epsilon));
}

fn rmsprop_square(i: u32) -> f32 {
    let v = gradient(i);
    let square = p.beta2 * a[p.a_offset + i] + (1.0 - p.beta2) * v * v;
    a[p.a_offset + i] = square;
    return square;
}

fn rmsprop_increment(i: u32) -> f32 {
    return p.lr * gradient(i) / sqrt(rmsprop_square(i) + p.epsilon);
}

fn rmsprop_centered_increment(i: u32) -> f32 {
    let mean = p.beta2 * b[p.b_offset + i] + (1.0 - p.beta2) * gradient(i);
    b[p.b_offset + i] = mean;
    return p.lr * gradient(i) / sqrt(rmsprop_square(i) - mean * mean + p.epsilon);
}

@compute @workgroup_size(SIZE)
fn sgd_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        add_to_weight(i, -p.lr * gradient(i));
    }
}

@compute @workgroup_size(SIZE)
fn sgd_momentum_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        sgd_momentum(i);
    }
}

@compute @workgroup_size(SIZE)
fn adam_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        adam_move(i, adam_moments(i));
    }
}

@compute @workgroup_size(SIZE)
fn adam_amsgrad_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        let largest = maximum(c[p.c_offset + i], adam_moments(i));
        c[p.c_offset + i] = largest;
        adam_move(i, largest);
    }
}

@compute @workgroup_size(SIZE)
fn rmsprop_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        add_to_weight(i, -rmsprop_increment(i));
    }
}

@compute @workgroup_size(SIZE)
fn rmsprop_momentum_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        let velocity = p.momentum * b[p.b_offset + i] + rmsprop_increment(i);
        b[p.b_offset + i] = velocity;
        add_to_weight(i, -velocity);
    }
}

@compute @workgroup_size(SIZE)
fn rmsprop_centered_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        add_to_weight(i, -rmsprop_centered_increment(i));
    }
}

@compute @workgroup_size(SIZE)
fn rmsprop_centered_momentum_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, p.len); i += SIZE) {
        let velocity = p.momentum * c[p.c_offset + i] + rmsprop_centered_increment(i);
        c[p.c_offset + i] = velocity;
        add_to_weight(i, -velocity);
    }
}
