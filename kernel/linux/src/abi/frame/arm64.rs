//! arm64: `struct rt_sigframe` and a frame record above it (arch/arm64/kernel/signal.c,
//! include/uapi/asm/sigcontext.h).
//!
//! ```text
//!   frame   0  siginfo, 128 bytes
//!         128  ucontext: flags, link, stack 16, mask 40, sigcontext 176: fault address, x0 to x30, SP, PC, PSTATE,
//!              then from 464 on 4,096 bytes of records: floating point, a fault, the shadow stack, the end
//!   ≥   4,688  the interrupted function's frame record: x29, x30
//! ```

use super::common::{Place, Popped, Request, Space, StackBytes, below, u32_at, u64_at};
use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;
use machine::memory::frames::Stretch;

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
/// In a frame: where the record of the floating point begins and ends; the registers come behind
/// its head with FPSR and FPCR.
const FPU: usize = RECORDS;
const FPU_HEAD: usize = 16;
const FPU_END: usize = FPU + FPU_RECORD as usize;
/// Magic and length of a record; all zero at the end of records.
const RECORD_HEAD: usize = 8;
/// Bytes of a frame up to the end of the longest records.
const USED_BYTES: usize = FPU_END + (SYNDROME_RECORD + SHADOW_RECORD) as usize + RECORD_HEAD;
/// Of the interrupted function: x29, x30.
const FRAME_RECORD: usize = 16;
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

/// Where a frame goes below `top`.
pub fn place(top: u64, _request: &Request<'_>) -> Result<Place, Errno> {
    let above = below(top, FRAME_RECORD as u64, 16)?;
    Ok(Place { at: below(above, FRAME_BYTES as u64, 16)?, above })
}

/// Lays a frame out. Of the room for records only those that there are, and their end, are written.
pub fn build(
    regs: &SavedRegs,
    Place { at, above }: Place,
    request: &Request<'_>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    let mut bytes = [0; FPU + FPU_HEAD];
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
    bytes[..INFO_BYTES].copy_from_slice(&request.info.encode());
    bytes[STACK..MASK].copy_from_slice(&request.stack.encode());
    let area = memory.stretch(at, USED_BYTES, true)?;
    let [status, control] = request.fpu.write_to(area.from(FPU + FPU_HEAD));
    let head = [FPU_MAGIC, FPU_RECORD, status, control];
    for (to, word) in bytes[FPU..].chunks_exact_mut(4).zip(head) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    area.write(0, &bytes);
    put_records(area.from(FPU_END), request);
    let record = memory.stretch(above, FRAME_RECORD, true)?;
    record.put(0, regs.x[29].to_le_bytes());
    record.put(8, regs.x[30].to_le_bytes());
    Ok(())
}

/// Makes the registers those of a handler whose frame is laid out.
pub fn enter(regs: &mut SavedRegs, Place { at, above }: Place, request: &Request<'_>) {
    regs.x[0] = request.info.signal.number().into();
    if request.wants_info {
        regs.x[1] = at;
        regs.x[2] = at + CONTEXT as u64;
    }
    regs.x[29] = above;
    regs.x[30] = request.restorer.unwrap_or(request.trampoline);
    regs.pc = request.handler;
    regs.pstate &= !(BRANCH_TYPE | TAG_CHECKS_OFF);
    regs.sp = at;
}

/// Writes the records behind that of the floating point, and the end.
fn put_records(area: Stretch, request: &Request<'_>) {
    let mut at = 0;
    let mut put = |magic: u32, record: u32, words: &[u64]| {
        area.put(at, (u64::from(record) << 32 | u64::from(magic)).to_le_bytes());
        for (word, i) in words.iter().zip(1..) {
            area.put(at + RECORD_HEAD * i, word.to_le_bytes());
        }
        at += record as usize;
    };
    if request.trap.error != 0 {
        put(SYNDROME_MAGIC, SYNDROME_RECORD, &[request.trap.error]);
    }
    if let Some([pointer, mode]) = request.shadow {
        put(SHADOW_MAGIC, SHADOW_RECORD, &[pointer, mode, 0]);
    }
    put(0, 0, &[]);
}

/// A handler begins with the floating point of what it interrupts.
pub fn enter_handler(_floats: &FpuState) {}

/// Reads a frame back, the floating point into the registers.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    memory: &mut impl Space,
) -> Result<Popped, Errno> {
    if !regs.sp.is_multiple_of(16) {
        return Err(Errno::EFAULT);
    }
    let area = memory.stretch(regs.sp, FPU_END + RECORD_HEAD, false)?;
    let bytes = area.array::<{ FPU + FPU_HEAD }>(0);
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
    // The first record is the floating point, as `build` made it: a frame without it is not one.
    if u32_at(&bytes, RECORDS) != FPU_MAGIC || u32_at(&bytes, RECORDS + 4) != FPU_RECORD {
        return Err(Errno::EFAULT);
    }
    let words = [FPU + 8, FPU + 12].map(|at| u32_at(&bytes, at));
    floats.adopt_from(area.from(FPU + FPU_HEAD), words);
    // Most often that is the only record.
    let is_last = u64::from_le_bytes(area.array(FPU_END)) == 0;
    let shadow = if is_last { None } else { shadow_record(regs.sp, memory)? };
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64_at(&bytes, MASK)),
        stack: Some(StackBytes::decode(&stack)),
        shadow,
    })
}

/// What a frame says of the shadow stack: among the records behind that of the floating point, one
/// after the other, up to one that is all zero.
fn shadow_record(frame: u64, memory: &mut impl Space) -> Result<Option<[u64; 2]>, Errno> {
    let mut found = None;
    let mut at = RECORDS + FPU_RECORD as usize;
    while at + RECORD_HEAD <= FRAME_BYTES {
        let mut record = [0; SHADOW_RECORD as usize];
        memory.read(frame + at as u64, &mut record[..RECORD_HEAD])?;
        let (magic, bytes) = (u32_at(&record, 0), u32_at(&record, 4));
        match magic {
            0 if bytes == 0 => return Ok(found),
            SYNDROME_MAGIC => {}
            SHADOW_MAGIC if bytes == SHADOW_RECORD && found.is_none() => {
                if at + SHADOW_RECORD as usize > FRAME_BYTES {
                    return Err(Errno::EFAULT);
                }
                memory.read(frame + at as u64, &mut record)?;
                found = Some([u64_at(&record, 8), u64_at(&record, 16)]);
            }
            _ => return Err(Errno::EFAULT),
        }
        if bytes < RECORD_HEAD as u32 * 2 || !bytes.is_multiple_of(16) {
            return Err(Errno::EFAULT);
        }
        at = at.saturating_add(bytes as usize);
    }
    Ok(found)
}
