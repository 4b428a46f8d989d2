// Convolution over NHWC images for hardware GPUs, straight from the images, without a buffer of columns:
//   forward          y[n,oy,ox,o] = act(sum over kh,kw,c of x[n,iy,ix,c] * w[kh,kw,c,o] + bias[o])
//                    with iy = oy*SH - PT + kh*DH and ix = ox*SW - PL + kw*DW; pixels outside the image are zero
//   backward_data    dx[n,iy,ix,c] = sum over kh,kw,o of dy[n,oy,ox,o] * w[kh,kw,c,o]
//   backward_weights dw[kh,kw,c,o] = sum over n,oy,ox of x[n,iy,ix,c] * dy[n,oy,ox,o]
//                    and behind it, if there is a bias, dbias[o] = sum over n,oy,ox of dy[n,oy,ox,o]
// x (N,H,W,C), y (N,OH,OW,O), w (KH,KW,CG,OG*GROUPS) with CG = C/GROUPS and OG = O/GROUPS.
//
// Each is a matrix product whose left matrix is gathered on the way: rows are pixels (forward, data) or kernel
// positions (weights). The product is made in tiles as in matmul_tiled.wgsl: a workgroup makes TILE_M rows by TILE_N
// columns in steps of TILE_K through workgroup memory. Parameters are conv2d_direct.wgsl's.
//
// Header: TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N as in matmul_tiled.wgsl. H W C OH OW O KH KW SH SW DH DW PT PL
// GROUPS, the geometry, baked because division by a constant is cheap. C_VEC 1 when CG is a multiple of 4 and O_VEC
// 1 when OG is, and all offsets are. HAS_BIAS 0 or 1. ACT 0 none, 1 relu, 2 sigmoid, 3 tanh: forward ends in it, and the
// gradients multiply dy by its derivative as they load it.

struct Params {
    batch: u32,        // images
    x_offset: u32,     // element where x, or dx, starts
    w_offset: u32,     // element where w, or dw, starts
    bias_offset: u32,  // element where the bias, or outputs, starts
    y_offset: u32,     // element where y, or dy, starts
    split: u32,        // pixels in one split of backward_weights, a multiple of TILE_K
    splits: u32,       // number of splits; each writes a dw of its own
    unused: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;           // forward, weights: (N,H,W,C)
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;           // forward, data: (KH,KW,CG,O)
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;        // forward: (O)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;     // forward: (N,OH,OW,O)
@group(0) @binding(0) var<storage, read> dy_data: array<vec4<f32>>;     // data: (N,OH,OW,O)
@group(0) @binding(2) var<storage, read> outputs: array<vec4<f32>>;     // data, weights: y (N,OH,OW,O), if ACT is not 0
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;    // data: (N,H,W,C)
@group(0) @binding(1) var<storage, read> dy_weights: array<vec4<f32>>;  // weights: (N,OH,OW,O)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>;    // weights: (splits,KH*KW*CG + HAS_BIAS,O)

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
var<private> left_sums: vec4<f32>;               // sums of those columns of dy, in the threads that make them
var<private> right_sums: vec4<f32>;
var<private> next_a: array<vec4<f32>, A_LOADS>;
var<private> next_b: array<vec4<f32>, B_LOADS>;

const CG: u32 = C / GROUPS;
const OG: u32 = O / GROUPS;
const TAPS: u32 = KH * KW;

struct Tile {
    row: u32,     // first row
    column: u32,  // first column
    group: u32,   // convolution group
    split: u32,   // range of pixels
    used: bool,   // false for workgroups that only fill up the grid
}

// Tiles are numbered with the column tile fastest: neighbouring workgroups share gathered rows in the cache.
fn find_tile(rows: u32, columns: u32, splits: u32, workgroup: vec3<u32>, workgroups: vec3<u32>) -> Tile {
    let tiles_m = (rows + TILE_M - 1u) / TILE_M;
    let tiles_n = (columns + TILE_N - 1u) / TILE_N;
    let id = workgroup.x + workgroup.y * workgroups.x;
    let layer = id / (tiles_m * tiles_n);
    return Tile((id / tiles_n % tiles_m) * TILE_M, (id % tiles_n) * TILE_N, layer % GROUPS, layer / GROUPS,
        id < tiles_m * tiles_n * GROUPS * splits);
}

// Which four k of a row a thread fetches: neighbouring threads take neighbouring memory.
fn quad_k(slot: u32) -> u32 { return slot % K_QUADS * 4u; }

// Put the fetched pieces into workgroup memory: the first for pieces of the left matrix that neighbouring threads
// fetched along k, the second for pieces that they fetched along the rows.
fn put_tiles(thread: u32, b_along_k: bool) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_M * K_QUADS { tile_a[slot / K_QUADS * A_STRIDE + slot % K_QUADS] = next_a[i]; }
    }
    put_b(thread, b_along_k);
}

