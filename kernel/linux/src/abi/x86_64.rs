//! The x86_64 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine
//! was built against. Structures are laid out by offset into byte arrays: nothing here is ever
//! cast, so no padding byte can carry kernel memory out.

use super::common::{Stat, put};
use super::int_0x80;
use super::names::{LATE, OldCalls, Stretch};
use super::pc;
use super::signals::{Info, Trap};
use crate::abi::stack_image::WordSize;
use crate::abi::vdso;
use crate::error::Errno;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use kstack::shadow::Form;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::{INTERRUPTS_ON, SavedRegs};

pub use super::wide::{RUSAGE_BYTES, encode_pair, encode_statfs, encode_sysinfo};

/// The size of a program's pointers.
pub const WORD: WordSize = WordSize::Eight;

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.orig_rax
}

/// Its first `COUNT` arguments. `_read` reads the program's memory, where another machine has one
/// of them.
#[inline(always)]
pub fn arguments<const COUNT: usize>(
    regs: &SavedRegs,
    _read: impl FnOnce(u64) -> Result<[u8; 4], Errno>,
) -> [u64; 6] {
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.rax = result;
}

/// Whether the result of a call takes the place of its number.
pub(crate) const RESULT_REPLACES_NUMBER: bool = true;

/// What a program starts with: everything zero but where it starts and its stack.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs {
        rip: entry,
        cs: USER_CODE.into(),
        ss: USER_DATA.into(),
        rsp: sp,
        // Interrupts on; bit 1 is always set.
        rflags: INTERRUPTS_ON | 2,
        ..SavedRegs::default()
    }
}

/// Whether the registers name no other segments than those that are always there.
pub fn has_usual_segments(regs: &SavedRegs) -> bool {
    regs.cs == USER_CODE.into() && regs.ss == USER_DATA.into()
}

/// Whether user mode can be gone to with these registers, wherever that leads: the processor's way
/// there refuses an address that is not canonical (Intel SDM vol. 2, IRET).
pub fn can_be_gone_to(regs: &SavedRegs) -> bool {
    (regs.rip as i64) << 16 >> 16 == regs.rip as i64
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.rsp = sp;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers.
/// Here it is not.
pub fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local
/// storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, d, e]
}

/// The machine `uname` names.
pub const MACHINE: &str = "x86_64";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 62;

/// What the CPU can do, as the auxiliary vector says: in its own words, those of `cpuid`.
pub fn hardware() -> u64 {
    core::arch::x86_64::__cpuid(1).edx.into()
}

/// Entries of the auxiliary vector that only this machine has: none.
pub const OWN_AUXILIARY: &[(u64, u64)] = &[];

/// Whether a program that says nothing of its stack (no `PT_GNU_STACK`) may have instructions
/// there.
pub const EXECUTABLE_STACK_UNASKED: bool = false;

/// Whether a program that starts loses `READ_IMPLIES_EXEC` of its process (SET_PERSONALITY in
/// Linux's asm/elf.h).
pub const FORGETS_READ_IMPLIES_EXEC: bool = true;

/// Whether a program can have its calls handed to itself (`PR_SET_SYSCALL_USER_DISPATCH`).
pub(crate) const HAS_USER_DISPATCH: bool = true;
/// Of mmap: below 2 GiB, where addresses are longer than that.
pub(crate) const MAP_32BIT: Option<u64> = Some(0x40);

/// What shadow stacks of programs look like, where the processor has them.
pub(crate) const SHADOW_FORM: Option<Form> = Some(Form::X86_64);

/// One past the highest address a program can use: the lower half, less one page that no mapping
/// may touch, since a system-call instruction there would return to a non-canonical address.
pub const USER_TOP: u64 = 0x7fff_ffff_f000;

/// Where a position-independent program is put.
pub const DYNAMIC_BASE: u64 = 0x5555_5555_4000;

/// How far parts of an address space are moved at random, as Linux has it on this machine.
pub mod random {
    /// Bits of pages, of the stack; and of mappings and images.
    pub const STACK_BITS: u32 = 22;
    pub const MMAP_BITS: u32 = 28;
    /// The heap starts so many bytes behind the image at most.
    pub const HEAP_BYTES: u64 = 1 << 30;
}

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
    pub const DIRECT: u32 = 0o40000;
    pub const LARGE: u32 = 0o100000;
}

const FIRST_NAMES: &str = "read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction \
     rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select \
     sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause nanosleep \
     getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg \
     recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt \
     clone fork vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd \
     msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir \
     fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown \
     lchown umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid syslog getgid \
     setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid \
     getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid \
     getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend \
     sigaltstack utime mknod uselib personality ustat statfs fstatfs sysfs getpriority \
     setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler \
     sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock munlock \
     mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex \
     setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff reboot sethostname \
     setdomainname iopl ioperm create_module init_module delete_module get_kernel_syms \
     query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid \
     readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr \
     llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex \
     sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents \
     io_submit io_cancel get_thread_area lookup_dcookie epoll_create epoll_ctl_old \
     epoll_wait_old remap_file_pages getdents64 set_tid_address restart_syscall semtimedop \
     fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete \
     clock_settime clock_gettime clock_getres clock_nanosleep exit_group epoll_wait \
     epoll_ctl tgkill utimes vserver mbind set_mempolicy get_mempolicy mq_open mq_unlink \
     mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid add_key \
     request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch \
     inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat \
     unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare \
     set_robust_list get_robust_list splice tee sync_file_range vmsplice move_pages \
     utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime \
     timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 \
     preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark \
     prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg setns \
     getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr \
     renameat2 seccomp getrandom memfd_create kexec_file_load bpf execveat userfaultfd \
     membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free \
     statx io_pgetevents rseq";

