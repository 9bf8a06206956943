//! The numbers and layouts of the Linux system-call interface, one file per architecture.
//!
//! Everything that differs between architectures in what a program sees (system-call numbers, structure layouts,
//! register conventions) stands in these files and nowhere else; the rest of `process` uses the names from here.
//! A new architecture adds a file with the same names.

use kstack_core::exec::WordSize;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "arm")]
pub(crate) use arm32::*;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
pub(crate) use arm64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

/// The calls that the kernel knows, whatever their numbers. No architecture has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
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
    // Where a word has 32 bits: with 64-bit times, and seeking far.
    ClockGettime64,
    ClockGetres64,
    ClockNanosleep64,
    Futex64,
    Llseek,
    // arm32's own.
    SetTls,
    CacheFlush,
}

/// Bytes of a program's word: the kernel's own.
pub(crate) const WORD_BYTES: usize = size_of::<usize>();

/// The same, for the image of a program's first stack.
pub(crate) const WORD: WordSize = if WORD_BYTES == 8 { WordSize::Eight } else { WordSize::Four };

/// Bytes of `struct sigaction`: handler, flags, restorer, and 64 signals.
pub(crate) const ACTION_BYTES: usize = 3 * WORD_BYTES + 8;

/// The word number `index` of a program's structure.
pub(super) fn word(bytes: &[u8], index: usize) -> u64 {
    let bytes = bytes.get(index * WORD_BYTES..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |&word| usize::from_le_bytes(word) as u64)
}

/// Writes a little-endian integer into a structure being laid out by offset.
pub(super) fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}
