//! riscv64: `struct rt_sigframe` (arch/riscv/kernel/signal.c, include/uapi/asm/ucontext.h,
//! sigcontext.h).
//!
//! ```text
//!   frame   0  siginfo, 128 bytes
//!         128  ucontext: flags, link, stack 16, mask 40, sigcontext 176: pc, x1 to x31, then f0 to f31, fcsr
//! ```

use super::common::{Place, Popped, Request, Space, StackBytes, below, u32_at, u64_at};
use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
use machine::arch::fpu::{FpuState, Snapshot};
use machine::arch::regs::SavedRegs;

pub const RED_ZONE: u64 = 0;
/// The least size of an alternate stack.
pub const MIN_STACK: u64 = 2048;
pub(super) const HAS_RESTORER: bool = false;

const CONTEXT: usize = INFO_BYTES;
const STACK: usize = CONTEXT + 16;
const MASK: usize = STACK + StackBytes::BYTES;
const REGISTERS: usize = CONTEXT + 176;
const FPU: usize = REGISTERS + 32 * 8;
/// Room for the widest floating point there is.
const FPU_BYTES: usize = 528;
/// In it: where the list of extensions begins, behind room for registers of 128 bits.
const EXTENSIONS: usize = 516;
const FRAME_BYTES: usize = FPU + FPU_BYTES;

fn fields(regs: &mut SavedRegs) -> [&mut u64; 32] {
    let r = regs;
    [
        &mut r.epc, &mut r.ra, &mut r.sp, &mut r.gp, &mut r.tp, &mut r.t0, &mut r.t1, &mut r.t2,
        &mut r.s0, &mut r.s1, &mut r.a0, &mut r.a1, &mut r.a2, &mut r.a3, &mut r.a4, &mut r.a5,
        &mut r.a6, &mut r.a7, &mut r.s2, &mut r.s3, &mut r.s4, &mut r.s5, &mut r.s6, &mut r.s7,
        &mut r.s8, &mut r.s9, &mut r.s10, &mut r.s11, &mut r.t3, &mut r.t4, &mut r.t5, &mut r.t6,
    ]
}

/// The least stack that a handler's frame fits on, as programs are told it (AT_MINSIGSTKSZ).
pub fn least_stack_told() -> Option<u64> {
    Some((FRAME_BYTES as u64).next_multiple_of(16))
}

/// Where a frame goes below `top`.
pub fn place(top: u64, _request: &Request<'_>) -> Result<Place, Errno> {
    let at = below(top, FRAME_BYTES as u64, 16)?;
    Ok(Place { at, above: at + FRAME_BYTES as u64 })
}

/// Lays a frame out.
pub fn build(
    regs: &SavedRegs,
    Place { at, .. }: Place,
    request: &Request<'_>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    let mut bytes = [0; FRAME_BYTES];
    let mut put = |offset: usize, value: u64| {
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    };
    for (value, i) in fields(&mut regs.clone()).into_iter().zip(0..) {
        put(REGISTERS + 8 * i, *value);
    }
    put(MASK, request.mask.0);
    let floats = request.fpu.snapshot();
    for (value, i) in floats[..32].iter().zip(0..) {
        put(FPU + 8 * i, *value);
    }
    bytes[FPU + 256..FPU + 260].copy_from_slice(&(floats[32] as u32).to_le_bytes());
    bytes[..INFO_BYTES].copy_from_slice(&request.info.encode());
    bytes[STACK..MASK].copy_from_slice(&request.stack.encode());
    memory.write(at, &bytes)?;
    Ok(())
}

/// Makes the registers those of a handler whose frame is laid out.
pub fn enter(regs: &mut SavedRegs, Place { at, .. }: Place, request: &Request<'_>) {
    regs.ra = request.trampoline;
    regs.epc = request.handler;
    regs.sp = at;
    regs.a0 = request.info.signal.number().into();
    regs.a1 = at;
    regs.a2 = at + CONTEXT as u64;
}

/// A handler begins with the floating point of what it interrupts.
pub fn enter_handler(_floats: &FpuState) {}

/// Reads a frame back.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    memory: &mut impl Space,
) -> Result<Popped, Errno> {
    let mut bytes = [0; FRAME_BYTES];
    memory.read(regs.sp, &mut bytes)?;
    let mut stack = [0; StackBytes::BYTES];
    stack.copy_from_slice(&bytes[STACK..MASK]);
    let mut new = *regs;
    for (register, i) in fields(&mut new).into_iter().zip(0..) {
        *register = u64_at(&bytes, REGISTERS + 8 * i);
    }
    let mut fpu: Snapshot = [0; 33];
    for (register, i) in fpu[..32].iter_mut().zip(0..) {
        *register = u64_at(&bytes, FPU + 8 * i);
    }
    fpu[32] = u32_at(&bytes, FPU + 256).into();
    // An extension that this frame's kernel did not know: no frame of ours.
    if bytes[FPU + EXTENSIONS..].iter().any(|&byte| byte != 0) {
        return Err(Errno::EFAULT);
    }
    floats.adopt(&fpu);
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64_at(&bytes, MASK)),
        stack: Some(StackBytes::decode(&stack)),
        shadow: None,
    })
}
