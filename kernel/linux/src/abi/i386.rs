//! The i386 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine was built against.
//! Structures are laid out by offset into byte arrays: nothing here is ever cast, so no padding byte can carry kernel
//! memory out. A number of 64 bits takes two registers, the lower half in the first; it lies on any multiple of four.

use super::common::{Call, Stat, put};
use super::names::{LATE, look_up};
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::regs::{INTERRUPTS_ON, SavedRegs};
use machine::arch::user::{SYSENTER_PAGE, SYSENTER_RETURN};

pub use super::narrow::{
    RUSAGE_BYTES, SIGACTION_BYTES, encode_pair, encode_statfs, encode_sysinfo,
};

/// The size of a program's pointers.
pub const WORD: WordSize = WordSize::Four;

const WAITPID: u64 = 7;
const LSEEK: u64 = 19;
const PREAD64: u64 = 180;
const MMAP2: u64 = 192;
const FTRUNCATE64: u64 = 194;
const STATFS64: u64 = 268;

/// Which call a number means.
#[inline(always)]
pub fn call(number: u64) -> Option<Call> {
    Some(match number {
        1 => Call::Exit,
        2 => Call::Fork,
        3 => Call::Read,
        4 => Call::Write,
        5 => Call::Open,
        6 => Call::Close,
        7 | 114 => Call::Wait4,
        8 => Call::Creat,
        10 => Call::Unlink,
        11 => Call::Execve,
        12 => Call::Chdir,
        13 => Call::Time,
        15 => Call::Chmod,
        19 => Call::Lseek,
        20 => Call::Getpid,
        24 | 199 => Call::Getuid,
        29 => Call::Pause,
        33 => Call::Access,
        36 => Call::Sync,
        37 => Call::Kill,
        38 => Call::Rename,
        39 => Call::Mkdir,
        40 => Call::Rmdir,
        41 => Call::Dup,
        42 => Call::Pipe,
        43 => Call::Times,
        45 => Call::Brk,
        47 | 200 => Call::Getgid,
        49 | 201 => Call::Geteuid,
        50 | 202 => Call::Getegid,
        54 => Call::Ioctl,
        55 | 221 => Call::Fcntl,
        57 => Call::Setpgid,
        60 => Call::Umask,
        63 => Call::Dup2,
        64 => Call::Getppid,
        65 => Call::Getpgrp,
        66 => Call::Setsid,
        76 | 191 => Call::Getrlimit,
        77 => Call::Getrusage,
        78 => Call::Gettimeofday,
        83 => Call::Symlink,
        85 => Call::Readlink,
        91 => Call::Munmap,
        93 | 194 => Call::Ftruncate,
        94 => Call::Fchmod,
        96 => Call::Getpriority,
        97 => Call::Setpriority,
        116 => Call::Sysinfo,
        118 => Call::Fsync,
        120 => Call::Clone,
        122 => Call::Uname,
        125 => Call::Mprotect,
        132 => Call::Getpgid,
        140 => Call::Llseek,
        145 => Call::Readv,
        146 => Call::Writev,
        147 => Call::Getsid,
        158 => Call::SchedYield,
        162 => Call::Nanosleep,
        163 => Call::Mremap,
        168 => Call::Poll,
        172 => Call::Prctl,
        174 => Call::RtSigaction,
        175 => Call::RtSigprocmask,
        176 => Call::RtSigpending,
        179 => Call::RtSigsuspend,
        180 => Call::Pread64,
        183 => Call::Getcwd,
        186 => Call::Sigaltstack,
        190 => Call::Vfork,
        192 => Call::Mmap,
        195 => Call::Stat,
        196 => Call::Lstat,
        197 => Call::Fstat,
        198 => Call::Lchown,
        203 => Call::Setreuid,
        205 => Call::Getgroups,
        206 => Call::Setgroups,
        207 => Call::Fchown,
        212 => Call::Chown,
        213 => Call::Setuid,
        214 => Call::Setgid,
        219 => Call::Madvise,
        220 => Call::Getdents64,
        224 => Call::Gettid,
        238 => Call::Tkill,
        239 => Call::Sendfile,
        240 => Call::Futex,
        242 => Call::SchedGetaffinity,
        243 => Call::SetThreadArea,
        252 => Call::ExitGroup,
        258 => Call::SetTidAddress,
        265 => Call::ClockGettime,
        266 => Call::ClockGetres,
        267 => Call::ClockNanosleep,
        268 => Call::Statfs,
        270 => Call::Tgkill,
        295 => Call::Openat,
        296 => Call::Mkdirat,
        300 => Call::Newfstatat,
        301 => Call::Unlinkat,
        302 => Call::Renameat,
        304 => Call::Symlinkat,
        305 => Call::Readlinkat,
        306 => Call::Fchmodat,
        307 => Call::Faccessat,
        309 | 414 => Call::Ppoll,
        311 => Call::SetRobustList,
        320 | 412 => Call::Utimensat,
        330 => Call::Dup3,
        331 => Call::Pipe2,
        340 => Call::Prlimit64,
        355 => Call::Getrandom,
        383 => Call::Statx,
        386 => Call::Rseq,
        403 => Call::ClockGettime64,
        406 => Call::ClockGetres64,
        407 => Call::ClockNanosleep64,
        422 => Call::Futex64,
        439 => Call::Faccessat2,
        _ => return None,
    })
}

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.orig_eax.into()
}

