//! arm32 (ARMv7-A, ARM state): what entry, switch and exception stacks rest on.
//!
//! # Which stack each entry lands on, and who says so
//!
//! | entry | from user mode | from the kernel | found through |
//! | --- | --- | --- | --- |
//! | `svc` | thread stack | current stack (a software interrupt) | SP_svc, where the return path left it |
//! | IRQ | IRQ mode's words, then thread stack, and stays there | IRQ mode's words, current stack, then the IRQ stack unless in use | SP_irq; SP_svc; then `irq_top` |
//! | data or prefetch abort | abort mode's words, then thread stack | abort mode's words, then current stack | SP_abt; SP_svc |
//! | undefined instruction | undefined mode's words, then thread stack | undefined mode's words, then current stack | SP_und; SP_svc |
//! | FIQ | FIQ mode's words, then thread stack | FIQ mode's words, then current stack | SP_fiq; SP_svc |
//! | any of them, when the current stack cannot take the saved registers | - | overflow stack; the last stack, if that one is in use | the bit test of SP; [`ArchLocal`](local::ArchLocal) |
//!
//! Every mode but user has an SP of its own. The small stacks of IRQ, abort, undefined and FIQ mode
//! are a few words ([`ModeWords`](tables::ModeWords)): three are written there, and everything else
//! is done in SVC mode.
//!
//! # Registers with a standing meaning
//!
//! * TPIDRPRW: the CPU's [`CpuLocal`](crate::local::CpuLocal), always. User mode cannot reach it.
//! * TPIDRURO: in the kernel the running thread (`current`); in user mode the program's thread
//!   pointer, which it can read and not write. Exchanged on every entry from and every return to
//!   user mode, and by the switch.
//! * SP_svc in user mode: 8 bytes below the top of the running thread's stack. No entry looks it
//!   up.
//! * r11: the frame pointer, pointing at {previous r11, return address}. Entry code sets it to the
//!   address of the saved registers *plus one*; the set bit tells the unwinder that this is no
//!   frame record.
//!
//! # Where `thread_info` is
//!
//! By default in the thread's own structure, which no overflow reaches. With the feature
//! `thread-info-on-stack`, the layout of Linux before 5.x: at the low end of the 8 KiB stack,
//! `current` found by masking SP. See [`local`].

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
mod fiq;
#[cfg(feature = "entry")]
pub mod interrupts;
#[cfg(feature = "entry")]
pub mod local;
#[cfg(feature = "entry")]
pub mod overflow;
pub mod regs;
#[cfg(feature = "entry")]
mod return_path;
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
pub const GEOMETRY: kstack_core::geometry::Geometry = kstack_core::geometry::Geometry::ARM32;

/// What must be left of a thread's stack where something begins that cannot be given up half-way;
/// see [`crate::room`]. That and SavedRegs together are a number that an instruction of this
/// machine can hold.
pub const RESERVE: kstack_core::addr::ByteSize = kstack_core::addr::ByteSize::new(1016);

/// Whether `current` is found by masking SP.
pub const THREAD_INFO_ON_STACK: bool = cfg!(feature = "thread-info-on-stack");

/// Bytes at the low end of a stack that are below its end word: `thread_info`, where that is on the
/// stack.
pub const BELOW_END: kstack_core::addr::ByteSize =
    kstack_core::addr::ByteSize::new(if THREAD_INFO_ON_STACK { 8 } else { 0 });
