//! Interrupts and exceptions that stay on the stack they came on.
//!
//! # An interrupt or exception, step by step
//!
//! ```text
//!   CPU       pushes ss rsp rflags cs rip [error code]   on the thread stack (from user), the current one, or an IST stack
//!   stub      pushes 0 if the CPU pushed no error code, then rdi; edi = vector
//!   common    pushes the rest of SavedRegs; from user mode: swapgs; rbp = address of SavedRegs + 1; calls Rust
//!   return    interrupts off; to user mode: pending work, swapgs; registers; iretq
//! ```
//!
//! # Invariants
//!
//! 1. The first memory access of every entry is the CPU's own push: on a full stack it is what
//!    faults, and the double fault has a stack of its own.
//! 2. GS base is the kernel's from right after `swapgs` to right before the `swapgs` of the return
//!    path, and interrupts are off in the gaps. Entries that can fall into a gap go through
//!    [`super::nmi`].
//! 3. Rust code is called with SP 16-aligned, as the ABI wants it: tops of stacks are 16-aligned,
//!    the CPU aligns SP to 16 before it pushes a frame, and SavedRegs is 168 bytes, so each call
//!    from here moves SP by 8 more.
//! 4. From the kernel on a thread's stack Rust code is called only with RESERVE bytes left
//!    ([`crate::room`]). Until then nothing of the kernel's has changed; what the interrupt
//!    controller knows of is made good by `fault::on_no_room` and the double fault.
//! 5. An interrupt gate turns interrupts off; the return path turns them off again before it looks
//!    for pending work.
//! 6. The alignment-check flag is clear in the kernel: with SMAP on (Intel SDM vol. 3, 5.6.1), it
//!    is what lets the kernel touch user pages. `syscall` clears it by its mask, every other entry
//!    from user mode right after `swapgs`; entries that can fall in between clear it whatever they
//!    hit. `popf` does it on every CPU, `clac` only where there is SMAP.
//! 7. On the way to user mode a return address goes through `sysret` only if it lies in the lower
//!    half: with another one `sysret` faults *in the kernel, on the user's stack* on Intel CPUs.
//! 8. `sysret` leaves the return address in rcx and the flags in r11 (Intel SDM vol. 2, SYSRET). So
//!    it is taken only where the saved rcx and r11 are those: after `syscall` they are, and no
//!    longer after a call that set the registers anew (a handler's end, which gives back what was
//!    interrupted anywhere, and a new program, which starts with zeros).

use super::RESERVE;
use super::cause::has_error_code;
use super::regs::SavedRegs;
use super::return_path::return_path;
use super::save::{ALIGNMENT_CHECK, NO_FLAGS};
use super::save::{frame_above_rdi, frame_above_word, frame_at_sp, save_below_rdi};
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::offset_of;
use kstack_core::addr::Addr;

/// One vector's first instructions.
///
/// In: the CPU's frame on the stack. Out: rdi saved, edi = vector. SP: on whatever stack the CPU
/// chose.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn stub<const VECTOR: usize>() {
    naked_asm!(
        interrupted!(),
        // The CPU pushed no error code: keep the layout the same.
        ".if {no_error_code}",
        frame_at_sp!(),
        "push 0",
        ".cfi_adjust_cfa_offset 8",
        ".else",
        frame_above_word!(),
        ".endif",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        "mov edi, {vector}",
        "jmp {common}",
        ".cfi_endproc",
        no_error_code = const !has_error_code(VECTOR) as usize,
        vector = const VECTOR,
        common = sym common,
    )
}

/// Saves the rest, calls [`on_trap`], goes back.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
extern "C" fn common() {
    naked_asm!(
        interrupted!(),
        frame_above_rdi!(),
        save_below_rdi!(),
        // The kernel's code is compiled for a clear direction flag; a program may have set it.
        "cld",
        "test byte ptr [rsp + {cs}], 3",
        "jz 2f",
        "swapgs",
        // Invariant 6.
        "test dword ptr [rsp + {rflags}], {ALIGNMENT_CHECK}",
        "jz 2f",
        "push {NO_FLAGS}",
        "popfq",
        "2:",
        // Is there room for what follows, until the IRQ stack is reached and after it was left? SP
        // may also be on a stack that lies below the thread's: the second look tells.
        "cmp rsp, gs:[{thread_line}]",
        "jb 4f",
        "3:",
        "mov rsi, rsp",
        "sub rsp, 8",
        "call {on_trap}",
        "add rsp, 8",
        "jmp {return_path}",
        "4:",
        "mov rax, rsp",
        "sub rax, gs:[{thread_line}]",
        "add rax, {reserve}",
        "cmp rax, {reserve}",
        "jae 3b",
        // SP is on the thread's stack, so the IRQ stack is empty.
        "mov rsi, rsp",
        "mov rsp, gs:[{irq_top}]",
        "call {on_no_room}",
        "ud2",
        ".cfi_endproc",
        ".globl {end}",
        "{end}:",
        end = sym kstack_common_end,
        ALIGNMENT_CHECK = const ALIGNMENT_CHECK,
        NO_FLAGS = const NO_FLAGS,
        cs = const offset_of!(SavedRegs, cs),
        rflags = const offset_of!(SavedRegs, rflags),
        reserve = const RESERVE.get(),
        thread_line = const CpuLocal::THREAD_LINE,
        irq_top = const CpuLocal::IRQ_TOP,
        on_trap = sym on_trap,
        on_no_room = sym super::fault::on_no_room,
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
    (common as *const () as usize..kstack_common_end as *const () as usize).contains(&pc.get())
        || STUBS.iter().any(|&stub| pc.get().wrapping_sub(stub as usize) <= LAST_PUSH)
}

/// All interrupts and exceptions that do not have a stack of their own arrive here.
extern "C" fn on_trap(vector: u32, regs: &mut SavedRegs) {
    if vector >= 32 {
        crate::irq::on_interrupt(vector as u8, regs);
    } else {
        super::fault::on_exception(vector as u8, regs);
    }
}

/// The first instructions of every vector that stays on the stack it came on; [`super::vectors`]
/// knows those that do not.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Red if an overflow in the switch's own pushes is taken for an entry's, which ends a thread,
    /// or the pushes of an entry for those of the code around it, which stops the system.
    #[test]
    fn o6_the_way_in_is_the_pushes_of_stubs_and_what_saves_the_rest() {
        let is_in = |pc: usize| is_on_way_in(Addr::new(pc));
        let common = common as *const () as usize..kstack_common_end as *const () as usize;
        assert!(common.clone().all(is_in) && !is_in(common.end));
        // `push 0` of two bytes, unless the CPU pushes an error code, and `push rdi`.
        for (number, pushes) in [(0x20, 0..=2), (14, 0..=0)] {
            let first = STUBS[number] as usize;
            assert!(pushes.clone().all(|at| is_in(first + at)), "vector {number}");
        }
        let switch = super::super::switch::switch as *const () as usize;
        // Six pushes and six pops, half of them with a prefix, three moves, and the return.
        let length = 2 * (2 + 4 * 2) + 3 * 3 + 1;
        assert!(!(switch..switch + length).any(is_in), "the switch is none");
        assert!(!is_in(0) && !is_in(return_path as *const () as usize));
    }
}
