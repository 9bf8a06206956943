//! Starting programs: from a file to a process that runs it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `program` | a program as a file of the tree |
//! | `script` | the first line of a file that another program runs |
//! | `elf` | one image, mapped |
//! | `load`, `random` | its address space and first stack; bytes that it cannot know |
//! | `execve` | the calling process becomes another program |
//! | `launch` | a program that the kernel starts |
//!
//! May import `process` and what is below it. What a first stack looks like is `abi::stack_image`.

mod elf;
pub(crate) mod execve;
pub(crate) mod launch;
pub(crate) mod load;
pub(crate) mod program;
pub(crate) mod random;
mod script;
