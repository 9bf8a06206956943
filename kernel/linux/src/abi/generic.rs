//! What architectures without a past of their own share: numbers, names and `struct stat`.

use super::common::{Stat, put};
use super::names::{LATE, OldCalls, Stretch};
use crate::error::Errno;

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

/// Names by number, of all of them.
pub(super) const NAMES: [Stretch; 2] = [(0, FIRST_NAMES), LATE];

/// No other way to make calls.
pub(crate) const OLD_CALLS: Option<OldCalls> = None;

/// The place of a number in a table by number.
#[inline(always)]
pub(crate) const fn table_index(number: u64) -> usize {
    number as usize
}

/// Bytes of `struct stat`.
const STAT_BYTES: usize = 128;

/// `struct stat`: dev 0, ino 8, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 48, blksize 56,
/// blocks 64, atime 72, mtime 88, ctime 104.
pub fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 24, stat.user.to_le_bytes());
    put(&mut bytes, 28, stat.group.to_le_bytes());
    put(&mut bytes, 0, stat.file_system.to_le_bytes());
    put(&mut bytes, 8, stat.inode.to_le_bytes());
    put(&mut bytes, 16, stat.mode.to_le_bytes());
    put(&mut bytes, 20, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 32, stat.device.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.to_le_bytes());
    put(&mut bytes, 56, 4096u32.to_le_bytes());
    put(&mut bytes, 64, stat.blocks.to_le_bytes());
    for (offset, (seconds, nanoseconds)) in [72, 88, 104].into_iter().zip(stat.times) {
        put(&mut bytes, offset, seconds.to_le_bytes());
        put(&mut bytes, offset + 8, u64::from(nanoseconds).to_le_bytes());
    }
    bytes
}

/// What `clone` was given for the thread-local storage of the new thread: its base, in a register
/// that takes anything.
pub fn thread_local(
    argument: u64,
    _segment: impl FnOnce(u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    Ok(argument)
}
