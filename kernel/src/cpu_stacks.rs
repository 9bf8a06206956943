//! The stacks that belong to a CPU: idle, IRQ, and one for each exception that needs its own. All are in the arena, between
//! guards, and made before the CPU takes its first interrupt.
//!
//! ```text
//!   top of an exception stack
//!   | word: for the NMI stack, the address of the NMI words | unused |   16 bytes
//!   | <- what the interrupt stack table points at: the CPU pushes its frame below
//! ```

use crate::arch::paging;
use crate::cpus::Cpu;
use crate::memory::CPU_TABLES;
use crate::memory::frames;
use crate::sched;
use crate::stacks::OwnedStack;
use core::sync::atomic::Ordering;
use kstack::arch::current::nmi::NmiWords;
use kstack::arch::current::tables::{CpuTables, Ist};
use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::kind::StackKind;

/// Bytes above the first frame of an exception stack.
const EXCEPTION_HEAD: ByteSize = ByteSize::new(16);

/// Pages of each kind of stack. Exception handlers run in two pages; interrupts with softirqs on top get a thread's worth.
pub const fn pages_of(kind: StackKind) -> usize {
    match kind {
        StackKind::DoubleFault | StackKind::NmiBody => 4,
        StackKind::Nmi => 1,
        StackKind::Debug | StackKind::MachineCheck => 2,
        _ => 4,
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

fn make(kind: StackKind, cpu: CpuId) -> AddrRange {
    let stack =
        OwnedStack::acquire_for_cpu(kind, cpu, pages_of(kind)).expect("memory for a CPU's stacks");
    let range = stack.range();
    // It belongs to the CPU for ever.
    core::mem::forget(stack);
    range
}

/// Where the descriptor tables of a CPU are: a page between two that are never mapped.
pub fn tables_address(cpu: CpuId) -> u64 {
    CPU_TABLES + (2 * u64::from(cpu.get()) + 1) * 4096
}

/// Makes every stack of a CPU but the idle one, and its descriptor tables.
fn make_all(cpu: &'static Cpu) {
    let id = cpu.id();
    let irq = make(StackKind::Irq, id);
    let body_top =
        make(StackKind::NmiBody, id).top.wrapping_sub(ByteSize::new(size_of::<NmiWords>()));
    // SAFETY: (1) the highest bytes of a mapped stack nobody uses yet; 16-aligned, because a page is.
    unsafe { (body_top.get() as *mut NmiWords).write(NmiWords::new()) };
    let ist_tops = Ist::ALL.map(|ist| {
        let top = make(kind_of(ist), id).top.wrapping_sub(EXCEPTION_HEAD);
        // SAFETY: (1) as above. The NMI entry reads this word; on the other stacks nobody does.
        unsafe { (top.get() as *mut usize).write(body_top.get()) };
        top
    });
    cpu.local.set_irq_top(irq.top);
    cpu.local.arch.set_nmi_body_top(body_top);
    let at = tables_address(id);
    let frame = frames::alloc_zeroed().expect("memory for a CPU's descriptor tables");
    paging::map_kernel(at, frame).expect("memory for a CPU's descriptor tables");
    let tables = at as *mut CpuTables;
    // SAFETY: (1) a mapped page of its own.
    unsafe { tables.write(CpuTables::new(Addr::new(at as usize), ist_tops)) };
    cpu.tables.store(tables, Ordering::Release);
}

/// Loads what [`prepare`] or [`set_up`] made, on the CPU itself.
pub fn load(cpu: &'static Cpu) {
    // SAFETY: (1) the tables were made for this CPU and stay; (2) the per-CPU block is loaded again right after;
    // (3) interrupts are off.
    unsafe {
        CpuTables::load(cpu.tables.load(Ordering::Acquire));
        cpu.local.load();
    }
    cpu.tables_root.store(paging::kernel_root(), Ordering::Relaxed);
}

/// Everything for the CPU this runs on. Returns its idle stack: the caller moves there.
pub fn set_up(cpu: &'static Cpu) -> AddrRange {
    make_all(cpu);
    let idle = prepare_idle(cpu);
    load(cpu);
    idle
}

/// Everything for a CPU that will be started. Returns its idle stack.
pub fn prepare(cpu: &'static Cpu) -> AddrRange {
    make_all(cpu);
    prepare_idle(cpu)
}

fn prepare_idle(cpu: &'static Cpu) -> AddrRange {
    let stack = OwnedStack::acquire_for_cpu(StackKind::Idle, cpu.id(), pages_of(StackKind::Idle))
        .expect("memory for a CPU's idle stack");
    let range = stack.range();
    sched::adopt_idle(stack, cpu);
    range
}

/// A CPU that did not come up keeps its stacks: it might still, and would run on them.
pub fn give_up(cpu: &'static Cpu) {
    cpu.apic_id.store(u32::MAX, Ordering::Relaxed);
}

/// Leaves the boot stack for ever.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the idle stack of this CPU, empty; (2) nothing on the old stack is used again; (3) a zero frame pointer is the
    // outermost marker, and the call leaves SP as the ABI wants it.
    unsafe {
        core::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// The words of a CPU's NMI body stack.
pub fn nmi_words(cpu: &Cpu) -> &'static NmiWords {
    // SAFETY: (1) written by `make_all` before the block was loaded; the stack stays.
    unsafe { &*(cpu.local.arch.nmi_body_top().get() as *const NmiWords) }
}
