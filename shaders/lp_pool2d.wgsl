// The p-norm of windows of an image, and its gradient. A thread makes one element.
//
// The header is that of pool2d.wgsl: shapes are constants. Positions in the padding wrap around to huge numbers, so that
// one comparison tells them from those in the image.

struct Params {
    threads: u32,
    x_offset: u32,    // first elements of the inputs, in elements
    y_offset: u32,
    dy_offset: u32,
    norm: f32,        // p
    pad: u32,
    pad1: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;
const INFINITY: u32 = 0x7f800000u;
const SMALLEST: f32 = 1.17549435e-38; // what is below counts as 0

// The most windows that cover one input, along each axis.
const COVER_H: u32 = ((KH - 1u) * DH + SH) / SH;
const COVER_W: u32 = ((KW - 1u) * DW + SW) / SW;

@group(0) @binding(0) var<storage, read> x: array<f32>;           // (N, H, W, C)
@group(0) @binding(1) var<storage, read_write> norms: array<f32>; // (N, OH, OW, C)
@group(0) @binding(1) var<storage, read> y: array<f32>;           // (N, OH, OW, C)
@group(0) @binding(2) var<storage, read> dy: array<f32>;          // (N, OH, OW, C)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;    // (N, H, W, C)

fn size_bits(v: f32) -> u32 {
    return bitcast<u32>(v) & 0x7fffffffu;
}

// Made from p, so that no compiler folds them.
fn nan() -> f32 {
    return bitcast<f32>(0x7fc00000u | (p.pad & 0u));
}

fn infinity() -> f32 {
    return bitcast<f32>(INFINITY | (p.pad & 0u));
}

// a / b for a <= b. Divisors past 2^126 would not be exact.
fn ratio(a: f32, b: f32) -> f32 {
    let scale = select(1.0, 0.125, b > 1e37);
    return (a * scale) / (b * scale);
}

fn power(r: f32, e: f32) -> f32 {
    if e == 1.0 {
        return r;
    }
    if e == 2.0 {
        return r * r;
    }
    return select(pow(r, e), 0.0, r < SMALLEST);
}

fn root(sum: f32) -> f32 {
    if p.norm == 1.0 {
        return sum;
    }
    if p.norm == 2.0 {
        return sqrt(sum);
    }
    return pow(sum, 1.0 / p.norm);
}

@compute @workgroup_size(SIZE)
fn lp_pool2d_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let c = thread % C;
    let column = thread / C % OW;
    let row = thread / (C * OW) % OH;
    let image = p.x_offset + thread / (C * OW * OH) * (H * W * C) + c;
    // As bits, the largest size is that of a NaN or of infinity if there is one.
    var top = 0u;
    for (var kh = 0u; kh < KH; kh++) {
        for (var kw = 0u; kw < KW; kw++) {
            let h = row * SH + kh * DH - PT;
            let w = column * SW + kw * DW - PL;
            if h < H && w < W {
                top = max(top, size_bits(x[image + (h * W + w) * C]));
            }
        }
    }
    if top >= INFINITY {
        norms[thread] = select(infinity(), nan(), top > INFINITY);
        return;
    }
    let largest = bitcast<f32>(top);
    if top < bitcast<u32>(SMALLEST) {
        norms[thread] = 0.0;
        return;
    }
    var sum = 0.0;
    for (var kh = 0u; kh < KH; kh++) {
        for (var kw = 0u; kw < KW; kw++) {
            let h = row * SH + kh * DH - PT;
            let w = column * SW + kw * DW - PL;
            if h < H && w < W {
                sum += power(ratio(abs(x[image + (h * W + w) * C]), largest), p.norm);
            }
        }
    }
    norms[thread] = largest * root(sum);
}

// What dx of an element has from the dy of a window of norm `whole`.
fn slope(v: f32, whole: f32) -> f32 {
    let of_x = size_bits(v);
    let of_y = size_bits(whole);
    if of_x > INFINITY || of_y > INFINITY {
        return nan();
    }
    let smallest = bitcast<u32>(SMALLEST);
    if of_x < smallest || of_y < smallest {
        return 0.0;
    }
    let sign = select(-1.0, 1.0, (bitcast<u32>(v) >> 31u) == 0u);
    if p.norm == 1.0 {
        return sign;
    }
    if of_y == INFINITY {
        return select(0.0, nan(), of_x == INFINITY);
    }
    return sign * power(ratio(abs(v), whole), p.norm - 1.0);
}

// dx of an input = the sum over the windows that cover it.
@compute @workgroup_size(SIZE)
fn lp_pool2d_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let c = thread % C;
    let column = thread / C % max(W, 1u);
    let line = thread / max(C * W, 1u) % max(H, 1u);
    let windows = thread / max(C * W * H, 1u) * (OH * OW * C) + c;
    let v = x[p.x_offset + thread];
    var sum = 0.0;
    for (var i = 0u; i < COVER_H; i++) {
        for (var j = 0u; j < COVER_W; j++) {
            // The i-th and j-th last windows that start at or before the input.
            let oh = (line + PT) / SH - i;
            let ow = (column + PL) / SW - j;
            let h = line + PT - oh * SH;
            let w = column + PL - ow * SW;
            let hits = h % DH == 0u && h / DH < KH && w % DW == 0u && w / DW < KW;
            if hits && oh < OH && ow < OW {
                let at = windows + (oh * OW + ow) * C;
                sum += dy[p.dy_offset + at] * slope(v, y[p.y_offset + at]);
            }
        }
    }
    dx[thread] = sum;
}
