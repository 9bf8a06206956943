//! The arm64 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine was built against: the ones
//! that architectures without a past of their own share.
//! Structures are laid out by offset into byte arrays: nothing here is ever cast, so no padding byte can carry kernel
//! memory out.

use super::{Call, put};
use crate::arch::regs::SavedRegs;
use crate::process::error::Errno;
use kstack_core::exec::WordSize;

/// The size of a program's pointers.
pub(crate) const WORD: WordSize = WordSize::Eight;

/// Which call a number means.
pub(crate) fn call(number: u64) -> Option<Call> {
    Some(match number {
        17 => Call::Getcwd,
        23 => Call::Dup,
        24 => Call::Dup3,
        25 => Call::Fcntl,
        29 => Call::Ioctl,
        34 => Call::Mkdirat,
        35 => Call::Unlinkat,
        36 => Call::Symlinkat,
        38 => Call::Renameat,
        43 => Call::Statfs,
        46 => Call::Ftruncate,
        48 => Call::Faccessat,
        49 => Call::Chdir,
        52 => Call::Fchmod,
        53 => Call::Fchmodat,
        55 => Call::Fchown,
        56 => Call::Openat,
        57 => Call::Close,
        59 => Call::Pipe2,
        61 => Call::Getdents64,
        62 => Call::Lseek,
        63 => Call::Read,
        64 => Call::Write,
        65 => Call::Readv,
        66 => Call::Writev,
        67 => Call::Pread64,
        71 => Call::Sendfile,
        73 => Call::Ppoll,
        78 => Call::Readlinkat,
        79 => Call::Newfstatat,
        80 => Call::Fstat,
        81 => Call::Sync,
        82 => Call::Fsync,
        88 => Call::Utimensat,
        93 => Call::Exit,
        94 => Call::ExitGroup,
        96 => Call::SetTidAddress,
        98 => Call::Futex,
        99 => Call::SetRobustList,
        101 => Call::Nanosleep,
        113 => Call::ClockGettime,
        114 => Call::ClockGetres,
        115 => Call::ClockNanosleep,
        123 => Call::SchedGetaffinity,
        124 => Call::SchedYield,
        129 => Call::Kill,
        130 => Call::Tkill,
        131 => Call::Tgkill,
        132 => Call::Sigaltstack,
        133 => Call::RtSigsuspend,
        134 => Call::RtSigaction,
        135 => Call::RtSigprocmask,
        136 => Call::RtSigpending,
        140 => Call::Setpriority,
        141 => Call::Getpriority,
        144 => Call::Setgid,
        145 => Call::Setreuid,
        146 => Call::Setuid,
        153 => Call::Times,
        154 => Call::Setpgid,
        155 => Call::Getpgid,
        156 => Call::Getsid,
        157 => Call::Setsid,
        158 => Call::Getgroups,
        159 => Call::Setgroups,
        160 => Call::Uname,
        163 => Call::Getrlimit,
        165 => Call::Getrusage,
        166 => Call::Umask,
        167 => Call::Prctl,
        169 => Call::Gettimeofday,
        172 => Call::Getpid,
        173 => Call::Getppid,
        174 => Call::Getuid,
        175 => Call::Geteuid,
        176 => Call::Getgid,
        177 => Call::Getegid,
        178 => Call::Gettid,
        179 => Call::Sysinfo,
        214 => Call::Brk,
        215 => Call::Munmap,
        216 => Call::Mremap,
        220 => Call::Clone,
        221 => Call::Execve,
        222 => Call::Mmap,
        226 => Call::Mprotect,
        233 => Call::Madvise,
        260 => Call::Wait4,
        261 => Call::Prlimit64,
        278 => Call::Getrandom,
        291 => Call::Statx,
        293 => Call::Rseq,
        439 => Call::Faccessat2,
        _ => return None,
    })
}

/// The number of the call that a program makes, from the registers it makes it with.
pub(crate) fn number(regs: &SavedRegs) -> u64 {
    regs.x[8]
}

/// Its arguments.
pub(crate) fn arguments(regs: &SavedRegs) -> [u64; 6] {
    let [_, b, c, d, e, f, ..] = regs.x;
    [regs.orig_x0, b, c, d, e, f]
}

/// What the call returns.
pub(crate) fn set_result(regs: &mut SavedRegs, result: u64) {
    regs.x[0] = result;
}

/// In PSTATE: FIQs are masked. The rest zero is user mode, 64-bit, everything else on.
const FIQ_OFF: u64 = 1 << 6;

