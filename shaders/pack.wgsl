// Copies up to eight tensors to their places in a flat arena, in one launch: gradients, for the optimizer's step. They lie
// in up to six buffers: the gradients of a layer's weights and of its bias share one.
//
// A workgroup copies a piece of one tensor, a thread four elements: as one vector, where they begin at a multiple of four on
// both sides. ADD: 1 where they are added to what is there.

struct Params {
    // For each tensor: eight times the workgroup after its last one plus the number of its buffer, its length, its first
    // element, and its place in the arena.
    parts: array<vec4<u32>, 8>,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> x1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x3: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> x4: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> x5: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> arena: array<vec4<f32>>;

// Four elements from a multiple of four on.
fn load(buffer: u32, quad: u32) -> vec4<f32> {
    switch buffer {
        case 0u: { return x0[quad]; }
        case 1u: { return x1[quad]; }
        case 2u: { return x2[quad]; }
        case 3u: { return x3[quad]; }
        case 4u: { return x4[quad]; }
        default: { return x5[quad]; }
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
    while part < 8u && number >= p.parts[part].x >> 3u {
        begin = p.parts[part].x >> 3u;
        part++;
    }
    if part == 8u {
        return;
    }
    let here = p.parts[part];
    let buffer = here.x & 7u;
    let first = ((number - begin) * SIZE + local) * 4u;
    if first + 4u <= here.y && (here.z | here.w) % 4u == 0u {
        let at = (here.w + first) / 4u;
        var values = load(buffer, (here.z + first) / 4u);
        if ADD == 1u {
            values += arena[at];
        }
        arena[at] = values;
        return;
    }
    for (var i = first; i < min(first + 4u, here.y); i++) {
        let at = here.w + i;
        var value = load(buffer, (here.z + i) / 4u)[(here.z + i) % 4u];
        if ADD == 1u {
            value += arena[at / 4u][at % 4u];
        }
        arena[at / 4u][at % 4u] = value;
    }
}
