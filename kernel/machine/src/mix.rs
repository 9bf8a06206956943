//! Numbers that look random, from ones that do not.

/// Mixes a number, so that each bit of it changes about half of the result's: the finaliser of
/// SplitMix64.
pub const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