/// What a program starts with: everything zero but where it starts and its stack. FIQs stay masked in programs as in the kernel: the
/// entry would take one for the exception before it.
pub(crate) fn start(entry: u64, sp: u64) -> SavedRegs {
    SavedRegs { pc: entry, sp, pstate: FIQ_OFF, ..SavedRegs::default() }
}

/// Moves a program's stack pointer, for a new thread of it.
pub(crate) fn set_stack(regs: &mut SavedRegs, sp: u64) {
    regs.sp = sp;
}

/// Sets the thread-local storage base of a new thread, where that is one of the saved registers. Here it is not.
pub(crate) fn set_tls(_regs: &mut SavedRegs, _base: u64) {}

/// The arguments of `clone` in the order flags, stack, parent's word, child's word, thread-local storage: this machine has the
/// last two the other way round.
pub(crate) fn clone_arguments([a, b, c, d, e, _]: [u64; 6]) -> [u64; 5] {
    [a, b, c, e, d]
}

/// The machine `uname` and the auxiliary vector name.
pub(crate) const MACHINE: &str = "aarch64";

/// The platform the auxiliary vector names.
pub(crate) const PLATFORM: &str = MACHINE;

/// The `e_machine` of programs this kernel runs.
pub(crate) const ELF_MACHINE: u16 = 183;

/// What the auxiliary vector says of the CPU: floating point and vectors.
pub(crate) const HARDWARE: u64 = 1 | 1 << 1;

/// One past the highest address a program can use: the end of the user half.
pub(crate) const USER_TOP: u64 = 0x1_0000_0000_0000;

/// The lowest address a program may map, so that a null pointer with a small offset still faults.
pub(crate) const USER_LOWEST: u64 = 0x1_0000;

/// Where a position-independent program is put.
pub(crate) const DYNAMIC_BASE: u64 = 0x5555_5555_4000;

/// `open` flags that differ between architectures.
pub(crate) mod open {
    pub(crate) const DIRECTORY: u32 = 0o40000;
    pub(crate) const NOFOLLOW: u32 = 0o100000;
}

const FIRST_NAMES: &str = "io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr \
     lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr \
     getcwd lookup_dcookie eventfd2 epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl \
     inotify_init1 inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat \
     mkdirat unlinkat symlinkat linkat renameat umount2 mount pivot_root nfsservctl statfs \
     fstatfs truncate ftruncate fallocate faccessat chdir fchdir chroot fchmod fchmodat \
     fchownat fchown openat close vhangup pipe2 quotactl getdents64 lseek read write readv \
     writev pread64 pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice \
     tee readlinkat newfstatat fstat sync fsync fdatasync sync_file_range timerfd_create \
     timerfd_settime timerfd_gettime utimensat acct capget capset personality exit exit_group \
     waitid set_tid_address unshare futex set_robust_list get_robust_list nanosleep getitimer \
     setitimer kexec_load init_module delete_module timer_create timer_gettime timer_getoverrun \
     timer_settime timer_delete clock_settime clock_gettime clock_getres clock_nanosleep syslog \
     ptrace sched_setparam sched_setscheduler sched_getscheduler sched_getparam \
     sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max \
     sched_get_priority_min sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack \
     rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo \
     rt_sigreturn setpriority getpriority reboot setregid setgid setreuid setuid setresuid \
     getresuid setresgid getresgid setfsuid setfsgid times setpgid getpgid getsid setsid \
     getgroups setgroups uname sethostname setdomainname getrlimit setrlimit getrusage umask \
     prctl getcpu gettimeofday settimeofday adjtimex getpid getppid getuid geteuid getgid \
     getegid gettid sysinfo mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify \
     mq_getsetattr msgget msgctl msgrcv msgsnd semget semctl semtimedop semop shmget shmctl \
     shmat shmdt socket socketpair bind listen accept connect getsockname getpeername sendto \
     recvfrom setsockopt getsockopt shutdown sendmsg recvmsg readahead brk munmap mremap \
     add_key request_key keyctl clone execve mmap fadvise64 swapon swapoff mprotect msync mlock \
     munlock mlockall munlockall mincore madvise remap_file_pages mbind get_mempolicy \
     set_mempolicy migrate_pages move_pages rt_tgsigqueueinfo perf_event_open accept4 recvmmsg";

/// Names from number 260 on, behind a gap that was left for other architectures.
const MIDDLE_NAMES: &str = "wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at \
     clock_adjtime syncfs setns sendmmsg process_vm_readv process_vm_writev kcmp finit_module \
     sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat \
     userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc \
     pkey_free statx io_pgetevents rseq kexec_file_load";

