//! What the kernel does with an overflow report: prints it, ends the thread or stops the machine,
//! and takes back what the thread held.

use super::{backtrace, symbols};
use crate::sched;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use kstack::addr::Addr;
use kstack::verdict::{Consequence, OverflowReport};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, power, serial};
use machine::fn_cell::FnCell;
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
    if let Some(frame) = frame_of(report) {
        writeln!(to, "  in the frame of {frame}")?;
    }
    at(Stage::Name);
    writeln!(to, "  running: {}", sched::current().name())?;
    at(Stage::Trace);
    backtrace::write_steps(&report.backtrace, to)
}

/// The name of the function whose frame was touched, if the sanitizer has found it.
pub fn frame_of(report: &OverflowReport) -> Option<&'static str> {
    let frame = report.frame.get() as u64;
    let symbol = if frame == 0 { None } else { symbols::lookup(frame) };
    symbol.map(|symbol| symbol.name)
}

/// The report as tools read it, one line on the control channel. `running`: how many other CPUs
/// still run; `failed`: how often telling it has failed so far.
fn record(report: &OverflowReport, running: u32, failed: u32) {
    let verdict = &report.verdict;
    let mut port = serial::CONTROL;
    let victim = if failed < 2 { sched::current().name() } else { "?" };
    // The port takes everything, and no caller to tell.
    let _never_fails = write!(
        port,
        "@report stack={} cpu={} side={} cause={} consequence={} distance={} running={running} failed={failed} victim={} reliable={} frames={} frame={} backtrace=",
        verdict.stack.kind,
        report.fault.cpu,
        verdict.side.name(),
        verdict.cause.name(),
        verdict.consequence.name(),
        verdict.distance.get(),
        Escaped(victim),
        if report.backtrace.is_reliable() { "yes" } else { "no" },
        report.backtrace.frames(),
        Escaped(frame_of(report).filter(|_| failed == 0).unwrap_or("?")),
    );
    let mut last = "";
    // The names come from a table that may be what is broken.
    for address in report.code_addresses().filter(|_| failed == 0) {
        let name = symbols::lookup(address.get() as u64 - 1).map_or("?", |symbol| symbol.name);
        // A recursion is one name.
        if name != last {
            let _never_fails = write!(port, "{},", Escaped(name));
            last = name;
        }
    }
    let _never_fails = writeln!(port);
}

/// A value on the control channel: what ends one, begins a message or marks such a character is
/// written as %20, %2c and so on.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'t>(pub &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ' ' | ',' | '%' | '@' | '\n' => write!(f, "%{:02x}", u32::from(c))?,
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

/// What a report that stops the machine is about to do. A test may have it fail there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The other CPUs are parked; nothing is said yet.
    Parked,
    /// To name who ran.
    Name,
    /// To trace the calls.
    Trace,
    /// To write the record for tools.
    Record,
}

static AT_STAGE: FnCell<fn(&mut Stage)> = FnCell::new();

/// Tells a function of each stage of a report that stops the machine, before it.
pub fn set_stage_probe(probe: Option<fn(&mut Stage)>) {
    AT_STAGE.set(probe);
}

fn at(mut stage: Stage) {
    if let Some(probe) = AT_STAGE.get() {
        probe(&mut stage);
    }
}

/// The report that the machine is being stopped with, on the CPU that stops it.
static STOPPING: AtomicPtr<OverflowReport> = AtomicPtr::new(core::ptr::null_mut());
/// How often telling it was begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Stops the machine. No lock is taken: their holders may be what is broken.
///
/// What fails in here, by an exception, a panic or another overflow, comes here again, and less is
/// tried each time:
///
/// | time | what is said |
/// | --- | --- |
/// | first | everything |
/// | second | the head and the record, without code |
/// | third | the record, without asking who ran |
/// | fourth | nothing: the machine ends |
pub fn stop(report: &OverflowReport) -> ! {
    // Only the CPU that ends the machine comes back from there.
    let running = halt::park_others();
    STOPPING.store(core::ptr::from_ref(report).cast_mut(), Ordering::Relaxed);
    let failed = BEGUN.fetch_add(1, Ordering::Relaxed);
    let mut console = serial::CONSOLE;
    match failed {
        0 => {
            at(Stage::Parked);
            let _never_fails = print(report, &mut console);
            if running > 0 {
                let _never_fails = writeln!(console, "  {running} other CPUs could not be stopped");
            }
            at(Stage::Record);
            record(report, running, failed);
        }
        1 => {
            let _never_fails = writeln!(console, "\n  telling it failed; what is known:");
            let _never_fails = write!(console, "{}", report.head());
            at(Stage::Record);
            record(report, running, failed);
        }
        2 => record(report, running, failed),
        _ => {}
    }
    power::end(power::End::Stopped)
}

/// After a failure in the kernel: continues with the report that was being told, if this CPU was
/// telling one. Interrupts are off.
pub fn continue_stopping() {
    let report = STOPPING.load(Ordering::Relaxed);
    if halt::is_ended_here() && !report.is_null() {
        // SAFETY: (1) each CPU's reports have a fixed place; the one that stops the machine never
        // gives it up.
        stop(unsafe { &*report });
    }
}

/// An exception in the kernel that no stack explains: says so, once. The other CPUs are parked.
pub fn print_exception(vector: u8, fault: Addr, regs: &SavedRegs) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if SAID.swap(true, Ordering::Relaxed) {
        // In here, or below.
        return;
    }
    let mut console = serial::CONSOLE;
    let _never_fails = writeln!(
        console,
        "\nexception {vector} in the kernel, address {fault}, on CPU {}\n{regs:#x?}",
        machine::cpus::this().id(),
    );
    backtrace::print_from_regs(regs, &mut console);
}
