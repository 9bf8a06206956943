//! Single instructions, as functions: those that differ, if at all, in the names that
//! `width` has for the size of an address.

use crate::arch::pc::control;
use crate::arch::width::{fp, sp, wide};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack::addr::AddrRange;

/// What `fxsave` writes.
pub(in crate::arch) const FPU_BYTES: usize = 512;

/// Turns interrupts on and waits for one, without a gap in between (the shadow of `sti` covers
/// `hlt`).
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: (1) an interrupt always comes: the timer runs. (2) Interrupts are on afterwards,
    // which the caller expects.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: (1) nothing is expected of this CPU any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// The time stamp counter, after everything before it has been executed.
#[inline(always)]
pub fn cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// A number of the CPU's own generator, if it has one, and that has one to give.
pub fn random() -> Option<u64> {
    // RDRAND: leaf 1, ECX.
    if !control::has(1, 2, 30) {
        return None;
    }
    let mut number = 0;
    for _ in 0..2 {
        let half = (0..10).find_map(|_| {
            let (half, given): (u32, u8);
            // SAFETY: (1) the CPU has the instruction; it changes a register and the flags.
            unsafe {
                asm!("rdrand {:e}", "setc {}", out(reg) half, out(reg_byte) given,
                     options(nomem, nostack));
            }
            (given != 0).then_some(half)
        });
        number = number << 32 | u64::from(half?);
    }
    Some(number)
}

/// Drops this CPU's cached translations of some pages.
#[inline(always)]
pub fn flush_pages(addresses: impl Iterator<Item = u64>) {
    addresses.for_each(flush_page);
}

/// Drops this CPU's cached translation of one page, global or not.
#[inline(always)]
pub fn flush_page(address: u64) {
    // SAFETY: (1) forgetting a translation is always allowed.
    unsafe { asm!("invlpg [{}]", in(reg) address as usize, options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's cached translations, global ones too: clearing CR4.PGE does that (Intel
/// SDM vol. 3, 5.10.4.1).
pub fn flush_all() {
    // SAFETY: (1) forgetting translations is always allowed; (2) CR4 ends up as it was.
    unsafe {
        asm!("mov {old}, cr4", "mov {new}, {old}", "and {new}, {mask}", "mov cr4, {new}", "mov cr4, {old}",
             old = out(reg) _, new = out(reg) _, mask = const !0x80_i32, options(nostack));
    }
}

/// Leaves the stack this runs on for good, and continues at the top of another.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the caller's, empty; (2) nothing on the old stack is used again; (3) a zero frame
    // pointer is the outermost marker, and the call leaves SP as the ABI wants it.
    unsafe {
        asm!(
            concat!("mov ", sp!(), ", {top}"),
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// Whether all CPUs that are up have AVX, turned on, and no wider registers: those are programs',
/// and what AVX writes to a register's lower part clears the part above.
pub(super) static HAS_AVX: AtomicBool = AtomicBool::new(false);

/// Fills a page with zeros: 32 bytes a store if it may use AVX, about 150 instructions, else 16,
/// about 280; `rep stos` counts 512 iterations, or 1024 where addresses have 32 bits.
///
/// It borrows the lowest vector register, which belongs to the running program: saved and put back.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes, a multiple of 32.
/// 2. Interrupts are off: a thread without a floating-point area that was preempted here would come
///    back to another thread's register.
#[inline]
pub unsafe fn zero_page(page: *mut u8) {
    if HAS_AVX.load(Ordering::Relaxed) {
        // SAFETY: (1) (2) by the caller's promise; (3) there is AVX.
        unsafe { zero_page_by_avx(page) };
    } else {
        // SAFETY: (1) (2) by the caller's promise.
        unsafe { zero_page_by_sse(page) };
    }
}

/// Of [`zero_page`].
///
/// The upper half of ymm0 is written only if it was not 0. A CPU remembers that an upper half was
/// written, and is slow then with a program's SSE instructions (Intel Optimization Manual, 15.3).
///
/// # Safety
///
/// The two conditions of [`zero_page`], and: 3. the CPU has AVX, and XCR0 says so.
#[inline(always)]
unsafe fn zero_page_by_avx(page: *mut u8) {
    // SAFETY: (1) (2) (3) by the caller's promise; ymm0 ends up as it was.
    unsafe {
        asm!(
            concat!("sub ", sp!(), ", 32"),
            concat!("vmovdqu [", sp!(), "], ymm0"),
            // The upper half, too.
            "vpxor xmm0, xmm0, xmm0",
            "2:",
            ".irp half, 0, 16",
            ".irp place, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vmovdqa [{top} + {left} + (\\half + \\place) * {one}], ymm0",
            ".endr",
            ".endr",
            "add {left}, 32 * {one}",
            "jnz 2b",
            concat!("vptest xmm0, [", sp!(), " + 16]"),
            "jc 3f",
            concat!("vmovdqu ymm0, [", sp!(), "]"),
            "jmp 4f",
            "3:",
            concat!("vmovdqu xmm0, [", sp!(), "]"),
            "4:",
            concat!("add ", sp!(), ", 32"),
            one = const 32,
            left = inout(reg) -4096_isize => _,
            top = in(reg) page.wrapping_add(4096),
        );
    }
}

/// Of [`zero_page`].
///
/// # Safety
///
/// The two conditions of [`zero_page`].
#[inline(always)]
unsafe fn zero_page_by_sse(page: *mut u8) {
    // SAFETY: (1) (2) by the caller's promise; (3) xmm0 ends up as it was; SSE is on since boot.
    unsafe {
        asm!(
            concat!("sub ", sp!(), ", 16"),
            concat!("movups [", sp!(), "], xmm0"),
            "xorps xmm0, xmm0",
            "2:",
            ".irp half, 0, 16",
            ".irp place, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "movaps [{top} + {left} + (\\half + \\place) * {one}], xmm0",
            ".endr",
            ".endr",
            "add {left}, 32 * {one}",
            "jnz 2b",
            concat!("movups xmm0, [", sp!(), "]"),
            concat!("add ", sp!(), ", 16"),
            one = const 16,
            left = inout(reg) -4096_isize => _,
            top = in(reg) page.wrapping_add(4096),
        );
    }
}

/// Stores the floating-point registers.
///
/// # Safety
///
/// 1. The area is the caller's to write, and 16-aligned.
#[inline(always)]
pub(in crate::arch) unsafe fn save_fpu(area: *mut [u8; FPU_BYTES]) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!(concat!("fxsave", wide!(), " [{}]"), in(reg) area, options(nostack, preserves_flags))
    };
}

/// Loads the floating-point registers.
///
/// # Safety
///
/// 1. The area is 16-aligned, and as [`save_fpu`] makes one: no reserved bit is set.
/// 2. The registers are not in use.
#[inline(always)]
pub(in crate::arch) unsafe fn load_fpu(area: *const [u8; FPU_BYTES]) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!(concat!("fxrstor", wide!(), " [{}]"), in(reg) area, options(nostack, preserves_flags))
    };
}

/// Stores the registers of all states, each whether it changed or not.
///
/// # Safety
///
/// 1. The area is the caller's to write, as large as XCR0 wants it, and 64-aligned; the last 56
///    bytes of its header are zero.
/// 2. CR4.OSXSAVE is set.
#[inline(always)]
pub(in crate::arch) unsafe fn xsave(area: *mut u8) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!(concat!("xsave", wide!(), " [{}]"), in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
             options(nostack, preserves_flags));
    }
}

