//! Models of the lock-free protocols: the code itself, over atomics that explore every order that
//! C11 allows.
//!
//! | protocol | what could go wrong |
//! | --- | --- |
//! | a life: owner, borrowers, the last one | two take the stack back, or none; one that reads meets one that erases |
//! | a stale number | a borrower gets the stack of a later life |
//! | a record read without a lock | a name made of two lives; "settled" of fields that are not |
//! | pages mapped and unmapped under a reader | a reader trusts a page that is not there yet |
//! | sampled depth | a sample of an earlier life is taken for one of the present |
//! | groups: charge, limit, removal, stocks | a limit is passed; a number has a later group before its last page |
//! | a sleep of the reference kernel's threads | a thread that was woken or killed sleeps on, or has two turns in the run queue |
//!
//! What one holder of a slot does after another (its cache, the depot, the next owner) is ordered
//! by the lock or by interrupts that are off, so that one thread does it here too. Preemptions are
//! bounded at three, which keeps each model within seconds.

use crate::addr::{Addr, ByteSize, CpuId};
use crate::arena::{Arena, SlotIndex};
use crate::geometry::Geometry;
use crate::kind::StackKind;
use crate::lifetime::{LifeState, Released};
use crate::record::{AccountId, SlotRecord};
use crate::stacks::ThreadId;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

mod groups;

#[path = "../../kernel/threads/src/sched/sleep.rs"]
#[expect(dead_code, reason = "what the kernel does besides sleeping is not modelled")]
mod sleep;

use sleep::{Crowd, Interrupted, RunState, Sleeper, State, Waited, attention};

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

/// What `Pool::hand_out` does, with everything named after the owner.
fn hand_out(record: &SlotRecord, who: u32) {
    let kind = if who % 2 == 0 { StackKind::Irq } else { StackKind::Thread };
    record.fill_in(kind, ThreadId::new(u64::from(who)), CpuId::new(who), AccountId::new(who));
    let _generation = record.life().make_live();
}

/// What `Pool::recycle` does to the record.
fn recycle(record: &SlotRecord) {
    record.set_owner(ThreadId::NONE);
    record.life().park();
}

fn release(record: &SlotRecord) {
    if record.life().release_owner() == Released::Last {
        recycle(record);
    }
}

/// Red if either subtraction is not a release, or not an acquire: the one that erases would meet
/// one that reads.
#[test]
fn l2_t8_the_last_of_an_owner_and_two_borrowers_has_the_stack_to_itself() {
    model(|| {
        let shared = Arc::new((SlotRecord::new(), UnsafeCell::new(7_u32)));
        hand_out(&shared.0, 1);
        let generation = shared.0.life().generation();
        let borrower = move |shared: Arc<(SlotRecord, UnsafeCell<u32>)>| {
            let (record, contents) = &*shared;
            let Some(borrow) = record.life().try_borrow(generation) else { return false };
            contents.with(|read| {
                assert!(!read.is_null());
            });
            let last = record.life().release_borrow(borrow) == Released::Last;
            if last {
                contents.with_mut(|write| assert!(!write.is_null()));
                recycle(record);
            }
            last
        };
        let others: std::vec::Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || borrower(shared))
            })
            .collect();
        let (record, contents) = &*shared;
        let mut lasts = u32::from(record.life().release_owner() == Released::Last);
        if lasts == 1 {
            contents.with_mut(|write| assert!(!write.is_null()));
            recycle(record);
        }
        for other in others {
            lasts += u32::from(other.join().expect("no panic"));
        }
        assert_eq!(lasts, 1, "one takes the stack back");
        assert_eq!(record.life().state(), LifeState::Parked);
    });
}

/// Red if a borrow does not compare the generation in the same step.
#[test]
fn l2_t8_a_number_of_an_earlier_life_borrows_nothing() {
    model(|| {
        let record = Arc::new(SlotRecord::new());
        hand_out(&record, 1);
        let first = record.life().generation();
        let other = {
            let record = record.clone();
            thread::spawn(move || {
                let borrow = record.life().try_borrow(first)?;
                // Held: neither the owner nor anybody else ends this life.
                assert_eq!(record.life().generation(), first);
                assert_eq!(record.owner().get(), 1);
                if record.life().release_borrow(borrow) == Released::Last {
                    recycle(&record);
                }
                Some(())
            })
        };
        let was_last = record.life().release_owner() == Released::Last;
        if was_last {
            recycle(&record);
            hand_out(&record, 2);
        }
        let borrowed = other.join().expect("no panic").is_some();
        assert!(was_last || borrowed);
    });
}

