// Convolution over NHWC images for software rasterisers, straight from the images, without a buffer of columns:
//   forward          y[n,oy,ox,o] = act(sum over kh,kw,c of x[n,iy,ix,c] * w[kh,kw,c,o] + bias[o])
//                    with iy = oy*SH - PT + kh*DH and ix = ox*SW - PL + kw*DW; pixels outside the image are zero
//   backward_data    dx[n,iy,ix,c] = sum over kh,kw,o of dy[n,oy,ox,o] * w[kh,kw,c,o]
//   backward_weights dw[kh,kw,c,o] = sum over n,oy,ox of x[n,iy,ix,c] * dy[n,oy,ox,o]
//                    and behind it, if there is a bias, dbias[o] = sum over n,oy,ox of dy[n,oy,ox,o]
// x (N,H,W,C), y (N,OH,OW,O), w (KH,KW,CG,OG*GROUPS) with CG = C/GROUPS and OG = O/GROUPS.
//
// Each is a matrix product whose left matrix is gathered on the way: rows are pixels (forward, data) or kernel
// positions (weights). As in matmul.wgsl a workgroup of LANES invocations loads each left value once, spread over its
// lanes, and hands it round with subgroupShuffle; lane l owns four columns of all ROWS rows. The host
// checks that subgroups are at least LANES wide.
//
// Header: LANES 8 or 16. ROWS 8, 16 or 32, at least LANES. H W C OH OW O KH KW SH SW DH DW PT PL GROUPS, the
// geometry, baked because division by a constant is cheap. C_VEC 1 when CG is a multiple of 4 and O_VEC 1 when OG is,
// and all offsets are. HAS_BIAS 0 or 1. ACT 0 none, 1 relu, 2 sigmoid, 3 tanh.

struct Params {
    batch: u32,        // images
    x_offset: u32,     // element where x, or dx, starts
    w_offset: u32,     // element where w, or dw, starts
    bias_offset: u32,  // element where the bias starts
    y_offset: u32,     // element where y, or dy, starts
    split: u32,        // pixels in one split of backward_weights, a multiple of 4
    splits: u32,       // number of splits; each writes a dw of its own
    unused: u32,
}

@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;     // forward, weights: (N,H,W,C)
@group(0) @binding(1) var w: texture_storage_2d<rgba32float, read>;     // forward, data: (KH,KW,CG,O)
@group(0) @binding(2) var bias: texture_storage_2d<rgba32float, read>;  // forward: (O)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;     // forward: (N,OH,OW,O)
@group(0) @binding(0) var dy_data: texture_storage_2d<rgba32float, read>; // data: (N,OH,OW,O)
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;    // data: (N,H,W,C)
@group(0) @binding(1) var dy_weights: texture_storage_2d<rgba32float, read>; // weights: (N,OH,OW,O)
@group(0) @binding(2) var<storage, read_write> dw: array<vec4<f32>>;    // weights: (splits,KH*KW*CG + HAS_BIAS,O)

// Inputs are images, which a software rasteriser reads faster than buffers: four values a texel, 4096 texels a row.
fn texel(at: u32) -> vec2<u32> { return vec2<u32>((at >> 2u) & 4095u, at >> 14u); }

const LOADS: u32 = ROWS / LANES;    // loads a lane makes for a ROWS x 4 piece of the left matrix
const ROW_QUADS: u32 = ROWS / 4u;
const STEPS_A_LOAD: u32 = 4u * LANES / ROWS;  // pixels one load covers in backward_weights
const CG: u32 = C / GROUPS;
const OG: u32 = O / GROUPS;
const TAPS: u32 = KH * KW;
const WHOLE: bool = TAPS * CG % 4u == 0u;  // no step of the forward sum reaches past its end

// Every row's four columns. Only indexed by unrolled loops, so that it becomes registers; past 32 rows it would not.
var<private> sums: array<vec4<f32>, ROWS>;

struct Tile {
    row: u32,     // first row
    column: u32,  // first column of this lane
    group: u32,   // convolution group
    split: u32,   // range of pixels
    used: bool,   // false for workgroups that only fill up the grid
}

// Tiles are numbered with the row tile fastest: neighbouring workgroups share columns and a range of pixels.
fn find_tile(rows: u32, columns: u32, splits: u32, lane: u32, workgroup: vec3<u32>, workgroups: vec3<u32>) -> Tile {
    let tiles_m = (rows + ROWS - 1u) / ROWS;
    let tiles_n = (columns + LANES * 4u - 1u) / (LANES * 4u);
    let id = workgroup.x + workgroup.y * workgroups.x;
    let layer = id / (tiles_m * tiles_n);
    return Tile((id % tiles_m) * ROWS, (id / tiles_m % tiles_n) * LANES * 4u + lane * 4u,
        layer % GROUPS, layer / GROUPS, id < tiles_m * tiles_n * GROUPS * splits);
}

fn clear() {
    for (var r = 0u; r < ROWS; r++) { sums[r] = vec4<f32>(0.0); }
}

