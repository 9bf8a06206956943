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
mod tests;
