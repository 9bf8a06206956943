//! What architectures without a past of their own share: numbers, names and `struct stat`.

use super::names::{LATE, look_up};
use super::{Call, Stat, put};
use crate::error::Errno;

/// Which call a number means on all of them.
#[inline(always)]
pub(super) fn call(number: u64) -> Option<Call> {
    Some(match number {
        17 => Call::Getcwd,
        23 => Call::Dup,
        24 => Call::Dup3,
        25 => Call::Fcntl,
        29 => Call::Ioctl,
        34 => Call::Mkdirat,
        35 => Call::Unlinkat,
        36 => Call::Symlinkat,
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

/// From number 0 on.
const FIRST_NAMES: &str = "io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr \
     getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr \
     fremovexattr getcwd lookup_dcookie eventfd2 epoll_create1 epoll_ctl epoll_pwait dup dup3 \
     fcntl inotify_init1 inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get flock \
     mknodat mkdirat unlinkat symlinkat linkat - umount2 mount pivot_root nfsservctl \
     statfs fstatfs truncate ftruncate fallocate faccessat chdir fchdir chroot fchmod \
     fchmodat fchownat fchown openat close vhangup pipe2 quotactl getdents64 lseek read write \
     readv writev pread64 pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice \
     splice tee readlinkat newfstatat fstat sync fsync fdatasync sync_file_range \
     timerfd_create timerfd_settime timerfd_gettime utimensat acct capget capset personality \
     exit exit_group waitid set_tid_address unshare futex set_robust_list get_robust_list \
     nanosleep getitimer setitimer kexec_load init_module delete_module timer_create \
     timer_gettime timer_getoverrun timer_settime timer_delete clock_settime clock_gettime \
     clock_getres clock_nanosleep syslog ptrace sched_setparam sched_setscheduler \
     sched_getscheduler sched_getparam sched_setaffinity sched_getaffinity sched_yield \
     sched_get_priority_max sched_get_priority_min sched_rr_get_interval restart_syscall kill \
     tkill tgkill sigaltstack rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending \
     rt_sigtimedwait rt_sigqueueinfo rt_sigreturn setpriority getpriority reboot setregid \
     setgid setreuid setuid setresuid getresuid setresgid getresgid setfsuid setfsgid times \
     setpgid getpgid getsid setsid getgroups setgroups uname sethostname setdomainname \
     getrlimit setrlimit getrusage umask prctl getcpu gettimeofday settimeofday adjtimex \
     getpid getppid getuid geteuid getgid getegid gettid sysinfo mq_open mq_unlink \
     mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd semget \
     semctl semtimedop semop shmget shmctl shmat shmdt socket socketpair bind listen accept \
     connect getsockname getpeername sendto recvfrom setsockopt getsockopt shutdown sendmsg \
     recvmsg readahead brk munmap mremap add_key request_key keyctl clone execve mmap \
     fadvise64 swapon swapoff mprotect msync mlock munlock mlockall munlockall mincore \
     madvise remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages move_pages \
     rt_tgsigqueueinfo perf_event_open accept4 recvmmsg - - - - - - - - - - - - - - \
     - - wait4 prlimit64 fanotify_init fanotify_mark \
     name_to_handle_at open_by_handle_at clock_adjtime syncfs setns sendmmsg process_vm_readv \
     process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp \
     getrandom memfd_create bpf execveat userfaultfd membarrier mlock2 copy_file_range \
     preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq \
     kexec_file_load";

/// The name of a system call; `None` if the number was never given out on all of them.
pub(super) fn name(number: u64) -> Option<&'static str> {
    look_up(&[(0, FIRST_NAMES), LATE], number)
}

/// Bytes of `struct stat`.
const STAT_BYTES: usize = 128;

/// `struct stat`: dev 0, ino 8, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 48, blksize 56, blocks 64,
/// atime 72, mtime 88, ctime 104.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
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

/// What `clone` was given for the thread-local storage of the new thread: its base, in a register that takes anything.
pub fn thread_local(argument: u64) -> Result<u64, Errno> {
    Ok(argument)
}
