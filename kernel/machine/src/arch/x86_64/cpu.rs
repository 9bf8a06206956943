//! Single instructions, as functions.

use crate::arch::pc::access;
use core::arch::asm;
use kstack::arch::current::tables::{KERNEL_DATA, USER_DATA};
use kstack::interrupts::InterruptsOff;

pub use crate::arch::any::cpu::{
    interrupts_are_on, interrupts_off, interrupts_on, without_interrupts,
};
pub use crate::arch::pc::cpu::{
    breakpoint, continue_on, cycles, flush_all, flush_page, flush_pages, frame_pointer, halt,
    keeps_off_programs, random, stack_pointer, wait_for_interrupt, zero_page,
};
pub(in crate::arch) use crate::arch::pc::cpu::{load_fpu, save_fpu, xrstor, xsave, xsaveopt};

/// Writes a model-specific register.
///
/// # Safety
///
/// 1. The register exists and the value keeps the kernel's invariants.
#[inline]
pub(super) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// Loads the page tables whose root is at this physical address.
///
/// # Safety
///
/// 1. The tables map the kernel as all others do, and stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64, _off: &InterruptsOff) {
    // SAFETY: (1) by the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// The selectors in DS, ES, FS and GS: what a program loaded there. The kernel uses none of them.
pub(in crate::arch) type Selectors = [u16; 4];

/// Stores the selectors.
///
/// # Safety
///
/// 1. The place is the caller's to write.
#[inline(always)]
pub(in crate::arch) unsafe fn save_selectors(to: *mut Selectors) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("mov word ptr [{to}], ds", "mov word ptr [{to} + {one}], es",
             "mov word ptr [{to} + 2 * {one}], fs", "mov word ptr [{to} + 3 * {one}], gs",
             to = in(reg) to, one = const size_of::<u16>(), options(nostack, preserves_flags));
    }
}

/// Loads the selectors. Most programs have none, and most find none of another's: nothing is loaded
/// then.
///
/// # Safety
///
/// 1. Each is null or names a segment that programs may load.
/// 2. Interrupts are off. The FS base is lost; the GS base of user mode stays.
#[inline(always)]
pub(in crate::arch) unsafe fn load_selectors(from: *const Selectors) {
    let (mut loaded, es, fs, gs): (u64, u64, u64, u64);
    // SAFETY: (1) only reads; (2) the place is the caller's.
    let wanted = unsafe {
        asm!("mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", "mov {:e}, gs",
             out(reg) loaded, out(reg) es, out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
        from.cast::<u64>().read_unaligned()
    };
    loaded |= es | fs | gs;
    mend_stack_segment();
    if loaded | wanted != 0 {
        // SAFETY: (1) (2) by the caller's promise.
        unsafe { load_selectors_slowly(from) };
    }
}

/// Loads SS if it is null, as an entry from user mode leaves it. `sysret` gives SS its selector,
/// and on CPUs of AMD nothing else: a program would find a segment that it can use in 64-bit mode
/// only (AMD APM vol. 3, SYSRET). Three instructions more for each switch to a program.
#[inline(always)]
fn mend_stack_segment() {
    // SAFETY: (1) the segment is one of the kernel's, and in 64-bit mode nothing depends on it.
    unsafe {
        asm!("mov {0:e}, ss", "test {0:e}, {0:e}", "jnz 2f", "mov {0:e}, {data}", "mov ss, {0:e}", "2:",
             out(reg) _, data = const KERNEL_DATA, options(nomem, nostack));
    }
}

/// A selector of the program's own segments, which may have changed, or null.
fn still_there(selector: u16) -> u16 {
    /// The local table's.
    const LOCAL: u16 = 4;
    if selector & LOCAL == 0 || access::is_data(selector) { selector } else { 0 }
}

/// # Safety
///
/// As for [`load_selectors`]; a selector of the local table may name nothing any more.
#[cold]
unsafe fn load_selectors_slowly(from: *const Selectors) {
    let gs_base = user_gs_base();
    // SAFETY: (1) by the caller's promise.
    let [ds, es, fs, gs] = unsafe { from.read() }.map(still_there).map(u32::from);
    // SAFETY: (1) (2) by the caller's promise, and seen above; (3) a load of GS changes the GS
    // base, so the program's is put there meanwhile, which entries that can come now are prepared
    // for. Null leaves a base as it was on CPUs of AMD: another segment is loaded first, whose base
    // is 0.
    unsafe {
        asm!("mov ds, {ds:e}", "mov es, {es:e}", "mov fs, {data:e}", "mov fs, {fs:e}",
             "swapgs", "mov gs, {data:e}", "mov gs, {gs:e}", "swapgs",
             ds = in(reg) ds, es = in(reg) es, fs = in(reg) fs, gs = in(reg) gs,
             data = in(reg) u32::from(USER_DATA), options(readonly, nostack, preserves_flags));
    }
    // The base that the thread had does not depend on its selector.
    set_user_gs_base(gs_base);
}

/// DS and ES as the local table has them now. FS and GS keep their bases, as on Linux. Interrupts
/// off.
pub(in crate::arch) fn reload_local_data() {
    let (ds, es): (u32, u32);
    // SAFETY: (1) only reads.
    unsafe {
        asm!("mov {:e}, ds", "mov {:e}, es", out(reg) ds, out(reg) es, options(nomem, nostack, preserves_flags));
    }
    let [ds, es] = [ds, es].map(|selector| u32::from(still_there(selector as u16)));
    // SAFETY: (1) each names a segment that is there, or none; (2) the kernel uses neither.
    unsafe {
        asm!("mov ds, {:e}", "mov es, {:e}", in(reg) ds, in(reg) es, options(readonly, nostack, preserves_flags));
    }
}

/// The selector in FS.
#[inline(always)]
pub(super) fn fs_selector() -> u16 {
    let selector: u32;
    // SAFETY: (1) only reads.
    unsafe { asm!("mov {:e}, fs", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    selector as u16
}

/// Reads a model-specific register.
///
/// # Safety
///
/// 1. The register exists.
#[inline]
pub(super) unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high,
             options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// The base of GS that the running program has: `swapgs` has put it there.
pub(in crate::arch) fn user_gs_base() -> u64 {
    // SAFETY: (1) the MSR exists.
    unsafe { read_msr(KERNEL_GS_BASE) }
}

/// Sets it; `base` must be a user address: what entries that fall between `swapgs` and the change
/// of mode take for the kernel's is negative.
pub(in crate::arch) fn set_user_gs_base(base: u64) {
    debug_assert!(base >> 47 == 0, "no address of user mode");
    // SAFETY: (1) the MSR exists; (2) user addresses are canonical, so the write cannot fault.
    unsafe { write_msr(KERNEL_GS_BASE, base) };
}
