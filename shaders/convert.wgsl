// convert: numbers of one type to another, handled as words of 32 bits, which takes nothing that a device may lack. Behind
// `half.wgsl`. One invocation writes one word, whose other half it keeps where an odd count of 16-bit floats ends.

const SOURCE_HALVES: bool = false;
const DESTINATION_HALVES: bool = true;
// The source is too near the destination for a binding of its own, and read through the other.
const SOURCE_IN_DESTINATION: bool = false;

struct Convert {
    elements: u32,
    // First words within the bindings.
    source_first: u32,
    destination_first: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> convert: Convert;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> destination: array<u32>;
const THREADS: u32 = 64u;

fn source_word(index: u32) -> u32 {
    if SOURCE_IN_DESTINATION {
        return destination[convert.source_first + index];
    }
    return source[convert.source_first + index];
}

fn source_half(index: u32) -> u32 { return (source_word(index >> 1u) >> ((index & 1u) * 16u)) & 0xffffu; }

// The bits of a 16-bit float as those of the same number in 32 bits. (Drivers may flush the smallest numbers in their own.)
fn float_bits(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    // The exponent is moved; that of infinity and NaN to the largest.
    let normal = (magnitude << 13u) + select(0x38000000u, 0x70000000u, magnitude >= 0x7c00u);
    // Below 2^-14 a number is a multiple of 2^-24, and its leading bit becomes the implicit one.
    let lead = firstLeadingBit(max(magnitude, 1u));
    let small = ((lead + 103u) << 23u) | ((magnitude << (23u - min(lead, 23u))) & 0x7fffffu);
    return sign | select(select(normal, small, magnitude < 0x0400u), 0u, magnitude == 0u);
}

fn float_of(index: u32) -> u32 {
    if SOURCE_HALVES {
        return float_bits(source_half(index));
    }
    return source_word(index);
}

fn half_of(index: u32) -> u32 {
    if SOURCE_HALVES {
        return source_half(index);
    }
    return rounded_half(source_word(index));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let word = (workgroup.y * convert.grid_width + workgroup.x) * THREADS + local;
    let at = convert.destination_first + word;
    if DESTINATION_HALVES {
        let index = word * 2u;
        if index < convert.elements {
            var high: u32;
            if index + 1u < convert.elements {
                high = half_of(index + 1u) << 16u;
            } else {
                high = destination[at] & 0xffff0000u;
            }
            destination[at] = high | half_of(index);
        }
    } else if word < convert.elements {
        destination[at] = float_of(word);
    }
}
