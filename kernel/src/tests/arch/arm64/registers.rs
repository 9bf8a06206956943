//! Code with a known value in every register, for looking at what entries save and restore.

use crate::tests::{Outcome, check};
use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use machine::arch::irqchip::vector;
use machine::arch::regs::SavedRegs;
use machine::arch::step;

/// The general registers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub x: [u64; 31],
    /// SP right before and right after the instruction.
    pub sp: u64,
    /// The instruction after it.
    pub pc: u64,
}

impl Registers {
    /// The value that x0 gets; each of the others gets one more than the one before.
    pub const FIRST: u64 = 0x5a5a_0000_c001_0001;

    /// Whether every register is what the functions below put into it.
    pub fn are_known(&self) -> bool {
        self.x.iter().enumerate().all(|(n, &value)| value == Self::known(n))
    }

    /// The same, but x29 is a frame pointer.
    pub(super) fn are_known_in_a_frame(&self) -> bool {
        let mut plain = *self;
        plain.x[FP] = Self::known(FP);
        plain.are_known() && self.x[FP] == self.sp
    }

    /// What the functions below put into a register. The frame pointer's is even, so that it does
    /// not look marked.
    const fn known(number: usize) -> u64 {
        Self::FIRST + number as u64
    }
}

const FP: usize = 29;
const _: () = assert!(Registers::known(FP).is_multiple_of(2));

/// Loads every register, executes `$at`, and stores every register to what x0 pointed at.
macro_rules! with_known_registers {
    ($(#[$doc:meta])* $name:ident, $($at:literal),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub extern "C" fn $name(after: &mut Registers) {
            naked_asm!(
                "stp x29, x30, [sp, #-{frame}]!",
                "stp x19, x20, [sp, #2 * {word}]", "stp x21, x22, [sp, #4 * {word}]",
                "stp x23, x24, [sp, #6 * {word}]", "stp x25, x26, [sp, #8 * {word}]",
                "stp x27, x28, [sp, #10 * {word}]", "str x0, [sp, #12 * {word}]",
                "ldr x0, ={first}",
                ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
                "add x\\n, x0, #\\n * {one}",
                ".endr",
                $($at,)+
                "2:",
                "str x1, [sp, #13 * {word}]",
                "ldr x1, [sp, #12 * {word}]",
                "str x0, [x1]",
                ".irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
                "str x\\n, [x1, #\\n * {word}]",
                ".endr",
                "ldr x0, [sp, #13 * {word}]", "str x0, [x1, #{word}]",
                "mov x0, sp", "str x0, [x1, #{sp}]",
                "adr x0, 2b", "str x0, [x1, #{pc}]",
                "ldp x19, x20, [sp, #2 * {word}]", "ldp x21, x22, [sp, #4 * {word}]",
                "ldp x23, x24, [sp, #6 * {word}]", "ldp x25, x26, [sp, #8 * {word}]",
                "ldp x27, x28, [sp, #10 * {word}]",
                "ldp x29, x30, [sp], #{frame}",
                "ret",
                ".ltorg",
                frame = const 16 * size_of::<u64>(),
                word = const size_of::<u64>(),
                one = const 1,
                first = const Registers::FIRST,
                sp = const offset_of!(Registers, sp),
                pc = const offset_of!(Registers, pc),
                software = const vector::SOFTWARE,
            )
        }
    };
}

with_known_registers!(
    /// Raises the software interrupt with known registers; stores what they are afterwards.
    across_an_interrupt, "svc #{software}"
);

with_known_registers!(
    /// Executes a breakpoint with known registers; stores what they are afterwards.
    across_a_breakpoint, "brk #{software}"
);

with_known_registers!(
    /// Raises the software interrupt with known registers, but x29 is a frame pointer; stores what
    /// they are afterwards.
    across_an_interrupt_in_a_frame, "mov x29, sp", "svc #{software}"
);

with_known_registers!(
    /// Executes a breakpoint with known registers, but x29 is a frame pointer; stores what they are
    /// afterwards.
    across_a_breakpoint_in_a_frame, "mov x29, sp", "brk #{software}"
);

