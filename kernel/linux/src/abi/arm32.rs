//! The face of the system-call interface on 32-bit ARM (EABI): numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine
//! was built against. Structures are laid out by offset into byte arrays: nothing here is ever
//! cast, so no padding byte can carry kernel memory out.
//!
//! The number is in r7, the arguments are in r0 to r5. A 64-bit argument takes an even register and
//! the next one; offsets that are pages, or halves, or narrower than elsewhere become plain bytes
//! in [`arguments`], so that the calls themselves need not know.

use super::common::{Stat, put};
use super::names::{LATE, OldCalls, Stretch};
use crate::abi::signals::{Info, Signal, Trap, code};
use crate::abi::stack_image::WordSize;
use crate::abi::vdso;
use crate::error::Errno;
use kstack::arch::current::cause::{DATA_ABORT, DEBUG_EVENT, PREFETCH_ABORT, STATUS, UNDEFINED};
use kstack::shadow::Form;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::{SavedRegs, THUMB, USER_MODE};

pub use super::narrow::{RUSAGE_BYTES, encode_pair, encode_statfs, encode_sysinfo};

/// The size of a pointer.
pub const WORD: WordSize = WordSize::Four;

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.r7.into()
}

/// Its first `COUNT` arguments. `_read` reads the program's memory, where another machine has one
/// of them.
#[inline(always)]
pub fn arguments<const COUNT: usize>(
    regs: &SavedRegs,
    _read: impl FnOnce(u64) -> Result<[u8; 4], Errno>,
) -> [u64; 6] {
    [regs.orig_r0, regs.r1, regs.r2, regs.r3, regs.r4, regs.r5].map(u64::from)
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.r0 = result as u32;
}

/// Whether the result of a call takes the place of its number.
pub(crate) const RESULT_REPLACES_NUMBER: bool = false;

/// What a program starts with: everything zero but where it starts and its stack. Bit 0 of the
/// entry point says Thumb state.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    let thumb = if entry & 1 != 0 { THUMB } else { 0 };
    SavedRegs {
        pc: entry as u32 & !1,
        sp: sp as u32,
        cpsr: USER_MODE | thumb,
        ..SavedRegs::default()
    }
}

/// Whether the registers name no other segments than those that are always there: there are no
/// segments.
pub fn has_usual_segments(_regs: &SavedRegs) -> bool {
    true
}

/// Whether user mode can be gone to with these registers, wherever that leads: to any address.
pub fn can_be_gone_to(_regs: &SavedRegs) -> bool {
    true
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.sp = sp as u32;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers.
/// Here it is not.
pub fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local
/// storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` names.
pub const MACHINE: &str = "armv7l";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = "v7l";

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 40;

/// What the CPU can do, as the auxiliary vector says: halfwords, Thumb, fast multiplication, VFP,
/// DSP, NEON, VFPv3, thread pointer, VFPv4, division in both states, 32 double registers, long
/// descriptors.
pub const fn hardware() -> u64 {
    1 << 1
        | 1 << 2
        | 1 << 4
        | 1 << 6
        | 1 << 7
        | 1 << 12
        | 1 << 13
        | 1 << 15
        | 1 << 16
        | 1 << 17
        | 1 << 18
        | 1 << 19
        | 1 << 20
}

/// Entries of the auxiliary vector that only this machine has: none.
pub const OWN_AUXILIARY: &[(u64, u64)] = &[];

/// Whether a program that says nothing of its stack (no `PT_GNU_STACK`) may have instructions
/// there.
pub const EXECUTABLE_STACK_UNASKED: bool = true;

/// Whether a program that starts loses `READ_IMPLIES_EXEC` of its process (SET_PERSONALITY in
/// Linux's asm/elf.h).
pub const FORGETS_READ_IMPLIES_EXEC: bool = false;

/// Whether a program can have its calls handed to itself (`PR_SET_SYSCALL_USER_DISPATCH`).
pub(crate) const HAS_USER_DISPATCH: bool = false;
/// Of mmap: only the PC of 64 bits has such a flag.
pub(crate) const MAP_32BIT: Option<u64> = None;

/// What shadow stacks of programs look like, where the processor has them.
pub(crate) const SHADOW_FORM: Option<Form> = None;

/// One past the highest address a program can use: the user half, less 16 MiB, as with Linux's
/// split in the middle.
pub const USER_TOP: u64 = 0x7f00_0000;

/// Where a position-independent program is put: two thirds up, as Linux does it.
pub const DYNAMIC_BASE: u64 = (USER_TOP / 3 * 2) & !0xfff;

/// How far parts of an address space are moved at random, as Linux has it on this machine.
pub mod random {
    /// Bits of pages, of the stack; and of mappings and images.
    pub const STACK_BITS: u32 = 11;
    pub const MMAP_BITS: u32 = 8;
    /// The heap starts so many bytes behind the image at most.
    pub const HEAP_BYTES: u64 = 32 << 20;
}

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o40000;
    pub const NOFOLLOW: u32 = 0o100000;
    pub const DIRECT: u32 = 0o200000;
    pub const LARGE: u32 = 0o400000;
}

