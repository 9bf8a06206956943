//! i386: what entry, switch and exception stacks rest on.
//!
//! # Which stack each entry lands on, and who says so
//!
//! | entry | from user mode | from the kernel | found through |
//! | --- | --- | --- | --- |
//! | `int 0x80` | thread stack | - | TSS `esp0` |
//! | `sysenter` | entry stack for one instruction, then thread stack | - | `SYSENTER_ESP`; then TSS `esp1` |
//! | interrupt | thread stack, and stays there | current stack, then the IRQ stack unless in use | TSS `esp0`; then `irq_top` |
//! | softirq | the softirq stack | the softirq stack | `softirq_top` |
//! | exception | thread stack | current stack | TSS `esp0` |
//! | double fault | double-fault stack | double-fault stack | task gate: a TSS of its own |
//! | NMI | thread stack | current stack, then NMI body stack | TSS `esp0`; then `nmi_body_top` |
//! | debug | thread stack | current stack, then debug stack | TSS `esp0`; then `debug_top` |
//! | machine check | thread stack, then machine-check stack | current stack, then machine-check stack | TSS `esp0`; then `machine_check_top` |
//!
//! There is no interrupt stack table. The only entry that changes stacks by hardware in the kernel
//! is the one through a task gate, and a task gate cannot nest (the task is busy), costs two full
//! register files, and gives up CR3; so it is kept for the one fault that must not touch the
//! current stack. See [`nmi`] for why an NMI needs none.
//!
//! # Registers with a standing meaning
//!
//! * FS: in the kernel the CPU's [`CpuLocal`](crate::local::CpuLocal). Every entry loads it,
//!   whatever it was.
//! * GS: in the kernel null, or with the stack protector the same as FS. The program's selector
//!   lies in the saved registers and is loaded again by the return path; so no selector of one
//!   thread's thread-local storage is ever loaded while another's descriptors are in the table.
//! * EBP: the frame pointer. Entry code sets it to the address of the saved registers *plus one*;
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
#[cfg(feature = "entry")]
mod save;
#[cfg(feature = "switch")]
pub mod switch;
#[cfg(feature = "entry")]
mod sysenter;
#[cfg(feature = "entry")]
pub mod tables;
#[cfg(feature = "entry")]
pub(crate) mod this_cpu;
#[cfg(feature = "entry")]
pub mod vectors;

/// The shape of thread stacks on this architecture.
pub const GEOMETRY: kstack_core::geometry::Geometry = kstack_core::geometry::Geometry::I386;

/// What must be left of a thread's stack where something begins that cannot be given up half-way;
/// see [`crate::room`].
pub const RESERVE: kstack_core::addr::ByteSize = kstack_core::addr::ByteSize::new(768);

/// Bytes at the low end of a stack that are below its end word: none.
pub const BELOW_END: kstack_core::addr::ByteSize = kstack_core::addr::ByteSize::ZERO;
