//! Every state of a CPU's interrupts and softirqs, explored.

use super::*;
use std::collections::HashSet;
use std::vec::Vec;

/// A CPU as the entry code drives it: a stack of activities, the innermost last.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Cpu {
    state: IrqState,
    activities: Vec<Activity>,
    /// The round of softirqs that are being run.
    round: u32,
    /// Whether softirqs have a stack of their own, so that the entry code leaves the IRQ stack
    /// before it runs them.
    own_stack: bool,
    /// Whether the thread that softirqs are left to is awake.
    thread_has_turns: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Activity {
    /// A handler; `on_irq_stack`: it was the one that moved there.
    Handler { moved: bool, from_user: bool },
    /// Softirqs on the way out of such a handler, interrupts on.
    SoftirqsAfter { moved: bool, from_user: bool },
    /// Softirqs because a thread enabled bottom halves.
    SoftirqsOfThread,
    /// What was left to the thread for that, on its own stack.
    SoftirqsInThread,
}

impl Cpu {
    fn new(own_stack: bool) -> Self {
        Self {
            state: IrqState::new(),
            activities: Vec::new(),
            round: 0,
            own_stack,
            thread_has_turns: false,
        }
    }

    fn check(&self) {
        let softirqs = |a: &&Activity| !matches!(a, Activity::Handler { .. });
        let nested = self.activities.iter().filter(softirqs).count();
        assert!(nested <= 1, "softirqs nest: {self:?}");
        assert_eq!(self.state.in_softirq(), nested == 1);
        let users = self
            .activities
            .iter()
            .filter(|a| match a {
                Activity::Handler { moved, .. } => *moved,
                // With a stack of their own, softirqs never use that of the hard interrupts.
                _ if self.own_stack => false,
                Activity::SoftirqsAfter { moved, .. } => *moved,
                Activity::SoftirqsOfThread => true,
                Activity::SoftirqsInThread => false,
            })
            .count();
        assert!(users <= 1, "two first users of the IRQ stack: {self:?}");
        assert_eq!(self.state.irq_stack_in_use(), users == 1);
        // What is left is not forgotten: the thread has something to do.
        assert!(self.state.left_to_thread() == 0 || self.thread_has_turns, "left alone: {self:?}");
    }

    /// Everything that can happen next.
    fn successors(&self, most: usize) -> Vec<Self> {
        let mut next = Vec::new();
        let interrupts_on = !matches!(self.activities.last(), Some(Activity::Handler { .. }));
        if interrupts_on && self.activities.len() < most {
            for from_user in [false, true] {
                // User mode runs only where nothing of the kernel does.
                if from_user
                    && (!self.activities.is_empty() || self.state.bottom_halves_are_disabled())
                {
                    continue;
                }
                let mut cpu = self.clone();
                let moved = cpu.state.on_interrupt(from_user) == RunOn::IrqStack;
                cpu.activities.push(Activity::Handler { moved, from_user });
                next.push(cpu);
            }
        }
        match self.activities.last().copied() {
            None => {
                if self.thread_has_turns && !self.state.bottom_halves_are_disabled() {
                    let mut cpu = self.clone();
                    match cpu.state.start_softirqs_in_thread() {
                        Some(_) => cpu.activities.push(Activity::SoftirqsInThread),
                        None => assert_eq!(cpu.state.pending, 0, "it may run: {self:?}"),
                    }
                    next.push(cpu);
                }
                if self.state.context / BOTTOM_HALVES_OFF < 2 {
                    let mut cpu = self.clone();
                    cpu.state.disable_bottom_halves();
                    next.push(cpu);
                }
                if self.state.bottom_halves_are_disabled() {
                    let mut raised = self.clone();
                    raised.state.raise(3);
                    next.push(raised);
                    let mut cpu = self.clone();
                    let run = if self.own_stack {
                        cpu.state.enable_bottom_halves_beside_irq_stack()
                    } else {
                        cpu.state.enable_bottom_halves()
                    };
                    if run {
                        cpu.start_softirqs(Activity::SoftirqsOfThread);
                    }
                    next.push(cpu);
                }
            }
            Some(Activity::Handler { moved, from_user }) => {
                let mut raised = self.clone();
                raised.state.raise(3);
                next.push(raised);
                let mut cpu = self.clone();
                cpu.activities.pop();
                if self.own_stack && moved {
                    cpu.state.leave_irq_stack();
                }
                if cpu.state.on_handler_done() && cpu.state.start_softirqs() {
                    cpu.start_softirqs(Activity::SoftirqsAfter { moved, from_user });
                } else if moved && !self.own_stack {
                    cpu.state.leave_irq_stack();
                }
                next.push(cpu);
            }
            Some(Activity::SoftirqsInThread) => {
                let mut raised = self.clone();
                raised.state.raise(3);
                next.push(raised);
                let mut cpu = self.clone();
                cpu.activities.pop();
                cpu.thread_has_turns = cpu.state.end_softirqs_in_thread();
                next.push(cpu);
            }
            Some(softirqs) => {
                for number in [3, 4] {
                    let mut raised = self.clone();
                    raised.state.raise(number);
                    next.push(raised);
                }
                let mut cpu = self.clone();
                cpu.round += 1;
                if cpu.round == 2 && cpu.state.due() != 0 {
                    // Too much. Number 4 is never left to the thread.
                    cpu.state.leave_to_thread(cpu.state.due() & !(1 << 4));
                    cpu.thread_has_turns |= cpu.state.left_to_thread() != 0;
                }
                if cpu.round == 2 {
                    cpu.state.stop_softirqs();
                }
                if cpu.round == 2 || cpu.state.next_softirqs().is_none() {
                    cpu.round = 0;
                    cpu.activities.pop();
                    let on_irq_stack =
                        !matches!(softirqs, Activity::SoftirqsAfter { moved: false, .. });
                    if on_irq_stack && !self.own_stack {
                        cpu.state.leave_irq_stack();
                    }
                }
                next.push(cpu);
            }
        }
        next
    }

