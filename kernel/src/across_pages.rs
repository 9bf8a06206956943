//! A buffer on a stack that crosses two pages, and what a device makes of it that is told where the
//! first byte lies: for tests and for the console.
//!
//! ```text
//!   the stack, as the CPU sees it         physical memory, as a device does
//!   |-- page 0 --|-- page 1 --|           |-- first --|-- next --| ...  |-- second --|
//!          [ 256 | 256 ]                         [ 256 | 256 ]             [ 256
//!                                            page 0    another's             page 1
//! ```
//!
//! Which page of memory comes next is left to chance, usually: a file's, a program's, a page
//! table's. Here it is a frame that the experiment holds, so that nothing is lost.

use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack::addr::{Addr, PAGE_BYTES};
use kstack::dma::Memory;
use machine::dma::Physical;
use machine::memory::direct;
use machine::memory::frames::{self, FRAME_BYTES, Frame};
use machine::spin::SpinLock;
use threads::sched::{self, WaitQueue};
use threads::stacks;

/// Bytes of the buffer on either page.
pub const HALF: usize = 256;
/// Bytes of the buffer.
pub const BYTES: usize = 2 * HALF;

/// A buffer on a stack, and where its halves lie.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    /// Its first byte, as the CPU sees it.
    pub at: usize,
    /// Where that lies in physical memory: its first half is at the end of a page there.
    pub first: u64,
    /// Where its second half lies: at the beginning of a page.
    pub second: u64,
    /// The page that follows the first half's in physical memory, held by the experiment.
    pub next: u64,
}

impl Crossing {
    /// The buffer's bytes, as the CPU sees them.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: (1) a buffer of a thread that waits; (2) bytes.
        unsafe { read(self.at as *const u8, BYTES) }
    }

    /// Fills the buffer, as the CPU sees it.
    pub fn fill(&self, bytes: &[u8]) {
        // SAFETY: (1) (2) as above; (3) its owner has written to both pages before.
        unsafe { write(self.at as *mut u8, bytes) };
    }

    /// As many bytes from the first one on as a device sees them: of one piece.
    pub fn as_one_piece(&self) -> Vec<u8> {
        // SAFETY: (1) the end of a page of that stack, and the beginning of a frame that the
        // experiment holds, in the direct map.
        unsafe { read(direct(self.first), BYTES) }
    }

    /// Fills the same, as a device would.
    pub fn fill_one_piece(&self, bytes: &[u8]) {
        // SAFETY: (1) as above.
        unsafe { write(direct(self.first), bytes) };
    }

    /// What is in the page that follows.
    pub fn next_bytes(&self) -> Vec<u8> {
        // SAFETY: (1) a frame that the experiment holds, in the direct map.
        unsafe { read(direct(self.next), HALF) }
    }

    /// Fills the beginning of the page that follows, as its owner.
    pub fn fill_next(&self, with: u8) {
        // SAFETY: (1) as above.
        unsafe { write(direct(self.next), &[with; HALF]) };
    }
}

/// Reads bytes that another thread or a device may have written.
///
/// # Safety
///
/// 1. They are there, and are written to by no one meanwhile.
unsafe fn read(from: *const u8, bytes: usize) -> Vec<u8> {
    // SAFETY: (1) by the caller's promise.
    (0..bytes).map(|at| unsafe { from.add(at).read_volatile() }).collect()
}

/// Writes bytes that another thread or a device may read.
///
/// # Safety
///
/// 1. As for [`read`], for reading and writing.
unsafe fn write(to: *mut u8, bytes: &[u8]) {
    for (at, &byte) in bytes.iter().enumerate() {
        // SAFETY: (1) by the caller's promise.
        unsafe { to.add(at).write_volatile(byte) };
    }
}

/// Frames that follow those that the next stack is made of.
static NEXT: SpinLock<Vec<u64>> = SpinLock::new(Vec::new());
/// What the thread has found: its turn is over. Its end: the experiment is.
static FOUND: SpinLock<Option<Crossing>> = SpinLock::new(None);
static HAS_LOOKED: AtomicBool = AtomicBool::new(false);
static IS_OVER: AtomicBool = AtomicBool::new(false);
static TURNS: WaitQueue = WaitQueue::new();

