//! What a CPU has besides its idle stack and its IRQ stack: the overflow stack, and words for
//! interrupts.

use crate::cpus::Cpu;
use kstack::addr::Addr;
use kstack::arch::current::tables::CpuTables;

/// Where the library puts a CPU's tables: there are none.
pub fn place(_cpu: &'static Cpu) -> *mut CpuTables {
    core::ptr::dangling_mut()
}

/// Loads what was made for this CPU, on the CPU itself, and the per-CPU block.
pub fn load(cpu: &'static Cpu) {
    // SAFETY: (1) `cpu_stacks` made them for this CPU, and they stay.
    let loaded = unsafe { kstack::cpu::load(&cpu.local, place(cpu)) };
    if let Err(refused) = loaded {
        panic!("CPU {}: {refused}", cpu.id());
    }
}

/// Where the CPU this runs on goes when it next enters from user mode: to what `CpuLocal` says.
/// There is nothing to tell the CPU.
#[inline(always)]
pub fn set_user_entry_stack(_cpu: &Cpu, _top: Addr) {}
