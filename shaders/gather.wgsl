// Rows of x by index: y[k] = x[index[k]], the gradient of that, whole batches of images, and one-hot rows.
//
// Rows are moved as words; bytes are packed four to a word. An index past the last row gives a row of `fill`. WORDS, the
// words in an image, is a constant in gather_images and 1 elsewhere: it is the kernel of every training step, and division
// by a constant is cheap.

struct Params {
    len: u32,          // elements to make (words in gather_words)
    row: u32,          // elements in a row (words in gather_words)
    rows: u32,         // rows of x
    picks: u32,        // length of index
    x_offset: u32,     // first element of x, in elements (words in gather_words)
    index_offset: u32, // first element of index
    fill: u32,         // bits of an element of a row that isn't there; in gather_rows_backward 1 to add to dx
    scale: f32,        // multiplies images
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;                // (rows, row)
@group(0) @binding(1) var<storage, read> index: array<u32>;            // (picks)
@group(0) @binding(2) var<storage, read_write> y: array<u32>;          // (picks, row)
@group(0) @binding(2) var<storage, read_write> pixels: array<f32>;     // (picks, row)
@group(0) @binding(2) var<storage, read_write> quads: array<vec4<f32>>; // (picks, row / 4)
@group(0) @binding(2) var<storage, read> labels: array<u32>;            // (rows), from element `row` on
@group(0) @binding(3) var<storage, read_write> batch: array<vec4<f32>>; // (picks, row / 4)
@group(0) @binding(4) var<storage, read_write> batch_labels: array<u32>; // (picks)
@group(0) @binding(0) var<storage, read> dy: array<f32>;               // (picks, row)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;         // (rows, row)
@group(0) @binding(1) var<storage, read_write> hot: array<f32>;        // (picks, classes)

fn byte_of_x(at: u32) -> u32 {
    return (x[at / 4u] >> (at % 4u * 8u)) & 0xffu;
}

@compute @workgroup_size(SIZE)
fn gather_words(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    let pick = index[p.index_offset + i / p.row];
    var v = p.fill;
    if pick < p.rows {
        v = x[p.x_offset + pick * p.row + i % p.row];
    }
    y[i] = v;
}

// Rows of bytes that don't begin at words. A thread makes a word.
@compute @workgroup_size(SIZE)
fn gather_bytes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let word = (group.x + group.y * groups.x) * SIZE + local;
    if word * 4u >= p.len {
        return;
    }
    var packed = 0u;
    for (var k = 0u; k < 4u; k++) {
        let i = word * 4u + k;
        if i < p.len {
            let pick = index[p.index_offset + i / p.row];
            if pick < p.rows {
                packed |= byte_of_x(p.x_offset + pick * p.row + i % p.row) << (k * 8u);
            }
        }
    }
    y[word] = packed;
}

// Four pixels of image `pick`, from its word `word` on.
fn four_pixels(pick: u32, word: u32) -> vec4<f32> {
    if pick >= p.rows {
        return vec4(bitcast<f32>(p.fill));
    }
    let bytes = x[p.x_offset / 4u + pick * WORDS + word];
    return vec4<f32>(vec4(bytes, bytes >> 8u, bytes >> 16u, bytes >> 24u) & vec4(0xffu)) * p.scale;
}

// y = scale * x, of images whose pixels lie in whole words. A thread makes four pixels.
@compute @workgroup_size(SIZE)
fn gather_images(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.picks * WORDS {
        return;
    }
    quads[i] = four_pixels(index[p.index_offset + i / WORDS], i % WORDS);
}

// The same, and with each image its label: one launch in place of two in every training step.
@compute @workgroup_size(SIZE)
fn gather_batch(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.picks * WORDS {
        return;
    }
    let pick = index[p.index_offset + i / WORDS];
    batch[i] = four_pixels(pick, i % WORDS);
    if i % WORDS == 0u {
        var label = 0u;
        if pick < p.rows {
            label = labels[p.row + pick];
        }
        batch_labels[i / WORDS] = label;
    }
}

// The same for images of any size. A thread makes one pixel.
@compute @workgroup_size(SIZE)
fn gather_images_bytes(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    let pick = index[p.index_offset + i / p.row];
    var v = bitcast<f32>(p.fill);
    if pick < p.rows {
        v = f32(byte_of_x(p.x_offset + pick * p.row + i % p.row)) * p.scale;
    }
    pixels[i] = v;
}

// dx of a row = the sum of dy over the picks of that row, in their order. A thread makes one element, and goes through the
// whole index: nothing is added atomically. Of a long index a launch takes one part, and adds to what the last one left.
@compute @workgroup_size(SIZE)
fn gather_rows_backward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i >= p.len {
        return;
    }
    let r = i / p.row;
    var sum = 0.0;
    if p.fill == 1u {
        sum = dx[i];
    }
    for (var k = 0u; k < p.picks; k++) {
        if index[p.index_offset + k] == r {
            sum += dy[p.x_offset + k * p.row + i % p.row];
        }
    }
    dx[i] = sum;
}

// hot[k, c] = 1 where x[k] is c, else 0. Here `row` is the number of classes.
@compute @workgroup_size(SIZE)
fn one_hot(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * SIZE + local;
    if i < p.len {
        hot[i] = select(0.0, 1.0, x[p.x_offset + i / p.row] == i % p.row);
    }
}
