//! The stacks that belong to a CPU: idle, IRQ, and those that only this architecture has. All are in the arena, between
//! guards, and made before the CPU takes its first interrupt.

use crate::arch::{cpu_tables, paging};
use crate::cpus::Cpu;
use crate::sched;
use crate::stacks::{self, OwnedStack, StackError};
use core::sync::atomic::Ordering;
use kstack_core::addr::{AddrRange, CpuId};
use kstack_core::kind::StackKind;

/// Pages of each kind of stack: a thread's worth, unless the architecture says otherwise.
pub fn pages_of(kind: StackKind) -> usize {
    cpu_tables::pages_of(kind).unwrap_or(stacks::arena().geometry().body().in_pages())
}

fn acquire(kind: StackKind, cpu: CpuId) -> Result<OwnedStack, StackError> {
    // SAFETY: (1) neither `make` nor an idle thread lets go of one.
    unsafe { stacks::all_stacks().acquire_for_cpu(kind, cpu, u8::try_from(pages_of(kind)).ok()) }
}

fn make(kind: StackKind, cpu: CpuId) -> AddrRange {
    let stack = acquire(kind, cpu).expect("memory for a CPU's stacks");
    let range = stack.range();
    // It belongs to the CPU for ever.
    core::mem::forget(stack);
    range
}

/// Makes every stack of a CPU, and what finds them. Returns its idle stack.
pub fn prepare(cpu: &'static Cpu) -> AddrRange {
    // SAFETY: (1) made for this CPU a moment ago, and kept for ever.
    unsafe { cpu.local.set_irq_top(make(StackKind::Irq, cpu.id()).top) };
    cpu_tables::prepare(cpu, make);
    let stack = acquire(StackKind::Idle, cpu.id()).expect("memory for a CPU's idle stack");
    let range = stack.range();
    sched::adopt_idle(stack, cpu);
    range
}

/// Loads what [`prepare`] made, on the CPU itself.
pub fn load(cpu: &'static Cpu) {
    cpu_tables::load(cpu);
    cpu.tables_root.store(paging::kernel_root() as usize, Ordering::Relaxed);
}
