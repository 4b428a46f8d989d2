// What a tensor was, copied over it unless a condition holds. Elements are moved as words; where the condition holds, which
// is nearly always, a thread reads one word and is done.

struct Params {
    len: u32,              // elements
    condition_offset: u32, // in bytes
    before_offset: u32,    // first elements
    y_offset: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> condition: array<u32>;   // one byte
@group(0) @binding(1) var<storage, read> before: array<u32>;      // (len)
@group(0) @binding(2) var<storage, read_write> y: array<u32>;     // (len)

@compute @workgroup_size(SIZE)
fn restore(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let holds = (condition[p.condition_offset / 4u] >> (p.condition_offset % 4u * 8u)) & 0xffu;
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if holds == 0u && i < p.len {
        y[p.y_offset + i] = before[p.before_offset + i];
    }
}
