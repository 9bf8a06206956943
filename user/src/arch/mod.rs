//! What differs between machines in a program without a C library: numbers and instructions. One
//! file per architecture, all alike.

#[cfg(target_arch = "x86_64")]
mod cet;
mod contract;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod generic;
#[cfg(target_arch = "x86_64")]
mod int_0x80;
#[cfg(not(target_arch = "x86_64"))]
mod no_old_calls;
#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
mod no_ports;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod no_shadow_stacks;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod pc;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod pc_wide;
pub mod sequences;
#[cfg(target_arch = "x86_64")]
pub use int_0x80::OLD_CALL;
#[cfg(not(target_arch = "x86_64"))]
pub use no_old_calls::OLD_CALL;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use pc_wide::wide;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "x86")]
pub use i386::*;

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

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
compile_error!(
    "no system calls for this architecture: write user/src/arch/NAME.rs, as CONTRIBUTING.md has it under \"Porting\""
);

/// Makes a call the other way that a machine may have: its number and three arguments.
pub type OldCall = fn(usize, [usize; 3]) -> isize;

/// Flags of clone: memory, file system, files, signal handlers, thread group: what a thread library
/// asks for.
pub const THREAD_FLAGS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
/// Flags of clone that make it vfork, with the signal at the end: SIGCHLD.
pub const VFORK_FLAGS: usize = 0x4000 | 0x100 | 17;
/// Flags of clone that make it fork.
pub const FORK_FLAGS: usize = 17;

/// Room for all vector registers of a machine that are not in what `keep_floats` keeps.
pub const WIDE_ROOM: usize = 32 * 64 + 64;

/// Vector registers that some processors of an architecture have and others have not.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    /// Bytes of all of them; 0: this processor has none, or the kernel lets no program have them.
    pub bytes: usize,
    /// Bytes of one, those of masks apart.
    pub register_bytes: usize,
    /// Where those of masks begin; 8 bytes each, of which 2 are kept.
    pub masks_at: usize,
    /// The states that programs have, as the processor numbers them; 0: it has no such numbers.
    pub states: usize,
    /// Loads all.
    pub load: fn(&[u8; WIDE_ROOM]),
    /// Stores all.
    pub store: fn(&mut [u8; WIDE_ROOM]),
    /// Offset in a handler's `ucontext` of the word that leads to the floating point.
    pub area_at: usize,
    /// Bytes there of an older form, before the area that has the registers.
    pub before: usize,
    /// Bytes of that area.
    pub area_bytes: usize,
    /// Where in it the upper half of the first register is.
    pub upper_at: usize,
}

impl Wide {
    /// Whether a byte is one that the registers keep: of a mask, two of eight.
    pub fn is_kept(&self, at: usize) -> bool {
        at < self.masks_at || at % 8 < 2
    }
}

/// Offsets in the `ucontext` that a signal handler gets.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The alternate stack.
    pub stack: usize,
    /// The stack pointer that was interrupted.
    pub sp: usize,
    /// The instruction.
    pub pc: usize,
    /// The processor's flags; on a machine without, another register.
    pub flags: usize,
    /// A bit of the flags that an emulator sets for an interrupt, where a processor does not.
    pub resume: usize,
    /// The mask of signals.
    pub mask: usize,
}

/// Words of [`handler_entry`]: SP as the kernel set it, and where the handler continues.
pub static HANDLER_ENTRY: [core::sync::atomic::AtomicUsize; 2] =
    [const { core::sync::atomic::AtomicUsize::new(0) }; 2];
