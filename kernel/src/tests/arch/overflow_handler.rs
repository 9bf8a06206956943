//! The handler of overflows, where it runs on an overflow stack that software has to find: what
//! becomes of one that fails each time.

use crate::hooks;
use crate::provoke::{self, How};
use crate::tests::support::{on_cpu, until};
use crate::tests::{Outcome, check};
use alloc::format;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::hooks::Hooks;
use machine::arch::cpu;
use machine::cpus;
use threads::{sched, time};

/// A handler that overflows each time: it is begun as often as the architecture says, then the CPU
/// is parked, and the others go on. Takes a CPU out of the machine: not the first one, which keeps
/// the time.
pub(super) fn check_that_its_cpu_is_parked(after: usize) -> Outcome {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        provoke::overflow_here(How::Recursion);
        (hooks::HOOKS.context)()
    });
    fn doomed(_: usize) {
        loop {
            cpu::without_interrupts(|| {
                if cpus::this().id().get() != 0 {
                    provoke::overflow_here(How::Recursion);
                }
            });
            sched::yield_now();
        }
    }
    crate::tests::support::install_hooks(&HOOKS);
    let thread = sched::spawn_kernel("doomed", doomed, 0).map_err(|e| format!("{e:?}"))?;
    until("the handler has been begun", || BEGUN.load(Ordering::Relaxed) >= after)?;
    // Time for thousands more, if nothing ends it.
    time::sleep(200_000_000).map_err(|_| "killed")?;
    let times = BEGUN.load(Ordering::Relaxed);
    check!(times == after, "begun {times} times, not {after}");
    check!(thread.last_cpu().get() != 0 && thread.is_on_cpu(), "on CPU {}", thread.last_cpu());
    let mut others = cpus::online().filter(|cpu| cpu.id() != thread.last_cpu());
    others.try_for_each(|cpu| on_cpu(cpu, |_| Ok(())))
}
