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
//! Which page of memory comes next is left to chance, usually: a file's, a program's, a page table's.
//! Here it is a frame that the experiment holds, so that nothing is lost.

use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::addr::{Addr, PAGE_BYTES};
use kstack::dma::Memory;
use machine::dma::Physical;
use machine::memory::direct;
use machine::memory::frames::{self, FRAME_BYTES, Frame};
use machine::spin::SpinLock;
use threads::{sched, stacks};

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
    pub fn bytes(&self) -> [u8; BYTES] {
        // SAFETY: (1) a buffer of this thread's frames, which outlives the experiment; (2) bytes.
        unsafe { (self.at as *const [u8; BYTES]).read_volatile() }
    }

    /// Fills the buffer, as the CPU sees it.
    pub fn fill(&self, bytes: &[u8; BYTES]) {
        // SAFETY: (1) (2) as above.
        unsafe { (self.at as *mut [u8; BYTES]).write_volatile(*bytes) };
    }

    /// As many bytes from the first one on as a device sees them: of one piece.
    pub const fn as_one_piece(&self) -> *mut [u8; BYTES] {
        direct(self.first)
    }

    /// What is in the page that follows.
    pub fn next_bytes(&self) -> [u8; HALF] {
        // SAFETY: (1) a frame that the experiment holds, in the direct map.
        unsafe { direct::<[u8; HALF]>(self.next).read_volatile() }
    }

    /// Fills the page that follows, as its owner.
    pub fn fill_next(&self, with: u8) {
        // SAFETY: (1) as above.
        unsafe { direct::<[u8; PAGE_BYTES]>(self.next).write_volatile([with; PAGE_BYTES]) };
    }
}

type Experiment = fn(&Crossing);

static EXPERIMENT: SpinLock<Option<Experiment>> = SpinLock::new(None);
/// Frames that follow those that the next stack is made of.
static NEXT: SpinLock<Vec<u64>> = SpinLock::new(Vec::new());
static DONE: AtomicU32 = AtomicU32::new(0);

/// Runs the experiment in a thread of its own, whose stack's pages do not follow each other.
pub fn with_crossing(experiment: Experiment) -> Result<(), &'static str> {
    /// Another CPU may take the frames that were meant for the stack.
    const ATTEMPTS: u32 = 64;
    *EXPERIMENT.lock() = Some(experiment);
    let before = DONE.load(Ordering::Relaxed);
    for _ in 0..ATTEMPTS {
        let held = prepare_frames()?;
        let thread = sched::spawn_kernel("crossing", |_| in_thread(), 0);
        let thread = thread.map_err(|_| "no thread");
        if let Ok(thread) = &thread {
            thread.join();
        }
        NEXT.lock().clear();
        held.into_iter().for_each(frames::release);
        thread?;
        if DONE.load(Ordering::Relaxed) != before {
            return Ok(());
        }
    }
    Err("no stack whose pages lie apart as they should")
}

/// Sees to it that the next new stack is made of frames whose followers are held: those.
fn prepare_frames() -> Result<Vec<Frame>, &'static str> {
    const FRAMES: usize = 128;
    // No stack that is there already.
    stacks::drain_this_cpu();
    stacks::reclaim(u32::MAX);
    let mut taken = Vec::with_capacity(FRAMES);
    taken.extend((0..FRAMES).map_while(|_| frames::alloc()));
    taken.sort_unstable_by_key(|frame| frame.addr());
    let (mut held, mut free) = (Vec::with_capacity(FRAMES), Vec::with_capacity(FRAMES));
    let mut next = Vec::with_capacity(FRAMES);
    let mut frames = taken.into_iter().peekable();
    while let Some(frame) = frames.next() {
        match frames.next_if(|after| after.addr() == frame.addr() + FRAME_BYTES) {
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

fn in_thread() {
    if below::<0>(5) || below::<376>(5) || below::<752>(5) {
        DONE.fetch_add(1, Ordering::Relaxed);
    }
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
    let experiment = *EXPERIMENT.lock();
    if let Some(experiment) = experiment {
        experiment(&Crossing { at, first, second, next });
    }
    true
}
