// Images looked up through one affine map each. A thread makes one number of the result.

struct Params {
    len: u32,         // numbers of the result
    height: u32,      // of the image
    width: u32,
    channels: u32,
    out_height: u32,  // of the result
    out_width: u32,
    x_offset: u32,    // first numbers of images and maps
    maps_offset: u32,
    bilinear: u32,    // 1: the four pixels around are mixed
    mode: u32,        // outside: 0 `fill`, 1 the edge, 2 the image mirrored, 3 the image again
    fill: f32,
    pad: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;             // (N, height, width, channels)
@group(0) @binding(1) var<storage, read> maps: array<f32>;          // (N, 6)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // (N, out_height, out_width, channels)

fn around(at: f32, period: f32) -> f32 {
    return at - period * floor(at / period);
}

// A place brought into an axis of n pixels, but for a constant outside.
fn fold(at: f32, n: f32) -> f32 {
    switch p.mode {
        case 0u: { return at; }
        case 1u: { return clamp(at, 0.0, n - 1.0); }
        case 2u: {
            let v = around(at, 2.0 * n);
            return clamp(select(v, 2.0 * n - 1.0 - v, v >= n), 0.0, n - 1.0);
        }
        default: { return around(at, n); }
    }
}

// A whole place as an index, or -1 outside.
fn place(at: f32, n: f32) -> i32 {
    var v = at;
    if p.mode == 3u && v >= n {
        v -= n;
    } else if p.mode != 0u {
        v = min(v, n - 1.0);
    }
    return select(-1, i32(v), v >= 0.0 && v < n);
}

fn pixel_at(image: u32, channel: u32, down: f32, across: f32) -> f32 {
    let row = place(down, f32(p.height));
    let column = place(across, f32(p.width));
    if row < 0 || column < 0 {
        return p.fill;
    }
    return x[p.x_offset + ((image * p.height + u32(row)) * p.width + u32(column)) * p.channels + channel];
}

@compute @workgroup_size(SIZE)
fn affine_warp_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    let channel = i % p.channels;
    let pixel = i / p.channels;
    let column = f32(pixel % p.out_width);
    let row = f32(pixel / p.out_width % p.out_height);
    let image = pixel / p.out_width / p.out_height;
    let m = p.maps_offset + 6u * image;
    let across = fold(maps[m] * column + maps[m + 1u] * row + maps[m + 2u], f32(p.width));
    let down = fold(maps[m + 3u] * column + maps[m + 4u] * row + maps[m + 5u], f32(p.height));
    if p.bilinear == 0u {
        y[i] = pixel_at(image, channel, floor(down + 0.5), floor(across + 0.5));
        return;
    }
    let top = floor(down);
    let left = floor(across);
    let below = down - top;
    let right = across - left;
    let upper = pixel_at(image, channel, top, left) * (1.0 - right) + pixel_at(image, channel, top, left + 1.0) * right;
    let lower = pixel_at(image, channel, top + 1.0, left) * (1.0 - right)
        + pixel_at(image, channel, top + 1.0, left + 1.0) * right;
    y[i] = upper * (1.0 - below) + lower * below;
}
