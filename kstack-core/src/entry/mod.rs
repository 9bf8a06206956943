//! What interrupts and NMIs do with stacks, as states that are explored on the host; the assembly is in the crate `kstack`.

pub mod irq;
pub mod nmi;
