//! The numbers and layouts of the Linux system-call interface, one file per architecture.
//!
//! Everything that differs between architectures in what a program sees (system-call numbers, structure layouts,
//! register conventions) stands in these files and nowhere else; the rest of `process` uses the names from here.
//! A new architecture adds a file with the same names.

mod names;

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod generic;
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
mod narrow;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64"))]
mod wide;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
pub use arm64::*;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "arm")]
pub use arm32::*;

#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "x86")]
pub use i386::*;

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
compile_error!(
    "no system-call interface for this architecture: write kernel/linux/src/abi/NAME.rs, as CONTRIBUTING.md has it under \"Porting\""
);

/// The lowest address a program may map, so that a null pointer with a small offset still faults.
pub const USER_LOWEST: u64 = 0x1_0000;

/// The calls that the kernel knows, whatever their numbers. No architecture has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Open,
    Close,
    Stat,
    Fstat,
    Lstat,
    Poll,
    Lseek,
    Mmap,
    Mprotect,
    Munmap,
    Brk,
    RtSigaction,
    RtSigprocmask,
    Ioctl,
    Pread64,
    Readv,
    Writev,
    Access,
    Pipe,
    SchedYield,
    Mremap,
    Madvise,
    Dup,
    Dup2,
    Pause,
    Nanosleep,
    Getpid,
    Sendfile,
    Clone,
    Fork,
    Vfork,
    Execve,
    Exit,
    Wait4,
    Kill,
    Uname,
    Fcntl,
    Fsync,
    Ftruncate,
    Getcwd,
    Chdir,
    Rename,
    Mkdir,
    Rmdir,
    Creat,
    Unlink,
    Symlink,
    Readlink,
    Chmod,
    Fchmod,
    Chown,
    Fchown,
    Lchown,
    Umask,
    Gettimeofday,
    Getrlimit,
    Getrusage,
    Sysinfo,
    Times,
    Getuid,
    Getgid,
    Setuid,
    Setgid,
    Geteuid,
    Getegid,
    Setpgid,
    Getppid,
    Getpgrp,
    Setsid,
    Setreuid,
    Getgroups,
    Setgroups,
    Getpgid,
    Getsid,
    RtSigpending,
    RtSigsuspend,
    Sigaltstack,
    Statfs,
    Getpriority,
    Setpriority,
    Prctl,
    ArchPrctl,
    Sync,
    Gettid,
    Tkill,
    Time,
    Futex,
    SchedGetaffinity,
    Getdents64,
    SetTidAddress,
    ClockGettime,
    ClockGetres,
    ClockNanosleep,
    ExitGroup,
    Tgkill,
    Openat,
    Mkdirat,
    Newfstatat,
    Unlinkat,
    Renameat,
    Symlinkat,
    Readlinkat,
    Fchmodat,
    Faccessat,
    Ppoll,
    SetRobustList,
    Rseq,
    Utimensat,
    Dup3,
    Pipe2,
    Prlimit64,
    Getrandom,
    Faccessat2,
    Statx,
    Llseek,
    ClockGettime64,
    ClockGetres64,
    ClockNanosleep64,
    Futex64,
    SetThreadArea,
    SetTls,
    CacheFlush,
}

/// What `stat` tells about a file, before it is laid out.
#[derive(Clone, Copy, Default)]
pub struct Stat {
    pub inode: u64,
    pub mode: u32,
    pub links: u64,
    pub bytes: u64,
    pub device: u64,
    pub modified_seconds: u64,
}

/// What `sysinfo` tells.
#[derive(Clone, Copy, Default)]
pub struct SystemInfo {
    pub uptime_seconds: u64,
    pub total_bytes: u64,
    pub free_bytes: u64,
    pub processes: u16,
}

/// Writes a little-endian integer into a structure being laid out by offset.
pub(super) fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}

/// `struct utsname`: six fields of 65 bytes.
pub fn encode_utsname(fields: [&str; 6]) -> [u8; 390] {
    let mut bytes = [0; 390];
    for (slot, field) in bytes.chunks_exact_mut(65).zip(fields) {
        let length = field.len().min(64);
        slot[..length].copy_from_slice(&field.as_bytes()[..length]);
    }
    bytes
}

/// `struct __kernel_timespec` and `struct rlimit64`, on machines of any word size: two 64-bit numbers.
pub(super) fn encode_long_pair(first: u64, second: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    put(&mut bytes, 0, first.to_le_bytes());
    put(&mut bytes, 8, second.to_le_bytes());
    bytes
}

/// `struct statx`: mask 0, blksize 4, nlink 16, mode 28, ino 32, size 40, blocks 48, atime 64, btime 80, ctime 96, mtime 112,
/// rdev 128 and 132, dev 136 and 140. The same on every machine.
pub(super) fn encode_statx(stat: &Stat) -> [u8; 256] {
    const BASIC_STATS: u32 = 0x7ff;
    let mut bytes = [0; 256];
    put(&mut bytes, 0, BASIC_STATS.to_le_bytes());
    put(&mut bytes, 4, 4096u32.to_le_bytes());
    put(&mut bytes, 16, (stat.links as u32).to_le_bytes());
    put(&mut bytes, 28, (stat.mode as u16).to_le_bytes());
    put(&mut bytes, 32, stat.inode.to_le_bytes());
    put(&mut bytes, 40, stat.bytes.to_le_bytes());
    put(&mut bytes, 48, stat.bytes.div_ceil(512).to_le_bytes());
    for offset in [64, 96, 112] {
        put(&mut bytes, offset, stat.modified_seconds.to_le_bytes());
    }
    put(&mut bytes, 128, (stat.device as u32 >> 8).to_le_bytes());
    put(&mut bytes, 132, (stat.device as u32 & 0xff).to_le_bytes());
    put(&mut bytes, 140, 1u32.to_le_bytes());
    bytes
}