fn put_tiles_along_rows(thread: u32) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_M * K_QUADS { tile_a[slot % TILE_M * A_STRIDE + slot / TILE_M] = next_a[i]; }
    }
    put_b(thread, false);
}

fn put_b(thread: u32, along_k: bool) {
    for (var i = 0u; i < B_LOADS; i++) {
        let slot = thread + i * THREADS;
        let at = select(slot / N_QUADS * B_STRIDE + slot % N_QUADS, slot % TILE_K * B_STRIDE + slot / TILE_K, along_k);
        if slot < TILE_K * N_QUADS { tile_b[at] = next_b[i]; }
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

fn activate(v: vec4<f32>) -> vec4<f32> {
    if ACT == 1u {
        // By bits: negative numbers down to minus infinity become zero, and NaN, of either sign, stays.
        let bits = bitcast<vec4<u32>>(v);
        return select(v, vec4<f32>(0.0), (bits >= vec4<u32>(0x80000000u)) & (bits <= vec4<u32>(0xff800000u)));
    }
    if ACT == 2u {
        return 1.0 / (1.0 + exp(-v));
    }
    if ACT == 3u {
        // Past 15 tanh is 1 in f32, and exp(2v) would overflow. A clamp may drop NaN, so it is put back by bits.
        let e = exp(2.0 * clamp(v, vec4<f32>(-15.0), vec4<f32>(15.0)));
        let nan = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
        return select((e - 1.0) / (e + 1.0), v, nan);
    }
    return v;
}

// ---- forward ----

// A pixel's place: where its image starts, and the row and column that the kernel's first tap touches.
struct Pixel { image: u32, y: i32, x: i32 }

// The pixels whose rows this thread fetches.
var<private> pixel: array<Pixel, A_LOADS>;

fn output_pixel(index: u32) -> Pixel {
    let oy = index / OW % OH;
    return Pixel(index / (OH * OW) * (H * W), i32(oy * SH) - i32(PT), i32(index % OW * SW) - i32(PL));
}

// Element of x at kernel position k (kh, kw and channel in one number), and whether it lies inside the image.
struct Place { at: u32, inside: bool }

fn place_in_x(pixel: Pixel, k: u32, group: u32) -> Place {
    let tap = k / CG;
    let iy = pixel.y + i32(tap / KW * DH);
    let ix = pixel.x + i32(tap % KW * DW);
    let inside = u32(iy) < H && u32(ix) < W && k < TAPS * CG;
    let at = p.x_offset + (pixel.image + u32(iy) * W + u32(ix)) * C + group * CG + k % CG;
    return Place(select(p.x_offset, at, inside), inside);
}

fn load_x(pixel: Pixel, k: u32, group: u32) -> vec4<f32> {
    if C_VEC == 1u {
        let place = place_in_x(pixel, k, group);
        return select(vec4<f32>(0.0), x[place.at >> 2u], place.inside);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let place = place_in_x(pixel, k + i, group);
        v[i] = select(0.0, x[place.at >> 2u][place.at & 3u], place.inside);
    }
    return v;
}

// Four output channels of row k of w; zero outside.
fn load_w(k: u32, column: u32, group: u32) -> vec4<f32> {
    let row = p.w_offset + min(k, TAPS * CG - 1u) * O + group * OG;
    if O_VEC == 1u {
        return select(vec4<f32>(0.0), w[(row + min(column, OG - 4u)) >> 2u], column < OG && k < TAPS * CG);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = row + min(column + i, OG - 1u);
        v[i] = select(0.0, w[at >> 2u][at & 3u], column + i < OG && k < TAPS * CG);
    }
    return v;
}

fn fetch_forward(thread: u32, tile: Tile, k: u32) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_M * K_QUADS { next_a[i] = load_x(pixel[i], k + quad_k(slot), tile.group); }
    }
    for (var i = 0u; i < B_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_K * N_QUADS {
            next_b[i] = load_w(k + slot / N_QUADS, tile.column + slot % N_QUADS * 4u, tile.group);
        }
    }
}

