//! Backtraces with names.

use crate::arch::cpu;
use crate::arch::regs::SavedRegs;
use crate::sched::Thread;
use crate::symbols;
use alloc::string::String;
use core::fmt::{self, Write};
use kstack::{registry, unwind};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::unwind::{Backtrace, End, Step};

/// Steps kept of a backtrace that is looked at: 48, or 24 where stacks are half as large.
pub const STEPS: usize = 6 * size_of::<usize>();

/// Writes steps, one a line, repeated frames folded.
pub fn write_steps<const N: usize>(backtrace: &Backtrace<N>, to: &mut dyn Write) -> fmt::Result {
    for (step, times) in backtrace.steps() {
        write_step(step, to)?;
        if *times > 1 {
            writeln!(to, "      ... {times} times")?;
        }
    }
    if backtrace.dropped() > 0 {
        writeln!(to, "    ({} steps left out)", backtrace.dropped())?;
    }
    Ok(())
}

/// Writes steps as they come, one a line, repeated frames folded: for where there is no room to keep them.
#[derive(Default)]
struct Folder {
    last: Option<Step>,
    times: u32,
}

impl Folder {
    fn step(&mut self, step: Step, to: &mut dyn Write) -> fmt::Result {
        if self.last == Some(step) {
            self.times += 1;
            return Ok(());
        }
        self.finish(to)?;
        (self.last, self.times) = (Some(step), 1);
        Ok(())
    }

    fn finish(&mut self, to: &mut dyn Write) -> fmt::Result {
        if let Some(step) = self.last.take() {
            write_step(&step, to)?;
            if self.times > 1 {
                writeln!(to, "      ... {} times", self.times)?;
            }
        }
        Ok(())
    }
}

/// Writes the steps from a frame pointer outwards.
fn write_from_fp(fp: usize, to: &mut dyn Write) {
    let Some(registry) = registry::get() else { return };
    let mut folder = Folder::default();
    unwind::for_each(registry, Addr::new(fp), |step| {
        let _never_fails = folder.step(step, to);
    });
    let _never_fails = folder.finish(to);
}

fn write_step(step: &Step, to: &mut dyn Write) -> fmt::Result {
    match step {
        // A return address: the call is right before it.
        Step::Caller(pc) => write_address(*pc, 1, to),
        Step::Interrupted(regs) => {
            write_address(regs.pc, 0, to)?;
            writeln!(to, "      (interrupted here, sp {})", regs.sp)
        }
        Step::Seam { from, to: next } => writeln!(to, "  -- from the {from} stack to the {next}"),
        Step::UserBoundary(regs) => writeln!(to, "  -- user mode, pc {} sp {}", regs.pc, regs.sp),
        Step::End(End::Reliable) => writeln!(to, "  -- the end; reliable"),
        Step::End(why) => writeln!(to, "  -- the end; not reliable: {why:x?}"),
    }
}

fn write_address(pc: Addr, back: usize, to: &mut dyn Write) -> fmt::Result {
    match symbols::lookup(pc.wrapping_sub(ByteSize::new(back)).get() as u64) {
        Some(symbol) => writeln!(to, "    {pc} {symbol}"),
        None => writeln!(to, "    {pc}"),
    }
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

/// Where an interrupted context was, as steps.
pub fn steps_from_regs(regs: &SavedRegs) -> Backtrace<STEPS> {
    let mut backtrace = Backtrace::empty();
    if let Some(registry) = registry::get() {
        unwind::from_regs(registry, regs, &mut backtrace);
    }
    backtrace
}

/// Where this thread is, as text.
pub fn here() -> String {
    let mut text = String::new();
    write_from_fp(cpu::frame_pointer(), &mut text);
    text
}

/// Prints where this CPU is; for panics.
pub fn print_here(to: &mut dyn Write) {
    write_from_fp(cpu::frame_pointer(), to);
}

/// Prints where an interrupted context was.
pub fn print_from_regs(regs: &SavedRegs, to: &mut dyn Write) {
    let Some(registry) = registry::get() else { return };
    let mut folder = Folder::default();
    unwind::for_each_from_regs(registry, regs, |step| {
        let _never_fails = folder.step(step, to);
    });
    let _never_fails = folder.finish(to);
}

/// Where a thread that is not running was switched away, as text; `None` while it runs. Its stack is borrowed meanwhile.
pub fn of_thread(thread: &Thread) -> Option<String> {
    let frame = crate::stacks::with_borrowed(thread.stack_ref(), |_| {
        if thread.is_on_cpu() {
            return None;
        }
        // SAFETY: (1) the stack is borrowed, so it is mapped; (2) a thread that is off its CPU has a switch frame at its
        // saved SP. If it starts running meanwhile, what is read is old, not wild.
        let frame = unsafe {
            (thread.saved_sp() as *const kstack::arch::current::switch::SwitchFrame).read_volatile()
        };
        Some(frame)
    })??;
    let mut text = String::new();
    let _never_fails = write_address(frame.return_address(), 1, &mut text);
    write_from_fp(frame.fp().get(), &mut text);
    Some(text)
}

/// Walks from here to the end without keeping anything; how many frames there were.
#[inline(never)]
pub fn count_frames() -> usize {
    let mut frames = 0;
    if let Some(registry) = registry::get() {
        unwind::for_each(registry, Addr::new(cpu::frame_pointer()), |step| {
            frames += usize::from(matches!(step, Step::Caller(_)));
        });
    }
    frames
}
