//! Threads and their stacks: where the structure lies, what a stack costs, the switch; and why a
//! device gets none of it.

use super::answer::{Answer, name_of, own_stack};
use crate::across_pages::{self, BYTES, Crossing, HALF};
use crate::bench::stacks::{once_from_the_arena, rounds_there_and_back};
use crate::tests::support::{stack_at, until};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack::addr::{Addr, PAGE_BYTES};
use kstack::arch::current::switch::SwitchFrame;
use kstack::dma::check;
use kstack::dma::transfer::Direction;
use machine::arch::cpu;
use machine::cpus;
use machine::dma::{Loan, Reaches, refusals};
use machine::drivers::virtio::{OfDisk, disk};
use machine::memory::direct;
use machine::memory::frames;
use threads::report::symbols;
use threads::sched::{self, TASKS, Thread, WaitQueue};
use threads::stacks;

pub(super) fn task_struct(answer: &mut Answer) -> Result<(), String> {
    let me = sched::current_arc();
    let at = core::ptr::from_ref(&*me) as usize;
    let stack = own_stack()?;
    answer.stack(&stack);
    answer.memory("the task structure's page", at & !(PAGE_BYTES - 1), (at | (PAGE_BYTES - 1)) + 1);
    answer.mark(cpu::stack_pointer(), "SP of this thread");
    answer.mark(
        at,
        &format!("the task structure of thread {}, {} bytes", me.id(), size_of::<Thread>()),
    );
    answer.fact(
        "what the CPU's block calls the running thread",
        format!("{:#x}", cpus::current_thread()),
    );
    answer.must(cpus::current_thread() == at, "the running thread is another");
    let threads = sched::all();
    let on_stacks = threads.iter().filter(|thread| {
        let first = core::ptr::from_ref(&***thread) as usize;
        stack_at(first).is_some() || stack_at(first + size_of::<Thread>() - 1).is_some()
    });
    let (count, on_stacks) = (threads.len(), on_stacks.count());
    let slab = TASKS.counts();
    answer.fact("threads", count);
    answer.fact("task structures on a stack", on_stacks);
    answer.fact("objects in the slab cache of task structures", slab.objects);
    answer.must(on_stacks == 0, format!("{on_stacks} task structures are on stacks"));
    answer.must(slab.objects > 0, "the slab cache is empty");
    answer.answer(format!(
        "no: of {count} threads {on_stacks} have it there; they lie in a slab cache of their own."
    ));
    Ok(())
}

pub(super) fn cost(answer: &mut Answer) -> Result<(), String> {
    const SAMPLES: usize = 30;
    const ATTEMPTS: usize = 20 * SAMPLES;
    let body = stacks::arena().geometry().body().get();
    // The least of many: the clock counts also what else happened meanwhile, here and on the host.
    let least = |bytes| rounds_there_and_back(bytes, 0).into_iter().min().ok_or("no rounds");
    let (cached, cached_whole) = (least(1024)?, least(body)?);
    let samples = (0..ATTEMPTS).filter_map(|_| once_from_the_arena(0)).take(SAMPLES);
    let samples: Vec<u64> = samples.collect();
    answer
        .must(samples.len() == SAMPLES, format!("only {} stacks were mapped anew", samples.len()));
    let mapped = samples.into_iter().min().ok_or("no stack was mapped anew")?;
    let unit = "counts of the clock";
    answer.bar("from the cache, 1 KiB of it used", cached, unit);
    answer.bar(&format!("from the cache, all {} KiB used", body / 1024), cached_whole, unit);
    answer.bar("mapped anew, and unmapped again", mapped, unit);
    let take = || stacks::acquire_thread(sched::current().id()).ok();
    // The cache has one then.
    drop(take());
    let taken = frames_of(|| {}, take);
    let empty = || {
        stacks::drain_this_cpu();
        stacks::reclaim(u32::MAX);
    };
    let taken_anew = frames_of(empty, take);
    answer.fact("frames taken for one from the cache", taken);
    answer.fact("frames taken for one mapped anew", taken_anew);
    answer.must(mapped > cached, format!("mapped anew it costs {mapped}, from the cache {cached}"));
    answer.must(taken_anew > taken, "a stack that is mapped anew takes no more frames");
    answer.answer(format!(
        "{cached} counts from the cache with 1 KiB to be erased, {cached_whole} with all of it, and \
         {mapped} where nothing is cached: {}.{} times the first.",
        mapped / cached.max(1),
        mapped * 10 / cached.max(1) % 10,
    ));
    Ok(())
}