fn load_bias(column: u32, group: u32) -> vec4<f32> {
    var v: vec4<f32>;
    if HAS_BIAS == 1u {
        for (var i = 0u; i < 4u; i++) {
            let at = p.bias_offset + group * OG + min(column + i, OG - 1u);
            v[i] = bias[at >> 2u][at & 3u];
        }
    }
    return v;
}

fn store_y(row: u32, column: u32, group: u32, sum: vec4<f32>) {
    let value = activate(sum);
    let at = p.y_offset + row * O + group * OG + column;
    let inside = row < p.batch * OH * OW;
    if O_VEC == 1u {
        if inside && column < OG { y[at >> 2u] = value; }
    } else {
        for (var i = 0u; i < 4u; i++) {
            if inside && column + i < OG { y[(at + i) >> 2u][(at + i) & 3u] = value[i]; }
        }
    }
}

@compute @workgroup_size(THREADS)
fn conv2d_forward(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let tile = find_tile(p.batch * OH * OW, OG, 1u, workgroup, workgroups);
    if !tile.used { return; }
    let tx = thread % THREADS_N;
    let ty = thread / THREADS_N;
    // Rows past the last pixel repeat it; their sums are not stored.
    for (var i = 0u; i < A_LOADS; i++) {
        pixel[i] = output_pixel(min(tile.row + (thread + i * THREADS) / K_QUADS, p.batch * OH * OW - 1u));
    }
    fetch_forward(thread, tile, 0u);
    for (var k = 0u; k < TAPS * CG; k += TILE_K) {
        put_tiles(thread, false);
        // Every thread reads what all threads have put.
        workgroupBarrier();
        if k + TILE_K < TAPS * CG { fetch_forward(thread, tile, k + TILE_K); }
        multiply_tiles(tx, ty);
        // The next round overwrites the tiles, so every thread must have read them.
        workgroupBarrier();
    }
    let column = tile.column + tx * 4u;
    let row = tile.row + ty * THREAD_M;
    var shift = load_bias(column, tile.group);
    for (var r = 0u; r < THREAD_M; r++) { store_y(row + r, column, tile.group, left[r] + shift); }
    if THREAD_N == 8u {
        shift = load_bias(column + TILE_N / 2u, tile.group);
        for (var r = 0u; r < THREAD_M; r++) { store_y(row + r, column + TILE_N / 2u, tile.group, right[r] + shift); }
    }
}

// ---- gradient of the data ----

// An input pixel: where its image starts in dy, and its row and column with the padding added.
fn input_pixel(index: u32) -> Pixel {
    return Pixel(index / (H * W) * (OH * OW), i32(index / W % H + PT), i32(index % W + PL));
}

// Element of dy that reaches the input pixel through kernel position k (kh, kw and output channel in one number).
fn place_in_dy(pixel: Pixel, k: u32, group: u32) -> Place {
    let tap = k / OG;
    let sy = pixel.y - i32(tap / KW * DH);
    let sx = pixel.x - i32(tap % KW * DW);
    let oy = u32(sy) / SH;
    let ox = u32(sx) / SW;
    // A negative position is a huge unsigned one, and a position between two strides belongs to no output.
    let inside = sy >= 0 && sx >= 0 && oy < OH && ox < OW && oy * SH == u32(sy) && ox * SW == u32(sx) && k < TAPS * OG;
    let at = p.y_offset + (pixel.image + oy * OW + ox) * O + group * OG + k % OG;
    return Place(select(p.y_offset, at, inside), inside);
}

