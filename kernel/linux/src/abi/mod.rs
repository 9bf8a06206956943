//! The numbers and layouts of the Linux system-call interface, one file per architecture.
//!
//! Everything that differs between architectures in what a program sees (system-call numbers,
//! structure layouts, register conventions) stands in these files and nowhere else; the rest of the
//! crate uses the names from here. A new architecture adds a file with the names and types of
//! `contract`.

pub mod action;
mod common;
mod contract;
pub mod frame;
mod names;
pub(crate) mod registers;
mod siginfo;
pub mod signals;
pub mod stack_image;
pub(crate) mod vdso;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod calls_32;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod generic;
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
mod narrow;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod pc;
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
mod int_0x80;
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

pub use common::{Stat, SystemInfo, USER_LOWEST, encode_long_pair, encode_statx, encode_utsname};
pub(crate) use names::{OldCalls, Way};

/// The machine, as `seccomp` and the audit subsystem of Linux number it: that of ELF, with 64 bits
/// and lowest byte first as flags.
pub(crate) const AUDIT_MACHINE: u32 = {
    let wide = if cfg!(target_pointer_width = "64") { 0x8000_0000 } else { 0 };
    wide | 0x4000_0000 | ELF_MACHINE as u32
};

/// How calls are usually made.
pub(crate) const USUAL: Way = Way { machine: AUDIT_MACHINE, names: NAMES, moved: |regs| *regs };

/// The name of a system call, for the log; `None` if the number was never given out.
pub fn name(number: u64) -> Option<&'static str> {
    name_in(NAMES, number)
}

/// The same in another list.
pub(crate) fn name_in(names: &[names::Stretch], number: u64) -> Option<&'static str> {
    names.iter().find_map(|&(lowest, names)| {
        let name = names.split(' ').nth(usize::try_from(number.checked_sub(lowest)?).ok()?);
        name.filter(|&name| name != "-")
    })
}
