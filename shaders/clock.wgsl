// The counters of a training loop, on the device, so that a recorded step is another one each time.

struct Params {
    draws: u32,  // clock_advance: random numbers' keys that the step has used
    size: u32,   // clock_batch: examples in a batch
    offset: u32, // clock_batch: first element of order
    examples: u32, // clock_batch: length of order
}

// Steps; batches of the epoch; counter of the next random key (low, high); its seed (low, high); bits of the product of the
// shares of beta1 in Nadam's schedule up to the last step (see optimizer.wgsl); nothing.
@group(0) @binding(0) var<storage, read_write> clock: array<u32>; // (8)

@group(0) @binding(0) var<storage, read> order: array<u32>;       // (examples): positions in the data set
@group(0) @binding(1) var<storage, read> time: array<u32>;        // (8): the clock
@group(0) @binding(2) var<storage, read_write> index: array<u32>; // (size): the positions of the batch

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn clock_batch(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i < p.size {
        index[i] = order[p.offset + min(time[1] * p.size + i, p.examples - 1u)];
    }
}

// One more step and batch.
@compute @workgroup_size(1)
fn clock_advance() {
    let steps = clock[0] + 1u;
    clock[0] = steps;
    clock[1] += 1u;
    let counter = clock[2] + p.draws;
    clock[3] += select(0u, 1u, counter < p.draws);
    clock[2] = counter;
    let share = 1.0 - 0.5 * exp(-0.040821995 * f32(steps)); // 0.96^steps
    clock[6] = bitcast<u32>(bitcast<f32>(clock[6]) * share);
}
