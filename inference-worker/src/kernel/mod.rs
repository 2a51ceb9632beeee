//! The arithmetic of the forward pass, written once over sixteen lanes and compiled for each kind of processor.
//!
//! Parts in reading order: `lanes` (what sixteen lanes can do), `portable`, `avx2` and `avx512` (how a processor does it), `tile`
//! (weights of sixteen rows, and their product with activations), `low_rank` (what an adapter adds to it), `panel` (the same product for
//! plain weights and many rows), `vector` (norms, attention, the gate).
//!
//! The order of operations for one row of activations does not depend on how many rows are worked on at once, so a sequence gets the
//! same logits to the bit whoever is decoded beside it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
pub mod low_rank;
pub mod panel;
mod portable;
pub mod tile;
pub mod vector;

/// What this processor can do; a value is the proof that it can.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    Portable(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

impl Level {
    /// The fastest level that this processor has.
    pub fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(proof) = avx512::Avx512::detect() {
                return Level::Avx512(proof);
            }
            if let Some(proof) = avx2::Avx2::detect() {
                return Level::Avx2(proof);
            }
        }
        Level::Portable(portable::Portable)
    }

    /// Every level that this processor has.
    #[cfg(test)]
    pub fn every() -> Vec<Level> {
        let mut levels = vec![Level::Portable(portable::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(avx2::Avx2::detect().map(Level::Avx2));
            levels.extend(avx512::Avx512::detect().map(Level::Avx512));
        }
        levels
    }

    pub fn name(self) -> &'static str {
        match self {
            Level::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512-vnni",
        }
    }
}

/// `pub fn NAME(level, …)` that runs `BODY(lanes, …)`, compiled with the instructions of the level. `BODY` and all that it calls
/// must be `inline(always)`: only what is inlined gets the instructions.
macro_rules! for_each_level {
    ($(#[$meta:meta])* pub fn $name:ident($($argument:ident: $kind:ty),* $(,)?) = $body:path) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        pub fn $name(level: crate::kernel::Level, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            fn on_avx2(lanes: crate::kernel::avx2::Avx2, $($argument: $kind),*) {
                $body(lanes, $($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
            #[allow(clippy::too_many_arguments)]
            fn on_avx512(lanes: crate::kernel::avx512::Avx512, $($argument: $kind),*) {
                $body(lanes, $($argument),*)
            }
            match level {
                crate::kernel::Level::Portable(lanes) => $body(lanes, $($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the value is made only by `detect`, which saw every instruction set that is enabled above.
                #[allow(unsafe_code)]
                crate::kernel::Level::Avx2(lanes) => unsafe { on_avx2(lanes, $($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                #[allow(unsafe_code)]
                crate::kernel::Level::Avx512(lanes) => unsafe { on_avx512(lanes, $($argument),*) },
            }
        }
    };
}
use for_each_level;

/// `CALL` with the constant `M` that `COUNT` is, compiled for each of these by itself; anything else is the last of them. No function:
/// a closure cannot be told to be inlined.
macro_rules! with_constant {
    ($count:expr, [$($known:literal)*; $last:literal], $m:ident => $call:expr) => {
        match $count {
            $($known => {
                const $m: usize = $known;
                $call
            })*
            _ => {
                const $m: usize = $last;
                $call
            }
        }
    };
}
use with_constant;
