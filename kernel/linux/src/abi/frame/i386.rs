//! i386: `struct sigframe` for a plain handler, `struct rt_sigframe` for one with SA_SIGINFO, and
//! above either the floating point, as `fsave` and as `fxsave` have it
//! (arch/x86/include/asm/sigframe.h, include/uapi/asm/sigcontext.h).
//!
//! ```text
//!   sigframe     0  return address      rt_sigframe   0  return address
//!                4  signal                            4  signal, siginfo's address, ucontext's address
//!                8  sigcontext, 88                   16  siginfo, 128
//!               96  unused, 624                     144  ucontext: flags, link, stack 152, sigcontext 164, mask 252
//!              720  high half of the mask           260  code for going back, 8
//!              724  code for going back, 8
//! ```

use super::common::{Place, Popped, Request, Space, StackBytes, below, u32_at};
use super::pc::{self, Environment, FSAVE_BYTES, put_state, take_state};
use crate::abi::number;
use crate::abi::signals::{INFO_BYTES, SignalSet};
use crate::error::Errno;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::fpu::{FpuState, Snapshot};
use machine::arch::regs::SavedRegs;

pub use super::pc::{enter_handler, least_stack_told};

pub const RED_ZONE: u64 = 0;
/// The least size of an alternate stack.
pub const MIN_STACK: u64 = 2048;
pub(super) const HAS_RESTORER: bool = true;

/// The number of the call that goes back from a plain handler.
const SIGRETURN: u64 = 119;
const CONTEXT_BYTES: usize = 88;
/// Offsets in `struct sigframe`.
const PLAIN_CONTEXT: usize = 8;
const PLAIN_HIGH_MASK: usize = 720;
const PLAIN_CODE: usize = 724;
const PLAIN_BYTES: usize = 732;
/// Offsets in `struct rt_sigframe`.
const INFO: usize = 16;
const UCONTEXT: usize = INFO + INFO_BYTES;
const STACK: usize = UCONTEXT + 8;
const CONTEXT: usize = STACK + StackBytes::BYTES;
const MASK: usize = CONTEXT + CONTEXT_BYTES;
const CODE: usize = MASK + 8;
const BYTES: usize = CODE + 8;
/// Offsets in `struct sigcontext_32`.
const TRAP: usize = 12 * 4;
const ERROR: usize = 13 * 4;
const FPU_AT: usize = 19 * 4;
const OLD_MASK: usize = 20 * 4;
const CR2: usize = 21 * 4;
/// Flags that a program may change (`FIX_EFLAGS`).
const FLAGS: u32 = 0x5_0dd5;
/// Direction, trap, resume: clear when a handler begins.
const CLEARED: u32 = 1 << 10 | 1 << 8 | 1 << 16;

