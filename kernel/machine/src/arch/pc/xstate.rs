//! Which registers of programs the CPU can save and load: its extended states.
//!
//! | form | instructions | what programs have |
//! | --- | --- | --- |
//! | [`Form::Fxsave`] | `fxsave`, `fxrstor` | x87, SSE |
//! | [`Form::Xsave`] | `xsave`, `xrstor` | what XCR0 says, of [`OFFERED`] |
//! | [`Form::Xsaveopt`] | `xsaveopt`, `xrstor` | the same |
//!
//! XCR0 is set once per CPU, before it runs a program, and is the same on all: a CPU that lacks
//! what the first one has stays off (`requirements`). An area in memory is in the standard form
//! (Intel SDM vol. 1, 13.4): each state is at the place that leaf 0xD of `cpuid` tells, whatever is
//! saved.

use super::control;
use super::cpu::{self, FPU_BYTES};
use super::requirements::{self, Asked};
use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(target_arch = "x86")]
use core::arch::x86::__cpuid_count;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__cpuid_count;

/// x87 and SSE: every program has them.
pub const LEGACY: u64 = 3;
/// The upper halves of the 16 (8) registers of AVX.
pub const AVX: u64 = 1 << 2;
/// The masks, the upper halves of the first 16 registers, and the other 16. One without the others
/// is refused by XCR0.
pub const AVX512: u64 = 7 << 5;
/// What programs are given where the CPU has it. Protection keys and tiles have calls and
/// checks of their own, which the kernel has not: their bits stay clear. Shadow stacks are no state
/// of XCR0 but of IA32_XSS, which `xsaves` alone saves: `shadow` moves their two registers by hand.
const OFFERED: u64 = LEGACY | AVX | AVX512;

/// Bytes of what `fxsave` writes, and of the header that `xsave` puts after it.
pub const LEGACY_BYTES: usize = FPU_BYTES;
/// Where the header lies and how long it is.
pub const HEADER: core::ops::Range<usize> = LEGACY_BYTES..LEGACY_BYTES + 64;

/// Which instructions save the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    Fxsave,
    Xsave,
    Xsaveopt,
}

/// A [`Form`]. Written by the first CPU, before there is a program.
static FORM: AtomicU8 = AtomicU8::new(Form::Fxsave as u8);
/// XCR0; 0 where there is none.
static FEATURES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(LEGACY_BYTES);
/// Bits that MXCSR has: one that it has not would fault at a load.
static MXCSR_BITS: AtomicU32 = AtomicU32::new(0xffbf);

/// Whether the registers are saved by `xsaveopt`: the usual case, one comparison.
#[inline(always)]
pub(super) fn is_xsaveopt() -> bool {
    FORM.load(Ordering::Relaxed) == Form::Xsaveopt as u8
}

/// Whether they are saved and loaded by `fxsave` and `fxrstor`.
#[inline(always)]
pub(super) fn is_fxsave() -> bool {
    FORM.load(Ordering::Relaxed) == Form::Fxsave as u8
}

/// The states that programs have, as bits of XCR0; 0 where the CPU has no XCR0.
#[inline]
pub fn features() -> u64 {
    FEATURES.load(Ordering::Relaxed)
}

/// Bytes of an area with all states.
#[inline]
pub fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// Bits that a program may set in MXCSR.
pub fn mxcsr_bits() -> u32 {
    MXCSR_BITS.load(Ordering::Relaxed)
}

/// The highest byte that any of these states has in an area.
pub fn end_of(features: u64) -> usize {
    let of = |bit: u32| {
        let answer = __cpuid_count(STATES, bit);
        (answer.eax + answer.ebx) as usize
    };
    let extended = (2..63).filter(|bit| features & !LEGACY & 1 << bit != 0);
    extended.map(of).fold(HEADER.end, usize::max)
}

/// The leaf of `cpuid` that tells of states.
const STATES: u32 = 0xd;
const EAX: usize = 0;
const ECX: usize = 2;
/// In leaf 1, in ecx: `xsave` and XCR0.
const HAS_XSAVE: u32 = 26;
const HAS_AVX: u32 = 28;
/// In part 1 of [`STATES`], in eax.
const HAS_XSAVEOPT: u32 = 0;

/// What of [`OFFERED`] this CPU has; 0 without `xsave`.
fn of_this_cpu() -> u64 {
    if !control::has(1, ECX, HAS_XSAVE) || !control::has(STATES, EAX, 0) {
        return 0;
    }
    let answer = __cpuid_count(STATES, 0);
    let mut there = (u64::from(answer.edx) << 32 | u64::from(answer.eax)) & OFFERED;
    // XCR0 refuses each of these without the one before (Intel SDM vol. 1, 13.3).
    if there & AVX == 0 || there & AVX512 != AVX512 {
        there &= !AVX512;
    }
    there
}

/// Turns the states of programs on. By each CPU, after CR4 is set and before it runs a program.
pub(super) fn set_up() {
    let there = of_this_cpu();
    if FEATURES.load(Ordering::Relaxed) == 0 {
        set_up_first(there);
    }
    let wanted = features();
    assert!(wanted & !there == 0, "this CPU has not all registers that the first one has");
    if wanted != 0 {
        // SAFETY: (1) there is `xsave`, so CR4.OSXSAVE is set, by the table of control registers.
        unsafe { set_xcr0(wanted) };
    }
}

/// Decides, on the first CPU.
fn set_up_first(there: u64) {
    let mut area = LegacyArea([0; LEGACY_BYTES]);
    // SAFETY: (1) the area is this function's and aligned.
    unsafe { crate::arch::cpu::save_fpu(&raw mut area.0) };
    let [.., a, b, c, d] = area.0[..32] else { unreachable!("32 bytes") };
    match u32::from_le_bytes([a, b, c, d]) {
        0 => {}
        bits => MXCSR_BITS.store(bits, Ordering::Relaxed),
    }
    if there == 0 {
        return;
    }
    // SAFETY: (1) as in `set_up`.
    unsafe { set_xcr0(there) };
    // With XCR0 as it is now.
    let bytes = __cpuid_count(STATES, 0).ebx as usize;
    let is_optimised = __cpuid_count(STATES, 1).eax & 1 << HAS_XSAVEOPT != 0;
    let form = if is_optimised { Form::Xsaveopt } else { Form::Xsave };
    BYTES.store(bytes, Ordering::Relaxed);
    FORM.store(form as u8, Ordering::Relaxed);
    FEATURES.store(there, Ordering::Relaxed);
    requirements::ask_of_others(Asked::Xsave);
    if there & AVX != 0 && control::has(1, ECX, HAS_AVX) {
        requirements::ask_of_others(Asked::Avx);
        // Its instructions clear what lies above 32 bytes of a register.
        cpu::HAS_AVX.store(there & AVX512 == 0, Ordering::Relaxed);
    }
}

#[repr(align(16))]
struct LegacyArea([u8; LEGACY_BYTES]);

/// Sets which states there are.
///
/// # Safety
///
/// 1. CR4.OSXSAVE is set, and the CPU has these states, each with those that it needs.
unsafe fn set_xcr0(states: u64) {
    // SAFETY: (1) by the caller's promise: the instruction does not fault; (2) a state more or less
    // changes no register that is in use: no program has run here yet.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") states as u32, in("edx") (states >> 32) as u32,
             options(nomem, nostack, preserves_flags));
    }
}
