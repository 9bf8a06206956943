//! Breakpoints and watchpoints of a program's thread, which its tracer sets: the debug registers
//! (Intel SDM vol. 3, 18.2).
//!
//! ```text
//!   DR0 .. DR3   addresses, of user mode
//!   DR7          15 14 13 12 11 10  9  8  7  6  5  4  3  2  1  0
//!                         .  .  1  GE LE G3 L3 G2 L2 G1 L1 G0 L0      on, twice each
//!                31 30 29 28 .. 19 18 17 16
//!                length 3 kind 3 .. length 0 kind 0                   what stops there
//!   DR6          bit n: n has been hit; bit 14: a single step
//! ```
//!
//! They stop user mode only: every address is the program's, and the kernel reaches a program's
//! memory through its own map. Entries begin behind the one instruction that can carry a stop over
//! into the kernel, a load of SS; it is taken there and forgotten.

use crate::arch::regs::SavedRegs;
use crate::arch::step;
use crate::memory::fallible::{self, NoMemory};
use alloc::boxed::Box;
use core::arch::asm;

/// How many there are.
const COUNT: usize = 4;
/// Bits of DR7 that are kept: the others are reserved, or have the CPU guard these registers.
const KEPT: usize = 0xffff_03ff;
/// Bit 10 of DR7 is 1.
const FIXED: usize = 1 << 10;
/// What DR6 is while nothing has happened.
const NO_EVENTS: usize = 0xffff_0ff0;
/// Bits of DR6: which was hit, and a single step.
const HITS: usize = 0xf;
const STEPPED: usize = 1 << 14;

/// Such a breakpoint cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBreakpoint;

/// What one thread has of them, in a place of their own: few threads have any.
#[derive(Debug)]
pub struct Breakpoints(Box<Registers>);

impl Breakpoints {
    /// None yet.
    pub fn new() -> Result<Self, NoMemory> {
        fallible::boxed(Registers { addresses: [0; COUNT], control: 0 }).map(Self)
    }

    /// A debug register, as its tracer reads it: DR0 to DR3, DR7.
    pub fn get(&self, register: usize) -> u64 {
        self.0.get(register)
    }

    /// Sets one; programs have the addresses below `top`. After an error nothing has changed.
    pub fn set(&mut self, register: usize, value: u64, top: u64) -> Result<(), BadBreakpoint> {
        self.0.set(register, value, top)
    }

    pub(super) fn into_raw(self) -> *mut Registers {
        Box::into_raw(self.0)
    }

    /// # Safety
    ///
    /// 1. It came from [`Breakpoints::into_raw`], and nothing else uses it any more.
    pub(super) unsafe fn from_raw(raw: *mut Registers) -> Self {
        // SAFETY: (1) by the caller's promise.
        Self(unsafe { Box::from_raw(raw) })
    }
}

/// The registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registers {
    addresses: [usize; COUNT],
    /// DR7, as the tracer wrote it.
    control: usize,
}

/// What stops where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    is_on: bool,
    /// 0: an instruction; 1: a write; 3: a read or a write.
    what: usize,
    bytes: usize,
}

impl Registers {
    fn kind(&self, index: usize) -> Kind {
        let of = self.control >> (16 + 4 * index);
        let bytes = [1, 2, 8, 4][of >> 2 & 3];
        Kind { is_on: self.control >> (2 * index) & 3 != 0, what: of & 3, bytes }
    }

    fn get(&self, register: usize) -> u64 {
        match register {
            7 => self.control as u64,
            _ => self.addresses.get(register).map_or(0, |&address| address as u64),
        }
    }

    fn set(&mut self, register: usize, value: u64, top: u64) -> Result<(), BadBreakpoint> {
        let mut new = *self;
        match register {
            7 => new.control = value as usize & KEPT,
            _ => *new.addresses.get_mut(register).ok_or(BadBreakpoint)? = value as usize,
        }
        if !(0..COUNT).all(|index| new.is_sound(index, top)) {
            return Err(BadBreakpoint);
        }
        *self = new;
        Ok(())
    }

    fn is_sound(&self, index: usize, top: u64) -> bool {
        let address = self.addresses[index] as u64;
        let Kind { is_on, what, bytes } = self.kind(index);
        if !is_on {
            return address < top;
        }
        let fits = address.checked_add(bytes as u64).is_some_and(|end| end <= top);
        let is_whole = self.addresses[index].is_multiple_of(bytes) && bytes <= size_of::<usize>();
        match what {
            // Ports need a mode of the CPU that is off.
            2 => false,
            0 => fits && bytes == 1,
            _ => fits && is_whole,
        }
    }

    /// Loads them. Interrupts off.
    pub(super) fn load(&self) {
        if self.control == 0 {
            return;
        }
        let [a, b, c, d] = self.addresses;
        // SAFETY: (1) addresses of user mode, by `is_sound`: what they raise, its user mode
        // raises; (2) the first write turns all off while they change.
        unsafe {
            asm!("mov dr7, {off}", "mov dr0, {a}", "mov dr1, {b}", "mov dr2, {c}", "mov dr3, {d}", "mov dr7, {on}",
                 off = in(reg) FIXED, a = in(reg) a, b = in(reg) b, c = in(reg) c, d = in(reg) d,
                 on = in(reg) self.control | FIXED, options(nostack, preserves_flags));
        }
    }

    /// Turns them off. Interrupts off.
    pub(super) fn unload(&self) {
        if self.control != 0 {
            // SAFETY: (1) no breakpoint is on then.
            unsafe { asm!("mov dr7, {}", in(reg) FIXED, options(nostack, preserves_flags)) };
        }
    }

    /// Of what a debug exception in user mode says: what it says of these. Behind an instruction
    /// that it stopped at, the program continues with that instruction.
    pub(super) fn hits(&self, events: usize, regs: &mut SavedRegs) -> usize {
        let is_hit = |&index: &usize| events >> index & 1 != 0 && self.kind(index).is_on;
        let hits: usize = (0..COUNT).filter(is_hit).map(|index| 1 << index).sum();
        if (0..COUNT).any(|index| hits >> index & 1 != 0 && self.kind(index).what == 0) {
            step::resume(regs);
        }
        hits
    }
}

/// What the last debug exception was about, which is forgotten: hits and steps. Interrupts off.
pub(super) fn take_events() -> usize {
    let events: usize;
    // SAFETY: (1) DR6 says what happened, and does nothing.
    unsafe {
        asm!("mov {0}, dr6", "mov dr6, {1}", out(reg) events, in(reg) NO_EVENTS, options(nomem, nostack, preserves_flags));
    }
    events & (HITS | STEPPED)
}

/// Of these, the single step.
pub(super) const fn is_step(events: usize) -> usize {
    events & STEPPED
}

/// DR6 as a tracer reads it, from what is kept of the last events, and the reverse.
pub const fn told(events: u64) -> u64 {
    events ^ NO_EVENTS as u64
}
