//! Floating-point state of user programs: q0 to q31 and two control words, saved and loaded whole
//! at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back
//! nothing touches the registers. Only threads of processes have an area. SVE and what follows it
//! stays off: programs are not told of it.

use crate::memory::fallible::NoMemory;
use core::arch::asm;
use core::cell::UnsafeCell;

/// Bytes of a register.
const WIDTH: usize = 16;
/// Bytes of the 32 registers.
const REGISTERS: usize = 32 * WIDTH;

/// q0 to q31, then FPSR and FPCR, 8 bytes each.
pub type Snapshot = [u8; REGISTERS + WIDTH];

/// The saved state of one thread: the registers, then FPSR and FPCR.
#[repr(C, align(16))]
pub struct FpuState(UnsafeCell<[u8; REGISTERS + WIDTH]>);

// SAFETY: (1) only the CPU that switches the owning thread in or out touches it, and a thread is on
// one CPU at a time.
unsafe impl Sync for FpuState {}

impl core::fmt::Debug for FpuState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FpuState")
    }
}

impl FpuState {
    /// As a program starts: everything zero.
    pub fn new() -> Result<Self, NoMemory> {
        Ok(Self(UnsafeCell::new([0; REGISTERS + WIDTH])))
    }

    /// A copy, for the child of a fork. The registers of the running thread are saved first.
    pub fn fork(&self) -> Result<Self, NoMemory> {
        self.save();
        // SAFETY: (1) the owner runs this, so no other thread writes.
        Ok(Self(UnsafeCell::new(unsafe { *self.0.get() })))
    }

    /// Stores the registers. By the owner, or at the switch away from it.
    pub fn save(&self) {
        // SAFETY: (1) the area is 16-aligned, large enough, ours alone at this moment; (2) floating
        // point is on since boot.
        unsafe {
            asm!(
                ".arch_extension fp",
                ".arch_extension simd",
                "stp q0, q1, [{area}, #0 * {width}]",
                "stp q2, q3, [{area}, #2 * {width}]",
                "stp q4, q5, [{area}, #4 * {width}]",
                "stp q6, q7, [{area}, #6 * {width}]",
                "stp q8, q9, [{area}, #8 * {width}]",
                "stp q10, q11, [{area}, #10 * {width}]",
                "stp q12, q13, [{area}, #12 * {width}]",
                "stp q14, q15, [{area}, #14 * {width}]",
                "stp q16, q17, [{area}, #16 * {width}]",
                "stp q18, q19, [{area}, #18 * {width}]",
                "stp q20, q21, [{area}, #20 * {width}]",
                "stp q22, q23, [{area}, #22 * {width}]",
                "stp q24, q25, [{area}, #24 * {width}]",
                "stp q26, q27, [{area}, #26 * {width}]",
                "stp q28, q29, [{area}, #28 * {width}]",
                "stp q30, q31, [{area}, #30 * {width}]",
                "mrs {status}, fpsr",
                "mrs {control}, fpcr",
                "str {status}, [{area}, #{words}]",
                "str {control}, [{area}, #{words} + {word}]",
                area = in(reg) self.0.get(),
                status = out(reg) _,
                control = out(reg) _,
                width = const WIDTH,
                words = const REGISTERS,
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
    /// owner. FPSR and FPCR keep the bits that the architecture has: the others read as zero.
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
        // SAFETY: (1) as for `save`; (2) made by `new` or `save`, so that no reserved bit is set.
        unsafe {
            asm!(
                ".arch_extension fp",
                ".arch_extension simd",
                "ldp q0, q1, [{area}, #0 * {width}]",
                "ldp q2, q3, [{area}, #2 * {width}]",
                "ldp q4, q5, [{area}, #4 * {width}]",
                "ldp q6, q7, [{area}, #6 * {width}]",
                "ldp q8, q9, [{area}, #8 * {width}]",
                "ldp q10, q11, [{area}, #10 * {width}]",
                "ldp q12, q13, [{area}, #12 * {width}]",
                "ldp q14, q15, [{area}, #14 * {width}]",
                "ldp q16, q17, [{area}, #16 * {width}]",
                "ldp q18, q19, [{area}, #18 * {width}]",
                "ldp q20, q21, [{area}, #20 * {width}]",
                "ldp q22, q23, [{area}, #22 * {width}]",
                "ldp q24, q25, [{area}, #24 * {width}]",
                "ldp q26, q27, [{area}, #26 * {width}]",
                "ldp q28, q29, [{area}, #28 * {width}]",
                "ldp q30, q31, [{area}, #30 * {width}]",
                "ldr {status}, [{area}, #{words}]",
                "ldr {control}, [{area}, #{words} + {word}]",
                "msr fpsr, {status}",
                "msr fpcr, {control}",
                area = in(reg) self.0.get(),
                status = out(reg) _,
                control = out(reg) _,
                width = const WIDTH,
                words = const REGISTERS,
                word = const size_of::<u64>(),
                options(nostack, preserves_flags),
            );
        }
    }
}
