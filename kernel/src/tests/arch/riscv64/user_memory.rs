//! What the kernel must not do with user memory, and the CPU's own refusal: supervisor mode never
//! executes a page of a program's, and reads or writes one only with `sstatus.SUM` set.

use crate::tests::support::on_every_cpu;
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// In sstatus: the kernel may use programs' pages (SUM), and read what is only executable (MXR).
const ALLOWED: u64 = 1 << 18 | 1 << 19;

/// Red if a CPU starts with either bit set, or a program gets into the kernel with one.
pub fn h5_no_cpu_lets_the_kernel_use_user_memory_not_in_a_system_call_either() -> Outcome {
    static STATUS: AtomicU64 = AtomicU64::new(0);
    fn status() -> u64 {
        let status: u64;
        // SAFETY: (1) only reads the flags.
        unsafe { asm!("csrr {}, sstatus", out(reg) status, options(nomem, nostack)) };
        status
    }
    on_every_cpu(|_| {
        check!(status() & ALLOWED == 0, "sstatus is {:#x}", status());
        Ok(())
    })?;
    STATUS.store(ALLOWED, Ordering::Relaxed);
    user_mode::with_hooks(Some(|| STATUS.store(status(), Ordering::Relaxed)), || {
        UserThread::start(super::user_code::call_twice, 0)?.finish();
        Ok(())
    })?;
    let status = STATUS.load(Ordering::Relaxed);
    check!(status & ALLOWED == 0, "in a system call, sstatus is {status:#x}");
    Ok(())
}
