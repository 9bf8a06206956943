//! Segments of programs, on machines without.

use crate::arch::regs::SavedRegs;
use crate::memory::fallible::NoMemory;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use super::segments::{Description, MOST};

/// A segment of a program, where there are none.
#[derive(Debug, Clone, Copy)]
pub struct Segment;

impl Segment {
    /// None.
    pub const NONE: Self = Self;

    /// One that is described.
    pub const fn new(_of: Description) -> Self {
        Self
    }

    /// As the program reads it.
    pub const fn bits(self) -> u64 {
        0
    }
}

/// Segments of programs: this machine has none.
#[derive(Debug)]
pub enum LocalSegments {}

impl LocalSegments {
    /// There is no memory for what there is not.
    pub fn new(_segments: Vec<Segment>) -> Result<Arc<Self>, NoMemory> {
        Err(NoMemory)
    }

    /// A copy of the segments.
    pub fn copy(&self, _least: usize) -> Result<Vec<Segment>, NoMemory> {
        match *self {}
    }

    /// Replaces all of them.
    pub fn replace(&self, _segments: Vec<Segment>) -> Result<(), NoMemory> {
        match *self {}
    }

    /// The table of a child.
    pub fn fork(&self) -> Result<Arc<Self>, NoMemory> {
        match *self {}
    }
}

/// The exception that a return to user mode would raise: none.
pub fn fault_of_return(_regs: &mut SavedRegs) -> Option<u8> {
    None
}
