//! Signals for programs without a C library: handlers, masks, alternate stacks, and a child that
//! sends them.

use crate::arch::{self, CONTEXT, HANDLER_ENTRY, nr};
use crate::calls::{Calls, call};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Numbers of signals.
pub const SIGILL: usize = 4;
/// See above.
pub const SIGTRAP: usize = 5;
/// See above.
pub const SIGBUS: usize = 7;
/// See above.
pub const SIGFPE: usize = 8;
/// See above.
pub const SIGKILL: usize = 9;
/// See above.
pub const SIGUSR1: usize = 10;
/// See above.
pub const SIGSEGV: usize = 11;
/// See above.
pub const SIGUSR2: usize = 12;
/// See above.
pub const SIGCHLD: usize = 17;
/// See above.
pub const SIGCONT: usize = 18;
/// See above.
pub const SIGSTOP: usize = 19;
/// The first signal that is queued.
pub const SIGRTMIN: usize = 34;

/// Flags of an action.
pub const SA_NOCLDSTOP: usize = 1;
/// Children are not waited for.
pub const SA_NOCLDWAIT: usize = 2;
/// The handler gets three arguments.
pub const SA_SIGINFO: usize = 4;
/// The action has a restorer.
const SA_RESTORER: usize = 0x0400_0000;
/// The handler runs on the alternate stack.
pub const SA_ONSTACK: usize = 0x0800_0000;
/// Calls are made again.
pub const SA_RESTART: usize = 0x1000_0000;
/// The signal is not blocked in its handler.
pub const SA_NODEFER: usize = 0x4000_0000;
/// The handler runs once.
pub const SA_RESETHAND: usize = 0x8000_0000;

/// Errors.
pub const EINTR: isize = -4;
/// See above.
pub const EPERM: isize = -1;
/// See above.
pub const EAGAIN: isize = -11;
/// See above.
pub const ENOMEM: isize = -12;
/// See above.
pub const EINVAL: isize = -22;
/// See above.
pub const ECHILD: isize = -10;

/// States of an alternate stack.
pub const SS_ONSTACK: u32 = 1;
/// See above.
pub const SS_DISABLE: u32 = 2;
/// See above.
pub const SS_AUTODISARM: u32 = 1 << 31;

/// A signal handler with SA_SIGINFO: the signal, its `siginfo_t`, the `ucontext`.
pub type Handler = extern "C" fn(usize, usize, usize);

/// Numbers of the calls about signals, from the kernel itself.
#[derive(Debug)]
pub struct Numbers {
    /// rt_sigaction
    pub action: usize,
    /// rt_sigprocmask
    pub mask: usize,
    /// rt_sigpending
    pub pending: usize,
    /// rt_sigsuspend
    pub suspend: usize,
    /// rt_sigtimedwait with the machine's own times
    pub timed_wait: usize,
    /// rt_sigqueueinfo
    pub queue: usize,
    /// sigaltstack
    pub stack: usize,
    /// kill
    pub kill: usize,
    /// tgkill
    pub tgkill: usize,
    /// getpid
    pub getpid: usize,
    /// gettid
    pub gettid: usize,
}

impl Numbers {
    /// Asks the kernel.
    pub fn read() -> Option<Self> {
        let calls = Calls::read().ok()?;
        let numbers = Self {
            action: calls.number("rt_sigaction"),
            mask: calls.number("rt_sigprocmask"),
            pending: calls.number("rt_sigpending"),
            suspend: calls.number("rt_sigsuspend"),
            timed_wait: calls.number("rt_sigtimedwait"),
            queue: calls.number("rt_sigqueueinfo"),
            stack: calls.number("sigaltstack"),
            kill: calls.number("kill"),
            tgkill: calls.number("tgkill"),
            getpid: calls.number("getpid"),
            gettid: calls.number("gettid"),
        };
        let all = [
            numbers.action,
            numbers.mask,
            numbers.pending,
            numbers.suspend,
            numbers.timed_wait,
            numbers.queue,
            numbers.stack,
            numbers.kill,
            numbers.tgkill,
            numbers.getpid,
            numbers.gettid,
        ];
        all.iter().all(|&number| number != usize::MAX).then_some(numbers)
    }