/// Names by number.
pub(crate) const NAMES: &[Stretch] = &[(0, FIRST_NAMES), LATE];

/// Those of `int 0x80`.
pub(crate) const OLD_CALLS: Option<OldCalls> = Some(int_0x80::CALLS);

/// The place of a number in a table by number.
#[inline(always)]
pub(crate) const fn table_index(number: u64) -> usize {
    number as usize
}

/// Bytes of `struct stat`.
const STAT_BYTES: usize = 144;

/// `struct stat`: dev 0, ino 8, nlink 16, mode 24, uid 28, gid 32, rdev 40, size 48, blksize 56,
/// blocks 64, atime 72, mtime 88, ctime 104.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 28, stat.user.to_le_bytes());
    put(&mut bytes, 32, stat.group.to_le_bytes());
    put(&mut bytes, 0, stat.file_system.to_le_bytes());
    put(&mut bytes, 8, stat.inode.to_le_bytes());
    put(&mut bytes, 16, stat.links.to_le_bytes());
    put(&mut bytes, 24, stat.mode.to_le_bytes());
    put(&mut bytes, 40, stat.device.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.to_le_bytes());
    put(&mut bytes, 56, 4096u64.to_le_bytes());
    put(&mut bytes, 64, stat.blocks.to_le_bytes());
    for (offset, (seconds, nanoseconds)) in [72, 88, 104].into_iter().zip(stat.times) {
        put(&mut bytes, offset, seconds.to_le_bytes());
        put(&mut bytes, offset + 8, u64::from(nanoseconds).to_le_bytes());
    }
    bytes
}

/// What `clone` was given for the thread-local storage of the new thread: its base, which goes to a
/// register that refuses what is not canonical, with an exception in the kernel. As `arch_prctl`
/// has it: nothing beyond what a program can use.
pub fn thread_local(
    argument: u64,
    _segment: impl FnOnce(u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    if argument < USER_TOP { Ok(argument) } else { Err(Errno::EPERM) }
}

/// The program's stack pointer.
pub(crate) const fn stack_pointer(regs: &SavedRegs) -> u64 {
    regs.rsp
}

/// Where the program is.
pub(crate) const fn program_counter(regs: &SavedRegs) -> u64 {
    regs.rip
}

/// Continues the program elsewhere.
pub(crate) const fn set_program_counter(regs: &mut SavedRegs, to: u64) {
    regs.rip = to;
}

/// The register that a call's result is in.
pub(crate) const fn result(regs: &SavedRegs) -> u64 {
    regs.rax
}

/// Has the program make its call again.
pub(crate) const fn rewind_call(regs: &mut SavedRegs) {
    regs.rax = regs.orig_rax;
    // The length of `syscall`, and of `int 0x80`.
    regs.rip -= 2;
}

/// Gives the call that is made again another number.
pub(crate) const fn set_number(regs: &mut SavedRegs, number: u64) {
    regs.rax = number;
}

/// A number of 64 bits in a structure lies on a multiple of this many bytes.
pub(crate) const LONG_ALIGNMENT: usize = 8;

/// Bytes of a time and the room behind it in `struct semid64_ds` (asm/sembuf.h).
pub(crate) const SEMAPHORE_TIME: usize = 16;

/// Where the program's own bytes lie in `struct epoll_event`.
pub(crate) const EPOLL_DATA_AT: usize = 4;

/// The number of restart_syscall.
pub(crate) const RESTART_SYSCALL: u64 = 219;

/// The kernel's own code for going back from a signal handler. None is needed: programs name what a
/// handler returns to.
pub(crate) const TRAMPOLINE: &[u8] = &[];

/// What an exception, other than a page fault, is to the program.
pub(crate) fn exception(vector: u8, _address: u64, regs: &SavedRegs, floats: &Snapshot) -> Info {
    pc::exception(vector, floats, program_counter(regs), flags(regs))
}

/// What `sigcontext` keeps of an exception. CR2 is that of the last page fault.
pub(crate) fn trap(vector: u8, address: u64, regs: &SavedRegs, last: Trap) -> Trap {
    pc::trap(vector, address, regs.error_code(), last)
}

/// The processor's flags.
pub(super) const fn flags(regs: &SavedRegs) -> u64 {
    regs.rflags
}

/// A function of the vDSO: `mov eax, number`, `syscall`, `ret`.
const fn vdso_call(number: u32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    [0xb8, a, b, c, d, 0x0f, 0x05, 0xc3]
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
        ("__vdso_clock_gettime", &vdso_call(228)),
        ("__vdso_gettimeofday", &vdso_call(96)),
        ("__vdso_time", &vdso_call(201)),
        ("__vdso_clock_getres", &vdso_call(229)),
        ("__vdso_getcpu", &vdso_call(309)),
    ],
};
