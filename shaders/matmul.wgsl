// Matrix multiplication for software rasterisers: C[b,m,n] = act(A[b,m,k] x B[b,k,n] + bias[n]).
//
// A software rasteriser runs eight invocations as the lanes of one SIMD register and fetches memory lane by lane, so
// a vec4 load costs as much as some fifty multiply-adds. A workgroup of LANES invocations therefore loads each value
// of A once, spread over its lanes, and hands it round with subgroupShuffle, which is one register operation. Lane l
// owns four columns and all ROWS rows of the tile. There is no workgroup memory and no barrier.
// The invocations must lie in one subgroup: the host checks that subgroups are at least LANES wide.
//
// With splits > 1 each split sums its own range of k and writes a partial product; `matmul_reduce_partials` adds
// the partials up, always in the same order, and applies the epilogue.
//
// With SUMS 1 each matrix of C has one row more: the sums of B's columns, which go by here anyway. A gradient of weights
// and of a bias is such a product.
//
// Header: LANES 8 or 16. ROWS 8, 16 or 32, at least LANES. A_LOAD, B_LOAD (0: four values along k; 1: four along m
// or n; 2: single values, any strides). C_VEC 1 when n and c_offset are multiples of 4. ACT 0 none,
// 1 relu, 2 sigmoid, 3 tanh. HAS_BIAS and SUMS 0 or 1, or 2 to look at the parameters; SUMS 0 with HAS_BIAS 1 or ACT.

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
    k_split: u32,    // length of one split's range of k, a multiple of 4
    splits: u32,     // number of ranges of k
    has_bias: u32,   // whether there is a bias
    sums: u32,       // whether there are sums
    unused: vec2<u32>,
}

@group(0) @binding(0) var a: texture_storage_2d<rgba32float, read>;     // [batches, m, k], any strides
@group(0) @binding(1) var b: texture_storage_2d<rgba32float, read>;     // [batches, k, n], any strides
@group(0) @binding(2) var bias: texture_storage_2d<rgba32float, read>;  // [n]
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;     // [splits, batches, m + sums, n]

// Inputs are images, which a software rasteriser reads faster than buffers: four values a texel, 4096 texels a row.
fn texel(at: u32) -> vec2<u32> { return vec2<u32>((at >> 2u) & 4095u, at >> 14u); }

const A_LOADS: u32 = ROWS / LANES;  // loads a lane makes for a ROWS x 4 piece of A
const ROW_QUADS: u32 = ROWS / 4u;  // lanes that hold one step when A is read along m
const STEPS_A_LOAD: u32 = 4u * LANES / ROWS;  // values of k one load covers when A is read along m

// Every row's four columns. Only indexed by unrolled loops, so that it becomes registers; past 32 rows it would not.
var<private> sums: array<vec4<f32>, ROWS>;

fn has_bias() -> bool { return HAS_BIAS == 1u || (HAS_BIAS == 2u && p.has_bias == 1u); }

fn has_sums() -> bool { return SUMS == 1u || (SUMS == 2u && p.sums == 1u); }

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
        v[i] = textureLoad(bias, texel(at))[at & 3u];
    }
    return v;
}

// One piece of A, ROWS x 4 values spread over the lanes.
fn load_a(row0: u32, k0: u32, k_end: u32, base: u32, lane: u32, slot: u32) -> vec4<f32> {
    if A_LOAD == 0u {
        let row = min(row0 + lane + slot * LANES, p.m - 1u);
        return textureLoad(a, texel(base + row * p.a_row + k0));
    }
    if A_LOAD == 1u {
        let k = k0 + slot * STEPS_A_LOAD + lane / ROW_QUADS;
        let row = min(row0 + (lane % ROW_QUADS) * 4u, p.m - 4u);
        let v = textureLoad(a, texel(base + row + min(k, k_end - 1u) * p.a_col));
        return select(vec4<f32>(0.0), v, k < k_end);
    }
    let row = base + min(row0 + lane + slot * LANES, p.m - 1u) * p.a_row;
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = row + min(k0 + i, k_end - 1u) * p.a_col;
        v[i] = select(0.0, textureLoad(a, texel(at))[at & 3u], k0 + i < k_end);
    }
    return v;
}

// Value (row, k0 + step) of the piece, in every lane.
fn share_a(piece: array<vec4<f32>, A_LOADS>, row: u32, step: u32) -> f32 {
    if A_LOAD == 1u {
        return subgroupShuffle(piece[step / STEPS_A_LOAD][row & 3u], (step % STEPS_A_LOAD) * ROW_QUADS + (row >> 2u));
    }
    return subgroupShuffle(piece[row / LANES][step], row % LANES);
}

// Four neighbours of row k of B, for this lane; zero past the last k.
fn load_b(k: u32, k_end: u32, column: u32, base: u32) -> vec4<f32> {
    let row = base + min(k, k_end - 1u) * p.b_row;
    if B_LOAD == 1u { return select(vec4<f32>(0.0), textureLoad(b, texel(row + min(column, p.n - 4u))), k < k_end); }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = row + min(column + i, p.n - 1u) * p.b_col;
        v[i] = textureLoad(b, texel(at))[at & 3u];
    }
    return select(vec4<f32>(0.0), v, k < k_end);
}

