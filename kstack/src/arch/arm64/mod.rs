//! arm64: threads run on SP_EL0, and exceptions arrive on SP_EL1, by hardware.
//!
//! # Two ways, weighed
//!
//! An exception to EL1 pushes nothing; entry code must find memory for the registers itself, on a
//! stack that may just have overflowed. Two designs are known:
//!
//! * **One stack pointer and a bit test.** Everything in the kernel runs on SP_EL1. The entry
//!   subtracts the size of its registers from SP and tests one bit of it, which works because
//!   stacks are aligned to twice their size. No register is free at that moment, so SP and x0 are
//!   added and subtracted to and from each other; and on failure two system registers that belong
//!   to the program (TPIDR_EL0, TPIDRRO_EL0) serve as scratch and are lost. A wild SP whose bit
//!   happens to be 0 is trusted: the first store faults, and the entry starts over, further down
//!   each time.
//! * **Two stack pointers.** The kernel runs with `SPSel` = 0, on SP_EL0. Each exception sets
//!   `SPSel` to 1, so entry code starts on SP_EL1, which no code that can overflow ever touches.
//!   Cost: two registers go through memory (one store and two loads more), and reading SP_EL0.
//!
//! This tree is the second, and takes the bit test with it: with registers free, it is one
//! instruction, and needs no knowledge of which stack is meant to be the current one, so it is
//! right in the middle of a switch too. What it buys: SP is never broken, nothing of the program's
//! is lost, a wild SP is told from an overflow, and a fault inside the overflow handler arrives
//! through vectors of its own (EL1h instead of EL1t), so that it can neither loop nor start over.
//!
//! # Which stack each entry lands on, and who says so
//!
//! | entry | from user mode (EL0) | from the kernel (EL1t) | from the overflow stack (EL1h) | found through |
//! | --- | --- | --- | --- | --- |
//! | system call | thread stack | - | - | [`CpuLocal`](crate::local::CpuLocal)'s `thread_top` |
//! | interrupt | thread stack, and stays there | current stack, then the IRQ stack unless in use | - (masked) | `thread_top`; SP_EL0; `irq_top` |
//! | synchronous exception | thread stack | current stack | overflow stack, once | `thread_top`; SP_EL0; SP_EL1 |
//! | any, and the registers do not fit | - | overflow stack | its top, for last words | SP_EL1 |
//! | hardware breakpoint | thread stack | current stack | - (masked) | as any synchronous exception |
//! | SError, FIQ | thread stack | current stack | overflow stack | as above; the kernel stops |
//!
//! # Registers with a standing meaning
//!
//! * TPIDR_EL1: the address of the CPU's [`CpuLocal`](crate::local::CpuLocal). Programs cannot read
//!   it.
//! * TPIDRRO_EL0: the running thread while the kernel runs, zero while a program does, which could
//!   read it.
//! * SP_EL1: the top of the CPU's overflow stack, at all times but inside the overflow handler.
//!   Exception entry uses 16 bytes right below it, with everything masked.
//! * SP_EL0: in the kernel the stack in use; in user mode the program's.
//! * x29: the frame pointer. Entry code sets it to the address of the saved registers *plus one*;
//!   the set bit tells the unwinder that this is no frame record.

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
/// see [`crate::room`]. With red zones, what `sub` can take with half as much again.
pub const RESERVE: kstack_core::addr::ByteSize =
    kstack_core::addr::ByteSize::new(if cfg!(feature = "address-sanitizer") { 2560 } else { 1024 });

/// Bytes at the low end of a stack that are below its end word: none.
pub const BELOW_END: kstack_core::addr::ByteSize = kstack_core::addr::ByteSize::ZERO;
