//! Samples: interrupts that land anywhere while the machine does everything that it can, each
//! followed to the outermost frame; and threads that are looked at while they run elsewhere.

use super::arch::depth::SEND_NMI;
use super::support::until;
use super::{Outcome, check};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use kstack::addr::{Addr, ByteSize};
use kstack::arch::current::regs::Rules;
use kstack::prologue::FrameState;
use kstack::stacks::Code;
use kstack::unwind::frames::Frame;
use kstack::unwind::{Backtrace, End, FrameRules, Step};
use linux::run_captured;
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, smp};
use machine::spin::SpinLock;
use machine::{cpus, halt};
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::backtrace::{self, STEPS};
use threads::report::{running, symbols};
use threads::sched;

/// Interrupts, and half of them NMIs where there are any.
const SAMPLES: usize = 10_000;
/// How long one may take, in thousandths of a second of the machine's clock.
const LONGEST: u64 = 2_000;

static LEAVE: AtomicBool = AtomicBool::new(false);
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// What a CPU was interrupted at. Not on a stack: the steps are half of a small one.
struct Landing {
    regs: Option<SavedRegs>,
    steps: Backtrace<STEPS>,
}

/// One for each CPU of the tests' machines.
static LANDINGS: [SpinLock<Landing>; 8] =
    [const { SpinLock::new(Landing { regs: None, steps: Backtrace::empty() }) }; 8];

/// The handler. The lock is free: the tester takes it only when all have landed, and sends no other
/// before.
pub(super) fn land(regs: &mut SavedRegs) {
    {
        let mut landing = LANDINGS[cpus::this().id().index() % LANDINGS.len()].lock();
        backtrace::keep_steps_from_regs(regs, &mut landing.steps);
        landing.regs = Some(*regs);
    }
    TAKEN.fetch_add(1, Ordering::Release);
}

/// A function of few instructions that calls itself: many samples land where it has no record yet,
/// or none any more. What called it is known.
#[inline(never)]
fn branches(depth: u32) -> u32 {
    if depth < 2 {
        return black_box(depth);
    }
    branches(depth - 1).wrapping_add(branches(depth - 2))
}

#[inline(never)]
fn root_of_branches() -> u32 {
    black_box(branches(black_box(9)))
}

/// What threads do meanwhile: calls, switches, softirqs and interrupts from threads, programs with
/// system calls and page faults, births and deaths.
const LOADS: [fn(); 5] = [
    || {
        black_box(root_of_branches());
    },
    sched::yield_now,
    || {
        cpu::without_interrupts(|| softirq::raise(Softirq::Probe));
        irqchip::software_interrupt();
        sched::yield_now();
    },
    || {
        let script: [&[u8]; 3] = [b"sh", b"-c", b"ls /proc > /tmp/samples; cat /tmp/samples | wc"];
        let _output = run_captured("/bin/busybox", &script);
    },
    || {
        if let Ok(thread) = sched::spawn_kernel("brief", |_| sched::yield_now(), 0) {
            thread.join();
        }
    },
];

fn load(number: usize) {
    while !LEAVE.load(Ordering::Relaxed) {
        LOADS[number % LOADS.len()]();
    }
}

/// A name for an address, without the place in it.
fn name_of(pc: Addr) -> String {
    symbols::lookup(pc.get() as u64)
        .map_or_else(|| format!("{pc}"), |symbol| symbol.name.to_string())
}

/// Where an interrupted function's caller is, by its code alone.
fn by_code(pc: Addr) -> Option<FrameState> {
    match symbols::code_at(pc) {
        Code::Function { lowest, code } => {
            match Rules::frame_state(code, pc.bytes_above(lowest).get()) {
                FrameState::Unknown => None,
                state => Some(state),
            }
        }
        _ => None,
    }
}

/// Whether a frame of the table is what the code tells.
fn agree(frame: Frame, state: FrameState) -> bool {
    match (frame, state) {
        (Frame::Record, FrameState::There) | (Frame::Link, FrameState::InLink) => true,
        (Frame::Called { pc, .. }, FrameState::OnStack(words)) => usize::from(pc) == words,
        // Saved already, or saved still, and in the register as well.
        (Frame::Called { .. }, FrameState::InLink | FrameState::There) => true,
        _ => false,
    }
}

/// Functions that nothing calls: where threads and CPUs begin.
const OUTERMOST: [&str; 7] = [
    "kernel_main",
    "first_return",
    "continue_on",
    "first_on_idle_stack",
    "kernel_secondary",
    "secondary_main",
    "idle_loop",
];

/// Functions of the compiler's library, on 32-bit Arm, whose assembly keeps no frame: that a caller
/// may be missing behind one of them is the truth.
const WITHOUT_FRAMES: [&str; 4] =
    ["__aeabi_idivmod", "__aeabi_ldivmod", "__aeabi_uidivmod", "__aeabi_uldivmod"];

