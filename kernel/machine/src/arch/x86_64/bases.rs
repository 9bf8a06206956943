//! The bases of FS and GS that a program's thread has, and its selectors of data segments.
//!
//! | | in user mode | in the kernel | kept for a thread in |
//! | --- | --- | --- | --- |
//! | FS base | the thread's | the thread's | `user_tls` |
//! | GS base | the thread's | in `KERNEL_GS_BASE`; GS has the CPU's block | `Extras`, if it is not 0 |
//! | selectors | the thread's | the thread's | `FpuState` |

use super::cpu::{self, Selectors};
use super::user;
pub use crate::arch::any::based::Based;
use crate::arch::pc::access;
use core::sync::atomic::{AtomicU64, Ordering};

/// What the running thread of a program has of them. Bases are user addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bases {
    /// The base of its thread-local storage, which is that of FS.
    pub tls: u64,
    /// The base of GS.
    pub gs: u64,
    /// DS, ES, FS and GS. In 64-bit mode a base does not depend on them, but where a selector is
    /// loaded.
    pub selectors: Selectors,
}

impl Bases {
    /// Those of the running thread. Interrupts off.
    pub fn read(kept: &AtomicU64) -> Self {
        user::save_tls(kept);
        let mut selectors = [0; 4];
        // SAFETY: (1) the place is this function's.
        unsafe { cpu::save_selectors(&raw mut selectors) };
        Self { tls: kept.load(Ordering::Relaxed), gs: cpu::user_gs_base(), selectors }
    }

    /// Makes them those of the running thread; a selector that it could not load becomes null.
    /// Interrupts off.
    pub fn load(&self, kept: &AtomicU64) {
        let selectors = self.selectors.map(|s| if access::is_data(s) { s } else { 0 });
        // SAFETY: (1) each is null or names a segment that programs may load; (2) interrupts are
        // off, and the FS base is set below.
        unsafe { cpu::load_selectors(&raw const selectors) };
        kept.store(self.tls, Ordering::Relaxed);
        user::set_tls(self.tls);
        cpu::set_user_gs_base(self.gs);
    }

    /// The base of such a segment.
    pub const fn get(&self, which: Based) -> Option<u64> {
        match which {
            Based::Fs => Some(self.tls),
            Based::Gs => Some(self.gs),
        }
    }

    /// Sets it, and makes its selector null. Says whether there is one.
    pub const fn set(&mut self, which: Based, base: u64) -> bool {
        let [_ds, _es, fs, gs] = &mut self.selectors;
        match which {
            Based::Fs => (self.tls, *fs) = (base, 0),
            Based::Gs => (self.gs, *gs) = (base, 0),
        }
        true
    }

    /// Whether a switch of threads has more to move than the thread-local storage and the
    /// selectors.
    pub const fn are_extras(&self) -> bool {
        self.gs != 0
    }
}
