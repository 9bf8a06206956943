//! The x86_64 face of the system-call interface: numbers, names, structure layouts.
//!
//! Numbers and offsets are the stable interface that every static Linux program for this machine was built against.
//! Structures are laid out by offset into byte arrays: nothing here is ever cast, so no padding byte can carry kernel
//! memory out.

use super::put;

/// System-call numbers.
pub(crate) mod nr {
    pub(crate) const READ: u64 = 0;
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const OPEN: u64 = 2;
    pub(crate) const CLOSE: u64 = 3;
    pub(crate) const STAT: u64 = 4;
    pub(crate) const FSTAT: u64 = 5;
    pub(crate) const LSTAT: u64 = 6;
    pub(crate) const POLL: u64 = 7;
    pub(crate) const LSEEK: u64 = 8;
    pub(crate) const MMAP: u64 = 9;
    pub(crate) const MPROTECT: u64 = 10;
    pub(crate) const MUNMAP: u64 = 11;
    pub(crate) const BRK: u64 = 12;
    pub(crate) const RT_SIGACTION: u64 = 13;
    pub(crate) const RT_SIGPROCMASK: u64 = 14;
    pub(crate) const IOCTL: u64 = 16;
    pub(crate) const PREAD64: u64 = 17;
    pub(crate) const READV: u64 = 19;
    pub(crate) const WRITEV: u64 = 20;
    pub(crate) const ACCESS: u64 = 21;
    pub(crate) const PIPE: u64 = 22;
    pub(crate) const SCHED_YIELD: u64 = 24;
    pub(crate) const MREMAP: u64 = 25;
    pub(crate) const MADVISE: u64 = 28;
    pub(crate) const DUP: u64 = 32;
    pub(crate) const DUP2: u64 = 33;
    pub(crate) const PAUSE: u64 = 34;
    pub(crate) const NANOSLEEP: u64 = 35;
    pub(crate) const GETPID: u64 = 39;
    pub(crate) const SENDFILE: u64 = 40;
    pub(crate) const CLONE: u64 = 56;
    pub(crate) const FORK: u64 = 57;
    pub(crate) const VFORK: u64 = 58;
    pub(crate) const EXECVE: u64 = 59;
    pub(crate) const EXIT: u64 = 60;
    pub(crate) const WAIT4: u64 = 61;
    pub(crate) const KILL: u64 = 62;
    pub(crate) const UNAME: u64 = 63;
    pub(crate) const FCNTL: u64 = 72;
    pub(crate) const FSYNC: u64 = 74;
    pub(crate) const FTRUNCATE: u64 = 77;
    pub(crate) const GETCWD: u64 = 79;
    pub(crate) const CHDIR: u64 = 80;
    pub(crate) const RENAME: u64 = 82;
    pub(crate) const MKDIR: u64 = 83;
    pub(crate) const RMDIR: u64 = 84;
    pub(crate) const CREAT: u64 = 85;
    pub(crate) const UNLINK: u64 = 87;
    pub(crate) const SYMLINK: u64 = 88;
    pub(crate) const READLINK: u64 = 89;
    pub(crate) const CHMOD: u64 = 90;
    pub(crate) const FCHMOD: u64 = 91;
    pub(crate) const CHOWN: u64 = 92;
    pub(crate) const FCHOWN: u64 = 93;
    pub(crate) const LCHOWN: u64 = 94;
    pub(crate) const UMASK: u64 = 95;
    pub(crate) const GETTIMEOFDAY: u64 = 96;
    pub(crate) const GETRLIMIT: u64 = 97;
    pub(crate) const GETRUSAGE: u64 = 98;
    pub(crate) const SYSINFO: u64 = 99;
    pub(crate) const TIMES: u64 = 100;
    pub(crate) const GETUID: u64 = 102;
    pub(crate) const GETGID: u64 = 104;
    pub(crate) const SETUID: u64 = 105;
    pub(crate) const SETGID: u64 = 106;
    pub(crate) const GETEUID: u64 = 107;
    pub(crate) const GETEGID: u64 = 108;
    pub(crate) const SETPGID: u64 = 109;
    pub(crate) const GETPPID: u64 = 110;
    pub(crate) const GETPGRP: u64 = 111;
    pub(crate) const SETSID: u64 = 112;
    pub(crate) const SETREUID: u64 = 113;
    pub(crate) const GETGROUPS: u64 = 115;
    pub(crate) const SETGROUPS: u64 = 116;
    pub(crate) const GETPGID: u64 = 121;
    pub(crate) const GETSID: u64 = 124;
    pub(crate) const RT_SIGPENDING: u64 = 127;
    pub(crate) const RT_SIGSUSPEND: u64 = 130;
    pub(crate) const SIGALTSTACK: u64 = 131;
    pub(crate) const STATFS: u64 = 137;
    pub(crate) const GETPRIORITY: u64 = 140;
    pub(crate) const SETPRIORITY: u64 = 141;
    pub(crate) const PRCTL: u64 = 157;
    pub(crate) const ARCH_PRCTL: u64 = 158;
    pub(crate) const SYNC: u64 = 162;
    pub(crate) const GETTID: u64 = 186;
    pub(crate) const TKILL: u64 = 200;
    pub(crate) const TIME: u64 = 201;
    pub(crate) const FUTEX: u64 = 202;
    pub(crate) const SCHED_GETAFFINITY: u64 = 204;
    pub(crate) const GETDENTS64: u64 = 217;
    pub(crate) const SET_TID_ADDRESS: u64 = 218;
    pub(crate) const CLOCK_GETTIME: u64 = 228;
    pub(crate) const CLOCK_GETRES: u64 = 229;
    pub(crate) const CLOCK_NANOSLEEP: u64 = 230;
    pub(crate) const EXIT_GROUP: u64 = 231;
    pub(crate) const TGKILL: u64 = 234;
    pub(crate) const OPENAT: u64 = 257;
    pub(crate) const MKDIRAT: u64 = 258;
    pub(crate) const NEWFSTATAT: u64 = 262;
    pub(crate) const UNLINKAT: u64 = 263;
    pub(crate) const RENAMEAT: u64 = 264;
    pub(crate) const SYMLINKAT: u64 = 266;
    pub(crate) const READLINKAT: u64 = 267;
    pub(crate) const FCHMODAT: u64 = 268;
    pub(crate) const FACCESSAT: u64 = 269;
    pub(crate) const PPOLL: u64 = 271;
    pub(crate) const SET_ROBUST_LIST: u64 = 273;
    pub(crate) const RSEQ: u64 = 334;
    pub(crate) const UTIMENSAT: u64 = 280;
    pub(crate) const DUP3: u64 = 292;
    pub(crate) const PIPE2: u64 = 293;
    pub(crate) const PRLIMIT64: u64 = 302;
    pub(crate) const GETRANDOM: u64 = 318;
    pub(crate) const FACCESSAT2: u64 = 439;
}

