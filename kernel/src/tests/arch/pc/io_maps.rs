//! The map of I/O ports behind a task state segment, as programs use it.

use crate::tests::support::{make_arena_tables, settled_frames};
use crate::tests::{Outcome, check};
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use linux::run_captured;
use machine::arch::irqchip;
use machine::cpus;
use threads::entry::probes;
use threads::sched;

fn program(part: &str) -> Outcome {
    let argv: [&[u8]; 2] = [b"ports", part.as_bytes()];
    let (status, output) =
        run_captured("/kstack/bin/ports", &argv).map_err(|error| format!("{error}"))?;
    check!(status == 0, "{part}: status {status}, {}", String::from_utf8_lossy(&output).trim_end());
    Ok(())
}

/// Permitted ports, their neighbours, accesses that are half permitted, the first, the last and all
/// ports; `iopl`, after which `cli` still does nothing; every error. Red if a bit, the byte behind
/// the map, or a rule is wrong.
pub fn x3_programs_use_the_ports_they_are_permitted_and_no_others() -> Outcome {
    program("rules")
}

/// fork, threads and execve keep a map; a change is made on a copy; three hundred maps
/// leave nothing behind.
pub fn x3_a_map_is_inherited_changed_on_a_copy_and_freed() -> Outcome {
    make_arena_tables()?;
    // The maps of the CPUs are made once, and stay.
    program("heirs")?;
    let before = settled_frames()?;
    program("heirs")?;
    let after = settled_frames()?;
    check!(before == after, "{before} frames before, {after} after");
    Ok(())
}

/// Threads and processes with four different maps take turns on one CPU, while others run and NMIs
/// come all the time. Red if a switch leaves a map behind, or if the CPU's map is not what was last
/// shown.
pub fn x3_each_thread_has_its_own_map_whatever_the_cpu_held() -> Outcome {
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
    let outcome = program("switches");
    STOP.store(true, Ordering::Relaxed);
    sender.join();
    probes::set_nmi_probe(None);
    check!(SENT.load(Ordering::Relaxed) > 100, "only {SENT:?} NMIs were sent");
    outcome
}
