//! What the frames of all architectures are made from.

use crate::abi::WORD;
use crate::abi::signals::{Info, SignalSet, Trap};
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use alloc::vec::Vec;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;

/// `SS_…` flags of an alternate stack.
pub mod stack_flag {
    pub const ON_STACK: u32 = 1;
    pub const DISABLE: u32 = 2;
    pub const AUTO_DISARM: u32 = 1 << 31;
}

/// A handler to be run.
#[derive(Debug)]
pub struct Request<'r> {
    pub info: &'r Info,
    pub handler: u64,
    /// What the program wants the handler to return to.
    pub restorer: Option<u64>,
    /// Whether the handler takes three arguments.
    pub wants_info: bool,
    /// The mask to go back to.
    pub mask: SignalSet,
    /// The alternate stack to go back to.
    pub stack: StackBytes,
    /// Where the kernel's own code for going back lies in the program's memory.
    pub trampoline: u64,
    /// The registers of floating point, as they are.
    pub fpu: &'r FpuState,
    /// The thread's last fault.
    pub trap: Trap,
    /// The shadow stack's pointer and mode, where it is on and the frame has room for it.
    pub shadow: Option<[u64; 2]>,
}

/// What a frame gives back.
#[derive(Debug)]
pub struct Popped {
    pub regs: SavedRegs,
    pub mask: SignalSet,
    /// The alternate stack; `None`: the floating point is none that the processor would load, and
    /// all else is taken.
    pub stack: Option<StackBytes>,
    /// See [`Request::shadow`].
    pub shadow: Option<[u64; 2]>,
}

/// `stack_t`: the address, flags, the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StackBytes {
    pub lowest: u64,
    pub bytes: u64,
    pub flags: u32,
}

/// Bytes of a program's word.
pub(super) const W: usize = WORD.bytes();

impl StackBytes {
    /// Bytes of `stack_t`.
    pub const BYTES: usize = 3 * W;

    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        put_word(&mut bytes, 0, self.lowest);
        bytes[W..W + 4].copy_from_slice(&self.flags.to_le_bytes());
        put_word(&mut bytes, 2 * W, self.bytes);
        bytes
    }

    pub fn decode(bytes: &[u8; Self::BYTES]) -> Self {
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
