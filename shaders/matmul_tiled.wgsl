// Matrix multiplication for hardware GPUs: C[b,m,n] = act(A[b,m,k] x B[b,k,n] + bias[n]).
//
// A workgroup makes a TILE_M x TILE_N tile of C. It walks along k in steps of TILE_K: all threads fetch a piece of A
// and of B into workgroup memory, then each thread multiplies THREAD_M rows by THREAD_N columns in registers. The
// next pieces are fetched into registers while the present ones are multiplied. Rows in workgroup memory are padded
// by one vec4, so that threads on neighbouring rows use different banks.
//
// With splits > 1 each split sums its own range of k and writes a partial product; `matmul_reduce_partials` adds
// the partials up, always in the same order, and applies the epilogue. Bindings and parameters are matmul.wgsl's.
//
// With SUMS 1 each matrix of C has one row more: the sums of B's columns, which go by here anyway. A gradient of weights
// and of a bias is such a product.
//
// Header: TILE_M, TILE_N, TILE_K (a multiple of 4). THREAD_M rows and THREAD_N columns a thread, THREAD_N 4 or 8;
// all divide the tile. A_LOAD, B_LOAD (0: four values along k; 1: A along m, B along n; 2: single values, any
// strides). C_VEC 1 when n and c_offset are multiples of 4. HAS_BIAS 0 or 1. ACT 0 none, 1 relu, 2 sigmoid, 3 tanh.
// SUMS 0 or 1; 0 with HAS_BIAS or ACT. A_MASK, B_MASK: 0, or the activation (as in ACT) whose derivative multiplies A or B:
// a gradient passes it where it is loaded.

struct Params {
    m: u32,          // rows of C
    n: u32,          // columns of C; C is dense
    k: u32,          // length of the sums
    batches: u32,    // number of products
    a_row: u32,      // elements from one row of A to the next
    a_col: u32,      // elements from one column of A to the next
    b_row: u32,      // elements from one row of B to the next
    b_col: u32,      // elements from one column of B to the next
    a_batch: u32,    // elements from one matrix A to the next, 0 to use one A throughout
    b_batch: u32,    // elements from one matrix B to the next, 0 to use one B throughout
    a_offset: u32,   // element where A starts
    b_offset: u32,   // element where B starts
    c_offset: u32,   // element where C starts
    bias_offset: u32,// element where the bias starts
    k_split: u32,    // length of one split's range of k, a multiple of TILE_K
    splits: u32,     // number of ranges of k
    unused: vec4<u32>,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;       // [batches, m, k], any strides
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;       // [batches, k, n], any strides
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;    // [n]; with A_MASK or B_MASK the activation's output, laid out as A or B
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>; // [splits, batches, m + SUMS, n]

const THREADS_N: u32 = TILE_N / THREAD_N;              // threads side by side
const THREADS: u32 = THREADS_N * (TILE_M / THREAD_M);
const K_QUADS: u32 = TILE_K / 4u;
const N_QUADS: u32 = TILE_N / 4u;
const A_STRIDE: u32 = K_QUADS + 1u;                    // vec4 from one row of tile_a to the next, one of them padding
const B_STRIDE: u32 = N_QUADS + 1u;
const A_LOADS: u32 = (TILE_M * K_QUADS + THREADS - 1u) / THREADS;  // vec4 of A a thread fetches
const B_LOADS: u32 = (TILE_K * N_QUADS + THREADS - 1u) / THREADS;

var<workgroup> tile_a: array<vec4<f32>, TILE_M * A_STRIDE>;  // [row][k / 4], four values along k
var<workgroup> tile_b: array<vec4<f32>, TILE_K * B_STRIDE>;  // [k][column / 4], four values along n
var<private> left: array<vec4<f32>, THREAD_M>;   // sums of columns 4 * tx to 4 * tx + 3
var<private> right: array<vec4<f32>, THREAD_M>;  // sums of the same columns in the right half, if THREAD_N is 8
var<private> left_sums: vec4<f32>;               // sums of those columns of B, in the threads that make them
var<private> right_sums: vec4<f32>;
var<private> next_a: array<vec4<f32>, A_LOADS>;
var<private> next_b: array<vec4<f32>, B_LOADS>;

fn activate(x: vec4<f32>) -> vec4<f32> {
    if ACT == 1u {
        // By bits: negative numbers down to minus infinity become zero, and NaN, of either sign, stays.
        let bits = bitcast<vec4<u32>>(x);
        return select(x, vec4<f32>(0.0), (bits >= vec4<u32>(0x80000000u)) & (bits <= vec4<u32>(0xff800000u)));
    }
    if ACT == 2u {
        return 1.0 / (1.0 + exp(-x));
    }
    if ACT == 3u {
        // Past 15 tanh is 1 in f32, and exp(2x) would overflow. A clamp may drop NaN, so it is put back by bits.
        let e = exp(2.0 * clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0)));
        let nan = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
        return select((e - 1.0) / (e + 1.0), x, nan);
    }
    return x;
}

