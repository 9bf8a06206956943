//! Where each vector begins: what the gates lead to.

use super::cause::SYSCALL_VECTOR;
use super::entry::{STUBS, int80};
use super::nmi;
use kstack_core::addr::Addr;

/// The first instruction of a vector: what a gate of a kernel's own table leads to. A double
/// fault's is a task gate.
pub fn vector(number: u8) -> Addr {
    let entry = match number {
        1 => nmi::debug,
        2 => nmi::nmi,
        18 => nmi::machine_check,
        SYSCALL_VECTOR => int80,
        _ => STUBS[usize::from(number)],
    };
    Addr::new(entry as usize)
}
