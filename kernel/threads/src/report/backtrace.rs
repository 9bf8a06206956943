//! Backtraces with names.

use super::symbols::{self, Symbol};
use crate::sched::Thread;
use alloc::string::String;
use core::fmt::{self, Write};
use kstack::addr::Addr;
use kstack::unwind::{Backtrace, Step};
use kstack::{registry, unwind};
use machine::arch::cpu;
use machine::arch::regs::SavedRegs;

/// Steps kept of a backtrace that is looked at: 48, or 24 where stacks are half as large.
pub const STEPS: usize = kstack::verdict::REPORT_STEPS;

/// Writes steps, one a line, repeated frames folded.
pub fn write_steps<const N: usize>(backtrace: &Backtrace<N>, to: &mut dyn Write) -> fmt::Result {
    write!(to, "{}", backtrace.with_symbols(name_of))
}

fn name_of(pc: Addr) -> Option<Symbol> {
    symbols::lookup(pc.get() as u64)
}

fn from_fp(fp: usize) -> Backtrace<STEPS> {
    let mut backtrace = Backtrace::empty();
    if let Some(registry) = registry::get() {
        unwind::from_fp(registry, Addr::new(fp), &mut backtrace);
    }
    backtrace
}

/// Where this thread is, as steps.
pub fn steps_here() -> Backtrace<STEPS> {
    from_fp(cpu::frame_pointer())
}

/// Where an interrupted context was, as steps. For the handler of the interruption.
pub fn steps_from_regs(regs: &SavedRegs) -> Backtrace<STEPS> {
    let mut backtrace = Backtrace::empty();
    keep_steps_from_regs(regs, &mut backtrace);
    backtrace
}

/// The same, in place of the steps that were there.
pub fn keep_steps_from_regs(regs: &SavedRegs, backtrace: &mut Backtrace<STEPS>) {
    backtrace.clear();
    if let Some(registry) = registry::get() {
        // SAFETY: (1) by the callers, which are the handlers that were given `regs`.
        unsafe { unwind::from_regs(registry, regs, backtrace) };
    }
}

/// Writes steps as they come, and keeps none: a whole backtrace is too large for the stack of the
/// thread that is looked at.
struct Writer<'t> {
    to: &'t mut dyn Write,
    /// The last one, and how many times in a row it came.
    last: Option<(Step, u32)>,
    written: usize,
    left_out: usize,
}

impl<'t> Writer<'t> {
    fn new(to: &'t mut dyn Write) -> Self {
        Self { to, last: None, written: 0, left_out: 0 }
    }

    fn take(&mut self, step: Step) {
        match &mut self.last {
            Some((last, times)) if *last == step => *times += 1,
            _ => {
                self.flush();
                self.last = Some((step, 1));
            }
        }
        if let Step::End(_) = step {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some((step, times)) = self.last.take() else { return };
        if self.written >= STEPS && !matches!(step, Step::End(_)) {
            self.left_out += 1;
            return;
        }
        self.written += 1;
        // Nothing can be done about a place that refuses text.
        if self.left_out > 0 {
            let _unprintable = writeln!(self.to, "    ({} steps left out)", self.left_out);
        }
        let _unprintable = writeln!(self.to, "{}", step.with_symbols(name_of));
        if times > 1 {
            let _unprintable = writeln!(self.to, "      ... {times} times");
        }
    }
}

/// Where this thread is, as text.
pub fn here() -> String {
    let mut text = String::new();
    print_here(&mut text);
    text
}

/// Prints where this CPU is.
pub fn print_here(to: &mut dyn Write) {
    if let Some(registry) = registry::get() {
        let mut writer = Writer::new(to);
        unwind::for_each(registry, Addr::new(cpu::frame_pointer()), |step| writer.take(step));
    }
}

/// Prints where an interrupted context was.
pub fn print_from_regs(regs: &SavedRegs, to: &mut dyn Write) {
    if let Some(registry) = registry::get() {
        let mut writer = Writer::new(to);
        // SAFETY: (1) by the callers, which are the handlers that were given `regs`.
        unsafe { unwind::for_each_from_regs(registry, regs, |step| writer.take(step)) };
    }
}

/// Where a thread that is not running was switched away, as text; `None` while it runs.
pub fn of_thread(thread: &Thread) -> Option<String> {
    let mut text = String::new();
    print_thread(thread, &mut text).then_some(text)
}

/// Prints where a thread that is not running was switched away; `false`, and nothing is printed,
/// while it runs. Its stack is borrowed until the walk is over: the thread may end meanwhile, and
/// its stack be unmapped.
pub fn print_thread(thread: &Thread, to: &mut dyn Write) -> bool {
    let Some(stack) = thread.borrow_stack() else { return false };
    if thread.is_on_cpu() {
        return false;
    }
    // SAFETY: (1) the stack is borrowed, so it is mapped; (2) a thread that is off its CPU has a
    // switch frame at its saved SP. If it starts running meanwhile, what is read is old, not wild.
    let frame = unsafe {
        (thread.saved_sp() as *const kstack::arch::current::switch::SwitchFrame).read_volatile()
    };
    // Nothing can be done about a place that refuses text.
    let _unprintable =
        writeln!(to, "{}", Step::Caller(frame.return_address()).with_symbols(name_of));
    let mut writer = Writer::new(to);
    unwind::for_each_of(stack.registry(), stack.stack(), frame.fp(), |step| writer.take(step));
    true
}

/// Walks from here to the end without keeping anything; how many frames there were.
#[inline(never)]
pub fn count_frames() -> usize {
    registry::get().map_or(0, |registry| unwind::count(registry, Addr::new(cpu::frame_pointer())))
}