/// Its arguments, as the calls of other machines have them: halves of one number put together, a signed one extended. `read` reads the
/// program's memory, where one of them may lie.
pub fn arguments(regs: &SavedRegs, read: impl FnOnce(u64) -> Result<[u8; 4], Errno>) -> [u64; 6] {
    // After `sysenter`, ebp is the stack pointer, and what it was lies there.
    let last = if u64::from(regs.eip) == SYSENTER_RETURN {
        read(regs.ebp.into()).map_or(0, u32::from_le_bytes)
    } else {
        regs.ebp
    };
    let words = [regs.ebx, regs.ecx, regs.edx, regs.esi, regs.edi, last];
    let [a, b, c, d, e, f] = words.map(u64::from);
    let signed = |word: u64| i64::from(word as u32 as i32) as u64;
    match number(regs) {
        WAITPID => [a, b, c, 0, 0, 0],
        LSEEK => [a, signed(b), c, 0, 0, 0],
        PREAD64 => [a, b, c, d | e << 32, 0, 0],
        FTRUNCATE64 => [a, b | c << 32, 0, 0, 0, 0],
        MMAP2 => [a, b, c, d, e, f << 12],
        // In between is the size of the structure.
        STATFS64 => [a, c, 0, 0, 0, 0],
        _ => [a, b, c, d, e, f],
    }
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.eax = result as u32;
}

