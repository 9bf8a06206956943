//! How busy the machine is: what each CPU's ticks found, and the averages of /proc/loadavg.
//!
//! The averages are Linux's (`calc_load`): numbers with eleven bits behind the point, to which the
//! threads that run or want to are added every five seconds, each average with a weight of its own.
//! Ticks come on idle CPUs too, so none is missed.

use super::run_queue::ready_count;
use super::thread::WaitQueue;
use crate::clock;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use machine::cpus::{self, Cpu, MAX_CPUS};

/// Ticks of a CPU, by what they found.
#[derive(Debug)]
struct Found {
    user: AtomicU64,
    system: AtomicU64,
    idle: AtomicU64,
    /// The last one found it at work.
    is_busy: AtomicBool,
}

static FOUND: [Found; MAX_CPUS] = [const {
    Found {
        user: AtomicU64::new(0),
        system: AtomicU64::new(0),
        idle: AtomicU64::new(0),
        is_busy: AtomicBool::new(false),
    }
}; MAX_CPUS];

/// Bits behind the point.
const POINT: u32 = 11;
const ONE: u64 = 1 << POINT;
/// Nanoseconds from one look to the next.
const PERIOD: u64 = 5_000_000_000;
/// The weight of what was, over one, five and fifteen minutes: e to the power of minus the period
/// over them.
const WEIGHTS: [u64; 3] = [1884, 2014, 2037];

static AVERAGES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Those who wait for more lines of the kernel's: a tick tells them, since a line may be said where
/// nothing can be woken.
pub static LINES: WaitQueue = WaitQueue::new();
static LINES_SEEN: AtomicU64 = AtomicU64::new(0);

static NEXT_LOOK: AtomicU64 = AtomicU64::new(PERIOD);

/// Nanoseconds in user mode, in the kernel, and idle.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuUse {
    pub user: u64,
    pub system: u64,
    pub idle: u64,
}

/// What a CPU has done since boot.
pub fn cpu_use(number: usize) -> CpuUse {
    let Some(found) = FOUND.get(number) else { return CpuUse::default() };
    let time = |ticks: &AtomicU64| ticks.load(Ordering::Relaxed) * clock::TICK;
    CpuUse { user: time(&found.user), system: time(&found.system), idle: time(&found.idle) }
}

/// The averages over one, five and fifteen minutes, in hundredths.
pub fn averages() -> [u64; 3] {
    // Rounded, as Linux shows them.
    let shown = |average: &AtomicU64| {
        let average = average.load(Ordering::Relaxed) + ONE / 200;
        (average * 100) >> POINT
    };
    [shown(&AVERAGES[0]), shown(&AVERAGES[1]), shown(&AVERAGES[2])]
}

/// A tick of a CPU.
pub(crate) fn tick(cpu: &Cpu, from_user: bool) {
    let Some(found) = FOUND.get(cpu.id().index()) else { return };
    let is_idle = cpu.idle.load(Ordering::Relaxed) == cpus::current_thread();
    let counter = match (from_user, is_idle) {
        (true, _) => &found.user,
        (false, true) => &found.idle,
        (false, false) => &found.system,
    };
    // No other CPU writes it.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    found.is_busy.store(!is_idle, Ordering::Relaxed);
    if cpu.id().get() == 0 {
        look(clock::nanoseconds());
        let lines = machine::log::kept();
        if LINES_SEEN.swap(lines, Ordering::Relaxed) != lines {
            LINES.wake_all();
        }
    }
}

/// The first CPU's tick: adds what runs to the averages, when it is time.
fn look(now: u64) {
    while now >= NEXT_LOOK.load(Ordering::Relaxed) {
        NEXT_LOOK.fetch_add(PERIOD, Ordering::Relaxed);
        let busy = FOUND.iter().filter(|found| found.is_busy.load(Ordering::Relaxed)).count();
        let active = (ready_count() + busy) as u64 * ONE;
        for (average, weight) in AVERAGES.iter().zip(WEIGHTS) {
            let before = average.load(Ordering::Relaxed);
            // Rounded up while it grows: so it gets where it is going.
            let rounding = if active >= before { ONE - 1 } else { 0 };
            let next = (before * weight + active * (ONE - weight) + rounding) / ONE;
            average.store(next, Ordering::Relaxed);
        }
    }
}
