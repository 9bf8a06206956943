//! Words of memory that threads sleep on.

use super::user_memory::{get, timespec};
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::process::current;
use alloc::vec::Vec;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, WaitQueue, Waited};
use threads::time;

/// Threads asleep on words of memory: process, address, and whether they were woken.
struct Sleeper {
    process: u64,
    address: u64,
    thread: u64,
}

static SLEEPERS: SpinLock<Vec<Sleeper>> = SpinLock::new(Vec::new());
static FUTEX: WaitQueue = WaitQueue::new();

pub(crate) fn futex(
    address: u64,
    operation: u64,
    value: u64,
    timeout: u64,
    size: WordSize,
) -> SysResult {
    const WAIT: u64 = 0;
    const WAKE: u64 = 1;
    const WAIT_BITSET: u64 = 9;
    const WAKE_BITSET: u64 = 10;
    match operation & 0x7f {
        WAIT | WAIT_BITSET => {
            let deadline = match timeout {
                0 => u64::MAX,
                at if operation & 0x7f == WAIT => time::later(timespec(at, size)?),
                at => timespec(at, size)?,
            };
            futex_wait(address, value as u32, deadline)
        }
        WAKE | WAKE_BITSET => Ok(futex_wake(address, value)),
        _ => Err(Errno::ENOSYS),
    }
}

fn futex_wait(address: u64, value: u32, deadline: u64) -> SysResult {
    let (process, thread) = (current().id, sched::current().id());
    {
        let mut sleepers = SLEEPERS.lock();
        fallible::push(&mut sleepers, Sleeper { process, address, thread })?;
    }
    let leave = || SLEEPERS.lock().retain(|sleeper| sleeper.thread != thread);
    // In the list first, then the look: a wake in between takes us out of the list.
    match get::<4>(address) {
        Ok(now) if u32::from_le_bytes(now) == value => {}
        Ok(_) => {
            leave();
            return Err(Errno::EAGAIN);
        }
        Err(error) => {
            leave();
            return Err(error);
        }
    }
    let is_asleep = || SLEEPERS.lock().iter().any(|sleeper| sleeper.thread == thread);
    let has_end = deadline != u64::MAX;
    let waited = FUTEX.wait_deadline(|| !is_asleep(), has_end.then_some(deadline));
    leave();
    match waited {
        Ok(Waited::Holds) => Ok(0),
        Ok(Waited::TimedOut) => Err(Errno::ETIMEDOUT),
        // One that was woken meanwhile has used the wake-up up.
        Err(_) if has_end => Err(Errno::ERESTARTNOHAND),
        Err(_) => Err(Errno::ERESTARTSYS),
    }
}

/// A thread that ends sleeps on nothing: one whose stack overflowed in its sleep did not say so itself.
pub(crate) fn futex_forget(thread: u64) {
    SLEEPERS.lock().retain(|sleeper| sleeper.thread != thread);
}

/// Wakes up to `most` threads that sleep on an address of the calling process; how many it were.
pub(crate) fn futex_wake(address: u64, most: u64) -> u64 {
    let process = current().id;
    let mut woken = 0;
    SLEEPERS.lock().retain(|sleeper| {
        let wake = woken < most && sleeper.process == process && sleeper.address == address;
        woken += u64::from(wake);
        !wake
    });
    if woken > 0 {
        FUTEX.wake_all();
    }
    woken
}
