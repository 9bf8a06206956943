//! The frames of signal handlers, and the structures around them: what Linux lays on a handler's stack, a file for each architecture.
//!
//! Each has the same names: `build` lays a frame out below a stack pointer and makes the registers the handler's; `parse` reads it back
//! and takes from it what a program may change, and nothing that gives a privilege.

use super::WORD;
use super::signals::{Info, SignalSet};
use super::stack_image::WordSize;
use crate::error::Errno;
use crate::process::actions::Action;
use alloc::vec::Vec;
use machine::arch::fpu::Snapshot;
use machine::arch::regs::SavedRegs;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "arm")]
pub(crate) use arm32::*;
#[cfg(target_arch = "aarch64")]
pub(crate) use arm64::*;
#[cfg(target_arch = "x86")]
pub(crate) use i386::*;
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

/// `SS_…` flags of an alternate stack.
pub(crate) mod stack_flag {
    pub(crate) const ON_STACK: u32 = 1;
    pub(crate) const DISABLE: u32 = 2;
    pub(crate) const AUTO_DISARM: u32 = 1 << 31;
}

/// A handler to be run.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) info: &'r Info,
    pub(crate) handler: u64,
    /// What the program wants the handler to return to.
    pub(crate) restorer: Option<u64>,
    /// Whether the handler takes three arguments.
    pub(crate) wants_info: bool,
    /// The mask to go back to.
    pub(crate) mask: SignalSet,
    /// The alternate stack to go back to.
    pub(crate) stack: StackBytes,
    /// Where the kernel's own code for going back lies in the program's memory.
    pub(crate) trampoline: u64,
    pub(crate) fpu: &'r Snapshot,
}

/// What a frame gives back.
#[derive(Debug)]
pub(crate) struct Popped {
    pub(crate) regs: SavedRegs,
    pub(crate) mask: SignalSet,
    pub(crate) stack: StackBytes,
    pub(crate) fpu: Option<Snapshot>,
}

/// `stack_t`: the address, flags, the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StackBytes {
    pub(crate) lowest: u64,
    pub(crate) bytes: u64,
    pub(crate) flags: u32,
}

/// Bytes of a program's word.
const W: usize = WORD.bytes();

impl StackBytes {
    /// Bytes of `stack_t`.
    pub(crate) const BYTES: usize = 3 * W;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        put_word(&mut bytes, 0, self.lowest);
        bytes[W..W + 4].copy_from_slice(&self.flags.to_le_bytes());
        put_word(&mut bytes, 2 * W, self.bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut flags = [0; 4];
        flags.copy_from_slice(&bytes[W..W + 4]);
        Self {
            lowest: word_at(bytes, 0),
            bytes: word_at(bytes, 2 * W),
            flags: u32::from_le_bytes(flags),
        }
    }
}

/// Writes a word of the program into a structure.
pub(super) fn put_word(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + W].copy_from_slice(&value.to_le_bytes()[..W]);
}

/// Reads one.
pub(super) fn word_at(bytes: &[u8], offset: usize) -> u64 {
    match WORD {
        WordSize::Four => u32_at(bytes, offset).into(),
        WordSize::Eight => u64_at(bytes, offset),
    }
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(number)
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}

/// `struct sigaction` as the kernel takes it: handler, flags, restorer where the machine has one, mask.
const RESTORER: usize = 2 * W;
const MASK: usize = if HAS_RESTORER { 3 * W } else { 2 * W };
/// Bytes of it.
pub(crate) const ACTION_BYTES: usize = MASK + 8;

pub(crate) fn decode_action(bytes: &[u8; ACTION_BYTES]) -> Action {
    Action {
        handler: word_at(bytes, 0),
        flags: word_at(bytes, W),
        restorer: if HAS_RESTORER { word_at(bytes, RESTORER) } else { 0 },
        mask: SignalSet(u64_at(bytes, MASK)),
    }
}

pub(crate) fn encode_action(action: &Action) -> [u8; ACTION_BYTES] {
    let mut bytes = [0; ACTION_BYTES];
    put_word(&mut bytes, 0, action.handler);
    put_word(&mut bytes, W, action.flags);
    if HAS_RESTORER {
        put_word(&mut bytes, RESTORER, action.restorer);
    }
    bytes[MASK..].copy_from_slice(&action.mask.0.to_le_bytes());
    bytes
}

/// Zeros for a frame, of memory that can run out.
pub(super) fn zeros(bytes: u64) -> Result<Vec<u8>, Errno> {
    let bytes = usize::try_from(bytes).map_err(|_| Errno::EFAULT)?;
    let mut frame = Vec::new();
    frame.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    frame.resize(bytes, 0);
    Ok(frame)
}

/// An address so many bytes below another one, aligned.
pub(super) fn below(top: u64, bytes: u64, align: u64) -> Result<u64, Errno> {
    Ok(top.checked_sub(bytes).ok_or(Errno::EFAULT)? & !(align - 1))
}
