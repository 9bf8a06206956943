//! What a CPU has besides its idle stack and its IRQ stack: the overflow stack, and words for interrupts.

use crate::cpus::Cpu;
use core::sync::atomic::{AtomicU32, AtomicU64};
use kstack::arch::current::tables::CpuTables;
use kstack_core::addr::Addr;

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

/// Where the CPU this runs on goes when it next enters from user mode: to what `CpuLocal` says. There is nothing to tell the CPU.
#[inline(always)]
pub fn set_user_entry_stack(_cpu: &Cpu, _top: Addr) {}
