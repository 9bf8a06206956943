//! What only arm32 has: the words of its exception modes, the bit test with the stacks behind it,
//! the domain register, and where `thread_info` is.

use crate::provoke::{self, How};
use crate::tests::support::{check_mapping, on_every_cpu, until};
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::arch::current::cause::{DATA_ABORT, DEBUG_EVENT, PREFETCH_ABORT, UNDEFINED};
use kstack::arch::current::local::{THREAD_INFO_ON_STACK, thread_info_at};
use kstack::arch::current::regs::FREE_AT_TOP;
use kstack::arch::current::tables::CpuTables;
use machine::arch::exceptions::{self, UserFault};
use machine::arch::regs::{MODE, SVC_MODE, SavedRegs};
use machine::arch::{cpu_tables, paging};
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::sched;

/// Threads that have run, slept and been interrupted have never used the top 8 bytes of their
/// stacks. Red if an entry or the first frame started at the very top.
pub fn s2_t1_the_eight_bytes_at_the_top_of_a_stack_are_never_written() -> Outcome {
    let threads = sched::all();
    let mut looked_at = 0;
    for thread in &threads {
        let top = thread.stack_range().top;
        if !thread.has_stack() {
            continue;
        }
        let lowest = top.wrapping_sub(FREE_AT_TOP).get() as *const u64;
        // SAFETY: (1) the highest bytes of a mapped stack; stacks stay mapped while the list of
        // threads is held.
        let word = unsafe { lowest.read_volatile() };
        check!(word == 0, "{}: {word:#x} at {lowest:?}", thread.name());
        looked_at += 1;
    }
    check!(looked_at > 4, "only {looked_at} stacks");
    Ok(())
}

fn domain() -> u32 {
    let value: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mrc p15, 0, {}, c3, c0, 0", out(reg) value, options(nostack, preserves_flags)) };
    value
}

static DOMAINS: SpinLock<Vec<(usize, u32)>> = SpinLock::new(Vec::new());

/// Each of eight threads sets a value of its own, gives the CPU to the others many times, and still
/// has it. Red if the switch left the register alone.
pub fn s1_every_thread_has_a_domain_register_of_its_own() -> Outcome {
    fn body(number: usize) {
        let mine = 1 | (number as u32) << 4;
        // SAFETY: (1) domain 0 stays a client; nothing belongs to the others.
        unsafe { asm!("mcr p15, 0, {}, c3, c0, 0", "isb", in(reg) mine) };
        for _ in 0..200 {
            sched::yield_now();
            let now = domain();
            if now != mine {
                DOMAINS.lock().push((number, now));
                return;
            }
        }
    }
    DOMAINS.lock().clear();
    let before = domain();
    let threads: Result<Vec<_>, _> =
        (1..9).map(|number| sched::spawn_kernel("domain", body, number)).collect();
    for thread in threads.map_err(|error| alloc::format!("{error:?}"))? {
        thread.join();
    }
    let wrong = core::mem::take(&mut *DOMAINS.lock());
    check!(wrong.is_empty(), "changed: {wrong:x?}");
    check!(domain() == before, "{:#x} became {:#x}", before, domain());
    Ok(())
}

/// Overflow stack: a slot of the arena. Words and last stack: a page between unmapped ones, at an
/// address that passes the bit test.
pub fn i9_every_cpu_has_an_overflow_stack_and_mode_words_between_guards() -> Outcome {
    let geometry = kstack::arch::current::GEOMETRY;
    for cpu in cpus::online() {
        let top = cpu.local.arch.overflow_top();
        let overflow = AddrRange { lowest: top.wrapping_sub(ByteSize::pages(2)), top };
        check_mapping(overflow)?;
        let tables = Addr::new(cpu_tables::tables_address(cpu.id()) as usize);
        check_mapping(AddrRange::sized(tables, ByteSize::PAGE))?;
        let reached = [tables, overflow.lowest].map(|at| paging::user_can_reach(at.get() as u64));
        check!(reached == [false; 2], "user mode reaches {tables} or {overflow:?}");
        let last = CpuTables::last_stack(tables);
        for sp in [overflow.lowest, last.lowest, last.top.wrapping_sub(ByteSize::new(1))] {
            check!(!geometry.sp_bit_says_overflow(sp), "SP {sp} does not pass the bit test");
        }
        check!(cpu.local.arch.overflow_depth() == 0, "CPU {}'s are in use", cpu.id());
    }
    Ok(())
}

