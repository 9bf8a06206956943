//! Code with a known value in every register, for looking at what entries save and restore.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use machine::arch::regs::SavedRegs;
use machine::arch::step;

/// The general registers, and pc in the place of the one that is always 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Registers([u64; 32]);

/// Registers that the functions below leave alone: sp, and tp, which is the CPU's.
const LEFT_ALONE: [usize; 2] = [2, 4];

impl Registers {
    /// Each register gets this and its number: as a frame pointer not marked, and leading nowhere.
    pub const FIRST: u64 = 0x5a5a_0000_c001_0000;

    /// Whether every register is what the functions below put into it.
    pub fn are_known(&self) -> bool {
        let changed = (1..32).filter(|number| !LEFT_ALONE.contains(number));
        changed.into_iter().all(|number| self.0[number] == Self::FIRST + number as u64)
    }
}

/// Saved registers by number, pc in the place of number 0.
pub(super) fn by_number(regs: &SavedRegs) -> [u64; 32] {
    let SavedRegs { epc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, .. } = *regs;
    let SavedRegs { a6, a7, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, t3, t4, t5, t6, .. } = *regs;
    [
        epc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7, s2, s3, s4, s5,
        s6, s7, s8, s9, s10, s11, t3, t4, t5, t6,
    ]
}

/// Loads every register but sp and tp, executes `$at`, and stores every register to what a0 pointed
/// at.
macro_rules! with_known_registers {
    ($(#[$doc:meta])* $name:ident, $($at:literal),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub extern "C" fn $name(after: &mut Registers) {
            naked_asm!(
                "addi sp, sp, -{frame}",
                "sd ra, 0(sp)", "sd gp, {word}(sp)", "sd a0, 2 * {word}(sp)",
                ".irp n, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
                "sd x\\n, \\n * {word}(sp)",
                ".endr",
                "li a0, {first}",
                ".irp n, 1, 3, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "addi x\\n, a0, \\n * {one}",
                ".endr",
                "addi a0, a0, 10 * {one}",
                ".option push",
                ".option norvc",
                $($at,)+
                "2:",
                ".option pop",
                "sd a1, 3 * {word}(sp)",
                "ld a1, 2 * {word}(sp)",
                ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "sd x\\n, \\n * {word}(a1)",
                ".endr",
                "ld a0, 3 * {word}(sp)",
                "sd a0, 11 * {word}(a1)",
                "lla a0, 2b",
                "sd a0, 0(a1)",
                "ld ra, 0(sp)", "ld gp, {word}(sp)",
                ".irp n, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
                "ld x\\n, \\n * {word}(sp)",
                ".endr",
                "addi sp, sp, {frame}",
                "ret",
                frame = const 32 * size_of::<u64>(),
                word = const size_of::<u64>(),
                one = const 1,
                first = const Registers::FIRST,
            )
        }
    };
}

with_known_registers!(
    /// Raises the software interrupt with known registers; stores what they are afterwards.
    across_an_interrupt, "ebreak", "lui zero, 0x57ac"
);

with_known_registers!(
    /// Executes a breakpoint with known registers; stores what they are afterwards.
    across_a_breakpoint, "ebreak"
);

/// Loads the registers that a callee must keep with `pattern` and their numbers, calls `meanwhile`,
/// and returns how many of them came back as they were: [`KEPT`].
#[unsafe(naked)]
pub extern "C" fn kept_across(meanwhile: extern "C" fn(), pattern: usize) -> usize {
    naked_asm!(
        "addi sp, sp, -{frame}",
        "sd ra, {frame} - {word}(sp)",
        "sd s0, {frame} - 2 * {word}(sp)",
        "addi s0, sp, {frame}",
        "sd a1, 0(sp)",
        "sd s1, {word}(sp)",
        ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "sd x\\n, (\\n - 16) * {word}(sp)",
        ".endr",
        ".irp n, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "addi x\\n, a1, \\n * {one}",
        ".endr",
        "jalr a0",
        "ld a1, 0(sp)",
        "li a0, 0",
        ".irp n, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "addi a2, a1, \\n * {one}",
        "sub a2, a2, x\\n",
        "seqz a2, a2",
        "add a0, a0, a2",
        ".endr",
        "ld s1, {word}(sp)",
        ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "ld x\\n, (\\n - 16) * {word}(sp)",
        ".endr",
        "ld ra, {frame} - {word}(sp)",
        "ld s0, {frame} - 2 * {word}(sp)",
        "addi sp, sp, {frame}",
        "ret",
        frame = const 16 * size_of::<u64>(),
        word = const size_of::<u64>(),
        one = const 1,
    )
}

/// How many registers a switch keeps, besides frame pointer and return address.
pub const KEPT: usize = 11;

/// Whether an entry saved every known register in the field of its name.
pub fn check_saved(saved: &SavedRegs, after: &Registers) -> Outcome {
    let seen = Registers(by_number(saved));
    check!(seen == *after, "saved {seen:x?}, expected {after:x?}");
    check!(saved.orig_a0 == saved.a0, "orig_a0 is {:#x}", saved.orig_a0);
    Ok(())
}

/// What a compiler's stack check compares with: this kernel keeps it in the CPU's block.
pub fn loaded_canary() -> usize {
    machine::cpus::this().local.canary_in_force()
}

/// Nothing: supervisor mode has no way to step its own instructions.
pub fn single_step() {}

/// The handler of a debug exception that never comes.
pub fn end_single_step(_regs: &mut SavedRegs) {}

/// Raises the software interrupt with this frame pointer.
#[unsafe(naked)]
pub extern "C" fn interrupt_with_frame_pointer(fp: usize) {
    naked_asm!(
        "addi sp, sp, -{frame}",
        "sd ra, {word}(sp)",
        "sd s0, 0(sp)",
        "mv s0, a0",
        "call {raise}",
        "ld ra, {word}(sp)",
        "ld s0, 0(sp)",
        "addi sp, sp, {frame}",
        "ret",
        frame = const 2 * size_of::<u64>(),
        word = const size_of::<u64>(),
        raise = sym raise,
    )
}

/// The software interrupt, without a frame around it.
#[unsafe(naked)]
extern "C" fn raise() {
    naked_asm!(".option push", ".option norvc", "ebreak", "lui zero, 0x57ac", ".option pop", "ret",)
}

/// Whether this function is compiled to one load through tp, but for a frame and the return.
pub fn check_is_one_load(function: *const u8) -> Outcome {
    const RETURN: u32 = 0x8082;
    const TP: u32 = 4;
    /// Instructions at most: a frame is made and taken down in seven.
    const MOST: usize = 10;
    let mut at = function;
    let mut loads = 0;
    for _ in 0..MOST {
        // SAFETY: (1) code of this kernel, up to the return, and padding or the next function
        // behind it; 2-aligned.
        let [low, high] = unsafe { at.cast::<[u16; 2]>().read() }.map(u32::from);
        let length = step::instruction_length(&(low as u16).to_le_bytes()).unwrap_or(4);
        let wide = high << 16 | low;
        match length {
            2 if low == RETURN => {
                check!(loads == 1, "{loads} loads");
                return Ok(());
            }
            // Quadrant 0 has the short loads and stores that go through other registers than sp.
            2 => check!(low & 3 != 0 || low >> 13 == 0, "{low:#x} at {at:?}"),
            _ => match wide & 0x7f {
                0x03 if wide >> 15 & 31 == TP => loads += 1,
                0x13 => {}
                _ => return Err(alloc::format!("{wide:#x} at {at:?}")),
            },
        }
        at = at.wrapping_add(length);
    }
    Err("there is no return".into())
}
