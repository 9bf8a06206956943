//! The figures that `cargo xtask bench` must give, and what stands beside them: Linux's for the
//! same work, and what this kernel aims at.
//!
//! Linux's are medians of Debian's 6.12.111, measured as the kernel is: `-smp 1 -icount
//! shift=0,sleep=off` under the same emulator, with the CPU `max,-erms` on x86_64 and `max` on
//! arm64. The other architectures have none, and no aims. What programs cost was measured by the
//! same program on x86_64, on 6.12.117 ([`SAME_PROGRAM`]), and on arm64 by one that does the same
//! with glibc, on 6.12.111.

use crate::arch::Arch;

/// A figure that there must be on every architecture.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The bench's name.
    pub(crate) name: &'static str,
    beside: &'static [Beside],
}

/// What stands beside a figure on one architecture.
#[derive(Debug, PartialEq)]
pub(crate) struct Beside {
    arch: Arch,
    /// What Linux takes, if it was measured.
    pub(crate) linux: Option<f64>,
    /// What the figure should not exceed.
    pub(crate) aim: Option<f64>,
    /// How Linux's figure is composed.
    pub(crate) source: &'static str,
}

impl Wanted {
    /// What stands beside the figure on an architecture, if anything.
    pub(crate) fn beside(&self, arch: Arch) -> Option<&'static Beside> {
        self.beside.iter().find(|beside| beside.arch == arch)
    }
}

/// A wanted figure by its name.
pub(crate) fn wanted(name: &str) -> Option<&'static Wanted> {
    WANTED.iter().find(|wanted| wanted.name == name)
}

const fn x86_64(linux: f64, aim: Option<f64>, source: &'static str) -> Beside {
    Beside { arch: Arch::X86_64, linux: Some(linux), aim, source }
}

const fn arm64(linux: f64, aim: Option<f64>, source: &'static str) -> Beside {
    Beside { arch: Arch::Arm64, linux: Some(linux), aim, source }
}

const fn not_measured(arch: Arch, aim: Option<f64>) -> Beside {
    Beside { arch, linux: None, aim, source: "not measured" }
}

/// Linux's figure is what `program-bench` of this tree prints there.
const SAME_PROGRAM: &str = "program-bench of this tree, on Debian's 6.12.117";

