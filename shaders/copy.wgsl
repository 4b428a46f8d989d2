// Copies between layouts: y[to(i)] = x[from(i)] for every index i of a shape. Makes strided tensors contiguous, and puts
// the parts of concat and pad in their place.
//
// Elements are copied as words or as parts of words, whatever their type. RANK is the number of axes that the index is split into.

struct Params {
    len: u32,         // elements to copy
    from_offset: u32, // in elements
    to_offset: u32,   // in elements
    pad: u32,
    shape: array<vec4<u32>, 2>, // axis lengths, outermost first
    from_strides: array<vec4<u32>, 2>, // in elements
    to_strides: array<vec4<u32>, 2>,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

// Positions in x and y of element i.
fn positions(i: u32) -> vec2<u32> {
    var at = vec2(p.from_offset, p.to_offset);
    if RANK == 1u {
        return at + i * vec2(p.from_strides[0].x, p.to_strides[0].x);
    }
    var rest = i;
    for (var k = 0u; k < RANK; k++) {
        let axis = RANK - 1u - k;
        let index = rest % p.shape[axis / 4u][axis % 4u];
        rest = rest / p.shape[axis / 4u][axis % 4u];
        at += index * vec2(p.from_strides[axis / 4u][axis % 4u], p.to_strides[axis / 4u][axis % 4u]);
    }
    return at;
}

@compute @workgroup_size(SIZE)
fn copy_words(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i < p.len {
        let at = positions(i);
        y[at.y] = x[at.x];
    }
}

// Elements of two bytes, gathered two to a word: y is contiguous from its start.
@compute @workgroup_size(SIZE)
fn copy_halves(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let word = (group.x + group.y * groups.x) * SIZE + local;
    if word * 2u >= p.len {
        return;
    }
    // The last element once more where there is no second.
    let at = vec2(positions(word * 2u).x, positions(min(word * 2u + 1u, p.len - 1u)).x);
    let low = (x[at.x / 2u] >> (at.x % 2u * 16u)) & 0xffffu;
    let high = (x[at.y / 2u] >> (at.y % 2u * 16u)) & 0xffffu;
    y[word] = low | (high << 16u);
}

// Elements of one byte, gathered four to a word: y is contiguous from its start.
@compute @workgroup_size(SIZE)
fn copy_bytes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let word = (group.x + group.y * groups.x) * SIZE + local;
    if word * 4u >= p.len {
        return;
    }
    var packed = 0u;
    for (var k = 0u; k < 4u; k++) {
        let i = word * 4u + k;
        if i < p.len {
            let at = positions(i).x;
            packed |= ((x[at / 4u] >> (at % 4u * 8u)) & 0xffu) << (k * 8u);
        }
    }
    y[word] = packed;
}
