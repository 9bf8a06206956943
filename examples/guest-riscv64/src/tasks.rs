//! Tasks that give way by themselves, in a ring.

use crate::lock::{self, Lock};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A task's stack and registers.
pub trait Context: Sized + Send {
    /// A new one, on which `run` is called with interrupts on; it does not return.
    fn new(number: usize, run: extern "C" fn(usize)) -> Self;

    /// Leaves `from`, continues `to`; returns when something switches back.
    ///
    /// # Safety
    ///
    /// Interrupts are off; `from` is what runs; both stay until each is left again.
    unsafe fn switch(from: &Self, to: &Self);
}

struct Task<C> {
    context: C,
    body: fn(),
    ended: bool,
}

/// All tasks; the first is what the kernel started as.
pub struct Tasks<C>(Lock<(Vec<Box<Task<C>>>, usize)>);

impl<C: Context> Tasks<C> {
    pub const fn new() -> Self {
        Self(Lock::new((Vec::new(), 0)))
    }

    /// Makes what runs now the first task.
    pub fn adopt(&self, context: C) {
        self.0.lock().0.push(Box::new(Task { context, body: || {}, ended: false }));
    }

    /// Makes a task; `run` calls [`Tasks::run`].
    pub fn spawn(&self, run: extern "C" fn(usize), body: fn()) -> usize {
        let number = self.0.lock().0.len();
        let context = C::new(number, run);
        self.0.lock().0.push(Box::new(Task { context, body, ended: false }));
        number
    }

    /// The running task.
    pub fn current(&self) -> usize {
        self.0.lock().1
    }

    /// The body of the running task; then its end.
    pub fn run(&self) -> ! {
        let body = {
            let state = self.0.lock();
            state.0[state.1].body
        };
        body();
        self.exit()
    }

    /// Ends the running task.
    pub fn exit(&self) -> ! {
        lock::off();
        {
            let mut state = self.0.lock();
            let current = state.1;
            state.0[current].ended = true;
        }
        self.give_way();
        unreachable!("a task that ended runs again")
    }

    /// Runs other tasks until all have ended; then frees them.
    pub fn join_all(&self) {
        while self.0.lock().0.iter().skip(1).any(|task| !task.ended) {
            self.give_way();
        }
        let ended = self.0.lock().0.split_off(1);
        drop(ended);
    }

    /// Lets the next task run that has not ended.
    pub fn give_way(&self) {
        let were_on = lock::off();
        let (from, to) = {
            let mut state = self.0.lock();
            let (tasks, current) = &mut *state;
            let next = (1..=tasks.len()).map(|step| (*current + step) % tasks.len());
            let next = next.into_iter().find(|&task| !tasks[task].ended).expect("nothing can run");
            let from = &raw const tasks[*current].context;
            *current = next;
            (from, &raw const tasks[next].context)
        };
        if from != to {
            // SAFETY: interrupts are off, and there is one hart; tasks are boxed, and freed when
            // they have ended.
            unsafe { C::switch(&*from, &*to) };
        }
        lock::restore(were_on);
    }
}

impl<C: Context> Default for Tasks<C> {
    fn default() -> Self {
        Self::new()
    }
}
