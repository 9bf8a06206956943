//! FIQs, this machine's NMIs: where they land, that they hit entries and ways back without harm,
//! and what an overflow in one is.

use super::registers::{self, Registers};
use crate::provoke::{self, How};
use crate::tests::backtraces::{HANDLER, crossings, goes_through, interrupted_here, steps_of};
use crate::tests::support::{kind_at, stack_at, until};
use crate::tests::user_mode::{self, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::kind::StackKind;
use machine::arch::regs::{MODE, SVC_MODE, SavedRegs};
use machine::arch::{cpu, irqchip};
use machine::cpus;
use threads::entry::probes;
use threads::report::backtrace;
use threads::{sched, time};

/// By its place in the vector table.
const FIQ: u8 = 7;
/// In CPSR.
const IRQ_MASKED: u32 = 1 << 7;
/// In CPSR.
const FIQ_MASKED: u32 = 1 << 6;

fn send_to_this_cpu() {
    irqchip::send_nmi(cpus::this().hardware_id.load(Ordering::Relaxed));
}

fn cpsr() -> u32 {
    let value: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe { core::arch::asm!("mrs {}, cpsr", out(reg) value, options(nomem, nostack)) };
    value
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static FRAME: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED_SP: AtomicUsize = AtomicUsize::new(0);
static SP: AtomicUsize = AtomicUsize::new(0);
static STATUS: AtomicU32 = AtomicU32::new(0);
static CURRENT: AtomicUsize = AtomicUsize::new(0);

/// With interrupts off, so that only a FIQ can come: its frame ends right below the interrupted SP,
/// the handler stands on the same stack, in SVC mode, IRQ and FIQ masked, as the same thread;
/// afterwards no FIQ is under way. Red if interrupts' being off kept it out, or if the work were
/// done on the words of FIQ mode.
pub fn i10_a_fiq_comes_with_interrupts_off_and_is_handled_in_svc_mode_where_it_hits() -> Outcome {
    fn note(regs: &mut SavedRegs) {
        FRAME.store(core::ptr::from_mut(regs) as usize, Ordering::Relaxed);
        INTERRUPTED_SP.store(regs.sp().get(), Ordering::Relaxed);
        SP.store(cpu::stack_pointer(), Ordering::Relaxed);
        STATUS.store(cpsr(), Ordering::Relaxed);
        CURRENT.store(core::ptr::from_ref(sched::current()) as usize, Ordering::Relaxed);
        if cpus::this().local.arch.nmi_is_active() {
            COUNT.fetch_add(1, Ordering::Release);
        }
    }
    COUNT.store(0, Ordering::Relaxed);
    probes::set_nmi_probe(Some(note));
    let came = cpu::without_interrupts(|| {
        send_to_this_cpu();
        (0..50_000_000).any(|_| COUNT.load(Ordering::Acquire) > 0)
    });
    probes::set_nmi_probe(None);
    check!(came && COUNT.load(Ordering::Relaxed) == 1, "{COUNT:?} came");
    let (frame, sp) = (FRAME.load(Ordering::Relaxed), SP.load(Ordering::Relaxed));
    let interrupted = INTERRUPTED_SP.load(Ordering::Relaxed);
    let me = sched::current();
    let is_mine = |at| stack_at(at).is_some_and(|stack| stack.range == me.stack_range());
    check!(is_mine(frame) && is_mine(sp), "frame at {frame:#x}, handled at {sp:#x}");
    check!(frame + size_of::<SavedRegs>() == interrupted, "{frame:#x} below {interrupted:#x}");
    let status = STATUS.load(Ordering::Relaxed);
    let expected = SVC_MODE | IRQ_MASKED | FIQ_MASKED;
    check!(status & (MODE | IRQ_MASKED | FIQ_MASKED) == expected, "CPSR is {status:#x}");
    let current = CURRENT.load(Ordering::Relaxed);
    check!(current == core::ptr::from_ref(me) as usize, "it ran as {current:#x}");
    check!(cpsr() & FIQ_MASKED == 0, "FIQ is masked afterwards");
    check!(!cpus::this().local.arch.nmi_is_active(), "it is still under way");
    Ok(())
}

/// It lands at the top of the thread's stack, which is empty, and is handled there.
pub fn i10_a_fiq_from_user_mode_is_handled_on_the_thread_stack() -> Outcome {
    static HITS: AtomicU32 = AtomicU32::new(0);
    HITS.store(0, Ordering::Relaxed);
    probes::set_nmi_probe(Some(|regs| {
        if regs.from_user() && user_mode::is_ours() && HITS.load(Ordering::Relaxed) == 0 {
            // user mode never takes SEEN's lock.
            user_mode::see(FIQ, Addr::new(0), regs);
            HITS.fetch_add(1, Ordering::Release);
        }
    }));
    let outcome = user_mode::with_hooks(None, || {
        let thread = UserThread::start(super::user_code::spin, STACK_TOP - 8)?;
        let hit = thread.hit(irqchip::send_nmi, || HITS.load(Ordering::Acquire) > 0);
        user_mode::end_spin(&thread);
        let unharmed = thread.finish_unharmed();
        hit?;
        unharmed?;
        let seen = user_mode::seen();
        let fiq = seen.iter().find(|seen| seen.vector == FIQ).ok_or("no FIQ")?;
        user_mode::check_at_top(fiq)
    });
    probes::set_nmi_probe(None);
    outcome
}

/// In an interrupt handler: from there over the IRQ stack to the thread.
pub fn b2_a_backtrace_in_a_fiq_crosses_the_irq_stack_to_the_thread() -> Outcome {
    static CAME: AtomicBool = AtomicBool::new(false);
    CAME.store(false, Ordering::Relaxed);
    probes::set_nmi_probe(Some(|_| {
        if kind_at(cpu::stack_pointer()) == Some(StackKind::Irq) {
            *HANDLER.lock() = Some(backtrace::steps_here());
            CAME.store(true, Ordering::Release);
        }
    }));
    let steps = steps_of(|| {
        probes::set_probe(Some(|_| {
            send_to_this_cpu();
            // It comes while this handler runs.
            let _waited = (0..50_000_000).any(|_| CAME.load(Ordering::Acquire));
        }));
        interrupted_here();
    });
    probes::set_nmi_probe(None);
    let steps = steps?;
    let crossed = crossings(&steps);
    let seams: Vec<_> = crossed.iter().filter(|name| name.contains(" to ")).copied().collect();
    check!(seams == ["irq to thread"], "{crossed:?}");
    let interrupted = crossed.iter().filter(|name| **name == "interrupted").count();
    check!(interrupted == 2 && crossed.last() == Some(&"reliable"), "{crossed:?}");
    check!(goes_through(&steps, interrupted_here as *const () as usize), "{:x?}", steps.steps());
    Ok(())
}

/// FIQs from another CPU rain on threads that go in and out of the kernel with a known value in
/// every register, and on programs that keep theirs, thread registers included. Red if one that
/// hits an entry or a return path changes SPSR_svc or TPIDRURO under it.
pub fn s4_fiqs_that_rain_on_entries_and_ways_back_disturb_no_register() -> Outcome {
    /// FIQs for each CPU, if the emulator is quick: each costs two turns of its own. Never fewer
    /// than a tenth.
    const EACH: u32 = 1000;
    const MAX_SECONDS: u64 = 8;
    static HANDLED: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
    static IN_THE_KERNEL: AtomicU32 = AtomicU32::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);
    static WRONG: AtomicU32 = AtomicU32::new(0);
    static PROGRAMS: AtomicU32 = AtomicU32::new(0);
    fn handled(regs: &mut SavedRegs) {
        if !regs.from_user() {
            IN_THE_KERNEL.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = HANDLED.get(cpus::this().id().index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn keep(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            let mut after = Registers::default();
            registers::across_an_interrupt(&mut after);
            if !after.are_known() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    fn keep_in_a_program(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            let status = linux::run("/kstack/bin/float-keeper", &[b"float-keeper"]);
            if status != Ok(0) {
                WRONG.fetch_add(1000, Ordering::Relaxed);
            }
            PROGRAMS.fetch_add(1, Ordering::Relaxed);
        }
    }
    for word in HANDLED.iter().chain([&IN_THE_KERNEL, &WRONG, &PROGRAMS]) {
        word.store(0, Ordering::Relaxed);
    }
    STOP.store(false, Ordering::Relaxed);
    probes::set_nmi_probe(Some(handled));
    let bodies: [fn(usize); 6] =
        [keep, keep_in_a_program, keep, keep_in_a_program, keep_in_a_program, keep_in_a_program];
    let threads: Vec<_> =
        bodies.iter().filter_map(|&body| sched::spawn_kernel("keeping", body, 0).ok()).collect();
    let mut lost = Vec::new();
    let (began, mut rounds) = (time::nanoseconds(), 0);
    'rain: while rounds < EACH
        && (rounds < EACH / 10 || time::nanoseconds() - began < MAX_SECONDS * 1_000_000_000)
    {
        rounds += 1;
        for (cpu, count) in cpus::online().zip(&HANDLED) {
            let before = count.load(Ordering::Relaxed);
            irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
            // Each is waited for, so that none may be merged with the next.
            let came = arrives_at(cpu, || count.load(Ordering::Relaxed) != before);
            if !came {
                lost.push(cpu.id());
                break 'rain;
            }
        }
    }
    STOP.store(true, Ordering::Relaxed);
    for thread in &threads {
        thread.join();
    }
    probes::set_nmi_probe(None);
    check!(threads.len() == bodies.len(), "only {} threads", threads.len());
    check!(lost.is_empty(), "CPU {lost:?} lost a FIQ: {HANDLED:?}");
    for count in &HANDLED {
        check!(count.load(Ordering::Relaxed) == rounds, "{HANDLED:?} FIQs, not {rounds} each");
    }
    check!(WRONG.load(Ordering::Relaxed) == 0, "registers changed {WRONG:?} times");
    check!(PROGRAMS.load(Ordering::Relaxed) >= 4, "{PROGRAMS:?} programs ended");
    check!(IN_THE_KERNEL.load(Ordering::Relaxed) > rounds, "{IN_THE_KERNEL:?} hit the kernel");
    until("no program is left", || linux::all().is_empty())
}

/// Waits for what a CPU, which may be this one, does within an instant of its own: an emulator on a
/// busy host may let it stand for seconds. So the wait ends when that CPU has gone on without doing
/// it, by its own ticks.
fn arrives_at(cpu: &cpus::Cpu, mut condition: impl FnMut() -> bool) -> bool {
    const TICKS: u64 = 50;
    let ticks = || cpu.ticks.load(Ordering::Acquire);
    let began = ticks();
    loop {
        core::hint::spin_loop();
        // In this order: what was done before the last tick is seen.
        let has_gone_on = ticks() - began >= TICKS;
        if condition() {
            return true;
        }
        if has_gone_on {
            return false;
        }
    }
}

/// The stack is a thread's, which could be ended but for the FIQ.
pub fn o2_an_overflow_in_a_fiq_handler_stops_the_machine_with_a_report() -> Outcome {
    probes::set_nmi_probe(Some(|_| provoke::overflow_here(How::Recursion)));
    control!(
        "expect o2_an_overflow_in_a_fiq_handler_stops_the_machine_with_a_report stack=thread side=below cause=guard-hit \
         consequence=stop-system victim=main reliable=yes backtrace~=recurse_until_overflow backtrace~=fiq_entry"
    );
    send_to_this_cpu();
    until("the machine has stopped", || false)
}
