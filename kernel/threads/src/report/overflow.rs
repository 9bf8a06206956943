//! What the kernel does with an overflow report: prints it, ends the thread or stops the machine,
//! and takes back what the thread held.

use super::{backtrace, symbols};
use crate::sched;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::addr::Addr;
use kstack::verdict::{Consequence, OverflowReport};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, power, serial};
use machine::halt;
use machine::spin::SpinLock;

static CONTAINED: AtomicU64 = AtomicU64::new(0);
static LAST: SpinLock<Option<OverflowReport>> = SpinLock::new(None);

/// Threads ended so far because of a stack.
pub fn contained_count() -> u64 {
    CONTAINED.load(Ordering::Relaxed)
}

/// The last report after which the system went on; taken out. On the heap: it is wide.
#[inline(never)]
pub fn take_last_report() -> Option<Box<OverflowReport>> {
    let report = LAST.lock().take();
    report.map(Box::new)
}

/// What was printed of the last report after which the system went on, as far as it is kept.
pub fn last_text() -> String {
    String::from_utf8_lossy(&TEXT.lock().kept[..]).trim_end_matches('\0').into()
}

/// The beginning of a printed report. Its lock keeps reports of several CPUs apart.
static TEXT: SpinLock<Text> = SpinLock::new(Text { kept: [0; 1024], length: 0 });

struct Text {
    kept: [u8; 1024],
    length: usize,
}

/// Writes to the port, and keeps the beginning of what went there.
struct Printed<'t>(&'t mut Text, serial::Port);

impl Write for Printed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.1.write_str(text)?;
        let Text { kept, length } = &mut *self.0;
        let room = text.len().min(kept.len() - *length);
        kept[*length..*length + room].copy_from_slice(&text.as_bytes()[..room]);
        *length += room;
        Ok(())
    }
}

/// Prints a report as people read it.
fn print(report: &OverflowReport, to: &mut dyn Write) -> fmt::Result {
    write!(to, "\n{}", report.head())?;
    writeln!(to, "  running: {}", sched::current().name())?;
    backtrace::write_steps(&report.backtrace, to)
}

/// The report as tools read it, one line on the control channel. `running`: how many other CPUs
/// still run.
fn record(report: &OverflowReport, running: u32) {
    let verdict = &report.verdict;
    let mut port = serial::CONTROL;
    // The port takes everything, and no caller to tell.
    let _never_fails = write!(
        port,
        "@report stack={} cpu={} side={} cause={} consequence={} distance={} running={running} victim={} reliable={} frames={} backtrace=",
        verdict.stack.kind,
        report.fault.cpu,
        verdict.side.name(),
        verdict.cause.name(),
        verdict.consequence.name(),
        verdict.distance.get(),
        Escaped(sched::current().name()),
        if report.backtrace.is_reliable() { "yes" } else { "no" },
        report.backtrace.frames(),
    );
    let mut last = "";
    for address in report.code_addresses() {
        let name = symbols::lookup(address.get() as u64 - 1).map_or("?", |symbol| symbol.name);
        // A recursion is one name.
        if name != last {
            let _never_fails = write!(port, "{},", Escaped(name));
            last = name;
        }
    }
    let _never_fails = writeln!(port);
}

/// Spaces and commas as %20 and %2c.
pub(super) struct Escaped<'t>(pub(super) &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ' ' => f.write_str("%20")?,
                ',' => f.write_str("%2c")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Ends the running thread. Interrupts are off; on the thread's own stack, at its top. Everything
/// on it has been given up.
pub fn end_thread(report: &OverflowReport) -> ! {
    debug_assert_eq!(report.verdict.consequence, Consequence::EndThread);
    {
        let mut text = TEXT.lock();
        *text = Text { kept: [0; 1024], length: 0 };
        let _never_fails = print(report, &mut Printed(&mut text, machine::log::port()));
    }
    *LAST.lock() = Some(report.clone());
    CONTAINED.fetch_add(1, Ordering::Relaxed);
    let thread = sched::current();
    let locks = thread.let_go_of_all_held();
    log!("thread {} ({}) is ended; {locks} sleeping locks taken back", thread.id(), thread.name());
    cpu::interrupts_on();
    if let Some(owner) = thread.owner() {
        owner.end_after_overflow()
    }
    sched::exit_current()
}

/// Stops the machine. No lock is taken: their holders may be what is broken.
pub fn stop(report: &OverflowReport) -> ! {
    let running = halt::park_others();
    let mut console = serial::CONSOLE;
    let _never_fails = print(report, &mut console);
    if running > 0 {
        let _never_fails = writeln!(console, "  {running} other CPUs could not be stopped");
    }
    record(report, running);
    power::end(power::End::Stopped)
}

/// An exception in the kernel that no stack explains.
pub fn print_exception(vector: u8, fault: Addr, regs: &SavedRegs) {
    let mut console = serial::CONSOLE;
    let _never_fails = writeln!(
        console,
        "\nexception {vector} in the kernel, address {fault}, on CPU {}\n{regs:#x?}",
        machine::cpus::this().id(),
    );
    backtrace::print_from_regs(regs, &mut console);
}
