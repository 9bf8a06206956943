//! The task state segment, read as the CPU reads it.

use super::evidence::loaded_tss;
use super::user_code;
use crate::tests::support::{on_every_cpu, stack_of_cpu};
use crate::tests::user_mode::{self, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::addr::ByteSize;
use kstack::arch::current::tables::POISON;
use kstack::kind::StackKind;
use machine::arch::cpu_tables;
use machine::arch::regs::SavedRegs;
use machine::cpus;
use threads::sched;

/// On every CPU: what the task register leads to is the CPU's own table, and at the manual's
/// offsets stand the tops of the CPU's own stacks. Red if a field moves, if two CPUs share a stack,
/// or if a switch forgets rsp0.
pub fn x1_the_loaded_task_state_segment_has_every_field_in_its_place() -> Outcome {
    on_every_cpu(|_| {
        let cpu = cpus::this();
        let (base, limit, kind) = loaded_tss();
        check!(base == cpu_tables::tables_address(cpu.id()), "the segment is at {base:#x}");
        check!(limit == 0x5008, "its limit is {limit:#x}, not the end of the maps of ports");
        check!(kind == 0b1011, "its type is {kind:#x}, not a busy 64-bit segment");
        // SAFETY: (1) the segment is mapped, 104 bytes from `base` on.
        let word = |at: u64| unsafe { ((base + at) as *const u64).read_unaligned() };
        // An idle thread that never was switched to has no business in user mode: still poisoned.
        let thread = sched::current();
        let top = thread.stack_range().top.get() as u64;
        let never_switched =
            core::ptr::from_ref(thread) as usize == cpu.idle.load(Ordering::Relaxed);
        check!(
            word(4) == top || never_switched && word(4) == POISON,
            "rsp0 is {:#x}, the top of the running thread's stack {top:#x}",
            word(4)
        );
        for at in [12, 20, 68, 76, 84] {
            check!(word(at) == POISON, "the unused word at {at} is {:#x}", word(at));
        }
        let exceptions = [
            (36, StackKind::DoubleFault),
            (44, StackKind::Nmi),
            (52, StackKind::Debug),
            (60, StackKind::MachineCheck),
        ];
        for (at, kind) in exceptions {
            let top = stack_of_cpu(kind, cpu)?.range.top.wrapping_sub(ByteSize::new(16));
            check!(word(at) == top.get() as u64, "{kind}: {:#x}, not {top}", word(at));
        }
        let io_map = word(96) >> 48;
        check!(io_map > limit, "the I/O bitmap at {io_map} is inside the limit {limit}");
        Ok(())
    })
}

/// While threads come and go on all CPUs, rsp0 and the entry code's word follow the running thread.
pub fn x1_s1_the_stack_for_entries_from_user_mode_follows_the_running_thread() -> Outcome {
    fn look(_: usize) {
        for _ in 0..200 {
            machine::arch::cpu::without_interrupts(|| {
                let (base, ..) = loaded_tss();
                // SAFETY: (1) mapped, see above.
                let rsp0 = unsafe { ((base + 4) as *const u64).read_unaligned() };
                let top = sched::current().stack_range().top;
                if rsp0 != top.get() as u64 || cpus::this().local.thread_top() != top {
                    WRONG.fetch_add(1, Ordering::Relaxed);
                }
                LOOKS.fetch_add(1, Ordering::Relaxed);
            });
            sched::yield_now();
        }
    }
    use core::sync::atomic::AtomicU32;
    static WRONG: AtomicU32 = AtomicU32::new(0);
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let threads: Result<alloc::vec::Vec<_>, _> =
        (0..12).map(|_| sched::spawn_kernel("looking", look, 0)).collect();
    for thread in threads.map_err(|error| alloc::format!("{error:?}"))? {
        thread.join();
    }
    let looks = LOOKS.load(Ordering::Relaxed);
    check!(looks >= 2400, "only {looks} looks");
    check!(WRONG.load(Ordering::Relaxed) == 0, "wrong {WRONG:?} times of {looks}");
    Ok(())
}

/// What a system call finds: rsp0, rsp1, rsp2, and what `syscall` starts on.
static FOUND: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// System calls that have looked.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Looks at the segment while a system call of a program runs.
fn look_in_a_call() {
    machine::arch::cpu::without_interrupts(|| {
        let (base, ..) = loaded_tss();
        // SAFETY: (1) the segment is mapped, 104 bytes from `base` on.
        let word = |at: u64| unsafe { ((base + at) as *const u64).read_unaligned() };
        let starts_on = cpus::this().local.thread_top().get() as u64;
        for (found, is) in FOUND.iter().zip([word(4), word(12), word(20), starts_on]) {
            found.store(is, Ordering::Relaxed);
        }
        CALLS.fetch_add(1, Ordering::Release);
    });
}

/// What rsp1 and rsp2 are to Linux (the top of the running thread's stack, and the word in which a
/// system call leaves the program's SP) are words of the CPU's block here: the calls of a program
/// start at the top that rsp0 has for exceptions, bring the program's SP with them, and leave rsp1
/// and rsp2 the poison that they were. Until rsp0 is real it is poison as well, and no CPU could
/// push there: not a canonical address. Red if a switch sets one of the two tops only, or if an
/// entry writes to rsp1 or rsp2.
pub fn x2_p8_system_calls_and_exceptions_start_on_one_top_and_rsp1_and_rsp2_stay_poison() -> Outcome
{
    const SIGN: u64 = 0xffff_8000_0000_0000;
    check!(POISON & SIGN != 0 && POISON & SIGN != SIGN, "the CPU could push at {POISON:#x}");
    CALLS.store(0, Ordering::Relaxed);
    user_mode::with_hooks(Some(look_in_a_call), || {
        UserThread::start(user_code::call_twice, 0)?.finish();
        check!(CALLS.load(Ordering::Acquire) == 2, "not two calls: {CALLS:?}");
        let seen = user_mode::seen();
        for seen in &seen {
            user_mode::check_at_top(seen)?;
            check!(seen.regs.rsp == STACK_TOP, "the program's SP is lost: {seen:x?}");
        }
        let top = seen.last().map_or(0, |seen| seen.thread_top as u64);
        let found = FOUND.each_ref().map(|word| word.load(Ordering::Relaxed));
        check!(found == [top, POISON, POISON, top], "{found:x?}, and the top is {top:#x}");
        Ok(())
    })
}

/// Where this CPU's segment lies.
pub(in crate::tests::arch) fn segments_here() -> Range<u64> {
    let (base, ..) = loaded_tss();
    base..base + 104
}

/// Whether [`read_there`](super::user_code::read_there) has read nothing.
pub(in crate::tests::arch) fn nothing_read(regs: &SavedRegs) -> bool {
    regs.rbx == 0
}
