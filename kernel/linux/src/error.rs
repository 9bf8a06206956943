//! Error numbers, as a program sees them in the result of a system call.
//!
//! One newtype for the whole of `process`: every fallible path that ends at a system call speaks in [`Errno`], so
//! that the number is chosen where the reason is known. The values are those all five architectures share.

use core::fmt;
use machine::memory::fallible::NoMemory;

/// A Linux error number; a system call returns its negation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident = $value:literal),* $(,)?) => {
        impl Errno {
            $(pub const $name: Self = Self($value);)*

            /// The symbolic name, for messages.
            pub const fn name(self) -> &'static str {
                match self.0 { $($value => stringify!($name),)* _ => "unnamed error" }
            }
        }
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, E2BIG = 7, ENOEXEC = 8, EBADF = 9,
    ECHILD = 10, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, EEXIST = 17, ENODEV = 19,
    ENOTDIR = 20, EISDIR = 21, EINVAL = 22, ENFILE = 23, EMFILE = 24, ENOTTY = 25, EFBIG = 27, ENOSPC = 28,
    ESPIPE = 29, EROFS = 30, EPIPE = 32, ERANGE = 34, ENAMETOOLONG = 36, ENOSYS = 38,
    ENOTEMPTY = 39, ELOOP = 40, ETIMEDOUT = 110,
}

impl Errno {
    /// The value a system call leaves in its result register.
    pub const fn as_result(self) -> u64 {
        (self.0 as i64).wrapping_neg() as u64
    }
}

impl From<NoMemory> for Errno {
    fn from(_: NoMemory) -> Self {
        Self::ENOMEM
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a system call gives back: a value for the result register, or an error number.
pub type SysResult = Result<u64, Errno>;
