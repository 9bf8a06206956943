//! The canaries of threads: words that nothing else has, and that a frame which is written over
//! does not keep.

use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::canary::Canaries;
use kstack::protector;
use machine::arch::cpu;
use machine::mix::mix;

/// 2^64 over the golden ratio.
const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;
static CANARY_SEED: AtomicUsize = AtomicUsize::new(WEYL as usize);

/// Where canaries that something checks come from.
static CANARIES: Canaries = Canaries::new();

/// Makes the secret that canaries are drawn from, of what the machine has. Once, before the first
/// is drawn.
pub fn seed_canaries() {
    machine::entropy::collect(|secret| CANARIES.stir(secret));
}

/// A canary unlike the others; its lowest byte is zero, so that a string function cannot write it.
pub fn new_canary() -> usize {
    if protector::IS_ON {
        return CANARIES.draw();
    }
    // Weyl sequence, then a finaliser; the time stamp makes boots differ.
    let seed = CANARY_SEED.fetch_add(WEYL as usize, Ordering::Relaxed);
    mix(seed as u64 ^ cpu::cycles()) as usize & !0xff
}
