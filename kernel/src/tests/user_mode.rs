//! Entries from user mode, seen from inside: threads that run a few instructions of ours in user
//! mode, without a program around them, and hooks of ours that answer them.

use super::arch::expectations::EXPECTED;
use super::arch::{registers, user_code};
use super::support::{kind_at, stack_at, until};
use super::{Outcome, check};
use crate::hooks;
use crate::provoke::{self, How};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::first_frame::Start;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::stacks::{StackId, ThreadId};
use kstack::unwind::{Backtrace, End, Step};
use kstack::verdict::{Cause, Consequence};
use linux::abi;
use machine::arch::irqchip::software_interrupt;
use machine::arch::paging::{Access, UserTables};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, irqchip};
use machine::cpus;
use machine::memory::frames::{self, Frame};
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::backtrace::{self, STEPS};
use threads::report::overflow;
use threads::sched::{self, Thread};

pub(super) const CODE: u64 = 0x40_0000;
pub(crate) const STACK_TOP: u64 = 0x7fff_f000;
const NAME: &str = "in user mode";

/// A thread in user mode, and what is mapped for it. Ended by [`UserThread::finish`].
pub(super) struct UserThread {
    thread: Arc<Thread>,
    _tables: UserTables,
    pages: [Frame; 2],
    /// How many threads had been ended for their stacks when it started.
    contained: u64,
}

impl UserThread {
    /// Copies `code`, which must not refer to anything outside itself, to a page of user memory,
    /// and starts a thread there.
    pub(super) fn start(code: extern "C" fn(), argument: u64) -> Result<Self, String> {
        let frame = || frames::alloc_zeroed().ok_or("no frame");
        let pages = [frame()?, frame()?];
        // SAFETY: (1) our functions are shorter than 256 bytes, and the kernel's text continues
        // behind them; (2) the frame is ours.
        unsafe { pages[0].bytes_ptr().copy_from(code as *const u8, 256) };
        let mut tables = UserTables::new().ok_or("no tables")?;
        let mut map = |at, frame, write| {
            tables.map(at, frame, Access { write, exec: !write }).map_err(|_| "no table")
        };
        map(CODE, pages[0], false)?;
        map(STACK_TOP - 4096, pages[1], true)?;
        let mut regs = abi::start(CODE, STACK_TOP);
        user_code::set_argument(&mut regs, argument);
        let thread = sched::create_unstarted(NAME, None, Start::User(&regs));
        let thread = thread.map_err(|error| format!("{error:?}"))?;
        cpu::without_interrupts(|| {
            thread.set_tables_root(tables.root());
            sched::load_tables_of(sched::current());
        });
        let contained = overflow::contained_count();
        sched::start(&thread);
        Ok(Self { thread, _tables: tables, pages, contained })
    }

    /// Its number.
    pub(super) fn id(&self) -> ThreadId {
        self.thread.id()
    }

    /// Whether it has ended.
    pub(super) fn is_reaped(&self) -> bool {
        self.thread.is_reaped()
    }

    /// Waits until it has ended.
    pub(super) fn wait(&self) {
        self.thread.join();
    }

    /// Waits until it has ended, and gives back what it had.
    pub(super) fn finish(self) {
        self.wait();
        self.pages.into_iter().for_each(frames::release);
    }

    /// The same; an error if a thread was ended meanwhile for what became of its stack: a return
    /// path to user mode that leaves a wrong register shows at the next way in, which ends the
    /// thread, and the test would be none the wiser.
    pub(super) fn finish_unharmed(self) -> Outcome {
        let before = self.contained;
        self.finish();
        let ended = overflow::contained_count() - before;
        check!(ended == 0, "{ended} threads were ended: {:?}", overflow::last_text());
        Ok(())
    }

    /// Sends `what` to the CPU the thread runs on, until `seen` has become true. With one CPU it
    /// would hit the sender alone.
    pub(super) fn hit(&self, mut what: impl FnMut(u32), mut seen: impl FnMut() -> bool) -> Outcome {
        check!(cpus::online_count() > 1, "this takes two CPUs");
        until("something has hit user mode", || {
            let cpu = cpus::by_id(self.thread.last_cpu());
            what(cpu.hardware_id.load(Ordering::Relaxed));
            seen()
        })
    }
}

/// Whether the running thread is one of ours.
pub(super) fn is_ours() -> bool {
    let thread = sched::current();
    thread.owner().is_none() && thread.name() == NAME
}

