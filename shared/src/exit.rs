//! Exit codes of every program, documented in the README.

/// The image answered.
pub const ANSWERED: u8 = 0;
/// The image answered with an error.
pub const ERROR: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// No kernel (or no steward) could be reached.
pub const NO_KERNEL: u8 = 3;
/// The image is already in use by another process.
pub const IN_USE: u8 = 4;
/// The home or the image cannot be used: not writable, damaged, or made by a newer version.
pub const UNUSABLE: u8 = 5;
/// The configuration is wrong.
pub const CONFIGURATION: u8 = 6;