/// Whether the caller of what is at this address cannot be known: in those functions, and in entry
/// code that nothing describes, since the registers of what was interrupted are in the CPU still.
/// Only 32-bit Arm has such entry code where an interrupt can come: a FIQ in its vectors and at the
/// beginning of its entries.
pub(super) fn is_rightly_in_doubt(at: Addr) -> bool {
    let is_bare_entry = symbols::code_at(at) == Code::Entry && symbols::frame_at(at).is_none();
    is_bare_entry || WITHOUT_FRAMES.contains(&&*name_of(at))
}

/// The same of an answer's text, which names the place.
fn says_rightly_that_one_may_be_missing(text: &str) -> bool {
    let place = text.split_once("interrupted at 0x").map(|(_, rest)| rest);
    let digits = place.and_then(|rest| rest.split_once(|digit: char| !digit.is_ascii_hexdigit()));
    let at = digits.and_then(|(digits, _)| usize::from_str_radix(digits, 16).ok());
    at.is_some_and(|at| is_rightly_in_doubt(Addr::new(at)))
}

/// What was seen of all samples.
#[derive(Default)]
pub(super) struct Tally {
    of_programs: usize,
    in_entries: usize,
    /// Where there is no record, and the caller is the table's to tell.
    pub(super) without_record: usize,
    /// Of those, what the code alone does not tell.
    by_table_alone: usize,
    known_callers: usize,
    /// Those that say that a caller may be missing, where that is the truth.
    doubts: usize,
    /// What was wrong, with how often.
    wrong: BTreeMap<String, usize>,
}

impl Tally {
    /// Says what was seen; an error if any sample is wrong.
    pub(super) fn judge(&self, what: &str) -> Outcome {
        log!(
            "  {what}: {} of programs, {} in entries, {} without a record ({} by the table alone), {} known callers, {} doubts",
            self.of_programs,
            self.in_entries,
            self.without_record,
            self.by_table_alone,
            self.known_callers,
            self.doubts
        );
        let number: usize = self.wrong.values().sum();
        let some: Vec<_> = self.wrong.iter().take(12).collect();
        check!(number == 0, "{number} {what} are wrong: {some:?}");
        Ok(())
    }

    fn take(&mut self, regs: &SavedRegs, steps: &Backtrace<STEPS>) {
        if regs.from_user() {
            self.of_programs += 1;
        }
        if let Err(why) = self.look(regs, steps) {
            *self.wrong.entry(why).or_default() += 1;
        }
    }

    fn look(&mut self, regs: &SavedRegs, steps: &Backtrace<STEPS>) -> Outcome {
        let pc = regs.pc();
        let there = || {
            let at = symbols::lookup(pc.get() as u64);
            at.map_or_else(|| format!("{pc}"), |at| format!("{}+{:#x}", at.name, at.offset))
        };
        let end = steps.end();
        if let Some(End::FrameMayBeMissing(of) | End::InnermostMayBeMissing(of)) = end
            && is_rightly_in_doubt(of)
        {
            self.doubts += 1;
            return Ok(());
        }
        check!(end == Some(End::Reliable), "at {}: {end:x?}", there());
        if regs.from_user() {
            return Ok(());
        }
        if symbols::code_at(pc) == Code::Entry {
            self.in_entries += 1;
        }
        let (frame, state) = (symbols::frame_at(pc), by_code(pc));
        if frame.is_some_and(|frame| frame != Frame::Record) {
            self.without_record += 1;
            self.by_table_alone += usize::from(state.is_none());
        }
        if let (Some(frame), Some(state)) = (frame, state) {
            check!(agree(frame, state), "at {}: {frame:?}, but by its code {state:?}", there());
        }
        self.look_at_callers(pc, steps).map_err(|why| format!("at {}: {why}", there()))
    }

    fn look_at_callers(&mut self, pc: Addr, steps: &Backtrace<STEPS>) -> Outcome {
        let steps = steps.steps();
        let code = |step: &Step| match step {
            Step::Caller(pc) => Some(pc.wrapping_sub(ByteSize::new(1))),
            Step::Interrupted(regs) => Some(regs.pc),
            _ => None,
        };
        if name_of(pc).contains("samples::branches") {
            let caller = steps.get(1).and_then(|(step, _)| code(step)).map(name_of);
            let known = caller.as_ref().is_some_and(|caller| caller.contains("of_branches"))
                || caller.as_ref().is_some_and(|caller| caller.contains("samples::branches"));
            check!(known, "called by {caller:?}");
            self.known_callers += 1;
        }
        // It ends at a program, in an entry from one, or where a thread or a CPU begins.
        let to_program = steps.iter().any(|(step, _)| matches!(step, Step::UserBoundary(_)));
        // The boot code, which calls the first function of a CPU, has no size and no name.
        let last: Vec<Addr> =
            steps.iter().rev().filter_map(|(step, _)| code(step)).take(2).collect();
        let known = last.iter().any(|&pc| {
            let name = name_of(pc);
            symbols::code_at(pc) == Code::Entry
                || OUTERMOST.iter().any(|outermost| name.contains(outermost))
        });
        let names = || last.iter().map(|&pc| name_of(pc)).collect::<Vec<_>>();
        check!(to_program || known, "the outermost are {:?}", names());
        Ok(())
    }
}