/// How many frames fewer are free once `take` has taken something: the least of several attempts,
/// since others take and give back frames, too.
fn frames_of<T>(prepare: impl Fn(), take: impl Fn() -> Option<T>) -> usize {
    let attempt = |_| {
        prepare();
        let before = frames::free_count();
        let taken = take();
        let fewer = before.saturating_sub(frames::free_count());
        drop(taken);
        fewer
    };
    (0..5).map(attempt).min().unwrap_or(0)
}

static PLAYER: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
static MAY_GO: AtomicBool = AtomicBool::new(false);
static IS_OVER: AtomicBool = AtomicBool::new(false);
static TURN: WaitQueue = WaitQueue::new();

/// Sleeps once; where SP was before, and after.
fn sleeps(_: usize) {
    PLAYER[0].store(cpu::stack_pointer(), Ordering::Release);
    TURN.wait_uninterruptibly(|| MAY_GO.load(Ordering::Acquire));
    PLAYER[1].store(cpu::stack_pointer(), Ordering::Release);
    PLAYER[2].store(
        cpu::without_interrupts(|| cpus::this().local.thread_top().get()),
        Ordering::Release,
    );
    IS_OVER.store(true, Ordering::Release);
}

pub(super) fn switching(answer: &mut Answer) -> Result<(), String> {
    MAY_GO.store(false, Ordering::Release);
    IS_OVER.store(false, Ordering::Release);
    let other = sched::spawn_kernel("sleeper", sleeps, 0).map_err(|error| format!("{error:?}"))?;
    until("the other thread has gone to sleep", || {
        !other.is_on_cpu() && other.state() == sched::State::Blocked
    })?;
    let mine = own_stack()?;
    let borrowed = other.borrow_stack().ok_or("its stack is gone")?;
    let theirs = stack_at(other.saved_sp()).ok_or("its saved SP is on no stack")?;
    let saved = other.saved_sp();
    // SAFETY: (1) the stack is borrowed, so it is mapped; (2) the thread is off its CPU and waits
    // for what only this thread does: its switch frame is at its saved SP.
    let frame = unsafe { (saved as *const SwitchFrame).read_volatile() };
    drop(borrowed);
    let my_top = cpu::without_interrupts(|| cpus::this().local.thread_top().get());
    answer.stack(&theirs);
    answer.stack(&mine);
    answer.step(PLAYER[0].load(Ordering::Acquire), "SP of the thread that is about to sleep");
    answer.step(
        saved,
        &format!("its saved SP: {} bytes of registers, pushed there", size_of::<SwitchFrame>()),
    );
    answer.step(cpu::stack_pointer(), "SP of the thread that runs instead");
    let back = frame.return_address().get();
    let name = symbols::lookup(back as u64).map_or("?".into(), |symbol| format!("{symbol}"));
    answer.fact("where the sleeper's switch will return to", format!("{back:#x} {name}"));
    answer.fact("top of stack in this CPU's block while this thread runs", format!("{my_top:#x}"));
    answer.must(other.stack_range().contains(Addr::new(saved)), "its saved SP is elsewhere");
    answer.must(my_top == mine.range.top.get(), "the block has another thread's top");
    MAY_GO.store(true, Ordering::Release);
    TURN.wake_all();
    until("the other thread has run again", || IS_OVER.load(Ordering::Acquire))?;
    other.join();
    let after = PLAYER[1].load(Ordering::Acquire);
    let their_top = PLAYER[2].load(Ordering::Acquire);
    answer.step(after, "SP of the sleeper, after the switch back to it");
    answer.fact("top of stack in the CPU's block while it runs", format!("{their_top:#x}"));
    answer.must(after == PLAYER[0].load(Ordering::Acquire), "it came back to another SP");
    answer.must(saved < after, "nothing was saved below its SP");
    answer.must(their_top == theirs.range.top.get(), "the block had another top");
    answer.must(theirs.range != mine.range, "both are on one stack");
    answer.answer(format!(
        "one instruction moves SP from the {} to the {}; right before it the callee-saved registers \
         are on the old stack, right after it they are taken from the new one, and the return uses \
         the return address that lies there. There is no moment without a stack.",
        name_of(&theirs),
        name_of(&mine)
    ));
    Ok(())
}

