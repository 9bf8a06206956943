//! What the kernel must not do with user memory, and the CPU's own refusal: supervisor mode never
//! executes a page of a program's, and reads or writes one only with `sstatus.SUM` set.

use crate::hooks;
use crate::tests::support::on_every_cpu;
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::addr::Addr;
use kstack::hooks::Hooks;
use machine::arch::cpu;
use machine::arch::paging::{Access, UserTables};
use machine::arch::regs::SavedRegs;
use machine::memory::frames;
use threads::sched;

const PAGE: u64 = 0x40_0000;
const FETCH_PAGE_FAULT: u64 = 12;
const LOAD_PAGE_FAULT: u64 = 13;
const STORE_PAGE_FAULT: u64 = 15;
/// In sstatus: the kernel may use programs' pages (SUM), and read what is only executable (MXR).
const ALLOWED: u64 = 1 << 18 | 1 << 19;

/// Cause and address of the last exception.
static SEEN: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Notes the exception, and continues as if the function that touched user memory had returned.
fn note(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    SEEN[0].store(vector.into(), Ordering::Relaxed);
    SEEN[1].store(fault.get() as u64, Ordering::Relaxed);
    regs.epc = regs.ra;
}

fn seen() -> [u64; 2] {
    [0, 1].map(|place| SEEN[place].swap(0, Ordering::Relaxed))
}

#[unsafe(naked)]
extern "C" fn load(_address: u64) {
    naked_asm!("ld a0, 0(a0)", "ret")
}

#[unsafe(naked)]
extern "C" fn store(_address: u64) {
    naked_asm!("sd zero, 0(a0)", "ret")
}

#[unsafe(naked)]
extern "C" fn go_to(_address: u64) {
    naked_asm!("jr a0")
}

/// A page of user memory that a program may read, write and execute, in the tables that are loaded.
/// Red if the CPU lets the kernel in: SUM set, or the page not marked as a program's.
pub fn h5_the_kernel_executes_no_user_memory_and_touches_none_by_accident() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.kernel_exception(note);
    let frame = frames::alloc_zeroed().ok_or("no frame")?;
    let mut tables = UserTables::new().ok_or("no tables")?;
    let mapped = tables.map(PAGE, frame, Access { write: true, exec: true });
    mapped.map_err(|_| "no table")?;
    let use_tables = |root| {
        cpu::without_interrupts(|| {
            sched::current().set_tables_root(root);
            sched::load_tables_of(sched::current());
        });
    };
    crate::tests::support::install_hooks(&HOOKS);
    use_tables(tables.root());
    let refused = [go_to, load, store].map(|touch| {
        touch(PAGE);
        seen()
    });
    use_tables(0);
    crate::tests::support::install_hooks(&hooks::HOOKS);
    frames::release(frame);
    let wanted = [FETCH_PAGE_FAULT, LOAD_PAGE_FAULT, STORE_PAGE_FAULT].map(|cause| [cause, PAGE]);
    check!(refused == wanted, "executed, loaded, stored: {refused:x?}");
    Ok(())
}

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
