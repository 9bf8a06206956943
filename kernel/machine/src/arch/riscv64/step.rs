//! How long instructions are.
//!
//! There are no breakpoints here: the trigger registers (`tselect`, `tdata1`) belong to machine
//! mode, and the SBI extension through which later firmware lends them out (DBTR, SBI 3.0) is not
//! in what the emulator starts with. So nothing can stop at each instruction of the entry code;
//! what is tested there is tested by what may trap there.

/// Bytes of the instruction that starts `code`; `None`: longer than any that exists.
/// RISC-V unprivileged architecture, 1.5: the lowest bits say.
pub fn instruction_length(code: &[u8]) -> Option<usize> {
    match code.first()? {
        first if first & 0b11 != 0b11 => Some(2),
        first if first & 0b1_1100 != 0b1_1100 => Some(4),
        _ => None,
    }
}