/// What was seen at an entry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(super) vector: u8,
    pub(super) fault: usize,
    pub(crate) regs: SavedRegs,
    pub(crate) frame: usize,
    pub(crate) sp: usize,
    /// The stack that `sp` is on.
    pub(crate) stack: Option<StackId>,
    pub(crate) thread_top: usize,
    /// The top of the IRQ stack of the CPU.
    pub(crate) irq_top: usize,
    interrupts_on: bool,
    pub(crate) irq_stack_in_use: bool,
}

pub(super) static SEEN: SpinLock<Vec<Seen>> = SpinLock::new(Vec::new());

pub(super) fn see(vector: u8, fault: Addr, regs: &SavedRegs) {
    let interrupts_on = cpu::interrupts_are_on();
    cpu::without_interrupts(|| {
        let sp = cpu::stack_pointer();
        SEEN.lock().push(Seen {
            vector,
            fault: fault.get(),
            regs: *regs,
            frame: core::ptr::from_ref(regs) as usize,
            sp,
            stack: stack_at(sp),
            irq_top: cpus::this().local.irq_top().get(),
            thread_top: sched::current().stack_range().top.get(),
            interrupts_on,
            irq_stack_in_use: cpus::this().local.irq.snapshot().irq_stack_in_use(),
        });
    });
}

static IN_SYSCALL: AtomicUsize = AtomicUsize::new(0);

/// Answers system call 0 by what the test wants, ends the thread at any other.
fn on_syscall(regs: &mut SavedRegs) {
    if !is_ours() {
        return (hooks::HOOKS.syscall)(regs);
    }
    see(0x80, Addr::new(0), regs);
    match (abi::number(regs), IN_SYSCALL.load(Ordering::Acquire)) {
        (0, 0) => abi::set_result(regs, 0x4242),
        (0, body) => {
            // SAFETY: (1) only functions of this type are stored there.
            let body: fn() = unsafe { core::mem::transmute::<usize, fn()>(body) };
            body();
        }
        _ => sched::exit_current(),
    }
}

/// After so many exceptions the program goes back to the instruction that raised them, which raises
/// the next.
pub(super) static REPEATS: AtomicUsize = AtomicUsize::new(0);

/// Ends the thread at any exception in user mode, but those that a program raises to see that it
/// continues.
fn on_user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    if !is_ours() {
        return (hooks::HOOKS.user_exception)(vector, fault, regs);
    }
    see(vector, fault, regs);
    // As the kernel's own: the return path turns them off.
    cpu::interrupts_on();
    let repeats = REPEATS.load(Ordering::Relaxed);
    if repeats > 0 {
        REPEATS.store(repeats - 1, Ordering::Relaxed);
    } else if !user_code::goes_on_after(vector, regs) {
        sched::exit_current();
    }
}

/// Ways back to user mode that looked for pending work with interrupts on.
static OPEN_LOOKS: AtomicUsize = AtomicUsize::new(0);

/// The look for pending work: with interrupts on, one that comes right behind it would leave work
/// undone, and one that comes in a switch would find the CPU between two threads.
fn before_user(regs: &mut SavedRegs) {
    if cpu::interrupts_are_on() {
        OPEN_LOOKS.fetch_add(1, Ordering::Relaxed);
    }
    hooks::before_user(regs);
}

static HOOKS: Hooks =
    hooks::HOOKS.syscall(on_syscall).user_exception(on_user_exception).before_user(before_user);

/// Runs `body` with our hooks in place; `syscall` is what system call 0 does. Red if a return path
/// to user mode looks for pending work with interrupts on.
pub(super) fn with_hooks(syscall: Option<fn()>, body: impl FnOnce() -> Outcome) -> Outcome {
    *SEEN.lock() = Vec::with_capacity(16);
    IN_SYSCALL.store(syscall.map_or(0, |body| body as usize), Ordering::Release);
    crate::tests::support::install_hooks(&HOOKS);
    OPEN_LOOKS.store(0, Ordering::Relaxed);
    let outcome = body();
    crate::tests::support::install_hooks(&hooks::HOOKS);
    outcome?;
    let open = OPEN_LOOKS.load(Ordering::Relaxed);
    check!(open == 0, "{open} looks for pending work with interrupts on");
    Ok(())
}

pub(super) fn seen() -> Vec<Seen> {
    SEEN.lock().clone()
}

