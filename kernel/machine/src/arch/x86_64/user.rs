//! What a program's thread has in the CPU besides its saved registers and its floating point: the
//! bases of FS, which is that of its thread-local storage, and of GS.
//!
//! | | in user mode | in the kernel | kept for a thread in |
//! | --- | --- | --- | --- |
//! | FS base | the thread's | the thread's | `user_tls` |
//! | GS base | the thread's | in `KERNEL_GS_BASE`; GS has the CPU's block | `Extras`, if it is not 0 |
//! | selectors | the thread's | the thread's | `FpuState` |

use super::cpu::{self, Selectors};
use super::regs::SavedRegs;
pub use crate::arch::any::bases::Based;
use crate::arch::pc::access;
use core::sync::atomic::{AtomicU64, Ordering};

const FS_BASE: u32 = 0xc000_0100;
const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// Keeps the thread-local storage base of a process's thread. The thread has it already, unless the
/// program has loaded a selector: that is the one way that programs have of changing it.
#[inline(always)]
pub fn save_tls(kept: &AtomicU64) {
    /// The highest null selector.
    const NULL: u16 = 3;
    if cpu::fs_selector() > NULL {
        // SAFETY: (1) the MSR exists.
        kept.store(unsafe { cpu::read_msr(FS_BASE) }, Ordering::Relaxed);
    }
}

/// Loads the thread-local storage base of a process's thread. At the switch to it.
pub fn load_tls(kept: &AtomicU64) {
    set_tls(kept.load(Ordering::Relaxed));
}

/// Sets the thread-local storage base of the running program; `base` must be a user address.
pub fn set_tls(base: u64) {
    debug_assert!(base >> 47 == 0, "no address of user mode");
    // SAFETY: (1) the MSR exists; (2) user addresses are canonical, so the write cannot fault:
    // `abi::thread_local`, `arch_prctl` and `PTRACE_SETREGS` let no other through.
    unsafe { cpu::write_msr(FS_BASE, base) };
}

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
        save_tls(kept);
        let mut selectors = [0; 4];
        // SAFETY: (1) the place is this function's.
        unsafe { cpu::save_selectors(&raw mut selectors) };
        Self { tls: kept.load(Ordering::Relaxed), gs: gs_base(), selectors }
    }

    /// Makes them those of the running thread; a selector that it could not load becomes null.
    /// Interrupts off.
    pub fn load(&self, kept: &AtomicU64) {
        let selectors = self.selectors.map(|s| if access::is_data(s) { s } else { 0 });
        // SAFETY: (1) each is null or names a segment that programs may load; (2) interrupts are
        // off, and the FS base is set below.
        unsafe { cpu::load_selectors(&raw const selectors) };
        kept.store(self.tls, Ordering::Relaxed);
        set_tls(self.tls);
        set_gs_base(self.gs);
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

/// The base of GS that the running program has: `swapgs` has put it there.
pub(in crate::arch) fn gs_base() -> u64 {
    // SAFETY: (1) the MSR exists.
    unsafe { cpu::read_msr(KERNEL_GS_BASE) }
}

/// Sets it; `base` must be a user address: what entries that fall between `swapgs` and the change
/// of mode take for the kernel's is negative.
pub(in crate::arch) fn set_gs_base(base: u64) {
    debug_assert!(base >> 47 == 0, "no address of user mode");
    // SAFETY: (1) the MSR exists; (2) user addresses are canonical, so the write cannot fault.
    unsafe { cpu::write_msr(KERNEL_GS_BASE, base) };
}

/// Where the way to user mode leads: CS, SS, and the instruction.
pub(in crate::arch) fn where_it_goes(regs: &SavedRegs) -> [u64; 3] {
    [regs.cs, regs.ss, regs.rip]
}

/// Nothing: data segments are not among the saved registers, and are looked at when they are
/// loaded.
pub(in crate::arch) fn mend_data_segments(_regs: &mut SavedRegs) {}

/// Puts an exception's error code where the CPU's would be.
pub(in crate::arch) fn set_error_code(regs: &mut SavedRegs, code: u32) {
    regs.orig_rax = code.into();
}
