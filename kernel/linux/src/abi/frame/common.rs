//! What the frames of all architectures are made from.

use crate::abi::WORD;
use crate::abi::signals::{Info, SignalSet, Trap};
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;
use machine::memory::frames::Stretch;

/// `SS_…` flags of an alternate stack.
pub mod stack_flag {
    pub const ON_STACK: u32 = 1;
    pub const DISABLE: u32 = 2;
    pub const AUTO_DISARM: u32 = 1 << 31;
}

/// The program's memory, as frames are laid into it and read back.
pub trait Space {
    fn read(&mut self, at: u64, to: &mut [u8]) -> Result<(), Errno>;
    fn write(&mut self, at: u64, from: &[u8]) -> Result<(), Errno>;
    /// Where so many bytes at an address lie, up to a page of them, made present for this use.
    fn stretch(&mut self, at: u64, bytes: usize, write: bool) -> Result<Stretch, Errno>;
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The stack pointer of the handler.
    pub at: u64,
    /// Where what lies above the structure begins: the floating point, or on arm64 the frame
    /// record.
    pub above: u64,
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

/// An address so many bytes below another one, aligned.
pub(super) fn below(top: u64, bytes: u64, align: u64) -> Result<u64, Errno> {
    Ok(top.checked_sub(bytes).ok_or(Errno::EFAULT)? & !(align - 1))
}