/// Runs the experiment on a buffer of a thread that waits meanwhile, and whose stack's pages do not
/// follow each other.
pub fn with_crossing<R>(experiment: impl FnOnce(&Crossing) -> R) -> Result<R, &'static str> {
    /// Another CPU may take the frames that were meant for the stack.
    const ATTEMPTS: u32 = 64;
    let mut experiment = Some(experiment);
    for _ in 0..ATTEMPTS {
        let held = prepare_frames()?;
        *FOUND.lock() = None;
        HAS_LOOKED.store(false, Ordering::Relaxed);
        IS_OVER.store(false, Ordering::Relaxed);
        let thread = sched::spawn_kernel("crossing", |_| in_thread(), 0);
        let mut done = None;
        if let Ok(thread) = &thread {
            TURNS.wait_uninterruptibly(|| HAS_LOOKED.load(Ordering::Acquire));
            let found = *FOUND.lock();
            if let Some(found) = found {
                done = experiment.take().map(|experiment| experiment(&found));
            }
            IS_OVER.store(true, Ordering::Release);
            TURNS.wake_all();
            thread.join();
        }
        NEXT.lock().clear();
        held.into_iter().for_each(frames::release);
        thread.map_err(|_| "no thread")?;
        if let Some(done) = done {
            return Ok(done);
        }
    }
    Err("no stack whose pages lie apart as they should")
}

/// Sees to it that the next new stack is made of frames whose followers are held: those.
fn prepare_frames() -> Result<Vec<Frame>, &'static str> {
    /// Pairs of frames that follow each other: for the stack, and for what else is made with it.
    const PAIRS: usize = 16;
    // No stack that is there already.
    stacks::drain_this_cpu();
    stacks::reclaim(u32::MAX);
    // Where processes have come and gone for long, frames are given out in no order, and few of a
    // hundred are neighbours.
    let mut taken = Vec::new();
    while pairs_of(&taken) < PAIRS {
        let before = taken.len();
        let more = before.max(128);
        taken.try_reserve_exact(more).map_err(|_| "no heap for the list of frames")?;
        taken.extend((0..more).map_while(|_| frames::alloc()));
        taken.sort_unstable_by_key(|frame: &Frame| frame.addr());
        if taken.len() < before + more {
            taken.into_iter().for_each(frames::release);
            return Err("no frames of memory that follow each other");
        }
    }
    let (mut held, mut free) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
    let mut next = Vec::with_capacity(taken.len());
    let mut frames = taken.into_iter().peekable();
    while let Some(frame) = frames.next() {
        match frames.next_if(|after| follows(after, &frame)) {
            Some(after) => {
                free.push(frame);
                next.push(after.addr());
                held.push(after);
            }
            None => held.push(frame),
        }
    }
    *NEXT.lock() = next;
    // Those given back last are given out first.
    free.into_iter().for_each(frames::release);
    Ok(held)
}

/// How many frames of a sorted list can be paired with the one that follows them in memory.
fn pairs_of(frames: &[Frame]) -> usize {
    let mut rest = frames.iter().peekable();
    let mut pairs = 0;
    while let Some(frame) = rest.next() {
        pairs += usize::from(rest.next_if(|after| follows(after, frame)).is_some());
    }
    pairs
}

fn follows(after: &Frame, frame: &Frame) -> bool {
    after.addr() == frame.addr() + FRAME_BYTES
}

fn in_thread() {
    let _found = below::<0>(3) || below::<376>(3) || below::<752>(3);
    HAS_LOOKED.store(true, Ordering::Release);
    TURNS.wake_all();
}

/// The same with so many bytes of the stack used before.
#[inline(never)]
fn below<const BYTES_BEFORE: usize>(frames: u32) -> bool {
    let mut before = [0_u8; BYTES_BEFORE];
    black_box(&mut before);
    let done = find(frames);
    black_box(&mut before);
    done
}

/// Goes deeper until a buffer crosses two pages, half of the experiment's on either.
#[inline(never)]
fn find(frames: u32) -> bool {
    let mut room = [0_u8; 1024];
    let lowest = black_box(room.as_mut_ptr()).expose_provenance();
    let top = lowest + room.len();
    let line = top & !(PAGE_BYTES - 1);
    let fits = line >= lowest + HALF && line + HALF <= top;
    let found = fits && try_at(line - HALF);
    let done = found || (frames > 0 && find(frames - 1));
    black_box(&mut room);
    done
}

#[inline(never)]
fn try_at(at: usize) -> bool {
    let place = |at: usize| Physical::physical(Addr::new(at));
    let (Some(first), Some(second)) = (place(at), place(at + HALF)) else { return false };
    let next = first + HALF as u64;
    if second == next || !NEXT.lock().contains(&next) {
        return false;
    }
    *FOUND.lock() = Some(Crossing { at, first, second, next });
    HAS_LOOKED.store(true, Ordering::Release);
    TURNS.wake_all();
    TURNS.wait_uninterruptibly(|| IS_OVER.load(Ordering::Acquire));
    true
}
