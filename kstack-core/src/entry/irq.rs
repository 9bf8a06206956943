//! Interrupts, softirqs and their stack: who runs where, as a state that can be explored.
//!
//! | event | state before | state after | answer |
//! | --- | --- | --- | --- |
//! | interrupt from user mode | | depth + 1 | on the current (thread) stack |
//! | interrupt, IRQ stack free | in use = no | depth + 1, in use = yes | on the IRQ stack |
//! | interrupt, IRQ stack in use | in use = yes | depth + 1 | on the current stack |
//! | handler done | | depth - 1 | whether softirqs are pending |
//! | start softirqs | depth = 0, softirqs allowed, some due | in softirq | run softirqs |
//! | next softirqs | some due | not pending | these |
//! | next softirqs | none due | in softirq = no | stop |
//! | leave to the thread | some due, too much of them | left | these are due no more |
//! | enable bottom halves | outermost, some due, thread context | in softirq, in use = yes | run them on the IRQ stack |
//! | start in the thread | some pending, thread context | in softirq, none pending | run these, on the thread's stack |
//! | end in the thread | some pending | in softirq = no | again, after others had the CPU |
//! | end in the thread | none pending | in softirq = no, left = those that always are | sleep |
//!
//! A softirq is *due* if it is pending and not *left* to the thread. Too much of them is for the
//! kernel to say, by rounds and by time. What is left to the thread does not run on the way out of
//! interrupts meanwhile: otherwise a storm of interrupts would still take all of the CPU.
//!
//! Where softirqs have a stack of their own (i386), the IRQ stack is left before `handler done`,
//! and enabling bottom halves does not mark it; `in_softirq` is then the mark of the softirq stack.
//!
//! Invariants: softirqs never nest (`in_softirq` is tested and set in one step, with interrupts
//! off); the IRQ stack has at most one first user (`in_use` likewise); bottom halves that are
//! disabled stay so for the whole of an interrupt.

/// Where an interrupt's handler runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a handler runs here or there")]
pub enum RunOn {
    /// Where it arrived.
    CurrentStack,
    /// On the IRQ stack; the mark has been set.
    IrqStack,
}

/// What becomes of softirqs that became due while others ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Again {
    /// They run in another round, right now.
    Now,
    /// They wait for the next interrupt, or for a thread that enables bottom halves.
    Later,
    /// These, a bit mask, are left to the thread that runs softirqs, until it has seen to all that
    /// is pending; the others wait for the next interrupt.
    InThread(u32),
}

/// Rounds of softirqs in a row that a kernel does well to allow, like Linux: what is pending after
/// them is left to a thread, or waits for the next interrupt.
pub const MAX_ROUNDS: u32 = 10;

/// One CPU's state. Changed by that CPU only: with interrupts off, or by one instruction that no
/// interrupt can split.
///
/// Who is where is one word, so that "a thread runs, and may be switched away from" is one
/// comparison with zero:
///
/// ```text
///   31                 17  16         15            14..0
///   | bottom halves off | softirqs | IRQ stack used | interrupts, nested |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct IrqState {
    context: u32,
    pending: u32,
    /// Those that are not left to the thread: what was too much is, and what always is.
    not_left: u32,
    /// Those that always are left to the thread.
    always_left: u32,
}

/// In the context word: the nesting of interrupts.
const HARDIRQS: u32 = IRQ_STACK_IN_USE - 1;
/// In the context word: the IRQ stack has its first user.
const IRQ_STACK_IN_USE: u32 = 1 << 15;
/// In the context word: softirqs are being run.
const IN_SOFTIRQ: u32 = 1 << 16;
/// In the context word: bottom halves disabled once. What lies above counts.
const BOTTOM_HALVES_OFF: u32 = 1 << 17;

impl Default for IrqState {
    fn default() -> Self {
        Self::new()
    }
}

impl IrqState {
    /// Offset of the context word, for an instruction that changes it in one step.
    pub const CONTEXT: usize = core::mem::offset_of!(Self, context);
    /// Offset of the mask of what is pending, likewise.
    pub const PENDING: usize = core::mem::offset_of!(Self, pending);
    /// What such an instruction adds to the context word to disable bottom halves once more.
    pub const BOTTOM_HALVES_OFF_ONCE: u32 = BOTTOM_HALVES_OFF;

    /// No interrupt, no softirq.
    pub const fn new() -> Self {
        Self { context: 0, pending: 0, not_left: u32::MAX, always_left: 0 }
    }

    /// An interrupt arrived.
    #[inline(always)]
    pub fn on_interrupt(&mut self, from_user: bool) -> RunOn {
        if from_user || self.context & IRQ_STACK_IN_USE != 0 {
            self.context += 1;
            RunOn::CurrentStack
        } else {
            self.context += 1 + IRQ_STACK_IN_USE;
            RunOn::IrqStack
        }
    }

    /// The handler is done, interrupts still off. True: softirqs are pending, and
    /// [`IrqState::start_softirqs`] says whether they run now.
    #[inline(always)]
    pub fn on_handler_done(&mut self) -> bool {
        self.context -= 1;
        self.pending != 0
    }

    /// At the end of an interrupt. True: run softirqs now, with [`IrqState::next_softirqs`].
    #[inline(always)]
    pub fn start_softirqs(&mut self) -> bool {
        // The IRQ stack may still be marked; nothing else may be under way.
        let run = self.context & !IRQ_STACK_IN_USE == 0 && self.due() != 0;
        if run {
            self.context |= IN_SOFTIRQ;
        }
        run
    }

