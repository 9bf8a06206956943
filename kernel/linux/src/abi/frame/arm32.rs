//! arm32: `struct sigframe` for a plain handler, `struct rt_sigframe` for one with SA_SIGINFO
//! (arch/arm/kernel/signal.c, signal.h, include/asm/ucontext.h).
//!
//! ```text
//!   rt_sigframe   0  siginfo, 128 bytes; a sigframe begins behind it
//!   sigframe      0  ucontext: flags, link, stack 8, sigcontext 20, mask 104, unused, floating point 232
//!               744  code for going back, 16
//! ```

use super::common::{Place, Popped, Request, Space, StackBytes, below, u32_at, u64_at};
use crate::abi::number;
use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
use machine::arch::fpu::{FpuState, Snapshot};
use machine::arch::regs::{SavedRegs, THUMB};

pub const RED_ZONE: u64 = 0;
/// The least size of an alternate stack.
pub const MIN_STACK: u64 = 2048;
pub(super) const HAS_RESTORER: bool = true;

/// The number of the call that goes back from a plain handler.
const SIGRETURN: u64 = 119;
const STACK: usize = 8;
const CONTEXT: usize = STACK + StackBytes::BYTES;
const MASK: usize = CONTEXT + 21 * 4;
const FPU: usize = 232;
const FPU_BYTES: usize = 288;
const CODE: usize = FPU + 512;
const FRAME_BYTES: usize = CODE + 16;
const FPU_MAGIC: u32 = 0x5646_5001;
/// Offsets in the floating point: FPSCR; FPEXC, with the unit on.
const FPSCR: usize = 8 + 256;
const FPEXC: usize = 8 + 264;
const FPU_ON: u32 = 1 << 30;
/// Bits of CPSR that a program may change: N, Z, C, V, Q, IT, GE, the order of bytes, Thumb.
const FLAGS: u32 = 0xf80f_0000 | IF_THEN | BIG_ENDIAN | THUMB;
/// The state of an IT block.
const IF_THEN: u32 = 0x0600_fc00;
/// Data in the other order, after `setend be`.
const BIG_ENDIAN: u32 = 1 << 9;
/// What Linux has in `uc_flags` of a plain frame.
const PLAIN: u32 = 0x5ac3_c35a;

