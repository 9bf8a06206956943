//! System calls of 32 bits that a program of 64 bits makes, by `int 0x80`.
//!
//! In 64-bit mode the gate is not for programs: the kernel carries the call out when the processor
//! refuses it. Number and arguments are the lower halves of rax, rbx, rcx, rdx, rsi, rdi and rbp;
//! all registers but rax are kept.
//!
//! A structure of 32 bits is laid out otherwise than one of 64 bits, so a call that has one is not
//! there (ENOSYS, logged once): only those whose arguments are numbers, names and bytes are.

use super::calls_32::NAMES_32;
use super::names::{OldCalls, Way};
use machine::arch::regs::SavedRegs;

/// Calls whose arguments mean the same in both widths.
const ALIKE: &str = "exit read write open close creat link unlink chdir mknod chmod getpid alarm \
     pause access nice sync kill rename mkdir rmdir dup pipe umount2 setpgid umask chroot dup2 \
     getppid getpgrp setsid sethostname symlink readlink fchmod getpriority setpriority ioperm \
     iopl fsync setdomainname getpgid fchdir personality flock getsid fdatasync mlock munlock \
     mlockall munlockall mprotect munmap msync mincore madvise sched_yield \
     sched_get_priority_max sched_get_priority_min getcwd chown32 lchown32 fchown32 getuid32 \
     getgid32 geteuid32 getegid32 setuid32 setgid32 setreuid32 setregid32 setresuid32 \
     setresgid32 getresuid32 getresgid32 setfsuid32 setfsgid32 gettid tkill exit_group \
     set_tid_address tgkill epoll_create inotify_init openat mkdirat mknodat fchownat unlinkat \
     renameat linkat symlinkat readlinkat fchmodat faccessat unshare setns eventfd eventfd2 \
     epoll_create1 dup3 pipe2 inotify_init1 socketpair syncfs renameat2 getrandom memfd_create \
     membarrier mlock2 pidfd_open close_range faccessat2 fchmodat2";

/// Calls without arguments, for which the registers are those of the child too.
const WITH_REGISTERS: &str = "fork vfork";

/// Machine 3 of ELF, lowest byte first.
const MACHINE: u32 = 0x4000_0003;

const fn lower(register: u64) -> u64 {
    register & u32::MAX as u64
}

/// Goes past the instruction, as the processor does where the gate is for programs, and keeps
/// the number.
fn begin(regs: &mut SavedRegs) {
    regs.rip = regs.rip.wrapping_add(2);
    regs.orig_rax = lower(regs.rax);
}

/// The registers that a call of 64 bits would have.
fn moved(regs: &SavedRegs) -> SavedRegs {
    SavedRegs {
        rdi: lower(regs.rbx),
        rsi: lower(regs.rcx),
        rdx: lower(regs.rdx),
        r10: lower(regs.rsi),
        r8: lower(regs.rdi),
        r9: lower(regs.rbp),
        ..*regs
    }
}

pub(super) const CALLS: OldCalls = OldCalls {
    way: Way { machine: MACHINE, names: NAMES_32, moved },
    begin,
    alike: ALIKE,
    with_registers: WITH_REGISTERS,
};
