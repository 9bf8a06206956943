//! What is known of calls that another process answers: which there are, and how far each is. How
//! they are answered is in `supervision`.
//!
//! # Invariant
//!
//! A call is in the list from before its thread sleeps until that thread takes it out: no other
//! does. What is answered stays so.

use crate::error::Errno;
use crate::files::open::Files;
use crate::files::readiness::Readiness;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::Thread;

/// Bytes of `struct seccomp_data`.
pub(crate) const DATA_BYTES: usize = 64;

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// It is made.
    Made,
    /// It is not made, and returns this.
    Returns(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Waiting,
    Told,
    Answered(Answer),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) thread: Arc<Thread>,
    pub(super) files: Arc<SpinLock<Files>>,
    pub(super) data: [u8; DATA_BYTES],
    pub(super) at: At,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) calls: Vec<Call>,
    pub(super) next: u64,
    /// The file has no users any more.
    pub(super) is_closed: bool,
    /// No thread has the filter any more.
    pub(super) is_unused: bool,
}

impl State {
    /// The call that a supervisor names, which it was told of and has not answered.
    pub(super) fn told(&mut self, id: u64) -> Result<&mut Call, Errno> {
        let call = self.calls.iter_mut().find(|call| call.id == id).ok_or(Errno::ENOENT)?;
        match call.at {
            At::Told => Ok(call),
            _ => Err(Errno::EINPROGRESS),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) state: SpinLock<State>,
    pub(super) readiness: Readiness,
    /// Signals end no call that a supervisor was told of.
    pub(super) sleeps_on: bool,
}

impl Listener {
    pub(crate) fn new(sleeps_on: bool) -> Result<Arc<Self>, Errno> {
        let state = State { calls: Vec::new(), next: 1, is_closed: false, is_unused: false };
        let state = SpinLock::new(state);
        Ok(fallible::shared(Self { state, readiness: Readiness::new(), sleeps_on })?)
    }

    /// No thread has the filter any more.
    fn is_left(&self) {
        self.state.lock().is_unused = true;
        self.readiness.wake();
    }

    /// No file is left where an answer could come from.
    pub(super) fn close(&self) {
        {
            let mut state = self.state.lock();
            state.is_closed = true;
            for call in &mut state.calls {
                if !matches!(call.at, At::Answered(_)) {
                    call.at = At::Answered(Answer::Returns(Errno::ENOSYS.as_result()));
                }
            }
        }
        self.readiness.wake();
    }
}

/// A filter's part in a listener.
#[derive(Debug)]
pub(crate) struct Heard(pub(super) Arc<Listener>);

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.is_left();
    }
}