/// Whether registers were saved at the very top of the thread's stack and the handler stands on the
/// same stack.
pub(super) fn check_at_top(seen: &Seen) -> Outcome {
    check!(
        seen.frame == seen.thread_top - EXPECTED.saved_regs,
        "registers not at the top: {seen:x?}"
    );
    check!(seen.regs.from_user(), "not from user mode: {seen:x?}");
    check!(seen.sp < seen.frame && seen.frame - seen.sp < 2048, "the handler is away: {seen:x?}");
    check!(!seen.irq_stack_in_use, "the IRQ stack is marked: {seen:x?}");
    Ok(())
}

/// Ends [`user_code::spin`], by writing into its stack.
pub(super) fn end_spin(thread: &UserThread) {
    // SAFETY: (1) the highest word of the page that is mapped as its stack, through the direct map.
    unsafe { (thread.pages[1].bytes_ptr().add(4096 - 8) as *mut u64).write_volatile(1) };
}

static HITS: AtomicU64 = AtomicU64::new(0);

fn send_call(hardware_id: u32) {
    irqchip::send_interrupt(hardware_id, irqchip::vector::CALL);
}

/// Keeps where this is. In a function of its own: a backtrace is large, and the handler's frame is
/// looked at.
#[inline(never)]
fn keep_steps() {
    let steps = backtrace::steps_here();
    *STEPS_SEEN.lock() = Some(steps);
}

/// A thread in user mode is hit by an interrupt, which raises a softirq and leaves a backtrace in
/// [`STEPS_SEEN`]: what both saw.
pub(crate) fn interrupt_of_user_mode() -> Result<[Seen; 2], String> {
    fn softirq() {
        see(1, Addr::new(cpu::stack_pointer()), &SavedRegs::default());
        HITS.fetch_add(1, Ordering::Release);
    }
    HITS.store(0, Ordering::Relaxed);
    softirq::set_probe(softirq);
    probes::set_call(|regs| {
        if regs.from_user()
            && user_code::counter(regs) > 0
            && is_ours()
            && HITS.load(Ordering::Relaxed) == 0
        {
            see(0, Addr::new(0), regs);
            keep_steps();
            softirq::raise(Softirq::Probe);
        }
    });
    let mut hit = Ok(());
    let outcome = with_hooks(None, || {
        let thread = UserThread::start(user_code::spin, STACK_TOP - 8)?;
        hit = thread.hit(send_call, || HITS.load(Ordering::Acquire) > 0);
        end_spin(&thread);
        thread.finish();
        Ok(())
    });
    softirq::set_probe(|| {});
    outcome.and(hit)?;
    let seen = seen();
    let [handler, softirq, ..] = seen[..] else { return Err(format!("{seen:x?}")) };
    Ok([handler, softirq])
}

/// One move of SP, by the CPU through the task state segment, and none by the entry code; the
/// softirq on the way out runs there too, with interrupts on. Red if the entry code moved to the
/// IRQ stack.
pub fn i2_i3_x1_an_interrupt_from_user_mode_and_its_softirq_run_on_the_thread_stack() -> Outcome {
    let [handler, softirq] = interrupt_of_user_mode()?;
    check_at_top(&handler)?;
    check!(!handler.interrupts_on, "{handler:x?}");
    check!((CODE..CODE + 64).contains(&(handler.regs.pc().get() as u64)), "{handler:x?}");
    check!(
        user_code::counter(&handler.regs) > 0 && handler.regs.sp().get() as u64 == STACK_TOP,
        "{handler:x?}"
    );
    check!(softirq.thread_top == handler.thread_top, "{softirq:x?}");
    match EXPECTED.softirq_stack {
        StackKind::Irq => {
            let distance = handler.thread_top.wrapping_sub(softirq.sp);
            check!(distance < 4096, "{softirq:x?}");
        }
        kind => check!(kind_at(softirq.sp) == Some(kind), "{softirq:x?}"),
    }
    check!(softirq.interrupts_on && !softirq.irq_stack_in_use, "{softirq:x?}");
    Ok(())
}

/// A thread that makes three system calls: what each saw.
pub(crate) fn system_calls() -> Result<[Seen; 3], String> {
    with_hooks(None, || {
        UserThread::start(user_code::call_twice, 0)?.finish();
        Ok(())
    })?;
    seen().try_into().map_err(|seen| format!("{seen:x?}"))
}

