//! Code with a known value in every register, for looking at what entries save and restore.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use core::mem::offset_of;
use kstack::arch::current::local::THREAD_INFO_ON_STACK;
use machine::arch::regs::{MODE, SVC_MODE, SavedRegs};
use machine::arch::step;

/// The general registers. LR is what the instruction leaves there: `svc` changes it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub r: [u32; 11],
    pub fp: u32,
    pub ip: u32,
    pub lr: u32,
    /// SP right before and right after the instruction.
    pub sp: u32,
    /// The instruction after it.
    pub pc: u32,
}

impl Registers {
    /// The value that `r0` gets; each of the others gets one more than the one before.
    pub const FIRST: u32 = 0x5a5a_c000;

    /// Whether every register is what the functions below put into it.
    pub fn are_known(&self) -> bool {
        *self == Self { lr: self.lr, sp: self.sp, pc: self.pc, ..Self::known() }
    }

    /// What the functions below put into the registers; LR, SP and PC are not among them.
    const fn known() -> Self {
        const N: u32 = Registers::FIRST;
        Self {
            r: [N, N + 1, N + 2, N + 3, N + 4, N + 5, N + 6, N + 7, N + 8, N + 9, N + 10],
            // A multiple of 4, so that it does not look like a marked frame pointer.
            fp: N + 12,
            ip: N + 13,
            lr: 0,
            sp: 0,
            pc: 0,
        }
    }
}

/// Loads every register, executes `$at`, and stores every register to what r0 pointed at.
macro_rules! with_known_registers {
    ($(#[$doc:meta])* $name:ident, $($at:literal),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub extern "C" fn $name(after: &mut Registers) {
            naked_asm!(
                "push {{r4-r11, lr}}", "push {{r0-r2}}",
                "movw r0, #{low}", "movt r0, #{high}",
                "add r1, r0, #1", "add r2, r0, #2", "add r3, r0, #3", "add r4, r0, #4", "add r5, r0, #5",
                "add r6, r0, #6", "add r7, r0, #7", "add r8, r0, #8", "add r9, r0, #9", "add r10, r0, #10",
                "add r11, r0, #12", "add r12, r0, #13", "add lr, r0, #14",
                $($at,)+
                "2:",
                "push {{r0}}",
                "ldr r0, [sp, #{word}]",
                "add r0, r0, #{word}",
                "stm r0, {{r1-r12, lr}}",
                "pop {{r1}}",
                "str r1, [r0, #-{word}]",
                "str sp, [r0, #{sp} - {word}]",
                "adr r1, 2b",
                "str r1, [r0, #{pc} - {word}]",
                "pop {{r0-r2}}", "pop {{r4-r11, pc}}",
                word = const 4,
                low = const Registers::FIRST & 0xffff,
                high = const Registers::FIRST >> 16,
                sp = const offset_of!(Registers, sp),
                pc = const offset_of!(Registers, pc),
            )
        }
    };
}

with_known_registers!(
    /// Raises the software interrupt with known registers; stores what they are afterwards.
    across_an_interrupt, "svc #0"
);

with_known_registers!(
    /// Executes a breakpoint with known registers; stores what they are afterwards.
    across_a_breakpoint, "bkpt #0"
);

/// Loads the registers that a callee must keep with `pattern`, `+1` ..., calls `meanwhile`, and
/// returns how many of them came back as they were: 8.
#[unsafe(naked)]
pub extern "C" fn kept_across(meanwhile: extern "C" fn(), pattern: usize) -> usize {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "push {{r1}}",
        "add r4, r1, #1",
        "add r5, r1, #2",
        "add r6, r1, #3",
        "add r7, r1, #4",
        "add r8, r1, #5",
        "add r9, r1, #6",
        "add r10, r1, #7",
        "add r11, r1, #8",
        "blx r0",
        "pop {{r1}}",
        "mov r0, #0",
        ".irp register, r4, r5, r6, r7, r8, r9, r10, r11",
        "add r1, r1, #1",
        "cmp \\register, r1",
        "addeq r0, r0, #1",
        ".endr",
        "pop {{r4-r11, pc}}",
    )
}

/// How many registers a switch keeps.
pub const KEPT: usize = 8;

fn as_registers(saved: &SavedRegs) -> Registers {
    let SavedRegs { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, fp, ip, sp, lr, pc, .. } = *saved;
    Registers { r: [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10], fp, ip, lr, sp, pc }
}

/// Whether an entry saved every known register in the field of its name.
pub fn check_saved(saved: &SavedRegs, after: &Registers) -> Outcome {
    let seen = as_registers(saved);
    check!(seen == *after, "saved {seen:x?}, expected {after:x?}");
    check!(saved.cpsr & MODE == SVC_MODE, "cpsr is {:#x}", saved.cpsr);
    Ok(())
}

/// What a compiler's stack check would compare with: the CPU's copy.
pub fn loaded_canary() -> usize {
    machine::cpus::this().local.canary_in_force()
}

/// Executes an instruction that a debug exception precedes; its handler must call
/// [`end_single_step`].
#[inline(never)]
pub fn single_step() {
    #[unsafe(naked)]
    extern "C" fn stopped_at() {
        naked_asm!("nop", "bx lr")
    }
    step::set_breakpoint(Some(stopped_at as *const () as usize));
    stopped_at();
}

/// In the handler of the debug exception: no more of them.
pub fn end_single_step(_regs: &mut SavedRegs) {
    step::set_breakpoint(None);
}

/// Raises the software interrupt with this frame pointer.
#[unsafe(naked)]
pub extern "C" fn interrupt_with_frame_pointer(fp: usize) {
    naked_asm!("push {{r11, lr}}", "mov r11, r0", "svc #0", "pop {{r11, pc}}")
}

/// Whether this function is compiled to one instruction that reads the running thread, but for
/// masking SP where that is how it is found, a frame and the return.
pub fn check_is_one_load(function: *const u8) -> Outcome {
    // SAFETY: (1) a function of this kernel has at least these words of code and padding behind it.
    let words = unsafe { core::slice::from_raw_parts(function.cast::<u32>(), 6) };
    const PUSH_FRAME: [u32; 2] = [0xe92d_4800, 0xe1a0_b00d];
    const POP_FRAME: u32 = 0xe8bd_8800;
    const RETURN: u32 = 0xe12f_ff1e;
    let load: &[u32] = if THREAD_INFO_ON_STACK {
        // lsr r0, sp, #13; lsl r0, r0, #13; ldr r0, [r0]
        &[0xe1a0_06ad, 0xe1a0_0680, 0xe590_0000]
    } else {
        // mrc p15, 0, r0, c13, c0, 3
        &[0xee1d_0f70]
    };
    let with_frame = [&PUSH_FRAME[..], load, &[POP_FRAME]].concat();
    let without = [load, &[RETURN]].concat();
    let is_one = words.starts_with(&with_frame) || words.starts_with(&without);
    check!(is_one, "`current` is compiled to {words:x?}");
    Ok(())
}
