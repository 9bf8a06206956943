//! What each CPU gets of this architecture: its overflow stack, and the vectors.

use super::cpu;
use crate::cpus::Cpu;
use kstack::arch::current::tables::{CPU_STACKS, CpuTables};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::kind::StackKind;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    tables: CpuTables,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { tables: CpuTables::new() }
    }
}

/// Pages of the stacks that only this architecture has; `None`: it has no such kind.
pub fn pages_of(kind: StackKind) -> Option<usize> {
    CPU_STACKS.iter().find(|(own, _)| *own == kind).map(|&(_, pages)| pages)
}

/// Makes a CPU's overflow stack, with `stack`.
pub fn prepare(cpu: &'static Cpu, stack: fn(StackKind, CpuId) -> AddrRange) {
    let overflow = stack(StackKind::Overflow, cpu.id());
    // SAFETY: (1) made for this CPU a moment ago, and kept for ever.
    unsafe { cpu.local.arch.set_overflow_top(overflow.top) };
    cpu.arch.tables.set_overflow_stack(overflow.top);
}

/// Loads what [`prepare`] made, on the CPU itself.
pub fn load(cpu: &'static Cpu) {
    cpu::start_counting();
    cpu::keep_off_user_memory();
    // SAFETY: (1) the stack was made for this CPU and stays; (2) SPSel is 0 from boot on and interrupts are off; (3) the hooks
    // are installed before the first CPU gets here.
    unsafe { cpu.arch.tables.load() };
}

/// Where the CPU this runs on goes when it next enters from user mode. Interrupts off.
#[inline(always)]
pub fn set_user_entry_stack(cpu: &Cpu, top: Addr) {
    cpu.arch.tables.set_user_entry_stack(top);
}

/// Whether something is being handled that may have interrupted anything: there are no NMIs on this architecture, but a fault of the
/// overflow handler is such a thing.
pub fn in_nmi(cpu: &Cpu) -> bool {
    cpu.local.arch.has_second_fault()
}
