//! The descriptor tables of each CPU, and the stacks besides IRQ and idle that entries use.

use super::layout::CPU_TABLES;
use super::{cpu, paging};
use crate::arch::pc::{control, fpu, shadow};
use crate::cpus::{self, Cpu};
use crate::memory::frames;
use core::sync::atomic::Ordering;
use kstack::addr::{Addr, CpuId};
use kstack::arch::current::local::ArchLocal;
use kstack::arch::current::tables::{CpuTables, TLS_SEGMENTS};

/// Pages of address space that each CPU has here: one that is never mapped, its tables, its maps of
/// ports, which are mapped when a program asks for one, and the rest never.
pub const PAGES_OF_A_CPU: u64 = 8;

/// Where the descriptor tables of a CPU are.
pub fn tables_address(cpu: CpuId) -> u64 {
    CPU_TABLES + (PAGES_OF_A_CPU * u64::from(cpu.get()) + 1) * 4096
}

/// Where the library puts a CPU's tables: mapped here.
pub fn place(cpu: &'static Cpu) -> *mut CpuTables {
    cpu.local.arch.set_sysenter_return(Addr::new(super::sysenter_page::SYSENTER_RETURN as usize));
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
    allow_sysenter(cpu, true);
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

/// Gives the thread that goes to user mode next its own segments, and `sysenter`. Interrupts off.
pub(super) fn set_user_segments(segments: &[u64; TLS_SEGMENTS]) {
    debug_assert!(!cpu::interrupts_are_on());
    let cpu = cpus::this();
    // SAFETY: (1) this CPU's loaded tables, interrupts off; (2) `user` makes the descriptors and
    // looks after the selectors.
    unsafe { CpuTables::set_tls(cpu.arch.tables.load(Ordering::Relaxed), segments) };
    allow_sysenter(cpu, true);
}

/// Lets programs use `sysenter` on the CPU this runs on. Interrupts off.
#[inline(always)]
fn allow_sysenter(cpu: &Cpu, allowed: bool) {
    // SAFETY: (1) this CPU's loaded tables, interrupts off.
    if unsafe { CpuTables::allow_sysenter(cpu.arch.tables.load(Ordering::Relaxed), allowed) } {
        cpu.arch.sysenter_writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a CPU's block says of its NMIs.
pub fn nmi_words(cpu: &Cpu) -> NmiWords<'_> {
    NmiWords(&cpu.local.arch)
}

/// The words of a CPU's block that are about NMIs.
#[derive(Debug, Clone, Copy)]
pub struct NmiWords<'c>(&'c ArchLocal);

impl NmiWords<'_> {
    /// Whether an NMI from the kernel is being handled.
    pub fn is_active(self) -> bool {
        self.0.nmi_is_active()
    }

    /// Whether another one is waiting for it to end.
    pub fn is_latched(self) -> bool {
        self.0.nmi_is_latched()
    }

    /// Marks the NMI under way as over.
    ///
    /// # Safety
    ///
    /// As for [`ArchLocal::abandon_nmi`].
    pub unsafe fn abandon(self) {
        // SAFETY: (1) by the caller's promise.
        unsafe { self.0.abandon_nmi() };
    }
}
