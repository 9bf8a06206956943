//! What both kinds of PC are tested with, besides what all machines are: control registers and
//! flags, NMIs, the sweep, backtraces from a function's edges, and where the task state segments
//! lie.

pub(in crate::tests) mod control;
pub(in crate::tests) mod double_fault;
pub(in crate::tests) mod entry_work;
pub(in crate::tests) mod every_instruction;
pub(in crate::tests) mod evidence;
pub(in crate::tests) mod firmware;
pub(in crate::tests) mod first_instruction;
pub(in crate::tests) mod io_maps;
pub(in crate::tests) mod nmi;
pub(in crate::tests) mod refusals;
pub(in crate::tests) mod tss_guards;
pub(in crate::tests) mod vector_registers;
pub(in crate::tests) mod vectors;
pub(in crate::tests) mod work;
