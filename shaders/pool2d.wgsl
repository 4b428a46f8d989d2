// Pooling over windows of an image: the largest element, or the mean.
//
// A thread makes four neighbouring channels. Shapes are constants of the header, so that index arithmetic divides by
// constants only: C, H, W, OH, OW, KH, KW (window), SH, SW (stride), DH, DW (dilation), PT, PL, PB, PR (padding above,
// left, below, right), PLANES (images that are planes of one larger image), DIVISOR (of a mean: 0 the taps in the image,
// 1 those in the padded image, 2 nothing: a sum), VEC (1: C and all offsets are multiples of 4).
//
// Positions in the padding wrap around to huge numbers, so that one comparison tells them from those in the image.

struct Params {
    threads: u32,
    x_offset: u32,    // first element of the first input, in elements
    dy_offset: u32,   // first element of dy in max_pool2d_backward*, in elements
    option: u32,      // max_pool2d_forward*: 1 for the relu of the largest; max_pool2d_gather: what it writes for a window
                      // without a winner
}

const SIZE: u32 = 64u;
const QUADS: u32 = (C + 3u) / 4u; // groups of four channels
const LANES: u32 = min(C, 4u);
const NO_POSITION: u32 = 0xffffffffu; // the winner of a window of padding only, or that relu makes 0
// Whether no window reaches outside the image.
const INSIDE: bool =
    PT + PL == 0u && (OH - 1u) * SH + (KH - 1u) * DH < H && (OW - 1u) * SW + (KW - 1u) * DW < W;
// Whether no window reaches outside the padded image: only in ceil mode one may.
const INSIDE_PADDING: bool = (OH - 1u) * SH + (KH - 1u) * DH < PT + H + PB && (OW - 1u) * SW + (KW - 1u) * DW < PL + W + PR;
// Cells as large as the stride, which divide the padded image, and the image with it.
const CELLS_H: u32 = (H + PT + SH - 1u) / SH;
const CELLS_W: u32 = (W + PL + SW - 1u) / SW;

// The most windows that cover one input, along each axis.
const COVER_H: u32 = ((KH - 1u) * DH + SH) / SH;
const COVER_W: u32 = ((KW - 1u) * DW + SW) / SW;
const COVER: u32 = COVER_H * COVER_W;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;            // (N, H, W, C); dy in avg_pool2d_backward*
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;      // (N, OH, OW, C); dx in avg_pool2d_backward*
@group(0) @binding(2) var<storage, read_write> argmax: array<vec4<u32>>; // (N, OH, OW, C): positions of the largest
@group(0) @binding(0) var<storage, read> positions: array<vec4<u32>>;    // (N, OH, OW, C): argmax of forward
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;           // (N, OH, OW, C)
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;     // (N, H, W, C)
@group(0) @binding(1) var<storage, read> words: array<u32>;              // (N, H, W, C), of any type of 4 bytes
@group(0) @binding(2) var<storage, read_write> picked: array<u32>;       // (N, OH, OW, C)

