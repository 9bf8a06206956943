//! Vector registers that the kernel borrows: they are the running program's.

use crate::tests::{Outcome, check};
use core::arch::asm;
use machine::arch::cpu;
use machine::arch::pc::control;
use machine::memory::frames;

/// The lowest vector register: 16 bytes, or 32 where there is AVX.
type Register = [u64; 4];

/// Bytes of the page that are looked at together.
const PART: usize = 32;

fn has_avx() -> bool {
    const ECX: usize = 2;
    // XCR0 is in use, and has it.
    control::has(1, ECX, 27) && control::has(1, ECX, 28)
}

/// Its contents, the upper half as 0 without AVX. Interrupts off.
fn read() -> Register {
    let mut register: Register = [0; 4];
    let to = register.as_mut_ptr();
    // SAFETY: (1) 16 or 32 bytes of this function's; (2) the CPU has AVX where it is used.
    unsafe {
        if has_avx() {
            asm!("vmovdqu [{}], ymm0", in(reg) to, options(nostack, preserves_flags));
        } else {
            asm!("movdqu [{}], xmm0", in(reg) to, options(nostack, preserves_flags));
        }
    }
    register
}

/// Interrupts off.
fn write(register: &Register) {
    let from = register.as_ptr();
    // SAFETY: (1) 16 or 32 bytes; (2) the CPU has AVX where it is used; (3) the kernel's own code
    // has nothing in it, and the caller puts a program's value back.
    unsafe {
        if has_avx() {
            asm!("vmovdqu ymm0, [{}]", in(reg) from, options(nostack, preserves_flags));
        } else {
            asm!("movdqu xmm0, [{}]", in(reg) from, options(nostack, preserves_flags));
        }
    }
}

/// Red if the upper half is not put back, is put back only if it was 0, or if a part of the page is
/// left out.
pub fn s1_zeroing_a_page_leaves_the_register_that_it_borrows_as_it_was() -> Outcome {
    let frame = frames::alloc().ok_or("no frame")?;
    let ones = !0_u64;
    let patterns: [Register; 4] =
        [[1, 2, 0, 0], [1, 2, 3, 4], [ones, ones, 0, 1 << 63], [0, 0, 1, 0]];
    let outcome = patterns.iter().try_for_each(|pattern| {
        let expected = if has_avx() { *pattern } else { [pattern[0], pattern[1], 0, 0] };
        let parts = || (0..4096).step_by(PART);
        parts().for_each(|at| frame.write(at, &[0xff; PART]));
        let found = cpu::without_interrupts(|| {
            let before = read();
            write(pattern);
            // SAFETY: (1) interrupts are off.
            unsafe { frame.zero_uninterrupted() };
            let found = read();
            write(&before);
            found
        });
        check!(found == expected, "{expected:x?} is {found:x?} afterwards");
        for at in parts() {
            let mut part = [0; PART];
            frame.read(at, &mut part);
            check!(part == [0; PART], "{part:x?} at {at}");
        }
        Ok(())
    });
    frames::release(frame);
    outcome
}
