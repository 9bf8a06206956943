//! The firmware's calls for power and CPUs (Arm DEN 0022, PSCI).

use super::board;
use core::arch::asm;

const SYSTEM_OFF: u64 = 0x8400_0008;
const CPU_ON: u64 = 0xc400_0003;

fn call(function: u64, arguments: [u64; 3]) -> i64 {
    let [first, second, third] = arguments;
    let result;
    // SAFETY: (1) the call follows the SMC calling convention: x0 to x17 may change; (2) memory is
    // clobbered.
    unsafe {
        if board::firmware_by_smc() {
            asm!("smc #0", inout("x0") function => result, in("x1") first, in("x2") second,
                 in("x3") third, clobber_abi("C"), options(nostack));
        } else {
            asm!("hvc #0", inout("x0") function => result, in("x1") first, in("x2") second,
                 in("x3") third, clobber_abi("C"), options(nostack));
        }
    }
    result
}

/// Starts the CPU with this affinity at a physical address, with `argument` in x0. Returns whether
/// the firmware agreed.
pub fn start_cpu(affinity: u64, entry: u64, argument: u64) -> bool {
    call(CPU_ON, [affinity, entry, argument]) == 0
}

/// Turns the machine off.
pub fn power_off() {
    call(SYSTEM_OFF, [0; 3]);
}
