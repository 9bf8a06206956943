//! The clock: nanoseconds since boot from the machine's counter, ticks, and when each CPU's timer
//! interrupts. Below the scheduler, which looks at it when a wait has an end.
//!
//! # The clock
//!
//! The counter of every machine here counts evenly, and the same on all CPUs; where its rate is not
//! known, ticks stand in for it. Whether CPUs agree is looked at when one comes up and at each of
//! its ticks: each leaves the highest count that it has seen, and one that is behind that puts an
//! end to the trust. From then on [`nanoseconds`] never gives out less than it gave out before, on
//! whatever CPU, at the price of a word that all CPUs write.
//!
//! # Before the next tick
//!
//! A deadline that comes before the next tick of the CPU that sleeps makes that CPU's timer
//! interrupt once in between. `next_tick` says when the tick is to come all the same. After the
//! interrupt in between, the timer is set to what comes first, another deadline or the tick; with
//! the tick it is periodic again.
//!
//! | timer of the CPU | `asked` | its interrupt is |
//! | --- | --- | --- |
//! | periodic | [`NEVER`] | a tick |
//! | once | the time it is set to | a tick if it is time for that, else one in between |

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use machine::arch::cpu;
use machine::arch::irqchip::{self, HZ};
use machine::cpus::{self, MAX_CPUS};

static TICKS: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds of a tick.
pub const TICK: u64 = 1_000_000_000 / HZ;

const NEVER: u64 = u64::MAX;

/// The counter's count at boot; nanoseconds of a count, whole ones and 2^32nds. Both 0: there is no
/// counter.
static AT_BOOT: AtomicU64 = AtomicU64::new(0);
static WHOLE: AtomicU64 = AtomicU64::new(0);
static PART: AtomicU64 = AtomicU64::new(0);

/// The highest count that a CPU has left for others to see, and whether none was behind it.
static SEEN: AtomicU64 = AtomicU64::new(0);
static IS_STEADY: AtomicBool = AtomicBool::new(true);
/// What was given out last, once CPUs have been found to disagree.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A CPU's timer. Only that CPU uses it, with interrupts off.
struct Timer {
    /// When its next tick is to come; 0: it has had none.
    next_tick: AtomicU64,
    asked: AtomicU64,
}

static TIMERS: [Timer; MAX_CPUS] =
    [const { Timer { next_tick: AtomicU64::new(0), asked: AtomicU64::new(NEVER) } }; MAX_CPUS];

/// Asks the machine how fast its counter is. Once, at boot.
pub fn set_up() {
    let per_second = irqchip::counter_per_second();
    if per_second == 0 {
        return;
    }
    AT_BOOT.store(irqchip::counter(), Ordering::Relaxed);
    WHOLE.store(1_000_000_000 / per_second, Ordering::Relaxed);
    let rest = u128::from(1_000_000_000 % per_second) << 32;
    PART.store((rest / u128::from(per_second)) as u64, Ordering::Relaxed);
}

/// Looks whether this CPU's counter is behind another's.
pub fn compare_counter() {
    if SEEN.fetch_max(irqchip::counter(), Ordering::SeqCst) > irqchip::counter() {
        IS_STEADY.store(false, Ordering::Relaxed);
    }
}

/// Whether no CPU's counter was behind another's so far.
pub fn is_steady() -> bool {
    IS_STEADY.load(Ordering::Relaxed)
}

/// Whether there is a counter: else time comes in steps of a tick.
pub fn has_counter() -> bool {
    WHOLE.load(Ordering::Relaxed) | PART.load(Ordering::Relaxed) != 0
}

/// Nanoseconds of so many counts.
pub fn of_counts(counts: u64) -> u64 {
    let (whole, part) = (WHOLE.load(Ordering::Relaxed), PART.load(Ordering::Relaxed));
    let (high, low) = (counts >> 32, counts & u64::from(u32::MAX));
    counts.wrapping_mul(whole).wrapping_add(high * part).wrapping_add((low * part) >> 32)
}

/// Ticks of the first CPU since boot.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Nanoseconds since boot.
pub fn nanoseconds() -> u64 {
    if !has_counter() {
        return ticks() * TICK;
    }
    let now = of_counts(irqchip::counter().saturating_sub(AT_BOOT.load(Ordering::Relaxed)));
    if is_steady() {
        return now;
    }
    LAST.fetch_max(now, Ordering::SeqCst).max(now)
}

/// What this CPU's timer interrupted for: a tick, or a deadline in between. Then it is set to what
/// comes next: the tick, or the next deadline.
pub(crate) fn is_tick(next_deadline: u64) -> bool {
    compare_counter();
    let timer = &TIMERS[cpus::this().id().index()];
    let now = nanoseconds();
    let next_tick = timer.next_tick.load(Ordering::Relaxed);
    let was_asked = timer.asked.swap(NEVER, Ordering::Relaxed) != NEVER;
    if was_asked && now < next_tick {
        // One that has passed is seen to by the softirq, which asks for the next.
        set(timer, if next_deadline > now { next_deadline.min(next_tick) } else { next_tick }, now);
        return false;
    }
    timer.next_tick.store(now + TICK, Ordering::Relaxed);
    if was_asked {
        irqchip::start_timer();
    }
    true
}

/// Lets this CPU's timer interrupt at a time instead of periodically.
fn set(timer: &Timer, when: u64, now: u64) {
    /// Nearer than that is no nearer.
    const LEAST: u64 = 1000;
    timer.asked.store(when, Ordering::Relaxed);
    irqchip::start_timer_after(when.saturating_sub(now).max(LEAST));
}

/// Has this CPU's timer interrupt for a deadline, if that comes before its next tick.
pub(crate) fn ask_for(deadline: u64) {
    cpu::without_interrupts(|| {
        let timer = &TIMERS[cpus::this().id().index()];
        let next_tick = timer.next_tick.load(Ordering::Relaxed);
        let now = nanoseconds();
        // A tick that is due comes in a moment; one that should have come long ago does not: a test
        // has stopped the timer.
        let is_before = deadline < next_tick.min(timer.asked.load(Ordering::Relaxed));
        if has_counter() && now < next_tick && is_before {
            set(timer, deadline, now);
        }
    });
}

/// A tick of the first CPU.
pub(crate) fn advance() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// The time that is at least so many nanoseconds from now: a clock of ticks may stand right before
/// its next one.
pub fn later(by: u64) -> u64 {
    let step = if has_counter() { 0 } else { TICK };
    nanoseconds().saturating_add(by).saturating_add(step)
}
