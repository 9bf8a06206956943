//! Calls that a filter leaves to another program (seccomp_unotify(2)): what the threads that make
//! them and the supervisor, which has the filter's listener as a file, tell one another.
//!
//! ```text
//!   the thread                            the supervisor, by requests of its file
//!   makes a call ──> Waits ──receive──> Told ──answer──> Answered ──> has that result
//!      sleeps          ^                 │ │
//!                      └── not taken ────┘ └ gives a descriptor, which the thread takes itself
//! ```
//!
//! | who sleeps | where | for |
//! | --- | --- | --- |
//! | a thread that made a call | `callers` | an answer, a descriptor |
//! | a supervisor that has given a descriptor | `callers` | what became of it |
//! | a supervisor that receives, or polls | `readiness` | a call |
//!
//! Invariant: a call is in the list while its thread is in [`Listener::ask`], and no longer. A
//! listener whose file is gone has answered all of them, with ENOSYS, and takes no more.

use crate::error::Errno;
use crate::files::object::Object;
use crate::files::open::OpenFile;
use crate::files::readiness::{Readiness, event};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::WaitQueue;

/// Bytes of `struct seccomp_data`.
pub(crate) const DATA_BYTES: usize = 64;
/// Bytes of `struct seccomp_notif`: number 0, thread 8, flags 12, what the filter saw 16.
pub(crate) const NOTICE_BYTES: usize = 16 + DATA_BYTES;
/// Bytes of `struct seccomp_notif_resp`: number 0, value 8, error 16, flags 20.
pub(crate) const ANSWER_BYTES: usize = 24;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is made.
    Made,
    /// It is not, and returns this.
    Returns(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Told,
    Answered(Answer),
}

/// A call that the supervisor is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) id: u64,
    /// The number of its thread, as the kernel has it.
    pub(crate) thread: u64,
    pub(crate) data: [u8; DATA_BYTES],
}

/// A descriptor for a thread that waits.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) file: Arc<OpenFile>,
    /// The number that it gets, whatever that led to; `None`: the lowest one that is free.
    pub(crate) number: Option<u64>,
    pub(crate) close_on_exec: bool,
    /// The number is the answer.
    pub(crate) is_answer: bool,
    outcome: SpinLock<Option<Result<u64, Errno>>>,
}

impl Given {
    pub(crate) fn new(
        file: Arc<OpenFile>,
        number: Option<u64>,
        close_on_exec: bool,
        is_answer: bool,
    ) -> Result<Arc<Self>, Errno> {
        let outcome = SpinLock::new(None);
        Ok(fallible::shared(Self { file, number, close_on_exec, is_answer, outcome })?)
    }

    fn outcome(&self) -> Option<Result<u64, Errno>> {
        *self.outcome.lock()
    }
}

#[derive(Debug)]
struct Entry {
    call: Call,
    state: State,
    given: Vec<Arc<Given>>,
}

#[derive(Debug, Default)]
struct Calls {
    /// In the order in which they came.
    list: Vec<Entry>,
    next_id: u64,
    /// No supervisor is left.
    is_closed: bool,
    /// No thread has the filter any more.
    is_left: bool,
}

impl Calls {
    fn find(&mut self, id: u64) -> Option<&mut Entry> {
        self.list.iter_mut().find(|entry| entry.call.id == id)
    }

