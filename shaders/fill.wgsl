// y = value, everywhere.

struct Params {
    len: u32,   // elements
    value: f32,
    pad: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;
const EACH: u32 = 4u;

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // (len)

@compute @workgroup_size(SIZE)
fn fill_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * SIZE * EACH + local;
    for (var k = 0u; k < EACH; k++) {
        let i = first + k * SIZE;
        if i < p.len {
            y[i] = p.value;
        }
    }
}
