//! The vector registers that a PC has beyond SSE's: AVX, AVX-512.

use super::{WIDE_ROOM as ROOM, Wide};
use core::arch::asm;
#[cfg(target_arch = "x86")]
use core::arch::x86::__cpuid_count;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__cpuid_count;

/// Registers of each kind.
const COUNT: usize = if cfg!(target_arch = "x86_64") { 16 } else { 8 };
/// Those of AVX-512.
const ZMM_COUNT: usize = if cfg!(target_arch = "x86_64") { 32 } else { 8 };
const AVX: usize = 1 << 2;
const AVX512: usize = 7 << 5;
const YMM_BYTES: usize = 32;
const ZMM_BYTES: usize = 64;

/// What the kernel lets programs have: XCR0; 0 if that cannot be read.
fn states() -> usize {
    /// In leaf 1, in ecx: the kernel has turned on XCR0.
    const XCR0_IS_ON: u32 = 1 << 27;
    if __cpuid_count(1, 0).ecx & XCR0_IS_ON == 0 {
        return 0;
    }
    let low: u32;
    // SAFETY: (1) the kernel says that programs may read it.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack)) };
    low as usize
}

fn has_avx512() -> bool {
    states() & AVX512 == AVX512
}

/// Bytes of all of them; 0: there are none.
fn bytes() -> usize {
    if states() & AVX == 0 {
        0
    } else if has_avx512() {
        ZMM_COUNT * ZMM_BYTES + 64
    } else {
        COUNT * YMM_BYTES
    }
}

/// Loads all registers.
fn load(from: &[u8; ROOM]) {
    let at = from.as_ptr();
    // SAFETY: (1) the processor and the kernel have them, by `bytes`; (2) as many bytes are there;
    // (3) compiled code has no use for them: the target has no floating point.
    unsafe {
        if has_avx512() {
            #[cfg(target_arch = "x86_64")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "vmovups zmm\\i, [{at} + 64 * \\i]",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "kmovw k\\i, [{at} + 2048 + 8 * \\i]",
                ".endr",
                at = in(reg) at, options(nostack, readonly)
            );
            #[cfg(target_arch = "x86")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "vmovups zmm\\i, [{at} + 64 * \\i]",
                "kmovw k\\i, [{at} + 512 + 8 * \\i]",
                ".endr",
                at = in(reg) at, options(nostack, readonly)
            );
        } else {
            #[cfg(target_arch = "x86_64")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "vmovups ymm\\i, [{at} + 32 * \\i]",
                ".endr",
                at = in(reg) at, options(nostack, readonly)
            );
            #[cfg(target_arch = "x86")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "vmovups ymm\\i, [{at} + 32 * \\i]",
                ".endr",
                at = in(reg) at, options(nostack, readonly)
            );
        }
    }
}

/// Stores all registers.
fn store(to: &mut [u8; ROOM]) {
    let at = to.as_mut_ptr();
    // SAFETY: (1) (2) (3) as in `load`.
    unsafe {
        if has_avx512() {
            #[cfg(target_arch = "x86_64")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "vmovups [{at} + 64 * \\i], zmm\\i",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "kmovw [{at} + 2048 + 8 * \\i], k\\i",
                ".endr",
                at = in(reg) at, options(nostack)
            );
            #[cfg(target_arch = "x86")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "vmovups [{at} + 64 * \\i], zmm\\i",
                "kmovw [{at} + 512 + 8 * \\i], k\\i",
                ".endr",
                at = in(reg) at, options(nostack)
            );
        } else {
            #[cfg(target_arch = "x86_64")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "vmovups [{at} + 32 * \\i], ymm\\i",
                ".endr",
                at = in(reg) at, options(nostack)
            );
            #[cfg(target_arch = "x86")]
            asm!(
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "vmovups [{at} + 32 * \\i], ymm\\i",
                ".endr",
                at = in(reg) at, options(nostack)
            );
        }
    }
}

/// Where a frame's `ucontext` names the area, and what the area has where.
const AREA_AT: usize = if cfg!(target_arch = "x86_64") { 40 + 23 * 8 } else { 20 + 19 * 4 };
/// Before the area comes the older form, in a frame of a 32-bit program.
const BEFORE: usize = if cfg!(target_arch = "x86_64") { 0 } else { 112 };

/// The vector registers.
pub fn wide() -> Option<Wide> {
    let (count, register_bytes) =
        if has_avx512() { (ZMM_COUNT, ZMM_BYTES) } else { (COUNT, YMM_BYTES) };
    Some(Wide {
        bytes: bytes(),
        register_bytes,
        masks_at: count * register_bytes,
        states: states(),
        load,
        store,
        area_at: AREA_AT,
        before: BEFORE,
        // Leaf 0xd: bytes of an area with what is on now.
        area_bytes: if states() == 0 { 512 } else { __cpuid_count(0xd, 0).ebx as usize },
        upper_at: if states() & AVX == 0 { 0 } else { __cpuid_count(0xd, 2).ebx as usize },
    })
}
