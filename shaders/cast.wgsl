// Element types converted as Rust's `as` does. FROM and TO: 0 f32, 1 i32, 2 u32, 3 u8, 4 bool; the last two are bytes,
// packed four to a word. A thread makes four elements, since it writes whole words.

struct Params {
    len: u32,      // elements
    x_offset: u32, // in elements
    pad: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;       // (len)
@group(0) @binding(1) var<storage, read_write> y: array<u32>; // (len)

fn load(i: u32) -> u32 {
    if FROM < 3u {
        return x[i];
    }
    return (x[i / 4u] >> (i % 4u * 8u)) & 0xffu;
}

// Infinity is out of every range, and NaN is told by its bits. The limits are powers of two, which f32 holds exactly.
fn from_float(bits: u32) -> u32 {
    let v = bitcast<f32>(bits);
    let magnitude = bits & 0x7fffffffu;
    let negative = bits != magnitude;
    if TO == 4u {
        return select(0u, 1u, magnitude != 0u);
    }
    if magnitude > 0x7f800000u || magnitude < 0x3f800000u {
        return 0u; // NaN, and what truncates to 0
    }
    if TO == 1u {
        let limit = select(0x7fffffffu, 0x80000000u, negative);
        // 0x4f000000 is 2^31.
        return select(bitcast<u32>(i32(v)), limit, magnitude >= 0x4f000000u);
    }
    if negative {
        return 0u;
    }
    if TO == 2u {
        return select(u32(v), 0xffffffffu, magnitude >= 0x4f800000u);
    }
    return select(u32(v), 255u, magnitude >= 0x437f0000u);
}

fn convert(v: u32) -> u32 {
    if FROM == 0u {
        return from_float(v);
    }
    if TO == 0u {
        if FROM == 1u {
            return bitcast<u32>(f32(bitcast<i32>(v)));
        }
        return bitcast<u32>(f32(v));
    }
    if TO == 4u {
        return select(0u, 1u, v != 0u);
    }
    return v;
}

@compute @workgroup_size(SIZE)
fn cast_forward(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = ((group.x + group.y * groups.x) * SIZE + local) * 4u;
    var packed = 0u;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k;
        if i < p.len {
            let v = convert(load(p.x_offset + i));
            if TO < 3u {
                y[i] = v;
            } else {
                packed |= (v & 0xffu) << (k * 8u);
            }
        }
    }
    if TO >= 3u && first < p.len {
        y[first / 4u] = packed;
    }
}
