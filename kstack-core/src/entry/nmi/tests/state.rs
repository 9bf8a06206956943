//! Registers, stacks and the words on them.

use core::cmp::Ordering;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stack {
    /// That of what was interrupted first.
    Outside,
    Nmi,
    Body,
    Thread,
}

/// A stack pointer: words below the top.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sp {
    pub stack: Stack,
    pub depth: u8,
}

pub const OUTSIDE: Sp = Sp { stack: Stack::Outside, depth: 0 };
/// Words of the CPU's frame: ss, rsp, rflags, cs, rip from the top down.
pub const FRAME: u8 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Word {
    Junk,
    Number(u8),
    Ss,
    Sp(Sp),
    Flags(Ordering),
    Cs { user: bool },
    Rip(u8),
    Top(Stack),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Registers {
    pub rip: u8,
    pub user: bool,
    pub sp: Sp,
    pub flags: Ordering,
    pub rax: Word,
    pub rbx: Word,
    pub users_gs: bool,
}
