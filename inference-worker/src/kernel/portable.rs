//! Sixteen lanes as plain arrays, for every processor; the others are compared with it.

use super::lanes::{Lanes, Line};

#[derive(Clone, Copy, Debug)]
pub struct Portable;

#[inline(always)]
fn each<T: Copy, U>(a: &[T; 16], work: impl Fn(T) -> U) -> [U; 16] {
    std::array::from_fn(|lane| work(a[lane]))
}

#[inline(always)]
fn both(a: [f32; 16], b: [f32; 16], work: impl Fn(f32, f32) -> f32) -> [f32; 16] {
    std::array::from_fn(|lane| work(a[lane], b[lane]))
}

impl Lanes for Portable {
    type Floats = [f32; 16];
    type Ints = [i32; 16];
    type Bytes = [u8; 64];
    const CHAINS: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 16] {
        [value; 16]
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> [f32; 16] {
        *from
    }
    #[inline(always)]
    fn store(self, value: [f32; 16], to: &mut [f32; 16]) {
        *to = value;
    }
    #[inline(always)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        both(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        both(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        both(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        both(a, b, |a, b| a / b)
    }
    /// Rounded twice: a fused one is a slow call where the processor has none.
    #[inline(always)]
    fn fma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        both(both(a, b, |a, b| a * b), c, |product, c| product + c)
    }
    #[inline(always)]
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        both(a, b, f32::max)
    }
    #[inline(always)]
    fn min(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        both(a, b, f32::min)
    }
    #[inline(always)]
    fn scale(self, value: [f32; 16], shifted: [f32; 16]) -> [f32; 16] {
        both(value, shifted, |value, shifted| {
            value * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
        })
    }
    #[inline(always)]
    fn halves(self, from: &[u16; 16]) -> [f32; 16] {
        each(from, |bits| {
            let bits = u32::from(bits);
            // The exponent is moved by a multiplication, which makes subnormal numbers right; infinity and NaN are put back.
            let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
            let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
            f32::from_bits(size.to_bits() | special | (bits & 0x8000) << 16)
        })
    }
    #[inline(always)]
    fn brains(self, from: &[u16; 16]) -> [f32; 16] {
        each(from, |bits| f32::from_bits(u32::from(bits) << 16))
    }
    #[inline(always)]
    fn unsigned(self, from: &[u8; 16]) -> [f32; 16] {
        each(from, f32::from)
    }
    #[inline(always)]
    fn signed(self, from: &[i8; 16]) -> [f32; 16] {
        each(from, f32::from)
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> [i32; 16] {
        [value; 16]
    }
    #[inline(always)]
    fn to_floats(self, value: [i32; 16]) -> [f32; 16] {
        each(&value, |value| value as f32)
    }
    #[inline(always)]
    fn line(self, from: &Line) -> [u8; 64] {
        from.0
    }
    #[inline(always)]
    fn low(self, bytes: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|at| bytes[at] & 15)
    }
    #[inline(always)]
    fn high(self, bytes: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|at| bytes[at] >> 4)
    }
    #[inline(always)]
    fn with_pair<const PAIR: usize>(self, bytes: [u8; 64], pairs: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|at| bytes[at] | (pairs[at] >> (2 * PAIR) & 3) << 4)
    }
    #[inline(always)]
    fn dot(self, sums: [i32; 16], bytes: [u8; 64], quad: i32) -> [i32; 16] {
        let quad = quad.to_le_bytes().map(|byte| i32::from(byte as i8));
        std::array::from_fn(|lane| {
            let byte = |at: usize| i32::from(bytes[4 * lane + at]);
            sums[lane] + byte(0) * quad[0] + byte(1) * quad[1] + byte(2) * quad[2] + byte(3) * quad[3]
        })
    }
}
