//! Linux's numbers on architectures without a past of their own.

/// The system calls that our programs use, by their numbers.
pub mod nr {
    /// read
    pub const READ: usize = 63;
    /// write
    pub const WRITE: usize = 64;
    /// close
    pub const CLOSE: usize = 57;
    /// mmap, or mmap2
    pub const MMAP: usize = 222;
    /// munmap
    pub const MUNMAP: usize = 215;
    /// sched_yield
    pub const SCHED_YIELD: usize = 124;
    /// nanosleep
    pub const NANOSLEEP: usize = 101;
    /// clone
    pub const CLONE: usize = 220;
    /// execve
    pub const EXECVE: usize = 221;
    /// exit
    pub const EXIT: usize = 93;
    /// wait4
    pub const WAIT4: usize = 260;
    /// uname
    pub const UNAME: usize = 160;
    /// getcwd
    pub const GETCWD: usize = 17;
    /// getppid
    pub const GETPPID: usize = 173;
    /// clock_gettime
    pub const CLOCK_GETTIME: usize = 113;
    /// exit_group
    pub const EXIT_GROUP: usize = 94;
    /// openat
    pub const OPENAT: usize = 56;
    /// newfstatat, or fstatat64
    pub const FSTATAT: usize = 79;
    /// nfsservctl, which no kernel has any more
    pub const NFSSERVCTL: usize = 42;
    /// pipe2
    pub const PIPE2: usize = 59;
    /// futex
    pub const FUTEX: usize = 98;
    /// rt_sigaction
    pub const RT_SIGACTION: usize = 134;
    /// sigaltstack
    pub const SIGALTSTACK: usize = 132;
    /// tgkill
    pub const TGKILL: usize = 131;
    /// getpid
    pub const GETPID: usize = 172;
    /// gettid
    pub const GETTID: usize = 178;
    /// mincore
    pub const MINCORE: usize = 232;
}
