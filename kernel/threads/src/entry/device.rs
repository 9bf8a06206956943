//! Interrupts of devices, and their threads.
//!
//! A device's interrupt is handled where it arrives, or, with the boot option `threadirqs`, in a
//! thread of its own: then the interrupt only quietens the device and wakes the thread, which does
//! the work with interrupts on, bottom halves disabled, and lets the device interrupt again.
//!
//! | | interrupt | thread |
//! | --- | --- | --- |
//! | without `threadirqs` | work | - |
//! | with it | quieten, wake | work, let it interrupt again |
//!
//! What every kernel needs of interrupts (the timer, what CPUs send each other) never has a thread.

use super::interrupts::{self, Handler};
use super::ksoftirqd;
use super::softirq;
use crate::sched::{self, SpawnError, WaitQueue};
use alloc::format;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A device, as its interrupt sees it.
#[derive(Debug)]
pub struct Device {
    /// Its thread is `irq/NUMBER-NAME`.
    pub name: &'static str,
    /// Whether the device may interrupt.
    pub let_interrupt: fn(bool),
    /// What an interrupt is for.
    pub work: fn(),
    /// Has interrupted, and the thread has not yet seen to it.
    has_work: AtomicBool,
    /// How often the thread has seen to it.
    turns: AtomicU64,
    thread: WaitQueue,
}

impl Device {
    /// A device.
    pub const fn new(name: &'static str, let_interrupt: fn(bool), work: fn()) -> Self {
        Self {
            name,
            let_interrupt,
            work,
            has_work: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            thread: WaitQueue::new(),
        }
    }

    /// Its interrupt, if it has no thread: set with [`interrupts::set_handler`].
    pub fn on_interrupt(&self) {
        (self.work)();
    }

    /// Its interrupt, if it has a thread.
    pub fn wake_thread(&self) {
        (self.let_interrupt)(false);
        self.has_work.store(true, Ordering::Release);
        self.thread.wake_all();
    }

    /// How often its thread has had work.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Gives it the vector `number`: `handler` calls [`Device::on_interrupt`], `waker`
    /// [`Device::wake_thread`]. Once threads can be made.
    pub fn set_up(&'static self, number: u8, handler: Handler, waker: Handler) {
        if !ksoftirqd::is_forced() {
            return interrupts::set_handler(number, handler);
        }
        self.start_thread(number).expect("a thread at boot");
        interrupts::set_handler(number, waker);
    }

    /// Starts its thread, once.
    pub fn start_thread(&'static self, number: u8) -> Result<(), SpawnError> {
        let name = format!("irq/{number}-{}", self.name);
        sched::spawn_kernel(&name, run, core::ptr::from_ref(self) as usize).map(|_| ())
    }
}

fn run(device: usize) {
    // SAFETY: (1) `set_up` passes a `&'static Device`.
    let device = unsafe { &*(device as *const Device) };
    loop {
        device.thread.wait_uninterruptibly(|| device.has_work.swap(false, Ordering::Acquire));
        device.turns.fetch_add(1, Ordering::Relaxed);
        softirq::disable_bottom_halves();
        (device.work)();
        softirq::enable_bottom_halves();
        (device.let_interrupt)(true);
    }
}
