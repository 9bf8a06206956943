//! What machines without I/O ports have of them.

/// Whether programs may use I/O ports, where the kernel permits it.
pub const HAS_PORTS: bool = false;

/// Reads a byte from a port.
pub extern "C" fn read_port(_port: usize) -> usize {
    0
}

/// Reads two bytes from a port and the next.
pub extern "C" fn read_two_ports(_port: usize) -> usize {
    0
}

/// Disables interrupts, and enables them again.
pub extern "C" fn switch_interrupts(_argument: usize) -> usize {
    0
}
