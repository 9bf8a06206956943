//! What is done last on the way to user mode: erasing, and the offset of the next call. The options
//! are turned on and off here, so these tests say the same on a machine that was started with them.

use super::arch::expectations::EXPECTED;
use super::arch::user_code;
use super::support::{install_hooks, on_every_cpu, stack_of_cpu};
use super::user_mode::{self, UserThread};
use super::{Outcome, check};
use crate::hooks;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::end_word;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::offset::{BITS, MOST};
use linux::run_captured;
use machine::arch::cpu;
use machine::arch::regs::SavedRegs;
use machine::cpus;
use threads::entry::on_return::{self, ERASE, OFFSET};
use threads::sched;
use threads::stacks::depths;

const WORD: usize = size_of::<usize>();
const PLACES: usize = 1 << BITS;
/// What offsets are multiples of.
const UNIT: usize = 16;
/// What the way to the offset takes of the stack besides.
const FRAME: usize = 128;
/// What is looked at below the registers.
const LOOKED_AT: usize = 4096 / UNIT;

/// Does it with these options, and none of the offsets from before.
fn with<T>(bits: u8, what: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let before = on_return::wanted();
    on_return::want(bits);
    on_every_cpu(|_| {
        cpus::this().local.entry_offset().clear();
        Ok(())
    })?;
    let outcome = what();
    on_return::want(before);
    outcome
}

/// How often handlers of system calls stood so many units below the registers; and the place of the
/// last one, and how often it was the one before.
static CALLS: [AtomicU32; LOOKED_AT] = [const { AtomicU32::new(0) }; LOOKED_AT];
static EXCEPTIONS: [AtomicU32; LOOKED_AT] = [const { AtomicU32::new(0) }; LOOKED_AT];
static LAST: AtomicUsize = AtomicUsize::new(0);
static AGAIN: AtomicU32 = AtomicU32::new(0);

fn note(places: &[AtomicU32; LOOKED_AT], regs: &SavedRegs) -> usize {
    let place = (core::ptr::from_ref(regs) as usize - cpu::stack_pointer()) / UNIT;
    places[place.min(LOOKED_AT - 1)].fetch_add(1, Ordering::Relaxed);
    place
}

#[inline(never)]
fn note_call(regs: &mut SavedRegs) {
    let place = note(&CALLS, regs);
    if LAST.swap(place, Ordering::Relaxed) == place {
        AGAIN.fetch_add(1, Ordering::Relaxed);
    }
    (hooks::HOOKS.syscall)(regs);
}

#[inline(never)]
fn note_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    note(&EXCEPTIONS, regs);
    (hooks::HOOKS.user_exception)(vector, fault, regs);
}

/// Runs a program that makes so many system calls, at least, with these hooks.
fn calls(count: u32, hooks: &'static Hooks) -> Outcome {
    let count = format!("count={}", count / 2);
    let argv: [&[u8]; 5] = [b"dd", b"if=/dev/zero", b"of=/dev/null", b"bs=1", count.as_bytes()];
    install_hooks(hooks);
    let ran = run_captured("/bin/busybox", &argv);
    install_hooks(&hooks::HOOKS);
    let (status, _) = ran.map_err(|error| format!("{error}"))?;
    check!(status == 0, "status {status}");
    Ok(())
}

/// What of a table is not zero: how many places from the first to the last, how many of them, and
/// counts in all.
fn spread(places: &[AtomicU32; LOOKED_AT]) -> (usize, usize, u32) {
    let counts = || places.iter().map(|count| count.load(Ordering::Relaxed));
    let first = counts().position(|count| count > 0).unwrap_or(0);
    let span = counts().rposition(|count| count > 0).map_or(0, |last| last + 1 - first);
    (span, counts().filter(|count| *count > 0).count(), counts().sum())
}

