//! Vectors, the two system-call entries and the way back.
//!
//! # An interrupt, exception or `int 0x80`, step by step
//!
//! ```text
//!   CPU pushes [ss esp] eflags cs eip [error code]   on the thread stack (from user) or the current one
//!   stub      pushes 0 if the CPU pushed no error code (eax for `int 0x80`), then the vector, where gs will be
//!   save      from the kernel: moves all that down by two words and fills in esp and ss
//!             pushes the rest of SavedRegs; DS, ES = kernel data, FS = CpuLocal, GS = null
//!   common    ebp = address of SavedRegs + 1; SP 16-aligned; calls Rust
//!   way back  interrupts off; to user mode: pending work; registers; to the kernel: eflags cs eip up again; iret
//! ```
//!
//! # `sysenter`
//!
//! The instruction saves nothing: not where it was, not SP. So the programs' side is fixed, as on Linux: a program pushes ecx,
//! edx and ebp, copies esp to ebp and executes `sysenter`; it goes on at one place for all programs, that the kernel names
//! ([`set_sysenter_return`](super::local::ArchLocal::set_sysenter_return)), with SP = ebp and ecx and edx lost, and pops them there.
//!
//! # Invariants
//!
//! 1. The first memory access of every entry is the CPU's own push, or for `sysenter` one to the CPU's own tables: on a full
//!    stack the push is what faults, and the double fault has a stack of its own.
//! 2. SP is a valid kernel stack with room for a frame at every instruction here: an NMI or a debug exception may come
//!    before any of them. (From `sysenter` to its first instruction that is the entry stack in the CPU's tables.)
//! 3. Every entry loads DS, ES, FS and GS whatever they were, so none depends on what was interrupted.
//! 4. Selectors in saved user registers name descriptors that are there: a program cannot load others, and
//!    [`tables`] never takes away one that a thread's saved registers may name. So no load on the way back faults.
//! 5. Rust code is called with SP 16-aligned, as the ABI wants it; ebx holds the address of SavedRegs across the call.
//! 6. From the kernel on a thread's stack Rust code is called only with RESERVE bytes left ([`crate::room`]). Until then nothing of
//!    the kernel's has changed; what the interrupt controller knows of is made good by `fault::on_no_room` and the double fault.
//! 7. An interrupt gate turns interrupts off; the way back turns them off again before it looks for pending work.
//! 8. The alignment-check flag is clear in the kernel once the registers are saved: with SMAP on (Intel SDM vol. 3, 5.6.1), it is what
//!    lets the kernel touch user pages. `popf` clears it on every CPU, `clac` only where there is SMAP.

use crate::arch::current::local::ArchLocal;
use crate::arch::current::regs::{INTERRUPTS_ON, MARK, SavedRegs};
use crate::arch::current::{RESERVE, interrupts, nmi, tables};
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// The vector of the system call that every i386 program knows.
pub(super) const SYSCALL_VECTOR: u8 = 0x80;

/// In the flags: user mode checks alignment; the kernel may touch user pages.
pub(super) const ALIGNMENT_CHECK: u32 = 1 << 18;
/// Flags with nothing set but the bit that always is: interrupts off.
pub(super) const NO_FLAGS: u32 = 2;

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u32>();

/// From the place of gs, where the stub leaves the vector, up to the other words of SavedRegs.
pub(super) const AT_ORIG: usize = offset_of!(SavedRegs, orig_eax) - offset_of!(SavedRegs, gs);
pub(super) const AT_EIP: usize = offset_of!(SavedRegs, eip) - offset_of!(SavedRegs, gs);
pub(super) const AT_CS: usize = offset_of!(SavedRegs, cs) - offset_of!(SavedRegs, gs);
pub(super) const AT_EFLAGS: usize = offset_of!(SavedRegs, eflags) - offset_of!(SavedRegs, gs);
pub(super) const AT_ESP: usize = offset_of!(SavedRegs, esp) - offset_of!(SavedRegs, gs);
pub(super) const AT_SS: usize = offset_of!(SavedRegs, ss) - offset_of!(SavedRegs, gs);
/// Bytes that an entry from the kernel makes room for: esp and ss.
pub(super) const GAP: usize = size_of::<SavedRegs>() - offset_of!(SavedRegs, esp);

