//! Single instructions, as functions.

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU8, Ordering};
use kstack::addr::AddrRange;
use kstack::interrupts::InterruptsOff;

pub use crate::arch::any::cpu::{
    interrupts_are_on, interrupts_off, interrupts_on, without_interrupts,
};

/// Turns interrupts on and waits for one, without a gap in between: `wfi` ends for an interrupt
/// that is masked too.
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: (1) an interrupt always comes: the timer runs. (2) Interrupts are on afterwards,
    // which the caller expects.
    unsafe { asm!("dsb sy", "wfi", "msr daifclr, #2", options(nostack)) };
}

/// Leaves the stack this runs on for good, and continues at the top of another.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the caller's, empty; (2) nothing on the old stack is used again; (3) a zero frame
    // pointer is the outermost marker, and the top of a stack is as the procedure call standard
    // wants SP.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov x29, xzr",
            "blr {next}",
            "brk #1",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: (1) nothing is expected of this CPU any more.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nomem, nostack)) };
    }
}

/// The cycle counter, after everything before it has been executed. In the emulator's counting
/// mode: instructions.
#[inline(always)]
pub fn cycles() -> u64 {
    let cycles;
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("isb", "mrs {}, pmccntr_el0", out(reg) cycles, options(nostack, preserves_flags))
    };
    cycles
}

/// A number of the CPU's own generator, if it has one (FEAT_RNG), and that has one to give.
pub fn random() -> Option<u64> {
    /// ID_AA64ISAR0_EL1, field RNDR.
    const RNDR: u32 = 60;
    let features: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags))
    };
    if features >> RNDR == 0 {
        return None;
    }
    (0..10).find_map(|_| {
        let (number, failed): (u64, u64);
        // SAFETY: (1) the CPU has the register RNDR; reading it sets Z where there is no number.
        unsafe {
            asm!("mrs {}, s3_3_c2_c4_0", "cset {}, eq", out(reg) number, out(reg) failed,
                 options(nomem, nostack));
        }
        (failed == 0).then_some(number)
    })
}

/// Starts the cycle counter of this CPU, for the kernel and for programs.
pub(super) fn start_counting() {
    const ENABLE_AND_LONG: u64 = 1 | 1 << 6;
    const CYCLES: u64 = 1 << 31;
    /// Programs may read it.
    const FOR_PROGRAMS: u64 = 1 << 2;
    // SAFETY: (1) the performance counters are the kernel's alone; every emulated CPU has them.
    unsafe {
        asm!("msr pmccfiltr_el0, xzr", "msr pmcntenset_el0, {cycles}", "msr pmcr_el0, {enable}",
             "msr pmuserenr_el0, {programs}", "isb", programs = in(reg) FOR_PROGRAMS, cycles = in(reg) CYCLES, enable = in(reg) ENABLE_AND_LONG, options(nostack, preserves_flags));
    }
}

/// Whether the CPU can keep the kernel from touching user memory by accident (PAN).
pub fn has_pan() -> bool {
    let features: u64;
    // SAFETY: (1) reading an identification register has no effect.
    unsafe {
        asm!("mrs {}, id_aa64mmfr1_el1", out(reg) features, options(nomem, nostack, preserves_flags))
    };
    features >> 20 & 0xf != 0
}

/// Keeps the kernel on this CPU from touching user memory by accident, from now on: entries from
/// user mode set the bit themselves (SCTLR_EL1.SPAN is clear), and inside the kernel it is
/// inherited.
pub(super) fn keep_off_user_memory() {
    if has_pan() {
        // `msr pan, #1`, which assemblers know for later CPUs only.
        // SAFETY: (1) the CPU has the
        // bit; (2) the kernel reaches user memory through the direct map.
        unsafe { asm!(".inst {}", const 0xd500_419f_u32, options(nostack, preserves_flags)) };
    }
}

/// Time since the machine started, and how many of its units are a second.
#[inline(always)]
pub(super) fn time() -> (u64, u64) {
    let (now, frequency);
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", "mrs {}, cntfrq_el0", out(reg) now, out(reg) frequency,
             options(nostack, preserves_flags));
    }
    (now, frequency)
}

/// Drops the cached translations of some pages, on every CPU: the barriers are once for all.
#[inline(always)]
pub fn flush_pages(addresses: impl Iterator<Item = u64>) {
    // SAFETY: (1) forgetting translations is always allowed. The barriers: the entries' stores are
    // seen by all table walks first, and the translations are gone afterwards.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        addresses.for_each(|address| {
            asm!("tlbi vaae1is, {}", in(reg) address >> 12 & 0xfff_ffff_ffff,
                 options(nostack, preserves_flags));
        });
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Drops the cached translation of one page, on every CPU.
#[inline(always)]
pub fn flush_page(address: u64) {
    flush_pages(core::iter::once(address));
}

