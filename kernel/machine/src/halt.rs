//! The end of the machine is the end of all its CPUs: the one that found the reason stops the
//! others before it says so.
//!
//! ```text
//!   the CPU that ends the machine        each other CPU
//!   ENDING = its number, once
//!   NMI (FIQ), or an interrupt  ──────▶  parks: interrupts off, never runs again; PARKED + 1
//!   waits until all are parked,
//!   or for a while
//!   the report, the status
//! ```
//!
//! | a CPU that | is reached by |
//! | --- | --- |
//! | runs with interrupts on | either |
//! | runs with interrupts off | the NMI of a PC, the FIQ of arm32; otherwise only if it comes by a place below |
//! | spins on a lock, which the CPU that ends the machine may hold | the loop itself: it looks here |
//! | wants to end the machine too | itself: the first one has the word |

use crate::arch::{cpu, smp};
use crate::cpus;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The CPU that ends the machine, plus one; 0: none does.
static ENDING: AtomicU32 = AtomicU32::new(0);
/// CPUs that have been parked.
static PARKED: AtomicU32 = AtomicU32::new(0);

/// Looks at the count before the others are taken to be out of reach: a fraction of a second.
const MAX_LOOKS: u32 = 20_000_000;

/// Parks every other CPU. Returns how many could not be reached. Only one CPU returns from here,
/// and that one again if it fails on the rest of its way. No lock is taken.
pub fn park_others() -> u32 {
    claim_end();
    interrupt_others()
}

/// This CPU ends the machine, unless another one does: then it is parked. Only one CPU returns from
/// here, and that one each time.
pub fn claim_end() {
    let me = cpus::this().id().get() + 1;
    match ENDING.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {}
        Err(ending) if ending == me => {}
        Err(_) => park(),
    }
}

/// The second half of [`park_others`], once; later it only counts who still runs.
pub fn interrupt_others() -> u32 {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    if !IS_DONE.swap(true, Ordering::SeqCst) {
        let me = cpus::this().id();
        for other in cpus::online().filter(|cpu| cpu.id() != me) {
            smp::interrupt_at_once(other);
        }
        for _ in 0..MAX_LOOKS {
            if running() == 0 {
                break;
            }
            core::hint::spin_loop();
        }
    }
    running()
}

/// How many other CPUs have not been parked.
fn running() -> u32 {
    cpus::online_count().saturating_sub(1).saturating_sub(PARKED.load(Ordering::SeqCst))
}

fn park() -> ! {
    PARKED.fetch_add(1, Ordering::SeqCst);
    cpu::halt()
}

/// Whether this CPU is the one that ends the machine.
pub fn is_ended_here() -> bool {
    ENDING.load(Ordering::Relaxed) == cpus::this().id().get() + 1
}

/// Parks this CPU if another one ends the machine. In an interrupt or an NMI, and wherever a CPU
/// waits for another with interrupts off.
#[inline]
pub fn park_if_asked() {
    let ending = ENDING.load(Ordering::Relaxed);
    if ending != 0 && ending != cpus::this().id().get() + 1 {
        park();
    }
}
