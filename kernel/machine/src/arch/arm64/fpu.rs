//! Floating-point state of user programs: q0 to q31 and two control words, saved and loaded whole
//! at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back
//! nothing touches the registers. Only threads of processes have an area. SVE and what follows it
//! stays off: programs are not told of it.

use crate::memory::fallible::NoMemory;
use crate::memory::frames::Stretch;
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
        let area = self.0.get().cast::<u8>();
        // SAFETY: (1) the area is 16-aligned, large enough, ours alone at this moment.
        let [status, control] = unsafe { store(area) };
        // SAFETY: (1) behind the registers in it.
        unsafe { area.add(REGISTERS).cast::<[u64; 2]>().write([status, control]) };
    }

    /// Stores the 32 registers into a signal's frame, at a multiple of 16; what FPSR and FPCR are.
    /// By the owner.
    pub fn write_to(&self, to: Stretch) -> [u32; 2] {
        let words = match to.whole(REGISTERS) {
            Some(at) => {
                assert!(at.addr().is_multiple_of(WIDTH), "registers that are not aligned");
                // SAFETY: (1) inside a frame, which the direct map shows, aligned; what a program
                // writes there meanwhile changes nothing but what it finds.
                unsafe { store(at) }
            }
            None => {
                let registers = self.snapshot();
                to.write(0, &registers[..REGISTERS]);
                // SAFETY: (1) the owner runs this, so nothing else writes: behind the registers.
                unsafe { self.0.get().cast::<u8>().add(REGISTERS).cast::<[u64; 2]>().read() }
            }
        };
        words.map(|word| word as u32)
    }

    /// Loads the registers from a signal's frame, which a program may have written, and be writing:
    /// any bytes are registers. By the owner. FPSR and FPCR keep the bits that the architecture
    /// has.
    pub fn adopt_from(&self, from: Stretch, words: [u32; 2]) {
        match from.whole(REGISTERS) {
            Some(at) => {
                assert!(at.addr().is_multiple_of(WIDTH), "registers that are not aligned");
                // SAFETY: (1) as for `write_to`; (2) the owner runs this, in the kernel, which uses
                // none of them: a switch in between saves what is loaded already.
                unsafe { load(at, words.map(u64::from)) };
            }
            None => {
                let mut snapshot = self.snapshot();
                from.read(0, &mut snapshot[..REGISTERS]);
                for (to, word) in snapshot[REGISTERS..].chunks_exact_mut(8).zip(words) {
                    to.copy_from_slice(&u64::from(word).to_le_bytes());
                }
                self.adopt(&snapshot);
            }
        }
    }

    /// The registers as bytes. By the owner.
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
        let area = self.0.get().cast::<u8>();
        // SAFETY: (1) as for `save`: behind the registers in it.
        let words = unsafe { area.add(REGISTERS).cast::<[u64; 2]>().read() };
        // SAFETY: (1) as for `save`; the registers are not in use.
        unsafe { load(area, words) };
    }
}

/// Stores q0 to q31; what FPSR and FPCR are.
///
/// # Safety
///
/// 1. There is room for 32 registers at `to`, a multiple of 16, which nothing of the kernel's reads
///    or writes meanwhile.
#[inline(always)]
unsafe fn store(to: *mut u8) -> [u64; 2] {
    let (status, control);
    // SAFETY: (1) by the caller's promise; (2) floating point is on since boot.
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
            area = in(reg) to,
            status = out(reg) status,
            control = out(reg) control,
            width = const WIDTH,
            options(nostack, preserves_flags),
        );
    }
    [status, control]
}

/// Loads q0 to q31, FPSR and FPCR. Bits of these that the architecture has not read as zero.
///
/// # Safety
///
/// 1. 32 registers lie at `from`, a multiple of 16.
/// 2. The registers are the caller's to change.
#[inline(always)]
unsafe fn load(from: *const u8, [status, control]: [u64; 2]) {
    // SAFETY: (1) by the caller's promise; (2) floating point is on since boot.
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
            "msr fpsr, {status}",
            "msr fpcr, {control}",
            area = in(reg) from,
            status = in(reg) status,
            control = in(reg) control,
            width = const WIDTH,
            options(nostack, preserves_flags),
        );
    }
}