/// How often the handler of a program's calls stood so many units of 16 bytes below the registers,
/// with these options.
pub(crate) fn places_of_calls(bits: u8, count: u32) -> Result<Vec<u32>, String> {
    static HOOKS: Hooks = hooks::HOOKS.syscall(note_call);
    forget();
    with(bits, || calls(count, &HOOKS))?;
    Ok(CALLS.iter().map(|count| count.load(Ordering::Relaxed)).collect())
}

fn forget() {
    for count in CALLS.iter().chain(&EXCEPTIONS) {
        count.store(0, Ordering::Relaxed);
    }
    AGAIN.store(0, Ordering::Relaxed);
}

/// By 10,000 system calls of a program, and the exceptions of some. χ² of the places is below this
/// but once in some ten million times. Red if an offset is not even, not bounded, the one of the
/// call before too often, missing for exceptions, or there without the option.
pub fn h2_calls_and_exceptions_begin_at_places_that_are_even_and_unforeseen() -> Outcome {
    const CALLS_MADE: u32 = 10_000;
    const GREATEST_CHI: u64 = if PLACES == 64 { 140 } else { 90 };
    static HOOKS: Hooks = hooks::HOOKS.syscall(note_call).user_exception(note_exception);
    forget();
    with(0, || calls(100, &HOOKS))?;
    for (what, places, most) in
        [("calls", &CALLS, EXPECTED.syscall_entries), ("exceptions", &EXCEPTIONS, 1)]
    {
        let (_, used, all) = spread(places);
        check!(all > 20 && used <= most, "without the option {all} {what} are in {used} places");
    }
    forget();
    with(OFFSET, || {
        calls(CALLS_MADE, &HOOKS)?;
        (0..20).try_for_each(|_| calls(2, &HOOKS))
    })?;
    let (span, used, all) = spread(&CALLS);
    // Without an offset, the handler is called as ever; with one, by way of a frame of its own.
    let most = PLACES + FRAME / UNIT;
    // Each entry has places of its own, which may be those of another.
    let used_at_most = PLACES * EXPECTED.syscall_entries;
    check!(span <= most, "{span} places, more than the {} bytes that are said", MOST.get());
    let squares = CALLS.iter().map(|count| {
        let count = u64::from(count.load(Ordering::Relaxed));
        count * count
    });
    // The sum of (count - mean)² / mean; with two entries there are more places than it is told of,
    // and as even as this would be less than none.
    let chi = (squares.sum::<u64>() * PLACES as u64 / u64::from(all)).saturating_sub(all.into());
    let again = AGAIN.load(Ordering::Relaxed);
    let (_, of_exceptions, exceptions) = spread(&EXCEPTIONS);
    log!(
        "    {all} calls in {used} places, chi squared {chi}, {again} where the one before was; \
         {exceptions} exceptions in {of_exceptions}"
    );
    let all_are_used = (PLACES..=used_at_most).contains(&used);
    check!(all >= CALLS_MADE && all_are_used, "{all} calls in {used} places");
    check!(chi <= GREATEST_CHI, "chi squared is {chi}");
    check!(again < 2 * all / PLACES as u32, "{again} of {all} where the one before was");
    check!(of_exceptions > PLACES / 2, "{exceptions} exceptions in {of_exceptions} places");
    Ok(())
}

/// System calls that found nothing of the one before on their thread's stack, on the CPU's IRQ
/// stack, and all.
static CLEAN: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// How far below the registers the frames reach that erase, and return yet.
const ERASING: usize = 1024;

fn is_zero(lowest: usize, top: usize) -> bool {
    // SAFETY: (1) words of a mapped stack.
    (lowest..top).step_by(WORD).all(|at| unsafe { (at as *const usize).read_volatile() } == 0)
}

fn look(regs: &mut SavedRegs) {
    cpu::without_interrupts(|| {
        let above_end = |lowest| end_word::at(lowest).get() + WORD;
        let lowest = sched::current().stack_range().lowest;
        let frame = core::ptr::from_ref(regs) as usize;
        let irq = stack_of_cpu(StackKind::Irq, cpus::this());
        let found = [
            is_zero(above_end(lowest), frame - ERASING),
            irq.is_ok_and(|irq| is_zero(above_end(irq.range.lowest), irq.range.top.get())),
            true,
        ];
        for (count, found) in CLEAN.iter().zip(found) {
            count.fetch_add(found.into(), Ordering::Relaxed);
        }
    });
    (hooks::HOOKS.syscall)(regs);
}

