// Optimizer steps over flat arenas: all weights of a model lie in one buffer, and a step is one launch.
//
// The formulas are Keras 3's. Before each, weight decay: w -= lr * weight_decay * w.
// The root is root(v) = sqrt(v + epsilon_in_root) + epsilon, of which one is 0 as a rule.
//   sgd               w -= lr * g
//   sgd_momentum      a = momentum * a - lr * g; w += a, or with nesterov w += momentum * a - lr * g
//   adam              a += (1 - beta1) * (g - a); b += (1 - beta2) * (g^2 - b);
//                     w -= (lr * a + lr_of_gradient * g) / root(b); lr carries the bias correction
//   adam_amsgrad      the same with c = max(c, b * scale_of_largest) in place of b
//   rmsprop           a = rho * a + (1 - rho) * g^2; w -= lr * g / root(a)
//   rmsprop_centered  b = rho * b + (1 - rho) * g, and max(a - b^2, 0) in place of a
//   rmsprop_momentum  the last state: s = momentum * s + increment; w -= s, or with nesterov momentum * s + increment
//   adagrad           a += g^2; w -= lr * g / root(a)
//   adadelta          a = rho * a + (1 - rho) * g^2; d = root(b) / root(a) * g; b = rho * b + (1 - rho) * d^2; w -= lr * d
//   adamax            a += (1 - beta1) * (g - a); b = max(beta2 * b, |g| + epsilon_in_root); w -= lr * a / (b + epsilon)
//   lion              w -= lr * sign(beta1 * a + (1 - beta1) * g); a = beta2 * a + (1 - beta2) * g
//
// A thread makes four elements. VEC: 1 when the length and all offsets are multiples of 4. CLOCK: 1 when the number of the
// step, on which the corrections of Adam and Adamax depend, is read from a clock (see clock.wgsl); then lr, epsilon and
// epsilon_in_root come without them.

struct Params {
    len: u32,      // elements
    g_offset: u32, // first elements
    w_offset: u32,
    a_offset: u32,
    b_offset: u32,
    c_offset: u32,
    nesterov: u32,   // 1: look ahead; of adam with a clock 1: Nadam's schedule, 2: a constant beta1
    correction: u32, // with a clock: 0 adam's rate, 1 its moments, 2 those of adam_amsgrad, 3 adamax
    lr: f32,
    momentum: f32,
    beta1: f32,
    beta2: f32,    // rho of rmsprop and adadelta
    epsilon: f32,  // added to the root
    epsilon_in_root: f32,
    decay: f32,    // lr * weight_decay
    lr_of_gradient: f32,
    scale_of_largest: f32,
    log_beta1: f32,  // natural logarithms
    log_beta2: f32,
    pad: f32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> g: array<vec4<f32>>;       // (len): gradients
@group(0) @binding(1) var<storage, read> clock: array<u32>;         // (8): steps so far and more, if CLOCK is 1
@group(0) @binding(2) var<storage, read_write> w: array<vec4<f32>>; // (len): weights
@group(0) @binding(3) var<storage, read_write> a: array<vec4<f32>>; // (len): states
@group(0) @binding(4) var<storage, read_write> b: array<vec4<f32>>; // (len)
@group(0) @binding(5) var<storage, read_write> c: array<vec4<f32>>; // (len)

fn nan_bits(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// NaN if either is, which max of WGSL leaves open.
fn maximum(l: vec4<f32>, r: vec4<f32>) -> vec4<f32> {
    return select(select(max(l, r), r, nan_bits(r)), l, nan_bits(l));
}

// Element k of four elements that may end past the arena: then the last one again.
fn element(i: u32, k: u32) -> u32 {
    return min(i + k, p.len - 1u);
}

fn load_g(i: u32) -> vec4<f32> {
    if VEC == 1u {
        return g[(p.g_offset + i) / 4u];
    }
    var v = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
        let at = p.g_offset + element(i, k);
        v[k] = g[at / 4u][at % 4u];
    }
    return v;
}

fn load_w(i: u32) -> vec4<f32> {
    if VEC == 1u {
        return w[(p.w_offset + i) / 4u];
    }
    var v = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
        let at = p.w_offset + element(i, k);
        v[k] = w[at / 4u][at % 4u];
    }
    return v;
}

fn load_a(i: u32) -> vec4<f32> {
    if VEC == 1u {
        return a[(p.a_offset + i) / 4u];
    }
    var v = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
        let at = p.a_offset + element(i, k);
        v[k] = a[at / 4u][at % 4u];
    }
    return v;
}

