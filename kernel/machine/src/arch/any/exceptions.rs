//! What an exception in user mode comes down to.

/// What a program did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFault {
    /// It used a page that is not there, or not for that.
    Page {
        /// It wanted to write.
        write: bool,
        /// It wanted to execute.
        exec: bool,
    },
    /// It executed what is no instruction, or none for programs.
    Instruction,
    /// It asked for an exception, by a breakpoint or a single step.
    Trap,
    /// It calculated what has no result.
    Arithmetic,
    /// It used memory in a way that no change of the page tables helps: not aligned, or nothing
    /// answers there.
    Bus,
    /// It made a system call by an instruction that the processor refuses there, and which the
    /// kernel carries out.
    OldCall,
    /// It did anything else that is not for programs.
    Protection,
}