/// Sends one to each of these CPUs, and waits until all have landed.
fn sample(send: impl Fn(u32), others: &[u32]) -> Outcome {
    let all = taken() + others.len() as u64;
    others.iter().for_each(|&cpu| send(cpu));
    let longest = irqchip::counter_per_second() / 1000 * LONGEST;
    let began = irqchip::counter();
    while taken() < all {
        let waited = irqchip::counter().wrapping_sub(began);
        check!(waited < longest, "an interrupt did not come to one of {others:?}");
        spin_loop();
    }
    Ok(())
}

/// What the interrupt controller calls the other CPUs.
pub(super) fn others() -> Vec<u32> {
    let me = cpus::this().id();
    let others = cpus::online().filter(|cpu| cpu.id() != me);
    others.map(|cpu| cpu.hardware_id.load(Ordering::Relaxed)).collect()
}

/// How many have landed.
pub(super) fn taken() -> u64 {
    TAKEN.load(Ordering::Acquire)
}

/// Looks at all that have landed, each once; `each` sees its steps. How many there were.
pub(super) fn look_at_landed(tally: &mut Tally, mut each: impl FnMut(&Backtrace<STEPS>)) -> usize {
    let mut count = 0;
    for place in &LANDINGS {
        let mut landing = place.lock();
        if let Some(regs) = landing.regs.take() {
            tally.take(&regs, &landing.steps);
            each(&landing.steps);
            count += 1;
        }
    }
    count
}

/// Takes this many samples of all CPUs but this one; `each` sees the steps of each.
pub(super) fn take(
    send: fn(u32),
    count: usize,
    tally: &mut Tally,
    mut each: impl FnMut(&Backtrace<STEPS>),
) -> Outcome {
    let mut random = 0x9e37_79b9_u64;
    let others = others();
    check!(!others.is_empty(), "one CPU: nothing to sample");
    for number in 0..count.div_ceil(others.len()) {
        if number % 100 == 0 {
            control!("alive");
        }
        // Xorshift: periods of the load and of the samples have nothing in common.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        for _ in 0..random % 512 {
            spin_loop();
        }
        sample(send, &others)?;
        let landed = look_at_landed(tally, &mut each);
        check!(landed == others.len(), "{landed} of {} have landed", others.len());
    }
    Ok(())
}

/// Sends what runs [`land`] on a CPU.
pub(super) fn send_call(hardware_id: u32) {
    irqchip::send_interrupt(hardware_id, vector::CALL);
}

/// Does it while threads of every kind run on all CPUs.
pub(super) fn under_load(body: impl FnOnce() -> Outcome) -> Outcome {
    LEAVE.store(false, Ordering::Relaxed);
    softirq::set_probe(|| {
        black_box(root_of_branches());
    });
    let mut threads = Vec::new();
    let mut outcome = Ok(());
    for number in 0..LOADS.len() {
        match sched::spawn_kernel("load", load, number) {
            Ok(thread) => threads.push(thread),
            Err(error) => outcome = Err(format!("{error:?}")),
        }
    }
    probes::set_call(land);
    // Otherwise it had its turn among them, and each of its samples waited for it.
    let me = sched::current_arc();
    let (rank, has_slices) = sched::rank(&me);
    sched::set_rank(&me, 1, false);
    let outcome = outcome.and_then(|()| body());
    sched::set_rank(&me, rank, has_slices);
    probes::set_call(|_| {});
    LEAVE.store(true, Ordering::Relaxed);
    for thread in &threads {
        thread.join();
    }
    softirq::set_probe(|| {});
    outcome
}

/// While threads of every kind run on all CPUs: interrupts, and what masking them does not keep out
/// where there is such a thing. Red without the table, with one whose rows are off by one
/// instruction, and where the walk does not look at what an entry interrupted.
pub fn b3_ten_thousand_samples_under_load_unwind_to_the_outermost_frame() -> Outcome {
    let (mut interrupts, mut nmis) = (Tally::default(), Tally::default());
    under_load(|| {
        let Some(send) = SEND_NMI else {
            return take(send_call, SAMPLES, &mut interrupts, |_| {});
        };
        take(send_call, SAMPLES / 2, &mut interrupts, |_| {})?;
        probes::set_nmi_probe(Some(land));
        let outcome = take(send, SAMPLES / 2, &mut nmis, |_| {});
        probes::set_nmi_probe(None);
        outcome
    })?;
    let of_nmis = nmis.judge("NMIs");
    interrupts.judge("interrupts").and(of_nmis)?;
    check!(interrupts.known_callers > 20, "{} known callers", interrupts.known_callers);
    check!(interrupts.of_programs > 20, "{} of programs", interrupts.of_programs);
    if SEND_NMI.is_some() {
        let Tally { in_entries, without_record, .. } = nmis;
        check!(in_entries > 20, "{in_entries} NMIs in entries");
        check!(without_record > 20, "{without_record} NMIs without a record");
    }
    Ok(())
}

