// Images to columns and back, so that a convolution is one matrix product:
//   im2col_forward   columns[n,oy,ox, kh,kw,c] = x[first + n, oy*SH - PT + kh*DH, ox*SW - PL + kw*DW, group*CG + c]
//                    and zero where that lies outside the image
//   im2col_backward  dx[first + n, iy, ix, group*CG + c] = sum of the columns that were copied from there (col2im)
// x (N,H,W,C); columns (images*OH*OW, KH*KW*CG) with CG = C/GROUPS, for `images` images from `first` on and one
// group. The first copies words, whatever they hold: of halves, two channels at a time. The second is a gather: each
// value of dx looks up its columns, so nothing is added atomically.
//
// Header: H W C OH OW KH KW SH SW DH DW PT PL GROUPS, the geometry, baked because division by a constant is cheap.
// C_VEC 1 when CG is a multiple of 4, and both offsets are. One invocation makes four neighbouring values.

struct Params {
    first: u32,           // first image
    images: u32,          // number of images
    group: u32,           // convolution group
    x_offset: u32,        // element where x, or dx, starts
    columns_offset: u32,  // element where the columns start
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;              // forward: (N,H,W,C)
@group(0) @binding(1) var<storage, read_write> columns: array<vec4<u32>>;  // forward: (images*OH*OW, KH*KW*CG)
@group(0) @binding(0) var<storage, read> dcolumns: array<vec4<f32>>;       // backward: (images*OH*OW, KH*KW*CG)
@group(0) @binding(1) var<storage, read_write> dx: array<vec4<f32>>;       // backward: (N,H,W,C), this group only

const CG: u32 = C / GROUPS;
const K: u32 = KH * KW * CG;

// Element of x that belongs at one place of the columns, and whether it lies inside the image.
struct Place { at: u32, inside: bool }

fn place_in_x(index: u32) -> Place {
    let row = index / K;
    let tap = index % K / CG;
    let iy = i32(row / OW % OH * SH + tap / KW * DH) - i32(PT);
    let ix = i32(row % OW * SW + tap % KW * DW) - i32(PL);
    let inside = u32(iy) < H && u32(ix) < W;
    let image = p.first + row / (OH * OW);
    let at = p.x_offset + ((image * H + u32(iy)) * W + u32(ix)) * C + p.group * CG + index % CG;
    return Place(select(p.x_offset, at, inside), inside);
}

@compute @workgroup_size(64)
fn im2col_forward(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let size = p.images * OH * OW * K;
    let index = ((workgroup.x + workgroup.y * workgroups.x) * 64u + thread) * 4u;
    if index >= size { return; }
    if C_VEC == 1u {
        let place = place_in_x(index);
        columns[(p.columns_offset + index) >> 2u] = select(vec4<u32>(0u), x[place.at >> 2u], place.inside);
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        if index + i < size {
            let place = place_in_x(index + i);
            let at = p.columns_offset + index + i;
            columns[at >> 2u][at & 3u] = select(0u, x[place.at >> 2u][place.at & 3u], place.inside);
        }
    }
}

// Element of the columns that kernel position (kh, kw) copied from an input pixel, if any.
fn place_in_columns(pixel: u32, kh: u32, kw: u32, c: u32) -> Place {
    let sy = i32(pixel / W % H + PT) - i32(kh * DH);
    let sx = i32(pixel % W + PL) - i32(kw * DW);
    let oy = u32(sy) / SH;
    let ox = u32(sx) / SW;
    // A position between two strides belongs to no output.
    let inside = sy >= 0 && sx >= 0 && oy < OH && ox < OW && oy * SH == u32(sy) && ox * SW == u32(sx);
    let at = p.columns_offset + ((pixel / (H * W) * OH + oy) * OW + ox) * K + (kh * KW + kw) * CG + c;
    return Place(select(p.columns_offset, at, inside), inside);
}

@compute @workgroup_size(64)
fn im2col_backward(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let size = p.images * H * W * CG;
    let index = ((workgroup.x + workgroup.y * workgroups.x) * 64u + thread) * 4u;
    if index >= size { return; }
    let start = p.x_offset + p.first * H * W * C + p.group * CG;
    if C_VEC == 1u {
        var sum = vec4<f32>(0.0);
        for (var kh = 0u; kh < KH; kh++) {
            for (var kw = 0u; kw < KW; kw++) {
                let place = place_in_columns(index / CG, kh, kw, index % CG);
                sum += select(vec4<f32>(0.0), dcolumns[place.at >> 2u], place.inside);
            }
        }
        dx[(start + index / CG * C + index % CG) >> 2u] = sum;
        return;
    }
    for (var i = index; i < min(index + 4u, size); i++) {
        var sum = 0.0;
        for (var kh = 0u; kh < KH; kh++) {
            for (var kw = 0u; kw < KW; kw++) {
                let place = place_in_columns(i / CG, kh, kw, i % CG);
                sum += select(0.0, dcolumns[place.at >> 2u][place.at & 3u], place.inside);
            }
        }
        let at = start + i / CG * C + i % CG;
        dx[at >> 2u][at & 3u] = sum;
    }
}
