//! /proc/config.gz: what there is of Linux here, as Linux's configuration says it. Programs that
//! test a kernel ask for that.

use super::text::{Content, made};
use crate::abi::stack_image::WordSize;
use crate::abi::{MACHINE, WORD};
use crate::error::Errno;
use alloc::vec::Vec;
use core::fmt::Write;

/// On every machine.
const EVERYWHERE: &[&str] = &[
    "ADVISE_SYSCALLS",
    "BINFMT_ELF",
    "BINFMT_SCRIPT",
    "BLK_DEV_INITRD",
    "CGROUPS",
    "CGROUP_PIDS",
    "COREDUMP",
    "CROSS_MEMORY_ATTACH",
    "DNOTIFY",
    "ELF_CORE",
    "EPOLL",
    "EVENTFD",
    "FILE_LOCKING",
    "FUTEX",
    "FUTEX_PI",
    "HIGH_RES_TIMERS",
    "HZ_250",
    "IKCONFIG",
    "IKCONFIG_PROC",
    "INOTIFY_USER",
    "IPC_NS",
    "KCMP",
    "MEMBARRIER",
    "MEMCG",
    "MEMFD_CREATE",
    "MMU",
    "MULTIUSER",
    "NAMESPACES",
    "PID_NS",
    "POSIX_MQUEUE",
    "POSIX_MQUEUE_SYSCTL",
    "POSIX_TIMERS",
    "PRINTK",
    "PROC_FS",
    "PROC_PAGE_MONITOR",
    "PROC_SYSCTL",
    "RSEQ",
    "SECCOMP",
    "SECCOMP_FILTER",
    "SHMEM",
    "SIGNALFD",
    "SMP",
    "SYSCTL",
    "SYSFS",
    "SYSFS_SYSCALL",
    "SYSVIPC",
    "SYSVIPC_SYSCTL",
    "TIMERFD",
    "TIME_NS",
    "TMPFS",
    "TTY",
    "UNIX",
    "UNIX98_PTYS",
    "USER_NS",
    "UTS_NS",
    "VMAP_STACK",
];

/// On one kind of machine.
fn of_machine() -> &'static [&'static str] {
    match MACHINE {
        "x86_64" => &["X86", "X86_64", "MODIFY_LDT_SYSCALL", "X86_IOPL_IOPERM"],
        "i386" | "i686" => &["X86", "X86_32", "MODIFY_LDT_SYSCALL", "X86_IOPL_IOPERM"],
        "aarch64" => &["ARM64"],
        "riscv64" => &["RISCV"],
        _ => &["ARM"],
    }
}

/// The text as gzip has it (RFC 1952), in one block that is not compressed.
pub(super) fn compressed() -> Result<Content, Errno> {
    let text = made(|text| {
        writeln!(text, "#\n# Linux/{MACHINE}: what of it is here\n#")?;
        let wide: &[&str] = if matches!(WORD, WordSize::Eight) { &["64BIT"] } else { &[] };
        let all = EVERYWHERE.iter().chain(wide).chain(of_machine());
        all.into_iter().try_for_each(|name| writeln!(text, "CONFIG_{name}=y"))?;
        writeln!(text, "CONFIG_HZ=250")
    })?;
    let text = text.into_bytes();
    /// The magic number, that it is deflate, nothing else said; then the one block's kind.
    const HEAD: [u8; 11] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    let length = u16::try_from(text.len()).map_err(|_| Errno::EFBIG)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(HEAD.len() + text.len() + 12).map_err(|_| Errno::ENOMEM)?;
    bytes.extend_from_slice(&HEAD);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(&text);
    bytes.extend_from_slice(&sum(&text).to_le_bytes());
    bytes.extend_from_slice(&u32::from(length).to_le_bytes());
    Ok(Content::Text(bytes))
}

/// The check sum of gzip.
fn sum(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            sum >> 1 ^ if sum & 1 != 0 { POLYNOMIAL } else { 0 }
        })
    })
}
