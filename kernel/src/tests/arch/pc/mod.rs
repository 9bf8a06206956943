//! What both kinds of PC are tested with, besides what all machines are: NMIs, and the sweep.

pub(in crate::tests) mod entry_work;
pub(in crate::tests) mod every_instruction;
pub(in crate::tests) mod nmi;