/// Pushes a segment register as a word of four bytes: the instruction's code, because the assembler takes its name for the one
/// that pushes two.
macro_rules! push_segment {
    ("ds") => {
        ".byte 0x1e"
    };
    ("es") => {
        ".byte 0x06"
    };
    ("fs") => {
        ".byte 0x0f, 0xa0"
    };
}

/// The reverse.
macro_rules! pop_segment {
    ("ds") => {
        ".byte 0x1f"
    };
    ("es") => {
        ".byte 0x07"
    };
    ("fs") => {
        ".byte 0x0f, 0xa1"
    };
    ("gs") => {
        ".byte 0x0f, 0xa9"
    };
}
pub(super) use push_segment;

/// A naked function that starts with the stub's words on the stack and saves all of SavedRegs. After it: SP at SavedRegs,
/// esi = vector, ebp marked, ebx = SP, segments the kernel's.
macro_rules! saving_entry {
    ([$($line:expr),* $(,)?] $($operands:tt)*) => {
        core::arch::naked_asm!(
            "test byte ptr [esp + {AT_CS}], 3",
            "jnz 19f",
            // From the kernel: new place of the frame, and a word below it for eax. The old place is GAP higher.
            "sub esp, {GAP} + {WORD}",
            "mov [esp], eax",
            "mov eax, [esp + {WORD} + {GAP}]",
            "mov [esp + {WORD}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_ORIG}]",
            "mov [esp + {WORD} + {AT_ORIG}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_EIP}]",
            "mov [esp + {WORD} + {AT_EIP}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_CS}]",
            "mov [esp + {WORD} + {AT_CS}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_EFLAGS}]",
            "mov [esp + {WORD} + {AT_EFLAGS}], eax",
            // What the CPU pushed began right below the interrupted SP: where the new frame ends.
            "lea eax, [esp + {WORD} + {AT_SS} + {WORD}]",
            "mov [esp + {WORD} + {AT_ESP}], eax",
            "mov eax, ss",
            "mov [esp + {WORD} + {AT_SS}], eax",
            "pop eax",
            "19:",
            push_segment!("fs"),
            push_segment!("es"),
            push_segment!("ds"),
            "push eax",
            "push ebp",
            "push edi",
            "push esi",
            "push edx",
            "push ecx",
            "push ebx",
            // The kernel's code is compiled for a clear direction flag; a program may have set it.
            "cld",
            // Invariant 8.
            "test dword ptr [esp + {EFLAGS}], {ALIGNMENT_CHECK}",
            "jz 20f",
            "push {NO_FLAGS}",
            "popfd",
            "20:",
            "mov esi, [esp + {GS}]",
            "mov [esp + {GS}], gs",
            "mov eax, {KERNEL_DATA}",
            "mov ds, eax",
            "mov es, eax",
            "mov eax, {PER_CPU}",
            "mov fs, eax",
            "xor eax, eax",
            "mov gs, eax",
            "lea ebp, [esp + {MARK}]",
            "mov ebx, esp",
            $($line,)*
            WORD = const $crate::arch::i386::entry::WORD,
            GAP = const $crate::arch::i386::entry::GAP,
            AT_ORIG = const $crate::arch::i386::entry::AT_ORIG,
            AT_EIP = const $crate::arch::i386::entry::AT_EIP,
            AT_CS = const $crate::arch::i386::entry::AT_CS,
            AT_EFLAGS = const $crate::arch::i386::entry::AT_EFLAGS,
            AT_ESP = const $crate::arch::i386::entry::AT_ESP,
            AT_SS = const $crate::arch::i386::entry::AT_SS,
            GS = const core::mem::offset_of!($crate::arch::i386::regs::SavedRegs, gs),
            EFLAGS = const core::mem::offset_of!($crate::arch::i386::regs::SavedRegs, eflags),
            ALIGNMENT_CHECK = const $crate::arch::i386::entry::ALIGNMENT_CHECK,
            NO_FLAGS = const $crate::arch::i386::entry::NO_FLAGS,
            KERNEL_DATA = const $crate::arch::i386::tables::KERNEL_DATA,
            PER_CPU = const $crate::arch::i386::tables::PER_CPU,
            MARK = const $crate::arch::i386::regs::MARK,
            $($operands)*
        )
    };
}
pub(super) use saving_entry;

