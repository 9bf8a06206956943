//! The stacks that belong to a CPU: idle, IRQ, and those that only this architecture has. All are
//! in the arena, between guards, and made before the CPU takes its first interrupt.

use crate::sched;
use crate::stacks;
use core::sync::atomic::Ordering;
use kstack::addr::AddrRange;
use kstack::cpu::idle_stack;
use machine::arch::{cpu_tables, paging};
use machine::cpus::Cpu;

/// Makes every stack of a CPU, and what finds them. Returns its idle stack.
pub fn prepare(cpu: &'static Cpu) -> AddrRange {
    let tables = cpu_tables::place(cpu);
    // SAFETY: (1) the block and the place are this CPU's, for as long as the machine runs.
    let made = unsafe { kstack::cpu::prepare(stacks::all_stacks(), &cpu.local, tables) };
    // SAFETY: (1) an idle thread never lets go of it.
    let idle = made.and_then(|()| unsafe { idle_stack(stacks::all_stacks(), cpu.id()) });
    let idle = idle.unwrap_or_else(|why| panic!("CPU {}: {why}", cpu.id()));
    let range = idle.range();
    // SAFETY: (1) an idle thread keeps its stack; (2) the CPU has not come up, or runs this.
    assert!(unsafe { cpu.local.watch_end(range.lowest) }, "an idle stack too many");
    sched::adopt_idle(idle, cpu);
    range
}

/// Loads what [`prepare`] made, on the CPU itself.
pub fn load(cpu: &'static Cpu) {
    cpu_tables::load(cpu);
    cpu.tables_root.store(paging::kernel_root() as usize, Ordering::Relaxed);
}
