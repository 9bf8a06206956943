//! Floating-point state of user programs: d0 to d31 and the status register, saved and loaded whole
//! at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back
//! nothing touches the registers. Only threads of processes have an area.

use crate::memory::fallible::NoMemory;
use core::arch::asm;
use core::cell::UnsafeCell;

/// d0 to d31 in two words each, FPSCR, and a word that is not used.
pub type Snapshot = [u32; 66];

/// The saved state of one thread.
#[repr(C, align(8))]
pub struct FpuState(UnsafeCell<[u32; 66]>);

// SAFETY: (1) only the CPU that switches the owning thread in or out touches it, and a thread is on
// one CPU at a time.
unsafe impl Sync for FpuState {}

impl core::fmt::Debug for FpuState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FpuState")
    }
}

impl FpuState {
    /// As a program starts: everything zero, which is round to nearest and no exception enabled.
    pub fn new() -> Result<Self, NoMemory> {
        Ok(Self(UnsafeCell::new([0; 66])))
    }

    /// A copy, for the child of a fork. The registers of the running thread are saved first.
    pub fn fork(&self) -> Result<Self, NoMemory> {
        self.save();
        // SAFETY: (1) the owner runs this, so no other thread writes.
        Ok(Self(UnsafeCell::new(unsafe { *self.0.get() })))
    }

    /// Stores the registers. By the owner, or at the switch away from it.
    pub fn save(&self) {
        // SAFETY: (1) 264 bytes, 8-aligned, ours alone at this moment; (2) the unit is on since
        // boot.
        unsafe {
            asm!(".fpu neon", "vstmia {at}!, {{d0-d15}}", "vstmia {at}!, {{d16-d31}}",
                 "vmrs {status}, fpscr", "str {status}, [{at}]", at = inout(reg) self.0.get() => _,
                 status = out(reg) _, options(nostack, preserves_flags));
        }
    }

    /// The registers as bytes, for a signal's frame. By the owner.
    pub fn snapshot(&self) -> Snapshot {
        self.save();
        // SAFETY: (1) the owner runs this, so nothing else writes.
        unsafe { *self.0.get() }
    }

    /// Makes these the registers: of a signal's frame, which a program may have written. By the
    /// owner. Of the status only what the register has counts.
    pub fn adopt(&self, snapshot: &Snapshot) {
        crate::arch::cpu::without_interrupts(|| {
            // SAFETY: (1) the owner runs this, and interrupts are off, so no switch comes in
            // between.
            unsafe { *self.0.get() = *snapshot };
            self.load();
        });
    }

    /// Loads the registers. At the switch to the owner.
    pub fn load(&self) {
        // SAFETY: (1) 264 bytes, 8-aligned, made by `new` or `save`.
        unsafe {
            asm!(".fpu neon", "vldmia {at}!, {{d0-d15}}", "vldmia {at}!, {{d16-d31}}",
                 "ldr {status}, [{at}]", "vmsr fpscr, {status}", at = inout(reg) self.0.get() => _,
                 status = out(reg) _, options(nostack, preserves_flags));
        }
    }
}
