//! The harts: the firmware starts one of them, not always number 0, and the kernel the others.

use crate::tests::support::on_cpu;
use crate::tests::{Outcome, check};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::addr::CpuId;
use machine::arch::smp;
use machine::cpus;
use machine::options;

/// Red if a hart's number is taken for a CPU's: then, with another hart first, CPU 0 is not the one
/// that booted, a hart is started twice or not at all, or an interrupt for one CPU arrives at
/// another. The tests run on a machine of each kind.
pub fn i1_whichever_hart_is_started_first_is_cpu_0_and_all_others_come() -> Outcome {
    let hart_of = |cpu: &cpus::Cpu| cpu.hardware_id.load(Ordering::Relaxed);
    let first = hart_of(cpus::by_id(CpuId::new(0)));
    if let Some(wanted) = options::get("first-cpu") {
        check!(wanted == format!("{first}"), "CPU 0 is hart {first}, hart {wanted} was started");
    }
    let mut up: Vec<u32> = cpus::online().map(hart_of).collect();
    let mut there = Vec::new();
    smp::find_cpus(|hart| there.push(hart));
    up.sort_unstable();
    there.sort_unstable();
    check!(up == there, "harts {there:?} are there, {up:?} are up");
    // What is sent to a hart is received by the CPU that is this hart.
    static ADDRESSEE: AtomicU32 = AtomicU32::new(0);
    for cpu in cpus::online() {
        ADDRESSEE.store(cpu.id().get(), Ordering::Relaxed);
        on_cpu(cpu, |_| {
            let wanted = ADDRESSEE.load(Ordering::Relaxed);
            check!(cpus::this().id().get() == wanted, "received by CPU {}", cpus::this().id());
            Ok(())
        })?;
    }
    Ok(())
}
