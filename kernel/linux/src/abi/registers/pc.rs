//! What both PCs have: the floating point as `xsave` and `fxsave` lay it out.

use crate::error::Errno;
use machine::arch::fpu::FpuState;
use machine::arch::pc::xstate;

/// Bits of the flags that a tracer may change, as a handler's frame may.
pub(super) const FLAGS: u32 = 0x5_0dd5;
/// The flag by which the processor traps behind each instruction.
pub(super) const TRAP: u32 = 1 << 8;

/// Whether CS and SS may have this selector: whether there is such a segment is looked at on the
/// way to the program.
pub(super) const fn is_of_program(selector: u16) -> bool {
    selector & 3 == 3
}

/// Whether the other segment registers may.
pub(super) const fn is_selector(selector: u16) -> bool {
    selector == 0 || is_of_program(selector)
}

/// Where what the area's reader needs to know is in it: which states there may be.
const STATES: usize = 464;

/// Bytes of the floating point and vector registers.
pub(crate) fn float_bytes() -> usize {
    xstate::bytes()
}

/// Reads them. By their owner.
pub(crate) fn read_floats(floats: &FpuState, to: &mut [u8]) {
    floats.read(to);
    if let Some(states) = to.get_mut(STATES..STATES + 8) {
        states.copy_from_slice(&xstate::features().to_le_bytes());
    }
}

/// Makes these the registers. By their owner.
pub(crate) fn write_floats(floats: &FpuState, from: &[u8]) -> Result<(), Errno> {
    floats.adopt(from, xstate::features()).map_err(|_| Errno::EINVAL)
}
