//! Where each vector begins: what the gates lead to.

use super::double_fault::double_fault;
use super::entry::STUBS;
use super::nmi;
use kstack_core::addr::Addr;

/// The first instruction of a vector: what a gate of a kernel's own table leads to. On x86_64 the
/// vectors that `tables::Ist::of_vector` names want the stack that it says.
pub fn vector(number: u8) -> Addr {
    let entry = match number {
        1 => nmi::debug,
        2 => nmi::nmi,
        8 => double_fault,
        18 => nmi::machine_check,
        _ => STUBS[usize::from(number)],
    };
    Addr::new(entry as usize)
}
