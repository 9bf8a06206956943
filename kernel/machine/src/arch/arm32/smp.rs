//! More than one CPU: finding them, starting them, and making them flush. The firmware's interface is PSCI 0.2, by `hvc`.

use super::irqchip::{self, vector};
use super::{boot, cpu, paging};
use crate::arch::any::start::kernel_secondary;
use crate::arch::virt::device_tree::Tree;
use crate::cpus::{self, Cpu};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::arch::current::regs::FREE_AT_TOP;

const SYSTEM_OFF: u32 = 0x8400_0008;
const CPU_ON: u32 = 0x8400_0003;

fn psci(function: u32, arguments: [u32; 3]) -> i32 {
    let result: i32;
    let [first, second, third] = arguments;
    // SAFETY: (1) the firmware keeps all registers but r0 to r3 (SMC calling convention); (2) the functions used here change
    // nothing of what this CPU runs on.
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
    let _refused = psci(SYSTEM_OFF, [0; 3]);
}

/// CPUs that are kept at most: more than the controller has interfaces, so that the kernel can say how many stay off.
const MOST_KNOWN: usize = 64;

static AFFINITIES: [AtomicU32; MOST_KNOWN] = [const { AtomicU32::new(0) }; MOST_KNOWN];
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Keeps the CPUs that the device tree names.
pub(super) fn remember(tree: &Tree<'_>) {
    for (place, (affinity, _)) in AFFINITIES.iter().zip(tree.cpus()) {
        place.store(affinity, Ordering::Relaxed);
        FOUND.fetch_add(1, Ordering::Relaxed);
    }
}

/// The affinities of the CPUs.
pub fn find_cpus(mut found: impl FnMut(u32)) {
    for affinity in &AFFINITIES[..FOUND.load(Ordering::Relaxed)] {
        found(affinity.load(Ordering::Relaxed));
    }
}

/// Starts a CPU on `stack_top`, and waits until it is up. Says whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    let hardware_id = cpu.hardware_id.load(Ordering::Relaxed);
    let (tables, user) = (paging::kernel_half(), paging::kernel_root());
    let stack_top = stack_top - FREE_AT_TOP.get() as u64;
    let entry = boot::prepare_secondary(tables, user, cpu.id().index(), stack_top);
    if psci(CPU_ON, [hardware_id, entry as u32, cpu.id().get()]) != 0 {
        return false;
    }
    const TWO_SECONDS: u64 = 2 * 62_500_000;
    let began = cpu::time();
    while cpu::time() - began < TWO_SECONDS {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

/// Where the other CPUs enter Rust, on their idle stacks.
pub extern "C" fn secondary_main(number: u32) -> ! {
    kernel_secondary(number as usize)
}

static FLUSHES: AtomicU64 = AtomicU64::new(0);

/// How often all other CPUs had to flush so far.
pub fn flushes() -> u64 {
    FLUSHES.load(Ordering::Relaxed)
}

/// Makes every other CPU drop its translations, global ones too, and waits until all have. The hardware does it: no interrupt
/// is sent, nobody has to answer. Branch predictions go with them: new mappings of code want that (B2.2.5).
pub fn flush_others() {
    FLUSHES.fetch_add(1, Ordering::SeqCst);
    // SAFETY: (1) forgetting translations and predictions is always allowed. The second barrier waits for all CPUs.
    unsafe {
        asm!("dsb ishst", "mcr p15, 0, {zero}, c8, c3, 0", "mcr p15, 0, {zero}, c7, c1, 6", "dsb ish", "isb",
             zero = in(reg) 0_u32, options(nostack, preserves_flags));
    }
}

/// Carries out a flush that somebody waits for: nobody ever does on this machine.
#[inline(always)]
pub fn answer_flush() {}

/// Tells a CPU to look at the run queue.
pub fn kick(cpu: &Cpu) {
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::RESCHEDULE);
}

/// Makes a CPU look whether it is to park, with interrupts off too if this machine can.
pub fn interrupt_to_park(cpu: &Cpu) {
    // Where the controller has no groups there is no FIQ.
    irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
    kick(cpu);
}