/// Every register is in the field of its name, the stack is the thread's, from its top; and after
/// the return by `sysret` nothing but rax, rcx and r11 has changed.
pub fn x5_p8_a_system_call_starts_at_the_top_of_the_thread_stack_and_keeps_registers() -> Outcome {
    let [first, second, last] = &system_calls()?;
    for seen in [first, second, last] {
        check_at_top(seen)?;
        check!(seen.interrupts_on, "interrupts are off in a system call");
    }
    for regs in [&first.regs, &second.regs] {
        user_code::check_call_twice(regs, STACK_TOP)?;
        check!(regs.interrupts_are_on(), "{regs:x?}");
    }
    check!(abi::number(&last.regs) == 1, "{last:x?}");
    Ok(())
}

/// A backtrace that was taken in an entry.
pub(crate) static STEPS_SEEN: SpinLock<Option<Backtrace<STEPS>>> = SpinLock::new(None);

/// A system call, hit by an interrupt whose softirq is hit by another interrupt, an IPI like the
/// timer's: the backtrace from there goes over IRQ stack, seam and thread stack to the boundary of
/// user mode.
pub fn b2_an_interrupt_in_a_softirq_in_a_system_call_is_traced_to_the_user_boundary() -> Outcome {
    fn in_syscall() {
        software_interrupt();
    }
    fn softirq() {
        send_call(cpus::this().hardware_id.load(Ordering::Relaxed));
        for _ in 0..100_000_000_u64 {
            if STEPS_SEEN.lock().is_some() {
                break;
            }
        }
    }
    *STEPS_SEEN.lock() = None;
    softirq::set_probe(softirq);
    probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
    probes::set_call(|regs| {
        if cpus::this().local.irq.snapshot().in_softirq() {
            let steps = backtrace::steps_from_regs(regs);
            let mut kept = STEPS_SEEN.lock();
            kept.get_or_insert(steps);
        }
    });
    let outcome = with_hooks(Some(in_syscall), || {
        UserThread::start(user_code::call_twice, 0)?.finish();
        let steps = STEPS_SEEN.lock().take().ok_or("the interrupt did not come")?;
        let crossed: Vec<_> = steps
            .steps()
            .iter()
            .filter_map(|(step, _)| match step {
                Step::Caller(_) => None,
                Step::Interrupted(_) => Some("interrupted"),
                Step::Seam { from, to }
                    if *from == EXPECTED.softirq_stack && to.kind == StackKind::Thread =>
                {
                    Some("softirq to thread")
                }
                Step::Seam { .. } => Some("another seam"),
                Step::UserBoundary(regs) if regs.sp.get() as u64 == STACK_TOP => Some("user"),
                Step::UserBoundary(_) => Some("another user"),
                Step::End(End::Reliable) => Some("reliable"),
                Step::End(_) => Some("unreliable"),
                _ => Some("a step that the test does not know"),
            })
            .collect();
        check!(
            crossed == ["interrupted", "softirq to thread", "interrupted", "user", "reliable"],
            "{crossed:?} in {:x?}",
            steps.steps()
        );
        Ok(())
    });
    probes::set_probe(None);
    softirq::set_probe(|| {});
    outcome
}

/// Both ways, twice each: the thread is ended, the report names it and goes back to user mode, the
/// machine continues.
pub fn o1_o5_an_overflow_in_a_system_call_ends_the_thread_with_a_report_to_user_mode() -> Outcome {
    let ways: [(How, fn()); 2] = [
        (How::Recursion, || provoke::overflow_here(How::Recursion)),
        (How::GiantFrame, || provoke::overflow_here(How::GiantFrame)),
    ];
    for (how, overflow_here) in ways.into_iter().chain(ways) {
        let _old = overflow::take_last_report();
        with_hooks(Some(overflow_here), || {
            let thread = UserThread::start(user_code::call_twice, 0)?;
            let (id, range) = (thread.thread.id(), thread.thread.stack_range());
            thread.finish();
            let calls = seen().len();
            check!(calls == 1, "{how:?}: it made {calls} calls");
            let report = overflow::take_last_report().ok_or("there is no report")?;
            let verdict = &report.verdict;
            check!(verdict.stack.owner == id && verdict.stack.range == range, "{verdict:?}");
            check!(verdict.stack.kind == StackKind::Thread, "{verdict:?}");
            check!(verdict.cause != Cause::GuardAccess, "{verdict:?}");
            check!(verdict.consequence == Consequence::EndThread, "{verdict:?}");
            let steps = report.backtrace.steps();
            let boundary = steps.iter().any(|(step, _)| matches!(step, Step::UserBoundary(_)));
            check!(boundary, "{how:?}: no user boundary in {steps:x?}");
            check!(report.backtrace.end() == Some(End::Reliable), "{:?}", report.backtrace.end());
            Ok(())
        })?;
    }
    Ok(())
}

