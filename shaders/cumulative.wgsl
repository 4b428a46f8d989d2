// Running sums (OP 0), products (OP 1) and linear recurrences (OP 2) along the middle axis of x seen as (outer, n, inner).
//
// A thread goes through `chunk` elements of a row, one after the other. A long sum is split into parts: cumulative_totals
// sums each part, cumulative_carries makes the sums of all parts before each one, and cumulative_forward starts from them.
// Without parts, a launch starts where the last one stopped, at `first`.
//
// Elements are bits: of f32, or of integers where INTEGER is 1. Of an i32 and a u32, sums and products have the same bits.

struct Params {
    rows: u32,      // outer * inner
    n: u32,         // length of the axis
    inner: u32,     // elements behind the axis
    x_offset: u32,  // in elements
    b_offset: u32,  // of b, for a recurrence
    first: u32,     // step at which this launch starts
    chunk: u32,     // steps that a thread goes through
    parts: u32,
    exclusive: u32, // 1: leave out the element itself
    reverse: u32,   // 1: go from the last element to the first
    pad0: u32,
    pad1: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;             // (outer, n, inner); a of a recurrence
@group(0) @binding(1) var<storage, read> extra: array<u32>;         // b (outer, n, inner) of a recurrence; carries of parts
@group(0) @binding(2) var<storage, read_write> y: array<u32>;       // (outer, n, inner)
@group(0) @binding(1) var<storage, read_write> totals: array<u32>;  // (parts, rows)
@group(0) @binding(0) var<storage, read_write> carries: array<u32>; // totals, to be replaced

fn plus(a: u32, b: u32) -> u32 {
    if INTEGER == 1u {
        return a + b;
    }
    return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b));
}

fn times(a: u32, b: u32) -> u32 {
    if INTEGER == 1u {
        return a * b;
    }
    return bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b));
}

// What follows `running` at element `at`.
fn next(running: u32, at: u32) -> u32 {
    switch OP {
        case 0u: { return plus(running, x[p.x_offset + at]); }
        case 1u: { return times(running, x[p.x_offset + at]); }
        default: { return plus(times(x[p.x_offset + at], running), extra[p.b_offset + at]); }
    }
}

fn start() -> u32 {
    if OP == 1u {
        return select(0x3f800000u, 1u, INTEGER == 1u);
    }
    return 0u;
}

// The element at step k of a row.
fn element(row: u32, k: u32) -> u32 {
    let i = select(k, p.n - 1u - k, p.reverse == 1u);
    return (row / p.inner * p.n + i) * p.inner + row % p.inner;
}

@compute @workgroup_size(SIZE)
fn cumulative_totals(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.rows * p.parts {
        return;
    }
    let row = thread % p.rows;
    let first = thread / p.rows * p.chunk;
    var sum = 0u;
    for (var k = first; k < min(first + p.chunk, p.n); k++) {
        sum = plus(sum, x[p.x_offset + element(row, k)]);
    }
    totals[thread] = sum;
}

@compute @workgroup_size(SIZE)
fn cumulative_carries(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = (group.x + group.y * groups.x) * SIZE + local;
    if row >= p.rows {
        return;
    }
    var sum = 0u;
    for (var part = 0u; part < p.parts; part++) {
        let total = carries[part * p.rows + row];
        carries[part * p.rows + row] = sum;
        sum = plus(sum, total);
    }
}

@compute @workgroup_size(SIZE)
fn cumulative_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.rows * p.parts {
        return;
    }
    let row = thread % p.rows;
    let first = p.first + thread / p.rows * p.chunk;
    var running = start();
    if p.parts > 1u {
        running = extra[thread];
    } else if first > 0u {
        let before = element(row, first - 1u);
        running = y[before];
        if p.exclusive == 1u {
            running = next(running, before);
        }
    }
    for (var k = first; k < min(first + p.chunk, p.n); k++) {
        let at = element(row, k);
        let including = next(running, at);
        y[at] = select(including, running, p.exclusive == 1u);
        running = including;
    }
}
