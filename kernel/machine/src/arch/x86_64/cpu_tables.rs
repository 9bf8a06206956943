//! Where the descriptor tables of each CPU lie.

use super::layout::CPU_TABLES;
use super::paging;
use crate::arch::pc::{control, fpu, shadow};
use crate::cpus::Cpu;
use crate::memory::frames;
use core::sync::atomic::Ordering;
use kstack::addr::{Addr, CpuId};
use kstack::arch::current::tables::{CpuTables, NmiWords};

/// Pages of address space that each CPU has here: one that is never mapped, its tables, its maps of
/// ports, which are mapped when a program asks for one, and the rest never.
pub const PAGES_OF_A_CPU: u64 = 8;

/// Where the descriptor tables of a CPU are.
pub fn tables_address(cpu: CpuId) -> u64 {
    CPU_TABLES + (PAGES_OF_A_CPU * u64::from(cpu.get()) + 1) * 4096
}

/// Where the library puts a CPU's tables: mapped here.
pub fn place(cpu: &'static Cpu) -> *mut CpuTables {
    let at = tables_address(cpu.id());
    let frame = frames::alloc_zeroed().expect("memory for a CPU's descriptor tables");
    paging::map_kernel(at, frame).expect("memory for a CPU's descriptor tables");
    let tables = at as *mut CpuTables;
    cpu.arch.tables.store(tables, Ordering::Release);
    tables
}

/// Loads what was made for this CPU, on the CPU itself, and the per-CPU block.
pub fn load(cpu: &'static Cpu) {
    shadow::reset();
    control::load();
    fpu::look_at_cpu();
    shadow::look_at_cpu();
    let tables = cpu.arch.tables.load(Ordering::Acquire);
    // SAFETY: (1) `place` has mapped them, and they are loaded below; (2) the pages behind them are
    // this CPU's.
    unsafe { CpuTables::reach_io_maps(tables) };
    // SAFETY: (1) `cpu_stacks` made them for this CPU, and they stay.
    let loaded = unsafe { kstack::cpu::load(&cpu.local, tables) };
    if let Err(refused) = loaded {
        panic!("CPU {}: {refused}", cpu.id());
    }
}

/// Where the CPU this runs on goes when it next enters from user mode. Interrupts off.
#[inline(always)]
pub fn set_user_entry_stack(cpu: &Cpu, top: Addr) {
    // SAFETY: (1) this CPU's loaded tables, interrupts off; (2) by the caller, the stack of the
    // thread that runs from now on.
    unsafe {
        CpuTables::set_user_entry_stack(cpu.arch.tables.load(Ordering::Relaxed), top);
    }
}

/// The words of a CPU's NMI body stack.
pub fn nmi_words(cpu: &Cpu) -> &'static NmiWords {
    cpu.local.arch.nmi_words().expect("made before the CPU comes up")
}
