//! Numbers that a seed repeats, for exercises and tests: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift
//! generators, scrambled", 2016). Nothing that must not be guessed comes from here.

/// A generator; its state is never 0, from which it would not move.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from 0 to before `bound`, which is positive and has at most 31 bits.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next_u64() >> 33) % bound
    }
}
