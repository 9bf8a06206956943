//! arm64: `struct rt_sigframe` and a frame record above it (arch/arm64/kernel/signal.c,
//! include/uapi/asm/sigcontext.h).
//!
//! ```text
//!   frame   0  siginfo, 128 bytes
//!         128  ucontext: flags, link, stack 16, mask 40, sigcontext 176: fault address, x0 to x30, SP, PC, PSTATE,
//!              then from 464 on 4,096 bytes of records: floating point, a fault, the shadow stack, the end
//!   ≥   4,688  the interrupted function's frame record: x29, x30
//! ```

use super::common::{Popped, Request, StackBytes, below, u32_at, u64_at, zeros};
use crate::abi::USER_TOP;
use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
use alloc::vec::Vec;
use machine::arch::fpu::{FpuState, Snapshot};
use machine::arch::regs::SavedRegs;

pub const RED_ZONE: u64 = 0;
/// The least size of an alternate stack.
pub const MIN_STACK: u64 = 5120;
pub(super) const HAS_RESTORER: bool = true;

const CONTEXT: usize = INFO_BYTES;
const STACK: usize = CONTEXT + 16;
const MASK: usize = STACK + StackBytes::BYTES;
const REGISTERS: usize = CONTEXT + 176;
const RECORDS: usize = REGISTERS + 288;
const RECORD_BYTES: usize = 4096;
const FRAME_BYTES: usize = RECORDS + RECORD_BYTES;
const FPU_MAGIC: u32 = 0x4650_8001;
const FPU_RECORD: u32 = 528;
/// The record of a fault: its syndrome.
const SYNDROME_MAGIC: u32 = 0x4553_5201;
const SYNDROME_RECORD: u32 = 16;
/// The record of a shadow stack (`struct gcs_context`): its pointer, its mode, and a word that is
/// 0.
const SHADOW_MAGIC: u32 = 0x4743_5300;
const SHADOW_RECORD: u32 = 32;
/// The kind of branch that led here; whether tags are checked.
const BRANCH_TYPE: u64 = 3 << 10;
const TAG_CHECKS_OFF: u64 = 1 << 25;
/// What a program may change: N, Z, C, V; timing that does not depend on data, speculation, and the
/// two above.
const FLAGS: u64 = 0xf << 28 | 1 << 24 | 1 << 12 | BRANCH_TYPE | TAG_CHECKS_OFF;

/// The least stack that a handler's frame fits on, as programs are told it (AT_MINSIGSTKSZ): with a
/// frame record and what alignment can take.
pub fn least_stack_told() -> Option<u64> {
    Some(FRAME_BYTES as u64 + 16 + 16)
}

/// Lays out a frame below `top` and makes the registers the handler's.
pub fn build(
    regs: &mut SavedRegs,
    top: u64,
    request: &Request<'_>,
) -> Result<(u64, Vec<u8>), Errno> {
    let record = below(top, 16, 16)?;
    let at = below(record, FRAME_BYTES as u64, 16)?;
    let mut bytes = zeros(record + 16 - at)?;
    let mut put = |offset: usize, value: u64| {
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    };
    put(REGISTERS, request.trap.address);
    for (value, i) in regs.x.into_iter().zip(1..) {
        put(REGISTERS + 8 * i, value);
    }
    put(REGISTERS + 8 * 32, regs.sp);
    put(REGISTERS + 8 * 33, regs.pc);
    put(REGISTERS + 8 * 34, regs.pstate);
    put(MASK, request.mask.0);
    put((record - at) as usize, regs.x[29]);
    put((record - at) as usize + 8, regs.x[30]);
    bytes[..INFO_BYTES].copy_from_slice(&request.info.encode());
    bytes[STACK..MASK].copy_from_slice(&request.stack.encode());
    let floats = request.fpu.snapshot();
    let fpu = &mut bytes[RECORDS..RECORDS + FPU_RECORD as usize];
    fpu[..4].copy_from_slice(&FPU_MAGIC.to_le_bytes());
    fpu[4..8].copy_from_slice(&FPU_RECORD.to_le_bytes());
    // FPSR and FPCR come first there, each in half of what the snapshot has.
    fpu[8..12].copy_from_slice(&floats[512..516]);
    fpu[12..16].copy_from_slice(&floats[520..524]);
    fpu[16..].copy_from_slice(&floats[..512]);
    let mut next = RECORDS + FPU_RECORD as usize;
    if request.trap.error != 0 {
        let record = &mut bytes[next..];
        record[..4].copy_from_slice(&SYNDROME_MAGIC.to_le_bytes());
        record[4..8].copy_from_slice(&SYNDROME_RECORD.to_le_bytes());
        record[8..16].copy_from_slice(&request.trap.error.to_le_bytes());
        next += SYNDROME_RECORD as usize;
    }
    if let Some([pointer, mode]) = request.shadow {
        let record = &mut bytes[next..];
        record[..4].copy_from_slice(&SHADOW_MAGIC.to_le_bytes());
        record[4..8].copy_from_slice(&SHADOW_RECORD.to_le_bytes());
        record[8..16].copy_from_slice(&pointer.to_le_bytes());
        record[16..24].copy_from_slice(&mode.to_le_bytes());
    }
    regs.x[0] = request.info.signal.number().into();
    if request.wants_info {
        regs.x[1] = at;
        regs.x[2] = at + CONTEXT as u64;
    }
    regs.x[29] = record;
    regs.x[30] = request.restorer.unwrap_or(request.trampoline);
    regs.pc = request.handler;
    regs.pstate &= !(BRANCH_TYPE | TAG_CHECKS_OFF);
    regs.sp = at;
    Ok((at, bytes))
}