/// Red if fields are written without the fence before them, or read relaxed, or if the word is not
/// looked at again.
#[test]
fn l2_n9_a_settled_snapshot_is_of_one_life() {
    model(|| {
        let record = Arc::new(SlotRecord::new());
        hand_out(&record, 1);
        let other = {
            let record = record.clone();
            thread::spawn(move || {
                release(&record);
                hand_out(&record, 2);
            })
        };
        let seen = record.snapshot();
        if seen.settled {
            let who = seen.owner.get();
            assert!(who == 1 || who == 2, "held by nobody: {seen:?}");
            assert_eq!(u64::from(seen.account.get()), who, "{seen:?}");
            assert_eq!(u64::from(seen.cpu.get()), who, "{seen:?}");
            let kind = if who == 1 { StackKind::Thread } else { StackKind::Irq };
            assert_eq!(seen.kind, Some(kind), "{seen:?}");
            assert_eq!(seen.generation.get() as u64, who, "{seen:?}");
        }
        other.join().expect("no panic");
    });
}

/// The name of a stack, as overflow handlers and backtraces ask for it. Red if it is put together
/// of two lives.
#[test]
fn l2_b1_a_stacks_name_is_of_one_life() {
    let geometry = Geometry::X86_64;
    let lowest = Arena::lowest_from(Addr::new(0x1000_0000), geometry).expect("room");
    let arena = Arena::new(lowest, 1, geometry).expect("valid");
    model(move || {
        let record = Arc::new(SlotRecord::new());
        hand_out(&record, 1);
        let other = {
            let record = record.clone();
            thread::spawn(move || {
                release(&record);
                hand_out(&record, 2);
            })
        };
        if let Some(stack) = record.stack(&arena, SlotIndex::new(0)) {
            let (kind, cpu) = match stack.owner.get() {
                1 => (StackKind::Thread, None),
                2 => (StackKind::Irq, Some(CpuId::new(2))),
                _ => panic!("the stack of nobody: {stack:?}"),
            };
            assert_eq!((stack.kind, stack.cpu), (kind, cpu), "{stack:?}");
        }
        other.join().expect("no panic");
    });
}

/// Red if `mapped` is raised or read relaxed: the page would be trusted before it is there.
#[test]
fn l2_b2_a_page_that_a_record_calls_mapped_is_there() {
    model(|| {
        let shared = Arc::new((SlotRecord::new(), UnsafeCell::new(0_u32)));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                // The page table entry.
                shared.1.with_mut(|write| assert!(!write.is_null()));
                shared.0.set_mapped_pages(1);
            })
        };
        let (record, page) = &*shared;
        if record.mapped_pages() == 1 {
            page.with(|read| assert!(!read.is_null()));
        }
        other.join().expect("no panic");
    });
}

/// Red if the watermark is reset without the fence, or read relaxed: a sample of the life before
/// would pass as one of this life.
#[test]
fn l2_t13_a_settled_sample_is_of_the_present_life() {
    model(|| {
        let record = Arc::new(SlotRecord::new());
        hand_out(&record, 1);
        record.watermark().sample(Addr::new(0x1000));
        let other = {
            let record = record.clone();
            thread::spawn(move || {
                release(&record);
                hand_out(&record, 2);
            })
        };
        let seen = record.snapshot();
        if seen.settled {
            let expected = if seen.owner.get() == 1 { Some(Addr::new(0x1000)) } else { None };
            assert_eq!(seen.lowest_sample, expected, "{seen:?}");
        }
        other.join().expect("no panic");
        assert_eq!(record.watermark().depth_at_least(Addr::new(0x4000)), ByteSize::ZERO);
    });
}

/// A thread, the list it sleeps in, and the run queue.
struct Scheduler {
    run: RunState,
    /// Whether the thread is in the list, under the list's lock.
    list: Mutex<bool>,
    crowd: Crowd,
    /// How many turns it has in the run queue.
    turns: Mutex<u32>,
    given: Condvar,
    condition: AtomicBool,
}