pub(super) fn dma(answer: &mut Answer) -> Result<(), String> {
    let right = across_pages::with_crossing(|found| lend(answer, found))?;
    let counted = refusals();
    answer.fact("buffers on stacks that were refused so far", counted.refused);
    match disk() {
        Some(disk) => answer.fact("sectors of this machine's virtio disk", disk.capacity()),
        None => answer.say("This machine has no virtio disk."),
    }
    answer.answer(format_args!(
        "its pages lie apart in physical memory: a device that is told one address has {right} of \
         {BYTES} bytes right, and reads, or overwrites, another's page. The kernel refuses the buffer."
    ));
    Ok(())
}

/// What a device makes of the buffer; how many bytes it has right.
fn lend(answer: &mut Answer, found: &Crossing) -> usize {
    /// In another's page: no byte that is written to the buffer.
    const MARKER: u8 = 0xff;
    let end = found.at + BYTES;
    if let Some(stack) = stack_at(found.at) {
        answer.stack(&stack);
    }
    answer.say(format_args!(
        "A thread has a buffer of {BYTES} bytes on its stack, {:#x} to {end:#x}, across two pages.",
        found.at
    ));
    let page = |at: u64| at as usize & !(PAGE_BYTES - 1);
    for (at, name) in [
        (found.first, "physical page of its first half"),
        (found.next, "physical page that follows: another's"),
        (found.second, "physical page of its second half"),
    ] {
        answer.memory(name, page(at), page(at) + PAGE_BYTES);
    }
    answer.step(found.at, "the buffer, as the CPU sees it");
    answer.step(found.first as usize, "its first half, in physical memory");
    answer.step(found.next as usize, "where a device continues that was told this address alone");
    answer.mark(found.second as usize, "its second half");
    let written: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    found.fill(&written);
    found.fill_next(MARKER);
    let seen = found.as_one_piece();
    answer.say(format_args!("  written   ... {:02x?}", &written[HALF - 3..HALF + 5]));
    answer.say(format_args!("  found     ... {:02x?}", &seen[HALF - 3..HALF + 5]));
    let right = seen.iter().zip(&written).filter(|(seen, written)| seen == written).count();
    answer.bar("bytes that a device finds right", right as u64, "bytes");
    answer.bar("bytes that were written", BYTES as u64, "bytes");
    answer.must(right < BYTES, "the device found every byte");
    let refused = check(Addr::new(found.at), BYTES);
    answer.must(refused.is_err(), "by its address it is on no stack");
    let lend = |at: usize| {
        let buffer = NonNull::new(at as *mut u8)?;
        let buffer = NonNull::slice_from_raw_parts(buffer, HALF);
        // SAFETY: (1) (2) it is refused; were it not, the loan would be forgotten, and no device
        // told of it.
        unsafe { Loan::lend(OfDisk::DEVICE, buffer, Direction::FromDevice) }.err()
    };
    for at in [found.at, direct::<u8>(found.first) as usize] {
        match lend(at) {
            Some(why) => answer.say(format_args!("Lent to a device at {at:#x}: {why}.")),
            None => answer.must(false, format_args!("a device was lent {at:#x}")),
        }
    }
    right
}
