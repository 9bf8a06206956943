//! Floating-point state of user programs: 512 bytes, saved and loaded whole at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back nothing touches the
//! registers. Only threads of processes have an area. Programs see no AVX (CR4.OSXSAVE stays clear), so `fxsave` is all.

use crate::arch::cpu;
use core::cell::UnsafeCell;

/// What `fxsave` writes.
pub(in crate::arch) const FPU_BYTES: usize = 512;

/// The saved state of one thread.
#[repr(C, align(16))]
pub struct FpuState(UnsafeCell<[u8; FPU_BYTES]>);

// SAFETY: (1) only the CPU that switches the owning thread in or out touches it, and a thread is on one CPU at a time.
unsafe impl Sync for FpuState {}

impl core::fmt::Debug for FpuState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FpuState")
    }
}

impl FpuState {
    /// As a program starts: all exceptions masked, registers empty.
    pub fn new() -> Self {
        let mut bytes = [0; FPU_BYTES];
        bytes[..2].copy_from_slice(&0x037f_u16.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        Self(UnsafeCell::new(bytes))
    }

    /// A copy, for the child of a fork. The registers of the running thread are saved first.
    pub fn fork(&self) -> Self {
        self.save();
        // SAFETY: (1) the owner runs this, so nobody else writes.
        Self(UnsafeCell::new(unsafe { *self.0.get() }))
    }

    /// Stores the registers. By the owner, or at the switch away from it.
    pub fn save(&self) {
        // SAFETY: (1) 512 bytes, 16-aligned, ours alone at this moment.
        unsafe { cpu::save_fpu(self.0.get()) };
    }

    /// Loads the registers. At the switch to the owner.
    pub fn load(&self) {
        // SAFETY: (1) 512 bytes, 16-aligned, made by `new` or `save`, so that no reserved bit is set; (2) the owner's
        // registers are not in use before this, and the kernel has none.
        unsafe { cpu::load_fpu(self.0.get()) };
    }
}