/// The first number of [`MIDDLE_NAMES`].
const MIDDLE_LOWEST: u64 = 260;

/// Names from number 424 on, where all architectures count together.
const LATE_NAMES: &str = "pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount \
     fsopen fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd \
     faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd \
     landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret \
     process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 \
     map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount \
     lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal";

/// The first number of [`LATE_NAMES`].
const LATE_LOWEST: u64 = 424;

/// The name of a system call, for the log; `None` if the number was never given out.
pub(crate) fn name(number: u64) -> Option<&'static str> {
    let (names, lowest) = match number {
        LATE_LOWEST.. => (LATE_NAMES, LATE_LOWEST),
        MIDDLE_LOWEST.. => (MIDDLE_NAMES, MIDDLE_LOWEST),
        _ => (FIRST_NAMES, 0),
    };
    names.split(' ').nth(usize::try_from(number - lowest).ok()?)
}

/// What `stat` tells about a file, before it is laid out.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stat {
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    pub(crate) links: u64,
    pub(crate) bytes: u64,
    pub(crate) device: u64,
    pub(crate) modified_seconds: u64,
}

/// Bytes of `struct stat`.
pub(crate) const STAT_BYTES: usize = 128;

/// `struct stat`: dev 0, ino 8, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 48, blksize 56, blocks 64,
/// atime 72, mtime 88, ctime 104.
pub(crate) fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 0, 1u64.to_le_bytes());
    put(&mut bytes, 8, stat.inode.to_le_bytes());
    put(&mut bytes, 16, stat.mode.to_le_bytes());
    put(&mut bytes, 20, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 32, stat.device.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.to_le_bytes());
    put(&mut bytes, 56, 4096u32.to_le_bytes());
    put(&mut bytes, 64, stat.bytes.div_ceil(512).to_le_bytes());
    for offset in [72, 88, 104] {
        put(&mut bytes, offset, stat.modified_seconds.to_le_bytes());
    }
    bytes
}

/// What `sysinfo` tells.
#[derive(Clone, Copy, Default)]
pub(crate) struct SystemInfo {
    pub(crate) uptime_seconds: u64,
    pub(crate) total_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) processes: u16,
}

/// `struct sysinfo`: uptime 0, loads 8, totalram 32, freeram 40, sharedram 48, bufferram 56, totalswap 64,
/// freeswap 72, procs 80, mem_unit 104.
pub(crate) fn encode_sysinfo(info: &SystemInfo) -> [u8; 112] {
    let mut bytes = [0; 112];
    put(&mut bytes, 0, info.uptime_seconds.to_le_bytes());
    put(&mut bytes, 32, info.total_bytes.to_le_bytes());
    put(&mut bytes, 40, info.free_bytes.to_le_bytes());
    put(&mut bytes, 80, info.processes.to_le_bytes());
    put(&mut bytes, 104, 1u32.to_le_bytes());
    bytes
}

/// `struct utsname`: six fields of 65 bytes.
pub(crate) fn encode_utsname(fields: [&str; 6]) -> [u8; 390] {
    let mut bytes = [0; 390];
    for (slot, field) in bytes.chunks_exact_mut(65).zip(fields) {
        let length = field.len().min(64);
        slot[..length].copy_from_slice(&field.as_bytes()[..length]);
    }
    bytes
}

/// `struct timespec` and `struct timeval` alike: two 64-bit numbers.
pub(crate) fn encode_pair(first: u64, second: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    put(&mut bytes, 0, first.to_le_bytes());
    put(&mut bytes, 8, second.to_le_bytes());
    bytes
}

/// `struct statfs`: type 0, bsize 8, blocks 16, bfree 24, bavail 32, files 40, ffree 48, namelen 64, frsize 72.
pub(crate) fn encode_statfs(kind: u64, blocks: u64, free: u64) -> [u8; 120] {
    let mut bytes = [0; 120];
    for (offset, value) in
        [(0, kind), (8, 4096), (16, blocks), (24, free), (32, free), (64, 255), (72, 4096)]
    {
        put(&mut bytes, offset, value.to_le_bytes());
    }
    bytes
}

/// Bytes of `struct sigaction`: handler, flags, restorer, and a mask of 64 bits.
pub(crate) const SIGACTION_BYTES: usize = 32;

/// Bytes of `struct rusage`: two times and fourteen words.
pub(crate) const RUSAGE_BYTES: u64 = 144;

/// What `clone` was given for the thread-local storage of the new thread: its base.
pub(crate) fn thread_local(argument: u64) -> Result<u64, Errno> {
    Ok(argument)
}