/// Names by number; `-` was never given out, or not on this machine.
const FIRST_NAMES: &str = "restart_syscall exit fork read write open close - creat link unlink execve chdir - mknod chmod \
     lchown - - lseek getpid mount - setuid getuid - ptrace - - pause - - - access nice - sync kill rename mkdir rmdir \
     dup pipe times - brk setgid getgid - geteuid getegid acct umount2 - ioctl fcntl - setpgid - - umask chroot ustat \
     dup2 getppid getpgrp setsid sigaction - - setreuid setregid sigsuspend sigpending sethostname setrlimit - getrusage \
     gettimeofday settimeofday getgroups setgroups - symlink - readlink uselib swapon reboot - - munmap truncate \
     ftruncate fchmod fchown getpriority setpriority - statfs fstatfs - - syslog setitimer getitimer stat lstat fstat - - \
     vhangup - - wait4 swapoff sysinfo - fsync sigreturn clone setdomainname uname - adjtimex mprotect sigprocmask - \
     init_module delete_module - quotactl getpgid fchdir bdflush sysfs personality - setfsuid setfsgid _llseek getdents \
     _newselect flock msync readv writev getsid fdatasync _sysctl mlock munlock mlockall munlockall sched_setparam \
     sched_getparam sched_setscheduler sched_getscheduler sched_yield sched_get_priority_max sched_get_priority_min \
     sched_rr_get_interval nanosleep mremap setresuid getresuid - - poll nfsservctl setresgid getresgid prctl rt_sigreturn \
     rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend pread64 pwrite64 chown getcwd \
     capget capset sigaltstack sendfile - - vfork ugetrlimit mmap2 truncate64 ftruncate64 stat64 lstat64 fstat64 lchown32 \
     getuid32 getgid32 geteuid32 getegid32 setreuid32 setregid32 getgroups32 setgroups32 fchown32 setresuid32 getresuid32 \
     setresgid32 getresgid32 chown32 setuid32 setgid32 setfsuid32 setfsgid32 getdents64 pivot_root mincore madvise fcntl64 \
     - - gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr \
     removexattr lremovexattr fremovexattr tkill sendfile64 futex sched_setaffinity sched_getaffinity io_setup io_destroy \
     io_getevents io_submit io_cancel exit_group lookup_dcookie epoll_create epoll_ctl epoll_wait remap_file_pages - - \
     set_tid_address timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime \
     clock_getres clock_nanosleep statfs64 fstatfs64 tgkill utimes fadvise64_64 - - - mq_open mq_unlink mq_timedsend \
     mq_timedreceive mq_notify mq_getsetattr";

