//! A thread: what the scheduler knows of it. It lies on the heap, never on its own stack, so that
//! an overflow cannot reach it.

use super::cpu_time::CpuTime;
use super::list::{LINKS, Linked, List, WAIT};
use super::owner::{Owned, Owner, OwnerKind};
use super::rank::Urgency;
use super::sleep::{Crowd, RunState, attention};
use super::weight::Share;
use crate::stacks::pages::StackPages;
use crate::stacks::{self, OwnedStack, StackRef};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::mem::offset_of;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use kstack::Borrowed;
use kstack::addr::{Addr, AddrRange, CpuId};
use kstack::protector;
use kstack::record::SlotRecord;
use kstack::stacks::ThreadId;
use machine::arch::cpu;
use machine::arch::extras::{Extras, LocalSegments};
use machine::arch::fpu::FpuState;
use machine::memory::fallible::NoMemory;
use machine::spin::SpinLock;

pub use super::sleep::State;

/// How many things a system call keeps at once.
const MAX_PINS: usize = 4;

/// How many sleeping locks a thread can hold at once.
const MAX_HELD: usize = 8;

/// Something that is kept for the length of a system call.
type Pin = Arc<dyn Any + Send + Sync>;

/// Threads that wait for the same thing. How they wait and are woken is in `wait` and `run_queue`.
#[derive(Debug)]
pub struct WaitQueue {
    pub(super) list: SpinLock<List<Thread, WAIT>>,
    pub(super) crowd: Crowd,
}