/// The machine `uname` and the auxiliary vector name.
pub(crate) const MACHINE: &str = "x86_64";

/// The `e_machine` of programs this kernel runs.
pub(crate) const ELF_MACHINE: u16 = 62;

/// One past the highest address a program can use: the lower half, less one page that no mapping may touch, since a
/// system-call instruction there would return to a non-canonical address.
pub(crate) const USER_TOP: u64 = 0x7fff_ffff_f000;

/// The lowest address a program may map, so that a null pointer with a small offset still faults.
pub(crate) const USER_LOWEST: u64 = 0x1_0000;

/// `open` flags that differ between architectures.
pub(crate) mod open {
    pub(crate) const DIRECTORY: u32 = 0o200000;
    pub(crate) const NOFOLLOW: u32 = 0o400000;
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
    let (names, index) = match number.checked_sub(LATE_LOWEST) {
        Some(index) => (LATE_NAMES, index),
        None => (FIRST_NAMES, number),
    };
    names.split(' ').nth(usize::try_from(index).ok()?)
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
pub(crate) const STAT_BYTES: usize = 144;

/// `struct stat`: dev 0, ino 8, nlink 16, mode 24, uid 28, gid 32, rdev 40, size 48, blksize 56, blocks 64,
/// atime 72, mtime 88, ctime 104.
pub(crate) fn encode_stat(stat: &Stat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    put(&mut bytes, 0, 1u64.to_le_bytes());
    put(&mut bytes, 8, stat.inode.to_le_bytes());
    put(&mut bytes, 16, stat.links.to_le_bytes());
    put(&mut bytes, 24, stat.mode.to_le_bytes());
    put(&mut bytes, 40, stat.device.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.to_le_bytes());
    put(&mut bytes, 56, 4096u64.to_le_bytes());
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