/// Names from number 280 on.
const LATER_NAMES: &str = "waitid socket bind connect listen accept getsockname getpeername socketpair send sendto recv \
     recvfrom shutdown setsockopt getsockopt sendmsg recvmsg semop semget semctl msgsnd msgrcv msgget msgctl shmat shmdt \
     shmget shmctl add_key request_key keyctl semtimedop vserver ioprio_set ioprio_get inotify_init inotify_add_watch \
     inotify_rm_watch mbind get_mempolicy set_mempolicy openat mkdirat mknodat fchownat futimesat fstatat64 unlinkat \
     renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list get_robust_list splice \
     sync_file_range2 tee vmsplice move_pages getcpu epoll_pwait kexec_load utimensat signalfd timerfd_create eventfd \
     fallocate timerfd_settime timerfd_gettime signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev \
     rt_tgsigqueueinfo perf_event_open recvmmsg accept4 fanotify_init fanotify_mark prlimit64 name_to_handle_at \
     open_by_handle_at clock_adjtime syncfs sendmmsg setns process_vm_readv process_vm_writev kcmp finit_module \
     sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat userfaultfd membarrier mlock2 \
     copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq";

/// Names from number 403 on, of the calls with wider times.
const TIME64_NAMES: &str = "clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64 clock_nanosleep_time64 \
     timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64 - \
     io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64 \
     rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64";

/// The first private number of this machine.
const PRIVATE: u64 = 0xf_0000;

/// Names of the private calls.
const PRIVATE_NAMES: &str = "- breakpoint cacheflush usr26 usr32 set_tls get_tls";

/// Names by number.
pub(crate) const NAMES: &[Stretch] =
    &[(0, FIRST_NAMES), (280, LATER_NAMES), (403, TIME64_NAMES), LATE, (PRIVATE, PRIVATE_NAMES)];

/// No other way to make calls that the kernel carries out.
pub(crate) const OLD_CALLS: Option<OldCalls> = None;

/// The place of a number in a table by number: the private ones are the last 16.
#[inline(always)]
pub(crate) const fn table_index(number: u64) -> usize {
    const LAST: usize = 512 - 16;
    if number >= PRIVATE && number < PRIVATE + 16 {
        LAST + (number - PRIVATE) as usize
    } else if number >= LAST as u64 {
        usize::MAX
    } else {
        number as usize
    }
}

/// Bytes of `struct stat64`.
const STAT_BYTES: usize = 104;

/// `struct stat64`: dev 0, the inode's low half 12, mode 16, nlink 20, uid 24, gid 28, rdev 32,
/// size 48, blksize 56, blocks 64, atime 72, mtime 80, ctime 88, ino 96.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 24, stat.user.to_le_bytes());
    put(&mut bytes, 28, stat.group.to_le_bytes());
    put(&mut bytes, 0, stat.file_system.to_le_bytes());
    put(&mut bytes, 12, (stat.inode as u32).to_le_bytes());
    put(&mut bytes, 16, stat.mode.to_le_bytes());
    put(&mut bytes, 20, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 32, stat.device.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.to_le_bytes());
    put(&mut bytes, 56, 4096u32.to_le_bytes());
    put(&mut bytes, 64, stat.blocks.to_le_bytes());
    for (offset, (seconds, nanoseconds)) in [72, 80, 88].into_iter().zip(stat.times) {
        put(&mut bytes, offset, (seconds as u32).to_le_bytes());
        put(&mut bytes, offset + 4, nanoseconds.to_le_bytes());
    }
    put(&mut bytes, 96, stat.inode.to_le_bytes());
    bytes
}

