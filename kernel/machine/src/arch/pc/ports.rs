//! The ports of the old I/O bus.

use crate::drivers::ns16550::Registers;
use core::arch::asm;

/// Writes a byte to a port.
///
/// # Safety
///
/// 1. The device behind the port is the caller's.
#[inline(always)]
pub unsafe fn out8(port: u16, value: u8) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    };
}

/// Writes four bytes to a port.
///
/// # Safety
///
/// 1. The device behind the port is the caller's.
#[inline(always)]
pub unsafe fn out32(port: u16, value: u32) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags))
    };
}

/// Reads four bytes from a port.
///
/// # Safety
///
/// 1. The device behind the port is the caller's.
#[inline(always)]
pub unsafe fn in32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads a byte from a port.
///
/// # Safety
///
/// 1. The device behind the port is the caller's.
#[inline(always)]
pub unsafe fn in8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// The registers of a device, a port each.
#[derive(Debug, Clone, Copy)]
pub struct Ports(u16);

impl Ports {
    /// The registers from a port on.
    ///
    /// # Safety
    ///
    /// 1. The device behind the ports is the caller's; what reads and writes them is a driver for
    ///    it.
    pub const unsafe fn at(first: u16) -> Self {
        Self(first)
    }
}

impl Registers for Ports {
    #[inline(always)]
    fn read(self, register: u8) -> u8 {
        // SAFETY: (1) by the promise of `at`.
        unsafe { in8(self.0 + u16::from(register)) }
    }

    #[inline(always)]
    fn write(self, register: u8, value: u8) {
        // SAFETY: (1) by the promise of `at`.
        unsafe { out8(self.0 + u16::from(register), value) };
    }
}
