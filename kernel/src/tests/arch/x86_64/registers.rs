//! Code with a known value in every register, for looking at what entries save and restore.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use core::mem::offset_of;
use kstack::arch::current::tables::KERNEL_CODE;
use kstack::local::CpuLocal;
use machine::arch::irqchip::vector;
use machine::arch::regs::SavedRegs;

/// The general registers, without RSP.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// SP right before and right after the instruction.
    pub rsp: u64,
    /// The instruction after it.
    pub rip: u64,
}

impl Registers {
    /// The value that `rax` gets; each of the others, in the order of the fields, gets one more
    /// than the one before.
    pub const FIRST: u64 = 0x5a5a_0000_c001_0001;

    /// Whether every register is what the functions below put into it.
    pub fn are_known(&self) -> bool {
        *self == Self { rsp: self.rsp, rip: self.rip, ..Self::known() }
    }

    /// The same, but rbp is a frame pointer.
    pub(in crate::tests::arch) fn are_known_in_a_frame(&self) -> bool {
        *self == Self { rsp: self.rsp, rip: self.rip, rbp: self.rbp, ..Self::known() }
    }

    /// The frame pointer.
    pub(in crate::tests::arch) fn frame_pointer(&self) -> usize {
        self.rbp as usize
    }

    /// What the functions below put into the registers; SP and RIP are not among them.
    const fn known() -> Self {
        const N: u64 = Registers::FIRST;
        Self {
            rax: N,
            rbx: N + 1,
            rcx: N + 2,
            rdx: N + 3,
            rsi: N + 4,
            rdi: N + 5,
            // Even, so that it does not look like a marked frame pointer.
            rbp: N + 7,
            r8: N + 8,
            r9: N + 9,
            r10: N + 10,
            r11: N + 11,
            r12: N + 12,
            r13: N + 13,
            r14: N + 14,
            r15: N + 15,
            rsp: 0,
            rip: 0,
        }
    }
}

/// Loads every register (rbp by `$fp`), executes `$at`, and stores every register to what rdi
/// pointed at.
macro_rules! with_known_registers {
    ($(#[$doc:meta])* $name:ident, $fp:literal, $($at:literal),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub extern "C" fn $name(after: &mut Registers) {
            naked_asm!(
                "push rbp", "mov rbp, rsp", "push rbx", "push r12", "push r13", "push r14", "push r15",
                "push rdi",
                "movabs rax, {first}", "lea rbx, [rax + 1]", "lea rcx, [rax + 2]", "lea rdx, [rax + 3]",
                "lea rsi, [rax + 4]", "lea rdi, [rax + 5]", $fp, "lea r8, [rax + 8]",
                "lea r9, [rax + 9]", "lea r10, [rax + 10]", "lea r11, [rax + 11]", "lea r12, [rax + 12]",
                "lea r13, [rax + 13]", "lea r14, [rax + 14]", "lea r15, [rax + 15]",
                $($at,)+
                "2:",
                "push rax",
                "mov rax, [rsp + {word}]",
                "pop qword ptr [rax + {rax}]",
                "mov [rax + {rbx}], rbx", "mov [rax + {rcx}], rcx", "mov [rax + {rdx}], rdx",
                "mov [rax + {rsi}], rsi", "mov [rax + {rdi}], rdi", "mov [rax + {rbp}], rbp",
                "mov [rax + {r8}], r8", "mov [rax + {r9}], r9", "mov [rax + {r10}], r10",
                "mov [rax + {r11}], r11", "mov [rax + {r12}], r12", "mov [rax + {r13}], r13",
                "mov [rax + {r14}], r14", "mov [rax + {r15}], r15", "mov [rax + {rsp}], rsp",
                "lea rcx, [rip + 2b]", "mov [rax + {rip}], rcx",
                "pop rdi",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
                "ret",
                word = const 8,
                first = const Registers::FIRST,
                rax = const offset_of!(Registers, rax), rbx = const offset_of!(Registers, rbx),
                rcx = const offset_of!(Registers, rcx), rdx = const offset_of!(Registers, rdx),
                rsi = const offset_of!(Registers, rsi), rdi = const offset_of!(Registers, rdi),
                rbp = const offset_of!(Registers, rbp), r8 = const offset_of!(Registers, r8),
                r9 = const offset_of!(Registers, r9), r10 = const offset_of!(Registers, r10),
                r11 = const offset_of!(Registers, r11), r12 = const offset_of!(Registers, r12),
                r13 = const offset_of!(Registers, r13), r14 = const offset_of!(Registers, r14),
                r15 = const offset_of!(Registers, r15), rsp = const offset_of!(Registers, rsp),
                rip = const offset_of!(Registers, rip),
                software = const vector::SOFTWARE,
            )
        }
    };
}

with_known_registers!(
    /// Raises the software interrupt with known registers; stores what they are afterwards.
    across_an_interrupt, "lea rbp, [rax + 7]", "int {software}"
);

with_known_registers!(
    /// Executes a breakpoint with known registers; stores what they are afterwards.
    across_a_breakpoint, "lea rbp, [rax + 7]", "int3 # {software}"
);

with_known_registers!(
    /// Counts to a million with known registers, long enough for something to come in; stores what
    /// they are afterwards.
    across_a_while, "lea rbp, [rax + 7]", "push rcx # {software}", "mov ecx, 1000000", "3:", "dec ecx", "jnz 3b", "pop rcx"
);

