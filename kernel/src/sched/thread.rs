//! A thread: what the scheduler knows of it. It lies on the heap, never on its own stack, so that an overflow cannot
//! reach it.

use crate::arch::cpu;
use crate::arch::fpu::FpuState;
use crate::process::Process;
use crate::process::files::OpenFile;
use crate::sched::WaitQueue;
use crate::stacks::{self, OwnedStack, StackRef};
use crate::sync::{RawMutex, SpinLock};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
use kstack_core::addr::AddrRange;
use kstack_core::record::SlotRecord;

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// On a CPU.
    Running = 0,
    /// In the run queue.
    Ready = 1,
    /// Waiting to be woken.
    Blocked = 2,
    /// Will not run again.
    Dead = 3,
}

/// How many open files a system call uses at once.
const MOST_PINS: usize = 4;

/// How many sleeping locks a thread can hold at once.
const MOST_HELD: usize = 8;

/// One thread of the kernel, with or without a process. Aligned to a cache line, which no other heap object of its size is:
/// the allocator knows threads by their layout.
#[derive(Debug)]
#[repr(align(64))]
pub struct Thread {
    id: u64,
    /// What programs know it by: its number, or, after an execve, its process's.
    number: AtomicU64,
    name: Name,
    /// The saved SP while it is not running.
    pub(super) saved_sp: AtomicUsize,
    stack: SpinLock<Option<OwnedStack>>,
    stack_range: AddrRange,
    stack_ref: StackRef,
    stack_record: &'static SlotRecord,
    state: AtomicU8,
    /// True from before it runs until its CPU has left its stack.
    pub(super) on_cpu: AtomicBool,
    /// The CPU it runs or last ran on.
    pub(super) last_cpu: AtomicU32,
    /// The next one in the run queue, and the next one in a wait queue.
    pub(super) links: [AtomicPtr<Thread>; 2],
    canary: usize,
    /// The process it belongs to.
    pub process: Option<Arc<Process>>,
    /// The physical address of the page tables to load; 0: any will do.
    pub(super) tables_root: AtomicUsize,
    pub(super) fpu: Option<Box<FpuState>>,
    killed: AtomicBool,
    /// Set when the stack has been taken back.
    pub(super) reaped: AtomicBool,
    pub(super) exited: WaitQueue,
    held: [AtomicPtr<RawMutex>; MOST_HELD],
    /// Thread-local storage base of the program; on a 32-bit machine, what else it keeps of a program is in the upper half.
    pub user_tls: AtomicU64,
    /// A word of the program that is cleared when the thread ends; 0: none.
    pub clear_on_exit: AtomicU64,
    /// Open files that a system call under way uses.
    pins: SpinLock<[Option<Arc<OpenFile>>; MOST_PINS]>,
    /// Whether there are any: most system calls use no file.
    has_pins: AtomicBool,
    /// Its place in the list of all threads, under that list's lock; [`NOWHERE`]: not in it yet.
    pub(super) place_in_all: AtomicUsize,
}

/// Not in the list of all threads.
const NOWHERE: usize = usize::MAX;

impl Drop for Thread {
    fn drop(&mut self) {
        if self.place_in_all.load(Ordering::Relaxed) != NOWHERE {
            super::forget(&self.place_in_all);
        }
    }
}

/// A thread's or a process's name, cut to fit.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    bytes: [u8; 24],
    length: u8,
}