/// Vectors for which the CPU pushes an error code (Intel SDM vol. 3, table 7-1).
const fn has_error_code(vector: usize) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// One vector's first instructions.
///
/// In: the CPU's frame on the stack. Out: the stub's words on the stack. SP: on whatever stack the CPU chose.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn stub<const VECTOR: usize>() {
    naked_asm!(
        // The CPU pushed no error code: keep the layout the same.
        ".if {no_error_code}",
        "push 0",
        ".endif",
        "push {vector}",
        "jmp {common}",
        no_error_code = const !has_error_code(VECTOR) as usize,
        vector = const VECTOR,
        common = sym common,
    )
}

/// `int 0x80`: like any vector, but the number of the call is kept where an error code would be, since eax takes the result.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn int80() {
    naked_asm!(
        "push eax",
        "push {vector}",
        "jmp {common}",
        vector = const SYSCALL_VECTOR as usize,
        common = sym common,
    )
}

/// Saves the rest, calls [`on_trap`], goes back. In: the stub's words.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn common() {
    saving_entry!(
        [
            // Is there room for what follows, until the IRQ stack is reached and after it was left? SP may also be on a stack that
            // lies below the thread's: the second look tells.
            "cmp esp, fs:[{THREAD_LINE}]",
            "jb 4f",
            "3:",
            "and esp, -16",
            "sub esp, 2 * {WORD}",
            "push ebx",
            "push esi",
            "call {on_trap}",
            "mov esp, ebx",
            "jmp {way_back}",
            "4:",
            "mov eax, esp",
            "sub eax, fs:[{THREAD_LINE}]",
            "add eax, {RESERVE}",
            "cmp eax, {RESERVE}",
            "jae 3b",
            // SP is on the thread's stack, so the IRQ stack is empty.
            "mov esp, fs:[{IRQ_TOP}]",
            "sub esp, 2 * {WORD}",
            "push ebx",
            "push esi",
            "call {on_no_room}",
            "ud2",
            ".globl {end}",
            "{end}:",
        ]
        end = sym kstack_common_end,
        RESERVE = const RESERVE.get(),
        THREAD_LINE = const CpuLocal::THREAD_LINE,
        IRQ_TOP = const CpuLocal::IRQ_TOP,
        on_no_room = sym super::fault::on_no_room,
        on_trap = sym on_trap,
        way_back = sym way_back,
    )
}

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn way_back() {
    naked_asm!(
        // The handler may have run with interrupts on. From here to iret they stay off (invariant 7).
        "cli",
        "test byte ptr [esp + {cs}], 3",
        "jz {restore}",
        "mov ebx, esp",
        "and esp, -16",
        "sub esp, 3 * {word}",
        "push ebx",
        "call {before_user}",
        "mov esp, ebx",
        "jmp {restore}",
        cs = const offset_of!(SavedRegs, cs),
        word = const WORD,
        before_user = sym crate::hooks::before_user,
        restore = sym restore,
    )
}

