//! A stack from the cache and back, and from the arena and back.

use super::{median, report, span};
use alloc::vec::Vec;
use kstack::end_word;
use kstack::record::AccountId;
use kstack::stacks::ThreadId;
use threads::stacks::accounts::{self, groups};
use threads::stacks::{self, OwnedStack};

const ROUNDS: usize = 300;

/// Writes the topmost `bytes` of a stack, as a thread that goes so deep would.
fn dirty(stack: &OwnedStack, bytes: usize) {
    let top = stack.range().top.get();
    // SAFETY: (1) the stack is ours, mapped, and nothing runs on it.
    unsafe { core::ptr::write_bytes((top - bytes) as *mut u8, 0xa5, bytes) };
}

/// Whether every byte above the end word reads as zero.
fn is_clean(stack: &OwnedStack) -> bool {
    let range = stack.range();
    // SAFETY: (1) the stack is ours and mapped; words are aligned because a page is.
    let words = unsafe {
        core::slice::from_raw_parts(range.lowest.get() as *const u64, range.size().get() / 8)
    };
    let kept = end_word::at(range.lowest).get() + 8 - range.lowest.get();
    words[kept / 8..].iter().all(|&word| word == 0)
}

/// Taking a stack and giving it back, with `bytes` of it dirtied in between (which is not counted).
fn there_and_back(bytes: usize, overhead: u64) -> u64 {
    median(rounds_there_and_back(bytes, overhead))
}

/// The same, each round.
pub(crate) fn rounds_there_and_back(bytes: usize, overhead: u64) -> Vec<u64> {
    rounds(|| stacks::acquire_thread(ThreadId::new(1)).expect("a stack"), bytes, overhead)
}

/// The same with a stack that is charged to a group below two others: what the CPU has in stock
/// pays, the tree does not change.
fn charged_to_a_group(bytes: usize, overhead: u64) -> u64 {
    let create = |above| groups().create(above).expect("room for a group");
    let top = create(AccountId::SYSTEM);
    let middle = create(top);
    let group = create(middle);
    let take = || stacks::acquire_charged(ThreadId::new(1), group).expect("a stack");
    // The first one fills the stock.
    drop(take());
    let charged = groups().charged(group);
    let found = median(rounds(take, bytes, overhead));
    assert!(groups().charged(group) == charged, "no round has walked the tree");
    for one in [group, middle, top] {
        groups().remove(one).expect("nothing is in it");
    }
    accounts::drain();
    found
}

#[inline(always)]
fn rounds(take: impl Fn() -> OwnedStack, bytes: usize, overhead: u64) -> Vec<u64> {
    // The first one may come from the arena.
    drop(take());
    (0..ROUNDS)
        .map(|_| {
            let mut stack = None;
            let taking = span(|| stack = Some(take()), overhead);
            let stack = stack.expect("taken above");
            assert!(is_clean(&stack), "a stack from the cache reads as zero");
            dirty(&stack, bytes);
            taking + span(|| drop(stack), overhead)
        })
        .collect()
}

/// Mapping a stack anew and unmapping it for real.
fn from_the_arena(overhead: u64) -> u64 {
    let once = |_| once_from_the_arena(overhead).expect("it was mapped anew, and unmapped");
    median((0..ROUNDS).map(once).collect())
}

/// The same once; `None` if it came from elsewhere or stayed mapped, as it may where other CPUs
/// take stacks and give them back.
pub(crate) fn once_from_the_arena(overhead: u64) -> Option<u64> {
    // Nothing parked anywhere: the next one must be mapped.
    stacks::drain_this_cpu();
    stacks::reclaim(u32::MAX);
    let before = stacks::cache_stats();
    let mut stack = None;
    let taking = span(|| stack = stacks::acquire_thread(ThreadId::new(1)).ok(), overhead);
    let was_mapped = stacks::cache_stats().misses == before.misses + 1;
    let mut unmapped = 0;
    let giving_back = span(
        || {
            stack = None;
            stacks::drain_this_cpu();
            unmapped = stacks::reclaim(1);
        },
        overhead,
    );
    (was_mapped && unmapped == 1).then_some(taking + giving_back)
}

/// Stacks from the cache of which more and more was dirtied, as far as they go.
pub(super) fn depths(overhead: u64) {
    let all = stacks::arena().geometry().body().get();
    let kibibytes = [
        ("stack_dirtied_1k", 1),
        ("stack_dirtied_2k", 2),
        ("stack_dirtied_4k", 4),
        ("stack_dirtied_8k", 8),
        ("stack_dirtied_16k", 16),
    ];
    for (name, size) in kibibytes.into_iter().filter(|(_, size)| size * 1024 <= all) {
        report(name, there_and_back(size * 1024, overhead), "instructions");
    }
}

pub(super) fn run(overhead: u64) {
    report("stack_cached_1k", there_and_back(1024, overhead), "instructions");
    let all = stacks::arena().geometry().body().get();
    report("stack_cached_full", there_and_back(all, overhead), "instructions");
    report("stack_cached_group", charged_to_a_group(1024, overhead), "instructions");
    report("stack_arena", from_the_arena(overhead), "instructions");
    // Leave a filled cache for the benches that follow.
    let filled: Vec<_> = (0..4).map(|_| stacks::acquire_thread(ThreadId::new(1))).collect();
    drop(filled);
}
