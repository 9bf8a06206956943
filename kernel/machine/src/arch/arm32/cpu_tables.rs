//! The words of each CPU's exception modes, and its stacks for overflows.

use super::layout::CPU_TABLES;
use super::paging;
use crate::cpus::Cpu;
use crate::memory::frames;
use core::sync::atomic::Ordering;
use kstack::addr::{Addr, CpuId};
use kstack::arch::current::tables::CpuTables;

/// Where the tables of a CPU are: a page at a multiple of twice the size of a stack, so that the
/// last stack, which is in it, passes the bit test; the pages in between are never mapped.
pub fn tables_address(cpu: CpuId) -> u64 {
    const STRIDE: u64 = kstack::arch::current::GEOMETRY.align().get() as u64;
    CPU_TABLES + (u64::from(cpu.get()) + 1) * STRIDE
}

/// Where the library puts a CPU's tables: mapped here.
pub fn place(cpu: &'static Cpu) -> *mut CpuTables {
    let at = tables_address(cpu.id());
    let frame = frames::alloc_zeroed().expect("memory for a CPU's tables");
    paging::map_kernel(at, frame).expect("memory for a CPU's tables");
    let tables = at as *mut CpuTables;
    cpu.arch.tables.store(tables, Ordering::Release);
    tables
}

/// Loads what was made for this CPU, on the CPU itself, and the per-CPU block.
pub fn load(cpu: &'static Cpu) {
    // SAFETY: (1) `cpu_stacks` made them for this CPU, and they stay.
    let loaded = unsafe { kstack::cpu::load(&cpu.local, cpu.arch.tables.load(Ordering::Acquire)) };
    if let Err(refused) = loaded {
        panic!("CPU {}: {refused}", cpu.id());
    }
}

/// Where the CPU this runs on goes when it next enters from user mode: SP_svc is there already when
/// it leaves.
#[inline(always)]
pub fn set_user_entry_stack(_cpu: &Cpu, _top: Addr) {}