    /// A call that its supervisor knows of and has not answered.
    fn told(&mut self, id: u64) -> Result<&mut Entry, Errno> {
        let entry = self.find(id).ok_or(Errno::ENOENT)?;
        if entry.state == State::Told { Ok(entry) } else { Err(Errno::EINPROGRESS) }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Listener {
    calls: SpinLock<Calls>,
    callers: WaitQueue,
    readiness: Readiness,
    /// Once the supervisor knows of a call, only death cuts it short.
    is_patient: bool,
}

impl Listener {
    /// `first_id`: a number that no program foresees.
    pub(super) fn new(first_id: u64, is_patient: bool) -> Result<Arc<Self>, Errno> {
        let calls = SpinLock::new(Calls { next_id: first_id, ..Calls::default() });
        let (callers, readiness) = (WaitQueue::new(), Readiness::new());
        Ok(fallible::shared(Self { calls, callers, readiness, is_patient })?)
    }

    /// The calling thread makes a call: what becomes of it. `take` puts a descriptor among the
    /// thread's.
    pub(super) fn ask(
        &self,
        thread: u64,
        data: [u8; DATA_BYTES],
        take: &dyn Fn(&Given) -> Result<u64, Errno>,
    ) -> Result<Answer, Errno> {
        let id = {
            let mut calls = self.calls.lock();
            if calls.is_closed {
                return Err(Errno::ENOSYS);
            }
            let id = calls.next_id;
            let call = Call { id, thread, data };
            let entry = Entry { call, state: State::Waits, given: Vec::new() };
            fallible::push(&mut calls.list, entry)?;
            calls.next_id = id.wrapping_add(1);
            id
        };
        self.readiness.wake();
        let answer = self.wait_for_answer(id, take);
        let entry = {
            let mut calls = self.calls.lock();
            let place = calls.list.iter().position(|entry| entry.call.id == id);
            place.map(|place| calls.list.remove(place))
        };
        // No thread is there any more that could take them.
        let given = entry.map_or(Vec::new(), |entry| entry.given);
        given.iter().for_each(|given| *given.outcome.lock() = Some(Err(Errno::ESRCH)));
        self.callers.wake_all();
        answer
    }

    fn wait_for_answer(
        &self,
        id: u64,
        take: &dyn Fn(&Given) -> Result<u64, Errno>,
    ) -> Result<Answer, Errno> {
        let is_told =
            |calls: &mut Calls| calls.find(id).is_some_and(|entry| entry.state == State::Told);
        loop {
            let is_patient = self.is_patient && is_told(&mut self.calls.lock());
            let has_news = || {
                let mut calls = self.calls.lock();
                let has_changed = self.is_patient && !is_patient && is_told(&mut calls);
                has_changed
                    || calls.find(id).is_none_or(|entry| {
                        !entry.given.is_empty() || matches!(entry.state, State::Answered(_))
                    })
            };
            let waited = if is_patient {
                self.callers.wait_unless_killed(has_news)
            } else {
                self.callers.wait_until(has_news)
            };
            if let Err(interrupted) = waited {
                // What cuts it short now does not if it is told meanwhile.
                if !is_patient && self.is_patient && is_told(&mut self.calls.lock()) {
                    continue;
                }
                return Err(interrupted.into());
            }
            let given = {
                let mut calls = self.calls.lock();
                let entry = calls.find(id).ok_or(Errno::ENOSYS)?;
                if entry.given.is_empty() { None } else { Some(entry.given.remove(0)) }
            };
            if let Some(given) = given {
                let outcome = take(&given);
                self.note_outcome(id, &given, outcome);
            }
            let mut calls = self.calls.lock();
            let entry = calls.find(id).ok_or(Errno::ENOSYS)?;
            // A descriptor that is the answer may have come while another one was taken.
            if let State::Answered(answer) = entry.state
                && !entry.given.iter().any(|given| given.is_answer)
            {
                return Ok(answer);
            }
        }
    }

    fn note_outcome(&self, id: u64, given: &Given, outcome: Result<u64, Errno>) {
        if given.is_answer
            && let Some(entry) = self.calls.lock().find(id)
        {
            entry.state =
                outcome.map_or(State::Told, |number| State::Answered(Answer::Returns(number)));
        }
        *given.outcome.lock() = Some(outcome);
        self.callers.wake_all();
    }

    /// Sleeps until there is a call, and gives it out. `ENOENT`: no thread is left that could make
    /// one.
    pub(crate) fn receive(&self) -> Result<Call, Errno> {
        let mut received = Err(Errno::ENOENT);
        self.readiness.wait(false, || {
            let mut calls = self.calls.lock();
            let is_left = calls.is_left;
            let waiting = calls.list.iter_mut().find(|entry| entry.state == State::Waits);
            match waiting {
                Some(entry) => {
                    entry.state = State::Told;
                    received = Ok(entry.call);
                    true
                }
                None => is_left,
            }
        })?;
        self.readiness.wake();
        if self.is_patient {
            self.callers.wake_all();
        }
        received
    }

    /// The supervisor could not be told of a call after all.
    pub(crate) fn not_received(&self, id: u64) {
        if let Some(entry) = self.calls.lock().find(id)
            && entry.state == State::Told
        {
            entry.state = State::Waits;
        }
        self.readiness.wake();
    }

    /// Whether a call waits for its answer.
    pub(crate) fn is_told(&self, id: u64) -> bool {
        self.calls.lock().told(id).is_ok()
    }

    /// Answers a call.
    pub(crate) fn answer(&self, id: u64, answer: Answer) -> Result<(), Errno> {
        self.calls.lock().told(id)?.state = State::Answered(answer);
        self.callers.wake_all();
        self.readiness.wake();
        Ok(())
    }

    /// Gives a descriptor to the thread of a call, and sleeps until it has taken it.
    pub(crate) fn give(&self, id: u64, given: &Arc<Given>) -> Result<u64, Errno> {
        {
            let mut calls = self.calls.lock();
            let entry = calls.told(id)?;
            if given.is_answer && !entry.given.is_empty() {
                return Err(Errno::EBUSY);
            }
            fallible::push(&mut entry.given, given.clone())?;
            if given.is_answer {
                // Nothing else answers it meanwhile; the number is not known yet.
                entry.state = State::Answered(Answer::Returns(0));
            }
        }
        self.callers.wake_all();
        if let Err(interrupted) = self.callers.wait_until(|| given.outcome().is_some()) {
            let is_untaken = {
                let mut calls = self.calls.lock();
                let entry = calls.find(id);
                entry.is_some_and(|entry| {
                    let place = entry.given.iter().position(|one| Arc::ptr_eq(one, given));
                    if place.is_some() && given.is_answer {
                        entry.state = State::Told;
                    }
                    place.map(|place| entry.given.remove(place)).is_some()
                })
            };
            if is_untaken {
                return Err(interrupted.into());
            }
            // The thread is taking it.
            self.callers.wait_uninterruptibly(|| given.outcome().is_some());
        }
        given.outcome().unwrap_or(Err(Errno::ESRCH))
    }

    /// The last thread that had the filter has ended.
    pub(super) fn leave(&self) {
        self.calls.lock().is_left = true;
        self.readiness.wake();
    }

    fn close(&self) {
        {
            let mut calls = self.calls.lock();
            calls.is_closed = true;
            for entry in &mut calls.list {
                if !matches!(entry.state, State::Answered(_)) {
                    entry.state = State::Answered(Answer::Returns(Errno::ENOSYS.as_result()));
                }
            }
        }
        self.callers.wake_all();
    }
}

/// The supervisor's file.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) listener: Arc<Listener>,
    /// Threads with an answer run on the supervisor's CPU: asked for, and no promise.
    pub(crate) wakes_here: AtomicBool,
}

impl Supervisor {
    pub(super) fn file(listener: Arc<Listener>, flags: u32) -> Result<Arc<OpenFile>, Errno> {
        let supervisor = Self { listener, wakes_here: AtomicBool::new(false) };
        OpenFile::of_object(fallible::shared(supervisor)?, flags)
    }

    pub(crate) fn set_wakes_here(&self, to: bool) {
        self.wakes_here.store(to, Ordering::Relaxed);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.listener.close();
    }
}

impl Object for Supervisor {
    fn events(&self) -> u32 {
        let calls = self.listener.calls.lock();
        let has = |state: State| calls.list.iter().any(|entry| entry.state == state);
        let mut events = 0;
        if has(State::Waits) {
            events |= event::READABLE;
        }
        if has(State::Told) {
            events |= event::WRITABLE;
        }
        if calls.is_left {
            events |= event::HUP;
        }
        events
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.listener.readiness)
    }

    fn label(&self) -> &'static str {
        "anon_inode:seccomp notify"
    }
}
