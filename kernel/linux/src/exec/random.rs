//! Bytes for programs that want some they do not know.

use core::sync::atomic::{AtomicU64, Ordering};
use machine::mix::mix;

/// Sixteen bytes that are hard to foresee: time stamps, mixed.
pub fn random_bytes() -> [u8; 16] {
    // A plain count, multiplied afterwards: QEMU 7.2 mixes what was added last into the flags after
    // a 32-bit machine's exchange of 8 bytes, and takes an interrupt right behind it for one in
    // virtual 8086 mode, if bit 17 of that is set.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    static COUNT: AtomicU64 = AtomicU64::new(0x2545_f491_4f6c_dd1d);
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let x = mix(count.wrapping_mul(STEP) ^ machine::arch::cpu::cycles());
        half.copy_from_slice(&x.to_le_bytes());
    }
    bytes
}
