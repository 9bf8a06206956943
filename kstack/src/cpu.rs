//! A CPU comes up: its stacks, its tables, its block, in one call that refuses with a sentence what
//! is missing.
//!
//! ```text
//!   on the CPU's boot stack, interrupts off                        on its idle stack, interrupts off
//!   hooks::install, once                                           main(idle)
//!   bring_up(&STACKS, &CPUS[n], main)                              ▲
//!     │ load the block          GS, TPIDR or tp: from here `with_cache` works
//!     │ prepare                 IRQ stack, and what the architecture has besides; words at their tops
//!     │ an idle stack
//!     │ load                    tables, vectors: from here exceptions land on stacks of their own
//!     └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`prepare`] and [`load`] are the parts, for a kernel whose per-CPU data has a [`CpuLocal`] in
//! it, or that prepares one CPU on another. A kernel with tables of its own leaves out [`load`],
//! and takes what [`prepare`] wrote into the tables: on x86_64 the tops of the exception stacks
//! ([`CpuTables::read_tss`](crate::arch::current::tables::CpuTables)) and single vectors
//! (`vectors::vector`). It loads the block itself ([`CpuLocal::load`]), after its segment
//! registers, and ends in [`run_idle`]. `docs/adopting.md` has the whole of it.

use crate::arch::current::bring_up::{self, TablesPlace};
use crate::arch::current::tables::{CpuTables, Unfit};
use crate::backing::Backing;
use crate::local::{CpuLocal, MAX_ENDS};
use crate::owned::{Stack, Stacks};
use crate::thread::Thread;
use crate::{hooks, interrupts};
use core::fmt;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack_core::addr::{AddrRange, ByteSize, CpuId};
use kstack_core::kind::StackKind;
use kstack_core::pool::AcquireError;

pub use crate::arch::current::bring_up::CPU_STACKS;

// The IRQ, idle and boot stacks besides.
const _: () = assert!(CPU_STACKS.len() + 3 <= MAX_ENDS);

/// What a CPU has: its block, its tables. In a static of the kernel's; see [`blocks`].
#[derive(Debug)]
#[repr(C)]
pub struct Block {
    local: CpuLocal,
    tables: TablesPlace,
    is_taken: AtomicBool,
}

// SAFETY: (1) the block is shared by design; (2) the tables are written by `bring_up` alone, once,
// for the CPU that took the block.
unsafe impl Sync for Block {}

impl Block {
    /// The block of CPU `cpu`.
    pub const fn new(cpu: CpuId) -> Self {
        Self {
            local: CpuLocal::new(cpu),
            tables: TablesPlace::new(),
            is_taken: AtomicBool::new(false),
        }
    }

    /// What entry code knows of the CPU.
    pub const fn local(&self) -> &CpuLocal {
        &self.local
    }

    /// Where its tables are, once it is up.
    pub const fn tables(&self) -> *mut CpuTables {
        self.tables.get()
    }
}

/// The blocks of `N` CPUs, numbered from 0.
///
/// ```
/// use kstack::cpu::{self, Block};
/// static CPUS: [Block; 4] = cpu::blocks();
/// assert_eq!(CPUS[3].local().cpu().get(), 3);
/// ```
#[must_use]
pub const fn blocks<const N: usize>() -> [Block; N] {
    let mut blocks = [const { Block::new(CpuId::new(0)) }; N];
    let mut number = 0;
    while number < N {
        blocks[number].local = CpuLocal::new(CpuId::new(number as u32));
        number += 1;
    }
    blocks
}

/// Why a CPU cannot come up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// No hooks are installed.
    NoHooks,
    /// Interrupts are on.
    InterruptsAreOn,
    /// The block is another CPU's, or this one has come up already.
    BlockIsTaken(CpuId),
    /// There is no stack of this kind for it.
    NoStack(StackKind, AcquireError),
    /// The CPU, or what it was given, is not as the entries need it.
    Unfit(Unfit),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHooks => {
                f.write_str("no hooks are installed (hooks::install comes before the first CPU)")
            }
            Self::InterruptsAreOn => f.write_str("a CPU comes up with interrupts on"),
            Self::BlockIsTaken(cpu) => write!(f, "the block of CPU {cpu} is taken already"),
            Self::NoStack(kind, why) => write!(f, "no {kind} stack for a CPU: {why}"),
            Self::Unfit(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}