fn fields(regs: &SavedRegs) -> [u32; 19] {
    let r = regs;
    [
        r.gs & 0xffff,
        r.fs & 0xffff,
        r.es & 0xffff,
        r.ds & 0xffff,
        r.edi,
        r.esi,
        r.ebp,
        r.esp,
        r.ebx,
        r.edx,
        r.ecx,
        r.eax,
        0,
        0,
        r.eip,
        r.cs & 0xffff,
        r.eflags,
        r.esp,
        r.ss & 0xffff,
    ]
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Where a frame goes below `top`.
pub fn place(top: u64, request: &Request<'_>) -> Result<Place, Errno> {
    let fx_at = below(top, pc::state_bytes(), 64)?;
    let above = fx_at.checked_sub(FSAVE_BYTES as u64).ok_or(Errno::EFAULT)?;
    let frame_bytes = if request.wants_info { BYTES } else { PLAIN_BYTES };
    // SP + 4 is a multiple of 16, as at a function's entry.
    let at = below(above.checked_sub(frame_bytes as u64).ok_or(Errno::EFAULT)? + 4, 0, 16)?
        .checked_sub(4)
        .ok_or(Errno::EFAULT)?;
    Ok(Place { at, above })
}

/// Lays a frame out.
pub fn build(
    regs: &SavedRegs,
    Place { at, above }: Place,
    request: &Request<'_>,
    memory: &mut impl Space,
) -> Result<(), Errno> {
    let (frame_bytes, context, code) = if request.wants_info {
        (BYTES, CONTEXT, CODE)
    } else {
        (PLAIN_BYTES, PLAIN_CONTEXT, PLAIN_CODE)
    };
    let mut bytes = [0; PLAIN_BYTES];
    let bytes = &mut bytes[..frame_bytes];
    for (value, i) in fields(regs).into_iter().zip(0..) {
        put(bytes, context + 4 * i, value);
    }
    put(bytes, context + FPU_AT, above as u32);
    put(bytes, context + TRAP, request.trap.number as u32);
    put(bytes, context + ERROR, request.trap.error as u32);
    put(bytes, context + OLD_MASK, request.mask.0 as u32);
    put(bytes, context + CR2, request.trap.address as u32);
    // The code is not run; debuggers know frames by it.
    put(bytes, 4, request.info.signal.number().into());
    if request.wants_info {
        // mov eax, 173; int 0x80
        bytes[code..code + 7].copy_from_slice(&[0xb8, 173, 0, 0, 0, 0xcd, 0x80]);
        put(bytes, 8, at as u32 + INFO as u32);
        put(bytes, 12, at as u32 + UCONTEXT as u32);
        bytes[INFO..UCONTEXT].copy_from_slice(&request.info.encode());
        bytes[UCONTEXT] = pc::state_flags() as u8;
        bytes[STACK..CONTEXT].copy_from_slice(&request.stack.encode());
        bytes[MASK..CODE].copy_from_slice(&request.mask.0.to_le_bytes());
    } else {
        // pop eax; mov eax, 119; int 0x80
        bytes[code..code + 8].copy_from_slice(&[0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80]);
        put(bytes, PLAIN_HIGH_MASK, (request.mask.0 >> 32) as u32);
    }
    // The kernel's own code has one for each kind of handler.
    let trampoline = request.trampoline + if request.wants_info { 8 } else { 0 };
    put(bytes, 0, request.restorer.unwrap_or(trampoline) as u32);
    memory.write(at, bytes)?;
    memory.write(above, &fsave_of(&request.fpu.snapshot()))?;
    let area = memory.stretch(above + FSAVE_BYTES as u64, pc::state_bytes() as usize, true)?;
    put_state(request.fpu, area, FSAVE_BYTES);
    Ok(())
}

/// Makes the registers those of a handler whose frame is laid out.
pub fn enter(regs: &mut SavedRegs, Place { at, .. }: Place, request: &Request<'_>) {
    regs.eax = request.info.signal.number().into();
    regs.edx = if request.wants_info { at as u32 + INFO as u32 } else { 0 };
    regs.ecx = if request.wants_info { at as u32 + UCONTEXT as u32 } else { 0 };
    regs.eip = request.handler as u32;
    regs.esp = at as u32;
    (regs.cs, regs.ss, regs.ds, regs.es) =
        (USER_CODE.into(), USER_DATA.into(), USER_DATA.into(), USER_DATA.into());
    regs.eflags &= !CLEARED;
}

/// Reads a frame back: of a plain handler or of one with SA_SIGINFO, as the number of the call
/// says.
pub fn parse(
    regs: &SavedRegs,
    floats: &FpuState,
    memory: &mut impl Space,
) -> Result<Popped, Errno> {
    let sp = u64::from(regs.esp);
    let is_plain = number(regs) == SIGRETURN;
    // The return address is off the stack; after a plain handler its argument too.
    let at = sp.checked_sub(if is_plain { 8 } else { 4 }).ok_or(Errno::EFAULT)?;
    let mut context = [0; CONTEXT_BYTES];
    memory.read(at + if is_plain { PLAIN_CONTEXT } else { CONTEXT } as u64, &mut context)?;
    let (mut mask, mut stack) = ([0; 8], [0; StackBytes::BYTES]);
    let stack = if is_plain {
        mask[..4].copy_from_slice(&context[OLD_MASK..OLD_MASK + 4]);
        memory.read(at + PLAIN_HIGH_MASK as u64, &mut mask[4..])?;
        None
    } else {
        memory.read(at + MASK as u64, &mut mask)?;
        memory.read(at + STACK as u64, &mut stack)?;
        Some(StackBytes::decode(&stack))
    };
    let field = |i: usize| u32_at(&context, 4 * i);
    let mut new = *regs;
    // Whatever they are, they are the program's: whether they lead anywhere is looked at on the way
    // there.
    [new.gs, new.fs, new.es, new.ds] = [0, 1, 2, 3].map(|i| field(i) & 0xffff);
    [new.edi, new.esi, new.ebp, new.esp, new.ebx, new.edx, new.ecx, new.eax] =
        [4, 5, 6, 7, 8, 9, 10, 11].map(field);
    new.eip = field(14);
    (new.cs, new.ss) = (field(15) & 0xffff | 3, field(18) & 0xffff | 3);
    new.eflags = regs.eflags & !FLAGS | field(16) & FLAGS;
    let fpu_at = u64::from(u32_at(&context, FPU_AT));
    let mut fsave = [0; FSAVE_BYTES];
    let is_there = fpu_at == 0 || memory.read(fpu_at, &mut fsave).is_ok();
    if !is_there {
        floats.clear();
    }
    // Above all of a program's memory nothing can be read.
    let fx_at = if fpu_at == 0 { 0 } else { fpu_at + FSAVE_BYTES as u64 };
    let take = |fx: &mut Snapshot| take_environment(fx, &fsave);
    let environment: Option<Environment<'_>> = Some(&take);
    // All else is taken by then, as on Linux.
    let fits = is_there && take_state(floats, fx_at, environment, memory).is_ok();
    Ok(Popped {
        regs: new,
        mask: SignalSet(u64::from_le_bytes(mask)),
        stack: fits.then(|| stack.unwrap_or_default()),
        shadow: None,
    })
}

/// The x87 registers as `fsave` stores them, from `fxsave`'s: control, status, tags, last
/// instruction and operand, then eight times ten bytes, then the status again and 0, which says
/// that the other form follows.
fn fsave_of(fx: &Snapshot) -> [u8; FSAVE_BYTES] {
    let half = |at: usize| u32::from(u16::from_le_bytes([fx[at], fx[at + 1]]));
    let status = half(2);
    let top = status >> 11 & 7;
    let mut tags = 0;
    for register in 0..8 {
        let is_used = fx[4] >> register & 1 != 0;
        let at = 32 + 16 * ((register + 8 - top) % 8) as usize;
        tags |= if is_used { kind(&fx[at..at + 10]) } else { 3 } << (2 * register);
    }
    let mut bytes = [0; FSAVE_BYTES];
    put(&mut bytes, 0, 0xffff_0000 | half(0));
    put(&mut bytes, 4, 0xffff_0000 | status);
    put(&mut bytes, 8, 0xffff_0000 | tags);
    put(&mut bytes, 12, u32_at(fx, 8));
    put(&mut bytes, 16, half(12) | half(6) << 16);
    put(&mut bytes, 20, u32_at(fx, 16));
    put(&mut bytes, 24, 0xffff_0000 | half(20));
    for i in 0..8 {
        bytes[28 + 10 * i..38 + 10 * i].copy_from_slice(&fx[32 + 16 * i..42 + 16 * i]);
    }
    put(&mut bytes, 108, status);
    bytes
}

/// The tag of a register in use: 0 valid, 1 zero, 2 special.
fn kind(register: &[u8]) -> u32 {
    let exponent = u16::from_le_bytes([register[8], register[9]]) & 0x7fff;
    let is_zero = register[..8].iter().all(|&byte| byte == 0);
    match exponent {
        0x7fff => 2,
        0 if is_zero => 1,
        0 => 2,
        _ if register[7] & 0x80 != 0 => 0,
        _ => 2,
    }
}

/// What a program may have changed in the older form: control, status, tags and pointers.
fn take_environment(fx: &mut Snapshot, fsave: &[u8; FSAVE_BYTES]) {
    fx[0..2].copy_from_slice(&fsave[0..2]);
    fx[2..4].copy_from_slice(&fsave[4..6]);
    let tags = u32_at(fsave, 8);
    fx[4] = (0..8).filter(|i| tags >> (2 * i) & 3 != 3).fold(0, |used, i| used | 1 << i);
    fx[8..12].copy_from_slice(&fsave[12..16]);
    fx[12..14].copy_from_slice(&fsave[16..18]);
    fx[6..8].copy_from_slice(&fsave[18..20]);
    fx[16..20].copy_from_slice(&fsave[20..24]);
    fx[20..22].copy_from_slice(&fsave[24..26]);
    for i in 0..8 {
        fx[32 + 16 * i..42 + 16 * i].copy_from_slice(&fsave[28 + 10 * i..38 + 10 * i]);
    }
}