fn load_b(i: u32) -> vec4<f32> {
    if VEC == 1u {
        return b[(p.b_offset + i) / 4u];
    }
    var v = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
        let at = p.b_offset + element(i, k);
        v[k] = b[at / 4u][at % 4u];
    }
    return v;
}

fn load_c(i: u32) -> vec4<f32> {
    if VEC == 1u {
        return c[(p.c_offset + i) / 4u];
    }
    var v = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
        let at = p.c_offset + element(i, k);
        v[k] = c[at / 4u][at % 4u];
    }
    return v;
}

fn store_w(i: u32, v: vec4<f32>) {
    if VEC == 1u {
        w[(p.w_offset + i) / 4u] = v;
        return;
    }
    for (var k = 0u; k < min(4u, p.len - i); k++) {
        let at = p.w_offset + i + k;
        w[at / 4u][at % 4u] = v[k];
    }
}

fn store_a(i: u32, v: vec4<f32>) {
    if VEC == 1u {
        a[(p.a_offset + i) / 4u] = v;
        return;
    }
    for (var k = 0u; k < min(4u, p.len - i); k++) {
        let at = p.a_offset + i + k;
        a[at / 4u][at % 4u] = v[k];
    }
}

fn store_b(i: u32, v: vec4<f32>) {
    if VEC == 1u {
        b[(p.b_offset + i) / 4u] = v;
        return;
    }
    for (var k = 0u; k < min(4u, p.len - i); k++) {
        let at = p.b_offset + i + k;
        b[at / 4u][at % 4u] = v[k];
    }
}

fn store_c(i: u32, v: vec4<f32>) {
    if VEC == 1u {
        c[(p.c_offset + i) / 4u] = v;
        return;
    }
    for (var k = 0u; k < min(4u, p.len - i); k++) {
        let at = p.c_offset + i + k;
        c[at / 4u][at % 4u] = v[k];
    }
}

fn add_to_weight(i: u32, change: vec4<f32>) {
    let v = load_w(i);
    store_w(i, v - v * p.decay + change);
}

fn root(v: vec4<f32>) -> vec4<f32> {
    return sqrt(v + p.epsilon_in_root) + p.epsilon;
}

fn rmsprop_square(i: u32, v: vec4<f32>) -> vec4<f32> {
    let square = p.beta2 * load_a(i) + (1.0 - p.beta2) * v * v;
    store_a(i, square);
    return square;
}

fn rmsprop_increment(i: u32) -> vec4<f32> {
    let v = load_g(i);
    return p.lr * v / root(rmsprop_square(i, v));
}

fn rmsprop_centered_increment(i: u32) -> vec4<f32> {
    let v = load_g(i);
    let mean = p.beta2 * load_b(i) + (1.0 - p.beta2) * v;
    store_b(i, mean);
    // Rounding can take the variance below 0 where gradients hardly change.
    return p.lr * v / root(maximum(rmsprop_square(i, v) - mean * mean, vec4(0.0)));
}

fn go_on(velocity: vec4<f32>, increment: vec4<f32>) -> vec4<f32> {
    return -select(velocity, p.momentum * velocity + increment, p.nesterov == 1u);
}

// The gradient, and the moments after this step.
struct Moments {
    gradient: vec4<f32>,
    first: vec4<f32>,
    second: vec4<f32>,
}

fn adam_moments(i: u32) -> Moments {
    let v = load_g(i);
    var m = Moments(v, load_a(i), load_b(i));
    m.first += (v - m.first) * (1.0 - p.beta1);
    m.second += (v * v - m.second) * (1.0 - p.beta2);
    store_a(i, m.first);
    store_b(i, m.second);
    return m;
}

// What of the parameters depends on the number of the step.
struct Rates {
    lr: f32,
    lr_of_gradient: f32,
    epsilon: f32,
    epsilon_in_root: f32,
    scale_of_largest: f32,
}

// 1 - e^x for x below 0: by its series where the difference would lose digits.
fn one_minus_exp(x: f32) -> f32 {
    let series = x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0))))));
    return -select(exp(max(x, -80.0)) - 1.0, series, x > -0.5);
}

// Of Nadam's schedule: the share of beta1 in step t.
fn share(t: f32) -> f32 {
    return 1.0 - 0.5 * exp(-0.040821995 * t); // 0.96^t
}