with_known_registers!(
    /// Raises the software interrupt with known registers, but rbp is a frame pointer; stores what
    /// they are afterwards.
    across_an_interrupt_in_a_frame, "# rbp stays the frame pointer", "int {software}"
);

/// Loads the registers that a callee must keep with `pattern`, `+1` ..., calls `meanwhile`, and
/// returns how many of them came back as they were: 6.
#[unsafe(naked)]
pub extern "C" fn kept_across(meanwhile: extern "C" fn(), pattern: usize) -> usize {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rsi",
        "lea rbx, [rsi + 1]",
        "lea rbp, [rsi + 2]",
        "lea r12, [rsi + 3]",
        "lea r13, [rsi + 4]",
        "lea r14, [rsi + 5]",
        "lea r15, [rsi + 6]",
        "call rdi",
        "pop rsi",
        "xor eax, eax",
        "xor ecx, ecx",
        "lea rdx, [rsi + 1]",
        "cmp rbx, rdx",
        "sete cl",
        "add eax, ecx",
        "lea rdx, [rsi + 2]",
        "cmp rbp, rdx",
        "sete cl",
        "add eax, ecx",
        "lea rdx, [rsi + 3]",
        "cmp r12, rdx",
        "sete cl",
        "add eax, ecx",
        "lea rdx, [rsi + 4]",
        "cmp r13, rdx",
        "sete cl",
        "add eax, ecx",
        "lea rdx, [rsi + 5]",
        "cmp r14, rdx",
        "sete cl",
        "add eax, ecx",
        "lea rdx, [rsi + 6]",
        "cmp r15, rdx",
        "sete cl",
        "add eax, ecx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// How many registers a switch keeps.
pub const KEPT: usize = 6;

fn as_registers(saved: &SavedRegs) -> Registers {
    Registers {
        rax: saved.rax,
        rbx: saved.rbx,
        rcx: saved.rcx,
        rdx: saved.rdx,
        rsi: saved.rsi,
        rdi: saved.rdi,
        rbp: saved.rbp,
        r8: saved.r8,
        r9: saved.r9,
        r10: saved.r10,
        r11: saved.r11,
        r12: saved.r12,
        r13: saved.r13,
        r14: saved.r14,
        r15: saved.r15,
        rsp: saved.rsp,
        rip: saved.rip,
    }
}

/// Whether an entry saved every known register in the field of its name.
pub fn check_saved(saved: &SavedRegs, after: &Registers) -> Outcome {
    let seen = as_registers(saved);
    check!(seen == *after, "saved {seen:x?}, expected {after:x?}");
    check!(saved.cs == u64::from(KERNEL_CODE), "cs is {:#x}", saved.cs);
    check!(saved.orig_rax == 0, "the error code is {:#x}", saved.orig_rax);
    Ok(())
}

/// What a compiler's stack check compares with: the word at GS:40.
pub fn loaded_canary() -> usize {
    let canary: usize;
    // Compilers have this place built in; it is no offset of ours.
    const COMPILERS_PLACE: usize = 0x28;
    // SAFETY: (1) GS base is the CPU's block.
    unsafe {
        core::arch::asm!("mov {}, gs:[{place}]", out(reg) canary, place = const COMPILERS_PLACE, options(nostack, readonly));
    }
    canary
}

const TRAP_FLAG: u64 = 0x100;

/// Executes an instruction that a debug exception follows; its handler must call
/// [`end_single_step`].
#[inline(always)]
pub fn single_step() {
    // SAFETY: (1) the handler clears the trap flag again.
    unsafe {
        core::arch::asm!("pushfq", "or qword ptr [rsp], {trap}", "popfq", "nop", "nop", trap = const TRAP_FLAG);
    }
}

/// In the handler of the debug exception: no more of them.
pub fn end_single_step(regs: &mut SavedRegs) {
    regs.rflags &= !TRAP_FLAG;
}

/// Raises the software interrupt with this frame pointer.
#[unsafe(naked)]
pub extern "C" fn interrupt_with_frame_pointer(fp: usize) {
    naked_asm!(
        "push rbp",
        "mov rbp, rdi",
        "int {software}",
        "pop rbp",
        "ret",
        software = const vector::SOFTWARE,
    )
}

/// Whether this function is compiled to one instruction that reads the running thread, but for a
/// frame and the return.
pub fn check_is_one_load(function: *const u8) -> Outcome {
    // SAFETY: (1) a function of this kernel has at least these bytes of code and padding behind it.
    let bytes = unsafe { core::slice::from_raw_parts(function, 24) };
    let thread = CpuLocal::THREAD as u32;
    // mov rax, gs:[disp32]
    let load = [&[0x65, 0x48, 0x8b, 0x04, 0x25][..], &thread.to_le_bytes()].concat();
    let with_frame = [&[0x55, 0x48, 0x89, 0xe5][..], &load, &[0x5d, 0xc3]].concat();
    let without = [&load[..], &[0xc3]].concat();
    let is_one = bytes.starts_with(&with_frame) || bytes.starts_with(&without);
    check!(is_one, "`current` is compiled to {bytes:x?}");
    Ok(())
}
