//! The task state segments, read as the CPU reads them.

use super::evidence::{loaded_tss, task_state_segment, word};
use crate::tests::support::{on_every_cpu, stack_of_cpu};
use crate::tests::{Outcome, check};
use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::arch::current::tables::{
    CpuTables, GUARD_SEGMENT, KERNEL_CODE, KERNEL_DATA, PER_CPU, POISON, Unfit,
};
use kstack::kind::StackKind;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, cpu_tables};
use machine::cpus;
use threads::sched;

/// The one that the task gate of the double fault leads to.
fn double_fault_tss() -> (u32, u32, u32) {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u32,
    }
    let mut idt = Pointer { limit: 0, base: 0 };
    // SAFETY: (1) the instruction only stores the register.
    unsafe { asm!("sidt [{idt}]", idt = in(reg) &raw mut idt, options(nostack)) };
    const DOUBLE_FAULT: usize = 8;
    // SAFETY: (1) the CPU reads the gate from there.
    let gate = unsafe { (idt.base as *const u64).add(DOUBLE_FAULT).read() };
    // Present, type 5: a task gate.
    if gate >> 40 & 0xff != 0x85 {
        return (0, 0, 0);
    }
    task_state_segment((gate >> 16) as u32 & 0xffff)
}

/// Between the task register and the block that the entries ask for, an interrupt would find one
/// without the other. Red if tables are loaded with interrupts on.
pub fn u1_tables_are_refused_while_interrupts_are_on() -> Outcome {
    let on = CpuTables::check();
    let off = cpu::without_interrupts(CpuTables::check);
    check!(on == Err(Unfit::InterruptsAreOn), "with interrupts on: {on:?}");
    check!(off == Ok(()), "with interrupts off: {off:?}");
    Ok(())
}

/// Whether this CPU runs in its own task, which is busy, and the task of the double fault is not.
pub(super) fn check_tasks() -> Outcome {
    let (base, _, kind) = loaded_tss();
    let at = cpu_tables::tables_address(cpus::this().id());
    check!(u64::from(base) == at && kind == 0b1011, "the task is {base:#x}, {kind:#b}");
    let (_, limit, kind) = double_fault_tss();
    check!(limit == 103 && kind == 0b1001, "the other task: {limit}, {kind:#b}");
    Ok(())
}

/// On every CPU: what the task register leads to is the CPU's own table, and at the manual's
/// offsets stands what the CPU reads there; likewise for the segment behind the double fault's
/// gate, down to where its stack is. Red if a field moves, if two CPUs share a stack, or if a
/// switch forgets esp0.
pub fn x1_the_loaded_task_state_segments_have_every_field_in_its_place() -> Outcome {
    on_every_cpu(|_| {
        let cpu = cpus::this();
        let (base, limit, kind) = loaded_tss();
        let at = cpu_tables::tables_address(cpu.id());
        check!(u64::from(base) == at, "the segment is at {base:#x}");
        check!(limit == 0x5008, "its limit is {limit:#x}, not the end of the maps of ports");
        check!(kind == 0b1011, "its type is {kind:#x}, not a busy 32-bit segment");
        // SAFETY: (1) mapped, 104 bytes from `base` on.
        let tss = |at: u32| unsafe { word(base, at) };
        // An idle thread that never was switched to has no business in user mode: still poisoned.
        let thread = sched::current();
        let top = thread.stack_range().top.get() as u32;
        let never_switched =
            core::ptr::from_ref(thread) as usize == cpu.idle.load(Ordering::Relaxed);
        for at in [4, 12] {
            let right = tss(at) == top || never_switched && tss(at) == POISON;
            check!(right, "the word at {at} is {:#x}, the stack's top {top:#x}", tss(at));
        }
        check!(tss(8) == KERNEL_DATA.into(), "ss0 is {:#x}", tss(8));
        check!([0, KERNEL_CODE.into()].contains(&tss(16)), "ss1 is {:#x}", tss(16));
        check!(tss(20) == POISON, "esp2 is {:#x}", tss(20));
        check!(tss(100) & 1 == 0 && tss(100) >> 16 > limit, "trap, I/O bitmap: {:#x}", tss(100));

        let (base, limit, kind) = double_fault_tss();
        check!(limit == 103 && kind == 0b1001, "the other segment: {limit}, {kind:#b}");
        // SAFETY: (1) as above.
        let other = |at: u32| unsafe { word(base, at) };
        let stack = stack_of_cpu(StackKind::DoubleFault, cpu)?;
        check!(other(56) == stack.range.top.get() as u32, "its esp is {:#x}, {stack:?}", other(56));
        let root: u32;
        // SAFETY: (1) reading CR3 has no effect.
        unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack)) };
        check!(other(28) == root, "its page tables are {:#x}, loaded are {root:#x}", other(28));
        check!(other(36) == 2, "its flags are {:#x}", other(36));
        check!(other(76) == KERNEL_CODE.into(), "its cs is {:#x}", other(76));
        for at in [72, 80, 84] {
            check!(other(at) == KERNEL_DATA.into(), "its segment at {at} is {:#x}", other(at));
        }
        let segments = [other(88), other(92)];
        check!(segments == [PER_CPU.into(), GUARD_SEGMENT.into()], "fs, gs: {segments:x?}");
        Ok(())
    })
}

