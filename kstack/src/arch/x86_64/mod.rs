//! x86_64: what entry, switch and exception stacks rest on.
//!
//! # Which stack each entry lands on, and who says so
//!
//! | entry | from user mode | from the kernel | found through |
//! | --- | --- | --- | --- |
//! | `syscall` | thread stack | - | [`CpuLocal`](crate::local::CpuLocal)'s `thread_top`, loaded by the entry code |
//! | interrupt | thread stack, and stays there | current stack, then the IRQ stack unless in use | TSS `rsp0`; then `irq_top` |
//! | exception | thread stack | current stack | TSS `rsp0` |
//! | double fault | double-fault stack | double-fault stack | IST 1 |
//! | NMI | NMI stack, then thread stack | NMI stack, then NMI body stack | IST 2; then `thread_top` or `nmi_body_top` |
//! | debug | debug stack | debug stack | IST 3 |
//! | machine check | machine-check stack | machine-check stack | IST 4 |
//!
//! # Registers with a standing meaning
//!
//! * GS base: in the kernel the CPU's [`CpuLocal`](crate::local::CpuLocal); in user mode the
//!   program's. `swapgs` exchanges them on every entry from and every return to user mode. Entries
//!   that can interrupt the instructions around a `swapgs` (all on IST stacks) look at the sign of
//!   the GS base instead of at the interrupted CS: kernel addresses are negative.
//! * RBP: the frame pointer. Entry code sets it to the address of the saved registers *plus one*;
//!   the set bit tells the unwinder that this is no frame record.

#[cfg(feature = "entry")]
pub mod bring_up;
#[cfg(feature = "switch")]
pub mod call;
#[cfg(feature = "entry")]
mod cause;
#[cfg(feature = "entry")]
pub(crate) mod containment;
#[cfg(feature = "entry")]
mod double_fault;
#[cfg(feature = "entry")]
pub mod entry;
#[cfg(feature = "entry")]
pub mod fault;
#[cfg(feature = "entry")]
pub mod interrupts;
#[cfg(feature = "entry")]
pub mod load;
#[cfg(feature = "entry")]
pub mod local;
#[cfg(feature = "entry")]
pub mod nmi;
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
mod syscall;
#[cfg(feature = "entry")]
pub mod tables;
#[cfg(feature = "entry")]
pub(crate) mod this_cpu;
#[cfg(feature = "entry")]
pub mod vectors;

/// The shape of thread stacks on this architecture.
pub const GEOMETRY: kstack_core::geometry::Geometry = crate::target::GEOMETRY;

/// What must be left of a thread's stack where something begins that cannot be given up half-way;
/// see [`crate::room`].
pub const RESERVE: kstack_core::addr::ByteSize =
    kstack_core::addr::ByteSize::new(if cfg!(feature = "address-sanitizer") { 4096 } else { 1024 });

/// Bytes at the low end of a stack that are below its end word: none.
pub const BELOW_END: kstack_core::addr::ByteSize = kstack_core::addr::ByteSize::ZERO;
