//! What must hold, as far as a machine can check it: of sources by reading them, of built kernels
//! by their machine code.
//!
//! | file | about | read |
//! |---|---|---|
//! | [`tidy`] | all rules about sources; it calls the next three | sources |
//! | [`prose`] | width of lines, words of comments | sources |
//! | [`floors`] | crates, folders and files import one way | sources |
//! | [`parallel`] | the trees of the architectures are alike | sources |
//! | [`map`] | each folder has a paragraph in ARCHITECTURE.md | sources |
//! | [`frames`] | the largest stack frame | the kernel |
//! | [`depth`] | how deep the handler of overflows goes | the kernel |
//! | [`instructions`] | barriers and fences are there | the kernel |
//! | [`unwinding`] | call frame information is right | the kernel |
//!
//! May import what all wings use (`arch`, `catalogue`, `workspace`); nothing here builds or starts
//! anything.

pub(crate) mod depth;
pub(crate) mod floors;
pub(crate) mod frames;
pub(crate) mod instructions;
pub(crate) mod map;
pub(crate) mod parallel;
mod prose;
pub(crate) mod tidy;
pub(crate) mod unwinding;

use object::{Architecture, Object, ObjectSymbol};

/// Where a symbol's code begins: in 32-bit Arm's symbols the lowest bit tells the instruction set.
pub(crate) fn code_address(file: &object::File<'_>, symbol: &object::Symbol<'_, '_>) -> u64 {
    let mark = u64::from(file.architecture() == Architecture::Arm);
    symbol.address() & !mark
}