    /// The softirqs to run in this round, as a bit mask; `None`: done for now.
    #[inline(always)]
    pub fn next_softirqs(&mut self) -> Option<u32> {
        let due = self.due();
        if due == 0 {
            self.stop_softirqs();
            return None;
        }
        self.pending &= !self.not_left;
        Some(due)
    }

    /// No more rounds, whatever is pending: it waits for the next interrupt.
    #[inline(always)]
    pub fn stop_softirqs(&mut self) {
        self.context &= !IN_SOFTIRQ;
    }

    /// Softirqs that are pending, and not left to the thread.
    #[inline(always)]
    pub const fn due(&self) -> u32 {
        self.pending & self.not_left
    }

    /// Leaves these softirqs to the thread, until it has seen to all that is pending.
    #[inline(always)]
    pub fn leave_to_thread(&mut self, softirqs: u32) {
        self.not_left &= !softirqs;
    }

    /// Leaves these softirqs to the thread from now on, and no others.
    #[inline]
    pub fn always_leave_to_thread(&mut self, softirqs: u32) {
        self.not_left = (self.not_left | self.always_left) & !softirqs;
        self.always_left = softirqs;
    }

    /// The thread has its turn. What it is to run now, on its own stack: everything that is
    /// pending. `None`: nothing, or it may not.
    #[inline]
    pub fn start_softirqs_in_thread(&mut self) -> Option<u32> {
        if !self.may_switch() || self.pending == 0 {
            return None;
        }
        self.context = IN_SOFTIRQ;
        Some(core::mem::take(&mut self.pending))
    }

    /// The thread has run them. True: more are pending, for its next turn. False: it may sleep, and
    /// interrupts see to softirqs again.
    #[inline]
    pub fn end_softirqs_in_thread(&mut self) -> bool {
        self.stop_softirqs();
        if self.pending == 0 {
            self.not_left = !self.always_left;
        }
        self.pending != 0
    }

    /// The IRQ stack is empty again.
    #[inline(always)]
    pub fn leave_irq_stack(&mut self) {
        self.context &= !IRQ_STACK_IN_USE;
    }

    /// Marks a softirq, 0 to 31, as pending.
    #[inline(always)]
    pub fn raise(&mut self, number: u32) {
        self.pending |= 1 << (number & 31);
    }

    /// Bottom halves off, once more.
    #[inline(always)]
    pub fn disable_bottom_halves(&mut self) {
        self.context += BOTTOM_HALVES_OFF;
    }

    /// Bottom halves on again. True: run softirqs now, on the IRQ stack, whose mark has been set.
    #[inline(always)]
    pub fn enable_bottom_halves(&mut self) -> bool {
        self.enable_once();
        self.start_softirqs_of_thread()
    }

    /// The same where softirqs have a stack of their own: the IRQ stack stays free for the
    /// interrupts that come meanwhile.
    #[inline(always)]
    pub fn enable_bottom_halves_beside_irq_stack(&mut self) -> bool {
        self.enable_once();
        self.start_softirqs_beside_irq_stack()
    }

    #[inline(always)]
    fn enable_once(&mut self) {
        // A surplus call changes nothing: wrapped around, the count would keep softirqs off this
        // CPU indefinitely.
        if self.context >= BOTTOM_HALVES_OFF {
            self.context -= BOTTOM_HALVES_OFF;
        }
    }

    /// Whether a thread runs softirqs now, on the IRQ stack, whose mark has been set. After bottom
    /// halves came on.
    #[inline(always)]
    pub fn start_softirqs_of_thread(&mut self) -> bool {
        self.start(IN_SOFTIRQ | IRQ_STACK_IN_USE)
    }

    /// The same where softirqs have a stack of their own.
    #[inline(always)]
    pub fn start_softirqs_beside_irq_stack(&mut self) -> bool {
        self.start(IN_SOFTIRQ)
    }

    #[inline(always)]
    fn start(&mut self, context: u32) -> bool {
        let run = self.may_switch() && self.due() != 0;
        if run {
            self.context = context;
        }
        run
    }

    /// Whether neither an interrupt nor a softirq is being handled.
    #[inline(always)]
    pub const fn is_thread_context(&self) -> bool {
        self.context & (BOTTOM_HALVES_OFF - 1) == 0
    }

    /// Whether a thread keeps softirqs off this CPU.
    #[inline(always)]
    pub const fn bottom_halves_are_disabled(&self) -> bool {
        self.context >= BOTTOM_HALVES_OFF
    }

    /// Whether the thread may be preempted or sleep: thread context, bottom halves on.
    #[inline(always)]
    pub const fn may_switch(&self) -> bool {
        self.context == 0
    }

    /// Whether the IRQ stack is in use.
    pub const fn irq_stack_in_use(&self) -> bool {
        self.context & IRQ_STACK_IN_USE != 0
    }

    /// Interrupts being handled, nested.
    pub const fn hardirq_depth(&self) -> u32 {
        self.context & HARDIRQS
    }

    /// Whether softirqs are being run.
    pub const fn in_softirq(&self) -> bool {
        self.context & IN_SOFTIRQ != 0
    }

    /// Softirqs that wait.
    pub const fn pending(&self) -> u32 {
        self.pending
    }

    /// Softirqs that only the thread runs for now.
    pub const fn left_to_thread(&self) -> u32 {
        !self.not_left
    }

    /// Softirqs that wait for the thread.
    pub const fn wait_for_thread(&self) -> u32 {
        self.pending & !self.not_left
    }
}

#[cfg(test)]
mod tests {
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
            assert!(
                self.state.left_to_thread() == 0 || self.thread_has_turns,
                "left alone: {self:?}"
            );
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
                && cpu
                    .activities
                    .contains(&Activity::SoftirqsAfter { moved: true, from_user: false })
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
}
