//! The firmware's calls for power and CPUs (Arm DEN 0022, PSCI).

use crate::arch::virt::device_tree::Tree;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

const SYSTEM_OFF: u64 = 0x8400_0008;
const CPU_ON: u64 = 0xc400_0003;

/// Whether calls go by `smc`: to firmware, where the kernel has been entered at EL2. Otherwise by `hvc`.
static BY_SMC: AtomicBool = AtomicBool::new(false);

/// Keeps what the device tree says of it.
pub fn remember(tree: &Tree<'_>) {
    BY_SMC.store(tree.text("/psci", "method") == Some("smc"), Ordering::Relaxed);
}

fn call(function: u64, arguments: [u64; 3]) -> i64 {
    let [first, second, third] = arguments;
    let result;
    // SAFETY: (1) the call follows the SMC calling convention: x0 to x17 may change; (2) memory is clobbered.
    unsafe {
        if BY_SMC.load(Ordering::Relaxed) {
            asm!("smc #0", inout("x0") function => result, in("x1") first, in("x2") second,
                 in("x3") third, clobber_abi("C"), options(nostack));
        } else {
            asm!("hvc #0", inout("x0") function => result, in("x1") first, in("x2") second,
                 in("x3") third, clobber_abi("C"), options(nostack));
        }
    }
    result
}

/// Starts the CPU with this affinity at a physical address, with `argument` in x0. Says whether the firmware agreed.
pub fn start_cpu(affinity: u64, entry: u64, argument: u64) -> bool {
    call(CPU_ON, [affinity, entry, argument]) == 0
}

/// Turns the machine off.
pub fn power_off() {
    call(SYSTEM_OFF, [0; 3]);
}