/// A handler begins with the floating point of what it interrupts.
pub fn enter_handler(_floats: &FpuState) {}

/// Reads a frame back, the floating point into the registers.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<Popped, Errno> {
    if !regs.sp.is_multiple_of(16) {
        return Err(Errno::EFAULT);
    }
    const READ: usize = RECORDS + FPU_RECORD as usize;
    let mut bytes = [0; READ];
    read(regs.sp, &mut bytes)?;
    let mut stack = [0; StackBytes::BYTES];
    stack.copy_from_slice(&bytes[STACK..MASK]);
    let field = |i: usize| u64_at(&bytes, REGISTERS + 8 * i);
    let mut new = *regs;
    for (register, i) in new.x.iter_mut().zip(1..) {
        *register = field(i);
    }
    new.sp = field(32);
    new.pc = field(33);
    new.pstate = regs.pstate & !FLAGS | field(34) & FLAGS;
    if new.pc >= USER_TOP {
        return Err(Errno::EFAULT);
    }
    // The first record is the floating point, as `build` made it: a frame without it is not one.
    if u32_at(&bytes, RECORDS) != FPU_MAGIC || u32_at(&bytes, RECORDS + 4) != FPU_RECORD {
        return Err(Errno::EFAULT);
    }
    let mut fpu: Snapshot = [0; size_of::<Snapshot>()];
    fpu[512..516].copy_from_slice(&bytes[RECORDS + 8..RECORDS + 12]);
    fpu[520..524].copy_from_slice(&bytes[RECORDS + 12..RECORDS + 16]);
    fpu[..512].copy_from_slice(&bytes[RECORDS + 16..]);
    floats.adopt(&fpu);
    let shadow = shadow_record(regs.sp, read)?;
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64_at(&bytes, MASK)),
        stack: Some(StackBytes::decode(&stack)),
        shadow,
    })
}

/// What a frame says of the shadow stack: among the records behind that of the floating point, one
/// after the other, up to one that is all zero.
fn shadow_record(
    frame: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<Option<[u64; 2]>, Errno> {
    const HEAD: usize = 8;
    let mut found = None;
    let mut at = RECORDS + FPU_RECORD as usize;
    while at + HEAD <= FRAME_BYTES {
        let mut record = [0; SHADOW_RECORD as usize];
        read(frame + at as u64, &mut record[..HEAD])?;
        let (magic, bytes) = (u32_at(&record, 0), u32_at(&record, 4));
        match magic {
            0 if bytes == 0 => return Ok(found),
            SYNDROME_MAGIC => {}
            SHADOW_MAGIC if bytes == SHADOW_RECORD && found.is_none() => {
                if at + SHADOW_RECORD as usize > FRAME_BYTES {
                    return Err(Errno::EFAULT);
                }
                read(frame + at as u64, &mut record)?;
                found = Some([u64_at(&record, 8), u64_at(&record, 16)]);
            }
            _ => return Err(Errno::EFAULT),
        }
        if bytes < HEAD as u32 * 2 || !bytes.is_multiple_of(16) {
            return Err(Errno::EFAULT);
        }
        at = at.saturating_add(bytes as usize);
    }
    Ok(found)
}
