//! Nice values and policies as weights: what share of a CPU a thread has that others wait for.
//!
//! A step of the nice value is a quarter more or less: with one CPU for two threads, a tenth of it
//! (sched(7)). A thread of SCHED_IDLE runs where nearly nothing else wants to.

use crate::process::task::{Task, policy};
use core::sync::atomic::Ordering;
use threads::sched::{self, Thread};

/// Linux's weights of nice values, -20 first (`sched_prio_to_weight`).
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];
/// And of the policy.
const IDLE_WEIGHT: u32 = 3;

const _: () = assert!(WEIGHTS[20] == sched::NORMAL_WEIGHT);

/// Gives a thread the share that its policy and its nice value mean.
pub(crate) fn weigh(thread: &Thread, task: &Task) {
    let rank = (task.nice.load(Ordering::Relaxed) + 20).clamp(0, 39);
    let weight = match task.policy.load(Ordering::Relaxed) & !policy::RESET_ON_FORK {
        policy::IDLE => IDLE_WEIGHT,
        _ => WEIGHTS[rank as usize],
    };
    sched::set_weight(thread, weight);
}
