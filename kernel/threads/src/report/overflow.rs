//! What the kernel does with an overflow report: prints it, ends the thread or stops the machine,
//! and takes back what the thread held.

use super::{backtrace, symbols};
use crate::sched;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
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
    at(Stage::Head);
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

/// How much of the record has been sent.
static SENT: AtomicU8 = AtomicU8::new(NOTHING);
const NOTHING: u8 = 0;
/// All but the names of the calls, in a line that is not ended.
const HEADER: u8 = 1;
const ALL: u8 = 2;

/// The report as tools read it, one line on the control channel; what has been sent of it is not
/// sent again. `running`: how many other CPUs still run; `failed`: how often telling it has failed
/// so far, the last time at `stage`.
fn record(report: &OverflowReport, running: u32, failed: u32, stage: &str) {
    let mut port = serial::CONTROL;
    if SENT.load(Ordering::Relaxed) == NOTHING {
        record_header(report, running, failed, &mut port);
        SENT.store(HEADER, Ordering::Relaxed);
    }
    if SENT.load(Ordering::Relaxed) == HEADER {
        if failed == 0 {
            at(Stage::Names);
            record_names(report, &mut port);
        }
        let _never_fails = writeln!(port, " failed={failed} at={stage}");
        SENT.store(ALL, Ordering::Relaxed);
    }
}

fn record_header(report: &OverflowReport, running: u32, failed: u32, port: &mut serial::Port) {
    let verdict = &report.verdict;
    let victim = if failed < 2 { sched::current().name() } else { "?" };
    // The port takes everything, and no caller to tell.
    let _never_fails = write!(
        port,
        "@report stack={} cpu={} side={} cause={} consequence={} distance={} running={running} victim={} reliable={} frames={} backtrace=",
        verdict.stack.kind,
        report.fault.cpu,
        verdict.side.name(),
        verdict.cause.name(),
        // Whatever it was to be: the machine is being stopped.
        Consequence::StopSystem.name(),
        verdict.distance.get(),
        Escaped(victim),
        if report.backtrace.is_reliable() { "yes" } else { "no" },
        report.backtrace.frames(),
    );
}

/// The names of the calls, and of the function whose frame was touched.
fn record_names(report: &OverflowReport, port: &mut serial::Port) {
    let mut last = "";
    for address in report.code_addresses() {
        let name = symbols::lookup(address.get() as u64 - 1).map_or("?", |symbol| symbol.name);
        // A recursion is one name.
        if name != last {
            let _never_fails = write!(port, "{},", Escaped(name));
            last = name;
        }
    }
    let _never_fails = write!(port, " frame={}", Escaped(frame_of(report).unwrap_or("?")));
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
        TELLING.store(core::ptr::from_ref(report).cast_mut(), Ordering::Relaxed);
        text.length = 0;
        text.kept.fill(0);
        let _never_fails = print(report, &mut Printed(&mut text, machine::log::port()));
        TELLING.store(core::ptr::null_mut(), Ordering::Relaxed);
        STAGE.store(0, Ordering::Relaxed);
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

/// What a report is about to do. A test may have it fail there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// To park the other CPUs.
    Parking = 1,
    /// The other CPUs are parked; nothing is said yet.
    Parked,
    /// To say which stack it was.
    Head,
    /// To name who ran.
    Name,
    /// To trace the calls.
    Trace,
    /// To write the record for tools.
    Record,
    /// To name the calls in it.
    Names,
    /// To end the machine.
    End,
}

/// Stages by their numbers; what fails before the first was asked by the library.
const STAGES: [&str; 9] =
    ["judging", "parking", "parked", "head", "name", "trace", "record", "names", "end"];

static AT_STAGE: FnCell<fn(&mut Stage)> = FnCell::new();
/// The last stage that was begun; 0: none.
static STAGE: AtomicU8 = AtomicU8::new(0);