// The derivative of the activation at four outputs, from a multiple of four of dy on, and at one.
fn slope_quad_at(at: u32) -> vec4<f32> {
    if ACT == 0u { return vec4<f32>(1.0); }
    let v = outputs[(at - p.y_offset + p.bias_offset) >> 2u];
    if ACT == 2u { return v * (1.0 - v); }
    if ACT == 3u { return 1.0 - v * v; }
    let nan = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(vec4<f32>(0.0), vec4<f32>(1.0), (v > vec4<f32>(0.0)) | nan);
}

fn slope_at(at: u32) -> f32 { return slope_quad_at(at)[(at - p.y_offset + p.bias_offset) & 3u]; }

fn load_dy(pixel: Pixel, k: u32, group: u32) -> vec4<f32> {
    if O_VEC == 1u {
        let place = place_in_dy(pixel, k, group);
        return select(vec4<f32>(0.0), dy_data[place.at >> 2u] * slope_quad_at(place.at), place.inside);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let place = place_in_dy(pixel, k + i, group);
        v[i] = select(0.0, dy_data[place.at >> 2u][place.at & 3u] * slope_at(place.at), place.inside);
    }
    return v;
}

// Kernel position k (kh, kw, output channel) for four input channels; zero outside.
fn load_w_turned(k: u32, column: u32, group: u32) -> vec4<f32> {
    let position = min(k, TAPS * OG - 1u);
    let start = p.w_offset + position / OG * CG * O + group * OG + position % OG;
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = start + min(column + i, CG - 1u) * O;
        v[i] = select(0.0, w[at >> 2u][at & 3u], column + i < CG && k < TAPS * OG);
    }
    return v;
}

fn fetch_backward_data(thread: u32, tile: Tile, k: u32) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_M * K_QUADS { next_a[i] = load_dy(pixel[i], k + quad_k(slot), tile.group); }
    }
    for (var i = 0u; i < B_LOADS; i++) {
        let slot = thread + i * THREADS;
        // Output channels are neighbours in w, so neighbouring threads take neighbouring k.
        if slot < TILE_K * N_QUADS {
            next_b[i] = load_w_turned(k + slot % TILE_K, tile.column + slot / TILE_K * 4u, tile.group);
        }
    }
}

fn store_dx(row: u32, column: u32, group: u32, value: vec4<f32>) {
    let at = p.x_offset + row * C + group * CG + column;
    let inside = row < p.batch * H * W;
    if C_VEC == 1u {
        if inside && column < CG { dx[at >> 2u] = value; }
    } else {
        for (var i = 0u; i < 4u; i++) {
            if inside && column + i < CG { dx[(at + i) >> 2u][(at + i) & 3u] = value[i]; }
        }
    }
}

@compute @workgroup_size(THREADS)
fn conv2d_backward_data(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let tile = find_tile(p.batch * H * W, CG, 1u, workgroup, workgroups);
    if !tile.used { return; }
    let tx = thread % THREADS_N;
    let ty = thread / THREADS_N;
    // Rows past the last pixel repeat it; their sums are not stored.
    for (var i = 0u; i < A_LOADS; i++) {
        pixel[i] = input_pixel(min(tile.row + (thread + i * THREADS) / K_QUADS, p.batch * H * W - 1u));
    }
    fetch_backward_data(thread, tile, 0u);
    for (var k = 0u; k < TAPS * OG; k += TILE_K) {
        put_tiles(thread, true);
        // Every thread reads what all threads have put.
        workgroupBarrier();
        if k + TILE_K < TAPS * OG { fetch_backward_data(thread, tile, k + TILE_K); }
        multiply_tiles(tx, ty);
        // The next round overwrites the tiles, so every thread must have read them.
        workgroupBarrier();
    }
    let column = tile.column + tx * 4u;
    let row = tile.row + ty * THREAD_M;
    for (var r = 0u; r < THREAD_M; r++) { store_dx(row + r, column, tile.group, left[r]); }
    if THREAD_N == 8u {
        for (var r = 0u; r < THREAD_M; r++) { store_dx(row + r, column + TILE_N / 2u, tile.group, right[r]); }
    }
}

// ---- gradient of the weights ----

