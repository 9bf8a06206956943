//! Memory of programs: address spaces, without the processes that have them.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `areas` | which addresses are used, and for what: a sorted list that can fail whole |
//! | `space` | [`space::Memory`]: areas and page tables; filling, copying on write, mapping, fork |
//! | `remap`, `brk` | mremap; the heap |
//!
//! May import `files` (a mapping is filled from a node), `abi`, `error` and `sorted`.

pub(crate) mod areas;
mod brk;
mod remap;
pub(crate) mod space;
