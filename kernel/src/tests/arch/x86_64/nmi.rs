//! The stacks of exceptions that can hit anything, and NMIs that come while an NMI is being handled.

use super::registers::{self, Registers};
use crate::arch::cpu_tables;
use crate::arch::irqchip::software_interrupt;
use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, irqchip};
use crate::softirq::{self, Softirq};
use crate::tests::backtraces::{HANDLER, crossings, goes_through, interrupted_here, steps_of};
use crate::tests::support::{check_mapping, kind_at, stack_at, stack_of_cpu, until};
use crate::tests::user_mode::{self, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use crate::{backtrace, cpu_stacks, cpus, interrupts, sched, time};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack_core::addr::{AddrRange, ByteSize};
use kstack_core::kind::StackKind;

const OWN: [StackKind; 5] = [
    StackKind::DoubleFault,
    StackKind::Nmi,
    StackKind::NmiBody,
    StackKind::Debug,
    StackKind::MachineCheck,
];

/// Red if a CPU lacks one, if two share one, if a guard is mapped, or if a size is not what its table says.
pub fn i8_every_cpu_has_guarded_exception_stacks_of_their_own_sizes() -> Outcome {
    let mut seen: Vec<AddrRange> = Vec::new();
    for cpu in cpus::online() {
        for kind in OWN {
            let range = stack_of_cpu(kind, cpu)?.range;
            let pages = cpu_stacks::pages_of(kind);
            check!(range.size() == ByteSize::pages(pages), "{kind} of CPU {}: {range:?}", cpu.id());
            check!(!seen.contains(&range), "CPU {} shares its {kind} stack", cpu.id());
            seen.push(range);
            check_mapping(range)?;
        }
    }
    check!(seen.len() == 4 * OWN.len(), "{} stacks", seen.len());
    Ok(())
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static BREAKPOINTS: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static FRAME: AtomicUsize = AtomicUsize::new(0);
static SP: AtomicUsize = AtomicUsize::new(0);
static RIP: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

fn clear() {
    for word in [&COUNT, &BREAKPOINTS, &DEPTH, &DEEPEST, &WRONG] {
        word.store(0, Ordering::Relaxed);
    }
}

fn send_to_this_cpu() {
    irqchip::send_nmi(cpus::this().hardware_id.load(Ordering::Relaxed));
}

fn note(regs: &mut SavedRegs) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    FRAME.store(core::ptr::from_mut(regs) as usize, Ordering::Relaxed);
    RIP.store(regs.rip as usize, Ordering::Relaxed);
    SP.store(cpu::stack_pointer(), Ordering::Relaxed);
}

/// The CPU's own frame is found where the interrupt stack table points; the handler stands on the body stack.
pub fn i8_an_nmi_lands_on_the_nmi_stack_and_is_handled_on_the_body_stack() -> Outcome {
    clear();
    interrupts::set_nmi_probe(Some(note));
    let (me, landing) = cpu::without_interrupts(|| {
        let me = cpus::this();
        let landing = stack_of_cpu(StackKind::Nmi, me);
        if let Ok(stack) = landing {
            // SAFETY: (1) no NMI is being handled on this CPU: nobody else uses its NMI stack. What the CPU does not
            // write stays zero.
            unsafe { (stack.range.lowest.get() as *mut u8).write_bytes(0, 4096 - 16) };
        }
        send_to_this_cpu();
        (me, landing)
    });
    until("the NMI has come", || COUNT.load(Ordering::Relaxed) > 0)?;
    interrupts::set_nmi_probe(None);
    let (landing, body) = (landing?, stack_of_cpu(StackKind::NmiBody, me)?);
    for word in [&FRAME, &SP] {
        let at = word.load(Ordering::Relaxed);
        check!(stack_at(at) == Some(body), "handled at {at:#x}, not on {body:?}");
    }
    // SAFETY: (1) the stack is mapped; the frame's lowest word, RIP, is 40 bytes below where the table points.
    let rip = unsafe { ((landing.range.top.get() - 16 - 40) as *const usize).read_volatile() };
    check!(rip == RIP.load(Ordering::Relaxed), "the NMI stack holds no frame: {rip:#x}");
    Ok(())
}

/// Single step: the exception of a trap flag, in the kernel.
pub fn i8_a_debug_exception_in_the_kernel_is_handled_on_its_own_stack() -> Outcome {
    clear();
    interrupts::set_debug_probe(Some(|regs| {
        regs.rflags &= !0x100;
        note(regs);
    }));
    let me = cpu::without_interrupts(|| {
        // SAFETY: (1) the handler clears the trap flag again.
        unsafe { core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop") };
        cpus::this()
    });
    interrupts::set_debug_probe(None);
    check!(COUNT.load(Ordering::Relaxed) == 1, "{COUNT:?} debug exceptions");
    let stack = stack_of_cpu(StackKind::Debug, me)?;
    for word in [&FRAME, &SP] {
        let at = word.load(Ordering::Relaxed);
        check!(stack_at(at) == Some(stack), "handled at {at:#x}, not on {stack:?}");
    }
    Ok(())
}

/// The handler sends itself an NMI and executes a breakpoint, whose `iretq` lets that NMI in while the handler runs. It must
/// be handled afterwards, once; and every register of what was interrupted must be as before. Red if the second NMI is
/// handled on the first one's frames, or is dropped.
pub fn i8_an_nmi_that_comes_during_an_nmi_is_handled_after_it() -> Outcome {
    fn nested(regs: &mut SavedRegs) {
        let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
        DEEPEST.fetch_max(depth, Ordering::Relaxed);
        let before = *regs;
        if COUNT.fetch_add(1, Ordering::Relaxed) < 3 {
            send_to_this_cpu();
            // SAFETY: (1) the handler returns with everything as it was.
            unsafe { core::arch::asm!("int3") };
            if !cpu_tables::nmi_words(cpus::this()).is_latched() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
        if *regs != before || kind_at(cpu::stack_pointer()) != Some(StackKind::NmiBody) {
            WRONG.fetch_add(100, Ordering::Relaxed);
        }
        DEPTH.fetch_sub(1, Ordering::Relaxed);
    }
    clear();
    interrupts::set_breakpoint_probe(Some(|_| {
        BREAKPOINTS.fetch_add(1, Ordering::Relaxed);
    }));
    interrupts::set_nmi_probe(Some(nested));
    interrupts::set_probe(Some(|_| send_to_this_cpu()));
    let mut after = Registers::default();
    // The NMI is sent from an interrupt, with known registers around it.
    registers::across_an_interrupt(&mut after);
    let came = until("four NMIs have come", || COUNT.load(Ordering::Relaxed) >= 4);
    interrupts::set_probe(None);
    interrupts::set_nmi_probe(None);
    interrupts::set_breakpoint_probe(None);
    came?;
    check!(after.are_known(), "afterwards {after:x?}");
    check!(COUNT.load(Ordering::Relaxed) == 4, "{COUNT:?} NMIs, not 4");
    check!(BREAKPOINTS.load(Ordering::Relaxed) == 3, "{BREAKPOINTS:?} breakpoints, not 3");
    check!(DEEPEST.load(Ordering::Relaxed) == 1, "{DEEPEST:?} handlers at a time");
    check!(WRONG.load(Ordering::Relaxed) == 0, "not latched, or disturbed: {WRONG:?}");
    let words = cpu::without_interrupts(|| {
        let words = cpu_tables::nmi_words(cpus::this());
        (words.is_active(), words.is_latched())
    });
    check!(words == (false, false), "left behind: active, latched = {words:?}");
    Ok(())
}

/// NMIs from another CPU rain on threads that keep a known value in every register.
pub fn i8_nmis_from_another_cpu_disturb_no_register_of_any_thread() -> Outcome {
    /// NMIs for each CPU, if the emulator is quick: each costs two turns of its own. Never fewer than a tenth.
    const EACH: u32 = 1000;
    const MOST_SECONDS: u64 = 8;
    static HANDLED: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
    static STOP: AtomicBool = AtomicBool::new(false);
    fn handled(_: &mut SavedRegs) {
        if let Some(count) = HANDLED.get(cpus::this().id().index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn keep(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            let mut after = Registers::default();
            registers::across_a_while(&mut after);
            if !after.are_known() {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    clear();
    STOP.store(false, Ordering::Relaxed);
    HANDLED.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    interrupts::set_nmi_probe(Some(handled));
    let threads: Vec<_> =
        (0..6).filter_map(|_| sched::spawn_kernel("keeping", keep, 0).ok()).collect();
    let mut lost = Vec::new();
    let (began, mut rounds) = (time::nanoseconds(), 0);
    'rain: while rounds < EACH
        && (rounds < EACH / 10 || time::nanoseconds() - began < MOST_SECONDS * 1_000_000_000)
    {
        rounds += 1;
        for (cpu, count) in cpus::online().zip(&HANDLED) {
            let before = count.load(Ordering::Relaxed);
            irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
            // Each is waited for, so that none may be merged with the next.
            let came = (0..50_000_000).any(|_| {
                core::hint::spin_loop();
                count.load(Ordering::Relaxed) != before
            });
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
    interrupts::set_nmi_probe(None);
    check!(threads.len() == 6, "only {} threads", threads.len());
    check!(lost.is_empty(), "CPU {lost:?} lost an NMI: {HANDLED:?}");
    for count in &HANDLED {
        check!(count.load(Ordering::Relaxed) == rounds, "{HANDLED:?} NMIs, not {rounds} each");
    }
    check!(WRONG.load(Ordering::Relaxed) == 0, "registers changed {WRONG:?} times");
    Ok(())
}

/// An NMI in an interrupt that hit a softirq that an interrupt of a thread left: four contexts, three stacks.
pub fn b2_a_backtrace_in_an_nmi_crosses_every_stack_below_it() -> Outcome {
    static CAME: AtomicBool = AtomicBool::new(false);
    CAME.store(false, Ordering::Relaxed);
    interrupts::set_nmi_probe(Some(|_| {
        let steps = backtrace::steps_here();
        *HANDLER.lock() = Some(steps);
        CAME.store(true, Ordering::Release);
    }));
    let steps = steps_of(|| {
        interrupts::set_probe(Some(|_| {
            if cpus::this().local.irq.snapshot().in_softirq() {
                irqchip::send_nmi(cpus::this().hardware_id.load(Ordering::Relaxed));
                // It comes while this handler runs.
                while !CAME.load(Ordering::Acquire) {
                    core::hint::spin_loop();
                }
            } else {
                softirq::raise(Softirq::Probe);
            }
        }));
        softirq::set_probe(software_interrupt);
        interrupted_here();
    });
    interrupts::set_nmi_probe(None);
    let steps = steps?;
    let crossed = crossings(&steps);
    check!(
        crossed
            == [
                "interrupted",
                "nmi to irq",
                "interrupted",
                "irq to thread",
                "interrupted",
                "reliable"
            ]
            || crossed
                == [
                    "nmi to irq",
                    "interrupted",
                    "interrupted",
                    "irq to thread",
                    "interrupted",
                    "reliable"
                ],
        "{crossed:?}"
    );
    check!(goes_through(&steps, interrupted_here as *const () as usize), "{:x?}", steps.steps());
    Ok(())
}

/// It lands on its own stack, and goes on at the top of the thread's, which is empty.
pub fn i8_an_nmi_from_user_mode_lands_on_the_nmi_stack_and_is_handled_on_the_thread_stack()
-> Outcome {
    static USER_HITS: AtomicU32 = AtomicU32::new(0);
    static LANDED: AtomicU64 = AtomicU64::new(0);
    USER_HITS.store(0, Ordering::Relaxed);
    interrupts::set_nmi_probe(Some(|regs| {
        if regs.from_user() && user_mode::is_ours() && USER_HITS.load(Ordering::Relaxed) == 0 {
            // The console is not needed here, and SEEN's lock is taken by nobody in user mode.
            user_mode::see(2, kstack_core::addr::Addr::new(0), regs);
            if let Ok(stack) = stack_of_cpu(StackKind::Nmi, cpus::this()) {
                // SAFETY: (1) the stack is mapped; RIP is 40 bytes below where the table points.
                let rip = unsafe { ((stack.range.top.get() - 16 - 40) as *const u64).read() };
                LANDED.store(rip, Ordering::Relaxed);
            }
            USER_HITS.fetch_add(1, Ordering::Release);
        }
    }));
    let outcome = user_mode::with_hooks(None, || {
        let thread = UserThread::start(super::user_code::spin, STACK_TOP - 8)?;
        let hit = thread.hit(irqchip::send_nmi, || USER_HITS.load(Ordering::Acquire) > 0);
        user_mode::end_spin(&thread);
        thread.finish();
        hit?;
        let seen = user_mode::seen();
        let nmi = seen.iter().find(|seen| seen.vector == 2).ok_or("no NMI")?;
        user_mode::check_at_top(nmi)?;
        let landed = LANDED.load(Ordering::Relaxed);
        check!(landed == nmi.regs.rip, "the NMI stack has {landed:x}, {nmi:x?}");
        Ok(())
    });
    interrupts::set_nmi_probe(None);
    outcome
}
