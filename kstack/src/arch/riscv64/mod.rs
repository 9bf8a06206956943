//! riscv64, supervisor mode: what entry, switch and overflow stacks rest on.
//!
//! # Which stack each entry lands on, and who says so
//!
//! The CPU changes no stack: it jumps to the address in `stvec` with every register as it was. So
//! the entry code decides.
//!
//! | entry | from user mode | from the kernel | found through |
//! | --- | --- | --- | --- |
//! | `ecall` | thread stack | - | [`CpuLocal`](crate::local::CpuLocal)'s `thread_top` |
//! | interrupt | thread stack, and stays there | current stack, then the IRQ stack unless in use | `thread_top`; then `irq_top` |
//! | exception | thread stack | current stack | `thread_top` |
//! | anything, and the registers do not fit | - | overflow stack | `overflow_top`, after the test of SP |
//!
//! # Registers with a standing meaning
//!
//! * tp: in the kernel the CPU's [`CpuLocal`](crate::local::CpuLocal); in user mode the program's.
//!   `sscratch` is the other half of the exchange; the table of states stands at the head of
//!   [`entry`].
//! * s0: the frame pointer. It points right above the frame record {previous s0, return address}.
//!   Entry code sets it to the address of the saved registers *plus one*; the set bit tells the
//!   unwinder that this is no frame record.
//! * gp: nothing in the kernel; the program's is saved and comes back.

#[cfg(feature = "entry")]
pub mod bring_up;
#[cfg(feature = "switch")]
pub mod call;
#[cfg(feature = "entry")]
pub mod cause;
#[cfg(feature = "entry")]
pub(crate) mod containment;
#[cfg(feature = "entry")]
pub mod entry;
#[cfg(feature = "entry")]
pub mod fault;
#[cfg(feature = "entry")]
pub mod interrupts;
#[cfg(feature = "entry")]
pub mod local;
#[cfg(feature = "entry")]
pub mod overflow;
pub mod regs;
#[cfg(feature = "entry")]
mod return_path;
#[cfg(feature = "address-sanitizer")]
pub(crate) mod sanitizer;
#[cfg(feature = "entry")]
mod save;
#[cfg(feature = "switch")]
pub mod switch;
#[cfg(feature = "entry")]
pub mod tables;
#[cfg(feature = "entry")]
pub(crate) mod this_cpu;
#[cfg(feature = "entry")]
pub mod vectors;

/// The shape of thread stacks on this architecture.
pub const GEOMETRY: kstack_core::geometry::Geometry = crate::target::GEOMETRY;

/// What must be left of a thread's stack where something begins that cannot be given up half-way;
/// see [`crate::room`]. With red zones, more; half of it is what `addi` can take.
pub const RESERVE: kstack_core::addr::ByteSize =
    kstack_core::addr::ByteSize::new(if cfg!(feature = "address-sanitizer") { 3072 } else { 1024 });

/// Bytes at the low end of a stack that are below its end word: none.
pub const BELOW_END: kstack_core::addr::ByteSize = kstack_core::addr::ByteSize::ZERO;
