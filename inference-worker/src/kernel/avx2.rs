//! Sixteen lanes in two registers of AVX2.
//!
//! Unsafe code: as in `avx512.rs`; an [`Avx2`] is made only by [`Avx2::detect`].
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::lanes::{Lanes, Line};

/// The proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    pub fn detect() -> Option<Avx2> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Avx2(()))
    }
}

type Floats = [__m256; 2];
type Whole = [__m256i; 2];

// SAFETY of every block below: `self` proves the instructions; pointers come from references to whole arrays.
impl Lanes for Avx2 {
    type Floats = Floats;
    type Ints = Whole;
    type Bytes = Whole;
    const CHAINS: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> Floats {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Floats {
        unsafe {
            [
                _mm256_loadu_ps(from.as_ptr()),
                _mm256_loadu_ps(from[8..].as_ptr()),
            ]
        }
    }
    #[inline(always)]
    fn store(self, value: Floats, to: &mut [f32; 16]) {
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), value[0]);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), value[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: Floats, b: Floats) -> Floats {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Floats, b: Floats) -> Floats {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Floats, b: Floats) -> Floats {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: Floats, b: Floats) -> Floats {
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma(self, a: Floats, b: Floats, c: Floats) -> Floats {
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
    #[inline(always)]
    fn max(self, a: Floats, b: Floats) -> Floats {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn min(self, a: Floats, b: Floats) -> Floats {
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn scale(self, value: Floats, shifted: Floats) -> Floats {
        unsafe {
            let one = |value, shifted| {
                let power = _mm256_slli_epi32::<23>(_mm256_add_epi32(
                    _mm256_castps_si256(shifted),
                    _mm256_set1_epi32(127),
                ));
                _mm256_mul_ps(value, _mm256_castsi256_ps(power))
            };
            [one(value[0], shifted[0]), one(value[1], shifted[1])]
        }
    }
    #[inline(always)]
    fn halves(self, from: &[u16; 16]) -> Floats {
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(from[8..].as_ptr().cast())),
            ]
        }
    }
    #[inline(always)]
    fn brains(self, from: &[u16; 16]) -> Floats {
        unsafe {
            let one = |from: *const u16| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            [one(from.as_ptr()), one(from[8..].as_ptr())]
        }
    }
    #[inline(always)]
    fn unsigned(self, from: &[u8; 16]) -> Floats {
        unsafe {
            let all = _mm_loadu_si128(from.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(all)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(all))),
            ]
        }
    }
    #[inline(always)]
    fn signed(self, from: &[i8; 16]) -> Floats {
        unsafe {
            let all = _mm_loadu_si128(from.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(all)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(all))),
            ]
        }
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> Whole {
        unsafe { [_mm256_set1_epi32(value); 2] }
    }
    #[inline(always)]
    fn to_floats(self, value: Whole) -> Floats {
        unsafe { [_mm256_cvtepi32_ps(value[0]), _mm256_cvtepi32_ps(value[1])] }
    }
    #[inline(always)]
    fn line(self, from: &Line) -> Whole {
        unsafe {
            [
                _mm256_load_si256(from.0.as_ptr().cast()),
                _mm256_load_si256(from.0[32..].as_ptr().cast()),
            ]
        }
    }
    #[inline(always)]
    fn low(self, bytes: Whole) -> Whole {
        unsafe {
            let mask = _mm256_set1_epi8(15);
            [_mm256_and_si256(bytes[0], mask), _mm256_and_si256(bytes[1], mask)]
        }
    }
    #[inline(always)]
    fn high(self, bytes: Whole) -> Whole {
        unsafe {
            let mask = _mm256_set1_epi8(15);
            [
                _mm256_and_si256(_mm256_srli_epi16::<4>(bytes[0]), mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(bytes[1]), mask),
            ]
        }
    }
    #[inline(always)]
    fn with_pair<const PAIR: usize>(self, bytes: Whole, pairs: Whole) -> Whole {
        unsafe {
            let one = |bytes, pairs| {
                let moved = match PAIR {
                    0 => _mm256_slli_epi16::<4>(pairs),
                    1 => _mm256_slli_epi16::<2>(pairs),
                    2 => pairs,
                    _ => _mm256_srli_epi16::<2>(pairs),
                };
                _mm256_or_si256(bytes, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)))
            };
            [one(bytes[0], pairs[0]), one(bytes[1], pairs[1])]
        }
    }
    /// By products of 16 bits: those of bytes would saturate.
    #[inline(always)]
    fn dot(self, sums: Whole, bytes: Whole, quad: i32) -> Whole {
        unsafe {
            let quad = _mm256_set1_epi32(quad);
            let odd = _mm256_srai_epi16::<8>(quad);
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(quad));
            let one = |sum, bytes| {
                let low = _mm256_and_si256(bytes, _mm256_set1_epi16(255));
                let high = _mm256_srli_epi16::<8>(bytes);
                let products = _mm256_add_epi32(_mm256_madd_epi16(low, even), _mm256_madd_epi16(high, odd));
                _mm256_add_epi32(sum, products)
            };
            [one(sums[0], bytes[0]), one(sums[1], bytes[1])]
        }
    }
}
