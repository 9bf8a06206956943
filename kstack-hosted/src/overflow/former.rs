//! The handlers that were there before ours, and how a fault gets to them.

use core::mem::{MaybeUninit, transmute};
use core::ptr::null_mut;
use libc::{c_int, c_void, sigaction, siginfo_t};
use std::cell::UnsafeCell;

/// What was there for a signal.
pub(super) struct Former {
    signal: c_int,
    action: UnsafeCell<MaybeUninit<sigaction>>,
}

// SAFETY: (1) `replace` writes it once, before the handler that reads it is there for the signal.
unsafe impl Sync for Former {}

impl Former {
    pub(super) const fn new(signal: c_int) -> Self {
        Self { signal, action: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    pub(super) const fn signal(&self) -> c_int {
        self.signal
    }

    /// Puts a handler in its place, on the signal stack. What the former one kept blocked stays
    /// blocked.
    ///
    /// # Safety
    ///
    /// 1. Called once.
    /// 2. `handler` may be called with any fault.
    pub(super) unsafe fn replace(
        &self,
        handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
    ) {
        // SAFETY: (1) the caller's promise: nothing reads it yet; (2) `sigaction` fills it in, as
        // the signal exists.
        unsafe {
            let former = (*self.action.get()).as_mut_ptr();
            sigaction(self.signal, null_mut(), former);
            let mut ours = *former;
            ours.sa_sigaction = handler as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            sigaction(self.signal, &raw const ours, null_mut());
        }
    }

    /// Does with a signal what would have been done without us.
    ///
    /// # Safety
    ///
    /// 1. The arguments are those of the handler under way, which returns at once afterwards.
    pub(super) unsafe fn pass_on(&self, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: (1) `replace` has filled it in before this handler was there.
        let former = unsafe { (*self.action.get()).assume_init() };
        // SAFETY: (1) the caller's promise.
        let is_fault = unsafe { (*info).si_code } > 0;
        match former.sa_sigaction {
            libc::SIG_IGN if !is_fault => {}
            // A fault cannot be ignored. The instruction faults again, and the process dies of it;
            // a signal that was sent is sent again.
            libc::SIG_DFL | libc::SIG_IGN => self.reset(is_fault),
            function => {
                if former.sa_flags & libc::SA_RESETHAND != 0 {
                    self.reset(true);
                }
                // SAFETY: (1) a handler of the kind that its flags say, called as the system would.
                unsafe {
                    if former.sa_flags & libc::SA_SIGINFO != 0 {
                        let function: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                            transmute(function);
                        function(self.signal, info, context);
                    } else {
                        let function: extern "C" fn(c_int) = transmute(function);
                        function(self.signal);
                    }
                }
            }
        }
    }

    /// The default action from now on.
    fn reset(&self, happens_again: bool) {
        // SAFETY: (1) all zeroes are the default action, no flags, no signals blocked; (2) usable
        // in a handler.
        unsafe {
            let default: sigaction = core::mem::zeroed();
            sigaction(self.signal, &raw const default, null_mut());
            if !happens_again {
                // Blocked until the handler returns.
                libc::raise(self.signal);
            }
        }
    }
}
