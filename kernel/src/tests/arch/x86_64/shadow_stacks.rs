//! Shadow stacks of programs: what of them is the CPU's.

use crate::tests::support::on_every_cpu;
use crate::tests::{Outcome, check, shadow_stacks};
use alloc::format;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use machine::arch::irqchip;
use machine::arch::pc::control::{self, Register, read};
use machine::arch::pc::shadow::{self, shadow_form};
use machine::cpus;
use threads::entry::probes;
use threads::sched;

/// Every CPU of a machine that has them lets programs have them, and its kernel none; the same
/// program runs while NMIs come to all CPUs. Red if a kernel on such a CPU refuses them, as the
/// other tests would let it, or if the NMI's entry or return path loses the pointer.
pub fn p7_shadow_stacks_are_there_where_the_cpu_has_them_and_nmis_leave_them_alone() -> Outcome {
    const ECX: usize = 2;
    const CR4_CET: usize = 1 << 23;
    let has = control::has(7, ECX, 7);
    check!(shadow_form().is_some() == has, "the CPU has them: {has}");
    on_every_cpu(|_| {
        let on = read(Register::Cr4) & CR4_CET != 0;
        check!(on == shadow_form().is_some(), "CR4.CET is {on}");
        // An errand runs in the kernel, behind an interrupt of whatever ran.
        let kernels = on.then(shadow::mode_of_kernel);
        check!(kernels.is_none_or(|mode| mode == 0), "the kernel's mode is {kernels:?}");
        Ok(())
    })?;
    under_a_rain_of_nmis(|| shadow_stacks::program("shadow-stacks", "threads"))
}

fn under_a_rain_of_nmis(run: fn() -> Outcome) -> Outcome {
    static STOP: AtomicBool = AtomicBool::new(false);
    static SENT: AtomicU32 = AtomicU32::new(0);
    fn rain(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            for cpu in cpus::online() {
                irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
                SENT.fetch_add(1, Ordering::Relaxed);
            }
            sched::yield_now();
        }
    }
    STOP.store(false, Ordering::Relaxed);
    SENT.store(0, Ordering::Relaxed);
    probes::set_nmi_probe(Some(|_| ()));
    let sender = sched::spawn_kernel("rain", rain, 0).map_err(|error| format!("{error:?}"))?;
    let outcome = run();
    STOP.store(true, Ordering::Relaxed);
    sender.join();
    probes::set_nmi_probe(None);
    check!(SENT.load(Ordering::Relaxed) > 50, "only {SENT:?} NMIs were sent");
    outcome
}
