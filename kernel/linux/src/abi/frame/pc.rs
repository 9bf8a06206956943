//! The floating-point and vector registers in a frame of either PC: an area as `fxsave` or `xsave`
//! writes it, and in bytes that neither uses what says which (arch/x86/kernel/fpu/signal.c; `struct
//! _fpx_sw_bytes`, `struct _xstate`).
//!
//! ```text
//!       0  x87 and SSE, 512 bytes                            ┐ all there is
//!     464  the first mark, bytes in all, states, their bytes │ without `xsave`
//!     512  header of `xsave`, 64 bytes: which states follow
//!     576  the states, each where `cpuid` says
//!   bytes  the second mark
//! ```

use super::common::{u32_at, u64_at, zeros};
use crate::error::Errno;
use alloc::vec::Vec;
use machine::arch::fpu::FpuState;
use machine::arch::pc::xstate::{self, HEADER, LEGACY, LEGACY_BYTES};

/// `FP_XSTATE_MAGIC1`, `FP_XSTATE_MAGIC2`.
const FIRST_MARK: u32 = 0x4650_5853;
const SECOND_MARK: u32 = 0x4650_5845;
const MARK_BYTES: usize = size_of::<u32>();
/// Where the first mark is; after it bytes in all, states, and the bytes of those.
const SOFTWARE: usize = 464;
const ALL_BYTES: usize = SOFTWARE + 4;
const STATES: usize = SOFTWARE + 8;
const STATES_BYTES: usize = SOFTWARE + 16;
/// `uc_flags`: the area has a header.
const EXTENDED: u64 = 1;
/// Bytes of the x87 registers as `fsave` has them: they come first in a frame of a 32-bit program.
pub(super) const FSAVE_BYTES: usize = 112;

/// Bytes that the registers take in a frame.
pub(super) fn state_bytes() -> u64 {
    let mark = if xstate::features() != 0 { MARK_BYTES } else { 0 };
    (xstate::bytes() + mark) as u64
}

/// What `uc_flags` says of them.
pub(super) fn state_flags() -> u64 {
    if xstate::features() != 0 { EXTENDED } else { 0 }
}

/// The least stack that a handler's frame fits on, as programs are told it (AT_MINSIGSTKSZ).
pub fn least_stack_told() -> Option<u64> {
    /// `struct sigframe` of a 32-bit program, the larger one: a 64-bit kernel runs those too.
    const FRAME: u64 = 732;
    const PADDING: u64 = 15 + 63;
    let bytes = FRAME + PADDING + FSAVE_BYTES as u64 + state_bytes();
    Some(bytes.next_multiple_of(16))
}

/// A handler begins with these registers as a program does.
pub fn enter_handler(floats: &FpuState) {
    floats.clear();
}

/// Writes the registers into a frame. `before`: bytes of the older form before `to`.
pub(super) fn put_state(floats: &FpuState, to: &mut [u8], before: usize) {
    let bytes = xstate::bytes();
    floats.read(&mut to[..bytes]);
    if xstate::features() == 0 {
        return;
    }
    let mut put = |at: usize, value: &[u8]| to[at..at + value.len()].copy_from_slice(value);
    let all = (before + bytes + MARK_BYTES) as u32;
    put(SOFTWARE, &FIRST_MARK.to_le_bytes());
    put(ALL_BYTES, &all.to_le_bytes());
    put(STATES, &xstate::features().to_le_bytes());
    put(STATES_BYTES, &(bytes as u32).to_le_bytes());
    put(bytes, &SECOND_MARK.to_le_bytes());
    // A program that knows only the first 512 bytes may change them: they are always taken.
    to[HEADER.start] |= LEGACY as u8;
}

/// Loads the registers from a frame at `at`; without one they are as at a program's start.
/// `environment` puts the older form over the first 512 bytes. An error leaves the registers as at
/// a program's start, as Linux does it.
pub(super) fn take_state(
    floats: &FpuState,
    at: u64,
    environment: impl FnOnce(&mut [u8; LEGACY_BYTES]),
    read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if at == 0 {
        floats.clear();
        return Ok(());
    }
    let taken = take(floats, at, environment, read);
    if taken.is_err() {
        floats.clear();
    }
    taken
}

fn take(
    floats: &FpuState,
    at: u64,
    environment: impl FnOnce(&mut [u8; LEGACY_BYTES]),
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    /// Up to AVX, and the mark.
    const USUAL: usize = 832 + MARK_BYTES;
    let (mut usual, mut larger) = ([0; USUAL], Vec::new());
    let bytes = state_bytes() as usize;
    let area = if bytes <= USUAL {
        &mut usual[..bytes]
    } else {
        larger.append(&mut zeros(bytes as u64)?);
        &mut larger[..]
    };
    // Most often all of it is there.
    let is_whole = read(at, area).is_ok();
    if !is_whole {
        read(at, &mut area[..LEGACY_BYTES])?;
    }
    let (len, states) = match extended_bytes(area, is_whole, at, &mut read)? {
        Some(_) if is_whole => (xstate::bytes(), u64_at(area, STATES)),
        // As far as there are states in it.
        Some(_) => {
            read(at, &mut area[..HEADER.end])?;
            let states = u64_at(area, STATES) & xstate::features();
            let end = xstate::end_of(states & u64_at(area, HEADER.start));
            read(at, &mut area[..end])?;
            (xstate::bytes(), states)
        }
        None => (LEGACY_BYTES, LEGACY),
    };
    if let Some(legacy) = area.first_chunk_mut() {
        environment(legacy);
    }
    floats.adopt(&area[..len], states & xstate::features().max(LEGACY)).map_err(|_| Errno::EFAULT)
}

/// Bytes of the states, if a header and states follow the first 512 bytes; otherwise these are all
/// that is taken (`check_xstate_in_sigframe`).
fn extended_bytes(
    area: &[u8],
    is_whole: bool,
    at: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<Option<usize>, Errno> {
    let [all, told] = [ALL_BYTES, STATES_BYTES].map(|at| u32_at(area, at) as usize);
    let fits = (HEADER.end..=xstate::bytes()).contains(&told) && told <= all;
    if xstate::features() == 0 || u32_at(area, SOFTWARE) != FIRST_MARK || !fits {
        return Ok(None);
    }
    let mut mark = [0; MARK_BYTES];
    if is_whole {
        mark.copy_from_slice(&area[told..told + MARK_BYTES]);
    } else {
        read(at.checked_add(told as u64).ok_or(Errno::EFAULT)?, &mut mark)?;
    }
    Ok((u32::from_le_bytes(mark) == SECOND_MARK).then_some(told))
}
