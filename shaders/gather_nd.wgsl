// Positions on several axes as one position on all of them: y[r] = (x[r, 0] * dims[1] + x[r, 1]) * dims[2] + ..
// Where one lies outside its axis, y is the largest number.

struct Params {
    len: u32,    // rows
    axes: u32,   // positions in a row
    offset: u32, // first element of x
    is_signed: u32, // 1 where negative positions count from the end
    dims: array<vec4<u32>, 2>, // lengths of the axes
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;       // (rows, axes)
@group(0) @binding(1) var<storage, read_write> y: array<u32>; // (rows)

@compute @workgroup_size(SIZE)
fn flat_index(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.len {
        return;
    }
    var flat = 0u;
    var inside = true;
    for (var a = 0u; a < p.axes; a++) {
        let n = p.dims[a / 4u][a % 4u];
        var at = x[p.offset + row * p.axes + a];
        if p.is_signed == 1u && at >= 0x80000000u {
            at += n;
        }
        inside &= at < n;
        flat = flat * n + at;
    }
    y[row] = select(0xffffffffu, flat, inside);
}