fn load_bias(column: u32) -> vec4<f32> {
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = p.bias_offset + min(column + i, p.n - 1u);
        v[i] = bias[at >> 2u][at & 3u];
    }
    return v;
}

// Writes four columns of a row, where it lies inside the first `rows` rows of C.
fn store(row: u32, rows: u32, column: u32, layer: u32, sum: vec4<f32>) {
    let value = activate(sum);
    let at = p.c_offset + (layer * (p.m + SUMS) + row) * p.n + column;
    if C_VEC == 1u {
        if row < rows && column < p.n { c[at >> 2u] = value; }
    } else {
        for (var i = 0u; i < 4u; i++) {
            if row < rows && column + i < p.n { c[(at + i) >> 2u][(at + i) & 3u] = value[i]; }
        }
    }
}

// Which piece a thread fetches. Neighbouring threads take neighbouring memory: along k, or along m (A) and n (B).
fn a_row(slot: u32) -> u32 { return select(slot / K_QUADS, slot % TILE_M, A_LOAD == 1u); }
fn a_quad(slot: u32) -> u32 { return select(slot % K_QUADS, slot / TILE_M, A_LOAD == 1u); }
fn b_row(slot: u32) -> u32 { return select(slot / N_QUADS, slot % TILE_K, B_LOAD == 0u); }
fn b_quad(slot: u32) -> u32 { return select(slot % N_QUADS, slot / TILE_K, B_LOAD == 0u); }

// The derivative of an activation from its output y.
fn slope(act: u32, y: vec4<f32>) -> vec4<f32> {
    if act == 2u { return y * (1.0 - y); }
    if act == 3u { return 1.0 - y * y; }
    let nan = (bitcast<vec4<u32>>(y) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(vec4<f32>(0.0), vec4<f32>(1.0), (y > vec4<f32>(0.0)) | nan);
}

// Four values of A or B from a multiple of four on, and a single one.
fn a_quad_at(at: u32) -> vec4<f32> {
    if A_MASK == 0u { return a[at >> 2u]; }
    return a[at >> 2u] * slope(A_MASK, bias[(at - p.a_offset + p.bias_offset) >> 2u]);
}

fn a_at(at: u32) -> f32 {
    if A_MASK == 0u { return a[at >> 2u][at & 3u]; }
    let y = at - p.a_offset + p.bias_offset;
    return a[at >> 2u][at & 3u] * slope(A_MASK, bias[y >> 2u])[y & 3u];
}

fn b_quad_at(at: u32) -> vec4<f32> {
    if B_MASK == 0u { return b[at >> 2u]; }
    return b[at >> 2u] * slope(B_MASK, bias[(at - p.b_offset + p.bias_offset) >> 2u]);
}

fn b_at(at: u32) -> f32 {
    if B_MASK == 0u { return b[at >> 2u][at & 3u]; }
    let y = at - p.b_offset + p.bias_offset;
    return b[at >> 2u][at & 3u] * slope(B_MASK, bias[y >> 2u])[y & 3u];
}

// Four values of A along k; zero outside.
fn load_a(row: u32, k: u32, k_end: u32, base: u32) -> vec4<f32> {
    let start = base + min(row, p.m - 1u) * p.a_row;
    if A_LOAD == 0u { return select(vec4<f32>(0.0), a_quad_at(start + min(k, k_end - 4u)), row < p.m && k < k_end); }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = start + min(k + i, k_end - 1u) * p.a_col;
        v[i] = select(0.0, a_at(at), row < p.m && k + i < k_end);
    }
    return v;
}

