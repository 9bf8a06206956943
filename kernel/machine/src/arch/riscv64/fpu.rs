//! Floating-point state of user programs: 32 registers of 64 bits and fcsr, saved and loaded whole
//! at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back
//! nothing touches the registers. Only threads of processes have an area. A program's own
//! `sstatus.FS` lies in its saved registers; in the kernel the field is only turned on for the
//! instructions here.

use super::regs::FLOAT_INITIAL;
use crate::memory::fallible::NoMemory;
use core::arch::asm;
use core::cell::UnsafeCell;

/// f0 to f31, then the control and status register.
pub type Snapshot = [u64; 33];

/// The saved state of one thread.
#[repr(C, align(16))]
pub struct FpuState(UnsafeCell<[u64; 33]>);

// SAFETY: (1) only the CPU that switches the owning thread in or out touches it, and a thread is on
// one CPU at a time.
unsafe impl Sync for FpuState {}

impl core::fmt::Debug for FpuState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FpuState")
    }
}

/// Assembly over all registers: `$instruction f<n>, 8n(at)`.
macro_rules! each_register {
    ($instruction:literal) => {
        concat!(
            ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n",
            $instruction,
            " f\\number, \\number * {word}({at})\n.endr"
        )
    };
}

impl FpuState {
    /// As a program starts: all zero, round to nearest, no exceptions.
    pub fn new() -> Result<Self, NoMemory> {
        Ok(Self(UnsafeCell::new([0; 33])))
    }

    /// A copy, for the child of a fork. The registers of the running thread are saved first.
    pub fn fork(&self) -> Result<Self, NoMemory> {
        self.save();
        // SAFETY: (1) the owner runs this, so no other thread writes.
        Ok(Self(UnsafeCell::new(unsafe { *self.0.get() })))
    }

    /// Stores the registers. By the owner, or at the switch away from it.
    pub fn save(&self) {
        // SAFETY: (1) 33 words, ours alone at this moment; (2) FS is turned on for these
        // instructions, which the kernel's compiler never emits, and stays on: nothing else in the
        // kernel looks at it.
        unsafe {
            asm!(
                ".option push",
                ".option arch, +f, +d",
                "csrs sstatus, {on}",
                each_register!("fsd"),
                "frcsr {control}",
                "sd {control}, 32 * {word}({at})",
                ".option pop",
                on = in(reg) FLOAT_INITIAL,
                control = out(reg) _,
                at = in(reg) self.0.get(),
                word = const size_of::<u64>(),
                options(nostack, preserves_flags),
            );
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
        // SAFETY: (1) 33 words made by `new` or `save`; (2) FS as above.
        unsafe {
            asm!(
                ".option push",
                ".option arch, +f, +d",
                "csrs sstatus, {on}",
                each_register!("fld"),
                "ld {control}, 32 * {word}({at})",
                "fscsr {control}",
                ".option pop",
                on = in(reg) FLOAT_INITIAL,
                control = out(reg) _,
                at = in(reg) self.0.get(),
                word = const size_of::<u64>(),
                options(nostack, preserves_flags),
            );
        }
    }
}