impl Name {
    /// The first 24 bytes of `text`, cut at a character.
    pub fn new(text: &str) -> Self {
        let mut name = Self { bytes: [0; 24], length: 0 };
        for c in text.chars() {
            let at = usize::from(name.length);
            if at + c.len_utf8() > name.bytes.len() {
                break;
            }
            c.encode_utf8(&mut name.bytes[at..]);
            name.length += c.len_utf8() as u8;
        }
        name
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("?")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// 2^64 over the golden ratio.
const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;
static CANARY_SEED: AtomicUsize = AtomicUsize::new(WEYL as usize);

/// A number for a thread, or for a process and its first thread, that is about to be.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A canary unlike the others; its lowest byte is zero, so that a string function cannot write it.
fn new_canary() -> usize {
    // Weyl sequence, then a finaliser; the time stamp makes boots differ.
    let seed = CANARY_SEED.fetch_add(WEYL as usize, Ordering::Relaxed);
    let mut x = seed as u64 ^ cpu::cycles();
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31) as usize & !0xff
}

impl Thread {
    pub(super) fn new(
        id: u64,
        name: Name,
        stack: OwnedStack,
        process: Option<(Arc<Process>, Box<FpuState>)>,
        state: State,
    ) -> Self {
        let (process, fpu) = match process {
            Some((process, fpu)) => (Some(process), Some(fpu)),
            None => (None, None),
        };
        let tables_root = process.as_ref().map_or(0, |process| process.tables_root());
        Self {
            id,
            number: AtomicU64::new(id),
            name,
            saved_sp: AtomicUsize::new(0),
            stack_range: stack.range(),
            stack_ref: stack.as_ref(),
            stack_record: stacks::registry().record(stack.as_ref().slot),
            stack: SpinLock::new(Some(stack)),
            state: AtomicU8::new(state as u8),
            on_cpu: AtomicBool::new(matches!(state, State::Running)),
            last_cpu: AtomicU32::new(0),
            links: [const { AtomicPtr::new(core::ptr::null_mut()) }; 2],
            canary: new_canary(),
            process,
            tables_root: AtomicUsize::new(tables_root as usize),
            fpu,
            killed: AtomicBool::new(false),
            reaped: AtomicBool::new(false),
            exited: WaitQueue::new(),
            held: [const { AtomicPtr::new(core::ptr::null_mut()) }; MOST_HELD],
            user_tls: AtomicU64::new(0),
            clear_on_exit: AtomicU64::new(0),
            pins: SpinLock::new([const { None }; MOST_PINS]),
            has_pins: AtomicBool::new(false),
            place_in_all: AtomicUsize::new(NOWHERE),
        }
    }

    /// Its number, never used twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number that programs know it by.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Gives it the number of its process, when it is the only thread of that.
    pub fn set_number(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The bounds of its stack. Whether the stack is still there is another question: [`Thread::has_stack`].
    pub fn stack_range(&self) -> AddrRange {
        self.stack_range
    }

    /// Which stack it has or had.
    #[inline(always)]
    pub fn stack_ref(&self) -> StackRef {
        self.stack_ref
    }

    /// What the pool knows of its stack.
    #[inline(always)]
    pub(super) fn stack_record(&self) -> &'static SlotRecord {
        self.stack_record
    }

    /// Whether its stack has not been taken back yet.
    pub fn has_stack(&self) -> bool {
        self.stack.lock().is_some()
    }

    /// Takes the stack out, to give it back. Once.
    pub(super) fn take_stack(&self) -> Option<OwnedStack> {
        self.stack.lock().take()
    }