// Value (row, step) of a piece, in every lane; lane r % LANES holds row r in load r / LANES.
fn share(piece: array<vec4<f32>, LOADS>, row: u32, step: u32) -> f32 {
    return subgroupShuffle(piece[row / LANES][step], row % LANES);
}

// The same where a load holds four rows of one step, so that ROW_QUADS lanes hold all rows of a step.
fn share_quads(piece: array<vec4<f32>, LOADS>, row: u32, step: u32) -> f32 {
    return subgroupShuffle(piece[step / STEPS_A_LOAD][row & 3u], (step % STEPS_A_LOAD) * ROW_QUADS + (row >> 2u));
}

// Adds four steps to every sum: row after row, so that a sum is fetched and put back once.
fn accumulate(row: u32, x0: f32, x1: f32, x2: f32, x3: f32, values: array<vec4<f32>, 4>) {
    sums[row] = sums[row] + x0 * values[0] + x1 * values[1] + x2 * values[2] + x3 * values[3];
}

fn accumulate_rows(piece: array<vec4<f32>, LOADS>, values: array<vec4<f32>, 4>) {
    for (var r = 0u; r < ROWS; r++) {
        accumulate(r, share(piece, r, 0u), share(piece, r, 1u), share(piece, r, 2u), share(piece, r, 3u), values);
    }
}

fn accumulate_quads(piece: array<vec4<f32>, LOADS>, values: array<vec4<f32>, 4>) {
    for (var r = 0u; r < ROWS; r++) {
        accumulate(r, share_quads(piece, r, 0u), share_quads(piece, r, 1u), share_quads(piece, r, 2u),
            share_quads(piece, r, 3u), values);
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
        return select(vec4<f32>(0.0), textureLoad(x, texel(place.at)), place.inside);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let place = place_in_x(pixel, k + i, group);
        v[i] = select(0.0, textureLoad(x, texel(place.at))[place.at & 3u], place.inside);
    }
    return v;
}

// Four output channels of row k of w; zero past the end, as x is: another row may hold infinity, which zero makes NaN.
fn load_w(k: u32, column: u32, group: u32) -> vec4<f32> {
    let row = p.w_offset + min(k, TAPS * CG - 1u) * O + group * OG;
    if O_VEC == 1u {
        let v = textureLoad(w, texel(row + min(column, OG - 4u)));
        return select(vec4<f32>(0.0), v, WHOLE || k < TAPS * CG);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = row + min(column + i, OG - 1u);
        v[i] = textureLoad(w, texel(at))[at & 3u];
    }
    return select(vec4<f32>(0.0), v, WHOLE || k < TAPS * CG);
}

fn load_w_rows(k: u32, column: u32, group: u32) -> array<vec4<f32>, 4> {
    var t: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) { t[i] = load_w(k + i, column, group); }
    return t;
}

