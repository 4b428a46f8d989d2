// Matrix multiplication of f16 by cooperative matrices (tensor cores): C[b,m,n] = act(A[b,m,k] x B[b,k,n] + bias[n]),
// added up in f32. Bindings and parameters are matmul.wgsl's, with halves in A and B.
//
// A cooperative matrix is SIZE x SIZE numbers that a subgroup holds together; its multiply-add is one instruction of the
// hardware, many times faster than the subgroup's own multiplications. A workgroup is four subgroups, each of which makes
// 2 x 2 matrices of a tile of 4 x 4. Pieces of A and B go through workgroup memory, where what lies outside is zero, and
// so does the result, since only the hardware knows which thread holds which number of a matrix. The next pieces are
// fetched into registers while the present ones are multiplied.
//
// The text in front of the header enables the extensions and defines SIZE, MatrixA, MatrixB and MatrixC.
// Header: SUBGROUP, threads in a subgroup. A_LOAD, B_LOAD (0: four values along k; 1: A along m, B along n; 2: single
// values, any strides). C_VEC 1 when n and c_offset are multiples of 4. HAS_BIAS 0 or 1. ACT 0 none, 1 relu, 2 sigmoid,
// 3 tanh.

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

@group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;       // [batches, m, k], any strides
@group(0) @binding(1) var<storage, read> b: array<vec4<f16>>;       // [batches, k, n], any strides
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;    // [n]
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>; // [splits, batches, m, n]

const TILE: u32 = 4u * SIZE;       // rows and columns of a tile
const TILE_K: u32 = 2u * SIZE;     // steps of k in workgroup memory at a time
const THREADS: u32 = 4u * SUBGROUP;

// A lies in workgroup memory as in storage: lines along k, or along m if A_LOAD is 1; B likewise. Lines are padded by
// 16 bytes, so that neighbouring lines use different banks and start where a matrix may be loaded from.
const A_LINE: u32 = TILE_K + (A_LOAD & 1u) * (TILE - TILE_K);
const B_LINE: u32 = TILE_K + (B_LOAD & 1u) * (TILE - TILE_K);
const A_LINES: u32 = TILE + TILE_K - A_LINE;
const B_LINES: u32 = TILE + TILE_K - B_LINE;
const A_STRIDE: u32 = A_LINE + 8u;
const B_STRIDE: u32 = B_LINE + 8u;
const C_STRIDE: u32 = TILE + 4u;
const LOADS: u32 = (TILE * TILE_K / 4u + THREADS - 1u) / THREADS;  // fours of A, and of B, that a thread fetches

var<workgroup> tile_a: array<f16, A_LINES * A_STRIDE>;
var<workgroup> tile_b: array<f16, B_LINES * B_STRIDE>;
var<workgroup> tile_c: array<f32, TILE * C_STRIDE>;
var<private> next_a: array<vec4<f16>, LOADS>;
var<private> next_b: array<vec4<f16>, LOADS>;

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

fn store(row: u32, column: u32, layer: u32, sum: vec4<f32>) {
    let value = activate(sum);
    let at = p.c_offset + (layer * p.m + row) * p.n + column;
    if C_VEC == 1u {
        if row < p.m && column < p.n { c[at >> 2u] = value; }
    } else {
        for (var i = 0u; i < 4u; i++) {
            if row < p.m && column + i < p.n { c[(at + i) >> 2u][(at + i) & 3u] = value[i]; }
        }
    }
}

// Four values of A, along its lines; zero outside.
fn load_a(row: u32, k: u32, k_end: u32, base: u32) -> vec4<f16> {
    if A_LOAD == 0u {
        let at = base + min(row, p.m - 1u) * p.a_row + min(k, k_end - 4u);
        return select(vec4<f16>(), a[at >> 2u], row < p.m && k < k_end);
    }
    if A_LOAD == 1u {
        let at = base + min(row, p.m - 4u) + min(k, k_end - 1u) * p.a_col;
        return select(vec4<f16>(), a[at >> 2u], row < p.m && k < k_end);
    }
    var v: vec4<f16>;
    for (var i = 0u; i < 4u; i++) {
        let at = base + min(row, p.m - 1u) * p.a_row + min(k + i, k_end - 1u) * p.a_col;
        v[i] = select(f16(), a[at >> 2u][at & 3u], row < p.m && k + i < k_end);
    }
    return v;
}

// Four values of B, along its lines; zero outside.
fn load_b(k: u32, column: u32, k_end: u32, base: u32) -> vec4<f16> {
    if B_LOAD == 0u {
        let at = base + min(k, k_end - 4u) + min(column, p.n - 1u) * p.b_col;
        return select(vec4<f16>(), b[at >> 2u], column < p.n && k < k_end);
    }
    if B_LOAD == 1u {
        let at = base + min(k, k_end - 1u) * p.b_row + min(column, p.n - 4u);
        return select(vec4<f16>(), b[at >> 2u], column < p.n && k < k_end);
    }
    var v: vec4<f16>;
    for (var i = 0u; i < 4u; i++) {
        let at = base + min(k + i, k_end - 1u) * p.b_row + min(column, p.n - 1u) * p.b_col;
        v[i] = select(f16(), b[at >> 2u][at & 3u], column < p.n && k + i < k_end);
    }
    return v;
}

