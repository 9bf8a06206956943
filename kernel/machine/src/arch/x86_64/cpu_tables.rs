//! The descriptor tables of each CPU, and the exception stacks that they name.
//!
//! ```text
//!   top of an exception stack
//!   | ExceptionHead: where the NMI words and the NMI stack are |         16 bytes
//!   | <- what the interrupt stack table points at: the CPU pushes its frame below
//! ```

use super::layout::CPU_TABLES;
use super::paging;
use crate::arch::pc::control;
use crate::cpus::Cpu;
use crate::memory::frames;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack::arch::current::nmi::NmiWords;
use kstack::arch::current::tables::{CpuTables, ExceptionHead, Ist};
use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::kind::StackKind;

/// Bytes above the first frame of an exception stack.
const EXCEPTION_HEAD: ByteSize = ByteSize::new(size_of::<ExceptionHead>());

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    /// The loaded descriptor tables.
    pub tables: AtomicPtr<CpuTables>,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { tables: AtomicPtr::new(core::ptr::null_mut()) }
    }
}

/// Pages of the stacks that only this architecture has; `None`: it has no such kind.
pub const fn pages_of(kind: StackKind) -> Option<usize> {
    match kind {
        StackKind::DoubleFault | StackKind::NmiBody => Some(4),
        StackKind::Debug | StackKind::MachineCheck => Some(2),
        StackKind::Nmi => Some(1),
        _ => None,
    }
}

const fn kind_of(ist: Ist) -> StackKind {
    match ist {
        Ist::DoubleFault => StackKind::DoubleFault,
        Ist::Nmi => StackKind::Nmi,
        Ist::Debug => StackKind::Debug,
        Ist::MachineCheck => StackKind::MachineCheck,
    }
}

/// Where the descriptor tables of a CPU are: a page between two that are never mapped.
pub fn tables_address(cpu: CpuId) -> u64 {
    CPU_TABLES + (2 * u64::from(cpu.get()) + 1) * 4096
}

/// Makes a CPU's exception stacks, with `stack`, and its descriptor tables.
pub fn prepare(cpu: &'static Cpu, stack: fn(StackKind, CpuId) -> AddrRange) {
    let id = cpu.id();
    let body_top =
        stack(StackKind::NmiBody, id).top.wrapping_sub(ByteSize::new(size_of::<NmiWords>()));
    // SAFETY: (1) the highest bytes of a mapped stack nobody uses yet; 16-aligned, because a page is.
    unsafe { (body_top.get() as *mut NmiWords).write(NmiWords::new()) };
    let ist_tops = Ist::ALL.map(|ist| stack(kind_of(ist), id).top.wrapping_sub(EXCEPTION_HEAD));
    let nmi_stack = ist_tops[Ist::Nmi as usize - 1].get() as u64;
    for top in ist_tops {
        let head = ExceptionHead { nmi_words: body_top.get() as u64, nmi_stack };
        // SAFETY: (1) as above.
        unsafe { (top.get() as *mut ExceptionHead).write(head) };
    }
    // SAFETY: (1) made for this CPU a moment ago, and kept for ever.
    unsafe { cpu.local.arch.set_nmi_body_top(body_top) };
    let at = tables_address(id);
    let frame = frames::alloc_zeroed().expect("memory for a CPU's descriptor tables");
    paging::map_kernel(at, frame).expect("memory for a CPU's descriptor tables");
    let tables = at as *mut CpuTables;
    // SAFETY: (1) a mapped page of its own.
    unsafe { tables.write(CpuTables::new(Addr::new(at as usize), ist_tops)) };
    cpu.arch.tables.store(tables, Ordering::Release);
}

/// Loads what [`prepare`] made, on the CPU itself, and the per-CPU block.
pub fn load(cpu: &'static Cpu) {
    control::load();
    // SAFETY: (1) the tables were made for this CPU and stay; (2) so does its block; (3) the hooks are installed first of all.
    let loaded = unsafe { CpuTables::load(cpu.arch.tables.load(Ordering::Acquire), &cpu.local) };
    if let Err(unfit) = loaded {
        panic!("CPU {}: {unfit}", cpu.id());
    }
}

/// Where the CPU this runs on goes when it next enters from user mode. Interrupts off.
#[inline(always)]
pub fn set_user_entry_stack(cpu: &Cpu, top: Addr) {
    // SAFETY: (1) this CPU's loaded tables, interrupts off; (2) by the caller, the stack of the thread that runs from now on.
    unsafe {
        CpuTables::set_user_entry_stack(cpu.arch.tables.load(Ordering::Relaxed), top);
    }
}

/// The words of a CPU's NMI body stack.
pub fn nmi_words(cpu: &Cpu) -> &'static NmiWords {
    // SAFETY: (1) written by `prepare` before the block was loaded; the stack stays.
    unsafe { &*(cpu.local.arch.nmi_body_top().get() as *const NmiWords) }
}

/// Whether an NMI is being handled, whatever it interrupted.
pub fn in_nmi(cpu: &Cpu) -> bool {
    nmi_words(cpu).is_active() || cpu.local.arch.nmi_from_user_is_handled()
}
