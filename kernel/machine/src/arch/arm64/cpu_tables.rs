//! What each CPU gets of this architecture: its overflow stack, and the vectors.

use super::{cpu, extras};
use crate::cpus::Cpu;
use kstack::addr::Addr;
use kstack::arch::current::tables::CpuTables;

/// Where the library puts a CPU's tables.
pub fn place(cpu: &'static Cpu) -> *mut CpuTables {
    cpu.arch.tables.0.get()
}

/// Loads what was made for this CPU, on the CPU itself, and the per-CPU block.
pub fn load(cpu: &'static Cpu) {
    cpu::start_counting();
    cpu::keep_off_user_memory();
    cpu::choose_filling();
    extras::set_up();
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