    /// The word that its frames are checked with.
    pub fn canary(&self) -> usize {
        self.canary
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Running,
            1 => State::Ready,
            2 => State::Blocked,
            _ => State::Dead,
        }
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// From blocked to another state, by exactly one: a waker (to ready), or the thread itself (back to running).
    pub(super) fn unblock(&self, to: State) -> bool {
        let (blocked, to) = (State::Blocked as u8, to as u8);
        self.state.compare_exchange(blocked, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The SP it was switched away with; meaningless while it runs.
    pub fn saved_sp(&self) -> usize {
        self.saved_sp.load(Ordering::Acquire)
    }

    /// Whether it is on a CPU now.
    pub fn is_on_cpu(&self) -> bool {
        self.on_cpu.load(Ordering::Acquire)
    }

    /// The CPU it runs or last ran on.
    pub fn last_cpu(&self) -> u32 {
        self.last_cpu.load(Ordering::Relaxed)
    }

    /// Whether it is to die as soon as it can.
    pub fn killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Says that it is to die as soon as it can, and ends its sleep.
    pub fn kill(self: &Arc<Self>) {
        cpu::without_interrupts(|| {
            self.killed.store(true, Ordering::Release);
            // Before its state is looked at: see `wait`.
            fence(Ordering::SeqCst);
            super::make_ready(self.clone());
        });
    }

    /// Whether the thread has ended and its stack has been taken back.
    pub fn is_reaped(&self) -> bool {
        self.reaped.load(Ordering::Acquire)
    }

    /// Waits until it has ended and its stack is taken back.
    pub fn join(&self) {
        self.exited.wait_uninterruptibly(|| self.is_reaped());
    }

    /// Changes the page tables it runs under (execve). By the thread itself.
    pub fn set_tables_root(&self, root: u64) {
        self.tables_root.store(root as usize, Ordering::Relaxed);
        super::load_tables_of(self);
    }

    /// Sets the thread-local storage base of a thread that does not run, and nothing else of it.
    pub fn set_user_tls(&self, base: u64) {
        const BASE: u64 = u64::MAX >> (u64::BITS - usize::BITS);
        let others = self.user_tls.load(Ordering::Relaxed) & !BASE;
        self.user_tls.store(others | base & BASE, Ordering::Relaxed);
    }

    /// Its floating-point area, if it belongs to a process.
    pub fn fpu(&self) -> Option<&FpuState> {
        self.fpu.as_deref()
    }

    /// Keeps an open file for the length of a system call, by the thread itself. Not in the call's frame: a frame is lost when
    /// its stack overflows, this comes back with the thread.
    /// `None`: the call keeps as many as there are places for.
    pub fn pin(&self, file: Arc<OpenFile>) -> Option<&'static OpenFile> {
        let pinned = Arc::as_ptr(&file);
        self.has_pins.store(true, Ordering::Relaxed);
        let mut pins = self.pins.lock();
        *pins.iter_mut().find(|pin| pin.is_none())? = Some(file);
        // SAFETY: (1) the pin keeps it until `unpin_all`, at the end of the call; the reference does not leave the call.
        Some(unsafe { &*pinned })
    }

    /// Lets go of all pins: at the end of a system call, and of the thread.
    #[inline(always)]
    pub fn unpin_all(&self) {
        if self.has_pins.load(Ordering::Relaxed) {
            self.has_pins.store(false, Ordering::Relaxed);
            self.drop_pins();
        }
    }

    #[inline(never)]
    fn drop_pins(&self) {
        let pins = core::mem::take(&mut *self.pins.lock());
        // Dropped here, outside the lock: the last user of a pipe wakes others.
        drop(pins);
    }

    /// Writes down that it holds a sleeping lock.
    pub fn note_held(&self, mutex: &RawMutex) {
        let mutex = core::ptr::from_ref(mutex).cast_mut();
        let free = self.held.iter().find(|held| held.load(Ordering::Relaxed).is_null());
        free.expect("a thread holds at most eight sleeping locks").store(mutex, Ordering::Relaxed);
    }

    /// Strikes a sleeping lock out.
    pub fn forget_held(&self, mutex: &RawMutex) {
        let mutex = core::ptr::from_ref(mutex).cast_mut();
        if let Some(held) = self.held.iter().find(|held| held.load(Ordering::Relaxed) == mutex) {
            held.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
    }

    /// Lets go of every sleeping lock it holds. By the overflow path, for a thread that will not run on. Returns how many.
    pub fn let_go_of_all_held(&self) -> usize {
        let mut count = 0;
        for held in &self.held {
            let mutex = held.swap(core::ptr::null_mut(), Ordering::Relaxed);
            if !mutex.is_null() {
                // SAFETY: (1) a held mutex is borrowed by a guard on the thread's stack, which has not been given back.
                unsafe { &*mutex }.take_from_the_dead();
                count += 1;
            }
        }
        count
    }
}
