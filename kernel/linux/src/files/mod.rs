//! Files: the tree in memory, and what a descriptor leads to.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `tree`, `names` | nodes and their places; the sorted names of a directory |
//! | `file_bytes` | the pages of a file that programs write |
//! | `mapped` | a file's part in being mapped, and its seals |
//! | `open` | open files, pipes, the descriptors of a process |
//!
//! May import `error` and `sorted`. Knows no process: the calls that act for one are in `calls::files`, /proc is in `proc`.

pub(crate) mod file_bytes;
pub(crate) mod mapped;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod tree;
