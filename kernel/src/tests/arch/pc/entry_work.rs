//! Work that executes every instruction of the entry, exit and switch paths, and checks afterwards
//! that no register of the worker has changed.

use super::work::{Work, send_nmi_to_this_cpu};
use crate::tests::arch::registers::{self, Registers};
use crate::tests::arch::{depth, user_code};
use crate::tests::every_moment;
use crate::tests::support::until;
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use machine::arch::irqchip;
use machine::arch::regs::SavedRegs;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::report::overflow;
use threads::sched;

/// NMIs that were handled for the work itself, or once more for one that came meanwhile.
pub(in crate::tests) static OWN_NMIS: AtomicU32 = AtomicU32::new(0);

/// Whether the first NMI is to see to it that another one comes meanwhile.
pub(in crate::tests) static TWICE: AtomicBool = AtomicBool::new(false);
/// Whether only NMIs in user mode count as the work's own.
pub(in crate::tests) static IN_USER_MODE: AtomicBool = AtomicBool::new(false);

impl Work {
    /// Does it, once, and checks that every register of the worker is as it was.
    pub(in crate::tests) fn perform(self) -> Outcome {
        OWN_NMIS.store(0, Ordering::Relaxed);
        TWICE.store(self == Self::NmiTwice, Ordering::Relaxed);
        IN_USER_MODE.store(self == Self::UserNmi, Ordering::Relaxed);
        match self {
            Self::Interrupt => {
                in_a_thread(|_| softirq::raise(Softirq::Probe))?;
                check!(SOFTIRQS.load(Ordering::Relaxed) == 1, "{SOFTIRQS:?} softirqs, not one");
                Ok(())
            }
            Self::Nmi | Self::NmiTwice => in_a_thread(|_| send_nmi_to_this_cpu()),
            Self::NoRoom => without_room(),
            Self::Switch => every_moment::switch(|| {}),
            Self::User => program(false),
            Self::UserNmi => program(true),
            #[cfg(target_arch = "x86_64")]
            Self::NmiWithUserGs => crate::tests::arch::sweep::nmi_with_user_gs(),
            #[cfg(target_arch = "x86")]
            Self::Sysenter => crate::tests::arch::sweep::sysenter(),
        }
    }
}

/// NMIs whose handler has begun, for the work or not.
pub(in crate::tests) static NMIS_TAKEN: AtomicU32 = AtomicU32::new(0);

static SOFTIRQS: AtomicU32 = AtomicU32::new(0);

/// What the softirq of the interrupt does.
pub(in crate::tests) fn count_softirq() {
    SOFTIRQS.fetch_add(1, Ordering::Relaxed);
}

#[inline(never)]
fn in_a_thread(in_the_handler: fn(&mut SavedRegs)) -> Outcome {
    let mut after = Registers::default();
    SOFTIRQS.store(0, Ordering::Relaxed);
    probes::set_probe(Some(in_the_handler));
    registers::across_an_interrupt_in_a_frame(&mut after);
    probes::set_probe(None);
    check!(after.are_known_in_a_frame(), "registers afterwards: {after:x?}");
    let frame = core::ptr::from_ref(&after) as usize;
    check!(after.frame_pointer().abs_diff(frame) < 1024, "frame pointer afterwards: {after:x?}");
    Ok(())
}

/// The name of the thread that does [`Work::NoRoom`].
pub(in crate::tests) const WITHOUT_ROOM: &str = "without room";

/// The entry finds room for the registers, for an NMI, and for nothing else.
fn without_room() -> Outcome {
    const LEFT: usize = 512;
    fn body(_: usize) {
        let sp = sched::current().stack_range().lowest.get() + LEFT;
        // SAFETY: (1) on this thread's own stack, below everything that is in use; the entry ends
        // the thread.
        unsafe { depth::breakpoint_at(sp) };
    }
    let _old = overflow::take_last_report();
    let thread =
        sched::spawn_kernel(WITHOUT_ROOM, body, 0).map_err(|error| format!("{error:?}"))?;
    thread.join();
    let report = overflow::take_last_report().ok_or("a thread without room went on")?;
    check!(report.verdict.stack.owner == thread.id(), "ended was the owner of {report}");
    Ok(())
}

fn program(with_nmi: bool) -> Outcome {
    // A word that is 1 from the start, or one that we make so.
    let word = user_mode::STACK_TOP - if with_nmi { 8 } else { 16 };
    user_mode::with_hooks(None, || {
        let thread = UserThread::start(user_code::known_program, word)?;
        let hit = if with_nmi {
            until("the program waits", || user_mode::seen().len() == 3)?;
            // One at a time: another one that waits would come when the return from a breakpoint in
            // the first instructions of the handler lets it in, over the frame of the first.
            let mut taken_before = None;
            let send = |cpu| {
                let taken = NMIS_TAKEN.load(Ordering::Acquire);
                if taken_before != Some(taken) {
                    taken_before = Some(taken);
                    irqchip::send_nmi(cpu);
                }
            };
            thread.hit(send, || OWN_NMIS.load(Ordering::Acquire) > 0)
        } else {
            Ok(())
        };
        user_mode::end_spin(&thread);
        let unharmed = thread.finish_unharmed();
        hit?;
        unharmed?;
        let seen = user_mode::seen();
        let vectors: Vec<u8> = seen.iter().map(|seen| seen.vector).collect();
        check!(vectors == [3, 14, 0x80, 0x80], "it made {vectors:x?}");
        for seen in &seen {
            user_code::check_known_program(
                &seen.regs,
                word,
                user_mode::STACK_TOP,
                seen.vector != 0x80,
            )?;
        }
        Ok(())
    })
}
