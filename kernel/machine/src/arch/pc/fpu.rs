//! Floating-point state of user programs: 512 bytes, saved and loaded whole at a switch.
//!
//! The kernel is compiled without floating point, so between a switch away and a switch back
//! nothing touches the registers. Only threads of processes have an area. Programs see no AVX
//! (CR4.OSXSAVE stays clear), so `fxsave` is all.
//!
//! With it go the segment selectors that the kernel does not load in 64-bit mode: they too stay as
//! a program left them until the next program runs. On i386 every entry saves them.

use super::cpu::FPU_BYTES;
use crate::arch::cpu::{self, Selectors};
use crate::arch::pc::control;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// The registers as `fxsave` lays them out (Intel SDM vol. 1, 10.5.1).
pub type Snapshot = [u8; FPU_BYTES];

/// The saved state of one thread.
#[repr(C, align(16))]
pub struct FpuState {
    registers: UnsafeCell<[u8; FPU_BYTES]>,
    selectors: UnsafeCell<Selectors>,
}

/// Whether `fxrstor` leaves the x87's last instruction, operand and opcode as they are: CPUs of AMD
/// do, unless an exception is pending, if they have no feature that says otherwise (AMD APM vol. 2,
/// 11.4.4; `cpuid` leaf 0x8000_0008, ebx bit 2).
static POINTERS_STAY: AtomicBool = AtomicBool::new(false);

/// Finds out about [`POINTERS_STAY`]. By each CPU, before it runs a program.
pub(in crate::arch) fn look_at_cpu() {
    const EBX: usize = 1;
    let vendor = control::vendor();
    let is_amd = matches!(&vendor, b"AuthenticAMD" | b"HygonGenuine");
    if is_amd && !control::has(0x8000_0008, EBX, 2) {
        POINTERS_STAY.store(true, Ordering::Relaxed);
    }
}

/// Makes [`FpuState::load`] behave as on a CPU whose pointers stay, or not; says how it was. For
/// tests.
pub fn let_pointers_stay(stay: bool) -> bool {
    POINTERS_STAY.swap(stay, Ordering::Relaxed)
}

// SAFETY: (1) only the CPU that switches the owning thread in or out touches it, and a thread is on
// one CPU at a time.
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
        Self { registers: UnsafeCell::new(bytes), selectors: UnsafeCell::default() }
    }

    /// A copy, for the child of a fork. The registers of the running thread are saved first.
    pub fn fork(&self) -> Self {
        self.save();
        // SAFETY: (1) the owner runs this, so no other thread writes.
        let (registers, selectors) = unsafe { (*self.registers.get(), *self.selectors.get()) };
        Self { registers: UnsafeCell::new(registers), selectors: UnsafeCell::new(selectors) }
    }

    /// Stores the registers. By the owner, or at the switch away from it.
    pub fn save(&self) {
        // SAFETY: (1) 512 bytes, 16-aligned, ours alone at this moment; (2) so are the selectors.
        unsafe {
            cpu::save_fpu(self.registers.get());
            cpu::save_selectors(self.selectors.get());
        }
    }

    /// The registers as bytes, for a signal's frame. By the owner.
    pub fn snapshot(&self) -> Snapshot {
        self.save();
        // SAFETY: (1) the owner runs this, so nothing else writes.
        unsafe { *self.registers.get() }
    }

    /// Makes these the registers: of a signal's frame, which a program may have written. By the
    /// owner. Reserved bits of MXCSR are cleared: `fxrstor` would fault on them.
    pub fn adopt(&self, snapshot: &Snapshot) {
        const MXCSR: usize = 24;
        const MXCSR_MASK: usize = 28;
        let word = |bytes: &Snapshot, at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        cpu::without_interrupts(|| {
            self.save();
            // SAFETY: (1) the owner runs this, and interrupts are off, so no switch comes in
            // between.
            let registers = unsafe { &mut *self.registers.get() };
            let mask = match word(registers, MXCSR_MASK) {
                0 => 0xffbf,
                mask => mask,
            };
            *registers = *snapshot;
            registers[MXCSR..MXCSR + 4]
                .copy_from_slice(&(word(snapshot, MXCSR) & mask).to_le_bytes());
            // SAFETY: (1) 512 bytes, 16-aligned, and no reserved bit is set; (2) the owner is in
            // the kernel, which has no registers of its own.
            unsafe { cpu::load_fpu(registers) };
        });
    }

    /// Loads the registers. At the switch to the owner, interrupts off; its thread-local storage
    /// comes after it.
    pub fn load(&self) {
        if POINTERS_STAY.load(Ordering::Relaxed) {
            // SAFETY: (1) as below: the registers are not in use.
            unsafe { clear_pointers() };
        }
        // SAFETY: (1) 512 bytes, 16-aligned, made by `new` or `save`, so that no reserved bit is
        // set; (2) the owner's registers are not in use before this, and the kernel has none; (3)
        // the selectors are null or a program loaded them once, and interrupts are off.
        unsafe {
            cpu::load_fpu(self.registers.get());
            cpu::load_selectors(self.selectors.get());
        }
    }
}

/// An x87 environment of 28 bytes as after `fninit`, last instruction and operand at 0.
const NO_POINTERS: [u32; 7] = [0xffff_037f, 0xffff_0000, 0xffff_ffff, 0, 0, 0, 0xffff_0000];

/// Makes the x87's pointers lead nowhere: otherwise they tell a program where another one's code
/// and data are.
///
/// # Safety
///
/// 1. The x87 registers are not in use.
#[cold]
unsafe fn clear_pointers() {
    // On the stack, because QEMU wants what `fldenv` reads to be writable.
    let environment = NO_POINTERS;
    // SAFETY: (1) by the caller's promise; (2) pending exceptions are cleared first, so that the
    // load does not raise them.
    unsafe { asm!("fnclex", "fldenv [{}]", in(reg) &environment, options(readonly, nostack)) };
}