/// Stores the registers of the states that are in use and may have changed since the last
/// [`xrstor`] from this area.
///
/// # Safety
///
/// As for [`xsave`]; the CPU has the instruction.
#[inline(always)]
pub(in crate::arch) unsafe fn xsaveopt(area: *mut u8) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!(concat!("xsaveopt", wide!(), " [{}]"), in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
             options(nostack, preserves_flags));
    }
}

/// Loads the registers of all states.
///
/// # Safety
///
/// 1. The area is 64-aligned, and as [`xsave`] makes one: no reserved bit is set.
/// 2. The registers are not in use.
#[inline(always)]
pub(in crate::arch) unsafe fn xrstor(area: *const u8) {
    // SAFETY: (1) (2) by the caller's promise.
    unsafe {
        asm!(concat!("xrstor", wide!(), " [{}]"), in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
             options(nostack, preserves_flags));
    }
}

/// A breakpoint instruction: its handler runs, and what comes after it is executed.
#[inline(always)]
pub fn breakpoint() {
    // SAFETY: (1) the handler returns with everything as it was, behind the instruction.
    unsafe { asm!("int3") };
}

/// `cpuid`, leaf 7.
const EBX: usize = 1;
const SMAP: u32 = 20;

/// Whether the CPU keeps the kernel from touching what programs have mapped: SMAP.
pub fn keeps_off_programs() -> bool {
    control::has(7, EBX, SMAP)
}

/// The stack pointer, here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: (1) reading SP has no effect.
    unsafe {
        asm!(concat!("mov {}, ", sp!()), out(reg) sp, options(nomem, nostack, preserves_flags))
    };
    sp
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading the frame pointer has no effect.
    unsafe {
        asm!(concat!("mov {}, ", fp!()), out(reg) fp, options(nomem, nostack, preserves_flags))
    };
    fp
}