    /// Has a handler run for a signal, at an address. `mask`: signals blocked meanwhile.
    fn set(&self, signal: usize, handler: usize, flags: usize, mask: u64) -> isize {
        let restorer =
            if flags & SA_SIGINFO == 0 { arch::plain_restorer() } else { arch::restorer() };
        let mask = mask.to_ne_bytes();
        let (mut words, mut at) = ([0_usize; 6], 0);
        let mut push = |word| {
            words[at] = word;
            at += 1;
        };
        push(handler);
        push(if restorer == 0 { flags } else { flags | SA_RESTORER });
        if HAS_RESTORER {
            push(restorer);
        }
        for word in mask.chunks(size_of::<usize>()) {
            let mut bytes = [0; size_of::<usize>()];
            bytes.copy_from_slice(word);
            push(usize::from_ne_bytes(bytes));
        }
        call(self.action, [signal, words.as_ptr().addr(), 0, SET_BYTES])
    }

    /// Has a handler run for a signal. `mask`: signals blocked meanwhile.
    pub fn handle(&self, signal: usize, handler: Handler, flags: usize, mask: u64) -> bool {
        let at = (handler as *const ()).expose_provenance();
        self.set(signal, at, flags | SA_SIGINFO, mask) == 0
    }

    /// The same for a handler without SA_SIGINFO, which gets the signal alone.
    pub fn handle_plainly(
        &self,
        signal: usize,
        handler: extern "C" fn(usize),
        flags: usize,
    ) -> bool {
        self.set(signal, (handler as *const ()).expose_provenance(), flags, 0) == 0
    }

    /// Has a handler run whose stack pointer at its first instruction is kept in [`HANDLER_ENTRY`].
    pub fn handle_from_entry(&self, signal: usize, handler: Handler, flags: usize) -> bool {
        HANDLER_ENTRY[1].store((handler as *const ()).expose_provenance(), Ordering::Relaxed);
        let at = (arch::handler_entry as *const ()).expose_provenance();
        self.set(signal, at, flags | SA_SIGINFO, 0) == 0
    }

    /// Gives a signal its default action (0) or ignores it (1).
    pub fn let_be(&self, signal: usize, what: usize) -> bool {
        self.set(signal, what, 0, 0) == 0
    }

    /// The address of the handler of a signal.
    pub fn handler_of(&self, signal: usize) -> usize {
        let mut words = [0_usize; 8];
        call(self.action, [signal, 0, words.as_mut_ptr().addr(), SET_BYTES]);
        words[0]
    }

    /// Sets the mask; what it was.
    pub fn set_mask(&self, mask: u64) -> u64 {
        let mut before = 0_u64;
        call(self.mask, [SET, (&raw const mask).addr(), (&raw mut before).addr(), SET_BYTES]);
        before
    }

    /// The mask.
    pub fn mask_now(&self) -> u64 {
        let mut now = 0_u64;
        call(self.mask, [SET, 0, (&raw mut now).addr(), SET_BYTES]);
        now
    }

    /// The signals that are pending and blocked.
    pub fn pending_now(&self) -> u64 {
        let mut now = 0_u64;
        call(self.pending, [(&raw mut now).addr(), SET_BYTES]);
        now
    }

    /// Sets the alternate stack.
    pub fn set_stack(&self, lowest: usize, bytes: usize, flags: u32) -> isize {
        let words = [lowest, flags as usize, bytes];
        call(self.stack, [words.as_ptr().addr(), 0])
    }

    /// Lowest address, flags, size of the alternate stack.
    pub fn stack_now(&self) -> (usize, u32, usize) {
        let mut words = [0_usize; 3];
        call(self.stack, [0, words.as_mut_ptr().addr()]);
        (words[0], words[1] as u32, words[2])
    }

    /// Sends a signal to the calling thread.
    pub fn raise(&self, signal: usize) -> isize {
        let (process, thread) = (call(self.getpid, [0; 0]), call(self.gettid, [0; 0]));
        call(self.tgkill, [process as usize, thread as usize, signal])
    }