/// Of some 400 calls of a program with these options: how many find nothing of the one before on
/// their thread's stack, on the CPU's IRQ stack, and how many there were.
pub(crate) fn calls_that_find_nothing(bits: u8) -> Result<[u32; 3], String> {
    static HOOKS: Hooks = hooks::HOOKS.syscall(look);
    CLEAN.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    with(bits, || calls(400, &HOOKS))?;
    Ok([0, 1, 2].map(|which: usize| CLEAN[which].load(Ordering::Relaxed)))
}

/// Each call of a program looks at what the one before left. An interrupt may come between the
/// entry and the look, so not all find nothing. Red without the erasing, of either stack: then the
/// first half of the test is as the second.
pub fn h3_what_a_call_left_on_stacks_is_erased_before_user_mode() -> Outcome {
    let [threads, irq, all] = calls_that_find_nothing(0)?;
    log!(
        "    without erasing, {threads} of {all} calls find a clean stack, {irq} a clean IRQ stack"
    );
    check!(all >= 400 && threads < all / 10 && irq < all / 10, "{threads}, {irq} of {all}");
    let [threads, irq, all] = calls_that_find_nothing(ERASE)?;
    log!("    with it, {threads} of {all}, and {irq}");
    check!(all >= 400 && threads > all * 9 / 10, "{threads} of {all} stacks are clean");
    check!(irq > all * 9 / 10, "{irq} of {all} IRQ stacks are clean");
    Ok(())
}

/// What the word held that the call before wrote, plus 1.
static FOUND: AtomicUsize = AtomicUsize::new(0);
const LEFT: usize = 3 * WORD;

/// Writes a word far down the stack, as a deep call does, and notes what was there.
fn reach_down() {
    let at = end_word::at(sched::current().stack_range().lowest).get() + LEFT;
    // SAFETY: (1) a word of its own stack, far below SP.
    unsafe {
        FOUND.store((at as *const usize).read_volatile() + 1, Ordering::Relaxed);
        (at as *mut usize).write_volatile(Word::WRITTEN);
    }
}

/// What a call found that the call before had written.
pub(crate) struct Word {
    pub(crate) found: usize,
    /// Bytes of the thread's stack that were never used, as its meter has it.
    pub(crate) left: usize,
}

impl Word {
    pub(crate) const WRITTEN: usize = 0x5a;
}

/// Two calls of a program, with these options, each of which writes the same word.
pub(crate) fn word_of_the_call_before(bits: u8) -> Result<Word, String> {
    let was_on = depths::turn(true);
    depths::of_ended().forget_record();
    let ran = with(bits, || {
        user_mode::with_hooks(Some(reach_down), || {
            UserThread::start(user_code::call_twice, 0)?.finish_unharmed()
        })
    });
    let left = depths::of_ended().least_left();
    depths::turn(was_on);
    depths::of_ended().forget_record();
    ran?;
    let left = left.ok_or("no thread has ended")?.get();
    let found = FOUND.load(Ordering::Relaxed).checked_sub(1).ok_or("no call has looked")?;
    Ok(Word { found, left })
}

/// Red if the word is still there in the second call, or if the depth of the thread, when it has
/// ended, is that of what was not erased.
pub fn h3_t13_what_was_erased_counts_for_the_depth() -> Outcome {
    let (kept, erased) = (word_of_the_call_before(0)?, word_of_the_call_before(ERASE)?);
    for word in [&kept, &erased] {
        check!(word.left == LEFT, "{} bytes left, not {LEFT}", word.left);
    }
    check!(kept.found == Word::WRITTEN, "without erasing it finds {:#x}", kept.found);
    check!(erased.found == 0, "with erasing the second call finds {:#x}", erased.found);
    Ok(())
}