fn nan_bits(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

// Whether a takes the place of b as the largest: NaN beats everything, and the first one stays.
fn beats(a: vec4<f32>, b: vec4<f32>) -> vec4<bool> {
    return !nan_bits(b) & (nan_bits(a) | (a > b));
}

// Four channels of a pixel, of which `left` exist.
fn load_x(first: u32, left: u32) -> vec4<f32> {
    let at = p.x_offset + first;
    if VEC == 1u {
        return x[at / 4u];
    }
    var v = vec4(0.0);
    for (var i = 0u; i < LANES; i++) {
        let k = at + min(i, left - 1u);
        v[i] = x[k / 4u][k % 4u];
    }
    return v;
}

fn load_dy(first: u32, left: u32) -> vec4<f32> {
    let at = p.dy_offset + first;
    if VEC == 1u {
        return dy[at / 4u];
    }
    var v = vec4(0.0);
    for (var i = 0u; i < LANES; i++) {
        let k = at + min(i, left - 1u);
        v[i] = dy[k / 4u][k % 4u];
    }
    return v;
}

fn load_positions(first: u32, left: u32) -> vec4<u32> {
    let at = p.x_offset + first;
    if VEC == 1u {
        return positions[at / 4u];
    }
    var v = vec4(NO_POSITION);
    for (var i = 0u; i < LANES; i++) {
        let k = at + min(i, left - 1u);
        v[i] = positions[k / 4u][k % 4u];
    }
    return v;
}

fn store_y(at: u32, left: u32, v: vec4<f32>) {
    if VEC == 1u {
        y[at / 4u] = v;
        return;
    }
    for (var i = 0u; i < min(left, 4u); i++) {
        y[(at + i) / 4u][(at + i) % 4u] = v[i];
    }
}

fn store_argmax(at: u32, left: u32, v: vec4<u32>) {
    if VEC == 1u {
        argmax[at / 4u] = v;
        return;
    }
    for (var i = 0u; i < min(left, 4u); i++) {
        argmax[(at + i) / 4u][(at + i) % 4u] = v[i];
    }
}

fn store_dx(at: u32, left: u32, v: vec4<f32>) {
    if VEC == 1u {
        dx[at / 4u] = v;
        return;
    }
    for (var i = 0u; i < min(left, 4u); i++) {
        dx[(at + i) / 4u][(at + i) % 4u] = v[i];
    }
}

// Where a thread works: image, row, column, first channel.
struct Place {
    n: u32,
    row: u32,
    column: u32,
    c: u32,
    left: u32, // channels from c on
}

fn place(thread: u32, rows: u32, columns: u32) -> Place {
    let c = thread % QUADS * 4u;
    let pixel = thread / QUADS;
    let line = pixel / columns;
    return Place(line / rows, line % rows, pixel % columns, c, C - c);
}

// Position of a place in an array (N, rows, columns, C).
fn element(at: Place, rows: u32, columns: u32) -> u32 {
    return ((at.n * rows + at.row) * columns + at.column) * C + at.c;
}

// The position of the first pixel of an image.
fn first_position(n: u32) -> u32 {
    return n % PLANES * (H * W);
}

// Taps of window `o` from position `low` up to `high` of the padded image, along one axis.
fn taps_between(o: u32, size: u32, stride: u32, dilation: u32, low: u32, high: u32) -> u32 {
    let start = o * stride;
    let first = (max(low, start) - start + dilation - 1u) / dilation;
    let end = (max(high, start) - start + dilation - 1u) / dilation;
    return max(min(size, end), first) - first;
}

// What the sum over a window is multiplied by to give the mean.
fn weight(row: u32, column: u32) -> f32 {
    if DIVISOR == 2u {
        return 1.0;
    }
    if INSIDE || (DIVISOR == 1u && INSIDE_PADDING) {
        return 1.0 / f32(KH * KW);
    }
    var rows = 0u;
    var columns = 0u;
    if DIVISOR == 1u {
        rows = taps_between(row, KH, SH, DH, 0u, PT + H + PB);
        columns = taps_between(column, KW, SW, DW, 0u, PL + W + PR);
    } else {
        rows = taps_between(row, KH, SH, DH, PT, PT + H);
        columns = taps_between(column, KW, SW, DW, PL, PL + W);
    }
    return 1.0 / f32(max(rows * columns, 1u));
}

struct Best {
    value: vec4<f32>,
    position: vec4<u32>,
}

fn largest(at: Place) -> Best {
    // Minus infinity, made from p so that no compiler folds it: WGSL has no such constant.
    var best = Best(vec4(bitcast<f32>(0xff800000u | (p.option & 0u))), vec4(NO_POSITION));
    let first = first_position(at.n);
    for (var kh = 0u; kh < KH; kh++) {
        for (var kw = 0u; kw < KW; kw++) {
            let h = at.row * SH + kh * DH - PT;
            let w = at.column * SW + kw * DW - PL;
            if INSIDE || (h < H && w < W) {
                let v = load_x(((at.n * H + h) * W + w) * C + at.c, at.left);
                let wins = beats(v, best.value) | (best.position == vec4(NO_POSITION));
                best.value = select(best.value, v, wins);
                best.position = select(best.position, vec4(first + h * W + w), wins);
            }
        }
    }
    if p.option == 1u {
        // Relu. NaN stays, and so does the minus infinity of a window of padding only.
        let zero = (best.position != vec4(NO_POSITION)) & !nan_bits(best.value) & (best.value <= vec4(0.0));
        best.value = select(best.value, vec4(0.0), zero);
        best.position = select(best.position, vec4(NO_POSITION), zero);
    }
    return best;
}

@compute @workgroup_size(SIZE)
fn max_pool2d_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, OH, OW);
    store_y(element(at, OH, OW), at.left, largest(at).value);
}

// The same, with the positions that backward needs.
@compute @workgroup_size(SIZE)
fn max_pool2d_forward_argmax(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, OH, OW);
    let best = largest(at);
    store_y(element(at, OH, OW), at.left, best.value);
    store_argmax(element(at, OH, OW), at.left, best.position);
}

// What lies at the positions of the largest: the second derivative, or positions of positions.
@compute @workgroup_size(SIZE)
fn max_pool2d_gather(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, OH, OW);
    let to = element(at, OH, OW);
    let at_positions = load_positions(to, at.left);
    for (var i = 0u; i < min(at.left, 4u); i++) {
        var word = p.option;
        if at_positions[i] != NO_POSITION {
            word = words[p.dy_offset + (at.n * (H * W) + at_positions[i] - first_position(at.n)) * C + at.c + i];
        }
        picked[to + i] = word;
    }
}

// A window that has an input at one of its taps, if it exists.
struct Window {
    row: u32,
    column: u32,
    exists: bool,
}

// The i-th and j-th last windows that start at or before an input: those among them that have it at a tap.
fn covering(at: Place, i: u32, j: u32) -> Window {
    let row = (at.row + PT) / SH - i;
    let column = (at.column + PL) / SW - j;
    let h = at.row + PT - row * SH;
    let w = at.column + PL - column * SW;
    let hits = h % DH == 0u && h / DH < KH && w % DW == 0u && w / DW < KW;
    return Window(row, column, hits && row < OH && column < OW);
}