/// What the words of an exception mode and the handler must have been, in its handler.
fn check_mode(mode: u32, regs: &SavedRegs) {
    const FIQ: u32 = 0x11;
    const IRQ: u32 = 0x12;
    const ABORT: u32 = 0x17;
    const UNDEFINED: u32 = 0x1b;
    // By the drawing of a CPU's tables.
    let offset = match mode {
        IRQ => 0x20,
        ABORT => 0x40,
        UNDEFINED => 0x60,
        _ => 0x80,
    };
    let [fiq, irq, abort, undefined, svc]: [u32; 5];
    // SAFETY: (1) only SP of each mode is read, interrupts off; SVC mode is back at the end. No
    // operand is one of the registers that a mode has its own of.
    unsafe {
        asm!(
            "mrs r0, cpsr", "cps #{fiq}", "mov r1, sp", "cps #{irq}", "mov r2, sp", "cps #{abort}", "mov r3, sp",
            "cps #{undefined}", "mov r4, sp", "cps #{svc}", fiq = const FIQ, irq = const IRQ, abort = const ABORT,
            undefined = const UNDEFINED, svc = const SVC_MODE, out("r0") svc, out("r1") fiq, out("r2") irq,
            out("r3") abort, out("r4") undefined, options(nomem, nostack, preserves_flags)
        );
    }
    let tables = cpu_tables::tables_address(cpus::this().id()) as u32;
    let own = [irq, abort, undefined, fiq].map(|sp| sp.wrapping_sub(tables));
    // SAFETY: (1) the words of the CPU this runs on.
    let words = unsafe { ((tables + offset) as *const [u32; 3]).read_volatile() };
    let expected = [regs.r0, regs.pc, regs.cpsr];
    let mut wrong = MODES_WRONG.lock();
    if own != [0x20, 0x40, 0x60, 0x80] || svc & MODE != SVC_MODE || words != expected {
        *wrong = Some(alloc::format!(
            "mode {mode:#x}: SPs at {own:x?}, handled in {svc:#x}, words {words:x?}, saved {expected:x?}"
        ));
    }
    MODES_SEEN.fetch_or(1 << mode, Ordering::Relaxed);
}

static MODES_SEEN: AtomicUsize = AtomicUsize::new(0);
static MODES_WRONG: SpinLock<Option<alloc::string::String>> = SpinLock::new(None);

/// An interrupt, a breakpoint, an undefined instruction and a FIQ, in the kernel, on every CPU but
/// for the interrupt's: each mode's SP stands at words of its own, in which are r0, PC and CPSR as
/// interrupted; the handler runs in SVC mode. Red if two modes shared words, if something were
/// pushed there, or if a handler ran in the mode it arrived in.
pub fn i10_each_exception_mode_has_words_of_its_own_and_svc_mode_does_the_work() -> Outcome {
    static HOOKS: kstack::hooks::Hooks =
        crate::hooks::HOOKS.kernel_exception(|vector, fault, regs| {
            if vector != UNDEFINED {
                return (crate::hooks::HOOKS.kernel_exception)(vector, fault, regs);
            }
            // Past the instruction, where the CPU said it was.
            regs.pc += 4;
            check_mode(0x1b, regs);
        });
    MODES_SEEN.store(0, Ordering::Relaxed);
    *MODES_WRONG.lock() = None;
    on_every_cpu(|regs| {
        check_mode(0x12, regs);
        Ok(())
    })?;
    probes::set_breakpoint_probe(Some(|regs| {
        // The entry has stepped over the instruction.
        check_mode(0x17, &SavedRegs { pc: regs.pc - 4, ..*regs });
    }));
    machine::arch::cpu::breakpoint();
    probes::set_breakpoint_probe(None);
    crate::tests::support::install_hooks(&HOOKS);
    // SAFETY: (1) the hook continues after it.
    unsafe { asm!("udf #0", options(nostack)) };
    crate::tests::support::install_hooks(&crate::hooks::HOOKS);
    probes::set_nmi_probe(Some(|regs| check_mode(0x11, regs)));
    let me = cpus::this().hardware_id.load(Ordering::Relaxed);
    machine::arch::irqchip::send_nmi(me);
    let fiq = until("the FIQ has come", || MODES_SEEN.load(Ordering::Relaxed) & 1 << 0x11 != 0);
    probes::set_nmi_probe(None);
    fiq?;
    let seen = MODES_SEEN.load(Ordering::Relaxed);
    check!(seen == 1 << 0x11 | 1 << 0x12 | 1 << 0x17 | 1 << 0x1b, "modes {seen:#b}");
    match MODES_WRONG.lock().take() {
        None => Ok(()),
        Some(wrong) => Err(wrong),
    }
}

