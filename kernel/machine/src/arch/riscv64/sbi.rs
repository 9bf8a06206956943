//! Calls to the firmware that owns the machine: RISC-V Supervisor Binary Interface, version 2.0.

use core::arch::asm;

/// An extension of the interface, by its number there.
const TIME: usize = 0x5449_4d45;
const INTERRUPT: usize = 0x0073_5049;
const HART_STATE: usize = 0x0048_534d;
const REMOTE_FENCE: usize = 0x5246_4e43;
pub(super) const FIRMWARE_FEATURES: usize = 0x4657_4654;

/// The firmware refused; its error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub isize);

fn call(extension: usize, function: usize, arguments: [usize; 3]) -> Result<usize, Refused> {
    let [mut error, mut value, third] = arguments;
    // SAFETY: (1) the interface keeps all registers but a0 and a1; (2) what the call does to the
    // machine is what the functions below say.
    unsafe {
        asm!("ecall", inlateout("a0") error, inlateout("a1") value, in("a2") third,
             in("a6") function, in("a7") extension, options(nostack));
    }
    if error == 0 { Ok(value) } else { Err(Refused(error as isize)) }
}

/// Raises the timer interrupt of the CPU this runs on when `time` has come, and takes back one that
/// is pending.
pub fn set_timer(time: u64) {
    // An SBI without a timer does not exist.
    let _always_there = call(TIME, 0, [time as usize, 0, 0]);
}

/// Raises the software interrupt of a hart.
pub fn send_interrupt(hart: usize) -> Result<(), Refused> {
    call(INTERRUPT, 0, [1, hart, 0]).map(|_| ())
}

/// Starts a hart at a physical address, paging off, with its number in a0 and `argument` in a1.
pub fn start_hart(hart: usize, at: u64, argument: u64) -> Result<(), Refused> {
    call(HART_STATE, 0, [hart, at as usize, argument as usize]).map(|_| ())
}

/// Makes a hart see instructions that were written before the call.
pub fn fence_instructions(hart: usize) {
    // Refused only for a hart that is stopped: it has nothing old in its caches when it starts.
    let _stopped = call(REMOTE_FENCE, 0, [1, hart, 0]);
}

/// The feature of [`FIRMWARE_FEATURES`] that is about accessed and dirty bits.
pub(super) const PTE_AD_HW_UPDATING: usize = 4;

/// Lets the CPU this runs on set dirty bits by itself, if it can and the firmware knows how (SBI
/// 3.0, FWFT).
pub fn let_cpu_keep_dirty_bits() -> Result<(), Refused> {
    call(FIRMWARE_FEATURES, 0, [PTE_AD_HW_UPDATING, 1, 0]).map(|_| ())
}
