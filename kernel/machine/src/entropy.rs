//! Where the kernel's secrets come from: what the machine has that a program cannot foresee.
//!
//! | source | where |
//! | --- | --- |
//! | the CPU's own generator | PCs (RDRAND), 64-bit Arm (RNDR), if it has one |
//! | the boot loader's seed | machines with a device tree (`/chosen/rng-seed`) |
//! | the time stamp of this moment | everywhere; alone it is little |

use crate::arch::cpu;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a boot loader gave.
static SEED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static SEED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Keeps bytes that the boot loader gave; the first 32 of them.
pub fn keep_seed(bytes: &[u8]) {
    for (place, word) in SEED.iter().zip(bytes.chunks_exact(8)) {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        place.store(word, Ordering::Relaxed);
        SEED_BYTES.fetch_add(8, Ordering::Relaxed);
    }
}

/// Whether there is a source besides the time.
pub fn is_good() -> bool {
    cpu::random().is_some() || SEED_BYTES.load(Ordering::Relaxed) >= 16
}

/// Tells `stir` all that there is, two words at a time.
pub fn collect(stir: impl Fn([u64; 2])) {
    stir([cpu::cycles(), 0]);
    for pair in SEED.chunks_exact(2) {
        stir([pair[0].load(Ordering::Relaxed), pair[1].load(Ordering::Relaxed)]);
    }
    for _ in 0..4 {
        if let (Some(first), Some(second)) = (cpu::random(), cpu::random()) {
            stir([first, second]);
        }
    }
}
