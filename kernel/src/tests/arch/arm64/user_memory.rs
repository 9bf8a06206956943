//! What the kernel must not do with user memory, and the CPU's own refusal: PXN everywhere, PAN
//! where the CPU has it.

use crate::hooks;
use crate::tests::support::on_every_cpu;
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::addr::Addr;
use kstack::hooks::Hooks;
use machine::arch::cpu;
use machine::arch::exceptions::{self, UserFault};
use machine::arch::paging::{Access, UserTables};
use machine::arch::regs::SavedRegs;
use machine::memory::frames;
use threads::sched;

const PAGE: u64 = 0x40_0000;
const INSTRUCTION_ABORT: u8 = 0x21;
const DATA_ABORT: u8 = 0x25;
/// In the syndrome: a permission, on the last level.
const PERMISSION: u64 = 0xf;

/// Class, fault status and address of the last exception.
static SEEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Notes the exception, and continues as if the function that touched user memory had returned.
fn note(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    let status = regs.esr & 0x3f;
    for (place, value) in SEEN.iter().zip([vector.into(), status, fault.get() as u64]) {
        place.store(value, Ordering::Relaxed);
    }
    regs.pc = regs.x[30];
}

fn seen() -> [u64; 3] {
    [0, 1, 2].map(|place| SEEN[place].swap(0, Ordering::Relaxed))
}

/// Loads the word at x0.
#[unsafe(naked)]
extern "C" fn load(_address: u64) -> u64 {
    naked_asm!("ldr x0, [x0]", "ret")
}

/// Goes to x0.
#[unsafe(naked)]
extern "C" fn go_to(_address: u64) {
    naked_asm!("br x0")
}

/// A page of user memory that a program may read and execute, in the tables that are loaded. Red if
/// the page can be executed by the kernel, or if a kernel thread runs with PAN clear on a CPU that
/// has it.
pub fn h5_the_kernel_executes_no_user_memory_and_touches_none_by_accident() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.kernel_exception(note);
    let frame = frames::alloc_zeroed().ok_or("no frame")?;
    let mut tables = UserTables::new().ok_or("no tables")?;
    let mapped = tables.map(PAGE, frame, Access { write: false, exec: true });
    mapped.map_err(|_| "no table")?;
    let use_tables = |root| {
        cpu::without_interrupts(|| {
            sched::current().set_tables_root(root);
            sched::load_tables_of(sched::current());
        });
    };
    crate::tests::support::install_hooks(&HOOKS);
    use_tables(tables.root());
    go_to(PAGE);
    let executed = seen();
    load(PAGE);
    let loaded = seen();
    use_tables(0);
    crate::tests::support::install_hooks(&hooks::HOOKS);
    frames::release(frame);
    check!(executed == [INSTRUCTION_ABORT.into(), PERMISSION, PAGE], "executed: {executed:x?}");
    let refused = [DATA_ABORT.into(), PERMISSION, PAGE];
    check!(loaded == if cpu::has_pan() { refused } else { [0; 3] }, "loaded: {loaded:x?}");
    Ok(())
}

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
