//! Breakpoints of a program's thread, on machines where a tracer sets none in the CPU.

use crate::memory::fallible::NoMemory;

/// Such a breakpoint cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBreakpoint;

/// What one thread has of them: there are none.
#[derive(Debug)]
pub enum Breakpoints {}

impl Breakpoints {
    /// There is no place for what there is not.
    pub const fn new() -> Result<Self, NoMemory> {
        Err(NoMemory)
    }

    /// A register, as its tracer reads it.
    pub const fn get(&self, _register: usize) -> u64 {
        match *self {}
    }

    /// Sets one.
    pub const fn set(
        &mut self,
        _register: usize,
        _value: u64,
        _top: u64,
    ) -> Result<(), BadBreakpoint> {
        match *self {}
    }
}

/// What happened, as a tracer reads it, and the reverse.
pub const fn told(events: u64) -> u64 {
    events
}