/// While threads come and go on all CPUs, esp0 and esp1 follow the running thread.
pub fn x1_s1_the_stack_for_entries_from_user_mode_follows_the_running_thread() -> Outcome {
    fn look(_: usize) {
        for _ in 0..200 {
            cpu::without_interrupts(|| {
                let (base, ..) = loaded_tss();
                // SAFETY: (1) mapped, see above.
                let tops = unsafe { [word(base, 4), word(base, 12)] };
                let top = sched::current().stack_range().top;
                if tops != [top.get() as u32; 2] || cpus::this().local.thread_top() != top {
                    WRONG.fetch_add(1, Ordering::Relaxed);
                }
                LOOKS.fetch_add(1, Ordering::Relaxed);
            });
            sched::yield_now();
        }
    }
    static WRONG: AtomicU32 = AtomicU32::new(0);
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let threads: Result<alloc::vec::Vec<_>, _> =
        (0..12).map(|_| sched::spawn_kernel("looking", look, 0)).collect();
    for thread in threads.map_err(|error| alloc::format!("{error:?}"))? {
        thread.join();
    }
    let looks = LOOKS.load(Ordering::Relaxed);
    check!(looks >= 2400, "only {looks} looks");
    check!(WRONG.load(Ordering::Relaxed) == 0, "wrong {WRONG:?} times of {looks}");
    Ok(())
}

/// The register holds what `ss1` says, whatever it is set to; setting it to the same again writes
/// nothing.
pub fn x2_the_sysenter_register_is_written_only_when_the_cached_selector_changes() -> Outcome {
    on_every_cpu(|_| {
        let cpu = cpus::this();
        let tables = cpu.arch.tables.load(Ordering::Relaxed);
        let held = || {
            const SYSENTER_CS: u32 = 0x174;
            let value: u32;
            // SAFETY: (1) the register exists.
            unsafe {
                asm!("rdmsr", in("ecx") SYSENTER_CS, out("eax") value, out("edx") _, options(nomem, nostack));
            }
            // SAFETY: (1) the loaded tables are mapped.
            (value, unsafe { CpuTables::read_tss(tables) }.ss1)
        };
        let code = u32::from(KERNEL_CODE);
        let mut seen = alloc::vec::Vec::new();
        for allowed in [true, false, false, true, true] {
            let written = cpu::without_interrupts(|| {
                // SAFETY: (1) this CPU's tables: `on_every_cpu` keeps the thread here; interrupts
                // are off.
                unsafe { CpuTables::allow_sysenter(tables, allowed) }
            });
            let expected = if allowed { code } else { 0 };
            check!(held() == (expected, expected), "register and ss1: {:x?}", held());
            seen.push(written);
        }
        check!(seen[1..] == [true, false, true, false], "{seen:?}");
        Ok(())
    })
}

/// Where this CPU's segments lie: the one of the task that runs, and behind it the double fault's.
pub(in crate::tests::arch) fn segments_here() -> Range<u64> {
    let base = u64::from(loaded_tss().0);
    base..base + 2 * 104
}

/// Whether [`read_there`](super::user_code::read_there) has read nothing.
pub(in crate::tests::arch) fn nothing_read(regs: &SavedRegs) -> bool {
    regs.ebx == 0
}