/// Drops all cached translations, on every CPU.
pub fn flush_all() {
    // SAFETY: (1) forgetting translations is always allowed.
    unsafe {
        asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Loads the user half whose root is at this physical address, and drops what this CPU knows of
/// others: all address spaces are number 0.
///
/// # Safety
///
/// 1. The tables stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64, _off: &InterruptsOff) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("dsb ishst", "msr ttbr0_el1, {}", "isb", "tlbi aside1, xzr", "dsb nsh", "isb", in(reg) root,
             options(nostack, preserves_flags));
    }
}

/// Whether all CPUs that are up have the instructions that fill memory (FEAT_MOPS): one of these.
static FILLS_MEMORY: AtomicU8 = AtomicU8::new(NOT_ASKED);
const NOT_ASKED: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// Takes this CPU into account in how pages are filled. Before it fills its first page: a CPU that
/// lacks the instructions says so for all, and no other CPU needs to see that at once.
pub(super) fn choose_filling() {
    let features: u64;
    // ID_AA64ISAR2_EL1, by its number: assemblers know its name for later CPUs only. Zero on CPUs
    // that do not have it.
    // SAFETY: (1) reading an identification register has no effect.
    unsafe {
        asm!("mrs {}, s3_0_c0_c6_2", out(reg) features, options(nomem, nostack, preserves_flags))
    };
    if features >> MOPS_SHIFT & 0xf == 0 {
        FILLS_MEMORY.store(NO, Ordering::Relaxed);
    } else {
        // Stays if an earlier CPU has said no.
        let _ = FILLS_MEMORY.compare_exchange(NOT_ASKED, YES, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Where ID_AA64ISAR2_EL1 says whether the CPU has FEAT_MOPS.
pub(super) const MOPS_SHIFT: u32 = 16;

/// Fills a page with zeros: by three instructions where all CPUs have them, which do it as fast as
/// the CPU can, else 64 bytes a store.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes, a multiple of 64.
/// 2. Interrupts are off: a thread without a floating-point area that was preempted here would come
///    back to another thread's registers, and the three instructions must run on one CPU (Arm ARM,
///    SETP, SETM, SETE: two CPUs may divide the work differently).
#[inline(always)]
pub unsafe fn zero_page(page: *mut u8) {
    if FILLS_MEMORY.load(Ordering::Relaxed) != YES {
        // Not a call for the compiler: it would save registers for it on the other way too.
        // SAFETY: (1) (2) by the caller's promise; (3) it uses x0 and the stack, and returns.
        return unsafe {
            asm!("bl {stores}", stores = sym zero_page_by_stores, inout("x0") page => _, out("x30") _)
        };
    }
    // SAFETY: (1) by the caller's promise; (2) this CPU has the instructions, or it would have said
    // so in `choose_filling`.
    unsafe {
        asm!(
            ".arch_extension mops",
            "setp [{at}]!, {left}!, xzr",
            "setm [{at}]!, {left}!, xzr",
            "sete [{at}]!, {left}!, xzr",
            at = inout(reg) page => _,
            left = inout(reg) 4096_u64 => _,
            options(nostack),
        );
    }
}

/// 64 bytes a store: about 70 instructions, where `dc zva` with its addition counts 130.
///
/// It changes x0 and nothing else: v0 to v3, which belong to the running program, are saved and put
/// back.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes, a multiple of 64.
/// 2. Interrupts are off: a thread without a floating-point area that was preempted here would come
///    back to another thread's registers.
#[unsafe(naked)]
unsafe extern "C" fn zero_page_by_stores(page: *mut u8) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "sub sp, sp, #{four}",
        "st1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [sp]",
        "movi v0.2d, #0",
        "movi v1.2d, #0",
        "movi v2.2d, #0",
        "movi v3.2d, #0",
        ".rept {stores}",
        "st1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [x0], #{four}",
        ".endr",
        "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [sp]",
        "add sp, sp, #{four}",
        "ret",
        four = const 64,
        stores = const 4096 / 64,
    )
}

/// A breakpoint instruction: its handler runs, and what comes after it is executed.
#[inline(always)]
pub fn breakpoint() {
    // SAFETY: (1) the handler returns with everything as it was, behind the instruction.
    unsafe { asm!("brk #0") };
}

/// Whether the CPU keeps the kernel from touching what programs have mapped: PAN.
pub fn keeps_off_programs() -> bool {
    has_pan()
}

/// The stack pointer, here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: (1) reading SP has no effect.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading x29 has no effect.
    unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}