// dx of an input = the sum of dy over the windows that have it as their largest. A thread makes one input.
@compute @workgroup_size(SIZE)
fn max_pool2d_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, H, W);
    let position = first_position(at.n) + at.row * W + at.column;
    var sum = vec4(0.0);
    for (var i = 0u; i < COVER_H; i++) {
        for (var j = 0u; j < COVER_W; j++) {
            let o = covering(at, i, j);
            if o.exists {
                let first = ((at.n * OH + o.row) * OW + o.column) * C + at.c;
                let hit = load_positions(first, at.left) == vec4(position);
                sum += select(vec4(0.0), load_dy(first, at.left), hit);
            }
        }
    }
    store_dx(element(at, H, W), at.left, sum);
}

// The same for windows without holes. A thread makes a cell of SH x SW inputs: each window that reaches into it is loaded
// once. For a few windows only: they are kept in registers.
@compute @workgroup_size(SIZE)
fn max_pool2d_backward_cells(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, CELLS_H, CELLS_W);
    var g: array<vec4<f32>, COVER>;
    var winner: array<vec4<u32>, COVER>;
    for (var i = 0u; i < COVER_H; i++) {
        for (var j = 0u; j < COVER_W; j++) {
            g[i * COVER_W + j] = vec4(0.0);
            winner[i * COVER_W + j] = vec4(NO_POSITION);
            let row = at.row - i;
            let column = at.column - j;
            if row < OH && column < OW {
                let o = ((at.n * OH + row) * OW + column) * C + at.c;
                g[i * COVER_W + j] = load_dy(o, at.left);
                winner[i * COVER_W + j] = load_positions(o, at.left);
            }
        }
    }
    for (var a = 0u; a < SH; a++) {
        for (var b = 0u; b < SW; b++) {
            let h = at.row * SH + a - PT;
            let w = at.column * SW + b - PL;
            let position = first_position(at.n) + h * W + w;
            var sum = vec4(0.0);
            for (var i = 0u; i < COVER_H; i++) {
                for (var j = 0u; j < COVER_W; j++) {
                    sum += select(vec4(0.0), g[i * COVER_W + j], winner[i * COVER_W + j] == vec4(position));
                }
            }
            if h < H && w < W {
                store_dx(((at.n * H + h) * W + w) * C + at.c, at.left, sum);
            }
        }
    }
}

@compute @workgroup_size(SIZE)
fn avg_pool2d_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, OH, OW);
    var sum = vec4(0.0);
    for (var kh = 0u; kh < KH; kh++) {
        for (var kw = 0u; kw < KW; kw++) {
            let h = at.row * SH + kh * DH - PT;
            let w = at.column * SW + kw * DW - PL;
            if INSIDE || (h < H && w < W) {
                sum += load_x(((at.n * H + h) * W + w) * C + at.c, at.left);
            }
        }
    }
    store_y(element(at, OH, OW), at.left, sum * weight(at.row, at.column));
}

// dx of an input = the sum over the windows that cover it of dy / taps. A thread makes one input.
@compute @workgroup_size(SIZE)
fn avg_pool2d_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, H, W);
    var sum = vec4(0.0);
    for (var i = 0u; i < COVER_H; i++) {
        for (var j = 0u; j < COVER_W; j++) {
            let o = covering(at, i, j);
            if o.exists {
                let first = ((at.n * OH + o.row) * OW + o.column) * C + at.c;
                sum += load_x(first, at.left) * weight(o.row, o.column);
            }
        }
    }
    store_y(element(at, H, W), at.left, sum);
}

// The same for windows without holes, a cell a thread.
@compute @workgroup_size(SIZE)
fn avg_pool2d_backward_cells(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let thread = (group.x + group.y * groups.x) * SIZE + local;
    if thread >= p.threads {
        return;
    }
    let at = place(thread, CELLS_H, CELLS_W);
    var g: array<vec4<f32>, COVER>;
    for (var i = 0u; i < COVER_H; i++) {
        for (var j = 0u; j < COVER_W; j++) {
            g[i * COVER_W + j] = vec4(0.0);
            let row = at.row - i;
            let column = at.column - j;
            if row < OH && column < OW {
                let o = ((at.n * OH + row) * OW + column) * C + at.c;
                g[i * COVER_W + j] = load_x(o, at.left) * weight(row, column);
            }
        }
    }
    for (var a = 0u; a < SH; a++) {
        for (var b = 0u; b < SW; b++) {
            var sum = vec4(0.0);
            for (var i = 0u; i < COVER_H; i++) {
                for (var j = 0u; j < COVER_W; j++) {
                    let covered = a + i * SH < KH && b + j * SW < KW;
                    sum += select(vec4(0.0), g[i * COVER_W + j], vec4(covered));
                }
            }
            let h = at.row * SH + a - PT;
            let w = at.column * SW + b - PL;
            if h < H && w < W {
                store_y(((at.n * H + h) * W + w) * C + at.c, at.left, sum);
            }
        }
    }
}