/// A naked function that loads every register from the SavedRegs at SP and goes on there. Interrupts are off.
macro_rules! restoring {
    () => {
        naked_asm!(
            "pop ebx",
            "pop ecx",
            "pop edx",
            "pop esi",
            "pop edi",
            "pop ebp",
            "pop eax",
            pop_segment!("ds"),
            pop_segment!("es"),
            pop_segment!("fs"),
            pop_segment!("gs"),
            // SP is at orig_eax, a word above the place of gs.
            "test byte ptr [esp - {WORD} + {AT_CS}], 3",
            "jz 2f",
            "add esp, {WORD}",
            "iretd",
            // To the kernel: iret pops three words and leaves SP above them, so they must end where SP was. DS may be a program's
            // here (it is, if an entry from user mode was interrupted at its first instruction), hence SS.
            "2:",
            "push eax",
            "push ecx",
            "mov eax, [esp + {WORD} + {AT_ESP}]",
            "mov ecx, [esp + {WORD} + {AT_EFLAGS}]",
            "mov ss:[eax - {WORD}], ecx",
            "mov ecx, [esp + {WORD} + {AT_CS}]",
            "mov ss:[eax - {WORD} * 2], ecx",
            "mov ecx, [esp + {WORD} + {AT_EIP}]",
            "mov ss:[eax - {WORD} * 3], ecx",
            // The saved eax goes right below them.
            "mov ecx, [esp + {WORD}]",
            "mov ss:[eax - {WORD} * 4], ecx",
            "pop ecx",
            "lea esp, [eax - {WORD} * 4]",
            "pop eax",
            "iretd",
            WORD = const WORD,
            AT_EIP = const AT_EIP,
            AT_CS = const AT_CS,
            AT_EFLAGS = const AT_EFLAGS,
            AT_ESP = const AT_ESP,
        )
    };
}

/// The end of every entry but debug exceptions.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn restore() {
    restoring!()
}

/// The end of a debug exception: the same again, so that a breakpoint on the other does not lead back to itself.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn restore_after_debug() {
    restoring!()
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: eax = the switch's message, ebx = function or 0, edi = its argument, ebp = outermost marker. Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        // SavedRegs is at SP now; Rust code wants SP 16-aligned at a call.
        "mov esi, esp",
        "and esp, -16",
        "sub esp, 3 * {word}",
        "push eax",
        "call {after_switch}",
        "test ebx, ebx",
        "jz 2f",
        "sti",
        // In place of the argument before.
        "mov [esp], edi",
        "call ebx",
        "mov [esp], esi",
        "call {after_function}",
        "2:",
        "mov esp, esi",
        "jmp {way_back}",
        word = const WORD,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        way_back = sym way_back,
    )
}

/// Flags that `popf` right before `sysexit` must not load: interrupts (a `sti` comes last), trap, nested task, resume.
const NOT_BY_SYSEXIT: u32 = 0x200 | 0x100 | 0x4000 | 0x1_0000;
/// The same without interrupts: with one of these set, the way back is `iret`.
const NEEDS_IRET: u32 = NOT_BY_SYSEXIT & !INTERRUPTS_ON;
/// From the top of the CPU's tables, where `sysenter` sets SP, down to the word that holds the thread stack's top.
const DOWN_TO_ESP1: usize = size_of::<tables::CpuTables>() - tables::CpuTables::ESP1;

