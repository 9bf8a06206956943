//! Which CPUs there are, from the firmware's tables.
//!
//! They are read while the boot tables are active, and only the answer is kept: later the tables may be out of reach.

use crate::cpus::MAX_CPUS;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

static FOUND: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The local APIC numbers of the usable CPUs.
pub fn find_cpus(mut found: impl FnMut(u32)) {
    for id in &FOUND[..COUNT.load(Ordering::Relaxed)] {
        found(id.load(Ordering::Relaxed));
    }
}

/// Reads the MADT and remembers the CPUs. `rsdp`: the root pointer's physical address; 0: the boot loader gave none.
///
/// # Safety
///
/// 1. Physical addresses of firmware tables are mapped one to one.
pub unsafe fn read_cpus(rsdp: u64) {
    // ACPI 6.5, 5.2.5.3, 5.2.7 and 5.2.12. Firmware tables are taken as they are, lengths are checked.
    let word = |at: u64| -> u32 {
        // SAFETY: (1) by the caller's promise.
        unsafe { (at as *const u32).read_unaligned() }
    };
    let byte = |at: u64| -> u8 {
        // SAFETY: (1) as above.
        unsafe { (at as *const u8).read() }
    };
    if rsdp == 0 || word(rsdp) != u32::from_le_bytes(*b"RSD ") {
        return;
    }
    let rsdt = u64::from(word(rsdp + 16));
    for entry in (36..u64::from(word(rsdt + 4))).step_by(4) {
        let table = u64::from(word(rsdt + entry));
        if word(table) != u32::from_le_bytes(*b"APIC") {
            continue;
        }
        let top = table + u64::from(word(table + 4));
        let mut at = table + 44;
        while at + 2 <= top {
            let length = u64::from(byte(at + 1));
            // Type 0: a local APIC; flags bit 0: enabled.
            if byte(at) == 0 && length >= 8 && word(at + 4) & 1 != 0 {
                remember(u32::from(byte(at + 3)));
            }
            if length < 2 {
                break;
            }
            at += length;
        }
    }
}

/// One more; what there is no room for stays unused.
fn remember(id: u32) {
    let count = COUNT.load(Ordering::Relaxed);
    if let Some(slot) = FOUND.get(count) {
        slot.store(id, Ordering::Relaxed);
        COUNT.store(count + 1, Ordering::Relaxed);
    }
}