/// What a program starts with: everything zero but where it starts, its stack and its segments.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs {
        eip: entry as u32,
        cs: USER_CODE.into(),
        ds: USER_DATA.into(),
        es: USER_DATA.into(),
        ss: USER_DATA.into(),
        esp: sp as u32,
        // Interrupts on; bit 1 is always set.
        eflags: INTERRUPTS_ON | 2,
        ..SavedRegs::default()
    }
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.esp = sp as u32;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers. Here it is not.
pub fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` and the auxiliary vector name.
pub const MACHINE: &str = "i686";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 3;

/// What the CPU can do, as the auxiliary vector says: in its own words, those of `cpuid`.
pub fn hardware() -> u64 {
    core::arch::x86::__cpuid(1).edx.into()
}

/// The key of the auxiliary vector under which a program finds the page of `sysenter`.
const AT_SYSINFO: u64 = 32;

/// Entries of the auxiliary vector that only this machine has: where the code is that does a system call, by the faster
/// instruction. Debian's static programs do without and use the gate.
pub const OWN_AUXILIARY: &[(u64, u64)] = &[(AT_SYSINFO, SYSENTER_PAGE)];

/// One past the highest address a program can use: the page above is the one for `sysenter`.
pub const USER_TOP: u64 = SYSENTER_PAGE;

/// Where a position-independent program is put.
pub const DYNAMIC_BASE: u64 = 0x5655_5000;

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
}

/// Names by number; `-` was never given out.
const FIRST_NAMES: &str = "restart_syscall exit fork read write open close waitpid creat link unlink execve chdir time mknod chmod \
     lchown break oldstat lseek getpid mount umount setuid getuid stime ptrace alarm oldfstat pause utime stty \
     gtty access nice ftime sync kill rename mkdir rmdir dup pipe times prof brk setgid getgid signal geteuid \
     getegid acct umount2 lock ioctl fcntl mpx setpgid ulimit oldolduname umask chroot ustat dup2 getppid \
     getpgrp setsid sigaction sgetmask ssetmask setreuid setregid sigsuspend sigpending sethostname setrlimit \
     getrlimit getrusage gettimeofday settimeofday getgroups setgroups select symlink oldlstat readlink uselib \
     swapon reboot readdir mmap munmap truncate ftruncate fchmod fchown getpriority setpriority profil statfs \
     fstatfs ioperm socketcall syslog setitimer getitimer stat lstat fstat olduname iopl vhangup idle vm86old \
     wait4 swapoff sysinfo ipc fsync sigreturn clone setdomainname uname modify_ldt adjtimex mprotect \
     sigprocmask create_module init_module delete_module get_kernel_syms quotactl getpgid fchdir bdflush sysfs \
     personality afs_syscall setfsuid setfsgid _llseek getdents _newselect flock msync readv writev getsid \
     fdatasync _sysctl mlock munlock mlockall munlockall sched_setparam sched_getparam sched_setscheduler \
     sched_getscheduler sched_yield sched_get_priority_max sched_get_priority_min sched_rr_get_interval \
     nanosleep mremap setresuid getresuid vm86 query_module poll nfsservctl setresgid getresgid prctl \
     rt_sigreturn rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend \
     pread64 pwrite64 chown getcwd capget capset sigaltstack sendfile getpmsg putpmsg vfork ugetrlimit mmap2 \
     truncate64 ftruncate64 stat64 lstat64 fstat64 lchown32 getuid32 getgid32 geteuid32 getegid32 setreuid32 \
     setregid32 getgroups32 setgroups32 fchown32 setresuid32 getresuid32 setresgid32 getresgid32 chown32 \
     setuid32 setgid32 setfsuid32 setfsgid32 pivot_root mincore madvise getdents64 fcntl64 - - gettid \
     readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr \
     removexattr lremovexattr fremovexattr tkill sendfile64 futex sched_setaffinity sched_getaffinity \
     set_thread_area get_thread_area io_setup io_destroy io_getevents io_submit io_cancel fadvise64 - \
     exit_group lookup_dcookie epoll_create epoll_ctl epoll_wait remap_file_pages set_tid_address timer_create \
     timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres \
     clock_nanosleep statfs64 fstatfs64 tgkill utimes fadvise64_64 vserver mbind get_mempolicy set_mempolicy \
     mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid - add_key \
     request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages \
     openat mkdirat mknodat fchownat futimesat fstatat64 unlinkat renameat linkat symlinkat readlinkat \
     fchmodat faccessat pselect6 ppoll unshare set_robust_list get_robust_list splice sync_file_range tee \
     vmsplice move_pages getcpu epoll_pwait utimensat signalfd timerfd_create eventfd fallocate \
     timerfd_settime timerfd_gettime signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev \
     rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at \
     open_by_handle_at clock_adjtime syncfs sendmmsg setns process_vm_readv process_vm_writev kcmp \
     finit_module sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat socket \
     socketpair bind connect listen accept4 getsockopt setsockopt getsockname getpeername sendto sendmsg \
     recvfrom recvmsg shutdown userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect \
     pkey_alloc pkey_free statx arch_prctl io_pgetevents rseq - - - - - - semget semctl shmget shmctl shmat \
     shmdt msgget msgsnd msgrcv msgctl clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64 \
     clock_nanosleep_time64 timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 \
     utimensat_time64 pselect6_time64 ppoll_time64 - io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 \
     mq_timedreceive_time64 semtimedop_time64 rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64";

/// The name of a system call, for the log; `None` if the number was never given out.
pub fn name(number: u64) -> Option<&'static str> {
    look_up(&[(0, FIRST_NAMES), LATE], number)
}

/// Bytes of `struct stat64`.
const STAT_BYTES: usize = 96;

/// `struct stat64`: dev 0, ino (half) 12, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 44, blksize 52, blocks 56,
/// atime 64, mtime 72, ctime 80, ino 88.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 0, 1u64.to_le_bytes());
    put(&mut bytes, 12, (stat.inode as u32).to_le_bytes());
    put(&mut bytes, 16, stat.mode.to_le_bytes());
    put(&mut bytes, 20, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 32, stat.device.to_le_bytes());
    put(&mut bytes, 44, stat.bytes.to_le_bytes());
    put(&mut bytes, 52, 4096u32.to_le_bytes());
    put(&mut bytes, 56, stat.bytes.div_ceil(512).to_le_bytes());
    for offset in [64, 72, 80] {
        put(&mut bytes, offset, (stat.modified_seconds as u32).to_le_bytes());
    }
    put(&mut bytes, 88, stat.inode.to_le_bytes());
    bytes
}

/// What `clone` was given for the thread-local storage of the new thread: a `struct user_desc`.
pub fn thread_local(
    argument: u64,
    segment: impl FnOnce(u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    segment(argument)
}
