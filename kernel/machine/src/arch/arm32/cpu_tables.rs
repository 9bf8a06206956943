//! The words of each CPU's exception modes, and its stacks for overflows.

use super::layout::CPU_TABLES;
use super::paging;
use crate::cpus::Cpu;
use crate::memory::frames;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack::arch::current::tables::{CPU_STACKS, CpuTables};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::kind::StackKind;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    /// The loaded tables.
    pub tables: AtomicPtr<CpuTables>,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { tables: AtomicPtr::new(core::ptr::null_mut()) }
    }
}

/// Pages of the stacks that only this architecture has; `None`: it has no such kind.
pub fn pages_of(kind: StackKind) -> Option<usize> {
    CPU_STACKS.iter().find(|(own, _)| *own == kind).map(|&(_, pages)| pages)
}

/// Where the tables of a CPU are: a page at a multiple of twice the size of a stack, so that the last stack, which is in it,
/// passes the bit test; the pages in between are never mapped.
pub fn tables_address(cpu: CpuId) -> u64 {
    const STRIDE: u64 = kstack::arch::current::GEOMETRY.align().get() as u64;
    CPU_TABLES + (u64::from(cpu.get()) + 1) * STRIDE
}

/// Makes a CPU's overflow stack, with `stack`, and its tables.
pub fn prepare(cpu: &'static Cpu, stack: fn(StackKind, CpuId) -> AddrRange) {
    let id = cpu.id();
    let at = tables_address(id);
    let frame = frames::alloc_zeroed().expect("memory for a CPU's tables");
    paging::map_kernel(at, frame).expect("memory for a CPU's tables");
    let tables = at as *mut CpuTables;
    // SAFETY: (1) a mapped page of its own.
    unsafe { tables.write(CpuTables::new()) };
    let last = CpuTables::last_stack(Addr::new(at as usize));
    // SAFETY: (1) made for this CPU a moment ago, and kept for ever.
    unsafe { cpu.local.arch.set_overflow_tops(stack(StackKind::Overflow, id).top, last.top) };
    cpu.arch.tables.store(tables, Ordering::Release);
}

/// Loads what [`prepare`] made, on the CPU itself, and the per-CPU block.
pub fn load(cpu: &'static Cpu) {
    // SAFETY: (1) the tables were made for this CPU and stay; (2) the per-CPU block is this CPU's; (3) interrupts are off.
    unsafe {
        cpu.local.load();
        CpuTables::load(cpu.arch.tables.load(Ordering::Acquire));
    }
}

/// Where the CPU this runs on goes when it next enters from user mode: SP_svc is there already when it leaves.
#[inline(always)]
pub fn set_user_entry_stack(_cpu: &Cpu, _top: Addr) {}

/// Whether an NMI is being handled.
pub fn in_nmi(cpu: &Cpu) -> bool {
    cpu.local.arch.nmi_is_active()
}