impl Scheduler {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            run: RunState::new(State::Running),
            list: Mutex::new(false),
            crowd: Crowd::new(),
            turns: Mutex::new(0),
            given: Condvar::new(),
            condition: AtomicBool::new(false),
        })
    }

    /// What `make_ready` does.
    fn make_ready(&self) {
        if self.run.unblock(State::Ready) {
            let mut turns = self.turns.lock().expect("no panic");
            *turns += 1;
            assert_eq!(*turns, 1, "two turns in the run queue");
            self.given.notify_one();
        }
    }

    /// What a waker does: the condition, then `wake_all`.
    fn wake(&self) {
        self.condition.store(true, Ordering::Relaxed);
        if self.crowd.is_empty() {
            return;
        }
        let was_there = {
            let mut list = self.list.lock().expect("no panic");
            core::mem::take(&mut *list).then(|| self.crowd.leave()).is_some()
        };
        if was_there {
            self.make_ready();
        }
    }

    /// What `Thread::kill` does.
    fn kill(&self) {
        self.run.attend(attention::KILLED);
        self.make_ready();
    }

    /// What `WaitQueue::wait` does, with what comes before and after: no turn is left.
    fn sleep(&self, may_be_killed: bool) -> Result<Waited, Interrupted> {
        let ends = if may_be_killed { attention::KILLED } else { 0 };
        let result = sleep::sleep(&self.run, Asleep(self), ends);
        assert_eq!(self.run.get(), State::Running, "it runs");
        assert_eq!(*self.turns.lock().expect("no panic"), 0, "a turn too many");
        result
    }
}

struct Asleep<'a>(&'a Scheduler);

impl Sleeper for Asleep<'_> {
    fn condition(&mut self) -> bool {
        self.0.condition.load(Ordering::Relaxed)
    }

    fn enter(&mut self, state: &RunState) {
        let mut list = self.0.list.lock().expect("no panic");
        state.set(State::Blocked);
        *list = true;
        self.0.crowd.enter();
    }

    fn remove(&mut self) {
        let mut list = self.0.list.lock().expect("no panic");
        if core::mem::take(&mut *list) {
            self.0.crowd.leave();
        }
    }

    /// A sleep that no waker ends is a deadlock, which the model tells.
    fn leave_cpu(&mut self) {
        let mut turns = self.0.turns.lock().expect("no panic");
        while *turns == 0 {
            turns = self.0.given.wait(turns).expect("no panic");
        }
        *turns -= 1;
        self.0.run.set(State::Running);
    }
}

/// Red, as a deadlock, if either fence between storing and looking is not there.
#[test]
fn s1_a_thread_that_is_killed_does_not_sleep_on() {
    model(|| {
        let scheduler = Scheduler::new();
        let killer = {
            let scheduler = scheduler.clone();
            thread::spawn(move || scheduler.kill())
        };
        assert_eq!(scheduler.sleep(true), Err(Interrupted));
        killer.join().expect("no panic");
    });
}

/// Red if the sleeper looks before it is in the list, or if what was woken in the middle takes no
/// turn.
#[test]
fn s1_a_thread_that_is_woken_does_not_sleep_on() {
    model(|| {
        let scheduler = Scheduler::new();
        let waker = {
            let scheduler = scheduler.clone();
            thread::spawn(move || scheduler.wake())
        };
        assert_eq!(scheduler.sleep(false), Ok(Waited::Holds));
        waker.join().expect("no panic");
    });
}

/// A waker and a killer at once give one turn each time. Red if the state is changed from blocked
/// by more than one.
#[test]
fn s1_a_thread_that_is_woken_and_killed_at_once_has_one_turn() {
    model(|| {
        let scheduler = Scheduler::new();
        let others = [Scheduler::wake, Scheduler::kill].map(|what: fn(&Scheduler)| {
            let scheduler = scheduler.clone();
            thread::spawn(move || what(&scheduler))
        });
        let first = scheduler.sleep(true);
        // Killed first: the condition holds soon.
        assert!(first == Ok(Waited::Holds) || scheduler.run.attends(attention::KILLED));
        assert_eq!(scheduler.sleep(false), Ok(Waited::Holds));
        for other in others {
            other.join().expect("no panic");
        }
    });
}