/// Makes this CPU one that takes interrupts and survives overflows: its stacks, its tables and its
/// block, as the module's head draws it. Then runs `main` on its idle stack, with interrupts off
/// and the idle thread running. Returns only why that cannot be.
///
/// # Safety
///
/// 1. This CPU is in the kernel's mode, on a stack that nothing needs any more.
/// 2. `block` lies where the kernel's memory is mapped in every address space, for as long as the
///    CPU runs.
/// 3. Where the section `.data.kstack_once` is to be read-only, the first CPU comes up before it
///    is.
/// 4. No other [`Stacks`] is used with the default of [`Backing::with_cache`].
pub unsafe fn bring_up<B: Backing>(
    stacks: &'static Stacks<B>,
    block: &'static Block,
    main: fn(idle: &'static Thread<B>) -> !,
) -> Refused {
    if !hooks::are_installed() {
        return Refused::NoHooks;
    }
    if interrupts::are_on() {
        return Refused::InterruptsAreOn;
    }
    if block.is_taken.swap(true, Ordering::AcqRel) {
        return Refused::BlockIsTaken(block.local.cpu());
    }
    let local = &block.local;
    stacks.install();
    // SAFETY: (1) block and tables are this CPU's from here on, and live as long, by the caller's
    // promise; (2) interrupts are off; (3) the hooks are installed.
    let made = unsafe {
        bring_up::load_block(local, block.tables.get());
        prepare(stacks, local, block.tables.get())
            .and_then(|()| idle_stack(stacks, local.cpu()))
            .and_then(|idle| load(local, block.tables.get()).map(|()| idle))
    };
    match made {
        // SAFETY: (1) just loaded; (2) just made, and the boot stack is left, by the caller's
        // promise.
        Ok(idle) => unsafe { run_idle(local, idle, main) },
        Err(refused) => refused,
    }
}

/// Makes all stacks of a CPU but its idle stack, writes what belongs at their tops, and fills its
/// tables. On any CPU.
///
/// # Errors
///
/// [`Refused::NoStack`] names the kind that there was no stack of, and why.
///
/// # Safety
///
/// 1. `local` and `tables` are that CPU's for as long as it runs, and it has not come up yet;
///    `tables` is mapped and writable, and aligned as its type wants (arm32: as a stack).
pub unsafe fn prepare<B: Backing>(
    stacks: &'static Stacks<B>,
    local: &'static CpuLocal,
    tables: *mut CpuTables,
) -> Result<(), Refused> {
    let mut last = StackKind::Irq;
    let mut make = |kind: StackKind| -> Result<AddrRange, AcquireError> {
        last = kind;
        let pages = CPU_STACKS.iter().find(|(one, _)| *one == kind).map(|&(_, pages)| pages as u8);
        // SAFETY: (1) it is never dropped.
        let stack = unsafe { stacks.acquire_for_cpu(kind, local.cpu(), pages)? };
        let range = stack.range();
        core::mem::forget(stack);
        // SAFETY: (1) the stack is kept; (2) by the caller's promise.
        let watched = unsafe { local.watch_end(range.lowest) };
        debug_assert!(watched, "there are places for all");
        Ok(range)
    };
    let made = make(StackKind::Irq).and_then(|irq| {
        // SAFETY: (1) made for this CPU a moment ago, and kept.
        unsafe { local.set_irq_top(irq.top) };
        // SAFETY: (1) `make` keeps what it gives; (2) by the caller's promise.
        unsafe { bring_up::prepare(local, tables, make) }
    });
    made.map_err(|why| Refused::NoStack(last, why))
}

/// A stack for the thread that runs on a CPU when no other does.
///
/// # Errors
///
/// [`Refused::NoStack`], likewise.
///
/// # Safety
///
/// 1. As for [`Stacks::acquire_for_cpu`].
pub unsafe fn idle_stack<B: Backing>(
    stacks: &'static Stacks<B>,
    cpu: CpuId,
) -> Result<Stack<B>, Refused> {
    // SAFETY: (1) by the caller's promise.
    let stack = unsafe { stacks.acquire_for_cpu(StackKind::Idle, cpu, None) };
    stack.map_err(|why| Refused::NoStack(StackKind::Idle, why))
}

/// Loads what [`prepare`] made, on the CPU itself, and its block: from the first moment an
/// exception can be taken, it finds its stack and the block.
///
/// # Errors
///
/// [`Refused::NoHooks`], or [`Refused::Unfit`] with what the CPU or its tables lack. Nothing of the
/// tables is loaded then.
///
/// # Safety
///
/// 1. [`prepare`] made them for this CPU, or the kernel did what it does; they live as long as the
///    CPU runs.
pub unsafe fn load(local: &'static CpuLocal, tables: *mut CpuTables) -> Result<(), Refused> {
    if !hooks::are_installed() {
        return Err(Refused::NoHooks);
    }
    // SAFETY: (1) by the caller's promise; (2) the hooks are installed.
    unsafe { bring_up::load(local, tables) }.map_err(Refused::Unfit)
}

/// Continues in `main` on a CPU's idle stack, as its idle thread: the last step of [`bring_up()`],
/// for a kernel that loads tables of its own.
///
/// # Safety
///
/// 1. This CPU has loaded `local`, and tables by which its exceptions find their stacks; interrupts
///    are off.
/// 2. `stack` is its [`idle_stack`]; nothing on the stack that this runs on is needed any more.
pub unsafe fn run_idle<B: Backing>(
    local: &'static CpuLocal,
    stack: Stack<B>,
    main: fn(&'static Thread<B>) -> !,
) -> ! {
    /// What lies at the top of the stack.
    #[repr(C, align(16))]
    struct Top<B: Backing> {
        main: fn(&'static Thread<B>) -> !,
        idle: Thread<B>,
    }
    extern "C" fn first<B: Backing>(top: usize) -> ! {
        // SAFETY: (1) written below, at the top of a stack that the CPU keeps.
        let top = unsafe { &*(top as *const Top<B>) };
        (top.main)(&top.idle)
    }
    // The thread itself lies at the stack's top.
    let range = stack.range();
    stack.make_coherent(local.cpu());
    // SAFETY: (1) an idle thread keeps its stack; (2) this is the CPU, with interrupts off.
    let watched = unsafe { local.watch_end(range.lowest) };
    debug_assert!(watched, "there are places for all");
    let idle = Thread::of(stack, 0, 0);
    let at = range.top.wrapping_sub(ByteSize::new(size_of::<Top<B>>()));
    // SAFETY: (1) the top of a mapped stack that nothing runs on yet; 16-aligned, since the size is
    // a multiple of the alignment; (2) this is the CPU, with interrupts off, and runs on that stack
    // from here on; nothing on the old one is needed.
    unsafe {
        let top = at.get() as *mut Top<B>;
        top.write(Top { main, idle });
        (*top).idle.make_current(local);
        let below = AddrRange { lowest: range.lowest, top: at };
        bring_up::continue_on(below, first::<B>, top as usize)
    }
}