// Four values of B along n; zero outside.
fn load_b(k: u32, k_end: u32, column: u32, base: u32) -> vec4<f32> {
    let start = base + min(k, k_end - 1u) * p.b_row;
    if B_LOAD == 1u {
        return select(vec4<f32>(0.0), b_quad_at(start + min(column, p.n - 4u)), column < p.n && k < k_end);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = start + min(column + i, p.n - 1u) * p.b_col;
        v[i] = select(0.0, b_at(at), column + i < p.n && k < k_end);
    }
    return v;
}

fn fetch_tiles(thread: u32, row0: u32, column0: u32, k: u32, k_end: u32, a_base: u32, b_base: u32) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_M * K_QUADS { next_a[i] = load_a(row0 + a_row(slot), k + a_quad(slot) * 4u, k_end, a_base); }
    }
    for (var i = 0u; i < B_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_K * N_QUADS { next_b[i] = load_b(k + b_row(slot), k_end, column0 + b_quad(slot) * 4u, b_base); }
    }
}

// Puts the fetched pieces into workgroup memory.
fn put_tiles(thread: u32) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_M * K_QUADS { tile_a[a_row(slot) * A_STRIDE + a_quad(slot)] = next_a[i]; }
    }
    for (var i = 0u; i < B_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_K * N_QUADS { tile_b[b_row(slot) * B_STRIDE + b_quad(slot)] = next_b[i]; }
    }
}

// Multiplies the pieces in workgroup memory into this thread's sums.
fn multiply_tiles(tx: u32, ty: u32) {
    for (var kq = 0u; kq < K_QUADS; kq++) {
        let from_b = kq * 4u * B_STRIDE + tx;
        let b0 = tile_b[from_b];
        let b1 = tile_b[from_b + B_STRIDE];
        let b2 = tile_b[from_b + 2u * B_STRIDE];
        let b3 = tile_b[from_b + 3u * B_STRIDE];
        for (var r = 0u; r < THREAD_M; r++) {
            let x = tile_a[(ty * THREAD_M + r) * A_STRIDE + kq];
            left[r] += x.x * b0 + x.y * b1 + x.z * b2 + x.w * b3;
        }
        if THREAD_N == 8u {
            let c0 = tile_b[from_b + N_QUADS / 2u];
            let c1 = tile_b[from_b + N_QUADS / 2u + B_STRIDE];
            let c2 = tile_b[from_b + N_QUADS / 2u + 2u * B_STRIDE];
            let c3 = tile_b[from_b + N_QUADS / 2u + 3u * B_STRIDE];
            for (var r = 0u; r < THREAD_M; r++) {
                let x = tile_a[(ty * THREAD_M + r) * A_STRIDE + kq];
                right[r] += x.x * c0 + x.y * c1 + x.z * c2 + x.w * c3;
            }
        }
    }
}

// Adds up the columns of the piece of B in workgroup memory.
fn sum_columns(tx: u32) {
    for (var k = 0u; k < TILE_K; k++) {
        left_sums += tile_b[k * B_STRIDE + tx];
        if THREAD_N == 8u { right_sums += tile_b[k * B_STRIDE + tx + N_QUADS / 2u]; }
    }
}

