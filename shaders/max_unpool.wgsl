// Max-unpooling: elements back at their positions, in two steps. First each position finds its element, the last one that
// has it, as an integer maximum; then everything is a gather.

struct Params {
    threads: u32,
    elements: u32,       // P, of one image and channel
    positions: u32,      // Q
    channels: u32,       // C
    x_offset: u32,       // first elements of the inputs, in elements
    index_offset: u32,
    winners_offset: u32,
    pad: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> index: array<u32>;                 // (N, P, C): positions
@group(0) @binding(1) var<storage, read_write> found: array<atomic<u32>>;   // (N, Q, C): elements, from 1; 0 is none
@group(0) @binding(0) var<storage, read> x: array<f32>;                     // (N, P, C)
@group(0) @binding(1) var<storage, read> winners: array<u32>;               // (N, Q, C): found, of the first step
@group(0) @binding(2) var<storage, read_write> y: array<f32>;               // (N, Q, C)
@group(0) @binding(0) var<storage, read> dy: array<f32>;                    // (N, Q, C)
@group(0) @binding(1) var<storage, read> index_of_dy: array<u32>;           // (N, P, C)
@group(0) @binding(2) var<storage, read> winners_of_dy: array<u32>;         // (N, Q, C)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;              // (N, P, C)

@compute @workgroup_size(SIZE)
fn max_unpool_clear(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread < p.threads {
        atomicStore(&found[thread], 0u);
    }
}

@compute @workgroup_size(SIZE)
fn max_unpool_winners(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let c = thread % p.channels;
    let element = thread / p.channels % p.elements;
    let n = thread / (p.channels * p.elements);
    let position = index[p.index_offset + thread];
    if position < p.positions {
        atomicMax(&found[(n * p.positions + position) * p.channels + c], element + 1u);
    }
}

@compute @workgroup_size(SIZE)
fn max_unpool_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let c = thread % p.channels;
    let n = thread / (p.channels * p.positions);
    let element = winners[p.winners_offset + thread];
    var v = 0.0;
    if element > 0u {
        v = x[p.x_offset + (n * p.elements + element - 1u) * p.channels + c];
    }
    y[thread] = v;
}

@compute @workgroup_size(SIZE)
fn max_unpool_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let c = thread % p.channels;
    let element = thread / p.channels % p.elements;
    let n = thread / (p.channels * p.elements);
    let position = index_of_dy[p.index_offset + thread];
    var v = 0.0;
    if position < p.positions {
        let at = (n * p.positions + position) * p.channels + c;
        if winners_of_dy[p.winners_offset + at] == element + 1u {
            v = dy[p.x_offset + at];
        }
    }
    dx[thread] = v;
}
