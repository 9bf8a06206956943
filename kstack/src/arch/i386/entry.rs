//! Interrupts, exceptions and `int 0x80`. The other system-call entry is in [`super::sysenter`].
//!
//! # An interrupt, exception or `int 0x80`, step by step
//!
//! ```text
//!   CPU       pushes [ss esp] eflags cs eip [error code]   on the thread stack (from user) or the current one
//!   stub      pushes 0 if the CPU pushed no error code (eax for `int 0x80`), then the vector, where gs will be
//!   save      from the kernel: moves all that down by two words and fills in esp and ss
//!             pushes the rest of SavedRegs; DS, ES = kernel data, FS = CpuLocal, GS = null ([`GUARD_SEGMENT`](super::tables::GUARD_SEGMENT))
//!   common    ebp = address of SavedRegs + 1; SP 16-aligned; calls Rust
//!   return    interrupts off; to user mode: pending work; registers; to the kernel: eflags cs eip up again; iret
//! ```
//!
//! # Invariants
//!
//! 1. The first memory access of every entry is the CPU's own push, or for `sysenter` one to the
//!    CPU's own tables: on a full stack the push is what faults, and the double fault has a stack
//!    of its own.
//! 2. SP is a valid kernel stack with room for a frame at every instruction here: an NMI or a debug
//!    exception may come before any of them. (From `sysenter` to its first instruction that is the
//!    entry stack in the CPU's tables.)
//! 3. Every entry loads DS, ES, FS and GS whatever they were, so none depends on what was
//!    interrupted.
//! 4. Selectors in saved user registers name descriptors that are there: a program cannot load
//!    others, and [`super::tables`] never takes away one that a thread's saved registers may name.
//!    So no load on the return path faults.
//! 5. Rust code is called with SP 16-aligned, as the ABI wants it; ebx holds the address of
//!    SavedRegs across the call.
//! 6. From the kernel on a thread's stack Rust code is called only with RESERVE bytes left
//!    ([`crate::room`]). Until then nothing of the kernel's has changed; what the interrupt
//!    controller knows of is made good by `fault::on_no_room` and the double fault.
//! 7. An interrupt gate turns interrupts off; the return path turns them off again before it looks
//!    for pending work.
//! 8. The alignment-check flag is clear in the kernel once the registers are saved: with SMAP on
//!    (Intel SDM vol. 3, 5.6.1), it is what lets the kernel touch user pages. `popf` clears it on
//!    every CPU, `clac` only where there is SMAP.

use super::cause::{SYSCALL_VECTOR, has_error_code};
use super::regs::SavedRegs;
use super::return_path::return_path;
use super::save::{frame_above_stub, frame_above_word, frame_at_sp, push_segment, saving_entry};
use super::{RESERVE, interrupts};
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use kstack_core::addr::Addr;

/// One vector's first instructions.
///
/// In: the CPU's frame on the stack. Out: the stub's words on the stack. SP: on whatever stack the
/// CPU chose.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn stub<const VECTOR: usize>() {
    naked_asm!(
        interrupted!(),
        // The CPU pushed no error code: keep the layout the same.
        ".if {no_error_code}",
        frame_at_sp!(),
        "push 0",
        ".endif",
        frame_above_word!(),
        "push {vector}",
        frame_above_stub!(),
        "jmp {common}",
        ".cfi_endproc",
        no_error_code = const !has_error_code(VECTOR) as usize,
        vector = const VECTOR,
        common = sym common,
    )
}

/// `int 0x80`: like any vector, but the number of the call is kept where an error code would be,
/// since eax takes the result.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn int80() {
    naked_asm!(
        interrupted!(),
        frame_at_sp!(),
        "push eax",
        frame_above_word!(),
        "push {vector}",
        frame_above_stub!(),
        "jmp {common}",
        ".cfi_endproc",
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
            // Is there room for what follows, until the IRQ stack is reached and after it was left?
            // SP may also be on a stack that lies below the thread's: the second look tells.
            "cmp esp, fs:[{THREAD_LINE}]",
            "jb 4f",
            "3:",
            "and esp, -16",
            "sub esp, 2 * {WORD}",
            "push ebx",
            "push esi",
            "call {on_trap}",
            "mov esp, ebx",
            "jmp {return_path}",
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
        return_path = sym return_path,
    )
}

unsafe extern "C" {
    /// The byte behind the last of [`common`].
    fn kstack_common_end();
}

/// How far behind a stub's first instruction its last push begins: behind a `push 0` of two bytes,
/// if there is one.
const LAST_PUSH: usize = 2;

/// Whether an instruction is one of an entry that has begun nothing yet: it saves registers. Those
/// of a stub that can fail are its pushes.
pub(super) fn is_on_way_in(pc: Addr) -> bool {
    let common = common as *const () as usize..kstack_common_end as *const () as usize;
    common.contains(&pc.get())
        || STUBS.iter().any(|&stub| pc.get().wrapping_sub(stub as usize) <= LAST_PUSH)
}

/// All interrupts, exceptions and `int 0x80` arrive here, but for those of [`super::nmi`].
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

/// The first instructions of every vector; [`super::vectors`] knows those with an entry of their
/// own.
pub(super) static STUBS: [extern "C" fn(); 256] = {
    macro_rules! table {
        ($($vector:literal)*) => { [$( stub::<$vector> ),*] };
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