// Four output channels of one pixel of dy; zero outside.
fn load_dy_row(pixel: u32, end: u32, column: u32, group: u32) -> vec4<f32> {
    let row = p.y_offset + min(pixel, end - 1u) * O + group * OG;
    if O_VEC == 1u {
        let at = row + min(column, OG - 4u);
        return select(vec4<f32>(0.0), dy_weights[at >> 2u] * slope_quad_at(at), column < OG && pixel < end);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = row + min(column + i, OG - 1u);
        v[i] = select(0.0, dy_weights[at >> 2u][at & 3u] * slope_at(at), column + i < OG && pixel < end);
    }
    return v;
}

// Rows are kernel positions and k counts pixels. Channels are neighbours in x, so neighbouring threads take
// neighbouring rows, and each takes four pixels.
fn fetch_backward_weights(thread: u32, tile: Tile, k: u32, end: u32) {
    for (var i = 0u; i < A_LOADS; i++) {
        let slot = thread + i * THREADS;
        let row = tile.row + slot % TILE_M;
        let first = k + slot / TILE_M * 4u;
        for (var j = 0u; j < 4u; j++) {
            let place = place_in_x(output_pixel(min(first + j, end - 1u)), row, tile.group);
            next_a[i][j] = select(0.0, x[place.at >> 2u][place.at & 3u], place.inside && first + j < end);
        }
    }
    for (var i = 0u; i < B_LOADS; i++) {
        let slot = thread + i * THREADS;
        if slot < TILE_K * N_QUADS {
            next_b[i] = load_dy_row(k + slot / N_QUADS, end, tile.column + slot % N_QUADS * 4u, tile.group);
        }
    }
}

// Adds up the columns of the piece of dy in workgroup memory.
fn sum_columns(tx: u32) {
    for (var k = 0u; k < TILE_K; k++) {
        left_sums += tile_b[k * B_STRIDE + tx];
        if THREAD_N == 8u { right_sums += tile_b[k * B_STRIDE + tx + N_QUADS / 2u]; }
    }
}

// Four columns of a row, if it is one of the first `rows`.
fn store_dw(row: u32, rows: u32, column: u32, tile: Tile, value: vec4<f32>) {
    let at = p.w_offset + (tile.split * (TAPS * CG + HAS_BIAS) + row) * O + tile.group * OG + column;
    let inside = row < rows;
    if O_VEC == 1u {
        if inside && column < OG { dw[at >> 2u] = value; }
    } else {
        for (var i = 0u; i < 4u; i++) {
            if inside && column + i < OG { dw[(at + i) >> 2u][(at + i) & 3u] = value[i]; }
        }
    }
}

@compute @workgroup_size(THREADS)
fn conv2d_backward_weights(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let tile = find_tile(TAPS * CG, OG, p.splits, workgroup, workgroups);
    if !tile.used { return; }
    let tx = thread % THREADS_N;
    let ty = thread / THREADS_N;
    let begin = tile.split * p.split;
    let end = min(begin + p.split, p.batch * OH * OW);
    let makes_sums = HAS_BIAS == 1u && tile.row == 0u && ty == 0u;
    fetch_backward_weights(thread, tile, begin, end);
    for (var k = begin; k < end; k += TILE_K) {
        put_tiles_along_rows(thread);
        // Every thread reads what all threads have put.
        workgroupBarrier();
        if k + TILE_K < end { fetch_backward_weights(thread, tile, k + TILE_K, end); }
        multiply_tiles(tx, ty);
        if makes_sums { sum_columns(tx); }
        // The next round overwrites the tiles, so every thread must have read them.
        workgroupBarrier();
    }
    let column = tile.column + tx * 4u;
    let row = tile.row + ty * THREAD_M;
    for (var r = 0u; r < THREAD_M; r++) { store_dw(row + r, TAPS * CG, column, tile, left[r]); }
    if makes_sums { store_dw(TAPS * CG, TAPS * CG + 1u, column, tile, left_sums); }
    if THREAD_N == 8u {
        for (var r = 0u; r < THREAD_M; r++) { store_dw(row + r, TAPS * CG, column + TILE_N / 2u, tile, right[r]); }
        if makes_sums { store_dw(TAPS * CG, TAPS * CG + 1u, column + TILE_N / 2u, tile, right_sums); }
    }
}