/// All of them, in the order of the table.
pub(crate) const WANTED: [Wanted; 21] = [
    Wanted {
        name: "stack_cached_1k",
        beside: &[
            x86_64(
                2919.0,
                Some(700.0),
                "cache hit in copy_process 2,898 (zeroes 16 KiB whatever was dirtied) + put_task_stack 21",
            ),
            arm64(
                1125.0,
                Some(250.0),
                "cache hit in copy_process (zeroes 16 KiB whatever was dirtied), without put_task_stack",
            ),
        ],
    },
    Wanted {
        name: "stack_cached_full",
        beside: &[
            x86_64(2919.0, Some(2400.0), "cache hit in copy_process 2,898 + put_task_stack 21"),
            arm64(1125.0, Some(600.0), "cache hit in copy_process, without put_task_stack"),
        ],
    },
    Wanted {
        name: "stack_arena",
        beside: &[
            x86_64(
                9257.0,
                Some(3500.0),
                "cache miss 6,632 + thread_stack_free_rcu 45 + deferred vfree 2,580",
            ),
            arm64(
                8203.0,
                Some(3000.0),
                "cache miss 5,624 + deferred vfree 2,579, without thread_stack_free_rcu",
            ),
        ],
    },
    Wanted {
        name: "thread_life",
        beside: &[
            x86_64(50_900.0, Some(8000.0), "kthread_run + first run + kthread_stop"),
            arm64(50_791.0, Some(8000.0), "kthread_run + first run + kthread_stop"),
        ],
    },
    Wanted {
        name: "switch_bare",
        beside: &[
            x86_64(213.0, Some(60.0), "__switch_to_asm 101 + __switch_to 112"),
            arm64(222.0, Some(60.0), "__switch_to with cpu_switch_to, which is 35 of it"),
        ],
    },
    Wanted {
        name: "irq_stack_round_trip",
        beside: &[
            x86_64(199.0, Some(150.0), "int of an empty vector, no APIC access"),
            arm64(
                369.0,
                Some(150.0),
                "entry 103 + stack switch 12 + irq_exit 170 + exit 84, no GIC access",
            ),
        ],
    },
    Wanted {
        name: "softirq_inline",
        beside: &[
            x86_64(289.0, None, "what one tasklet adds at interrupt exit"),
            arm64(435.0, None, "what one tasklet adds at interrupt exit"),
        ],
    },
    Wanted {
        name: "softirq_from_thread",
        beside: &[
            x86_64(336.0, None, "tasklet_schedule + local_bh_enable"),
            arm64(488.0, None, "tasklet_schedule + local_bh_enable"),
        ],
    },
    Wanted {
        name: "syscall_null",
        beside: &[
            x86_64(322.0, Some(90.0), "getppid, one syscall instruction"),
            arm64(448.0, Some(90.0), "getppid, one svc instruction"),
        ],
    },
    Wanted {
        name: "fork_exit_wait",
        beside: &[
            x86_64(134_970.0, Some(45_000.0), SAME_PROGRAM),
            arm64(155_616.0, Some(45_000.0), "fork + _exit + waitpid of a static glibc program"),
        ],
    },
    Wanted {
        name: "vfork_exec_wait",
        beside: &[
            x86_64(206_247.0, None, SAME_PROGRAM),
            arm64(137_200.0, None, "vfork + execve of a static program of one page + waitpid"),
        ],
    },
    Wanted {
        name: "clone_join",
        beside: &[
            x86_64(60_581.0, Some(7000.0), SAME_PROGRAM),
            arm64(29_408.0, Some(7000.0), "clone + exit + futex on the word that its end clears"),
        ],
    },
    Wanted {
        name: "signal_own_stack",
        beside: &[
            x86_64(4346.0, Some(1200.0), SAME_PROGRAM),
            arm64(6640.0, Some(1200.0), "tgkill + handler + sigreturn"),
        ],
    },
    Wanted {
        name: "signal_alternate_stack",
        beside: &[
            x86_64(4358.0, Some(1200.0), SAME_PROGRAM),
            arm64(6656.0, Some(1200.0), "tgkill + handler + sigreturn, SA_ONSTACK"),
        ],
    },
    Wanted {
        name: "page_fault",
        beside: &[
            x86_64(5216.0, None, SAME_PROGRAM),
            arm64(2752.0, None, "first write to an anonymous page"),
        ],
    },
    Wanted {
        name: "pipe_round_trip",
        beside: &[
            x86_64(10_573.0, None, SAME_PROGRAM),
            arm64(11_648.0, None, "twice 5,824: a byte to another process and back"),
        ],
    },
    Wanted {
        name: "areas_10",
        beside: &[x86_64(18_799.0, None, SAME_PROGRAM), not_measured(Arch::Arm64, None)],
    },
    Wanted {
        name: "areas_1000",
        beside: &[x86_64(20_286.0, None, SAME_PROGRAM), not_measured(Arch::Arm64, None)],
    },
    Wanted {
        name: "areas_30000",
        beside: &[x86_64(22_549.0, None, SAME_PROGRAM), not_measured(Arch::Arm64, None)],
    },
    Wanted {
        name: "backtrace_per_frame",
        beside: &[
            x86_64(471.0, Some(60.0), "stack_trace_save 8,482 for 18 frames"),
            arm64(59.0, Some(40.0), "stack_trace_save 1,886 for 32 frames"),
        ],
    },
    Wanted {
        name: "bytes_per_sleeping_thread",
        beside: &[
            x86_64(
                31_627.0,
                Some(20_480.0),
                "free memory per kernel thread, 50,000 of them asleep",
            ),
            arm64(26_339.0, None, "free memory per kernel thread, 50,000 of them asleep"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_wanted_once_and_each_architecture_stands_beside_it_at_most_once() {
        for (place, wanted) in WANTED.iter().enumerate() {
            assert!(WANTED[..place].iter().all(|other| other.name != wanted.name));
            let archs: Vec<Arch> = wanted.beside.iter().map(|beside| beside.arch).collect();
            assert_eq!(archs, [Arch::X86_64, Arch::Arm64], "{}", wanted.name);
        }
        let arm64 = wanted("switch_bare").and_then(|wanted| wanted.beside(Arch::Arm64));
        assert_eq!(arm64.and_then(|beside| beside.linux), Some(222.0));
        assert!(wanted("switch_bare").is_some_and(|it| it.beside(Arch::Riscv64).is_none()));
    }
}
