//! What is done last on the way to user mode, where boot options want it: a system call with an
//! offset, and with erasing; and the erasing of what a call so deep has left.

use super::{median, program, report, span};
use core::hint::black_box;
use machine::arch::cpu;
use machine::cpus;
use threads::entry::on_return::{self, ERASE, OFFSET};

const ROUNDS: usize = 200;

pub(super) fn run(overhead: u64) {
    for (name, bytes) in [("erasing_512", 512), ("erasing_4096", 4096)] {
        let rounds = (0..ROUNDS).map(|_| {
            dirty(bytes);
            cpu::without_interrupts(|| span(erase, overhead))
        });
        report(name, median(rounds.collect()), "instructions");
    }
}

/// The call that does the least, of a program.
pub(super) fn calls() {
    let before = on_return::wanted();
    for (name, bits) in [("syscall_null_offset", OFFSET), ("syscall_null_erasing", ERASE)] {
        on_return::want(bits);
        program(b"null-call", |_| name);
        on_return::want(before);
        cpus::this().local.entry_offset().clear();
    }
}

#[inline(always)]
fn erase() {
    // SAFETY: (1) this CPU, in a thread that is in no interrupt, interrupts off.
    unsafe { on_return::erase(cpus::this()) };
}

/// Writes so many bytes below SP, as a call would that has returned since.
#[inline(never)]
fn dirty(bytes: usize) {
    let mut left = [0_u8; 512];
    black_box(&mut left).fill(0xa5);
    if let Some(more) = bytes.checked_sub(left.len()).filter(|&more| more > 0) {
        dirty(more);
    }
    black_box(&mut left);
}
