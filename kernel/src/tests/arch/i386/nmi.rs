//! NMIs, debug exceptions and double faults: what lands where without an interrupt stack table, and
//! that it can happen again.

use super::registers;
use crate::provoke::{self, How};
use crate::tests::arch::pc::nmi::{
    COUNT, WRONG, clear, crossings_in_an_nmi, hit_user_mode, see_the_first_of_user_mode,
    send_to_this_cpu,
};
use crate::tests::support::{kind_at, on_every_cpu, stack_at, until};
use crate::tests::{Outcome, check};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::end_word;
use kstack::kind::StackKind;
use machine::arch::cpu;
use machine::arch::regs::SavedRegs;
use threads::entry::probes;
use threads::report::overflow;
use threads::sched;

pub use crate::tests::arch::pc::nmi::{
    i8_a_debug_exception_in_an_nmi_in_the_debug_handler_is_taken_and_goes_back,
    i8_a_debug_exception_in_the_debug_handler_is_taken_and_goes_back,
    i8_an_nmi_that_comes_during_an_nmi_is_handled_after_it,
    i8_every_cpu_has_guarded_exception_stacks_of_their_own_sizes,
    i8_nmis_from_another_cpu_disturb_no_register_of_any_thread,
    o2_o5_o6_a_guard_touched_by_an_nmi_handler_stops_the_machine,
    o2_o5_o6_an_overflow_in_an_nmi_handler_stops_the_machine,
    o2_o5_o6_an_overflow_in_an_nmi_that_hit_user_mode_stops_the_machine,
};

static FRAME: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED_SP: AtomicUsize = AtomicUsize::new(0);
static SP: AtomicUsize = AtomicUsize::new(0);

fn note(regs: &mut SavedRegs) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    FRAME.store(core::ptr::from_mut(regs) as usize, Ordering::Relaxed);
    INTERRUPTED_SP.store(regs.sp().get(), Ordering::Relaxed);
    SP.store(cpu::stack_pointer(), Ordering::Relaxed);
}

/// The frame ends right below the interrupted SP, on the thread's stack; the handler stands on a
/// stack of the CPU.
fn check_landing(handler: StackKind) -> Outcome {
    let (frame, sp) = (FRAME.load(Ordering::Relaxed), SP.load(Ordering::Relaxed));
    let interrupted = INTERRUPTED_SP.load(Ordering::Relaxed);
    let mine = sched::current().stack_range();
    check!(stack_at(frame).is_some_and(|stack| stack.range == mine), "the frame is at {frame:#x}");
    check!(frame + size_of::<SavedRegs>() == interrupted, "{frame:#x} below {interrupted:#x}");
    check!(kind_at(sp) == Some(handler), "handled at {sp:#x}");
    Ok(())
}

/// What an NMI needs of the stack it hits is a frame; the handler's depth is the body stack's
/// business.
pub fn i8_an_nmi_leaves_its_frame_where_it_hits_and_is_handled_on_the_body_stack() -> Outcome {
    clear();
    probes::set_nmi_probe(Some(note));
    send_to_this_cpu();
    let came = until("the NMI has come", || COUNT.load(Ordering::Relaxed) > 0);
    probes::set_nmi_probe(None);
    came?;
    check_landing(StackKind::NmiBody)
}

/// Whether the thread's end word is whole after `int number` with SP so far above the lowest word
/// of its stack, and the register that was saved there is as before. Interrupts are off, so that
/// the thread is not ended for want of room.
fn end_word_survives<const NUMBER: u8>(above: usize) -> bool {
    const IN_EBX: usize = 0x5eed_0b0e;
    let lowest = sched::current().stack_range().lowest;
    let ebx = cpu::without_interrupts(|| {
        let ebx: usize;
        // SAFETY: (1) the vectors' handlers are ours and return; (2) what is pushed lies on this
        // thread's stack, far below what it uses; SP and EBX come back.
        unsafe {
            core::arch::asm!(
                "mov {kept}, esp",
                "mov esp, {sp}",
                "xchg ebx, {value}",
                "int {number}",
                "xchg ebx, {value}",
                "mov esp, {kept}",
                kept = out(reg) _, sp = in(reg) lowest.get() + above,
                value = inout(reg) IN_EBX => ebx, number = const NUMBER,
            );
        }
        ebx
    });
    // SAFETY: (1) this thread's own stack.
    ebx == IN_EBX && unsafe { end_word::is_whole(lowest) }
}

