//! The address sanitizer: what it refuses on a stack, and that nothing of it is left on one that is
//! used again. Only in the variant of the kernel that is built with it.

use super::support::until;
use super::{Outcome, check};
use crate::provoke;
use alloc::format;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
use kstack::kind::StackKind;
use kstack::sanitizer::{OFFSET, has_shadow, shadow_page};
use kstack::verdict::{Cause, Consequence, OverflowReport};
use machine::arch::{cpu, paging};
use machine::spin::SpinLock;
use threads::report::on_purpose::{overrun, smash_frame, use_after_return, use_after_scope};
use threads::report::{overflow, symbols};
use threads::{sched, stacks};

static CAME_BACK: AtomicU32 = AtomicU32::new(0);

/// Runs `body` in a thread that is to be ended by it, and checks the report as far as it is the
/// same whatever was wrong.
fn ends(
    body: fn(usize),
    argument: usize,
    cause: Cause,
) -> Result<OverflowReport, alloc::string::String> {
    let contained = overflow::contained_count();
    let _old = overflow::take_last_report();
    CAME_BACK.store(0, Ordering::Relaxed);
    let thread =
        sched::spawn_kernel("trespasser", body, argument).map_err(|error| format!("{error:?}"))?;
    thread.join();
    if CAME_BACK.load(Ordering::Relaxed) != 0 {
        return Err("the access was made".into());
    }
    if overflow::contained_count() != contained + 1 || thread.has_stack() {
        return Err("the thread was not ended, or its stack not taken back".into());
    }
    let report = overflow::take_last_report().ok_or("there is no report")?;
    let verdict = &report.verdict;
    let is_right = verdict.cause == cause
        && verdict.consequence == Consequence::EndThread
        && verdict.stack.kind == StackKind::Thread
        && verdict.stack.owner == thread.id()
        && verdict.stack.range.contains(report.fault.address);
    if !is_right {
        return Err(format!("{verdict:?} {:?}", report.fault));
    }
    let text = overflow::last_text();
    let owner = format!("thread stack of thread {}", thread.id());
    if !text.contains(&owner) || !text.contains("  running: trespasser") {
        return Err(format!("the printed report: {text}"));
    }
    Ok(*report)
}

/// The function in which the access was.
fn place_of(report: &OverflowReport) -> &'static str {
    symbols::lookup(report.fault.pc.get() as u64 - 1).map_or("?", |symbol| symbol.name)
}

/// Past the last byte, and as far as the red zone goes. Red if the last bytes of an array that does
/// not end on a multiple of 8 count as the frame's, or if the frame is not looked for.
pub fn h6_a_write_past_an_array_of_a_frame_ends_its_thread_and_names_frame_and_stack() -> Outcome {
    fn body(beyond: usize) {
        black_box(smash_frame(black_box(0x41), beyond));
        CAME_BACK.fetch_add(1, Ordering::Relaxed);
    }
    // The whole array alone is nothing to tell of.
    let untouched = overflow::contained_count();
    sched::spawn_kernel("orderly", body, 0).map_err(|error| format!("{error:?}"))?.join();
    check!(overflow::contained_count() == untouched, "an array was refused to its own function");
    for beyond in [1, 8, 24] {
        let report = ends(body, beyond, Cause::OutOfFrame)?;
        let place = place_of(&report);
        check!(place.ends_with("overrun"), "the access was in {place}");
        check!(report.frame != Addr::new(0), "the frame was not found");
        let frame = overflow::frame_of(&report).unwrap_or("?");
        check!(frame.ends_with("smash_frame"), "the frame is that of {frame}");
        let text = overflow::last_text();
        check!(text.contains("in the frame of"), "the frame is not told: {text}");
    }
    // One byte past an array that ends in the middle of 8 bytes; all of it is nothing to tell of.
    fn odd(beyond: usize) {
        let mut array = [0_u8; 69];
        overrun(&mut array, beyond, 0x41);
        black_box(array[68]);
        CAME_BACK.fetch_add(1, Ordering::Relaxed);
    }
    sched::spawn_kernel("orderly", odd, 0).map_err(|error| format!("{error:?}"))?.join();
    check!(CAME_BACK.load(Ordering::Relaxed) == 1, "an array was refused to its own function");
    let report = ends(odd, 1, Cause::OutOfFrame)?;
    check!(report.frame != Addr::new(0), "the frame was not found");
    Ok(())
}

/// After its function's return, and after its block's end. Red if what is below SP counts as alive.
pub fn h6_an_access_to_a_dead_frame_ends_its_thread_and_names_the_stack() -> Outcome {
    fn after_return(_: usize) {
        black_box(use_after_return());
        CAME_BACK.fetch_add(1, Ordering::Relaxed);
    }
    fn after_scope(_: usize) {
        black_box(use_after_scope());
        CAME_BACK.fetch_add(1, Ordering::Relaxed);
    }
    let report = ends(after_return, 0, Cause::DeadFrame)?;
    check!(place_of(&report).ends_with("use_after_return"), "in {}", place_of(&report));
    check!(report.fault.address < report.fault.sp, "{:?}", report.fault);
    let report = ends(after_scope, 0, Cause::DeadFrame)?;
    check!(place_of(&report).ends_with("use_after_scope"), "in {}", place_of(&report));
    Ok(())
}