@compute @workgroup_size(THREADS)
fn matmul_forward(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    // Tiles are numbered with the column tile fastest: neighbouring workgroups share rows of A in the cache.
    let tiles_m = (p.m + TILE_M - 1u) / TILE_M;
    let tiles_n = (p.n + TILE_N - 1u) / TILE_N;
    let tile = group.x + group.y * groups.x;
    if tile >= tiles_m * tiles_n * p.batches * p.splits { return; }
    let column0 = (tile % tiles_n) * TILE_N;
    let row0 = (tile / tiles_n % tiles_m) * TILE_M;
    let layer = tile / (tiles_m * tiles_n);
    let batch = layer % p.batches;
    let k_begin = (layer / p.batches) * p.k_split;
    let k_end = min(k_begin + p.k_split, p.k);
    let a_base = p.a_offset + batch * p.a_batch;
    let b_base = p.b_offset + batch * p.b_batch;
    let tx = thread % THREADS_N;
    let ty = thread / THREADS_N;
    let makes_sums = SUMS == 1u && row0 == 0u && ty == 0u;

    fetch_tiles(thread, row0, column0, k_begin, k_end, a_base, b_base);
    for (var k = k_begin; k < k_end; k += TILE_K) {
        put_tiles(thread);
        // Every thread reads what all threads have put.
        workgroupBarrier();
        if k + TILE_K < k_end { fetch_tiles(thread, row0, column0, k + TILE_K, k_end, a_base, b_base); }
        multiply_tiles(tx, ty);
        if makes_sums { sum_columns(tx); }
        // The next round overwrites the tiles, so every thread must have read them.
        workgroupBarrier();
    }

    let column = column0 + tx * 4u;
    var shift = vec4<f32>(0.0);
    if HAS_BIAS == 1u { shift = load_bias(column); }
    for (var r = 0u; r < THREAD_M; r++) { store(row0 + ty * THREAD_M + r, p.m, column, layer, left[r] + shift); }
    if makes_sums { store(p.m, p.m + 1u, column, layer, left_sums); }
    if THREAD_N == 8u {
        if HAS_BIAS == 1u { shift = load_bias(column + TILE_N / 2u); }
        for (var r = 0u; r < THREAD_M; r++) {
            store(row0 + ty * THREAD_M + r, p.m, column + TILE_N / 2u, layer, right[r] + shift);
        }
        if makes_sums { store(p.m, p.m + 1u, column + TILE_N / 2u, layer, right_sums); }
    }
}

// Adds up the partial products of matmul_forward: c = act(sum over splits of a[split] + bias).
// Here `a` holds [splits, batches * m * n] from a_offset and `c` [batches * m * n]; one invocation makes four values.
@compute @workgroup_size(64)
fn matmul_reduce_partials(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let size = p.batches * p.m * p.n;
    let first = ((group.x + group.y * groups.x) * 64u + thread) * 4u;
    if first >= size { return; }
    var total = vec4<f32>(0.0);
    var shift = vec4<f32>(0.0);
    if C_VEC == 1u {
        for (var s = 0u; s < p.splits; s++) { total += a[(p.a_offset + s * size + first) >> 2u]; }
        if HAS_BIAS == 1u { shift = load_bias(first % p.n); }
        c[(p.c_offset + first) >> 2u] = activate(total + shift);
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let at = min(first + i, size - 1u);
        for (var s = 0u; s < p.splits; s++) {
            let source = p.a_offset + s * size + at;
            total[i] += a[source >> 2u][source & 3u];
        }
        if HAS_BIAS == 1u {
            let source = p.bias_offset + at % p.n;
            shift[i] = bias[source >> 2u][source & 3u];
        }
    }
    total = activate(total + shift);
    for (var i = 0u; i < 4u; i++) {
        let target_at = p.c_offset + first + i;
        if first + i < size { c[target_at >> 2u][target_at & 3u] = total[i]; }
    }
}
