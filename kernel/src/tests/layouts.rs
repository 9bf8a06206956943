//! The layout of saved registers, and a stack's geometry.

use super::arch::expectations::EXPECTED;
use super::arch::registers::{self, Registers};
use super::support::check_mapping;
use super::{Outcome, check};
use core::sync::atomic::Ordering;
use kstack::addr::ByteSize;
use machine::arch::regs::SavedRegs;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::sched;

static SAVED: SpinLock<Option<SavedRegs>> = SpinLock::new(None);

/// Every register has a value of its own, so a field that the assembly puts in another's place
/// shows.
pub fn x5_every_saved_register_is_in_the_field_of_its_name_and_comes_back() -> Outcome {
    probes::set_probe(Some(|regs| *SAVED.lock() = Some(*regs)));
    probes::set_breakpoint_probe(Some(|regs| *SAVED.lock() = Some(*regs)));
    let entries = [
        ("interrupt", registers::across_an_interrupt as extern "C" fn(&mut Registers)),
        ("exception", registers::across_a_breakpoint),
    ];
    for (name, across) in entries {
        let mut after = Registers::default();
        across(&mut after);
        let saved = SAVED.lock().take();
        let saved = saved.ok_or_else(|| alloc::format!("the {name} did not arrive"))?;
        check!(after.are_known(), "{name}: afterwards {after:x?}");
        registers::check_saved(&saved, &after)
            .map_err(|wrong| alloc::format!("{name}: {wrong}"))?;
        check!(!saved.from_user() && saved.interrupts_are_on(), "{name}: {saved:x?}");
    }
    probes::set_probe(None);
    probes::set_breakpoint_probe(None);
    Ok(())
}

/// Of live threads, one after the other in neighbouring slots. Red if a guard is mapped, too
/// narrow, or shared away.
pub fn t1_a_thread_stack_has_its_size_is_aligned_mapped_and_between_guards() -> Outcome {
    static GO_ON: sched::WaitQueue = sched::WaitQueue::new();
    static MAY_END: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
    MAY_END.store(false, Ordering::Relaxed);
    let body = |_| GO_ON.wait_uninterruptibly(|| MAY_END.load(Ordering::Relaxed));
    let threads: Result<alloc::vec::Vec<_>, _> =
        (0..40).map(|_| sched::spawn_kernel("standing", body, 0)).collect();
    let threads = threads.map_err(|error| alloc::format!("{error:?}"));
    let looked_at = threads.as_ref().map_err(Clone::clone).and_then(|threads| {
        for thread in threads {
            let range = thread.stack_range();
            check!(range.size() == ByteSize::kib(EXPECTED.stack_kib), "{range:?} has another size");
            let aligned = range.lowest.is_aligned(ByteSize::kib(EXPECTED.stack_align_kib));
            check!(aligned, "{range:?} is not aligned");
            check_mapping(range)?;
        }
        check_mapping(sched::current().stack_range())
    });
    MAY_END.store(true, Ordering::Relaxed);
    GO_ON.wake_all();
    for thread in threads? {
        thread.join();
    }
    looked_at
}
