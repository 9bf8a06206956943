//! x86_64: `struct rt_sigframe` and, above it, the floating point as `xsave` has it (`pc`;
//! arch/x86/include/asm/sigframe.h, arch/x86/include/uapi/asm/sigcontext.h).
//!
//! ```text
//!   frame   0  return address (the restorer)
//!           8  ucontext: flags 8, link 16, stack 24, sigcontext 48, mask 304
//!         312  siginfo, 128 bytes
//!   ≥     440  floating point, 512 bytes or more, at a multiple of 64
//! ```

use super::common::{Popped, Request, StackBytes, below, u64_at, zeros};
use super::pc::{self, put_state, take_state};

pub use super::pc::{enter_handler, least_stack_told};

use crate::abi::USER_TOP;
use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
use alloc::vec::Vec;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::extras::is_stack;
use machine::arch::fpu::FpuState;
use machine::arch::regs::SavedRegs;

/// Bytes below SP that belong to the function that was interrupted (System V ABI 3.2.2).
pub const RED_ZONE: u64 = 128;
/// The least size of an alternate stack.
pub const MIN_STACK: u64 = 2048;
pub(super) const HAS_RESTORER: bool = true;

const CONTEXT: usize = 8;
const STACK: usize = CONTEXT + 16;
const REGISTERS: usize = CONTEXT + 40;
const MASK: usize = REGISTERS + 256;
const INFO: usize = MASK + 8;
const FRAME_BYTES: usize = INFO + INFO_BYTES;
/// Offsets in `struct sigcontext`.
const SEGMENTS: usize = 18 * 8;
const ERROR: usize = 19 * 8;
const TRAP: usize = 20 * 8;
const OLD_MASK: usize = 21 * 8;
const CR2: usize = 22 * 8;
const FPU_AT: usize = 23 * 8;
/// `uc_flags`: the frame has SS; and SS is to be taken from it, whatever it is (in 64-bit code).
const HAS_SS: u64 = 2;
const STRICT_RESTORE_SS: u64 = 4;

const fn fields(regs: &SavedRegs) -> [u64; 18] {
    let r = regs;
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx,
        r.rax, r.rcx, r.rsp, r.rip, r.rflags,
    ]
}

/// Flags that a program may change (`FIX_EFLAGS`).
const FLAGS: u64 = 0x5_0dd5;
/// Direction, trap, resume: clear when a handler begins.
const CLEARED: u64 = 1 << 10 | 1 << 8 | RESUME;
const RESUME: u64 = 1 << 16;

/// Lays out a frame below `top` and makes the registers the handler's.
pub fn build(
    regs: &mut SavedRegs,
    top: u64,
    request: &Request<'_>,
) -> Result<(u64, Vec<u8>), Errno> {
    // The C library always gives one, and Linux runs no handler without.
    let restorer = request.restorer.ok_or(Errno::EFAULT)?;
    let fpu_bytes = pc::state_bytes();
    let fpu_at = below(top, fpu_bytes, 64)?;
    // As at a function's entry: 8 below a multiple of 16.
    let at = below(fpu_at, FRAME_BYTES as u64, 16)?.checked_sub(8).ok_or(Errno::EFAULT)?;
    let mut bytes = zeros(fpu_at + fpu_bytes - at)?;
    let mut put = |offset: usize, value: u64| {
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    };
    put(0, restorer);
    let is_64_bit = regs.cs == USER_CODE.into();
    let strict = if is_64_bit { STRICT_RESTORE_SS } else { 0 };
    put(CONTEXT, HAS_SS | strict | pc::state_flags());
    for (value, i) in fields(regs).into_iter().zip(0..) {
        put(REGISTERS + 8 * i, value);
    }
    put(REGISTERS + SEGMENTS, regs.cs & 0xffff | (regs.ss & 0xffff) << 48);
    put(REGISTERS + ERROR, request.trap.error);
    put(REGISTERS + TRAP, request.trap.number);
    put(REGISTERS + OLD_MASK, request.mask.0);
    put(REGISTERS + CR2, request.trap.address);
    put(REGISTERS + FPU_AT, fpu_at);
    put(MASK, request.mask.0);
    bytes[STACK..STACK + StackBytes::BYTES].copy_from_slice(&request.stack.encode());
    bytes[INFO..INFO + INFO_BYTES].copy_from_slice(&request.info.encode());
    let fpu = (fpu_at - at) as usize;
    put_state(request.fpu, &mut bytes[fpu..], 0);
    regs.rdi = request.info.signal.number().into();
    regs.rsi = at + INFO as u64;
    regs.rdx = at + CONTEXT as u64;
    regs.rax = 0;
    regs.rip = request.handler;
    regs.rsp = at;
    regs.cs = USER_CODE.into();
    if !is_stack(regs.ss as u16) {
        regs.ss = USER_DATA.into();
    }
    regs.rflags &= !CLEARED;
    if regs.ss != USER_DATA.into() {
        regs.rflags |= RESUME;
    }
    Ok((at, bytes))
}

/// Reads a frame back, the floating point into the registers: the restorer has taken the return
/// address off.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<Popped, Errno> {
    let at = regs.rsp.checked_sub(8).ok_or(Errno::EFAULT)?;
    let mut bytes = [0; INFO];
    read(at, &mut bytes)?;
    let mut stack = [0; StackBytes::BYTES];
    stack.copy_from_slice(&bytes[STACK..STACK + StackBytes::BYTES]);
    let field = |i: usize| u64_at(&bytes, REGISTERS + 8 * i);
    let mut new = *regs;
    [new.r8, new.r9, new.r10, new.r11, new.r12, new.r13, new.r14, new.r15] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(field);
    [new.rdi, new.rsi, new.rbp, new.rbx, new.rdx, new.rax, new.rcx, new.rsp] =
        [8, 9, 10, 11, 12, 13, 14, 15].map(field);
    new.rip = field(16);
    new.rflags = regs.rflags & !FLAGS | field(17) & FLAGS;
    if new.rip >= USER_TOP {
        return Err(Errno::EFAULT);
    }
    // Whatever they are, they are the program's: whether they lead anywhere is looked at on the way
    // there.
    let segments = u64_at(&bytes, REGISTERS + SEGMENTS);
    new.cs = segments & 0xffff | 3;
    new.ss = segments >> 48 | 3;
    let flags = u64_at(&bytes, CONTEXT);
    if flags & STRICT_RESTORE_SS == 0 && new.cs == USER_CODE.into() && !is_stack(new.ss as u16) {
        // Of a program that does not know that SS is in the frame.
        new.ss = USER_DATA.into();
    }
    if new.ss != USER_DATA.into() {
        // The short way back would load the usual one; with this flag, it is not taken.
        new.rflags |= RESUME;
    }
    let fpu_at = u64_at(&bytes, REGISTERS + FPU_AT);
    // All else is taken by then, as on Linux.
    let fits = take_state(floats, fpu_at, |_| {}, read).is_ok();
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64_at(&bytes, MASK)),
        stack: fits.then(|| StackBytes::decode(&stack)),
        shadow: None,
    })
}
