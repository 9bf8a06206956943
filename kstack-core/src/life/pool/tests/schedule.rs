//! Runs small cases in every order of their steps.
//!
//! Each CPU of a case is a real thread, but only one runs at a time: a thread that is about to
//! access something shared decides, by the path of the present run, which one continues. After the
//! run the last decision that has an alternative is changed, until all paths were taken. The code
//! that runs is the code, not a model of it.

use std::boxed::Box;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::vec::Vec;

/// The decisions of one run: which of how many runnable processes went on.
type Path = Vec<(usize, usize)>;

struct State {
    turn: usize,
    ended: Vec<bool>,
    path: Path,
    decisions: usize,
}

/// One run of one case.
struct Run {
    state: Mutex<State>,
    changed: Condvar,
}

impl Run {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while deciding")
    }

    /// Decides which one continues; `None` when all have ended.
    fn decide(&self, state: &mut State) -> Option<usize> {
        let can_run = || (0..state.ended.len()).filter(|process| !state.ended[*process]);
        let among = can_run().count();
        if among == 0 {
            return None;
        }
        if state.decisions == state.path.len() {
            state.path.push((0, among));
        }
        let (choice, expected) = state.path[state.decisions];
        assert_eq!(expected, among, "a case must not decide by anything but the schedule");
        let next = can_run().nth(choice).expect("a choice among those that can run");
        state.decisions += 1;
        state.turn = next;
        self.changed.notify_all();
        Some(next)
    }

    fn wait_for_turn(&self, mut state: MutexGuard<'_, State>, me: usize) {
        while state.turn != me {
            state = self.changed.wait(state).expect("nobody panics while deciding");
        }
    }
}

/// A process's way to let others go first.
pub(super) struct Stops<'r> {
    run: &'r Run,
    me: usize,
}

impl Stops<'_> {
    /// Anybody may run here.
    pub(super) fn stop(&self) {
        let mut state = self.run.state();
        self.run.decide(&mut state);
        self.run.wait_for_turn(state, self.me);
    }
}

/// Lets the others go on when a process ends, also when it panics.
impl Drop for Stops<'_> {
    fn drop(&mut self) {
        let mut state = self.run.state();
        state.ended[self.me] = true;
        self.run.decide(&mut state);
    }
}

/// What one CPU of a case does.
pub(super) type Process<'c> = Box<dyn FnOnce(&Stops<'_>) + Send + 'c>;

/// Runs `processes` once along `path`, which grows by the decisions that it did not foresee.
fn run_once(processes: Vec<Process<'_>>, path: &mut Path) {
    let count = processes.len();
    let state = State {
        turn: usize::MAX,
        ended: std::vec![false; count],
        path: core::mem::take(path),
        decisions: 0,
    };
    let run = Run { state: Mutex::new(state), changed: Condvar::new() };
    run.decide(&mut run.state());
    thread::scope(|scope| {
        for (me, process) in processes.into_iter().enumerate() {
            let run = &run;
            scope.spawn(move || {
                let stops = Stops { run, me };
                run.wait_for_turn(run.state(), me);
                process(&stops);
            });
        }
    });
    *path = core::mem::take(&mut run.state().path);
}

/// Runs the case that `run` sets up in every order; `run` is called once per order with a function
/// that runs its processes. Answers the number of orders.
pub(super) fn in_every_order(mut run: impl FnMut(&mut dyn FnMut(Vec<Process<'_>>))) -> usize {
    let mut path = Path::new();
    let mut orders = 0;
    loop {
        run(&mut |processes| run_once(processes, &mut path));
        orders += 1;
        while let Some((choice, among)) = path.pop() {
            if choice + 1 < among {
                path.push((choice + 1, among));
                break;
            }
        }
        if path.is_empty() {
            return orders;
        }
        assert!(orders < 20_000, "the case is too large");
    }
}