// Adds the piece's four steps to every sum: row after row, so that a sum is fetched and put back once.
fn accumulate(piece: array<vec4<f32>, A_LOADS>, values: array<vec4<f32>, 4>) {
    for (var r = 0u; r < ROWS; r++) {
        let x0 = share_a(piece, r, 0u);
        let x1 = share_a(piece, r, 1u);
        let x2 = share_a(piece, r, 2u);
        let x3 = share_a(piece, r, 3u);
        sums[r] = sums[r] + x0 * values[0] + x1 * values[1] + x2 * values[2] + x3 * values[3];
    }
}

// Rows k to k + 3 of B in the four columns that start at `column`.
fn load_b_rows(k: u32, k_end: u32, column: u32, base: u32) -> array<vec4<f32>, 4> {
    var t: array<vec4<f32>, 4>;
    if B_LOAD == 0u {
        // B lies along k: four loads of four values of k, then a transposition that only renames registers.
        for (var i = 0u; i < 4u; i++) { t[i] = textureLoad(b, texel(base + k + min(column + i, p.n - 1u) * p.b_col)); }
        return array<vec4<f32>, 4>(
            vec4<f32>(t[0].x, t[1].x, t[2].x, t[3].x), vec4<f32>(t[0].y, t[1].y, t[2].y, t[3].y),
            vec4<f32>(t[0].z, t[1].z, t[2].z, t[3].z), vec4<f32>(t[0].w, t[1].w, t[2].w, t[3].w));
    }
    for (var i = 0u; i < 4u; i++) { t[i] = load_b(k + i, k_end, column, base); }
    return t;
}

// Writes one row of this lane's sums, where it lies inside the first `rows` rows of C.
fn store(row: u32, rows: u32, column: u32, layer: u32, sum: vec4<f32>) {
    let value = activate(sum);
    let at = p.c_offset + (layer * (p.m + select(0u, 1u, has_sums())) + row) * p.n + column;
    if C_VEC == 1u {
        if row < rows && column < p.n { c[at >> 2u] = value; }
    } else {
        for (var i = 0u; i < 4u; i++) {
            if row < rows && column + i < p.n { c[(at + i) >> 2u][(at + i) & 3u] = value[i]; }
        }
    }
}

@compute @workgroup_size(LANES)
fn matmul_forward(
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    // Tiles are numbered with the row tile fastest, so that neighbouring groups read the same columns of B.
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let tiles_n = (p.n + LANES * 4u - 1u) / (LANES * 4u);
    let tile = group.x + group.y * groups.x;
    if tile >= tiles_m * tiles_n * p.batches * p.splits { return; }
    let row0 = (tile % tiles_m) * ROWS;
    let column0 = (tile / tiles_m % tiles_n) * LANES * 4u + lane * 4u;
    let layer = tile / (tiles_m * tiles_n);
    let batch = layer % p.batches;
    let k_begin = (layer / p.batches) * p.k_split;
    let k_end = min(k_begin + p.k_split, p.k);
    let a_base = p.a_offset + batch * p.a_batch;
    let b_base = p.b_offset + batch * p.b_batch;

    for (var r = 0u; r < ROWS; r++) { sums[r] = vec4<f32>(0.0); }
    var of_columns = vec4<f32>(0.0);
    for (var k = k_begin; k < k_end; k += 4u) {
        var piece: array<vec4<f32>, A_LOADS>;
        for (var i = 0u; i < A_LOADS; i++) { piece[i] = load_a(row0, k, k_end, a_base, lane, i); }
        let values = load_b_rows(k, k_end, column0, b_base);
        accumulate(piece, values);
        if SUMS != 0u { of_columns += values[0] + values[1] + values[2] + values[3]; }
    }

    var shift = vec4<f32>(0.0);
    if has_bias() { shift = load_bias(column0); }
    for (var r = 0u; r < ROWS; r++) { store(row0 + r, p.m, column0, layer, sums[r] + shift); }
    if has_sums() && row0 == 0u { store(p.m, p.m + 1u, column0, layer, of_columns); }
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
        for (var s = 0u; s < p.splits; s++) { total += textureLoad(a, texel(p.a_offset + s * size + first)); }
        if HAS_BIAS == 1u { shift = load_bias(first % p.n); }
        c[(p.c_offset + first) >> 2u] = activate(total + shift);
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let at = min(first + i, size - 1u);
        for (var s = 0u; s < p.splits; s++) {
            let source = p.a_offset + s * size + at;
            total[i] += textureLoad(a, texel(source))[source & 3u];
        }
        if HAS_BIAS == 1u {
            let source = p.bias_offset + at % p.n;
            shift[i] = textureLoad(bias, texel(source))[source & 3u];
        }
    }
    total = activate(total + shift);
    for (var i = 0u; i < 4u; i++) {
        let target_at = p.c_offset + first + i;
        if first + i < size { c[target_at >> 2u][target_at & 3u] = total[i]; }
    }
}
