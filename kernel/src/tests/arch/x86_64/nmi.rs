//! The stacks of exceptions that can hit anything: what lands where by the interrupt stack table.

use crate::tests::arch::entry_code;
use crate::tests::arch::pc::nmi::{
    COUNT, WRONG, clear, crossings_in_an_nmi, hit_user_mode, see_the_first_of_user_mode,
    send_to_this_cpu,
};
use crate::tests::arch::x86_64::registers::{self, Registers};
use crate::tests::arch::x86_64::sweep;
use crate::tests::support::{stack_at, stack_of_cpu, until};
use crate::tests::{Outcome, check};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use kstack::kind::StackKind;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, cpu_tables, step};
use machine::cpus;
use threads::entry::probes;

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
static SP: AtomicUsize = AtomicUsize::new(0);
static RIP: AtomicUsize = AtomicUsize::new(0);

fn note(regs: &mut SavedRegs) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    FRAME.store(core::ptr::from_mut(regs) as usize, Ordering::Relaxed);
    RIP.store(regs.rip as usize, Ordering::Relaxed);
    SP.store(cpu::stack_pointer(), Ordering::Relaxed);
}

/// The CPU's own frame is found where the interrupt stack table points; the handler stands on the
/// body stack.
pub fn i8_an_nmi_lands_on_the_nmi_stack_and_is_handled_on_the_body_stack() -> Outcome {
    clear();
    probes::set_nmi_probe(Some(note));
    let (me, landing) = cpu::without_interrupts(|| {
        let me = cpus::this();
        let landing = stack_of_cpu(StackKind::Nmi, me);
        if let Ok(stack) = landing {
            // SAFETY: (1) no NMI is being handled on this CPU: no other code uses its NMI stack.
            // What the CPU does not write stays zero; the end word below is the tick's to look at.
            unsafe { (stack.range.lowest.get() as *mut u8).add(16).write_bytes(0, 4096 - 32) };
        }
        send_to_this_cpu();
        (me, landing)
    });
    until("the NMI has come", || COUNT.load(Ordering::Relaxed) > 0)?;
    probes::set_nmi_probe(None);
    let (landing, body) = (landing?, stack_of_cpu(StackKind::NmiBody, me)?);
    for word in [&FRAME, &SP] {
        let at = word.load(Ordering::Relaxed);
        check!(stack_at(at) == Some(body), "handled at {at:#x}, not on {body:?}");
    }
    // SAFETY: (1) the stack is mapped; the frame's lowest word, RIP, is 40 bytes below where the
    // table points.
    let rip = unsafe { ((landing.range.top.get() - 16 - 40) as *const usize).read_volatile() };
    check!(rip == RIP.load(Ordering::Relaxed), "the NMI stack holds no frame: {rip:#x}");
    Ok(())
}

unsafe extern "C" {
    /// The byte behind the last instruction of the exit window: an `iretq` of two bytes.
    fn kstack_nmi_window_end();
}
const IRETQ_BYTES: usize = 2;

/// The second instruction of a function of the entry code.
fn second_instruction(name: &str) -> Option<usize> {
    let (start, symbol) =
        entry_code::functions().find(|(_, symbol)| symbol.name.ends_with(name))?;
    // SAFETY: (1) a function of this kernel, all of which is mapped.
    let code = unsafe { core::slice::from_raw_parts(start as *const u8, symbol.size as usize) };
    Some(start as usize + step::instruction_length(code)?)
}

/// Where the second and the third NMI are sent.
static WINDOW_END: AtomicUsize = AtomicUsize::new(0);
static REPEATS: AtomicUsize = AtomicUsize::new(0);