/// By their vectors, raised by an instruction: an NMI of the hardware's comes at any SP. Red if the
/// word is left overwritten: the next switch stops the machine, for a thread that did nothing
/// wrong.
pub fn o6_t12_an_nmi_or_debug_exception_with_just_room_leaves_the_end_word() -> Outcome {
    static FAILED: AtomicUsize = AtomicUsize::new(0);
    fn body(_: usize) {
        let lowest = size_of::<SavedRegs>();
        for above in (lowest..lowest + 40).step_by(size_of::<usize>()).rev() {
            let survives = end_word_survives::<2>(above) && end_word_survives::<1>(above);
            if !survives {
                FAILED.store(above, Ordering::Relaxed);
                // The switch away is to find it whole: the test has seen what it wanted.
                let lowest = sched::current().stack_range().lowest.get();
                // SAFETY: (1) the lowest word of this thread's stack, which nothing uses.
                unsafe { (lowest as *mut usize).write_volatile(end_word::END_WORD) };
                return;
            }
        }
    }
    clear();
    FAILED.store(0, Ordering::Relaxed);
    probes::set_nmi_probe(Some(note));
    probes::set_debug_probe(Some(note));
    let thread = sched::spawn_kernel("at its end", body, 0);
    let joined = thread.map(|thread| thread.join()).map_err(|error| alloc::format!("{error:?}"));
    probes::set_nmi_probe(None);
    probes::set_debug_probe(None);
    joined?;
    let failed = FAILED.load(Ordering::Relaxed);
    check!(failed == 0, "with SP {failed} bytes above the lowest word");
    check!(COUNT.load(Ordering::Relaxed) == 20, "{COUNT:?} exceptions of 20");
    Ok(())
}

/// Single step: the exception of a trap flag, in the kernel.
pub fn i8_a_debug_exception_in_the_kernel_is_handled_on_its_own_stack() -> Outcome {
    clear();
    probes::set_debug_probe(Some(|regs| {
        registers::end_single_step(regs);
        note(regs);
    }));
    registers::single_step();
    probes::set_debug_probe(None);
    check!(COUNT.load(Ordering::Relaxed) == 1, "{COUNT:?} debug exceptions");
    check_landing(StackKind::Debug)
}

/// Its vector, raised by an instruction. The handler may not return, so it ends the thread from
/// there. Twice: its stack can be used again. Red if it went the way of all exceptions, on the
/// thread's stack.
pub fn i8_a_machine_check_is_handled_on_its_own_stack() -> Outcome {
    const MACHINE_CHECK: u8 = 18;
    static HOOKS: kstack::hooks::Hooks =
        crate::hooks::HOOKS.kernel_exception(|vector, fault, regs| {
            if vector != MACHINE_CHECK {
                return (crate::hooks::HOOKS.kernel_exception)(vector, fault, regs);
            }
            note(regs);
            let mine = sched::current().stack_range();
            let frame = core::ptr::from_mut(regs) as usize;
            let lands = stack_at(frame).is_some_and(|stack| stack.range == mine);
            WRONG.fetch_add(u32::from(!lands), Ordering::Relaxed);
            sched::exit_current()
        });
    fn body(_: usize) {
        // SAFETY: (1) the handler is ours, and ends this thread.
        unsafe { core::arch::asm!("int {}", const MACHINE_CHECK) };
    }
    clear();
    crate::tests::support::install_hooks(&HOOKS);
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
    crate::tests::support::install_hooks(&crate::hooks::HOOKS);
    outcome
}

/// An NMI in an interrupt that hit a softirq that an interrupt of a thread left: four contexts,
/// four stacks.
pub fn b2_a_backtrace_in_an_nmi_crosses_every_stack_below_it() -> Outcome {
    let crossed = crossings_in_an_nmi()?;
    // In which order a seam and the interruption behind it come is the unwinder's; here both lie on
    // the stack that was hit.
    let seams: Vec<_> = crossed.iter().filter(|name| name.contains(" to ")).copied().collect();
    check!(seams == ["nmi to irq", "irq to softirq", "softirq to thread"], "{crossed:?}");
    let interrupted = crossed.iter().filter(|name| **name == "interrupted").count();
    check!(interrupted == 3 && crossed.last() == Some(&"reliable"), "{crossed:?}");
    Ok(())
}

/// It lands at the top of the thread's stack, which is empty, and is handled there.
pub fn i8_an_nmi_from_user_mode_is_handled_on_the_thread_stack() -> Outcome {
    hit_user_mode(|regs| {
        see_the_first_of_user_mode(regs);
    })?;
    Ok(())
}

/// Through the task gate and out of it again, more often than there are CPUs, under page tables of
/// a program and of none: the task that runs is the CPU's own, the other one is free, and nothing
/// of the task switch is left in the flags or in CR0.
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
