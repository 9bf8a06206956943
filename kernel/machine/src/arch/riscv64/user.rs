//! What a program's thread has in the CPU besides its saved registers and its floating point:
//! nothing. The base of its thread-local storage is tp, which is one of the saved registers.

use core::sync::atomic::AtomicU64;

/// Keeps the thread-local storage base of a process's thread: the entry has.
#[inline(always)]
pub fn save_tls(_kept: &AtomicU64) {}

/// Loads the thread-local storage base of a process's thread: the return path to the program does.
#[inline(always)]
pub fn load_tls(_kept: &AtomicU64) {}

/// Sets the thread-local storage base of the running program: tp is set with its other registers
/// when it starts.
#[inline(always)]
pub fn set_tls(_base: u64) {}
