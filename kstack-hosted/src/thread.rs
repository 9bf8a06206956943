//! What a thread that runs coroutines has: the end of their chain, a signal stack, and a place for
//! a report.
//!
//! Functions here that use thread-local values are not inlined: their callers may be on another
//! thread after a switch.

use crate::arch;
use crate::control::Control;
use crate::report::{Overflow, Place};
use core::ptr::{null, null_mut};
use kstack_core::addr::{Addr, AddrRange, PAGE_BYTES};
use std::cell::Cell;

/// The signal stack's size, without what the kernel's own frame of a signal takes: the report is
/// made on it.
const SIGNAL_STACK: usize = 32 * 1024;

/// One per thread that has run a coroutine, until the thread ends.
pub(crate) struct Thread {
    /// The end of every chain of coroutines on this thread.
    root: Control,
    /// Where this thread's reports are made.
    pub(crate) place: Place,
    signal_stack: Option<Mapping>,
}

thread_local! {
    static THREAD: Cell<*mut Thread> = const { Cell::new(null_mut()) };
    /// Ends with the thread.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        arch::set_current(null_mut());
        let thread = THREAD.replace(null_mut());
        if !thread.is_null() {
            // SAFETY: (1) `set_up` made it from a box; (2) neither this thread nor its handler of
            // signals knows it any more.
            drop(unsafe { Box::from_raw(thread) });
        }
    }
}

/// This thread's place for reports; null if it is not set up. Usable in a handler of signals.
#[inline(never)]
pub(crate) fn place() -> *mut Place {
    let thread = THREAD.get();
    if thread.is_null() {
        return null_mut();
    }
    // SAFETY: (1) it lasts until the thread ends; (2) only this thread uses it, see `Place`.
    unsafe { &raw mut (*thread).place }
}

/// The report that the handler has made on this thread a moment ago.
#[inline(never)]
pub(crate) fn overflow() -> Overflow {
    // SAFETY: (1) a coroutine has run on this thread, so there is a place; the handler made the
    // report before it cut the coroutine off, which is the only way to get here.
    unsafe { Overflow::taken_from(place()) }
}

/// Makes this thread one that can run coroutines. `None` without memory.
#[cold]
#[inline(never)]
pub(crate) fn set_up() -> Option<*mut Control> {
    let signal_stack = if has_signal_stack() { None } else { Some(Mapping::new()?) };
    let thread = Box::into_raw(Box::new(Thread {
        root: Control {
            parent: null_mut(),
            entry: 0,
            id: 0,
            range: own_stack(),
            pool: None,
            unwinds: false,
            padding: 0,
            link: 0,
            code: 0,
        },
        place: Place::new(),
        signal_stack,
    }));
    THREAD.set(thread);
    // SAFETY: (1) made above; it lasts until the thread ends.
    let root = unsafe {
        if let Some(stack) = &(*thread).signal_stack {
            stack.use_for_signals();
        }
        &raw mut (*thread).root
    };
    arch::set_current(root);
    // Registers the end. A coroutine that runs after it, in the destructor of another thread-local
    // value, sets all up again, for what little is left of the thread: that is lost.
    let _late = END.try_with(|_| ());
    Some(root)
}

/// Where this thread's own stack lies. Empty if the system does not say.
fn own_stack() -> AddrRange {
    // SAFETY: (1) all zeroes is a value of this type for C; (2) it is initialised before it is
    // read, and destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = core::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return AddrRange::EMPTY;
        }
        let (mut lowest, mut size) = (null_mut(), 0);
        let known =
            libc::pthread_attr_getstack(&raw const attributes, &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        if known != 0 {
            return AddrRange::EMPTY;
        }
        let lowest = Addr::new(lowest as usize);
        AddrRange { lowest, top: Addr::new(lowest.get() + size) }
    }
}

/// What a signal stack must have.
fn signal_stack_size() -> usize {
    // SAFETY: (1) reads a word that the kernel has passed to the process. Unknown: 0.
    let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    (SIGNAL_STACK + frame.max(libc::MINSIGSTKSZ)).next_multiple_of(PAGE_BYTES)
}

/// The signal stack that this thread has now.
fn present_signal_stack() -> libc::stack_t {
    let mut present = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: (1) asks only.
    unsafe { libc::sigaltstack(null(), &raw mut present) };
    present
}

/// Whether the thread has one that is large enough, made here or elsewhere.
fn has_signal_stack() -> bool {
    let present = present_signal_stack();
    present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= signal_stack_size()
}

/// A signal stack with a guard below.
struct Mapping {
    at: *mut libc::c_void,
    size: usize,
}

impl Mapping {
    fn new() -> Option<Self> {
        let size = PAGE_BYTES + signal_stack_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: (1) a new mapping, where the system likes; (2) its lowest page is its own.
        unsafe {
            let at = libc::mmap(null_mut(), size, rights, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return None;
            }
            let mapping = Self { at, size };
            (libc::mprotect(at, PAGE_BYTES, libc::PROT_NONE) == 0).then_some(mapping)
        }
    }

    /// Replaces the one that the thread has: the standard library's is too small for a report. Its
    /// owner takes it away by its address, whatever is in use.
    fn use_for_signals(&self) {
        let stack = libc::stack_t {
            ss_sp: self.at.wrapping_byte_add(PAGE_BYTES),
            ss_flags: 0,
            ss_size: self.size - PAGE_BYTES,
        };
        // SAFETY: (1) the mapping is this thread's and stays until `drop`, which ends its use
        // first.
        unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let present = present_signal_stack();
        if present.ss_sp == self.at.wrapping_byte_add(PAGE_BYTES) {
            if present.ss_flags & libc::SS_ONSTACK != 0 {
                // A handler on it ends the process by `exit`, which ends the thread's values first.
                return;
            }
            let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            // SAFETY: (1) the one in use is ours, and no signal is being handled on it.
            unsafe { libc::sigaltstack(&raw const none, null_mut()) };
        }
        // SAFETY: (1) made by `new`; (2) the thread uses it no more.
        unsafe { libc::munmap(self.at, self.size) };
    }
}
