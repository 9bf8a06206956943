//! The face of the system-call interface on 32-bit ARM (EABI): numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine was built against.
//! Structures are laid out by offset into byte arrays: nothing here is ever cast, so no padding byte can carry kernel
//! memory out.
//!
//! The number is in r7, the arguments are in r0 to r5. A 64-bit argument takes an even register and the next one; offsets that
//! are pages, or halves, or narrower than elsewhere become plain bytes in [`arguments`], so that the calls themselves need not
//! know.

use super::common::{Call, Stat, put};
use super::names::{LATE, look_up};
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use machine::arch::regs::{SavedRegs, THUMB, USER_MODE};

pub use super::narrow::{
    RUSAGE_BYTES, SIGACTION_BYTES, encode_pair, encode_statfs, encode_sysinfo,
};

/// The size of a pointer.
pub const WORD: WordSize = WordSize::Four;

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
        8 => Call::Creat,
        10 => Call::Unlink,
        11 => Call::Execve,
        12 => Call::Chdir,
        15 => Call::Chmod,
        16 | 198 => Call::Lchown,
        19 => Call::Lseek,
        20 => Call::Getpid,
        23 | 213 => Call::Setuid,
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
        46 | 214 => Call::Setgid,
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
        70 | 203 => Call::Setreuid,
        77 => Call::Getrusage,
        78 => Call::Gettimeofday,
        83 => Call::Symlink,
        85 => Call::Readlink,
        91 => Call::Munmap,
        93 | 194 => Call::Ftruncate,
        94 => Call::Fchmod,
        95 | 207 => Call::Fchown,
        96 => Call::Getpriority,
        97 => Call::Setpriority,
        114 => Call::Wait4,
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
        182 | 212 => Call::Chown,
        183 => Call::Getcwd,
        186 => Call::Sigaltstack,
        187 | 239 => Call::Sendfile,
        190 => Call::Vfork,
        191 => Call::Getrlimit,
        192 => Call::Mmap,
        195 => Call::Stat,
        196 => Call::Lstat,
        197 => Call::Fstat,
        205 => Call::Getgroups,
        206 => Call::Setgroups,
        217 => Call::Getdents64,
        220 => Call::Madvise,
        224 => Call::Gettid,
        238 => Call::Tkill,
        240 => Call::Futex,
        242 => Call::SchedGetaffinity,
        248 => Call::ExitGroup,
        256 => Call::SetTidAddress,
        263 => Call::ClockGettime,
        264 => Call::ClockGetres,
        265 => Call::ClockNanosleep,
        266 => Call::Statfs,
        268 => Call::Tgkill,
        322 => Call::Openat,
        323 => Call::Mkdirat,
        327 => Call::Newfstatat,
        328 => Call::Unlinkat,
        329 => Call::Renameat,
        331 => Call::Symlinkat,
        332 => Call::Readlinkat,
        333 => Call::Fchmodat,
        334 => Call::Faccessat,
        336 | 414 => Call::Ppoll,
        338 => Call::SetRobustList,
        348 | 412 => Call::Utimensat,
        358 => Call::Dup3,
        359 => Call::Pipe2,
        369 => Call::Prlimit64,
        384 => Call::Getrandom,
        397 => Call::Statx,
        398 => Call::Rseq,
        403 => Call::ClockGettime64,
        406 => Call::ClockGetres64,
        407 => Call::ClockNanosleep64,
        422 => Call::Futex64,
        439 => Call::Faccessat2,
        0x0f_0002 => Call::CacheFlush,
        0x0f_0005 => Call::SetTls,
        _ => return None,
    })
}

/// The number of the call that a program makes, from the registers it makes it with.
pub fn number(regs: &SavedRegs) -> u64 {
    regs.r7.into()
}