    fn start_softirqs(&mut self, activity: Activity) {
        assert_eq!(self.round, 0);
        assert!(self.state.next_softirqs().is_some(), "softirqs were due");
        self.activities.push(activity);
    }
}

fn explore(most: usize, own_stack: bool) -> HashSet<Cpu> {
    let mut seen = HashSet::new();
    let mut todo = std::vec![Cpu::new(own_stack)];
    while let Some(cpu) = todo.pop() {
        cpu.check();
        if seen.insert(cpu.clone()) {
            todo.extend(cpu.successors(most));
        }
    }
    seen
}

/// Red if `start_softirqs` forgets `in_softirq`, or `enable_bottom_halves` forgets the in-use
/// mark.
#[test]
fn i2_i3_i4_no_reachable_state_nests_softirqs_or_shares_the_irq_stack() {
    let states = explore(5, false);
    assert!(states.len() > 110, "only {} states explored", states.len());
    // Interesting ones were among them.
    assert!(states.iter().any(|cpu| cpu.activities.contains(&Activity::SoftirqsOfThread)
        && matches!(cpu.activities.last(), Some(Activity::Handler { moved: false, .. }))));
    assert!(states.iter().any(|cpu| {
        cpu.activities.contains(&Activity::SoftirqsAfter { moved: false, from_user: true })
    }));
    assert!(states.iter().any(|cpu| cpu.activities.contains(&Activity::SoftirqsInThread)
        && matches!(cpu.activities.last(), Some(Activity::Handler { moved: true, .. }))));
    assert!(states.iter().any(|cpu| {
        cpu.state.left_to_thread() == 1 << 3
            && cpu.activities.contains(&Activity::SoftirqsAfter { moved: true, from_user: false })
    }));
}

/// Where softirqs have a stack of their own, an interrupt during them finds the IRQ stack free.
/// Red if the mark of one is left set while the other runs, or cleared while it is used.
#[test]
fn i2_i3_i4_with_a_softirq_stack_no_reachable_state_shares_either() {
    let states = explore(5, true);
    assert!(states.len() > 110, "only {} states explored", states.len());
    let interrupted = |softirqs: fn(&Activity) -> bool| {
        states.iter().any(|cpu| {
            cpu.activities.iter().any(softirqs)
                && matches!(cpu.activities.last(), Some(Activity::Handler { moved: true, .. }))
        })
    };
    assert!(interrupted(|activity| *activity == Activity::SoftirqsOfThread));
    assert!(interrupted(|activity| matches!(
        activity,
        Activity::SoftirqsAfter { moved: true, .. }
    )));
}

#[test]
fn i2_an_interrupt_moves_only_from_the_kernel_to_a_free_irq_stack() {
    let mut state = IrqState::new();
    assert_eq!(state.on_interrupt(true), RunOn::CurrentStack);
    assert!(!state.irq_stack_in_use());
    assert!(!state.on_handler_done());
    assert_eq!(state.on_interrupt(false), RunOn::IrqStack);
    assert_eq!(state.on_interrupt(false), RunOn::CurrentStack);
    assert!(!state.on_handler_done());
    assert!(!state.on_handler_done());
    state.leave_irq_stack();
    assert!(state.is_thread_context());
}