/// The `sysenter` instruction. ebp = the user's SP; eip and the flags' interrupt bit are lost; interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn sysenter_entry() {
    naked_asm!(
        // One instruction from the entry stack to the thread stack: nothing is ever pushed on the entry stack but by an NMI or
        // a debug exception right here.
        "mov esp, [esp - {DOWN_TO_ESP1}]",
        "push {user_data}",
        "push ebp",
        "pushfd",
        // Unlike a gate, the instruction leaves the trap, nested-task, direction and alignment-check flags as they were; with
        // the second one set, the next iret would be a task switch.
        "push {NO_FLAGS}",
        "popfd",
        "or dword ptr [esp], {interrupts_on}",
        "push {user_code}",
        // Place of eip.
        "push eax",
        "push eax",
        // Place of gs.
        "push 0",
        push_segment!("fs"),
        push_segment!("es"),
        push_segment!("ds"),
        "push eax",
        "push ebp",
        "push edi",
        "push esi",
        "push edx",
        "push ecx",
        "push ebx",
        "mov [esp + {gs}], gs",
        "mov eax, {kernel_data}",
        "mov ds, eax",
        "mov es, eax",
        "mov eax, {per_cpu}",
        "mov fs, eax",
        "xor eax, eax",
        "mov gs, eax",
        "mov eax, fs:[{sysenter_return}]",
        "mov [esp + {eip}], eax",
        "lea ebp, [esp + {MARK}]",
        "mov ebx, esp",
        "and esp, -16",
        "sub esp, 3 * {word}",
        "push ebx",
        // Everything that belongs to the user is saved: interrupts may come.
        "sti",
        "call {on_syscall}",
        "cli",
        // No interrupt may find work after the look and before user mode.
        "mov [esp], ebx",
        "call {before_user}",
        "mov esp, ebx",
        // sysexit takes eip from edx and esp from ecx, and flat user segments. It is used only to go back to where every
        // sysenter goes back to, which expects that.
        "mov eax, [esp + {eip}]",
        "cmp eax, fs:[{sysenter_return}]",
        "jne {restore}",
        "cmp word ptr [esp + {cs}], {user_code}",
        "jne {restore}",
        "cmp word ptr [esp + {ss}], {user_data}",
        "jne {restore}",
        "test dword ptr [esp + {eflags}], {NEEDS_IRET}",
        "jnz {restore}",
        "pop ebx",
        "add esp, 2 * {word}", // ecx and edx
        "pop esi",
        "pop edi",
        "pop ebp",
        "pop eax",
        pop_segment!("ds"),
        pop_segment!("es"),
        pop_segment!("fs"),
        pop_segment!("gs"),
        "mov edx, [esp - {word} + {AT_EIP}]",
        "mov ecx, [esp - {word} + {AT_ESP}]",
        "and dword ptr [esp - {word} + {AT_EFLAGS}], ~{NOT_BY_SYSEXIT}",
        "add esp, {AT_EFLAGS} - {word}",
        "popfd",
        // Interrupts are taken after the instruction that follows sti at the earliest: in user mode.
        "sti",
        "sysexit",
        DOWN_TO_ESP1 = const DOWN_TO_ESP1,
        MARK = const MARK,
        NO_FLAGS = const NO_FLAGS,
        NOT_BY_SYSEXIT = const NOT_BY_SYSEXIT,
        NEEDS_IRET = const NEEDS_IRET,
        AT_EIP = const AT_EIP,
        AT_ESP = const AT_ESP,
        AT_EFLAGS = const AT_EFLAGS,
        interrupts_on = const INTERRUPTS_ON,
        word = const WORD,
        user_data = const tables::USER_DATA,
        user_code = const tables::USER_CODE,
        kernel_data = const tables::KERNEL_DATA,
        per_cpu = const tables::PER_CPU,
        sysenter_return = const ArchLocal::SYSENTER_RETURN,
        gs = const offset_of!(SavedRegs, gs),
        eip = const offset_of!(SavedRegs, eip),
        cs = const offset_of!(SavedRegs, cs),
        ss = const offset_of!(SavedRegs, ss),
        eflags = const offset_of!(SavedRegs, eflags),
        on_syscall = sym crate::hooks::on_syscall,
        before_user = sym crate::hooks::before_user,
        restore = sym restore,
    )
}

unsafe extern "C" {
    /// The byte behind the last of [`common`].
    fn kstack_common_end();
}

/// How far behind a stub's first instruction its last push begins: behind a `push 0` of two bytes, if there is one.
const LAST_PUSH: usize = 2;

/// Whether an instruction is one of an entry that has begun nothing yet: it saves registers. Those of a stub that can fail are its pushes.
pub(super) fn is_on_way_in(pc: Addr) -> bool {
    let common = common as *const () as usize..kstack_common_end as *const () as usize;
    common.contains(&pc.get())
        || nmi::is_saving_nmi(pc)
        || VECTORS.iter().any(|&stub| pc.get().wrapping_sub(stub as usize) <= LAST_PUSH)
}