/// Its arguments.
pub fn arguments(regs: &SavedRegs, _read: impl FnOnce(u64) -> Result<[u8; 4], Errno>) -> [u64; 6] {
    let registers = [regs.r0, regs.r1, regs.r2, regs.r3, regs.r4, regs.r5];
    let [a, b, c, d, e, f] = registers.map(u64::from);
    let wide = |low: u64, high: u64| low | high << 32;
    match number(regs) {
        // lseek: the offset has a sign.
        19 => [a, i64::from(regs.r1 as i32) as u64, c, d, e, f],
        // mmap2: the offset is in pages.
        192 => [a, b, c, d, e, f << 12],
        // pread64: r3 is skipped, so that the offset starts in an even register.
        180 => [a, b, c, wide(e, f), 0, 0],
        // ftruncate64: r1 is skipped.
        194 => [a, wide(c, d), 0, 0, 0, 0],
        // statfs64: the size of the structure comes before its address.
        266 => [a, c, 0, 0, 0, 0],
        _ => [a, b, c, d, e, f],
    }
}

/// What the call returns.
pub fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.r0 = result as u32;
}

/// What a program starts with: everything zero but where it starts and its stack. Bit 0 of the entry point says Thumb state.
pub fn start(entry: u64, sp: u64) -> SavedRegs {
    let thumb = if entry & 1 != 0 { THUMB } else { 0 };
    SavedRegs {
        pc: entry as u32 & !1,
        sp: sp as u32,
        cpsr: USER_MODE | thumb,
        ..SavedRegs::default()
    }
}

/// Moves a program's stack pointer, for a new thread of it.
pub fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.sp = sp as u32;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers. Here it is not.
pub fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local storage.
pub fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` names.
pub const MACHINE: &str = "armv7l";

/// The platform the auxiliary vector names.
pub const PLATFORM: &str = "v7l";

/// The `e_machine` of programs this kernel runs.
pub const ELF_MACHINE: u16 = 40;

/// What the CPU can do, as the auxiliary vector says: halfwords, Thumb, fast multiplication, VFP, DSP, NEON, VFPv3, thread pointer,
/// VFPv4, division in both states, 32 double registers, long descriptors.
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

/// One past the highest address a program can use: the user half, less 16 MiB, as with Linux's split in the middle.
pub const USER_TOP: u64 = 0x7f00_0000;

/// Where a position-independent program is put: two thirds up, as Linux does it.
pub const DYNAMIC_BASE: u64 = (USER_TOP / 3 * 2) & !0xfff;

/// `open` flags that differ between architectures.
pub mod open {
    pub const DIRECTORY: u32 = 0o40000;
    pub const NOFOLLOW: u32 = 0o100000;
}

/// Names by number; `-` was never given out, or not on this machine.
const NAMES: &str = "restart_syscall exit fork read write open close - creat link unlink execve chdir - mknod chmod \
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
     clock_getres clock_nanosleep statfs64 fstatfs64 tgkill utimes fadvise64_64";

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

/// The name of a system call, for the log; `None` if the number was never given out.
pub fn name(number: u64) -> Option<&'static str> {
    look_up(&[(0, NAMES), (280, LATER_NAMES), (403, TIME64_NAMES), LATE], number)
}

/// Bytes of `struct stat64`.
const STAT_BYTES: usize = 104;

/// `struct stat64`: dev 0, the inode's low half 12, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 48, blksize 56, blocks 64,
/// atime 72, mtime 80, ctime 88, ino 96.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 0, 1u64.to_le_bytes());
    put(&mut bytes, 12, (stat.inode as u32).to_le_bytes());
    put(&mut bytes, 16, stat.mode.to_le_bytes());
    put(&mut bytes, 20, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 32, stat.device.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.to_le_bytes());
    put(&mut bytes, 56, 4096u32.to_le_bytes());
    put(&mut bytes, 64, stat.bytes.div_ceil(512).to_le_bytes());
    for offset in [72, 80, 88] {
        put(&mut bytes, offset, (stat.modified_seconds as u32).to_le_bytes());
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
