//! The figures that `cargo xtask bench` must give, what this kernel aims at, and which work of
//! Linux stands beside each. What Linux takes for it is measured ([`super::against`]), not written
//! here.

use crate::arch::Arch;

/// A figure that there must be on every architecture.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The bench's name.
    pub(crate) name: &'static str,
    /// What the figure should not exceed on x86_64 and on arm64; the other architectures have no
    /// aims.
    aims: [Option<f64>; 2],
    /// What is done in Linux for the figure beside it; `None`: Linux has none.
    pub(crate) of_linux: Option<&'static str>,
}

impl Wanted {
    /// What the figure should not exceed on an architecture.
    pub(crate) fn aim(&self, arch: Arch) -> Option<f64> {
        match arch {
            Arch::X86_64 => self.aims[0],
            Arch::Arm64 => self.aims[1],
            _ => None,
        }
    }
}

/// A wanted figure by its name.
pub(crate) fn wanted(name: &str) -> Option<&'static Wanted> {
    WANTED.iter().find(|wanted| wanted.name == name)
}

const fn figure(
    name: &'static str,
    x86_64: Option<f64>,
    arm64: Option<f64>,
    of_linux: &'static str,
) -> Wanted {
    Wanted { name, aims: [x86_64, arm64], of_linux: Some(of_linux) }
}

/// A figure that Linux has nothing beside: it lacks the thing, or its distribution's kernel has it
/// turned off.
const fn ours_only(name: &'static str, x86_64: Option<f64>) -> Wanted {
    Wanted { name, aims: [x86_64, None], of_linux: None }
}

/// Linux's figure is what `program-bench` of this tree prints there.
const SAME_PROGRAM: &str = "the same program";

/// All of them, in the order of the table.
pub(crate) const WANTED: [Wanted; 27] = [
    figure(
        "stack_cached_1k",
        Some(533.0),
        Some(120.0),
        "clearing 16 KiB, as a cached stack is; the rest of a hit is not counted",
    ),
    figure(
        "stack_cached_full",
        Some(2400.0),
        Some(600.0),
        "clearing 16 KiB, as a cached stack is; the rest of a hit is not counted",
    ),
    ours_only("stack_cached_group", None),
    figure(
        "stack_arena",
        Some(3500.0),
        Some(3000.0),
        "a stack by __vmalloc_node_range, and vfree, without its deferred part",
    ),
    figure(
        "thread_life",
        Some(2000.0),
        Some(8000.0),
        "kthread_create, wake_up_process, its run to its end, kthread_stop",
    ),
    figure(
        "switch_bare",
        Some(40.0),
        Some(60.0),
        "__switch_to_asm (x86_64) or __switch_to (arm64), called between two kernel threads",
    ),
    figure(
        "irq_stack_round_trip",
        Some(100.0),
        Some(150.0),
        "int of a vector with nothing to do (x86_64), the vector when the controller names no interrupt (arm64)",
    ),
    ours_only("breakpoint_round_trip", Some(150.0)),
    figure(
        "softirq_inline",
        Some(50.0),
        None,
        "what a softirq adds to an interrupt that raises it",
    ),
    figure(
        "softirq_from_thread",
        Some(90.0),
        None,
        "local_bh_disable, raise_softirq, local_bh_enable",
    ),
    figure("syscall_null", Some(90.0), Some(90.0), SAME_PROGRAM),
    ours_only("syscall_null_offset", None),
    ours_only("syscall_null_erasing", None),
    ours_only("erasing_512", None),
    ours_only("erasing_4096", None),
    figure("fork_exit_wait", Some(45_000.0), Some(45_000.0), SAME_PROGRAM),
    figure("vfork_exec_wait", None, None, SAME_PROGRAM),
    figure("clone_join", Some(7000.0), Some(7000.0), SAME_PROGRAM),
    figure("signal_own_stack", Some(1200.0), Some(1200.0), SAME_PROGRAM),
    figure("signal_alternate_stack", Some(1200.0), Some(1200.0), SAME_PROGRAM),
    figure("page_fault", None, None, SAME_PROGRAM),
    figure("pipe_round_trip", None, None, SAME_PROGRAM),
    figure("areas_10", None, None, SAME_PROGRAM),
    figure("areas_1000", None, None, SAME_PROGRAM),
    figure("areas_30000", None, None, SAME_PROGRAM),
    figure(
        "backtrace_per_frame",
        Some(25.0),
        Some(40.0),
        "stack_trace_save, for each further frame of the kernel's own",
    ),
    figure(
        "bytes_per_sleeping_thread",
        Some(20_480.0),
        None,
        "free memory for each of 10,000 kernel threads that sleep",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_wanted_once_and_has_aims_on_two_architectures() {
        for (place, wanted) in WANTED.iter().enumerate() {
            assert!(WANTED[..place].iter().all(|other| other.name != wanted.name));
            assert!(wanted.of_linux.is_none_or(|what| !what.is_empty()));
        }
        let switch = wanted("switch_bare").expect("a switch is measured");
        assert_eq!(switch.aim(Arch::X86_64), Some(40.0));
        assert_eq!(switch.aim(Arch::Riscv64), None);
    }
}