fn load_bias(column: u32, group: u32) -> vec4<f32> {
    var v: vec4<f32>;
    if HAS_BIAS == 1u {
        for (var i = 0u; i < 4u; i++) {
            let at = p.bias_offset + group * OG + min(column + i, OG - 1u);
            v[i] = textureLoad(bias, texel(at))[at & 3u];
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

@compute @workgroup_size(LANES)
fn conv2d_forward(
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let pixels = p.batch * OH * OW;
    let tile = find_tile(pixels, OG, 1u, lane, workgroup, workgroups);
    if !tile.used { return; }
    var pixel: array<Pixel, LOADS>;
    for (var i = 0u; i < LOADS; i++) { pixel[i] = output_pixel(min(tile.row + lane + i * LANES, pixels - 1u)); }

    clear();
    for (var k = 0u; k < TAPS * CG; k += 4u) {
        var piece: array<vec4<f32>, LOADS>;
        for (var i = 0u; i < LOADS; i++) { piece[i] = load_x(pixel[i], k, tile.group); }
        accumulate_rows(piece, load_w_rows(k, tile.column, tile.group));
    }

    let shift = load_bias(tile.column, tile.group);
    for (var r = 0u; r < ROWS; r++) { store_y(tile.row + r, tile.column, tile.group, sums[r] + shift); }
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

fn load_dy(pixel: Pixel, k: u32, group: u32) -> vec4<f32> {
    if O_VEC == 1u {
        let place = place_in_dy(pixel, k, group);
        return select(vec4<f32>(0.0), textureLoad(dy_data, texel(place.at)), place.inside);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let place = place_in_dy(pixel, k + i, group);
        v[i] = select(0.0, textureLoad(dy_data, texel(place.at))[place.at & 3u], place.inside);
    }
    return v;
}

// Kernel positions k to k + 3 for input channel `column`: they are neighbours in w. Zero past the end.
fn load_w_along_o(k: u32, column: u32, group: u32) -> vec4<f32> {
    let c = min(column, CG - 1u);
    if O_VEC == 1u { return textureLoad(w, texel(p.w_offset + (k / OG * CG + c) * O + group * OG + k % OG)); }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let position = min(k + i, TAPS * OG - 1u);
        let at = p.w_offset + (position / OG * CG + c) * O + group * OG + position % OG;
        v[i] = select(0.0, textureLoad(w, texel(at))[at & 3u], k + i < TAPS * OG);
    }
    return v;
}

// The same for four input channels, turned so that [i] is kernel position k + i; the turn only renames registers.
fn load_w_turned(k: u32, column: u32, group: u32) -> array<vec4<f32>, 4> {
    var t: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) { t[i] = load_w_along_o(k, column + i, group); }
    return array<vec4<f32>, 4>(
        vec4<f32>(t[0].x, t[1].x, t[2].x, t[3].x), vec4<f32>(t[0].y, t[1].y, t[2].y, t[3].y),
        vec4<f32>(t[0].z, t[1].z, t[2].z, t[3].z), vec4<f32>(t[0].w, t[1].w, t[2].w, t[3].w));
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

@compute @workgroup_size(LANES)
fn conv2d_backward_data(
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let pixels = p.batch * H * W;
    let tile = find_tile(pixels, CG, 1u, lane, workgroup, workgroups);
    if !tile.used { return; }
    var pixel: array<Pixel, LOADS>;
    for (var i = 0u; i < LOADS; i++) { pixel[i] = input_pixel(min(tile.row + lane + i * LANES, pixels - 1u)); }

    clear();
    for (var k = 0u; k < TAPS * OG; k += 4u) {
        var piece: array<vec4<f32>, LOADS>;
        for (var i = 0u; i < LOADS; i++) { piece[i] = load_dy(pixel[i], k, tile.group); }
        accumulate_rows(piece, load_w_turned(k, tile.column, tile.group));
    }

    for (var r = 0u; r < ROWS; r++) { store_dx(tile.row + r, tile.column, tile.group, sums[r]); }
}

// ---- gradient of the weights ----

// Four output channels of one pixel of dy; zero past the end.
fn load_dy_row(pixel: u32, last: u32, column: u32, group: u32) -> vec4<f32> {
    let row = p.y_offset + min(pixel, last) * O + group * OG;
    if O_VEC == 1u {
        let v = textureLoad(dy_weights, texel(row + min(column, OG - 4u)));
        return select(vec4<f32>(0.0), v, pixel <= last);
    }
    var v: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let at = row + min(column + i, OG - 1u);
        v[i] = textureLoad(dy_weights, texel(at))[at & 3u];
    }
    return select(vec4<f32>(0.0), v, pixel <= last);
}

fn load_dy_rows(pixel: u32, last: u32, column: u32, group: u32) -> array<vec4<f32>, 4> {
    var t: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) { t[i] = load_dy_row(pixel + i, last, column, group); }
    return t;
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

@compute @workgroup_size(LANES)
fn conv2d_backward_weights(
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let tile = find_tile(TAPS * CG, OG, p.splits, lane, workgroup, workgroups);
    if !tile.used { return; }
    let begin = tile.split * p.split;
    let end = min(begin + p.split, p.batch * OH * OW);
    let last = end - 1u;
    let quad = min(tile.row + lane % ROW_QUADS * 4u, TAPS * CG - min(4u, TAPS * CG));

    clear();
    var of_bias = vec4<f32>(0.0);
    for (var q = begin; q < end; q += 4u) {
        var piece: array<vec4<f32>, LOADS>;
        if C_VEC == 1u {
            // Channels are neighbours: a load holds four rows, and the lanes cover several pixels.
            for (var i = 0u; i < LOADS; i++) {
                let index = q + i * STEPS_A_LOAD + lane / ROW_QUADS;
                let place = place_in_x(output_pixel(min(index, last)), quad, tile.group);
                piece[i] = select(vec4<f32>(0.0), textureLoad(x, texel(place.at)), place.inside && index < end);
            }
        } else {
            for (var j = 0u; j < 4u; j++) {
                let pixel = output_pixel(min(q + j, last));
                for (var i = 0u; i < LOADS; i++) {
                    let place = place_in_x(pixel, tile.row + lane + i * LANES, tile.group);
                    let v = textureLoad(x, texel(place.at))[place.at & 3u];
                    piece[i][j] = select(0.0, v, place.inside && q + j < end);
                }
            }
        }
        let values = load_dy_rows(q, last, tile.column, tile.group);
        if C_VEC == 1u { accumulate_quads(piece, values); } else { accumulate_rows(piece, values); }
        if HAS_BIAS == 1u { of_bias += values[0] + values[1] + values[2] + values[3]; }
    }

    for (var r = 0u; r < ROWS; r++) { store_dw(tile.row + r, TAPS * CG, tile.column, tile, sums[r]); }
    if HAS_BIAS == 1u && tile.row == 0u { store_dw(TAPS * CG, TAPS * CG + 1u, tile.column, tile, of_bias); }
}
