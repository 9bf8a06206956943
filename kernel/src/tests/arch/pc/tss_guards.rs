//! What lies around the task state segments: guards, and nothing for user mode.

use crate::tests::arch::tss::{nothing_read, segments_here};
use crate::tests::arch::user_code;
use crate::tests::support::on_every_cpu;
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use kstack::arch::io_maps::IoMaps;
use machine::arch::{cpu_tables, paging};
use machine::cpus;

/// Red if the tables were static data like any other.
pub fn x4_the_task_state_segment_has_a_page_between_guards_that_user_mode_cannot_reach() -> Outcome
{
    on_every_cpu(|_| {
        let segments = segments_here();
        let base = segments.start;
        check!(base.is_multiple_of(4096), "the segment is at {base:#x}, not page aligned");
        for at in segments {
            check!(paging::kernel_is_mapped(at), "{at:#x} is not mapped");
            check!(!paging::user_can_reach(at), "user mode can read {at:#x}");
        }
        for maps in (base + 4096..behind_maps(base)).step_by(4096) {
            check!(!paging::user_can_reach(maps), "user mode can read {maps:#x}");
        }
        let behind = behind_maps(base);
        for guard in [base - 4096, base - 1, behind, behind + 4096 - 1] {
            check!(!paging::kernel_is_mapped(guard), "{guard:#x}, next to the page, is mapped");
        }
        Ok(())
    })
}

/// The first address behind a segment's page and the maps of ports, which may be mapped.
const fn behind_maps(base: u64) -> u64 {
    base + 4096 + size_of::<IoMaps>() as u64
}

/// From user mode, with the CPU's own answer: a page fault, by a page that is there and not the
/// user's.
pub fn x4_user_mode_that_reads_the_task_state_segment_faults() -> Outcome {
    user_mode::with_hooks(None, || {
        for cpu in cpus::online() {
            user_mode::SEEN.lock().clear();
            let address = cpu_tables::tables_address(cpu.id()) + 4;
            UserThread::start(user_code::read_there, address)?.finish();
            let seen = user_mode::seen();
            let [fault] = &seen[..] else { return Err(alloc::format!("{seen:x?}")) };
            check!(fault.vector == 14 && fault.fault as u64 == address, "{fault:x?}");
            // Error code: present, read, from user mode.
            check!(fault.regs.error_code() == 0b101, "error code {:b}", fault.regs.error_code());
            check!(
                fault.regs.pc().get() as u64 == user_mode::CODE && nothing_read(&fault.regs),
                "{fault:x?}"
            );
            user_mode::check_at_top(fault)?;
        }
        Ok(())
    })
}
