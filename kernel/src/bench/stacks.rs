//! A stack from the cache and back, and from the arena and back.

use super::{median, report, span};
use alloc::vec::Vec;
use kstack::end_word;
use kstack::stacks::ThreadId;
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
    let take = || stacks::acquire_thread(ThreadId::new(1)).expect("a stack");
    // The first one may come from the arena.
    drop(take());
    median(
        (0..ROUNDS)
            .map(|_| {
                let mut stack = None;
                let taking = span(|| stack = Some(take()), overhead);
                let stack = stack.expect("taken above");
                assert!(is_clean(&stack), "a stack from the cache reads as zero");
                dirty(&stack, bytes);
                taking + span(|| drop(stack), overhead)
            })
            .collect(),
    )
}

/// Mapping a stack anew and unmapping it for real.
fn from_the_arena(overhead: u64) -> u64 {
    median(
        (0..ROUNDS)
            .map(|_| {
                // Nothing parked anywhere: the next one must be mapped.
                stacks::drain_this_cpu();
                stacks::reclaim(u32::MAX);
                let before = stacks::cache_stats();
                let mut stack = None;
                let taking =
                    span(|| stack = stacks::acquire_thread(ThreadId::new(1)).ok(), overhead);
                assert_eq!(stacks::cache_stats().misses, before.misses + 1, "it was mapped anew");
                let giving_back = span(
                    || {
                        stack = None;
                        stacks::drain_this_cpu();
                        assert_eq!(stacks::reclaim(1), 1, "it was unmapped");
                    },
                    overhead,
                );
                taking + giving_back
            })
            .collect(),
    )
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
    report("stack_arena", from_the_arena(overhead), "instructions");
    // Leave a filled cache for the benches that follow.
    let filled: Vec<_> = (0..4).map(|_| stacks::acquire_thread(ThreadId::new(1))).collect();
    drop(filled);
}
