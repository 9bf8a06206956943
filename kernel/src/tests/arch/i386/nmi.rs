//! NMIs, debug exceptions and double faults: what lands where without an interrupt stack table, and that it can happen again.

use super::registers::{self, Registers};
use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, irqchip};
use crate::backtrace;
use crate::provoke::{self, How};
use crate::softirq::{self, Softirq};
use crate::tests::backtraces::{HANDLER, crossings, goes_through, interrupted_here, steps_of};
use crate::tests::support::{check_mapping, kind_at, on_every_cpu, stack_at, stack_of_cpu, until};
use crate::tests::user_mode::{self, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use crate::{cpu_stacks, cpus, interrupts, overflow, sched, time};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack_core::addr::{AddrRange, ByteSize};
use kstack_core::kind::StackKind;

/// Red if a CPU lacks one, if two share one, if a guard is mapped, or if a size is not what its table says.
pub fn i8_every_cpu_has_guarded_exception_stacks_of_their_own_sizes() -> Outcome {
    let own = super::EXPECTED.cpu_stacks;
    let mut seen: Vec<AddrRange> = Vec::new();
    for cpu in cpus::online() {
        for &kind in own {
            let range = stack_of_cpu(kind, cpu)?.range;
            let pages = cpu_stacks::pages_of(kind);
            check!(range.size() == ByteSize::pages(pages), "{kind} of CPU {}: {range:?}", cpu.id());
            check!(!seen.contains(&range), "CPU {} shares its {kind} stack", cpu.id());
            seen.push(range);
            check_mapping(range)?;
        }
    }
    check!(seen.len() == 4 * own.len(), "{} stacks", seen.len());
    Ok(())
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static BREAKPOINTS: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static FRAME: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED_SP: AtomicUsize = AtomicUsize::new(0);
static SP: AtomicUsize = AtomicUsize::new(0);
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
    INTERRUPTED_SP.store(regs.sp().get(), Ordering::Relaxed);
    SP.store(cpu::stack_pointer(), Ordering::Relaxed);
}

/// The frame ends right below the interrupted SP, on the thread's stack; the handler stands on a stack of the CPU.
fn check_landing(handler: StackKind) -> Outcome {
    let (frame, sp) = (FRAME.load(Ordering::Relaxed), SP.load(Ordering::Relaxed));
    let interrupted = INTERRUPTED_SP.load(Ordering::Relaxed);
    let mine = sched::current().stack_range();
    check!(stack_at(frame).is_some_and(|stack| stack.range == mine), "the frame is at {frame:#x}");
    check!(frame + size_of::<SavedRegs>() == interrupted, "{frame:#x} below {interrupted:#x}");
    check!(kind_at(sp) == Some(handler), "handled at {sp:#x}");
    Ok(())
}

/// What an NMI needs of the stack it hits is a frame; the handler's depth is the body stack's business.
pub fn i8_an_nmi_leaves_its_frame_where_it_hits_and_is_handled_on_the_body_stack() -> Outcome {
    clear();
    interrupts::set_nmi_probe(Some(note));
    send_to_this_cpu();
    let came = until("the NMI has come", || COUNT.load(Ordering::Relaxed) > 0);
    interrupts::set_nmi_probe(None);
    came?;
    check_landing(StackKind::NmiBody)
}

/// Single step: the exception of a trap flag, in the kernel.
pub fn i8_a_debug_exception_in_the_kernel_is_handled_on_its_own_stack() -> Outcome {
    clear();
    interrupts::set_debug_probe(Some(|regs| {
        registers::end_single_step(regs);
        note(regs);
    }));
    registers::single_step();
    interrupts::set_debug_probe(None);
    check!(COUNT.load(Ordering::Relaxed) == 1, "{COUNT:?} debug exceptions");
    check_landing(StackKind::Debug)
}

/// Its vector, raised by an instruction. The handler may not return, so it ends the thread from there. Twice: its stack can be used
/// again. Red if it went the way of all exceptions, on the thread's stack.
pub fn i8_a_machine_check_is_handled_on_its_own_stack() -> Outcome {
    const MACHINE_CHECK: u8 = 18;
    static HOOKS: kstack::hooks::Hooks = kstack::hooks::Hooks {
        kernel_exception: |vector, fault, regs| {
            if vector != MACHINE_CHECK {
                return (crate::hooks::HOOKS.kernel_exception)(vector, fault, regs);
            }
            note(regs);
            let mine = sched::current().stack_range();
            let frame = core::ptr::from_mut(regs) as usize;
            let lands = stack_at(frame).is_some_and(|stack| stack.range == mine);
            WRONG.fetch_add(u32::from(!lands), Ordering::Relaxed);
            sched::exit_current()
        },
        ..crate::hooks::HOOKS
    };
    fn body(_: usize) {
        // SAFETY: (1) the handler is ours, and ends this thread.
        unsafe { core::arch::asm!("int {}", const MACHINE_CHECK) };
    }
    clear();
    kstack::hooks::install(&HOOKS);
    let outcome = (1..=2).try_for_each(|number| {
        sched::spawn_kernel("broken", body, 0).map_err(|e| alloc::format!("{e:?}"))?.join();
        check!(COUNT.load(Ordering::Relaxed) == number, "{COUNT:?} machine checks");
        let (frame, sp) = (FRAME.load(Ordering::Relaxed), SP.load(Ordering::Relaxed));
        check!(kind_at(sp) == Some(StackKind::MachineCheck), "handled at {sp:#x}");
        check!(WRONG.load(Ordering::Relaxed) == 0, "the frame is at {frame:#x}");
        let interrupted = INTERRUPTED_SP.load(Ordering::Relaxed);
        check!(frame + size_of::<SavedRegs>() == interrupted, "{frame:#x} below {interrupted:#x}");
        Ok(())
    });
    kstack::hooks::install(&crate::hooks::HOOKS);
    outcome
}

/// The handler sends itself an NMI and executes a breakpoint, whose `iret` lets that NMI in while the handler runs. It must
/// be handled afterwards, once; and every register of what was interrupted must be as before. Red if the second NMI enters
/// the body stack from its top, or is dropped.
pub fn i8_an_nmi_that_comes_during_an_nmi_is_handled_after_it() -> Outcome {
    fn nested(regs: &mut SavedRegs) {
        let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
        DEEPEST.fetch_max(depth, Ordering::Relaxed);
        let before = *regs;
        if COUNT.fetch_add(1, Ordering::Relaxed) < 3 {
            send_to_this_cpu();
            registers::breakpoint();
            if !cpus::this().local.arch.nmi_is_latched() {
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
    let left = cpu::without_interrupts(|| {
        let arch = &cpus::this().local.arch;
        (arch.nmi_is_active(), arch.nmi_is_latched())
    });
    check!(left == (false, false), "left behind: active, latched = {left:?}");
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

/// An NMI in an interrupt that hit a softirq that an interrupt of a thread left: four contexts, four stacks.
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
                send_to_this_cpu();
                // It comes while this handler runs.
                while !CAME.load(Ordering::Acquire) {
                    core::hint::spin_loop();
                }
            } else {
                softirq::raise(Softirq::Probe);
            }
        }));
        softirq::set_probe(irqchip::software_interrupt);
        interrupted_here();
    });
    interrupts::set_nmi_probe(None);
    let steps = steps?;
    let crossed = crossings(&steps);
    // In which order a seam and the interruption behind it come is the unwinder's; here both lie on the stack that was hit.
    let seams: Vec<_> = crossed.iter().filter(|name| name.contains(" to ")).copied().collect();
    check!(seams == ["nmi to irq", "irq to softirq", "softirq to thread"], "{crossed:?}");
    let interrupted = crossed.iter().filter(|name| **name == "interrupted").count();
    check!(interrupted == 3 && crossed.last() == Some(&"reliable"), "{crossed:?}");
    check!(goes_through(&steps, interrupted_here as *const () as usize), "{:x?}", steps.steps());
    Ok(())
}

