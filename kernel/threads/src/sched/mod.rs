//! The scheduler: one run queue, first come first served, a time slice of a tick; threads of real
//! time before all others.
//!
//! # Whose reference, when
//!
//! The CPU owns a reference to the thread that runs on it (`CpuLocal`'s thread word); the run queue
//! owns one to each thread in it. A switch hands the reference of the thread that leaves to the
//! thread that comes, which drops it in [`after_switch`] on its own stack: so a dead thread's stack
//! is given back by the next thread, never under its own feet.
//!
//! # `on_cpu`
//!
//! A thread may stand in the run queue while its old CPU is still saving its registers. `on_cpu` is
//! cleared by the next thread on that CPU; until then no other CPU runs it. A CPU never waits for
//! it: it takes the next thread in the queue (two CPUs that waited for each other's thread would
//! wait without end).
//!
//! | file | what is in it |
//! | --- | --- |
//! | `list` | lists that are linked through what is in them |
//! | `canaries` | what the frames of threads are guarded by |
//! | `owner`, `thread`, `tasks` | a thread, what it may belong to, where threads lie |
//! | `run_queue` | threads that want a CPU, CPUs that want a thread; waking |
//! | `switch` | the switch itself; what a dead thread leaves |
//! | `schedule` | leaving the CPU: yielding, ending, preemption, idling |
//! | `sleep` | the protocol of falling asleep and being woken, without lists and CPUs |
//! | `rank`, `urgency` | threads of real time |
//! | `weight`, `share` | what share of a CPU the others have |
//! | `load` | how busy each CPU is, and the machine was over the last minutes |
//! | `cpu_time` | how long threads of programs have run |
//! | `wait`, `deadlines`, `mutex` | sleeping for a condition, until a time, and for a lock |
//! | `birth`, `stackd`, `handover` | new threads; the one that unmaps stacks; the bare switch, for benches |

mod birth;
mod canaries;
mod cpu_time;
pub mod deadlines;
mod handover;
mod list;
mod load;
mod mutex;
mod owner;
mod rank;
mod run_queue;
mod schedule;
mod share;
mod sleep;
mod stackd;
mod switch;
mod tasks;
pub mod thread;
mod urgency;
mod wait;
mod weight;

pub use crate::stacks::StackError;
pub use birth::{
    SpawnError, adopt_idle, create_unstarted, created_count, fresh_registers, idle_canary,
    spawn_contiguous, spawn_kernel, spawn_on, spawn_user, start, start_afresh,
};
pub use canaries::{new_canary, seed_canaries};
pub use cpu_time::CpuTime;
pub use handover::{hand_back, hand_to, hand_to_first, last_switch_took, stamps_alone};
pub(crate) use load::tick;
pub use load::{CpuUse, LINES, averages, cpu_use};
pub use mutex::Mutex;
pub use owner::{Owned, Owner, OwnerKind};
pub(crate) use run_queue::count_ranked_tick;
pub use run_queue::{allowed, has_waiting, make_ready, rank, set_rank, set_weight};
pub use schedule::{
    exit_current, idle_loop, is_allowed_here, is_where_it_may, preempt, set_allowed, yield_now,
};
pub use stackd::{start_stackd, wake_stackd};
pub use switch::{
    after_switch, are_tables_elsewhere, current, current_arc, deaths, forget_user_translations,
    load_tables_of,
};
pub use tasks::TASKS;
pub use thread::{Name, State, Thread, WaitQueue, all, thread_count, try_all};
pub use urgency::{set_share, set_slice, slice};
pub use wait::{Interrupted, Waited, sleep_until};
pub use weight::NORMAL as NORMAL_WEIGHT;