/// A thread overflows its stack: where the handler stood that judged it. The report is in
/// [`overflow::take_last_report`].
pub(crate) fn overflow_of_a_thread() -> usize {
    static FAULT_SP: AtomicUsize = AtomicUsize::new(0);
    static WITH_CONTEXT: Hooks = hooks::HOOKS.context(|| {
        FAULT_SP.store(cpu::stack_pointer(), Ordering::Relaxed);
        (hooks::HOOKS.context)()
    });
    crate::tests::support::install_hooks(&WITH_CONTEXT);
    provoke::in_thread(How::Recursion);
    crate::tests::support::install_hooks(&hooks::HOOKS);
    FAULT_SP.load(Ordering::Relaxed)
}

/// What each kind of entry landed on, in the words of the table that the kernel prints.
fn measure() -> Result<Vec<(&'static str, String)>, String> {
    static NAMES: SpinLock<Vec<(&'static str, String)>> = SpinLock::new(Vec::new());
    fn name(address: usize) -> String {
        kind_at(address).map_or_else(|| "nowhere".into(), |kind| format!("{kind}"))
    }
    /// From the frame's stack to the handler's.
    fn note(entry: &'static str, frame: usize) {
        let (frame, handler) = (name(frame), name(cpu::stack_pointer()));
        let text = if frame == handler { frame } else { format!("{frame}, then {handler}") };
        NAMES.lock().push((entry, text));
    }
    *NAMES.lock() = Vec::new();
    probes::set_probe(Some(|regs| {
        note("interrupt from kernel", core::ptr::from_mut(regs) as usize);
        softirq::raise(Softirq::Probe);
    }));
    softirq::set_probe(|| note("softirq after interrupt", cpu::stack_pointer()));
    software_interrupt();
    probes::set_probe(None);
    softirq::set_probe(|| note("softirq from thread", cpu::stack_pointer()));
    softirq::disable_bottom_halves();
    softirq::raise_from_thread(Softirq::Probe);
    softirq::enable_bottom_halves();
    softirq::set_probe(|| {});
    probes::set_breakpoint_probe(Some(|regs| {
        note("exception from kernel", core::ptr::from_mut(regs) as usize);
    }));
    cpu::breakpoint();
    probes::set_breakpoint_probe(None);
    probes::set_debug_probe(Some(|regs| {
        registers::end_single_step(regs);
        note("debug from kernel", core::ptr::from_mut(regs) as usize);
    }));
    registers::single_step();
    probes::set_debug_probe(None);
    let overflow = name(overflow_of_a_thread());
    NAMES.lock().push((EXPECTED.overflow_row, overflow));
    Ok(core::mem::take(&mut *NAMES.lock()))
}

/// The table that the kernel prints, against what happens. Entries from user mode have tests of
/// their own, above, which check the same words by address; NMIs and machine checks in the module
/// about them.
pub fn i10_the_printed_table_of_entries_says_what_the_machine_does() -> Outcome {
    let table = hooks::entry_table();
    let measured = measure()?;
    let row = |entry: &str| table.iter().find(|row| row.entry == entry);
    for (entry, landed) in &measured {
        let row = row(entry).ok_or_else(|| format!("no row {entry}"))?;
        // The table says what the reader's thread is: "current", and where an interrupt ran.
        let said = match row.lands_on {
            "where the interrupt ran" => "irq".into(),
            other => other.replace("current", "thread"),
        };
        check!(said == *landed, "{entry}: the table says {}, it was {landed}", row.lands_on);
    }
    // Not every architecture lets the kernel set breakpoints for itself.
    let has_debug = row("debug from kernel").is_some();
    check!(measured.len() == 5 + usize::from(has_debug), "{measured:?}");
    // Those shown by address elsewhere; a row that no test shows has no place here.
    let elsewhere = [
        ("syscall", "thread"),
        ("interrupt from user", "thread, and stays"),
        ("exception from user", "thread"),
    ];
    let elsewhere = || elsewhere.iter().chain(EXPECTED.own_rows);
    for &(entry, lands_on) in elsewhere() {
        let row = row(entry).ok_or_else(|| format!("no row {entry}"))?;
        check!(row.lands_on == lands_on, "{entry}: {}", row.lands_on);
    }
    check!(table.len() == measured.len() + elsewhere().count(), "{} rows", table.len());
    Ok(())
}