/// It lands at the top of the thread's stack, which is empty, and is handled there.
pub fn i8_an_nmi_from_user_mode_is_handled_on_the_thread_stack() -> Outcome {
    static HITS: AtomicU32 = AtomicU32::new(0);
    HITS.store(0, Ordering::Relaxed);
    interrupts::set_nmi_probe(Some(|regs| {
        if regs.from_user() && user_mode::is_ours() && HITS.load(Ordering::Relaxed) == 0 {
            // SEEN's lock is taken by nobody in user mode.
            user_mode::see(2, kstack_core::addr::Addr::new(0), regs);
            HITS.fetch_add(1, Ordering::Release);
        }
    }));
    let outcome = user_mode::with_hooks(None, || {
        let thread = UserThread::start(super::user_code::spin, STACK_TOP - 8)?;
        let hit = thread.hit(irqchip::send_nmi, || HITS.load(Ordering::Acquire) > 0);
        user_mode::end_spin(&thread);
        thread.finish();
        hit?;
        let seen = user_mode::seen();
        let nmi = seen.iter().find(|seen| seen.vector == 2).ok_or("no NMI")?;
        user_mode::check_at_top(nmi)
    });
    interrupts::set_nmi_probe(None);
    outcome
}

/// Through the task gate and out of it again, more often than there are CPUs, under page tables of a program and of none: the
/// task that runs is the CPU's own, the other one is free, and nothing of the task switch is left in the flags or in CR0.
pub fn i8_o1_after_a_double_fault_the_task_gate_can_be_used_again() -> Outcome {
    for how in [How::Recursion, How::GiantFrame].into_iter().cycle().take(8) {
        let _old = overflow::take_last_report();
        provoke::in_thread(how);
        check!(overflow::take_last_report().is_some(), "{how:?}: there is no report");
    }
    on_every_cpu(|_| {
        super::tss::check_tasks()?;
        let (flags, cr0): (u32, u32);
        // SAFETY: (1) only reads registers.
        unsafe {
            core::arch::asm!("pushfd", "pop {flags}", "mov {cr0}, cr0", flags = out(reg) flags, cr0 = out(reg) cr0);
        }
        const NESTED_TASK: u32 = 1 << 14;
        const TASK_SWITCHED: u32 = 1 << 3;
        check!(flags & NESTED_TASK == 0 && cr0 & TASK_SWITCHED == 0, "{flags:#x}, {cr0:#x}");
        Ok(())
    })
}
