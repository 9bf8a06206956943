//! Interrupts, softirqs and their stack: who runs where, as a state that can be explored.
//!
//! | event | state before | state after | answer |
//! | --- | --- | --- | --- |
//! | interrupt from user mode | | depth + 1 | on the current (thread) stack |
//! | interrupt, IRQ stack free | in use = no | depth + 1, in use = yes | on the IRQ stack |
//! | interrupt, IRQ stack in use | in use = yes | depth + 1 | on the current stack |
//! | handler done | depth = 1, softirqs allowed, pending | depth = 0, in softirq | run softirqs |
//! | handler done | otherwise | depth - 1 | nothing |
//! | next softirqs | pending, rounds left | pending = 0 | these |
//! | next softirqs | none, or no rounds left | in softirq = no | stop |
//! | enable bottom halves | outermost, pending, thread context | in softirq, in use = yes | run them on the IRQ stack |
//!
//! Invariants: softirqs never nest (`in_softirq` is tested and set in one step, with interrupts off); the IRQ stack has at
//! most one first user (`in_use` likewise); bottom halves that are disabled stay so for the whole of an interrupt.

/// Where an interrupt's handler runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunOn {
    /// Where it arrived.
    CurrentStack,
    /// On the IRQ stack; the mark has been set.
    IrqStack,
}

/// Rounds of softirqs in a row; what is pending after them waits for the next interrupt (or a thread).
pub const MOST_ROUNDS: u32 = 10;

/// One CPU's state. Changed by that CPU only, with interrupts off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct IrqState {
    irq_stack_in_use: bool,
    in_softirq: bool,
    hardirq_depth: u32,
    bottom_halves_disabled: u32,
    pending: u32,
    rounds: u32,
}

impl IrqState {
    /// Nothing going on.
    pub const fn new() -> Self {
        Self {
            irq_stack_in_use: false,
            in_softirq: false,
            hardirq_depth: 0,
            bottom_halves_disabled: 0,
            pending: 0,
            rounds: 0,
        }
    }

    /// An interrupt arrived.
    #[inline(always)]
    pub fn on_interrupt(&mut self, from_user: bool) -> RunOn {
        self.hardirq_depth += 1;
        if from_user || self.irq_stack_in_use {
            RunOn::CurrentStack
        } else {
            self.irq_stack_in_use = true;
            RunOn::IrqStack
        }
    }

    /// The handler is done, interrupts still off. True: run softirqs now, with [`IrqState::next_softirqs`].
    #[inline(always)]
    pub fn on_handler_done(&mut self) -> bool {
        self.hardirq_depth -= 1;
        if self.pending == 0
            || self.hardirq_depth != 0
            || self.in_softirq
            || self.bottom_halves_disabled != 0
        {
            return false;
        }
        self.in_softirq = true;
        self.rounds = 0;
        true
    }

    /// The next softirqs to run, as a bit mask; `None`: done for now.
    #[inline(always)]
    pub fn next_softirqs(&mut self) -> Option<u32> {
        if self.pending == 0 || self.rounds == MOST_ROUNDS {
            self.in_softirq = false;
            return None;
        }
        self.rounds += 1;
        Some(core::mem::take(&mut self.pending))
    }

    /// The IRQ stack is empty again.
    #[inline(always)]
    pub fn leave_irq_stack(&mut self) {
        self.irq_stack_in_use = false;
    }

    /// Marks a softirq, 0 to 31, as pending.
    #[inline(always)]
    pub fn raise(&mut self, number: u32) {
        self.pending |= 1 << (number & 31);
    }

    /// Bottom halves off, once more.
    #[inline(always)]
    pub fn disable_bottom_halves(&mut self) {
        self.bottom_halves_disabled += 1;
    }

    /// Bottom halves on again. True: run softirqs now, on the IRQ stack, whose mark has been set.
    #[inline(always)]
    pub fn enable_bottom_halves(&mut self) -> bool {
        self.bottom_halves_disabled -= 1;
        let run = self.bottom_halves_disabled == 0 && self.pending != 0 && self.is_thread_context();
        if run {
            self.in_softirq = true;
            self.irq_stack_in_use = true;
            self.rounds = 0;
        }
        run
    }

    /// Whether neither an interrupt nor a softirq is being handled.
    #[inline(always)]
    pub const fn is_thread_context(&self) -> bool {
        self.hardirq_depth == 0 && !self.in_softirq && !self.irq_stack_in_use
    }

    /// Whether the thread may be preempted or sleep: thread context, bottom halves on.
    #[inline(always)]
    pub const fn may_switch(&self) -> bool {
        self.is_thread_context() && self.bottom_halves_disabled == 0
    }

    /// Whether the IRQ stack is in use.
    pub const fn irq_stack_in_use(&self) -> bool {
        self.irq_stack_in_use
    }

    /// Interrupts being handled, nested.
    pub const fn hardirq_depth(&self) -> u32 {
        self.hardirq_depth
    }

    /// Whether softirqs are being run.
    pub const fn in_softirq(&self) -> bool {
        self.in_softirq
    }

    /// Softirqs that wait.
    pub const fn pending(&self) -> u32 {
        self.pending
    }
}
