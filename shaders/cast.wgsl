// Element types converted as Rust's `as` does. FROM and TO: 0 f32, 1 i32, 2 u32, 3 u8, 4 bool, 5 f16; bytes and conditions
// are packed four to a word, f16 two. A thread makes four elements, since it writes whole words.
//
// f16 is converted by bits and not by pack2x16float, whose rounding and small numbers are up to the driver.

struct Params {
    len: u32,      // elements
    x_offset: u32, // in elements
    pad: u32,
    pad2: u32,
}

const SIZE: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<u32>;       // (len)
@group(0) @binding(1) var<storage, read_write> y: array<u32>; // (len)

// The f32 of a half, bits to bits.
fn from_half(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 0x1fu;
    let mantissa = half & 0x3ffu;
    if exponent == 0u {
        return sign | bitcast<u32>(f32(mantissa) * 0x1p-24f);
    }
    return sign | select((exponent + 112u) << 23u, 0x7f800000u, exponent == 31u) | (mantissa << 13u);
}

// Drops n bits, rounding to nearest, ties to even.
fn round(v: u32, n: u32) -> u32 {
    return (v + (1u << (n - 1u)) - 1u + ((v >> n) & 1u)) >> n;
}

// The half nearest to an f32, bits to bits.
fn to_half(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u | ((magnitude >> 13u) & 0x3ffu); // NaN
    }
    if magnitude >= 0x47800000u {
        return sign | 0x7c00u; // from 2^16 on; what rounds up to it becomes infinity by the carry into the exponent
    }
    if magnitude >= 0x38800000u {
        return sign | round(magnitude - (112u << 23u), 13u);
    }
    if magnitude >= 0x33000000u {
        // From 2^-25 on: a multiple of 2^-24.
        return sign | round((magnitude & 0x7fffffu) | 0x800000u, 126u - (magnitude >> 23u));
    }
    return sign;
}

// An element as a word; a half as the f32 that it is.
fn load(i: u32) -> u32 {
    if FROM < 3u {
        return x[i];
    }
    if FROM == 5u {
        return from_half((x[i / 2u] >> (i % 2u * 16u)) & 0xffffu);
    }
    return (x[i / 4u] >> (i % 4u * 8u)) & 0xffu;
}

// Infinity is out of every range, and NaN is told by its bits. The limits are powers of two, which f32 holds exactly.
fn from_float(bits: u32) -> u32 {
    if TO == 0u {
        return bits;
    }
    if TO == 5u {
        return to_half(bits);
    }
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
    if FROM == 0u || FROM == 5u {
        return from_float(v);
    }
    if TO == 0u || TO == 5u {
        // f32 has every integer that a half has, and the larger ones are infinity.
        return from_float(bitcast<u32>(select(f32(v), f32(bitcast<i32>(v)), FROM == 1u)));
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
    var halves = vec2(0u);
    for (var k = 0u; k < 4u; k++) {
        let i = first + k;
        if i < p.len {
            let v = convert(load(p.x_offset + i));
            if TO < 3u {
                y[i] = v;
            } else if TO == 5u {
                halves[k / 2u] |= v << (k % 2u * 16u);
            } else {
                packed |= (v & 0xffu) << (k * 8u);
            }
        }
    }
    if TO == 5u {
        for (var k = 0u; k < 2u; k++) {
            if first + 2u * k < p.len {
                y[first / 2u + k] = halves[k];
            }
        }
    } else if TO >= 3u && first < p.len {
        y[first / 4u] = packed;
    }
}
