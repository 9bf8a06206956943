//! The firmware's calls: PSCI 0.2, by `hvc`.

use core::arch::asm;

const SYSTEM_OFF: u32 = 0x8400_0008;
const CPU_ON: u32 = 0x8400_0003;

fn call(function: u32, arguments: [u32; 3]) -> i32 {
    let result: i32;
    let [first, second, third] = arguments;
    // SAFETY: (1) the firmware keeps all registers but r0 to r3 (SMC calling convention); (2) the
    // functions used here change nothing of what this CPU runs on.
    unsafe {
        asm!(".arch_extension virt", "hvc #0", inlateout("r0") function => result,
             inlateout("r1") first => _, inlateout("r2") second => _, inlateout("r3") third => _,
             options(nostack));
    }
    result
}

/// Turns the machine off, if the firmware can.
pub(super) fn turn_off() {
    // Whatever it answers, there is nothing else to try.
    let _refused = call(SYSTEM_OFF, [0; 3]);
}

/// Starts a CPU at a physical address, with an argument. Returns whether the firmware will.
pub(super) fn start_cpu(affinity: u32, entry: u32, argument: u32) -> bool {
    call(CPU_ON, [affinity, entry, argument]) == 0
}