fn fetch_tiles(thread: u32, row0: u32, column0: u32, k: u32, k_end: u32, a_base: u32, b_base: u32) {
    for (var i = 0u; i < LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE * TILE_K / 4u {
            let line_a = slot / (A_LINE / 4u);
            let at_a = slot % (A_LINE / 4u) * 4u;
            let line_b = slot / (B_LINE / 4u);
            let at_b = slot % (B_LINE / 4u) * 4u;
            if A_LOAD == 1u {
                next_a[i] = load_a(row0 + at_a, k + line_a, k_end, a_base);
            } else {
                next_a[i] = load_a(row0 + line_a, k + at_a, k_end, a_base);
            }
            if B_LOAD == 1u {
                next_b[i] = load_b(k + line_b, column0 + at_b, k_end, b_base);
            } else {
                next_b[i] = load_b(k + at_b, column0 + line_b, k_end, b_base);
            }
        }
    }
}

// Puts the fetched pieces into workgroup memory.
fn put_tiles(thread: u32) {
    for (var i = 0u; i < LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE * TILE_K / 4u {
            let at_a = slot / (A_LINE / 4u) * A_STRIDE + slot % (A_LINE / 4u) * 4u;
            let at_b = slot / (B_LINE / 4u) * B_STRIDE + slot % (B_LINE / 4u) * 4u;
            for (var j = 0u; j < 4u; j++) {
                tile_a[at_a + j] = next_a[i][j];
                tile_b[at_b + j] = next_b[i][j];
            }
        }
    }
}

// A matrix of the piece in workgroup memory. What ends in T reads lines as rows, the other as columns.
fn matrix_a(row: u32, k: u32) -> MatrixA {
    if A_LOAD == 1u { return coopLoad<MatrixA>(&tile_a[k * A_STRIDE + row], A_STRIDE); }
    return coopLoadT<MatrixA>(&tile_a[row * A_STRIDE + k], A_STRIDE);
}

fn matrix_b(k: u32, column: u32) -> MatrixB {
    if B_LOAD == 1u { return coopLoadT<MatrixB>(&tile_b[k * B_STRIDE + column], B_STRIDE); }
    return coopLoad<MatrixB>(&tile_b[column * B_STRIDE + k], B_STRIDE);
}

@compute @workgroup_size(THREADS)
fn matmul_forward(
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    // Tiles are numbered with the column tile fastest: neighbouring workgroups share rows of A in the cache.
    let tiles_m = (p.m + TILE - 1u) / TILE;
    let tiles_n = (p.n + TILE - 1u) / TILE;
    let tile = group.x + group.y * groups.x;
    if tile >= tiles_m * tiles_n * p.batches * p.splits { return; }
    let column0 = (tile % tiles_n) * TILE;
    let row0 = (tile / tiles_n % tiles_m) * TILE;
    let layer = tile / (tiles_m * tiles_n);
    let batch = layer % p.batches;
    let k_begin = (layer / p.batches) * p.k_split;
    let k_end = min(k_begin + p.k_split, p.k);
    let a_base = p.a_offset + batch * p.a_batch;
    let b_base = p.b_offset + batch * p.b_batch;
    // This subgroup's quarter of the tile.
    let y = subgroup / 2u * 2u * SIZE;
    let x = subgroup % 2u * 2u * SIZE;

    var c00: MatrixC;
    var c01: MatrixC;
    var c10: MatrixC;
    var c11: MatrixC;
    fetch_tiles(thread, row0, column0, k_begin, k_end, a_base, b_base);
    for (var k = k_begin; k < k_end; k += TILE_K) {
        put_tiles(thread);
        // Every thread reads what all threads have put.
        workgroupBarrier();
        if k + TILE_K < k_end { fetch_tiles(thread, row0, column0, k + TILE_K, k_end, a_base, b_base); }
        for (var step = 0u; step < TILE_K; step += SIZE) {
            let a0 = matrix_a(y, step);
            let a1 = matrix_a(y + SIZE, step);
            let b0 = matrix_b(step, x);
            let b1 = matrix_b(step, x + SIZE);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
        }
        // The next round overwrites the tiles, so every thread must have read them.
        workgroupBarrier();
    }

    coopStoreT(c00, &tile_c[y * C_STRIDE + x], C_STRIDE);
    coopStoreT(c01, &tile_c[y * C_STRIDE + x + SIZE], C_STRIDE);
    coopStoreT(c10, &tile_c[(y + SIZE) * C_STRIDE + x], C_STRIDE);
    coopStoreT(c11, &tile_c[(y + SIZE) * C_STRIDE + x + SIZE], C_STRIDE);
    workgroupBarrier();
    for (var slot = thread; slot < TILE * TILE / 4u; slot += THREADS) {
        let row = slot / (TILE / 4u);
        let column = slot % (TILE / 4u) * 4u;
        let at = row * C_STRIDE + column;
        var sum = vec4<f32>(tile_c[at], tile_c[at + 1u], tile_c[at + 2u], tile_c[at + 3u]);
        if HAS_BIAS == 1u { sum += load_bias(column0 + column); }
        store(row0 + row, column0 + column, layer, sum);
    }
}
