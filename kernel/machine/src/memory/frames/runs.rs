//! Frames that follow each other: one run has room for one stack, and lies where a stack may.
//!
//! ```text
//!   fresh stretch     [....|run |run |run |........)     from its low end; what the alignment skips
//!                      ^^^^ skipped: single frames        becomes single frames
//!   given back        first_run -> run -> run            whole, a list through the first frames
//!   single frames     first -> f -> f -> f -> ...        gathered into runs when there is no other
//! ```
//!
//! A run that was given back is broken into single frames when there are no others left; so nothing
//! is kept for runs alone. Taking and giving back a run costs as much as a few frames do, until the
//! fresh memory is used up: then all single frames are looked through, three times, with the lock
//! held, for those that lie together. What that finds is kept as runs.

use super::lists::{FreeList, elsewhere, list_of};
use super::table::{Entry, FRAME_BYTES, LOWEST, NONE, OF_A_STACK, address_of, entry_at, index_of};
use crate::nodes;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::arch::current::GEOMETRY;

/// Frames in a run: a stack's body.
pub const RUN_FRAMES: usize = GEOMETRY.body().in_pages();
/// The first frame's number is a multiple of this.
const ALIGN: u32 = GEOMETRY.align().in_pages() as u32;

/// In the count of users of a free frame, while runs are looked for: it is in the list.
const LISTED: u32 = 1 << 29;
/// The same: it is in a run.
const IN_RUN: u32 = 1 << 30;

static GATHERED: AtomicUsize = AtomicUsize::new(0);

/// How often all single frames were looked through for runs.
pub fn gathered_count() -> usize {
    GATHERED.load(Ordering::Relaxed)
}

/// Frames of a run, by their places in the table.
fn places(first: u32) -> core::ops::Range<u32> {
    first..first + RUN_FRAMES as u32
}

fn set_users(first: u32, users: u32) {
    for place in places(first) {
        users_of(place).users.store(users, Ordering::Relaxed);
    }
}

fn users_of(place: u32) -> &'static Entry {
    entry_at(place as usize)
}

/// Whether a stack may begin at the frame with this place in the table.
fn is_aligned(place: u32) -> bool {
    up(place) == place
}

/// The first place at or above this one where a stack may begin.
fn up(place: u32) -> u32 {
    let lowest = LOWEST.load(Ordering::Relaxed) as u32;
    (place.wrapping_add(lowest)).next_multiple_of(ALIGN).wrapping_sub(lowest)
}

impl FreeList {
    fn put_run(&mut self, first: u32) {
        set_users(first, IN_RUN);
        users_of(first).next.store(self.first_run, Ordering::Relaxed);
        self.first_run = first;
    }

    fn take_run(&mut self) -> Option<u32> {
        if self.first_run == NONE {
            return None;
        }
        let first = self.first_run;
        self.first_run = users_of(first).next.load(Ordering::Relaxed);
        Some(first)
    }

    /// One frame of a run, the others of which become single frames.
    pub(super) fn break_run(&mut self) -> Option<u32> {
        let first = self.take_run()?;
        self.list(first + 1..first + RUN_FRAMES as u32);
        Some(first)
    }

    /// Single frames that are free, and are counted already.
    fn list(&mut self, places: core::ops::Range<u32>) {
        for place in places {
            let entry = users_of(place);
            entry.users.store(0, Ordering::Relaxed);
            entry.next.store(self.first, Ordering::Relaxed);
            self.first = place;
        }
    }

    /// A run below `top` that was never given out.
    fn take_fresh_run(&mut self, top: u32) -> Option<u32> {
        for number in self.current..self.stretches {
            let (at, end) = self.fresh[number];
            let first = up(at);
            if first >= at && places(first).end <= end.min(top) {
                self.fresh[number].0 = places(first).end;
                self.list(at..first);
                return Some(first);
            }
        }
        None
    }

    /// Whether a run begins at this place, all of it below `top`, all of it single frames of the
    /// list, which are marked.
    fn is_listed(&self, first: u32, top: u32) -> bool {
        let end = places(first).end;
        let stretches = self.begins.iter().zip(&self.fresh).take(self.stretches);
        is_aligned(first)
            && end <= top
            && stretches.into_iter().any(|(&begin, &(at, _))| begin <= first && end <= at)
            && places(first).all(|place| users_of(place).users.load(Ordering::Relaxed) == LISTED)
    }

    /// Makes runs of single frames, as many as there are.
    #[cold]
    fn gather(&mut self, top: u32) {
        GATHERED.fetch_add(1, Ordering::Relaxed);
        // A frame without users may be on its way into the list: only what is in it counts.
        self.each(|entry, _| entry.users.store(LISTED, Ordering::Relaxed));
        let mut found = false;
        let mut at = self.first;
        while at != NONE {
            if self.is_listed(at, top) {
                set_users(at, IN_RUN);
                found = true;
            }
            at = users_of(at).next.load(Ordering::Relaxed);
        }
        let mut at = core::mem::replace(&mut self.first, NONE);
        let mut last = None::<u32>;
        while at != NONE {
            let entry = users_of(at);
            let next = entry.next.load(Ordering::Relaxed);
            if found && entry.users.load(Ordering::Relaxed) == IN_RUN {
                if is_aligned(at) {
                    self.put_run(at);
                }
            } else {
                entry.users.store(0, Ordering::Relaxed);
                match last {
                    None => self.first = at,
                    Some(last) => users_of(last).next.store(at, Ordering::Relaxed),
                }
                last = Some(at);
            }
            at = next;
        }
        if let Some(last) = last {
            users_of(last).next.store(NONE, Ordering::Relaxed);
        }
    }

    fn each(&self, mut visit: impl FnMut(&Entry, u32)) {
        let mut at = self.first;
        while at != NONE {
            let entry = users_of(at);
            visit(entry, at);
            at = entry.next.load(Ordering::Relaxed);
        }
    }
}

/// Frames that follow each other, for a stack: where the first of [`RUN_FRAMES`] is. It lies as the
/// body of a stack must, and ends at the physical address `top` or below.
pub(super) fn take(top: u64) -> Option<u64> {
    let lowest = LOWEST.load(Ordering::Relaxed) as u64;
    let top = (top / FRAME_BYTES).saturating_sub(lowest).min(u64::from(NONE)) as u32;
    let ask = |free: &mut FreeList| {
        let run = free.take_run().or_else(|| free.take_fresh_run(top));
        let first = run.or_else(|| {
            free.gather(top);
            free.take_run()
        })?;
        free.free -= RUN_FRAMES;
        set_users(first, OF_A_STACK | 1);
        Some(first)
    };
    let node = nodes::here();
    let found = ask(&mut list_of(node).lock());
    found.or_else(|| elsewhere(node, ask)).map(address_of)
}

/// Frees a run, as a whole.
pub(super) fn put(first: u64) {
    let place = index_of(first) as u32;
    assert!(is_aligned(place), "a run that begins where none does");
    let mut free = list_of(nodes::of_memory(first)).lock();
    free.put_run(place);
    free.free += RUN_FRAMES;
}
