//! A scheduler for one CPU: a queue of tasks that can run, taken in turn; preemption is a call of
//! [`Scheduler::yield_now`].
//!
//! What a task's stack is and how the CPU gets from one to another is the [`Context`]'s, as in a
//! kernel for several machines.

use crate::sync::Lock;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use x86_64::instructions::interrupts;

/// A task's stack and registers.
pub trait Context: Sized + Send {
    /// A new one: `run` is called on its stack, with interrupts on, and does not return.
    fn new(task: u64, run: extern "C" fn(usize)) -> Self;

    /// Leaves `from`, continues `to`; returns when something switches back.
    ///
    /// # Safety
    ///
    /// Interrupts are off; `from` is what runs; both stay until each is left again.
    unsafe fn switch(from: &Self, to: &Self);
}

struct Task<C> {
    number: u64,
    body: Option<fn()>,
    context: C,
}

struct State<C> {
    running: Option<Box<Task<C>>>,
    ready: VecDeque<Box<Task<C>>>,
    /// Ended; its stack was in use until the switch away from it.
    dead: Option<Box<Task<C>>>,
    spawned: u64,
}

/// The tasks.
pub struct Scheduler<C>(Lock<State<C>>);

impl<C: Context> Scheduler<C> {
    pub const fn new() -> Self {
        Self(Lock::new(State { running: None, ready: VecDeque::new(), dead: None, spawned: 0 }))
    }

    /// Makes what runs now task 0.
    pub fn adopt(&self, context: C) {
        self.0.lock().running = Some(Box::new(Task { number: 0, body: None, context }));
    }

    /// Makes a task that runs `body`; `run` is where every task of this scheduler starts: it calls
    /// [`Scheduler::run`].
    pub fn spawn(&self, run: extern "C" fn(usize), body: fn()) -> u64 {
        let mut state = self.0.lock();
        state.spawned += 1;
        let number = state.spawned;
        let context = C::new(number, run);
        state.ready.push_back(Box::new(Task { number, body: Some(body), context }));
        number
    }

    /// The running task.
    pub fn current(&self) -> u64 {
        self.0.lock().running.as_ref().map_or(0, |task| task.number)
    }

    /// Whether a task is still there.
    pub fn lives(&self, number: u64) -> bool {
        let state = self.0.lock();
        state.ready.iter().chain(&state.running).any(|task| task.number == number)
    }

    /// Runs other tasks until this one has ended.
    pub fn join(&self, number: u64) {
        while self.lives(number) {
            self.yield_now();
        }
    }

    /// The body of the running task, which runs for the first time; then its end.
    pub fn run(&self) -> ! {
        self.bury();
        let body = self.0.lock().running.as_ref().and_then(|task| task.body);
        body.expect("a task has a body")();
        self.exit()
    }

    /// Lets the next task run.
    pub fn yield_now(&self) {
        self.switch(|state, this| {
            state.ready.push_back(this);
        });
    }

    /// Ends the running task.
    pub fn exit(&self) -> ! {
        self.switch(|state, this| state.dead = Some(this));
        unreachable!("a task that ended runs again")
    }

    fn switch(&self, put: impl FnOnce(&mut State<C>, Box<Task<C>>)) {
        interrupts::without_interrupts(|| {
            let (from, to) = {
                let mut state = self.0.lock();
                let Some(next) = state.ready.pop_front() else {
                    assert!(state.running.is_some(), "nothing can run");
                    return;
                };
                let to = &raw const next.context;
                let this = state.running.replace(next).expect("something runs");
                let from = &raw const this.context;
                put(&mut state, this);
                (from, to)
            };
            // SAFETY: interrupts are off, and there is one CPU: nothing touches the queue before
            // `to` runs; tasks are boxed, and the dead one is dropped by a later task only.
            unsafe { C::switch(&*from, &*to) };
            self.bury();
        });
    }

    /// Frees the task that ended last, on another's stack.
    fn bury(&self) {
        let dead = self.0.lock().dead.take();
        drop(dead);
    }
}

impl<C: Context> Default for Scheduler<C> {
    fn default() -> Self {
        Self::new()
    }
}