fn fields(regs: &mut SavedRegs) -> [&mut u32; 17] {
    let r = regs;
    [
        &mut r.r0,
        &mut r.r1,
        &mut r.r2,
        &mut r.r3,
        &mut r.r4,
        &mut r.r5,
        &mut r.r6,
        &mut r.r7,
        &mut r.r8,
        &mut r.r9,
        &mut r.r10,
        &mut r.fp,
        &mut r.ip,
        &mut r.sp,
        &mut r.lr,
        &mut r.pc,
        &mut r.cpsr,
    ]
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Programs are not told how large a frame is: it never grew.
pub fn least_stack_told() -> Option<u64> {
    None
}

/// Bytes of what comes before the frame.
fn info_bytes(request: &Request<'_>) -> usize {
    if request.wants_info { INFO_BYTES } else { 0 }
}

/// Where a frame goes below `top`.
pub fn place(top: u64, request: &Request<'_>) -> Result<Place, Errno> {
    let bytes = (info_bytes(request) + FRAME_BYTES) as u64;
    let at = below(top, bytes, 8)?;
    Ok(Place { at, above: at + bytes })
}

/// Lays a frame out.
pub fn build(
    regs: &SavedRegs,
    Place { at, .. }: Place,
    request: &Request<'_>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    let info = info_bytes(request);
    let mut bytes = [0; INFO_BYTES + FRAME_BYTES];
    let bytes = &mut bytes[..info + FRAME_BYTES];
    if request.wants_info {
        bytes[..INFO_BYTES].copy_from_slice(&request.info.encode());
    }
    let frame = &mut bytes[info..];
    // A plain frame gives no alternate stack back.
    match request.wants_info {
        true => frame[STACK..CONTEXT].copy_from_slice(&request.stack.encode()),
        false => put(frame, 0, PLAIN),
    }
    // Trap number, error code, mask; the registers; the fault's address.
    put(frame, CONTEXT, request.trap.number as u32);
    put(frame, CONTEXT + 4, request.trap.error as u32);
    put(frame, CONTEXT + 8, request.mask.0 as u32);
    for (value, i) in fields(&mut regs.clone()).into_iter().zip(3..) {
        put(frame, CONTEXT + 4 * i, *value);
    }
    put(frame, CONTEXT + 4 * 20, request.trap.address as u32);
    frame[MASK..MASK + 8].copy_from_slice(&request.mask.0.to_le_bytes());
    let floats = request.fpu.snapshot();
    let fpu = &mut frame[FPU..FPU + FPU_BYTES];
    put(fpu, 0, FPU_MAGIC);
    put(fpu, 4, FPU_BYTES as u32);
    for (value, i) in floats[..64].iter().zip(0..) {
        put(fpu, 8 + 4 * i, *value);
    }
    put(fpu, FPSCR, floats[64]);
    put(fpu, FPEXC, FPU_ON);
    let code = if request.wants_info { 173 } else { 119 };
    // mov r7, #code; svc 0: for a program whose stack is executable.
    put(frame, CODE, 0xe3a0_7000 | code);
    put(frame, CODE + 4, 0xef00_0000);
    memory.write(at, bytes)?;
    Ok(())
}

/// Makes the registers those of a handler whose frame is laid out.
pub fn enter(regs: &mut SavedRegs, Place { at, .. }: Place, request: &Request<'_>) {
    regs.r0 = request.info.signal.number().into();
    if request.wants_info {
        regs.r1 = at as u32;
        regs.r2 = (at + info_bytes(request) as u64) as u32;
    }
    // The kernel's own code has one for each kind of handler.
    let trampoline = request.trampoline + if request.wants_info { 8 } else { 0 };
    regs.lr = request.restorer.unwrap_or(trampoline) as u32;
    regs.sp = at as u32;
    let is_thumb = request.handler & 1 != 0;
    regs.pc = request.handler as u32 & if is_thumb { !1 } else { !3 };
    regs.cpsr = regs.cpsr & !(THUMB | IF_THEN | BIG_ENDIAN) | if is_thumb { THUMB } else { 0 };
}

/// A handler begins with the floating point of what it interrupts.
pub fn enter_handler(_floats: &FpuState) {}

/// Reads a frame back: of a plain handler or of one with SA_SIGINFO, as the number of the call
/// says.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    memory: &mut impl Space,
) -> Result<Popped, Errno> {
    let info = if number(regs) == SIGRETURN { 0 } else { INFO_BYTES };
    if !regs.sp.is_multiple_of(8) {
        return Err(Errno::EFAULT);
    }
    let mut bytes = [0; FPU + FPU_BYTES];
    memory.read(u64::from(regs.sp) + info as u64, &mut bytes)?;
    let mut stack = [0; StackBytes::BYTES];
    stack.copy_from_slice(&bytes[STACK..CONTEXT]);
    let mut new = *regs;
    for (register, i) in fields(&mut new).into_iter().zip(3..) {
        *register = u32_at(&bytes, CONTEXT + 4 * i);
    }
    new.cpsr = regs.cpsr & !FLAGS | new.cpsr & FLAGS;
    if u32_at(&bytes, FPU) != FPU_MAGIC || u32_at(&bytes, FPU + 4) != FPU_BYTES as u32 {
        return Err(Errno::EFAULT);
    }
    let mut fpu: Snapshot = [0; 66];
    for (register, i) in fpu[..64].iter_mut().zip(0..) {
        *register = u32_at(&bytes, FPU + 8 + 4 * i);
    }
    fpu[64] = u32_at(&bytes, FPU + FPSCR);
    floats.adopt(&fpu);
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64_at(&bytes, MASK)),
        stack: Some(if info == 0 { StackBytes::default() } else { StackBytes::decode(&stack) }),
        shadow: None,
    })
}
