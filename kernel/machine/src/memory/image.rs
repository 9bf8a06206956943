//! The kernel's image: where its parts are, what they may be used for, and the only way to change a
//! word of a part that is read-only.
//!
//! ```text
//!   IMAGE + 0x10_1000   text              read, execute     and its frames in the direct map: read
//!   IMAGE + 0x2a_0000   read-only data    read              the same
//!   IMAGE + 0x31_0000   data              read, write       read, write
//! ```

use super::{DIRECT_MAP, IMAGE};
use crate::arch::paging::{self, Access};
use crate::arch::{cpu, mappings, smp};
use crate::spin::SpinLock;
use core::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    static text_lowest: u8;
    static text_top: u8;
    static rodata_lowest: u8;
    static rodata_top: u8;
    static data_lowest: u8;
    static data_top: u8;
}

/// A part of it, of whole pages.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// Its lowest address.
    pub lowest: u64,
    /// One past its highest.
    pub top: u64,
    /// What it may be used for.
    pub access: Access,
}

impl Part {
    /// Whether a byte at this physical address is in it.
    pub fn has_frame(&self, physical: u64) -> bool {
        (self.lowest - IMAGE..self.top - IMAGE).contains(&physical)
    }
}

/// All parts, in ascending order.
pub fn parts() -> [Part; 3] {
    let part = |name, lowest: *const u8, top: *const u8, write, exec| Part {
        name,
        lowest: lowest as u64,
        top: top as u64,
        access: Access { write, exec },
    };
    [
        part("text", &raw const text_lowest, &raw const text_top, false, true),
        part("read-only data", &raw const rodata_lowest, &raw const rodata_top, false, false),
        part("data", &raw const data_lowest, &raw const data_top, true, false),
    ]
}

/// Stores a word where the image is read-only, through the direct map, whose page is writable for
/// as long as that takes; no other code of the kernel's can write there at any time. Every CPU has
/// forgotten the writable translation when this returns. May be called with interrupts off.
///
/// Costs a flush on every CPU.
///
/// # Safety
///
/// 1. The word is in the image's read-only data.
/// 2. What reads it reads an atomic, and lives with the new value.
///
/// # Panics
///
/// If there is no memory for a table, which cannot be: the direct map's are made at boot.
pub unsafe fn change_read_only(place: *mut usize, value: usize) {
    static ONE_AT_A_TIME: SpinLock<()> = SpinLock::new(());
    let address = DIRECT_MAP + (place as u64 - IMAGE);
    let leaf = paging::kernel_leaf_or_new(address).expect("a page of the direct map");
    let _alone = ONE_AT_A_TIME.lock();
    cpu::without_interrupts(|| {
        mappings::set_writable(leaf, true);
        cpu::flush_page(address);
        // SAFETY: (1) the same word as the caller's, in the direct map, writable since the line
        // above; (2) both by the caller's promise.
        unsafe { &*(address as *const AtomicUsize) }.store(value, Ordering::SeqCst);
        mappings::set_writable(leaf, false);
        cpu::flush_page(address);
        smp::flush_others();
    });
}
