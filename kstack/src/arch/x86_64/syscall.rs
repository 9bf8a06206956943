//! The `syscall` instruction: its entry, its short return path, and the registers that lead there.

use super::regs::SavedRegs;
use super::return_path::return_path;
use super::save::save_below_rdi;
use super::tables;
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::{asm, naked_asm};
use core::mem::{offset_of, size_of};

/// The `syscall` instruction. rcx = return address, r11 = flags, rsp still the user's; interrupts
/// off by the flag mask.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn syscall_entry() {
    naked_asm!(
        interrupted!(),
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "swapgs",
        "mov gs:[{user_sp}], rsp",
        "mov rsp, gs:[{thread_top}]",
        ".cfi_undefined rsp",
        "push {user_data}",
        ".cfi_adjust_cfa_offset 8",
        "push gs:[{user_sp}]",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rsp, 0",
        "push r11",
        ".cfi_adjust_cfa_offset 8",
        "push {user_code}",
        ".cfi_adjust_cfa_offset 8",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rip, 0",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        // Everything that belongs to the user is saved: interrupts may come.
        "sti",
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_syscall}",
        "cli",
        // No interrupt may find work after the look and before user mode.
        "lea rdi, [rsp + {aligned}]",
        "call {before_user}",
        "add rsp, 8",
        // sysret takes rip from rcx and flags from r11, and leaves them there: invariants 7 and 8.
        "mov rcx, [rsp + {rip}]",
        "cmp rcx, [rsp + {rcx}]",
        "jne {return_path}",
        "mov rax, [rsp + {r11}]",
        "cmp rax, [rsp + {rflags}]",
        "jne {return_path}",
        "cmp rcx, [rip + {USER_TOP}]",
        "jae {return_path}",
        "cmp word ptr [rsp + {cs}], {user_code}",
        "jne {return_path}",
        // The resume flag and the trap flag need iretq.
        "test dword ptr [rsp + {rflags}], 0x10100",
        "jnz {return_path}",
        ".cfi_def_cfa rsp, {regs}",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r15",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r14",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r13",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r12",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbp",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbx",
        "pop r11", // the flags, by invariant 8
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r11",
        "pop r10",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r10",
        "pop r9",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r9",
        "pop r8",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r8",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rax",
        "add rsp, 8", // rcx is the return address already
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rcx",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rdx",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rsi",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rdi",
        "mov rsp, [rsp + {rsp} - {orig_rax}]",
        ".cfi_def_cfa rsp, 0",
        ".cfi_restore rsp",
        ".cfi_register rip, rcx",
        "swapgs",
        "sysretq",
        ".cfi_endproc",
        ".globl {end}",
        "{end}:",
        end = sym kstack_syscall_entry_end,
        aligned = const 8,
        regs = const size_of::<SavedRegs>(),
        user_sp = const CpuLocal::SCRATCH,
        thread_top = const CpuLocal::THREAD_TOP,
        user_data = const tables::USER_DATA,
        user_code = const tables::USER_CODE,
        rip = const offset_of!(SavedRegs, rip),
        rcx = const offset_of!(SavedRegs, rcx),
        r11 = const offset_of!(SavedRegs, r11),
        cs = const offset_of!(SavedRegs, cs),
        rflags = const offset_of!(SavedRegs, rflags),
        USER_TOP = sym USER_TOP,
        orig_rax = const offset_of!(SavedRegs, orig_rax),
        rsp = const offset_of!(SavedRegs, rsp),
        on_syscall = sym crate::hooks::on_syscall,
        before_user = sym crate::hooks::before_user,
        return_path = sym return_path,
    )
}

/// The lowest address that is not in the lower half.
static USER_TOP: u64 = 1 << 47;

unsafe extern "C" {
    /// The byte behind the last of [`syscall_entry`].
    pub(super) fn kstack_syscall_entry_end();
}

/// `ENOSYS`, as a system call returns it.
const NO_SUCH_CALL: i32 = -38;

/// The `syscall` instruction of compatibility mode, on CPUs of AMD. In 64-bit mode, interrupts off,
/// SP and GS base the program's: neither is touched. A program gets there from the 32-bit code
/// segment or one of its own; without this entry, it would enter the kernel at whatever address the
/// register held (AMD APM vol. 2, 6.1.1). There are no calls of 32-bit programs: it goes back to
/// the 32-bit code segment, which `sysret` loads as it is, with an error.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn compatibility_syscall_entry() {
    naked_asm!(
        interrupted!(),
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "mov eax, {NO_SUCH_CALL}",
        "sysret",
        ".cfi_endproc",
        NO_SUCH_CALL = const NO_SUCH_CALL
    )
}

/// Points `syscall` at its entries on the CPU this runs on, and `sysenter` nowhere.
pub(super) fn enable_syscall() {
    const SYSENTER_CS: u32 = 0x174;
    const SYSENTER_ESP: u32 = 0x175;
    const SYSENTER_EIP: u32 = 0x176;
    const EFER: u32 = 0xc000_0080;
    const STAR: u32 = 0xc000_0081;
    const LSTAR: u32 = 0xc000_0082;
    const CSTAR: u32 = 0xc000_0083;
    const FMASK: u32 = 0xc000_0084;
    // Cleared on entry: interrupts, trap, direction, nested task, alignment check, I/O privilege.
    const CLEARED: u64 = 0x200 | 0x100 | 0x400 | 0x4000 | 0x4_0000 | 0x3000;
    let star = (tables::KERNEL_CODE as u64) << 32 | (tables::USER_CODE as u64 - 16) << 48;
    let write = |register: u32, value: u64| {
        // SAFETY: (1) these MSRs exist on every x86_64; (2) the values are the entry above and the
        // selectors of our own table.
        unsafe {
            asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
                 options(nostack, preserves_flags));
        }
    };
    let (low, high): (u32, u32);
    // SAFETY: (1) EFER exists on every x86_64.
    unsafe {
        asm!("rdmsr", in("ecx") EFER, out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    write(EFER, u64::from(high) << 32 | u64::from(low) | 1);
    write(STAR, star);
    write(LSTAR, syscall_entry as *const () as u64);
    write(CSTAR, compatibility_syscall_entry as *const () as u64);
    write(FMASK, CLEARED);
    // With a null selector, `sysenter` is a general protection fault on CPUs that have it in long
    // mode (Intel SDM vol. 2).
    for register in [SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP] {
        write(register, 0);
    }
}
