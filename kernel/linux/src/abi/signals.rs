//! Signals: their numbers, sets of them, and what is told with one (`siginfo_t`). Numbers and
//! `siginfo_t` are the same on every machine here but for the width of a word.

use alloc::sync::Arc;
use machine::memory::fallible::{self, NoMemory};

/// A signal's number, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl Signal {
            $(pub const $name: Self = Self($number);)*
        }
    };
}

signals! {
    HUP = 1, INT = 2, QUIT = 3, ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, USR1 = 10, SEGV = 11, USR2 = 12, PIPE = 13,
    ALRM = 14, TERM = 15, STKFLT = 16, CHLD = 17, CONT = 18, STOP = 19, TSTP = 20, TTIN = 21, TTOU = 22, URG = 23, XCPU = 24,
    XFSZ = 25, VTALRM = 26, PROF = 27, WINCH = 28, IO = 29, PWR = 30, SYS = 31,
}

/// What a signal does to a process that said nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Ends it.
    End,
    /// Ends it, and a core would be written: the wait status says so.
    Core,
    /// Stops it.
    Stop,
    /// Nothing but what the sending of SIGCONT does.
    Continue,
}

impl Signal {
    /// The highest number.
    pub const MAX: u8 = 64;
    /// The first real-time signal: these and those after it are queued, each with its own value.
    const FIRST_REAL_TIME: u8 = 32;

    /// The signal with a number that a program gave.
    pub fn new(number: u64) -> Option<Self> {
        (1..=u64::from(Self::MAX)).contains(&number).then_some(Self(number as u8))
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// As an exit signal in a wait status.
    pub const fn status(self) -> i32 {
        self.0 as i32
    }

    pub const fn is_real_time(self) -> bool {
        self.0 >= Self::FIRST_REAL_TIME
    }

    /// One of the two that can be neither caught, blocked nor ignored.
    pub const fn is_unblockable(self) -> bool {
        self.0 == Self::KILL.0 || self.0 == Self::STOP.0
    }

    /// What it does if nothing was said of it (signal(7)).
    pub const fn default(self) -> DefaultAction {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => DefaultAction::Ignore,
            Self::CONT => DefaultAction::Continue,
            Self::STOP | Self::TSTP | Self::TTIN | Self::TTOU => DefaultAction::Stop,
            Self::QUIT
            | Self::ILL
            | Self::TRAP
            | Self::ABRT
            | Self::BUS
            | Self::FPE
            | Self::SEGV
            | Self::XCPU
            | Self::XFSZ
            | Self::SYS => DefaultAction::Core,
            _ => DefaultAction::End,
        }
    }
}

/// A set of signals: bit `n - 1` is signal `n`, as in `sigset_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    pub const EMPTY: Self = Self(0);
    pub const ALL: Self = Self(u64::MAX);
    /// Those that stop a process by default.
    pub const STOPPING: Self = Self::of(&[Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU]);
    /// Those that can be neither caught, blocked nor ignored.
    pub const UNBLOCKABLE: Self = Self::of(&[Signal::KILL, Signal::STOP]);
    /// Those that an instruction causes: delivered before others.
    pub const SYNCHRONOUS: Self =
        Self::of(&[Signal::SEGV, Signal::BUS, Signal::ILL, Signal::TRAP, Signal::FPE, Signal::SYS]);

    pub const fn of(signals: &[Signal]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < signals.len() {
            bits |= 1 << (signals[at].0 - 1);
            at += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, signal: Signal) -> bool {
        self.0 >> (signal.0 - 1) & 1 != 0
    }

    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.0 - 1))
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one with the lowest number.
    pub const fn lowest(self) -> Option<Signal> {
        if self.0 == 0 { None } else { Some(Signal(self.0.trailing_zeros() as u8 + 1)) }
    }
}

/// Codes of `siginfo_t` (sigaction(2)).
pub mod code {
    pub const USER: i32 = 0;
    pub const KERNEL: i32 = 0x80;
    pub const QUEUE: i32 = -1;
    pub const TIMER: i32 = -2;
    pub const MESSAGE: i32 = -3;
    pub const TKILL: i32 = -6;
    pub const CHILD_EXITED: i32 = 1;
    pub const CHILD_KILLED: i32 = 2;
    pub const CHILD_DUMPED: i32 = 3;
    pub const CHILD_TRAPPED: i32 = 4;
    pub const CHILD_STOPPED: i32 = 5;
    pub const CHILD_CONTINUED: i32 = 6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    /// A return to another address than the shadow stack has.
    pub const SEGV_CPERR: i32 = 10;
    pub const BUS_ALIGNMENT: i32 = 1;
    pub const BUS_ADDRESS: i32 = 2;
    pub const ILLEGAL_OPCODE: i32 = 1;
    pub const ILLEGAL_OPERAND: i32 = 2;
    pub const FPE_DIVIDE: i32 = 1;
    pub const FPE_FLOAT_DIVIDE: i32 = 3;
    pub const FPE_FLOAT_OVERFLOW: i32 = 4;
    pub const FPE_FLOAT_UNDERFLOW: i32 = 5;
    pub const FPE_FLOAT_INEXACT: i32 = 6;
    pub const FPE_FLOAT_INVALID: i32 = 7;
    pub const FPE_UNKNOWN: i32 = 14;
    pub const TRAP_BREAKPOINT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const TRAP_HARDWARE: i32 = 4;
}

