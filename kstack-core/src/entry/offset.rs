//! How far below the top of its stack a call of the kernel from user mode begins.
//!
//! ```text
//!   0xffff_c900_0000_7000  top           | SavedRegs, always here                  |
//!                                        | frames of the entry                     |
//!                                        | between 0 and MOST bytes, by chance     |
//!   0xffff_c900_0000_6b10  for example   | the handler's first frame               |
//!   0xffff_c900_0000_3000  lowest
//! ```
//!
//! What a program finds out about the place of a frame in one call says little about the next one.
//! The words are Linux's (`randomize_kstack_offset`): each CPU has a state, stirred at the end of a
//! call, so that what a program measures of a call is older than the number that the next one has.
//!
//! A state of zero, as before the first stir, is no offset at all.

use crate::addr::ByteSize;
use core::sync::atomic::{AtomicU32, Ordering};

/// What an offset is a multiple of: SP stays as aligned as any ABI wants it.
const UNIT: u32 = 16;
/// Bits of an offset: 64 places with words of eight bytes, 32 on stacks of half the size.
pub const BITS: u32 = if size_of::<usize>() == 8 { 6 } else { 5 };
/// The largest offset: 1,008 bytes, or 496. What a thread's stack has less room for.
pub const MOST: ByteSize = ByteSize::new((((1 << BITS) - 1) * UNIT) as usize);

/// A CPU's state. Only the CPU itself uses it, with interrupts off or in an entry's first steps; a
/// thread that moves meanwhile takes another CPU's number, which is as good.
#[derive(Debug, Default)]
pub struct Offset(AtomicU32);

impl Offset {
    /// No offset, until it is stirred.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Mixes `random` in. What was there stays in it, turned: a source that says little each time
    /// adds up.
    #[inline(always)]
    pub fn stir(&self, random: u32) {
        let state = self.0.load(Ordering::Relaxed);
        self.0.store(state.rotate_right(BITS - 1) ^ random, Ordering::Relaxed);
    }

    /// No offset, until it is stirred again.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The offset of the next call, in bytes: a multiple of 16, [`MOST`] at most. Cost: a load, a
    /// mask and a shift.
    #[inline(always)]
    pub fn bytes(&self) -> ByteSize {
        let state = self.0.load(Ordering::Relaxed);
        ByteSize::new(((state & ((1 << BITS) - 1)) * UNIT) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red if an offset is odd, larger than what is said, or there before the first stir.
    #[test]
    fn h2_an_offset_keeps_sp_aligned_and_is_bounded() {
        let offset = Offset::new();
        assert_eq!(offset.bytes(), ByteSize::ZERO);
        for round in 0..4096_u32 {
            offset.stir(round.wrapping_mul(0x9e37_79b9));
            let bytes = offset.bytes();
            assert!(bytes <= MOST && bytes.get().is_multiple_of(UNIT as usize), "{bytes:?}");
        }
        offset.stir(offset.0.load(Ordering::Relaxed).rotate_right(BITS - 1) ^ u32::MAX);
        assert_eq!(offset.bytes(), MOST);
        offset.clear();
        assert_eq!(offset.bytes(), ByteSize::ZERO);
    }

    /// Every place about as often as the others: χ² with 63 (31) degrees of freedom is below 130
    /// but once in a million times. Red if a bit of the state is never used, or the state forgets
    /// what it had: a source of which one bit changes then fills two places.
    #[test]
    fn h2_places_are_even_with_a_source_of_one_bit() {
        const ROUNDS: u32 = 10_000;
        let offset = Offset::new();
        let mut counts = [0_u32; 1 << BITS];
        let mut bit = 0x1234_5678_9abc_def1_u64;
        for _ in 0..ROUNDS {
            bit ^= bit << 13;
            bit ^= bit >> 7;
            bit ^= bit << 17;
            offset.stir((bit >> 33) as u32 & 1);
            counts[offset.bytes().get() / UNIT as usize] += 1;
        }
        let expected = f64::from(ROUNDS) / counts.len() as f64;
        let squares = counts.iter().map(|&count| (f64::from(count) - expected).powi(2));
        let chi = squares.sum::<f64>() / expected;
        assert!(chi < 130.0, "{chi}: {counts:?}");
    }
}
