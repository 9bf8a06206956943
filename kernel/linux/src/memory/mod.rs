//! Memory of programs: address spaces, without the processes that have them.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `area`, `areas` | one stretch of addresses; which are used, a sorted list that can fail whole |
//! | `object` | what a mapping's pages come from: files, and shared memory without a name |
//! | `segments` | shared memory by number and key |
//! | `space` | [`space::Memory`]: areas and page tables; mapping, protecting, giving back |
//! | `fault`, `fork` | filling and copying on write; the memory of a child |
//! | `forced` | memory as a debugger gets at it, whatever the program may do there |
//! | `remap`, `brk` | mremap; the heap |
//! | `advice`, `figures` | locked, sealed, not needed; how much is there, and whose |
//! | `layout`, `limits`, `totals`, `accounts` | where the parts begin; how much there may be, and is; both together |
//! | `cut`, `spaces` | files that become shorter; all address spaces |
//!
//! May import `files` (a mapping is filled from a node), `abi`, `error` and `sorted`.

mod accounts;
mod advice;
mod area;
pub(crate) mod areas;
mod brk;
pub(crate) mod cut;
mod fault;
pub(crate) mod figures;
mod forced;
mod fork;
pub(crate) mod layout;
pub(crate) mod limits;
pub(crate) mod object;
mod present;
pub(crate) mod remap;
pub(crate) mod segments;
pub(crate) mod space;
mod spaces;
pub(crate) mod totals;