/// All interrupts, exceptions and `int 0x80` arrive here, but for those of [`nmi`].
extern "C" fn on_trap(vector: u32, regs: &mut SavedRegs) {
    if vector == u32::from(SYSCALL_VECTOR) {
        // SAFETY: (1) entry code: the tables are loaded; (2) all that belongs to the user is saved.
        unsafe { interrupts::on() };
        crate::hooks::on_syscall(regs);
    } else if vector >= 32 {
        crate::irq::on_interrupt(vector as u8, regs);
    } else {
        super::fault::on_exception(vector as u8, regs);
    }
}

const fn first_instruction(vector: u8, plain: extern "C" fn()) -> extern "C" fn() {
    match vector {
        SYSCALL_VECTOR => int80,
        _ => nmi::own_stub(vector, plain),
    }
}

/// The first instruction of a vector: what a gate of a kernel's own table leads to. A double fault's is a task gate.
pub fn vector(number: u8) -> Addr {
    Addr::new(VECTORS[usize::from(number)] as usize)
}

/// The first instruction of every vector.
pub static VECTORS: [extern "C" fn(); 256] = {
    macro_rules! table {
        ($($vector:literal)*) => { [$( first_instruction($vector, stub::<$vector>) ),*] };
    }
    table!(
        0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08 0x09 0x0a 0x0b 0x0c 0x0d 0x0e 0x0f
        0x10 0x11 0x12 0x13 0x14 0x15 0x16 0x17 0x18 0x19 0x1a 0x1b 0x1c 0x1d 0x1e 0x1f
        0x20 0x21 0x22 0x23 0x24 0x25 0x26 0x27 0x28 0x29 0x2a 0x2b 0x2c 0x2d 0x2e 0x2f
        0x30 0x31 0x32 0x33 0x34 0x35 0x36 0x37 0x38 0x39 0x3a 0x3b 0x3c 0x3d 0x3e 0x3f
        0x40 0x41 0x42 0x43 0x44 0x45 0x46 0x47 0x48 0x49 0x4a 0x4b 0x4c 0x4d 0x4e 0x4f
        0x50 0x51 0x52 0x53 0x54 0x55 0x56 0x57 0x58 0x59 0x5a 0x5b 0x5c 0x5d 0x5e 0x5f
        0x60 0x61 0x62 0x63 0x64 0x65 0x66 0x67 0x68 0x69 0x6a 0x6b 0x6c 0x6d 0x6e 0x6f
        0x70 0x71 0x72 0x73 0x74 0x75 0x76 0x77 0x78 0x79 0x7a 0x7b 0x7c 0x7d 0x7e 0x7f
        0x80 0x81 0x82 0x83 0x84 0x85 0x86 0x87 0x88 0x89 0x8a 0x8b 0x8c 0x8d 0x8e 0x8f
        0x90 0x91 0x92 0x93 0x94 0x95 0x96 0x97 0x98 0x99 0x9a 0x9b 0x9c 0x9d 0x9e 0x9f
        0xa0 0xa1 0xa2 0xa3 0xa4 0xa5 0xa6 0xa7 0xa8 0xa9 0xaa 0xab 0xac 0xad 0xae 0xaf
        0xb0 0xb1 0xb2 0xb3 0xb4 0xb5 0xb6 0xb7 0xb8 0xb9 0xba 0xbb 0xbc 0xbd 0xbe 0xbf
        0xc0 0xc1 0xc2 0xc3 0xc4 0xc5 0xc6 0xc7 0xc8 0xc9 0xca 0xcb 0xcc 0xcd 0xce 0xcf
        0xd0 0xd1 0xd2 0xd3 0xd4 0xd5 0xd6 0xd7 0xd8 0xd9 0xda 0xdb 0xdc 0xdd 0xde 0xdf
        0xe0 0xe1 0xe2 0xe3 0xe4 0xe5 0xe6 0xe7 0xe8 0xe9 0xea 0xeb 0xec 0xed 0xee 0xef
        0xf0 0xf1 0xf2 0xf3 0xf4 0xf5 0xf6 0xf7 0xf8 0xf9 0xfa 0xfb 0xfc 0xfd 0xfe 0xff
    )
};
