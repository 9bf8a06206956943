//! What can go wrong, each with a sentence.

use crate::report::Overflow;
use core::error::Error;
use core::fmt;
use kstack_core::pool::AcquireError;

/// Why a pool cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// A stack of no page, sizes that are more than there are addresses, or no stack at all.
    BadSize,
    /// The system has no range of addresses so large (see `ulimit -v`).
    NoAddressSpace,
    /// There are [`MAX_POOLS`](crate::MAX_POOLS) already.
    TooManyPools,
    /// The system's pages are not of 4 KiB.
    PageSize,
    /// This thread has a hardware shadow stack (x86 CET, arm64 GCS), which the switch would leave
    /// behind.
    ShadowStack,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSize => "a pool needs at least one stack of at least one page, and sizes that there are addresses for",
            Self::NoAddressSpace => {
                "the system has no range of addresses for so many stacks and guards"
            }
            Self::TooManyPools => "the process has made as many pools as it may",
            Self::PageSize => "the system's pages are not of 4 KiB",
            Self::ShadowStack => {
                "a hardware shadow stack is on, which a switch of stacks would leave behind"
            }
        })
    }
}

impl Error for PoolError {}

/// Why there is no stack, or no coroutine on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StackError {
    /// The pool cannot be.
    Pool(PoolError),
    /// All of the pool's stacks are in use.
    AllInUse,
    /// The system gives no memory for it, or no mapping (see `vm.max_map_count`).
    NoMemory,
    /// The closure of a coroutine does not fit twice on its stack, with a little left for what it
    /// calls: it lies there, and is moved once more to be called.
    ClosureTooLarge,
}

impl From<PoolError> for StackError {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<AcquireError> for StackError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::NoAddressSpace => Self::AllInUse,
            _ => Self::NoMemory,
        }
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::AllInUse => f.write_str("all stacks of the pool are in use"),
            Self::NoMemory => f.write_str("the system gives no memory or no mapping for a stack"),
            Self::ClosureTooLarge => {
                f.write_str("the coroutine's closure does not fit twice on its stack")
            }
        }
    }
}

impl Error for StackError {}

/// Why a coroutine did not continue, or not to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResumeError {
    /// It has ended before: it returned, it panicked, or it overflowed its stack.
    Ended,
    /// It overflowed its stack and was cut off. It has ended.
    Overflow(Overflow),
    /// There is no memory for this thread's signal stack, without which an overflow could not be
    /// named. The coroutine is as it was.
    NoSignalStack,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the coroutine has ended"),
            Self::Overflow(overflow) => overflow.fmt(f),
            Self::NoSignalStack => f.write_str("there is no memory for this thread's signal stack"),
        }
    }
}

impl Error for ResumeError {}
