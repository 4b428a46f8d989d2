// Copies up to six tensors to their places in a flat arena, in one launch: gradients, for the optimizer's step.
//
// A workgroup copies a piece of one tensor.

struct Params {
    // For each tensor: the workgroup after its last one, its length, its first element, and its place in the arena.
    parts: array<vec4<u32>, 6>,
}

const SIZE: u32 = 64u;
const EACH: u32 = 4u;

@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(4) var<storage, read> x4: array<f32>;
@group(0) @binding(5) var<storage, read> x5: array<f32>;
@group(0) @binding(6) var<storage, read_write> arena: array<f32>;

fn load(part: u32, at: u32) -> f32 {
    switch part {
        case 0u: { return x0[at]; }
        case 1u: { return x1[at]; }
        case 2u: { return x2[at]; }
        case 3u: { return x3[at]; }
        case 4u: { return x4[at]; }
        default: { return x5[at]; }
    }
}

@compute @workgroup_size(SIZE)
fn pack_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let number = group.x + group.y * groups.x;
    var part = 0u;
    var begin = 0u;
    while part < 6u && number >= p.parts[part].x {
        begin = p.parts[part].x;
        part++;
    }
    if part == 6u {
        return;
    }
    let here = p.parts[part];
    let first = (number - begin) * SIZE * EACH + local;
    for (var i = first; i < min(first + SIZE * EACH, here.y); i += SIZE) {
        arena[here.w + i] = load(part, here.z + i);
    }
}