// As the parameters say, or corrected for the step that the clock is in. `adam_params` and `Nesterov::factors` on the host
// have the same formulas.
fn rates() -> Rates {
    let r = Rates(p.lr, p.lr_of_gradient, p.epsilon, p.epsilon_in_root, p.scale_of_largest);
    if CLOCK == 0u {
        return r;
    }
    let t = f32(clock[0] + 1u);
    var of_mean = 1.0 / one_minus_exp(t * p.log_beta1);
    var of_gradient = 0.0;
    if p.nesterov == 1u {
        let next = p.beta1 * share(t + 1.0);
        let product = exp(t * p.log_beta1) * bitcast<f32>(clock[6]) * share(t);
        of_mean = next / (1.0 - product * next);
        of_gradient = (1.0 - p.beta1 * share(t)) / (1.0 - product);
    } else if p.nesterov == 2u {
        of_mean = p.beta1 / one_minus_exp((t + 1.0) * p.log_beta1);
        of_gradient = (1.0 - p.beta1) / one_minus_exp(t * p.log_beta1);
    }
    let second = one_minus_exp(t * p.log_beta2);
    let of_rate = select(sqrt(second), 1.0, p.correction >= 2u);
    let of_epsilon = select(1.0, sqrt(second), p.correction == 1u);
    return Rates(p.lr * of_rate * of_mean, p.lr * of_rate * of_gradient, p.epsilon * of_epsilon,
        p.epsilon_in_root * of_epsilon * of_epsilon, select(1.0, 1.0 / second, p.correction == 2u));
}

fn adam_change(m: Moments, r: Rates, size: vec4<f32>) -> vec4<f32> {
    return -(m.first * r.lr + m.gradient * r.lr_of_gradient) / (sqrt(size + r.epsilon_in_root) + r.epsilon);
}

@compute @workgroup_size(SIZE)
fn sgd_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    add_to_weight(i, -p.lr * load_g(i));
}

@compute @workgroup_size(SIZE)
fn sgd_momentum_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let dw = p.lr * load_g(i);
    let velocity = p.momentum * load_a(i) - dw;
    store_a(i, velocity);
    add_to_weight(i, select(velocity, p.momentum * velocity - dw, p.nesterov == 1u));
}

@compute @workgroup_size(SIZE)
fn adam_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let m = adam_moments(i);
    add_to_weight(i, adam_change(m, rates(), m.second));
}

@compute @workgroup_size(SIZE)
fn adam_amsgrad_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let m = adam_moments(i);
    let r = rates();
    let largest = maximum(load_c(i), m.second * r.scale_of_largest);
    store_c(i, largest);
    add_to_weight(i, adam_change(m, r, largest));
}

@compute @workgroup_size(SIZE)
fn rmsprop_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    add_to_weight(i, -rmsprop_increment(i));
}

@compute @workgroup_size(SIZE)
fn rmsprop_momentum_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let increment = rmsprop_increment(i);
    let velocity = p.momentum * load_b(i) + increment;
    store_b(i, velocity);
    add_to_weight(i, go_on(velocity, increment));
}

@compute @workgroup_size(SIZE)
fn rmsprop_centered_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    add_to_weight(i, -rmsprop_centered_increment(i));
}

@compute @workgroup_size(SIZE)
fn rmsprop_centered_momentum_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let increment = rmsprop_centered_increment(i);
    let velocity = p.momentum * load_c(i) + increment;
    store_c(i, velocity);
    add_to_weight(i, go_on(velocity, increment));
}

@compute @workgroup_size(SIZE)
fn adagrad_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let v = load_g(i);
    let sum = load_a(i) + v * v;
    store_a(i, sum);
    add_to_weight(i, -(p.lr * v) / root(sum));
}

@compute @workgroup_size(SIZE)
fn adadelta_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let v = load_g(i);
    let size = load_b(i);
    let change = -(root(size) / root(rmsprop_square(i, v)) * v);
    store_b(i, p.beta2 * size + (1.0 - p.beta2) * change * change);
    add_to_weight(i, p.lr * change);
}

@compute @workgroup_size(SIZE)
fn adamax_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let v = load_g(i);
    var mean = load_a(i);
    mean += (v - mean) * (1.0 - p.beta1);
    store_a(i, mean);
    let largest = maximum(p.beta2 * load_b(i), abs(v) + p.epsilon_in_root);
    store_b(i, largest);
    add_to_weight(i, -(mean * rates().lr) / (largest + p.epsilon));
}

@compute @workgroup_size(SIZE)
fn lion_step(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    if i >= p.len {
        return;
    }
    let v = load_g(i);
    let mean = load_a(i);
    store_a(i, p.beta2 * mean + (1.0 - p.beta2) * v);
    // sign leaves NaN open.
    let direction = p.beta1 * mean + (1.0 - p.beta1) * v;
    add_to_weight(i, -p.lr * select(sign(direction), direction, nan_bits(direction)));
}