/// Neither the words of the exception modes, nor the block that the entry code reads, nor the
/// stacks it chooses from. Red if a page of the kernel half is user mode's, or if such a fault is
/// taken for the kernel's own.
pub fn i9_p8_user_mode_that_reads_what_entries_rest_on_faults() -> Outcome {
    user_mode::with_hooks(None, || {
        for cpu in cpus::online() {
            let block = core::ptr::from_ref(&cpu.local) as u64;
            let word_below = |top: Addr| top.get() as u64 - 8;
            let stacks = [cpu.local.irq_top(), cpu.local.arch.overflow_top()].map(word_below);
            let words = cpu_tables::tables_address(cpu.id());
            for address in stacks.into_iter().chain([block, words]) {
                check!(!paging::user_can_reach(address), "user mode can read {address:#x}");
                user_mode::SEEN.lock().clear();
                UserThread::start(super::user_code::read_there, address)?.finish();
                let seen = user_mode::seen();
                let [fault] = &seen[..] else { return Err(alloc::format!("{seen:x?}")) };
                check!(fault.vector == DATA_ABORT, "{fault:x?}");
                check!(fault.fault as u64 == address, "{fault:x?}");
                check!(u64::from(fault.regs.pc) == user_mode::CODE, "{fault:x?}");
                user_mode::check_at_top(fault)?;
            }
        }
        Ok(())
    })
}

static ON_IRQ_STACK: AtomicUsize = AtomicUsize::new(0);

/// `current` is the same on the thread stack and on the IRQ stack; with thread_info on the stack,
/// it is the word at its low end, and without, that word is the program's.
pub fn t15_thread_info_is_where_the_build_says() -> Outcome {
    let me = core::ptr::from_ref(sched::current()) as usize;
    probes::set_probe(Some(|_| {
        ON_IRQ_STACK.store(cpus::current_thread(), Ordering::Relaxed);
    }));
    machine::arch::irqchip::software_interrupt();
    probes::set_probe(None);
    let on_irq_stack = ON_IRQ_STACK.load(Ordering::Relaxed);
    check!(on_irq_stack == me, "{on_irq_stack:#x} on the IRQ stack, not {me:#x}");
    let lowest = sched::current().stack_range().lowest;
    // SAFETY: (1) the lowest word of the stack this runs on.
    let word = unsafe { (thread_info_at(lowest).get() as *const usize).read_volatile() };
    check!((word == me) == THREAD_INFO_ON_STACK, "the low end of the stack has {word:#x}");
    check!(cpus::current_thread() == me, "current is somebody else");
    Ok(())
}

/// The thread overflows, and the handler on the overflow stack overflows that: it stops with a
/// report of the overflow stack, on the last stack.
pub fn i9_o2_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report() -> Outcome {
    static HOOKS: kstack::hooks::Hooks = crate::hooks::HOOKS.context(|| {
        if cpus::this().local.arch.overflow_depth() == 1 {
            provoke::overflow_here(How::Recursion);
        }
        (crate::hooks::HOOKS.context)()
    });
    crate::tests::support::install_hooks(&HOOKS);
    control!(
        "expect i9_o2_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report stack=overflow cause=guard-hit \
         consequence=stop-system backtrace~=recurse_until_overflow"
    );
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}

/// By every status that an abort has, as a write or not, as cache maintenance or not. Red if one
/// that no change of the tables can mend is taken for a page fault, which the program would come
/// back to without end, or maintenance of a read-only page for a write to it.
pub fn p8_an_abort_that_no_page_can_mend_is_a_signal_and_cache_maintenance_is_no_write() -> Outcome
{
    for status in 0..64 {
        if status == DEBUG_EVENT {
            continue;
        }
        // Translation, access flag and permission faults.
        let can_be_mended = (4..16).contains(&status);
        for kind in 0..4 {
            let (is_write, is_maintenance) = (kind & 1 != 0, kind & 2 != 0);
            let orig_r0 = status | u32::from(is_write) << 11 | u32::from(is_maintenance) << 13;
            let regs = SavedRegs { orig_r0, ..SavedRegs::default() };
            let expected = |write, exec| match can_be_mended {
                true => UserFault::Page { write, exec },
                false => UserFault::Bus,
            };
            let found = exceptions::of_user(DATA_ABORT, &regs);
            let right = expected(is_write && !is_maintenance, false);
            check!(found == right, "status {orig_r0:#x}: {found:?}, not {right:?}");
            let found = exceptions::of_user(PREFETCH_ABORT, &regs);
            check!(found == expected(false, true), "status {orig_r0:#x} of a fetch: {found:?}");
        }
    }
    Ok(())
}