/// An NMI hits the last instruction of the exit window of another, where the body stack is free
/// already; a third one comes as soon as that one has gone back to where the handler begins once
/// more, with NMIs let in. Red if the body stack is taken for free then: the third is handled over
/// the frame that the second continues with. Every NMI is handled, and every register is as before.
pub fn i8_a_third_nmi_behind_one_that_hit_the_exit_window_disturbs_nothing() -> Outcome {
    clear();
    let repeat = second_instruction("::nmi_repeat").ok_or("no nmi_repeat")?;
    WINDOW_END.store(kstack_nmi_window_end as *const () as usize - IRETQ_BYTES, Ordering::Relaxed);
    REPEATS.store(repeat, Ordering::Relaxed);
    probes::set_nmi_probe(Some(|_| {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }));
    probes::set_debug_probe(Some(|regs| {
        sweep::resume(regs);
        let words = cpu_tables::nmi_words(cpus::this());
        if regs.rip as usize == WINDOW_END.load(Ordering::Relaxed) {
            // Held back until this handler returns, which is right before the instruction.
            step::set_breakpoint(Some(REPEATS.load(Ordering::Relaxed)));
            send_to_this_cpu();
            let as_wanted = !words.is_active() && COUNT.load(Ordering::Relaxed) == 1;
            WRONG.fetch_add(u32::from(!as_wanted), Ordering::Relaxed);
        } else {
            // Nothing holds it back: it is here before the next line is done.
            step::set_breakpoint(None);
            REPEATS.store(0, Ordering::Relaxed);
            send_to_this_cpu();
            let latched = (0..100_000_000_u32).any(|_| {
                core::hint::spin_loop();
                words.is_latched()
            });
            let as_wanted = latched && COUNT.load(Ordering::Relaxed) == 1;
            WRONG.fetch_add(u32::from(!as_wanted) * 100, Ordering::Relaxed);
        }
    }));
    probes::set_probe(Some(|_| {
        step::set_breakpoint(Some(WINDOW_END.load(Ordering::Relaxed)));
        send_to_this_cpu();
    }));
    let mut after = Registers::default();
    registers::across_an_interrupt(&mut after);
    let came = until("three NMIs have come", || COUNT.load(Ordering::Relaxed) >= 3);
    cpu::without_interrupts(|| step::set_breakpoint(None));
    probes::set_probe(None);
    probes::set_debug_probe(None);
    probes::set_nmi_probe(None);
    let wrong = WRONG.load(Ordering::Relaxed);
    check!(REPEATS.load(Ordering::Relaxed) == 0, "the second NMI did not hit the exit window");
    check!(wrong == 0, "not held back, or not latched: {wrong}");
    came?;
    check!(COUNT.load(Ordering::Relaxed) == 3, "{COUNT:?} NMIs, not 3");
    check!(after.are_known(), "afterwards {after:x?}");
    Ok(())
}

/// Single step: the exception of a trap flag, in the kernel.
pub fn i8_a_debug_exception_in_the_kernel_is_handled_on_its_own_stack() -> Outcome {
    clear();
    probes::set_debug_probe(Some(|regs| {
        regs.rflags &= !0x100;
        note(regs);
    }));
    let me = cpu::without_interrupts(|| {
        // SAFETY: (1) the handler clears the trap flag again.
        unsafe { core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop") };
        cpus::this()
    });
    probes::set_debug_probe(None);
    check!(COUNT.load(Ordering::Relaxed) == 1, "{COUNT:?} debug exceptions");
    let stack = stack_of_cpu(StackKind::Debug, me)?;
    for word in [&FRAME, &SP] {
        let at = word.load(Ordering::Relaxed);
        check!(stack_at(at) == Some(stack), "handled at {at:#x}, not on {stack:?}");
    }
    Ok(())
}

/// An NMI in an interrupt that hit a softirq that an interrupt of a thread left: four contexts,
/// three stacks.
pub fn b2_a_backtrace_in_an_nmi_crosses_every_stack_below_it() -> Outcome {
    let crossed = crossings_in_an_nmi()?;
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
    Ok(())
}

/// It lands on its own stack, and continues at the top of the thread's, which is empty.
pub fn i8_an_nmi_from_user_mode_lands_on_the_nmi_stack_and_is_handled_on_the_thread_stack()
-> Outcome {
    static LANDED: AtomicU64 = AtomicU64::new(0);
    let nmi = hit_user_mode(|regs| {
        if see_the_first_of_user_mode(regs)
            && let Ok(stack) = stack_of_cpu(StackKind::Nmi, cpus::this())
        {
            // SAFETY: (1) the stack is mapped; RIP is 40 bytes below where the table points.
            let rip = unsafe { ((stack.range.top.get() - 16 - 40) as *const u64).read() };
            LANDED.store(rip, Ordering::Relaxed);
        }
    })?;
    let landed = LANDED.load(Ordering::Relaxed);
    check!(landed == nmi.regs.rip, "the NMI stack has {landed:x}, {nmi:x?}");
    Ok(())
}
