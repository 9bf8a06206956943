//! Making every CPU forget its translations where the hardware does not do that by itself: an
//! interrupt to each, and a number.
//!
//! ```text
//!   the CPU that wants it                   each other CPU
//!   counts one more: `wanted`
//!   an interrupt to those that are up ───▶  forgets, says `flushed = wanted`
//!   answers others while it waits
//! ```

use super::flushes;
use crate::arch::cpu;
use crate::arch::irqchip::{self, vector};
use crate::cpus;
use crate::fn_cell::FnCell;
use core::sync::atomic::Ordering;

/// Makes every other CPU drop its translations, global ones too, and waits until all have.
///
/// May be called with interrupts off: a CPU that spins here or on a lock answers meanwhile. `relax`
/// is called between two looks.
pub fn flush_others(relax: impl Fn()) {
    // Off in any case: the wait below must answer for the CPU it began on.
    cpu::without_interrupts(|| flush_others_and_wait(relax));
}

fn flush_others_and_wait(relax: impl Fn()) {
    let wanted = flushes::count();
    let me = cpus::this().id();
    // Those that are up now. One that comes up later drops everything after it has said so, or sees
    // `wanted` (`kernel_secondary`).
    let others = cpus::online().filter(|cpu| cpu.id() != me);
    for cpu in others.clone() {
        irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::FLUSH);
    }
    for cpu in others {
        while cpu.flushed.load(Ordering::SeqCst) < wanted {
            answer_flush();
            relax();
        }
    }
}

/// What else a CPU loads again when it flushes, once there is something.
static ALSO: FnCell<fn()> = FnCell::new();

/// Sets what else a CPU loads again when it flushes. Before the first flush that is for that.
#[cfg_attr(
    not(any(target_arch = "x86", target_arch = "x86_64")),
    expect(dead_code, reason = "the PCs' segments")
)]
pub(in crate::arch) fn set_also(work: fn()) {
    ALSO.set(Some(work));
}

/// Carries out a flush that another CPU waits for. Interrupts are off.
#[inline]
pub fn answer_flush() {
    let wanted = flushes::flushes();
    let flushed = &cpus::this().flushed;
    if flushed.load(Ordering::Relaxed) < wanted {
        cpu::flush_all();
        if let Some(also) = ALSO.get() {
            also();
        }
        flushed.store(wanted, Ordering::SeqCst);
    }
}
