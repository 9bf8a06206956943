//! What interrupts and NMIs do with stacks, as states that are explored on the host; the assembly
//! is in the crate `kstack`. Beside them what else user mode depends on: the ports that a program
//! may use, its shadow stack; and where on its stack a call from there begins.

pub mod irq;
pub mod nmi;
pub mod offset;
pub mod ports;
pub mod shadow;