#[test]
fn i4_softirqs_of_a_thread_wait_for_the_outermost_enable() {
    let mut state = IrqState::new();
    state.disable_bottom_halves();
    state.disable_bottom_halves();
    state.raise(1);
    assert_eq!(state.on_interrupt(false), RunOn::IrqStack);
    assert!(
        !(state.on_handler_done() && state.start_softirqs()),
        "bottom halves are disabled for interrupts too"
    );
    state.leave_irq_stack();
    assert!(!state.enable_bottom_halves());
    assert!(state.enable_bottom_halves());
    assert!(state.irq_stack_in_use());
    assert_eq!(state.next_softirqs(), Some(1 << 1));
    assert_eq!(state.next_softirqs(), None);
}

/// Red if what is left runs on the way out of interrupts all the same, or if what is not left
/// does not.
#[test]
fn i5_what_is_left_to_the_thread_is_run_by_nothing_else() {
    let mut state = IrqState::new();
    state.on_interrupt(true);
    state.raise(1);
    assert!(state.on_handler_done() && state.start_softirqs());
    assert_eq!(state.next_softirqs(), Some(1 << 1));
    state.raise(1);
    state.leave_to_thread(1 << 1);
    assert_eq!((state.due(), state.next_softirqs()), (0, None));
    assert!(!state.in_softirq());
    assert_eq!(state.pending(), 1 << 1, "what is left is not forgotten");

    state.on_interrupt(false);
    state.raise(0);
    assert!(state.on_handler_done() && state.start_softirqs());
    assert_eq!(state.next_softirqs(), Some(1 << 0), "what is not left runs");
    assert_eq!(state.next_softirqs(), None);
    state.on_interrupt(true);
    assert!(state.on_handler_done() && !state.start_softirqs());
    state.leave_irq_stack();
    state.disable_bottom_halves();
    state.raise(1);
    assert_eq!(state.start_softirqs_in_thread(), None, "bottom halves are disabled");
    assert!(!state.enable_bottom_halves());

    assert_eq!(state.start_softirqs_in_thread(), Some(1 << 1));
    assert!(state.in_softirq() && !state.irq_stack_in_use());
    assert_eq!(state.on_interrupt(false), RunOn::IrqStack);
    state.raise(1);
    assert!(!(state.on_handler_done() && state.start_softirqs()), "softirqs nest");
    state.leave_irq_stack();
    assert!(state.end_softirqs_in_thread());
    assert_eq!(state.left_to_thread(), 1 << 1);
    assert_eq!(state.start_softirqs_in_thread(), Some(1 << 1));
    assert!(!state.end_softirqs_in_thread());
    assert_eq!(state.left_to_thread(), 0, "interrupts see to softirqs again");
}

#[test]
fn i6_what_always_is_left_stays_so() {
    let mut state = IrqState::new();
    state.always_leave_to_thread(1 << 3);
    state.leave_to_thread(1 << 2);
    state.on_interrupt(true);
    state.raise(3);
    assert!(state.on_handler_done() && !state.start_softirqs());
    assert_eq!(state.start_softirqs_in_thread(), Some(1 << 3));
    assert!(!state.end_softirqs_in_thread());
    assert_eq!(state.left_to_thread(), 1 << 3);
    state.always_leave_to_thread(0);
    assert_eq!(state.left_to_thread(), 0);
}

/// A thread that is switched away with bottom halves off, or from within a handler, takes this
/// CPU's softirqs or its IRQ stack along.
#[test]
fn i3_i4_a_switch_is_allowed_only_in_a_thread_with_bottom_halves_on() {
    let mut state = IrqState::new();
    assert!(state.may_switch() && !state.bottom_halves_are_disabled());
    state.disable_bottom_halves();
    assert!(!state.may_switch() && state.bottom_halves_are_disabled());
    assert!(state.is_thread_context());
    assert!(!state.enable_bottom_halves());
    assert!(state.may_switch() && !state.bottom_halves_are_disabled());
    assert_eq!(state.hardirq_depth(), 0);
    state.on_interrupt(false);
    assert!(!state.may_switch());
    state.on_interrupt(false);
    assert_eq!(state.hardirq_depth(), 2);
    assert!(!state.on_handler_done());
    assert_eq!((state.hardirq_depth(), state.pending()), (1, 0));
    state.raise(0);
    state.raise(3);
    assert_eq!(state.pending(), 0b1001);
    assert!(state.on_handler_done() && state.start_softirqs());
    state.leave_irq_stack();
    assert!(state.in_softirq() && !state.may_switch());
    while state.next_softirqs().is_some() {}
    assert!(state.may_switch());
}
