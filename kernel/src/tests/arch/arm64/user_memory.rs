//! What the kernel must not do with user memory, and the CPU's own refusal: PXN everywhere, PAN
//! where the CPU has it.

use crate::tests::support::on_every_cpu;
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::cpu;
use machine::arch::exceptions::{self, UserFault};
use machine::arch::regs::SavedRegs;

/// Red if a CPU starts with PAN clear although it has it, or a program gets into the kernel without
/// it being set.
pub fn h5_no_cpu_lets_the_kernel_use_user_memory_not_in_a_system_call_either() -> Outcome {
    /// PAN's bit, as its register and a saved PSTATE have it.
    const PAN: u64 = 1 << 22;
    static SEEN: AtomicU64 = AtomicU64::new(0);
    fn is_set() -> bool {
        let pan: u64;
        // SAFETY: (1) the register is read only where the CPU has it, and without effect.
        unsafe { asm!("mrs {}, S3_0_C4_C2_3", out(reg) pan, options(nomem, nostack)) };
        pan & PAN != 0
    }
    if !cpu::has_pan() {
        return Ok(());
    }
    on_every_cpu(|regs| {
        check!(is_set() && (regs.from_user() || regs.pstate & PAN != 0), "PAN is clear: {regs:x?}");
        Ok(())
    })?;
    SEEN.store(0, Ordering::Relaxed);
    user_mode::with_hooks(Some(|| SEEN.store(1 + u64::from(is_set()), Ordering::Relaxed)), || {
        UserThread::start(super::user_code::call_twice, 0)?.finish();
        Ok(())
    })?;
    let seen = SEEN.load(Ordering::Relaxed);
    check!(seen == 2, "in a system call: {seen}");
    Ok(())
}

/// By every status that an abort has, as a write or not, as cache maintenance or not. Red if one
/// that no change of the tables can mend is taken for a page fault, which the program would come
/// back to without end, or maintenance of a read-only page for a write to it.
pub fn p8_an_abort_that_no_page_can_mend_is_a_signal_and_cache_maintenance_is_no_write() -> Outcome
{
    const FROM_USER: u8 = 0x24;
    const FETCH_FROM_USER: u8 = 0x20;
    for status in 0..64 {
        // Translation, access flag and permission faults of levels 0 to 3, and a translation fault
        // of level -1.
        let can_be_mended = (4..16).contains(&status) || status == 0x2b;
        for kind in 0..4 {
            let (is_write, is_maintenance) = (kind & 1 != 0, kind & 2 != 0);
            let esr = status | u64::from(is_write) << 6 | u64::from(is_maintenance) << 8;
            let regs = SavedRegs { esr, ..SavedRegs::default() };
            let expected = |write, exec| match can_be_mended {
                true => UserFault::Page { write, exec },
                false => UserFault::Bus,
            };
            let found = exceptions::of_user(FROM_USER, &regs);
            let right = expected(is_write && !is_maintenance, false);
            check!(found == right, "syndrome {esr:#x}: {found:?}, not {right:?}");
            let found = exceptions::of_user(FETCH_FROM_USER, &regs);
            check!(found == expected(false, true), "syndrome {esr:#x} of a fetch: {found:?}");
        }
    }
    Ok(())
}
