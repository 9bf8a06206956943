//! Error numbers, as a program sees them in the result of a system call.
//!
//! One newtype for the whole of `process`: every fallible path that ends at a system call speaks in
//! [`Errno`], so that the number is chosen where the reason is known. The values are those all five
//! architectures share.

use core::fmt;
use machine::memory::fallible::NoMemory;
use threads::sched::Interrupted;

/// A Linux error number; a system call returns its negation. As wide as what a call returns: so a
/// result goes back in registers, and not through memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(u64);

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
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EBADF = 9, ECHILD = 10, EAGAIN = 11,
    ENOMEM = 12, EACCES = 13, EFAULT = 14, EBUSY = 16, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22,
    ENFILE = 23, EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, EFBIG = 27, ENOSPC = 28, ESPIPE = 29, EROFS = 30, EMLINK = 31, EPIPE = 32,
    EDOM = 33, ERANGE = 34, EDEADLK = 35, ENAMETOOLONG = 36, ENOLCK = 37, ENOSYS = 38, ENOTEMPTY = 39, ELOOP = 40, ENOMSG = 42, EIDRM = 43, ENODATA = 61,
    EOVERFLOW = 75, ELIBBAD = 80, EUSERS = 87, ENOTSOCK = 88, EDESTADDRREQ = 89, EMSGSIZE = 90, EPROTOTYPE = 91, ENOPROTOOPT = 92, EPROTONOSUPPORT = 93,
    ESOCKTNOSUPPORT = 94, EOPNOTSUPP = 95, EAFNOSUPPORT = 97, EADDRINUSE = 98, EADDRNOTAVAIL = 99, ECONNRESET = 104, ENOBUFS = 105,
    EISCONN = 106, ENOTCONN = 107, ETIMEDOUT = 110, ECONNREFUSED = 111, EALREADY = 114, EINPROGRESS = 115, ECANCELED = 125,
    EOWNERDEAD = 130, ENOTRECOVERABLE = 131,
    // Never seen by a program: what a call that a signal cut short asks for
    // (include/linux/errno.h).
    ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516,
}

impl Errno {
    /// Whether it asks for the call to be made again, or to end with `EINTR`, as the signal decides
    /// that cut it short.
    pub const fn is_restart(self) -> bool {
        self.0 >= Self::ERESTARTSYS.0
    }
}

impl From<Interrupted> for Errno {
    fn from(_: Interrupted) -> Self {
        Self::ERESTARTSYS
    }
}

impl Errno {
    /// The number.
    pub(crate) const fn number(self) -> u16 {
        self.0 as u16
    }

    /// The error with a number that [`Errno::number`] gave; 0 is none.
    pub(crate) const fn of_number(number: u16) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number as u64)) }
    }

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