/// Loads the registers that a callee must keep with `pattern`, `+1` ..., calls `meanwhile`, and
/// returns how many of them came back as they were: 10.
#[unsafe(naked)]
pub extern "C" fn kept_across(meanwhile: extern "C" fn(), pattern: usize) -> usize {
    naked_asm!(
        "stp x29, x30, [sp, #-{frame}]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #2 * {word}]", "stp x21, x22, [sp, #4 * {word}]",
        "stp x23, x24, [sp, #6 * {word}]", "stp x25, x26, [sp, #8 * {word}]",
        "stp x27, x28, [sp, #10 * {word}]", "str x1, [sp, #12 * {word}]",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "add x\\n, x1, #\\n * {one}",
        ".endr",
        "blr x0",
        "ldr x1, [sp, #12 * {word}]",
        "mov x0, #0",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "add x2, x1, #\\n * {one}",
        "cmp x2, x\\n",
        "cinc x0, x0, eq",
        ".endr",
        "ldp x19, x20, [sp, #2 * {word}]", "ldp x21, x22, [sp, #4 * {word}]",
        "ldp x23, x24, [sp, #6 * {word}]", "ldp x25, x26, [sp, #8 * {word}]",
        "ldp x27, x28, [sp, #10 * {word}]",
        "ldp x29, x30, [sp], #{frame}",
        "ret",
        frame = const 14 * size_of::<u64>(),
        word = const size_of::<u64>(),
        one = const 1,
    )
}

/// How many registers a switch keeps, besides frame pointer and return address.
pub const KEPT: usize = 10;

/// Whether an entry saved every known register in the field of its name.
pub fn check_saved(saved: &SavedRegs, after: &Registers) -> Outcome {
    let seen = Registers { x: saved.x, sp: saved.sp, pc: saved.pc };
    check!(seen == *after, "saved {seen:x?}, expected {after:x?}");
    check!(saved.orig_x0 == saved.x[0], "orig_x0 is {:#x}", saved.orig_x0);
    Ok(())
}

/// What a compiler's stack check compares with: this kernel keeps it in the CPU's block.
pub fn loaded_canary() -> usize {
    machine::cpus::this().local.canary_in_force()
}

/// Executes an instruction that a debug exception follows; its handler must call
/// [`end_single_step`].
#[inline(always)]
pub fn single_step() {
    /// In MDSCR_EL1: single steps, debug exceptions in the kernel.
    const STEPS: u64 = 1 | 1 << 13;
    // SAFETY: (1) the exception comes after the barrier; (2) the handler turns it off again.
    unsafe { asm!("msr mdscr_el1, {}", "isb", "nop", "nop", in(reg) STEPS) };
}

/// In the handler of the debug exception: no more of them.
pub fn end_single_step(regs: &mut SavedRegs) {
    let _is_one = step::has_stepped(regs);
}

/// Raises the software interrupt with this frame pointer.
#[unsafe(naked)]
pub extern "C" fn interrupt_with_frame_pointer(fp: usize) {
    naked_asm!(
        "stp x29, x30, [sp, #-{frame}]!",
        "mov x29, x0",
        "svc #{software}",
        "ldp x29, x30, [sp], #{frame}",
        "ret",
        frame = const 2 * size_of::<u64>(),
        software = const vector::SOFTWARE,
    )
}

/// Whether this function is compiled to one instruction that reads the running thread, but for a
/// frame and the return.
pub fn check_is_one_load(function: *const u8) -> Outcome {
    // SAFETY: (1) a function of this kernel has at least these bytes of code and padding behind it;
    // code is 4-aligned.
    let code = unsafe { core::slice::from_raw_parts(function.cast::<u32>(), 5) };
    // mrs x0, tpidrro_el0; stp x29, x30, [sp, #-16]!; mov x29, sp; ldp x29, x30, [sp], #16; ret
    const LOAD: u32 = 0xd53b_d060;
    const FRAME: [u32; 2] = [0xa9bf_7bfd, 0x9100_03fd];
    const BACK: [u32; 2] = [0xa8c1_7bfd, 0xd65f_03c0];
    let with_frame = code == [FRAME[0], FRAME[1], LOAD, BACK[0], BACK[1]];
    let without = code.starts_with(&[LOAD, BACK[1]]);
    check!(with_frame || without, "`current` is compiled to {code:x?}");
    Ok(())
}
