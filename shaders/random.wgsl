// Random numbers from a counter, and dropout. Element i comes from number i % 4 of block i / 4, and a block is Philox4x32-10
// (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) of (block, 0, counter) under the key `seed`.
//
// A thread makes one block, and writes all of it: buffers hold whole blocks. VEC (dropout): 1 when the first element of x is at a multiple of four.

struct Params {
    len: u32,          // elements
    x_offset: u32,     // first element of x in dropout, in elements
    seed_low: u32,
    seed_high: u32,
    counter_low: u32,
    counter_high: u32,
    a: f32,            // low, or mean, or the scale of what dropout keeps
    b: f32,            // high - low, or standard deviation
    threshold: u32,    // dropout keeps the elements whose upper 24 bits are at least this
    pad: u32,
    pad2: u32,
    pad3: u32,
}

const SIZE: u32 = 64u;
const TAU: f32 = 6.283185307179586;

@group(0) @binding(0) var<storage, read_write> bits: array<vec4<u32>>;     // (len)
@group(0) @binding(0) var<storage, read_write> values: array<vec4<f32>>;   // (len)
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // (len)
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;  // (len)
// With a clock (see clock.wgsl): counter and seed in words 2 to 5.
@group(0) @binding(1) var<storage, read> clock: array<u32>;                // (8)
@group(0) @binding(2) var<storage, read_write> y_clocked: array<vec4<f32>>; // (len)

@group(0) @binding(0) var<storage, read> clock_alone: array<u32>;              // (8)
@group(0) @binding(1) var<storage, read_write> values_clocked: array<vec4<f32>>; // (len)

struct Key { seed: vec2<u32>, counter: vec2<u32> }

fn key() -> Key {
    return Key(vec2(p.seed_low, p.seed_high), vec2(p.counter_low, p.counter_high));
}

// The key of a step's draw, whose number is in counter_low, from a clock's words 2 to 5: counter and seed.
fn key_at(clock: vec4<u32>) -> Key {
    let low = clock.x + p.counter_low;
    return Key(clock.zw, vec2(low, clock.y + select(0u, 1u, low < p.counter_low)));
}

// The upper half of a product, by 16-bit halves: WGSL has no wider integers.
fn multiply_high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let cross = (a & 0xffffu) * (b >> 16u);
    let other = (a >> 16u) * (b & 0xffffu);
    let middle = (low >> 16u) + (cross & 0xffffu) + (other & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (cross >> 16u) + (other >> 16u) + (middle >> 16u);
}

fn philox(block: u32, key: Key) -> vec4<u32> {
    var c = vec4(block, 0u, key.counter);
    var k = key.seed;
    for (var round = 0u; round < 10u; round++) {
        let high = vec2(multiply_high(0xd2511f53u, c.x), multiply_high(0xcd9e8d57u, c.z));
        c = vec4(high.y ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high.x ^ c.w ^ k.y, 0xd2511f53u * c.x);
        k += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// 24 bits as a number in 0..1, exactly.
fn unit(bits: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(bits >> vec4(8u)) * 0x1p-24f;
}

@compute @workgroup_size(SIZE)
fn random_bits(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        bits[block] = philox(block, key());
    }
}

@compute @workgroup_size(SIZE)
fn random_uniform(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        values[block] = p.a + p.b * unit(philox(block, key()));
    }
}

@compute @workgroup_size(SIZE)
fn random_uniform_clock(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        let key = key_at(vec4(clock_alone[2], clock_alone[3], clock_alone[4], clock_alone[5]));
        values_clocked[block] = p.a + p.b * unit(philox(block, key));
    }
}

// Box and Muller's pairs: radius sqrt(-2 log u), u in (0, 1], and an angle in -pi..pi, where sin and cos are most exact.
fn normal(bits: vec4<u32>) -> vec4<f32> {
    let u = unit(bits);
    let radius = sqrt(-2.0 * log(u.xz + 0x1p-24f));
    let angle = TAU * (u.yw - 0.5);
    return vec4(radius.x * cos(angle.x), radius.x * sin(angle.x), radius.y * cos(angle.y), radius.y * sin(angle.y));
}

@compute @workgroup_size(SIZE)
fn random_normal(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        values[block] = p.a + p.b * normal(philox(block, key()));
    }
}

@compute @workgroup_size(SIZE)
fn random_normal_clock(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        let key = key_at(vec4(clock_alone[2], clock_alone[3], clock_alone[4], clock_alone[5]));
        values_clocked[block] = p.a + p.b * normal(philox(block, key));
    }
}

// x * scale where the bits say so, else 0.
fn drop_out(block: u32, key: Key) -> vec4<f32> {
    let kept = (philox(block, key) >> vec4(8u)) >= vec4(p.threshold);
    if VEC == 1u {
        return select(vec4(0.0), x[p.x_offset / 4u + block] * p.a, kept);
    }
    var v = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
        let at = p.x_offset + min(block * 4u + k, p.len - 1u);
        v[k] = x[at / 4u][at % 4u] * p.a;
    }
    return select(vec4(0.0), v, kept);
}

// The gradient is the same function of dy.
@compute @workgroup_size(SIZE)
fn dropout_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        y[block] = drop_out(block, key());
    }
}

@compute @workgroup_size(SIZE)
fn dropout_forward_clock(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let block = (group.x + group.y * groups.x) * SIZE + local;
    if block * 4u < p.len {
        y_clocked[block] = drop_out(block, key_at(vec4(clock[2], clock[3], clock[4], clock[5])));
    }
}
