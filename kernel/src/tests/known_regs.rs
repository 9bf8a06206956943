//! Code with a known value in every register, for looking at what entries save and restore.

use crate::arch::irqchip::vector;
use core::arch::naked_asm;
use core::mem::offset_of;

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
    /// The value that `rax` gets; each of the others, in the order of the fields, gets one more than the one before.
    pub const FIRST: u64 = 0x5a5a_0000_c001_0001;

    /// What the functions below put into the registers; SP and RIP are not among them.
    pub const fn known() -> Self {
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

/// Loads every register (rbp by `$fp`), executes `$at`, and stores every register to what rdi pointed at.
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
    /// Counts to a million with known registers, long enough for something to come in; stores what they are afterwards.
    across_a_while, "lea rbp, [rax + 7]", "push rcx # {software}", "mov ecx, 1000000", "3:", "dec ecx", "jnz 3b", "pop rcx"
);

with_known_registers!(
    /// Raises the software interrupt with known registers, but rbp is a frame pointer; stores what they are afterwards.
    across_an_interrupt_in_a_frame, "# rbp stays the frame pointer", "int {software}"
);

/// Loads the registers that a callee must keep with `pattern`, `+1` ..., calls `meanwhile`, and says how many of them came
/// back as they were: 6.
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