impl WaitQueue {
    /// No thread waits.
    pub const fn new() -> Self {
        Self { list: SpinLock::new(List::new()), crowd: Crowd::new() }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

/// The part of a sleeping lock that does not depend on its value: see `mutex`.
#[derive(Debug)]
pub struct RawMutex {
    /// The thread that holds it; 0: none.
    pub(super) holder: AtomicU64,
    pub(super) poisoned: AtomicBool,
    pub(super) waiting: WaitQueue,
}

/// One thread of the kernel, with or without a process. Aligned to a cache line, which no other
/// heap object of its size is: the allocator knows threads by their layout.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Thread {
    id: ThreadId,
    /// What programs know it by: its number, or, after an execve, its process's.
    number: AtomicU64,
    /// The saved SP while it is not running.
    pub(super) saved_sp: AtomicUsize,
    stack_range: AddrRange,
    /// What its frames are guarded by. While it runs, an interrupt on a stack of its own may have
    /// another here, where compiled code looks in this structure.
    canary: AtomicUsize,
    name: Name,
    stack: SpinLock<Option<OwnedStack>>,
    stack_ref: StackRef,
    stack_record: &'static SlotRecord,
    /// What it is doing, and whether it is to die.
    pub(super) run: RunState,
    /// True from before it runs until its CPU has left its stack.
    pub(super) on_cpu: AtomicBool,
    /// The CPU it runs or last ran on.
    pub(super) last_cpu: AtomicU32,
    /// The CPUs it may run on, as bits.
    pub(super) allowed: AtomicU64,
    /// Whether it is of real time, and before which others.
    pub(super) urgency: Urgency,
    pub(super) share: Share,
    /// The next one in the run queue, in a wait queue, and in the list of deadlines.
    pub(super) links: [AtomicPtr<Thread>; LINKS],
    /// The program it belongs to.
    owner: Owned,
    /// The physical address of the page tables to load; 0: any will do.
    pub(super) tables_root: AtomicUsize,
    /// What a switch has to do for it: [`kinds`]. Sticky, each.
    pub(super) kinds: AtomicU8,
    /// What else it has in the CPU, if it is of that kind.
    pub(super) extras: Extras,
    pub(super) fpu: Option<Box<FpuState>>,
    /// How long it has run, if it belongs to a program.
    pub(super) cpu_time: CpuTime,
    /// When its wait ends at the latest, while it stands in the list of deadlines: nanoseconds
    /// since boot.
    pub(super) deadline: AtomicU64,
    /// Whether it stands there. Changes under that list's lock.
    pub(super) is_timed: AtomicBool,
    /// Set when the stack has been taken back.
    pub(super) reaped: AtomicBool,
    pub(super) exited: WaitQueue,
    /// Sleeping locks it holds: see `mutex`.
    pub(super) held: [AtomicPtr<RawMutex>; MAX_HELD],
    /// The function that a kernel thread runs: see `birth`.
    pub(super) work: AtomicUsize,
    /// Thread-local storage base of the program; on a 32-bit machine, what else it keeps of a
    /// program is in the upper half.
    pub user_tls: AtomicU64,
    /// What a system call under way uses.
    pins: SpinLock<[Option<Pin>; MAX_PINS]>,
    /// Whether there are any: most system calls use no file.
    has_pins: AtomicBool,
    /// Only its death ends its sleep early.
    pub(super) sleeps_deeply: AtomicBool,
    /// Its place in the list of all threads, under that list's lock; [`NOWHERE`]: not in it yet.
    pub(super) place_in_all: AtomicUsize,
}

// Where compiled code looks for a canary in a thread's structure, it finds this one.
const _: () = assert!(match protector::PLACE_IN_THREAD {
    Some(place) => offset_of!(Thread, canary) == place,
    None => true,
});

/// What a switch has to do for a thread more than for one of the kernel: bits.
pub(super) mod kinds {
    /// It has, or once had, anything of a program's: floating point, or tables other than the
    /// kernel's.
    pub const OF_PROGRAM: u8 = 1;
    /// It has, or once had, something else in the CPU: ports, segments, a base of GS, a shadow
    /// stack.
    pub const WITH_EXTRAS: u8 = 2;
    /// It is told before user mode that it was off the CPU.
    pub const TOLD_OF_SWITCHES: u8 = 4;
}

/// Not in the list of all threads.
const NOWHERE: usize = usize::MAX;

impl Drop for Thread {
    fn drop(&mut self) {
        if self.place_in_all.load(Ordering::Relaxed) != NOWHERE {
            forget(&self.place_in_all);
        }
    }
}

impl Linked for Thread {
    #[inline(always)]
    fn links(&self) -> &[AtomicPtr<Self>; LINKS] {
        &self.links
    }
}

static ALL: SpinLock<Vec<Weak<Thread>>> = SpinLock::new(Vec::new());

/// Every thread that is not gone, for reports and tests: with no memory for the list, the kernel
/// ends.
pub fn all() -> Vec<Arc<Thread>> {
    try_all().expect("memory for a list of threads")
}

/// Every thread that is not gone.
pub fn try_all() -> Result<Vec<Arc<Thread>>, NoMemory> {
    let mut threads = Vec::new();
    loop {
        // Room first, without the lock: a reference that is dropped under it may be the last one,
        // which asks for the lock.
        threads.try_reserve(thread_count() + 16).map_err(|_| NoMemory)?;
        let all = ALL.lock();
        if threads.capacity() >= all.len() {
            // CANNOT FAIL: there is room for all.
            threads.extend(all.iter().filter_map(Weak::upgrade));
            return Ok(threads);
        }
    }
}

/// How many threads there are that are not gone.
pub fn thread_count() -> usize {
    ALL.lock().len()
}

/// Puts a new thread into the list of all.
pub(super) fn remember(thread: &Arc<Thread>) -> Result<(), NoMemory> {
    let mut all = ALL.lock();
    if all.len() == all.capacity() {
        let free = all.len() / 2 + 64;
        all.try_reserve(free).map_err(|_| NoMemory)?;
    }
    thread.place_in_all.store(all.len(), Ordering::Relaxed);
    // CANNOT FAIL: there is room.
    all.push(Arc::downgrade(thread));
    Ok(())
}

/// The reverse, when the last reference to a thread goes. The last thread in the list takes its
/// place.
fn forget(place: &AtomicUsize) {
    let mut all = ALL.lock();
    let place = place.load(Ordering::Relaxed);
    let gone = all.swap_remove(place);
    if let Some(moved) = all.get(place) {
        // SAFETY: (1) a weak reference keeps the memory; (2) the one field that is used is an
        // atomic word without a destructor, so it is there even if that thread is being dropped
        // right now.
        unsafe { (*moved.as_ptr()).place_in_all.store(place, Ordering::Relaxed) };
    }
    drop(all);
    drop(gone);
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
        let mut bytes = [0; 24];
        let length = text.floor_char_boundary(bytes.len());
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { bytes, length: length as u8 }
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
/// A number for a thread, or for a process and its first thread, that is about to be.
pub fn next_id() -> ThreadId {
    ThreadId::new(NEXT_ID.fetch_add(1, Ordering::Relaxed))
}

impl Thread {
    #[inline(always)]
    pub(super) fn new(
        id: ThreadId,
        name: Name,
        stack: OwnedStack,
        stack_range: AddrRange,
        program: Option<(Owned, Box<FpuState>)>,
        state: State,
        canary: usize,
    ) -> Self {
        let (owner, fpu) = match program {
            Some((owner, fpu)) => (owner, Some(fpu)),
            None => (Owned::NOT, None),
        };
        let tables_root = owner.as_owner().map_or(0, |owner| owner.tables_root());
        Self {
            id,
            number: AtomicU64::new(id.get()),
            name,
            saved_sp: AtomicUsize::new(0),
            stack_range,
            stack_ref: stack.as_ref(),
            stack_record: stack.record(),
            stack: SpinLock::new(Some(stack)),
            run: RunState::new(state),
            on_cpu: AtomicBool::new(matches!(state, State::Running)),
            last_cpu: AtomicU32::new(0),
            allowed: AtomicU64::new(u64::MAX),
            urgency: Urgency::new(),
            share: Share::new(),
            links: [const { AtomicPtr::new(core::ptr::null_mut()) }; LINKS],
            canary: AtomicUsize::new(canary),
            owner,
            tables_root: AtomicUsize::new(tables_root as usize),
            kinds: AtomicU8::new(if fpu.is_some() { kinds::OF_PROGRAM } else { 0 }),
            extras: Extras::new(),
            fpu,
            cpu_time: CpuTime::new(),
            deadline: AtomicU64::new(0),
            is_timed: AtomicBool::new(false),
            reaped: AtomicBool::new(false),
            exited: WaitQueue::new(),
            held: [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_HELD],
            work: AtomicUsize::new(0),
            user_tls: AtomicU64::new(0),
            pins: SpinLock::new([const { None }; MAX_PINS]),
            has_pins: AtomicBool::new(false),
            sleeps_deeply: AtomicBool::new(false),
            place_in_all: AtomicUsize::new(NOWHERE),
        }
    }

    /// Its number, never used twice.
    pub fn id(&self) -> ThreadId {
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

    /// The bounds of its stack. Whether the stack is still there is another question:
    /// [`Thread::has_stack`].
    pub fn stack_range(&self) -> AddrRange {
        self.stack_range
    }

    /// Which stack it has or had.
    #[inline(always)]
    pub fn stack_ref(&self) -> StackRef {
        self.stack_ref
    }

    /// Gives it the segments of its address space. The CPU that it runs on is told by a
    /// flush of all CPUs.
    pub fn give_segments(&self, segments: Arc<LocalSegments>) {
        self.extras.give_segments(segments);
        self.has_extras();
        self.look_at_segments();
    }

    /// Its saved registers may name any segment from now on.
    pub fn look_at_segments(&self) {
        self.run.mark(attention::SEGMENTS);
    }

    /// Whether they may.
    pub fn has_odd_segments(&self) -> bool {
        self.run.attends(attention::SEGMENTS)
    }

    /// Another program has the usual ones.
    pub fn forget_segments(&self) {
        self.run.take(attention::SEGMENTS);
        self.extras.drop_segments();
    }

    /// What a switch from or to it has to do more than for a thread of the kernel.
    #[inline(always)]
    pub(super) fn kinds(&self) -> u8 {
        self.kinds.load(Ordering::Relaxed)
    }

    /// What else it has in the CPU.
    pub fn extras(&self) -> &Extras {
        &self.extras
    }

    /// From now on a switch from or to it moves that. By the thread itself, with interrupts off, or
    /// before it runs.
    pub fn has_extras(&self) {
        self.kinds.fetch_or(kinds::WITH_EXTRAS, Ordering::Relaxed);
    }

    /// From now on [`Thread::take_switched`] says before user mode whether it was off the CPU, the
    /// first time as if it had been. By the thread itself, or before it runs.
    pub fn tell_of_switches(&self) {
        self.kinds.fetch_or(kinds::TOLD_OF_SWITCHES, Ordering::Relaxed);
        self.run.mark(attention::SWITCHED);
    }

    /// The reverse.
    pub fn tell_nothing_of_switches(&self) {
        self.kinds.fetch_and(!kinds::TOLD_OF_SWITCHES, Ordering::Relaxed);
        self.run.take(attention::SWITCHED);
    }

    /// Has a thread that is told of switches look as if it had been off the CPU. One that runs
    /// looks at once.
    pub fn look_as_if_switched(&self) {
        if self.kinds() & kinds::TOLD_OF_SWITCHES == 0 {
            return;
        }
        cpu::without_interrupts(|| {
            self.run.attend(attention::SWITCHED);
            self.kick_if_elsewhere();
        });
    }

    /// Whether it was off the CPU since it asked last. By the thread itself.
    pub fn take_switched(&self) -> bool {
        self.run.take(attention::SWITCHED)
    }

    /// The lowest SP sampled on its stack.
    pub fn lowest_seen(&self) -> Option<Addr> {
        self.stack_record.watermark().lowest_sample()
    }

    /// What the pool knows of its stack.
    #[inline(always)]
    pub fn stack_record(&self) -> &'static SlotRecord {
        self.stack_record
    }

    /// Keeps its stack there while it is read, even if the thread ends; `None` if it is gone
    /// already.
    pub fn borrow_stack(&self) -> Option<Borrowed<StackPages>> {
        stacks::borrow(self.stack_range(), self.stack_ref())
    }

    /// Whether its stack has not been taken back yet.
    pub fn has_stack(&self) -> bool {
        self.stack.lock().is_some()
    }

    /// Takes the stack out, to give it back. Once. Interrupts off.
    pub(super) fn take_stack(&self) -> Option<OwnedStack> {
        self.stack.lock_uninterrupted().take()
    }

    /// The word that its frames are checked with.
    pub fn canary(&self) -> usize {
        self.canary.load(Ordering::Relaxed)
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.run.get()
    }

    pub(super) fn set_state(&self, state: State) {
        self.run.set(state);
    }

    /// From blocked to another state, by exactly one: a waker (to ready), or the thread itself
    /// (back to running).
    pub(super) fn unblock(&self, to: State) -> bool {
        self.run.unblock(to)
    }

    /// The SP it was switched away with; meaningless while it runs.
    pub fn saved_sp(&self) -> usize {
        self.saved_sp.load(Ordering::Acquire)
    }

    /// Whether it may run on a CPU.
    #[inline(always)]
    pub(super) fn may_run_on(&self, cpu: CpuId) -> bool {
        self.allowed.load(Ordering::Relaxed) >> cpu.get() & 1 != 0
    }

    /// Whether it is on a CPU now.
    pub fn is_on_cpu(&self) -> bool {
        self.on_cpu.load(Ordering::Acquire)
    }

    /// The CPU it runs or last ran on.
    pub fn last_cpu(&self) -> CpuId {
        CpuId::new(self.last_cpu.load(Ordering::Relaxed))
    }

    /// Whether it is in a sleep that no signal ends but the one that ends itself.
    pub fn sleeps_deeply(&self) -> bool {
        self.sleeps_deeply.load(Ordering::Relaxed)
    }

    /// Whether it is to die as soon as it can.
    pub fn killed(&self) -> bool {
        self.run.attends(attention::KILLED)
    }

    /// Whether it has something to attend to that ends a sleep: its death, or what
    /// [`Thread::notify`] announced.
    #[inline(always)]
    pub fn has_attention(&self) -> bool {
        self.run.attends(attention::KILLED | attention::NOTIFIED)
    }

    /// Whether it has anything to attend to before user mode.
    #[inline(always)]
    pub fn has_work_before_user(&self) -> bool {
        self.run.attends(u8::MAX)
    }

    /// Whether nothing of that is left but to look at its segments.
    pub fn has_only_odd_segments(&self) -> bool {
        !self.run.attends(!attention::SEGMENTS)
    }

    /// Takes back an announcement. By the thread itself, before it looks at what was announced; or
    /// when it is created.
    pub fn clear_notification(&self) {
        self.run.clear(attention::NOTIFIED);
    }

    /// Whether the thread has ended and its stack has been taken back.
    pub fn is_reaped(&self) -> bool {
        self.reaped.load(Ordering::Acquire)
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

    /// How long it has run, if it belongs to a program.
    pub fn cpu_time(&self) -> &CpuTime {
        &self.cpu_time
    }

    /// What it belongs to, as far as every thread knows that.
    pub fn owner(&self) -> Option<&dyn Owner> {
        self.owner.as_owner()
    }

    /// What it belongs to, if that is of this kind.
    #[inline(always)]
    pub fn owner_of_kind<T: Owner>(&self, kind: &'static OwnerKind<T>) -> Option<&T> {
        self.owner.get(kind)
    }

    /// The same, as a reference to keep.
    pub fn shared_owner<T: Owner>(&self, kind: &'static OwnerKind<T>) -> Option<Arc<T>> {
        self.owner.share(kind)
    }

    /// Keeps something for the length of a system call, by the thread itself. Not in the call's
    /// frame: a frame is lost when its stack overflows, this comes back with the thread. `None`:
    /// the call keeps as many as there are places for.
    pub fn pin<T: Any + Send + Sync>(&self, kept: Arc<T>) -> Option<&'static T> {
        let pinned = Arc::as_ptr(&kept);
        self.has_pins.store(true, Ordering::Relaxed);
        let mut pins = self.pins.lock();
        *pins.iter_mut().find(|pin| pin.is_none())? = Some(kept);
        // SAFETY: (1) the pin keeps it until `unpin_all`, at the end of the call; the reference
        // does not leave the call.
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
}
