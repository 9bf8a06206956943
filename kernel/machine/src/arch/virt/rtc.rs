//! The clock of the board that runs while the machine is off: Arm's PL031 (Arm DDI 0224, 3.3), or
//! QEMU's "goldfish".

use super::device_tree::Tree;
use crate::memory::direct;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Its registers; 0: there is none.
static PLACE: AtomicU64 = AtomicU64::new(0);
/// Whether it counts nanoseconds in two words (goldfish). Otherwise seconds in one.
static IS_GOLDFISH: AtomicBool = AtomicBool::new(false);

/// Devices below this are in the direct map of every board here.
const MAPPED: u64 = 1 << 30;

/// Keeps what a tree says.
pub(in crate::arch) fn remember(tree: &Tree<'_>) {
    let kinds: [(bool, &[&str]); 2] = [(false, &["arm,pl031"]), (true, &["google,goldfish-rtc"])];
    let found = kinds
        .into_iter()
        .find_map(|(is_goldfish, names)| Some((is_goldfish, tree.registers::<1>(names)?)));
    if let Some((is_goldfish, [place])) = found
        && place < MAPPED
    {
        IS_GOLDFISH.store(is_goldfish, Ordering::Relaxed);
        PLACE.store(place, Ordering::Relaxed);
    }
}

/// Seconds since 1970.
pub fn seconds() -> Option<u64> {
    /// Of the goldfish: a read of the lower word keeps the upper one for the next read.
    const HIGH: u64 = 4;
    let place = PLACE.load(Ordering::Relaxed);
    if place == 0 {
        return None;
    }
    // SAFETY: (1) the device tree names such a clock there; (2) devices are in the direct map;
    // reading has no effect but to keep the upper word.
    let read = |register: u64| unsafe { direct::<u32>(place + register).read_volatile() };
    let low = u64::from(read(0));
    if !IS_GOLDFISH.load(Ordering::Relaxed) {
        return Some(low);
    }
    Some((u64::from(read(HIGH)) << 32 | low) / 1_000_000_000)
}