/// The shadow of an address.
fn shadow(address: usize) -> u8 {
    let at = (address >> 3).wrapping_add(OFFSET) as *const u8;
    // SAFETY: (1) of a stack that is mapped: its shadow is.
    unsafe { at.read_volatile() }
}

/// Threads', and those of each CPU. Red if shadow is not mapped with a stack.
pub fn h6_stacks_are_doubled_and_each_page_of_them_has_shadow() -> Outcome {
    let size = sched::current().stack_range().size();
    check!(size == ByteSize::kib(32), "a thread's stack has {size:?}");
    let mut seen = 0;
    let mut wrong = 0;
    for (_, stack) in stacks::registry().live() {
        for page in (stack.range.lowest.get()..stack.range.top.get()).step_by(PAGE_BYTES) {
            let page = Addr::new(page);
            seen += 1;
            let is_there =
                has_shadow(page) && paging::kernel_is_mapped(shadow_page(page).get() as u64);
            wrong += u32::from(!is_there);
        }
    }
    check!(seen > 32 && wrong == 0, "{wrong} of {seen} pages have no shadow");
    // What the compiler has written there of the frame of this function.
    let array = black_box([0_u8; 69]);
    let first = black_box(&array).as_ptr() as usize;
    let told = [first, first + 64, first + 72].map(shadow);
    // Behind it is another local's red zone, or the frame's last.
    let is_right = told[..2] == [0, 5] && [0xf2, 0xf3].contains(&told[2]);
    check!(is_right, "the shadow of an array of 69 bytes: {told:x?}");
    Ok(())
}

static REUSED: SpinLock<AddrRange> =
    SpinLock::new(AddrRange { lowest: Addr::new(0), top: Addr::new(0) });
static POISON: AtomicUsize = AtomicUsize::new(0);

/// Counts the poison on the running thread's stack below SP.
fn count_poison() {
    let range = sched::current().stack_range();
    *REUSED.lock() = range;
    let sp = cpu::stack_pointer();
    let found = (range.lowest.get()..sp).step_by(8).filter(|&at| shadow(at) != 0).count();
    POISON.fetch_add(found, Ordering::Relaxed);
}

/// Runs `leave` in threads, each of which leaves its frames where they are, and after each one that
/// counts what is left, until that one has had the same stack.
fn leaves_no_poison(leave: fn(usize)) -> Outcome {
    let spawn = |name, body| sched::spawn_kernel(name, body, 0).map_err(|e| format!("{e:?}"));
    POISON.store(0, Ordering::Relaxed);
    let mut reused = 0;
    for _ in 0..64 {
        let first = spawn("leaving", leave)?;
        let range = first.stack_range();
        first.join();
        drop(first);
        spawn("counting", |_| count_poison())?.join();
        reused += u32::from(REUSED.lock().lowest == range.lowest);
        if reused == 4 {
            break;
        }
    }
    let _last = overflow::take_last_report();
    check!(reused > 0, "no stack was used again");
    let poison = POISON.load(Ordering::Relaxed);
    check!(poison == 0, "{poison} words of a new stack were poisoned");
    Ok(())
}

/// Ends in the middle of frames with arrays. Red if a stack is handed out with its shadow as it
/// was, and no function says that it does not return.
pub fn h6_a_reused_stack_has_no_poison_of_its_last_owner() -> Outcome {
    #[inline(never)]
    fn deeper(depth: usize) -> u8 {
        let array = black_box([depth as u8; 69]);
        if depth == 0 {
            sched::exit_current()
        }
        deeper(depth - 1) + black_box(&array)[depth]
    }
    leaves_no_poison(|_| {
        black_box(deeper(black_box(20)));
    })
}

/// The same after an overflow, which no function says anything before.
pub fn h6_threads_that_are_cut_out_leave_no_poison() -> Outcome {
    leaves_no_poison(|_| provoke::overflow_here(provoke::How::Recursion))
}

/// Red if the thread that was interrupted is ended.
pub fn h6_a_write_past_an_array_in_an_interrupt_handler_stops_the_machine_and_is_named() -> Outcome
{
    control!(
        "expect {} stack={} cause={} consequence=stop-system running=0 frame~=smash_frame backtrace~=smash_frame",
        "h6_a_write_past_an_array_in_an_interrupt_handler_stops_the_machine_and_is_named",
        StackKind::Irq,
        Cause::OutOfFrame.name(),
    );
    provoke::smash_in_interrupt();
    until("the machine stops", || false)
}