/// The bit of a wait status that says that a core file was written.
pub const CORE_WRITTEN: i32 = 0x80;

/// What the wait status of one that has ended says, as `siginfo_t` has it: the code, and the exit
/// code or the signal.
pub const fn how_ended(status: i32) -> (i32, i32) {
    match status & 0x7f {
        0 => (code::CHILD_EXITED, status >> 8 & 0xff),
        signal if status & CORE_WRITTEN != 0 => (code::CHILD_DUMPED, signal),
        signal => (code::CHILD_KILLED, signal),
    }
}

/// Bytes of `siginfo_t`.
pub const INFO_BYTES: usize = 128;
/// Where the fields begin in it, behind three numbers: aligned to a word.
pub const FIRST_FIELD: usize = 12_usize.next_multiple_of(size_of::<usize>());
/// Bytes of `struct signalfd_siginfo`.
pub const READ_BYTES: usize = 128;

/// What is told with a signal. Moved often: what is long of it lies apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub signal: Signal,
    pub code: i32,
    pub fields: Fields,
}

/// The part of `siginfo_t` that depends on where the signal comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// A process sent it: number and user.
    Sender { process: u32, user: u32 },
    /// The same, with a value (sigqueue, mq, timers with a process).
    Value { process: u32, user: u32, value: u64 },
    /// A timer: its number, which setting of it this is of, how many expirations were left out, its
    /// value.
    Timer { timer: i32, setting: u32, overruns: i32, value: u64 },
    /// A child changed: its number, user, exit code or signal, CPU time in clock ticks.
    Child { process: u32, user: u32, status: i32, user_time: u64, system_time: u64 },
    /// An instruction: the address.
    Fault { address: u64 },
    /// A file became ready.
    Poll { band: i64, descriptor: i32 },
    /// A system call that is not allowed: where, which, of which machine.
    Call { address: u64, number: i32, machine: u32, reason: u32 },
    /// As a program gave it to rt_sigqueueinfo: the second number, the first two of the fields, at
    /// [`FIRST_FIELD`], and all bytes behind the third number.
    Raw { errno: u32, first: [u32; 2], rest: Arc<[u8; INFO_BYTES - 12]> },
}

impl Info {
    /// From the kernel.
    pub const fn kernel(signal: Signal) -> Self {
        Self { signal, code: code::KERNEL, fields: Fields::Sender { process: 0, user: 0 } }
    }

    /// From an instruction.
    pub const fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self { signal, code, fields: Fields::Fault { address } }
    }

    /// Who sent it, where that is told: changes process and user.
    pub fn change_sender(&mut self, change: impl FnOnce([u32; 2]) -> [u32; 2]) {
        /// `SI_SIGIO`.
        const INPUT: i32 = -5;
        match &mut self.fields {
            Fields::Sender { process, user }
            | Fields::Value { process, user, .. }
            | Fields::Child { process, user, .. } => {
                [*process, *user] = change([*process, *user]);
            }
            // Of the layouts that `siginfo_layout` knows, those of kill(2) and sigqueue(3).
            Fields::Raw { first, .. }
                if self.code <= code::USER && ![code::TIMER, INPUT].contains(&self.code) =>
            {
                *first = change(*first);
            }
            _ => {}
        }
    }

    /// The code that a program gave to rt_sigqueueinfo.
    pub fn code_in(bytes: &[u8; INFO_BYTES]) -> i32 {
        let mut code = [0; 4];
        code.copy_from_slice(&bytes[8..12]);
        i32::from_le_bytes(code)
    }

    /// What a program gave to rt_sigqueueinfo: only the number of the signal is another one.
    pub fn decode(signal: Signal, bytes: &[u8; INFO_BYTES]) -> Result<Self, NoMemory> {
        let mut errno = [0; 4];
        errno.copy_from_slice(&bytes[4..8]);
        let mut rest = [0; INFO_BYTES - 12];
        rest.copy_from_slice(&bytes[12..]);
        let first = [0, 4].map(|at| {
            let bytes = bytes[FIRST_FIELD + at..].first_chunk().copied();
            bytes.map_or(0, u32::from_le_bytes)
        });
        let rest = fallible::shared(rest)?;
        let fields = Fields::Raw { errno: u32::from_le_bytes(errno), first, rest };
        Ok(Self { signal, code: Self::code_in(bytes), fields })
    }
}

/// What the processor said of a program's last fault, as its `sigcontext` keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trap {
    /// The number of the exception, on machines that have one there.
    pub number: u64,
    /// What the processor says of it: the error code, the syndrome, the status.
    pub error: u64,
    /// The address of a page fault.
    pub address: u64,
}
