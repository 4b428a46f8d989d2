// A choice between two tensors of 32-bit elements: y = a where the condition's byte is not 0, else b.

struct Params {
    len: u32,          // elements
    cond_offset: u32,  // in elements
    true_offset: u32,  // in elements
    false_offset: u32, // in elements
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> cond: array<u32>;    // (len) bytes, packed four to a word
@group(0) @binding(1) var<storage, read> a: array<u32>;       // (len)
@group(0) @binding(2) var<storage, read> b: array<u32>;       // (len)
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // (len)

@compute @workgroup_size(SIZE)
fn where_cond_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    let at = p.cond_offset + i;
    let byte = (cond[at / 4u] >> (at % 4u * 8u)) & 0xffu;
    y[i] = select(b[p.false_offset + i], a[p.true_offset + i], byte != 0u);
}