/// Tells a function of each stage of a report, before it.
pub fn set_stage_probe(probe: Option<fn(&mut Stage)>) {
    AT_STAGE.set(probe);
}

// A function of its own, so that what it calls can be told from what a report calls.
#[inline(never)]
fn at(mut stage: Stage) {
    STAGE.store(stage as u8, Ordering::Relaxed);
    if let Some(probe) = AT_STAGE.get() {
        probe(&mut stage);
    }
}

/// What failed while a report was told.
#[derive(Debug, Clone, Copy)]
pub enum Failure<'p> {
    /// The handler's own stack was too small.
    Overflow,
    /// An exception: its number, the address that was accessed, the instruction.
    Exception(u8, Addr, Addr),
    /// A panic, there.
    Panic(&'p str, u32),
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow => f.write_str("the handler's stack overflowed"),
            Self::Exception(vector, address, pc) => {
                write!(f, "exception {vector} at {pc}, address {address}")
            }
            Self::Panic(file, line) => write!(f, "a panic at {file}:{line}"),
        }
    }
}

/// The report that a thread is being ended with, while it is told. Under the lock of `TEXT`.
static TELLING: AtomicPtr<OverflowReport> = AtomicPtr::new(core::ptr::null_mut());
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
/// | second | what failed and when, the head and the record, without code |
/// | third | the record, without asking who ran |
/// | fourth | nothing: the machine ends |
///
/// What fails while a report is made, or while a thread is ended with one, counts as the first.
pub fn stop(report: &OverflowReport) -> ! {
    tell(report, &Failure::Overflow)
}

/// Tells a report. `failure`: why it is told again, if it is.
fn tell(report: &OverflowReport, failure: &Failure<'_>) -> ! {
    // Only the CPU that ends the machine comes back from there.
    halt::claim_end();
    STOPPING.store(core::ptr::from_ref(report).cast_mut(), Ordering::Relaxed);
    let failed = BEGUN.fetch_add(1, Ordering::Relaxed);
    let stage = STAGES.get(usize::from(STAGE.load(Ordering::Relaxed))).copied().unwrap_or("?");
    let mut console = serial::CONSOLE;
    match failed {
        0 => {
            at(Stage::Parking);
            let running = halt::interrupt_others();
            at(Stage::Parked);
            let _never_fails = print(report, &mut console);
            if running > 0 {
                let _never_fails = writeln!(console, "  {running} other CPUs could not be stopped");
            }
            at(Stage::Record);
            record(report, running, failed, "-");
        }
        1 => {
            let running = halt::interrupt_others();
            let _never_fails =
                writeln!(console, "\n  telling it failed ({stage}): {failure}; what is known:");
            let _never_fails = write!(console, "{}", report.head());
            at(Stage::Record);
            record(report, running, failed, stage);
        }
        2 => record(report, halt::interrupt_others(), failed, stage),
        _ => power::end(power::End::Stopped),
    }
    at(Stage::End);
    power::end(power::End::Stopped)
}

/// After a failure in the kernel: continues with the report that was being told, or made, if this
/// CPU was at one. Interrupts are off.
#[cold]
#[inline(never)]
pub fn continue_stopping(failure: &Failure<'_>) {
    let of_end = STOPPING.load(Ordering::Relaxed);
    if halt::is_ended_here() && !of_end.is_null() {
        // SAFETY: (1) each CPU's reports have a fixed place; the one that stops the machine never
        // gives it up.
        tell(unsafe { &*of_end }, failure);
    }
    let being_told = TELLING.load(Ordering::Relaxed);
    // SAFETY: (1) each CPU's reports have a fixed place.
    let being_told = unsafe { being_told.as_ref() };
    let mine = being_told.filter(|report| report.fault.cpu == machine::cpus::this().id());
    if let Some(report) = kstack::report::under_way().or(mine) {
        // This telling is the second.
        BEGUN.fetch_max(1, Ordering::Relaxed);
        tell(report, failure);
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
