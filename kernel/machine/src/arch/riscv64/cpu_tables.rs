//! What a CPU has besides its idle stack and its IRQ stack: the overflow stack, and words for interrupts.

use crate::cpus::Cpu;
use core::sync::atomic::{AtomicU32, AtomicU64};
use kstack::arch::current::tables::{self, CPU_STACKS};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::kind::StackKind;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    /// Interrupts from other CPUs that have been sent and not been taken, a bit each; see `irqchip`.
    pub sent: AtomicU32,
    /// The line of the interrupt controller that is being handled; 0: none.
    pub claimed: AtomicU32,
    /// When the next tick is due.
    pub next_tick: AtomicU64,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { sent: AtomicU32::new(0), claimed: AtomicU32::new(0), next_tick: AtomicU64::new(0) }
    }
}

/// Pages of the stacks that only this architecture has; `None`: it has no such kind.
pub const fn pages_of(kind: StackKind) -> Option<usize> {
    let mut index = 0;
    while index < CPU_STACKS.len() {
        let (one, pages) = CPU_STACKS[index];
        if one as u8 == kind as u8 {
            return Some(pages);
        }
        index += 1;
    }
    None
}

/// Makes a CPU's overflow stack, with `stack`.
pub fn prepare(cpu: &'static Cpu, stack: fn(StackKind, CpuId) -> AddrRange) {
    // SAFETY: (1) made for this CPU a moment ago, and kept for ever.
    unsafe { cpu.local.arch.set_overflow_top(stack(StackKind::Overflow, cpu.id()).top) };
}

/// Points the CPU this runs on at the entry code.
pub fn load(_cpu: &'static Cpu) {
    // SAFETY: (1) the per-CPU block is loaded before, and `prepare` gave it its overflow stack; (2) the hooks are installed;
    // interrupts are off.
    unsafe { tables::load() };
}

/// Where the CPU this runs on goes when it next enters from user mode: to what `CpuLocal` says. There is nothing to tell the CPU.
#[inline(always)]
pub fn set_user_entry_stack(_cpu: &Cpu, _top: Addr) {}

/// Whether an NMI is being handled. There are none.
pub fn in_nmi(_cpu: &Cpu) -> bool {
    false
}