/// What /proc says of where a thread is.
fn stack_in_proc(thread: &sched::Thread) -> Result<String, String> {
    let path = format!("/proc/{}/stack", thread.number());
    let bytes = linux::fs::read_file(&path).ok_or_else(|| format!("there is no {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// That it has come to its function.
static SPINS: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn spins_elsewhere(_: usize) {
    SPINS.store(true, Ordering::Release);
    while !LEAVE.load(Ordering::Relaxed) {
        spin_loop();
    }
    black_box(());
}

/// Red if it says that the thread runs, and no more, or if the answer is of another thread.
pub fn b3_a_thread_that_runs_on_another_cpu_is_traced_where_it_is() -> Outcome {
    check!(cpus::online_count() > 1, "one CPU: nothing runs elsewhere");
    LEAVE.store(false, Ordering::Relaxed);
    SPINS.store(false, Ordering::Relaxed);
    let thread = sched::spawn_kernel("elsewhere", spins_elsewhere, 0);
    let thread = thread.map_err(|error| format!("{error:?}"))?;
    // On a CPU it may still be on its way to its function.
    let looked = until("it spins", || SPINS.load(Ordering::Acquire)).and_then(|()| {
        let mut told = 0;
        for _ in 0..50 {
            let text = stack_in_proc(&thread)?;
            if says_rightly_that_one_may_be_missing(&text) {
                continue;
            }
            told += 1;
            check!(text.contains("spins_elsewhere"), "its function is not in {text}");
            check!(text.contains("the end; reliable"), "not reliable: {text}");
        }
        check!(told >= 10, "{told} of 50 answers tell where it is");
        Ok(())
    });
    LEAVE.store(true, Ordering::Relaxed);
    thread.join();
    looked
}

static OFF: AtomicBool = AtomicBool::new(false);

/// With interrupts off, until it is told, or for ten times as long as an answer may take.
#[inline(never)]
fn spins_with_interrupts_off(_: usize) {
    cpu::without_interrupts(|| {
        OFF.store(true, Ordering::Release);
        let longest = irqchip::counter_per_second() / 100 * running::LONGEST;
        let began = irqchip::counter();
        while !LEAVE.load(Ordering::Relaxed) && irqchip::counter().wrapping_sub(began) < longest {
            // Others may wait for this CPU.
            smp::answer_flush();
            halt::park_if_asked();
            spin_loop();
        }
        OFF.store(false, Ordering::Release);
    });
    black_box(());
}

/// Where there are NMIs they get the answer; elsewhere the caller gives up in time and says so. Red
/// if the caller waits for as long as the CPU does not answer, and if the next question finds the
/// first still there.
pub fn b3_a_cpu_with_interrupts_off_answers_by_nmi_or_is_given_up_in_time() -> Outcome {
    check!(cpus::online_count() > 1, "one CPU: nothing runs elsewhere");
    LEAVE.store(false, Ordering::Relaxed);
    OFF.store(false, Ordering::Relaxed);
    let thread = sched::spawn_kernel("deaf", spins_with_interrupts_off, 0);
    let thread = thread.map_err(|error| format!("{error:?}"))?;
    let looked = until("interrupts are off", || OFF.load(Ordering::Acquire)).and_then(|()| {
        let began = irqchip::counter();
        let text = stack_in_proc(&thread)?;
        let took = irqchip::counter().wrapping_sub(began);
        let is_off = OFF.load(Ordering::Acquire);
        let most = irqchip::counter_per_second() / 1000 * running::LONGEST * 5;
        check!(took < most, "it took {took} of {most} counts");
        check!(is_off, "interrupts came on meanwhile");
        if text.contains("did not answer within") {
            check!(SEND_NMI.is_none(), "an NMI got no answer: {text}");
        } else {
            check!(text.contains("spins_with_interrupts_off"), "it is elsewhere: {text}");
            check!(text.contains("the end; reliable"), "not reliable: {text}");
        }
        Ok(())
    });
    LEAVE.store(true, Ordering::Relaxed);
    thread.join();
    looked?;
    b3_a_thread_that_runs_on_another_cpu_is_traced_where_it_is()
}
