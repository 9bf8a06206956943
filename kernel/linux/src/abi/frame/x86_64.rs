//! x86_64: `struct rt_sigframe` and, above it, the floating point as `xsave` has it (`pc`;
//! arch/x86/include/asm/sigframe.h, arch/x86/include/uapi/asm/sigcontext.h).
//!
//! ```text
//!   frame   0  return address (the restorer)
//!           8  ucontext: flags 8, link 16, stack 24, sigcontext 48, mask 304
//!         312  siginfo, 128 bytes
//!   ≥     440  floating point, 512 bytes or more, at a multiple of 64
//! ```

use super::common::{Place, Popped, Request, Space, StackBytes, below, u64_at};
use super::pc::{self, put_state, take_state};

pub use super::pc::{enter_handler, least_stack_told};

use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
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
const FPU_AT: usize = 23 * 8;
/// `uc_flags`: the frame has SS; and SS is to be taken from it, whatever it is (in 64-bit code).
const HAS_SS: u64 = 2;
const STRICT_RESTORE_SS: u64 = 4;

/// The bytes of words.
macro_rules! words {
    ($($word:expr),* $(,)?) => { [$(u64::to_le_bytes($word)),*] };
}

/// Flags that a program may change (`FIX_EFLAGS`).
const FLAGS: u64 = 0x5_0dd5;
/// Direction, trap, resume: clear when a handler begins.
const CLEARED: u64 = 1 << 10 | 1 << 8 | RESUME;
/// See [`crate::abi::frame`]: with it the short return path is not taken.
pub(in crate::abi) const RESUME: u64 = 1 << 16;

/// Where a frame goes below `top`.
pub fn place(top: u64, _request: &Request<'_>) -> Result<Place, Errno> {
    let above = below(top, pc::state_bytes(), 64)?;
    // As at a function's entry: 8 below a multiple of 16.
    let at = below(above, FRAME_BYTES as u64, 16)?.checked_sub(8).ok_or(Errno::EFAULT)?;
    Ok(Place { at, above })
}

/// Lays a frame out.
pub fn build(
    regs: &SavedRegs,
    Place { at, above }: Place,
    request: &Request<'_>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    // The C library always gives one, and Linux runs no handler without.
    let restorer = request.restorer.ok_or(Errno::EFAULT)?;
    let floats_at = (above - at) as usize;
    let area = memory.stretch(at, floats_at + pc::state_bytes() as usize, true)?;
    let r = regs;
    let StackBytes { lowest, bytes, flags } = request.stack;
    let segments = r.cs & 0xffff | (r.ss & 0xffff) << 48;
    let (trap, mask) = (request.trap, request.mask.0);
    let strict = if r.cs == USER_CODE.into() { STRICT_RESTORE_SS } else { 0 };
    #[rustfmt::skip]
    let head = words![
        restorer,
        HAS_SS | strict | pc::state_flags(), 0, lowest, u64::from(flags), bytes,
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx,
        r.rax, r.rcx, r.rsp, r.rip, r.rflags, segments, trap.error, trap.number, mask,
        trap.address, above, 0, 0, 0, 0, 0, 0, 0, 0,
        mask,
    ];
    const { assert!(size_of::<[[u8; 8]; 39]>() == INFO, "the words before siginfo") };
    area.write(0, head.as_flattened());
    area.write(INFO, &request.info.encode());
    put_state(request.fpu, area.from(floats_at), 0);
    Ok(())
}

/// Makes the registers those of a handler whose frame is laid out.
pub fn enter(regs: &mut SavedRegs, Place { at, .. }: Place, request: &Request<'_>) {
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
}

/// Reads a frame back, the floating point into the registers: the restorer has taken the return
/// address off.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    memory: &mut impl Space,
) -> Result<Popped, Errno> {
    let at = regs.rsp.checked_sub(8).ok_or(Errno::EFAULT)?;
    let frame = memory.stretch(at, INFO, false)?;
    let bytes = frame.array::<INFO>(0);
    let stack = bytes[STACK..].first_chunk().map(StackBytes::decode);
    let field = |i: usize| u64_at(&bytes, REGISTERS + 8 * i);
    let mut new = *regs;
    new.r8 = field(0);
    new.r9 = field(1);
    new.r10 = field(2);
    new.r11 = field(3);
    new.r12 = field(4);
    new.r13 = field(5);
    new.r14 = field(6);
    new.r15 = field(7);
    new.rdi = field(8);
    new.rsi = field(9);
    new.rbp = field(10);
    new.rbx = field(11);
    new.rdx = field(12);
    new.rax = field(13);
    new.rcx = field(14);
    new.rsp = field(15);
    new.rip = field(16);
    new.rflags = regs.rflags & !FLAGS | field(17) & FLAGS;
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
        // The short return path would load the usual one; with this flag, it is not taken.
        new.rflags |= RESUME;
    }
    let fpu_at = u64_at(&bytes, REGISTERS + FPU_AT);
    // All else is taken by then, as on Linux.
    let fits = take_state(floats, fpu_at, None, memory).is_ok();
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64_at(&bytes, MASK)),
        stack: stack.filter(|_| fits),
        shadow: None,
    })
}
