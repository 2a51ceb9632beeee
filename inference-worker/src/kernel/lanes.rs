//! Sixteen lanes, whatever a processor makes them of.

/// 64 bytes of packed weights.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

impl Line {
    pub const ZERO: Line = Line([0; 64]);
}

/// What the kernels are written in. A value proves that the processor has the instructions; every method is inlined into a function
/// that is compiled with them.
pub trait Lanes: Copy {
    /// 16 × f32.
    type Floats: Copy;
    /// 16 × i32.
    type Ints: Copy;
    /// 64 bytes: 16 quads of 4.
    type Bytes: Copy;
    /// Sums that fit into the registers beside a line of weights and a number, at most 14.
    const CHAINS: usize;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, from: &[f32; 16]) -> Self::Floats;
    fn store(self, value: Self::Floats, to: &mut [f32; 16]);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a · b + c
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `value` · 2^n, where `shifted` is n + 1.5 · 2^23 and −126 ≤ n ≤ 127.
    fn scale(self, value: Self::Floats, shifted: Self::Floats) -> Self::Floats;

    /// From IEEE half precision.
    fn halves(self, from: &[u16; 16]) -> Self::Floats;
    /// From bfloat16.
    fn brains(self, from: &[u16; 16]) -> Self::Floats;
    /// From unsigned bytes.
    fn unsigned(self, from: &[u8; 16]) -> Self::Floats;
    /// From signed bytes.
    fn signed(self, from: &[i8; 16]) -> Self::Floats;

    fn splat_int(self, value: i32) -> Self::Ints;
    fn to_floats(self, value: Self::Ints) -> Self::Floats;

    fn line(self, from: &Line) -> Self::Bytes;
    /// The low four bits of each byte.
    fn low(self, bytes: Self::Bytes) -> Self::Bytes;
    /// The high four bits of each byte, as 0 to 15.
    fn high(self, bytes: Self::Bytes) -> Self::Bytes;
    /// Bits 2·`PAIR` and 2·`PAIR` + 1 of each byte of `pairs`, put over the four bits of `bytes` as bits 4 and 5.
    fn with_pair<const PAIR: usize>(self, bytes: Self::Bytes, pairs: Self::Bytes) -> Self::Bytes;
    /// To each lane the sum of the four products of its unsigned bytes with the signed bytes of `quad`.
    fn dot(self, sums: Self::Ints, bytes: Self::Bytes, quad: i32) -> Self::Ints;

    /// The sum over the lanes, in one order for every processor: halves are added until one is left.
    #[inline(always)]
    fn sum(self, value: Self::Floats) -> f32 {
        let mut lanes = [0.0_f32; 16];
        self.store(value, &mut lanes);
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        lanes[0]
    }

    /// e^x to about 2 units in the last place; as for −87.3 below that, as for 88 above.
    #[inline(always)]
    fn exp(self, x: Self::Floats) -> Self::Floats {
        const SHIFT: f32 = 12_582_912.0;
        let x = self.max(self.min(x, self.splat(88.0)), self.splat(-87.3));
        let shifted = self.fma(x, self.splat(std::f32::consts::LOG2_E), self.splat(SHIFT));
        let n = self.sub(shifted, self.splat(SHIFT));
        // ln 2 in two parts, so that the difference is exact.
        let r = self.fma(n, self.splat(-0.693_145_75), x);
        let r = self.fma(n, self.splat(-1.428_606_8e-6), r);
        // The Taylor series of e^r for |r| ≤ ln 2 / 2.
        let mut y = self.splat(1.0 / 5040.0);
        for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            y = self.fma(y, r, self.splat(term));
        }
        self.scale(y, shifted)
    }
}