/// The base of the thread-local storage that an argument of `clone` names: the argument itself.
pub fn thread_local(
    argument: u64,
    _segment: impl FnOnce(u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    Ok(argument)
}

/// The program's stack pointer.
pub(crate) const fn stack_pointer(regs: &SavedRegs) -> u64 {
    regs.sp as u64
}

/// Where the program is.
pub(crate) const fn program_counter(regs: &SavedRegs) -> u64 {
    regs.pc as u64
}

/// Continues the program elsewhere.
pub(crate) const fn set_program_counter(regs: &mut SavedRegs, to: u64) {
    regs.pc = to as u32;
}

/// The register that a call's result is in.
pub(crate) const fn result(regs: &SavedRegs) -> u64 {
    regs.r0 as u64
}

/// Has the program make its call again.
pub(crate) const fn rewind_call(regs: &mut SavedRegs) {
    regs.r0 = regs.orig_r0;
    // The length of `svc`.
    regs.pc -= if regs.cpsr & THUMB != 0 { 2 } else { 4 };
}

/// Gives the call that is made again another number.
pub(crate) const fn set_number(regs: &mut SavedRegs, number: u64) {
    regs.r7 = number as u32;
}

/// A number of 64 bits in a structure lies on a multiple of this many bytes.
pub(crate) const LONG_ALIGNMENT: usize = 8;

/// Bytes of a time and the room behind it in `struct semid64_ds` (asm/sembuf.h).
pub(crate) const SEMAPHORE_TIME: usize = 8;

/// Where the program's own bytes lie in `struct epoll_event`.
pub(crate) const EPOLL_DATA_AT: usize = 8;

/// The number of restart_syscall.
pub(crate) const RESTART_SYSCALL: u64 = 0;

/// The kernel's own code for going back from a signal handler. `mov r7, #119`, `svc 0` for a plain
/// handler, `mov r7, #173`, `svc 0` for one with SA_SIGINFO.
pub(crate) const TRAMPOLINE: &[u8] = &[
    0x77, 0x70, 0xa0, 0xe3, 0x00, 0x00, 0x00, 0xef, 0xad, 0x70, 0xa0, 0xe3, 0x00, 0x00, 0x00, 0xef,
];

/// A number of 64 bits that comes after an odd number of arguments: the second and third of three
/// registers: a pair begins in an even one.
pub(crate) const fn wide_argument(_first: u64, second: u64, third: u64) -> u64 {
    second | third << 32
}

/// What an exception, other than a page fault, is to the program (arch/arm/kernel/traps.c,
/// mm/fsr-3level.c).
pub(crate) fn exception(vector: u8, address: u64, regs: &SavedRegs, _floats: &Snapshot) -> Info {
    let at = program_counter(regs);
    match vector {
        UNDEFINED => Info::fault(Signal::ILL, code::ILLEGAL_OPCODE, at),
        PREFETCH_ABORT | DATA_ABORT if regs.orig_r0 & STATUS == DEBUG_EVENT => {
            Info::fault(Signal::TRAP, code::TRAP_BREAKPOINT, at)
        }
        PREFETCH_ABORT | DATA_ABORT => Info::fault(Signal::BUS, code::BUS_ALIGNMENT, address),
        _ => Info::kernel(Signal::SEGV),
    }
}

/// What `sigcontext` keeps of an exception.
pub(crate) const fn trap(vector: u8, address: u64, regs: &SavedRegs, _last: Trap) -> Trap {
    match vector {
        UNDEFINED => Trap { number: 6, error: 0, address: regs.pc as u64 },
        _ => Trap { number: 14, error: regs.orig_r0 as u64, address },
    }
}

/// A function of the vDSO: `str r7, [sp, #-4]!`, `movw r7, number`, `svc 0`, `ldr r7, [sp], #4`,
/// `bx lr`.
const fn vdso_call(number: u32) -> [u8; 20] {
    let [a, b, c, d] = (0xe300_7000 | (number & 0xf000) << 4 | number & 0xfff).to_le_bytes();
    [
        0x04, 0x70, 0x2d, 0xe5, a, b, c, d, 0x00, 0x00, 0x00, 0xef, 0x04, 0x70, 0x9d, 0xe4, 0x1e,
        0xff, 0x2f, 0xe1,
    ]
}

/// What programs find in the vDSO. Numbers are those of the calls of the same names.
pub(crate) const VDSO: vdso::Contents = vdso::Contents {
    machine: ELF_MACHINE,
    word: WORD.bytes(),
    name: "linux-vdso.so.1",
    version: "LINUX_2.6",
    trampoline: TRAMPOLINE,
    trampoline_name: "",
    functions: &[
        ("__vdso_clock_gettime", &vdso_call(263)),
        ("__vdso_gettimeofday", &vdso_call(78)),
        ("__vdso_clock_getres", &vdso_call(264)),
        ("__vdso_clock_gettime64", &vdso_call(403)),
    ],
};
