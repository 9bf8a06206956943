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

use super::common::{Space, u32_at, u64_at};
use crate::error::Errno;
use machine::arch::fpu::{FpuState, Snapshot};
use machine::arch::pc::xstate::{self, HEADER, LEGACY, LEGACY_BYTES};
use machine::memory::fallible;
use machine::memory::frames::Stretch;

/// `FP_XSTATE_MAGIC1`, `FP_XSTATE_MAGIC2`.
const FIRST_MARK: u32 = 0x4650_5853;
const SECOND_MARK: u32 = 0x4650_5845;
const MARK_BYTES: usize = size_of::<u32>();
/// Where the first mark is; after it bytes in all, states, and the bytes of those.
const SOFTWARE: usize = 464;
const ALL_BYTES: usize = SOFTWARE + 4;
const STATES: usize = SOFTWARE + 8;
const STATES_BYTES: usize = SOFTWARE + 16;
const STATES_END: usize = STATES_BYTES + 4;
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

/// Writes the registers into a frame, from the beginning of `area` on, with `before` bytes of the
/// older form before it.
pub(super) fn put_state(floats: &FpuState, area: Stretch, before: usize) {
    floats.write_to(area);
    if xstate::features() == 0 {
        return;
    }
    let bytes = xstate::bytes();
    // From the first mark to the end of what the CPU leaves to software.
    let marked = u64::from(FIRST_MARK) | ((before + bytes + MARK_BYTES) as u64) << 32;
    const { assert!(ALL_BYTES == SOFTWARE + 4 && STATES == SOFTWARE + 8) };
    const { assert!(STATES_BYTES == SOFTWARE + 16 && LEGACY_BYTES == SOFTWARE + 48) };
    let words = [marked, xstate::features(), bytes as u64, 0, 0, 0];
    for (word, i) in words.into_iter().zip(0..) {
        area.put(SOFTWARE + 8 * i, word.to_le_bytes());
    }
    // A program that knows only the first 512 bytes may change them: they are always taken.
    let [states] = area.array(HEADER.start);
    area.put(HEADER.start, [states | LEGACY as u8]);
    area.put(bytes, SECOND_MARK.to_le_bytes());
}

/// Puts the older form of the registers over the first bytes of the newer one.
pub(super) type Environment<'e> = &'e dyn Fn(&mut Snapshot);

/// Loads the registers from a frame at `at`; without one they are as at a program's start. An error
/// leaves them as at a program's start, as Linux does it.
pub(super) fn take_state(
    floats: &FpuState,
    at: u64,
    environment: Option<Environment<'_>>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    if at == 0 {
        floats.clear();
        return Ok(());
    }
    let taken = match memory.stretch(at, state_bytes() as usize, false) {
        Ok(area) => take_whole(floats, area, environment),
        Err(_) => take_begun(floats, at, environment, memory),
    };
    if taken.is_err() {
        floats.clear();
    }
    taken
}

/// Loads the registers from an area that is there whole, as most often.
fn take_whole(
    floats: &FpuState,
    area: Stretch,
    environment: Option<Environment<'_>>,
) -> Result<(), Errno> {
    let states = extended_bytes(&area.array::<{ STATES_END - SOFTWARE }>(SOFTWARE)).and_then(
        |(bytes, states)| (area.array(bytes) == SECOND_MARK.to_le_bytes()).then_some(states),
    );
    let adopted = match environment {
        None => floats.adopt_from(area, None, states),
        Some(environment) => {
            let mut legacy = area.array(0);
            environment(&mut legacy);
            floats.adopt_from(area, Some(&legacy), states)
        }
    };
    adopted.map_err(|_| Errno::EFAULT)
}

/// Loads the registers from an area that is not there to its end.
#[cold]
fn take_begun(
    floats: &FpuState,
    at: u64,
    environment: Option<Environment<'_>>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    let mut area = fallible::zeros(state_bytes() as usize)?;
    memory.read(at, &mut area[..LEGACY_BYTES])?;
    let states = match extended_bytes(&area[SOFTWARE..LEGACY_BYTES]) {
        Some((bytes, states)) => {
            let mut mark = [0; MARK_BYTES];
            memory.read(at.checked_add(bytes as u64).ok_or(Errno::EFAULT)?, &mut mark)?;
            (mark == SECOND_MARK.to_le_bytes()).then_some(states)
        }
        None => None,
    };
    let len = match states {
        // As far as there are states in it.
        Some(states) => {
            memory.read(at, &mut area[..HEADER.end])?;
            let end = xstate::end_of(states & u64_at(&area, HEADER.start));
            memory.read(at, &mut area[..end])?;
            xstate::bytes()
        }
        None => LEGACY_BYTES,
    };
    if let (Some(environment), Some(legacy)) = (environment, area.first_chunk_mut()) {
        environment(legacy);
    }
    floats.adopt(&area[..len], states.unwrap_or(LEGACY)).map_err(|_| Errno::EFAULT)
}

/// Bytes up to the end of states, where the second mark is, and which are taken, if what is `told`
/// from [`SOFTWARE`] on says that a header and states follow the first 512 bytes; otherwise these
/// are all that is taken (`check_xstate_in_sigframe`).
fn extended_bytes(told: &[u8]) -> Option<(usize, u64)> {
    let [all, bytes] = [ALL_BYTES, STATES_BYTES].map(|at| u32_at(told, at - SOFTWARE) as usize);
    let fits = (HEADER.end..=xstate::bytes()).contains(&bytes) && bytes <= all;
    let is_marked = xstate::features() != 0 && u32_at(told, 0) == FIRST_MARK;
    let states = u64_at(told, STATES - SOFTWARE) & xstate::features();
    (is_marked && fits).then_some((bytes, states))
}
