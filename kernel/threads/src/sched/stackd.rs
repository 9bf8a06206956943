//! The thread that unmaps stacks that are more than enough.

use super::birth::spawn_kernel;
use super::thread::WaitQueue;
use crate::stacks;

static EXCESS: WaitQueue = WaitQueue::new();

/// Starts it.
pub fn start_stackd() {
    let started = spawn_kernel("stackd", |_| stackd(), 0);
    started.expect("a thread at boot");
}

/// Wakes it: there may be something to unmap. From any context.
pub fn wake_stackd() {
    EXCESS.wake_all();
}

fn stackd() {
    loop {
        EXCESS.wait_uninterruptibly(|| stacks::excess() > 0);
        stacks::shrink(u32::MAX);
        stacks::end_period();
    }
}