    /// Sends a signal to the calling process, with a value, as sigqueue(3) does.
    pub fn queue_to_self(&self, signal: usize, value: usize) -> isize {
        const SI_QUEUE: i32 = -1;
        let mut info = [0_u8; INFO_BYTES];
        info[8..12].copy_from_slice(&SI_QUEUE.to_ne_bytes());
        info[VALUE..VALUE + size_of::<usize>()].copy_from_slice(&value.to_ne_bytes());
        let process = call(self.getpid, [0; 0]) as usize;
        call(self.queue, [process, signal, info.as_ptr().addr()])
    }
}

/// Bytes of a set of signals for the kernel.
pub const SET_BYTES: usize = 8;
const SET: usize = 2;
/// Whether `struct sigaction` has a restorer on this machine. By `asm-generic/signal.h`, only a
/// machine that defines SA_RESTORER; riscv64 alone does not.
const HAS_RESTORER: bool = arch::HAS_RESTORER;

/// Bytes of `siginfo_t`.
pub const INFO_BYTES: usize = 128;
const WORD: usize = size_of::<usize>();
/// Where the fields of a `siginfo_t` begin.
const FIELDS: usize = if WORD == 8 { 16 } else { 12 };
/// Where the value of a queued signal lies: behind process and user.
pub const VALUE: usize = FIELDS + 8;

/// A signal as a bit of a set.
pub const fn bit(signal: usize) -> u64 {
    1 << (signal - 1)
}

/// A number of 32 bits in a structure at an address.
pub fn u32_at(at: usize) -> u32 {
    // SAFETY: (1) callers pass addresses in structures that the kernel gave them.
    unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_volatile() }
}

/// A word in a structure at an address.
pub fn word_at(at: usize) -> usize {
    // SAFETY: (1) as above.
    unsafe { core::ptr::with_exposed_provenance::<usize>(at).read_volatile() }
}

/// Changes a word in a structure at an address.
pub fn set_word_at(at: usize, to: usize) {
    // SAFETY: (1) as above, and nothing else uses it.
    unsafe { core::ptr::with_exposed_provenance_mut::<usize>(at).write_volatile(to) };
}

/// `si_code`.
pub fn code_of(info: usize) -> i32 {
    u32_at(info + 8) as i32
}

/// `si_pid`.
pub fn sender_of(info: usize) -> usize {
    u32_at(info + FIELDS) as usize
}

/// `si_addr`.
pub fn address_of(info: usize) -> usize {
    word_at(info + FIELDS)
}

/// `si_value`.
pub fn value_of(info: usize) -> usize {
    word_at(info + VALUE)
}

/// The instruction that was interrupted.
pub fn pc_of(context: usize) -> usize {
    word_at(context + CONTEXT.pc)
}

/// The stack pointer that was interrupted.
pub fn sp_of(context: usize) -> usize {
    word_at(context + CONTEXT.sp)
}

/// A counter that handlers change and programs wait for.
#[derive(Debug)]
pub struct Counter(AtomicUsize);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// One more; the count before.
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// The count.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Another count.
    pub fn set(&self, to: usize) {
        self.0.store(to, Ordering::SeqCst);
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers where handlers find them.
#[derive(Debug)]
pub struct Shared(UnsafeCell<Option<Numbers>>);

// SAFETY: (1) it is written once, before there is a handler or another thread.
unsafe impl Sync for Shared {}

impl Shared {
    /// None yet.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Keeps them. Once, before there is a handler or another thread.
    pub fn keep(&'static self, numbers: Numbers) -> &'static Numbers {
        // SAFETY: (1) nothing refers to them yet.
        unsafe { *self.0.get() = Some(numbers) };
        self.get()
    }

    /// Those that were kept.
    pub fn get(&'static self) -> &'static Numbers {
        // SAFETY: (1) nothing writes any more.
        unsafe { (*self.0.get()).as_ref().expect("numbers are kept before there are handlers") }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends the calling thread.
pub fn exit_thread() -> ! {
    loop {
        call(nr::EXIT, [0]);
    }
}
