//! Pools and coroutines against naive models of them, by arbitrary sequences of what can be done.

use kstack_hosted::{
    AddrRange, ByteSize, Coroutine, Erase, ResumeError, Resumed, Stack, StackError, StackPool,
};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::OnceLock;

const STACKS: u32 = 24;

/// What is done to a pool.
#[derive(Clone, Debug)]
enum Step {
    /// A stack, written at this offset from its top with this byte.
    Get { depth: u16, byte: u8 },
    /// The stack with this number, modulo how many there are, goes back.
    Return(usize),
    /// It goes back on another thread.
    ReturnElsewhere(usize),
    /// Memory is short.
    Reclaim(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..16384_u16, 1..=u8::MAX).prop_map(|(depth, byte)| Step::Get { depth, byte }),
        2 => any::<usize>().prop_map(Step::Return),
        1 => any::<usize>().prop_map(Step::ReturnElsewhere),
        1 => (0..STACKS).prop_map(Step::Reclaim),
    ]
}

fn pool(erase: Erase, kib: usize) -> StackPool {
    static POOLS: [OnceLock<StackPool>; 3] = [const { OnceLock::new() }; 3];
    let pool = match (erase, kib) {
        (Erase::Always, 16) => &POOLS[0],
        (_, 16) => &POOLS[1],
        _ => &POOLS[2],
    };
    *pool.get_or_init(|| {
        StackPool::builder()
            .stack_size(ByteSize::kib(kib))
            .max_stacks(STACKS)
            .erase(erase)
            .kept(ByteSize::kib(8))
            .build()
            .expect("a pool")
    })
}

/// Whether every word of a stack reads as zero.
fn is_zero(range: AddrRange) -> bool {
    let mut words = (range.lowest.get()..range.top.get()).step_by(size_of::<usize>());
    // SAFETY: (1) the callers have the stack.
    words.all(|address| unsafe { (address as *const usize).read_volatile() } == 0)
}

fn byte(address: usize) -> u8 {
    // SAFETY: (1) the callers have the stack.
    unsafe { (address as *const u8).read_volatile() }
}

fn run(erase: Erase, kib: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let pool = pool(erase, kib);
    // The model: stacks in use, with what was written where.
    let mut used: Vec<(Stack, usize, u8)> = Vec::new();
    for step in steps {
        match step {
            Step::Get { depth, byte: value } => match pool.stack() {
                Ok(stack) => {
                    let range = stack.range();
                    let apart = |(other, ..): &(Stack, usize, u8)| {
                        let other = other.range();
                        other.top < range.lowest || range.top < other.lowest
                    };
                    prop_assert!(used.iter().all(apart));
                    prop_assert_eq!(range.size(), ByteSize::kib(kib));
                    prop_assert!(erase != Erase::Always || is_zero(range));
                    // All of a stack, whatever its size.
                    let address = range.top.get() - 1 - usize::from(depth) * (kib / 16);
                    // SAFETY: (1) the stack is this test's.
                    unsafe { (address as *mut u8).write_volatile(value) };
                    used.push((stack, address, value));
                }
                Err(error) => {
                    prop_assert_eq!(error, StackError::AllInUse);
                    prop_assert_eq!(used.len(), STACKS as usize);
                }
            },
            Step::Return(index) if !used.is_empty() => {
                drop(used.swap_remove(index % used.len()));
            }
            Step::ReturnElsewhere(index) if !used.is_empty() => {
                let (stack, ..) = used.swap_remove(index % used.len());
                // That thread's cache goes to the depot with it, from where all may have the stack.
                std::thread::spawn(move || drop(stack)).join().expect("it ends well");
            }
            Step::Reclaim(max) => {
                let before = pool.census();
                let reclaimed = pool.reclaim(max);
                prop_assert!(reclaimed <= max);
                let after = pool.census();
                prop_assert_eq!(after.parked + reclaimed, before.parked);
                prop_assert_eq!(after.free, before.free + reclaimed);
            }
            _ => {}
        }
        prop_assert!(used.iter().all(|&(_, address, value)| byte(address) == value));
        let census = pool.census();
        prop_assert_eq!(census.live as usize, used.len());
        prop_assert_eq!(census.free + census.parked + census.live, STACKS);
        prop_assert_eq!(
            census.mapped_pages,
            u64::from(census.parked + census.live) * (kib / 4) as u64
        );
    }
    Ok(())
}

/// What a coroutine of the second model does, one after the other.
#[derive(Clone, Debug)]
enum Act {
    Yield(u32),
    /// It resumes one of its own with this number of yields, and yields what that yields.
    Nest(u8),
    /// The same with one that borrows.
    Lend(u8),
    Return,
    Panic,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => any::<u32>().prop_map(Act::Yield),
        3 => (0..5_u8).prop_map(Act::Nest),
        3 => (0..5_u8).prop_map(Act::Lend),
        1 => Just(Act::Return),
        1 => Just(Act::Panic),
    ]
}

/// What its resumer sees.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Yielded(u32),
    Returned(usize),
    Panicked,
}

/// The model: what must be seen, in order, up to the end.
fn expected(acts: &[Act]) -> VecDeque<Seen> {
    let mut seen = VecDeque::new();
    for act in acts {
        match act {
            Act::Yield(value) => seen.push_back(Seen::Yielded(*value)),
            Act::Nest(count) | Act::Lend(count) => {
                seen.extend((0..u32::from(*count)).map(Seen::Yielded))
            }
            Act::Return => break,
            Act::Panic => {
                seen.push_back(Seen::Panicked);
                return seen;
            }
        }
    }
    let yields = seen.len();
    seen.push_back(Seen::Returned(yields));
    seen
}

/// Counts how many are there.
struct Alive(Rc<RefCell<i32>>);

impl Alive {
    fn new(count: &Rc<RefCell<i32>>) -> Self {
        *count.borrow_mut() += 1;
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        *self.0.borrow_mut() -= 1;
    }
}

type Acting = Coroutine<usize, u32, usize>;

fn acting(acts: Vec<Act>, alive: &Rc<RefCell<i32>>) -> Acting {
    let captured = Alive::new(alive);
    Coroutine::new(move |yielder, first| {
        let alive = captured.0.clone();
        let _local = Alive::new(&alive);
        let mut resumptions = first;
        for act in acts {
            let _in_loop = Alive::new(&alive);
            match act {
                Act::Yield(value) => resumptions += yielder.suspend(value),
                Act::Nest(count) => {
                    let mut inner = Coroutine::<(), u32, ()>::new(move |yielder, ()| {
                        (0..u32::from(count)).for_each(|value| yielder.suspend(value));
                    })
                    .expect("a stack");
                    while let Some(value) = inner.resume(()).expect("sound").yielded() {
                        resumptions += yielder.suspend(value);
                    }
                }
                Act::Lend(count) => {
                    let (local, sum) = (Alive::new(&alive), Cell::new(0));
                    let lent = Coroutine::<(), u32, ()>::scope(
                        StackPool::shared().expect("a pool"),
                        |inner, ()| {
                            let _inner = Alive::new(&local.0);
                            for value in 0..u32::from(count) {
                                sum.set(sum.get() + 1);
                                inner.suspend(value);
                            }
                        },
                        // It waits in its scope, and may be dropped there; the last value is not
                        // waited for, so that the inner one is unwound.
                        |mut lent| {
                            for _ in 0..count {
                                let value = lent.resume(()).expect("sound").yielded();
                                resumptions += yielder.suspend(value.expect("it yields"));
                            }
                        },
                    );
                    lent.expect("a stack");
                    assert_eq!(sum.get(), u32::from(count));
                }
                Act::Return => break,
                Act::Panic => resume_unwind(Box::new(17_u8)),
            }
        }
        drop(captured);
        resumptions
    })
    .expect("a stack")
}

/// Resumes it. The first input counts for nothing, each further one for one resumption.
fn resumed(coroutine: &mut Acting, times: &mut usize) -> Result<Seen, ResumeError> {
    let input = usize::from(*times > 0);
    *times += 1;
    match catch_unwind(AssertUnwindSafe(|| coroutine.resume(input))) {
        Ok(Ok(Resumed::Yielded(value))) => Ok(Seen::Yielded(value)),
        Ok(Ok(Resumed::Returned(value))) => Ok(Seen::Returned(value)),
        Ok(Err(error)) => Err(error),
        Err(panic) => {
            assert_eq!(panic.downcast_ref(), Some(&17_u8));
            Ok(Seen::Panicked)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn n5_a_pool_that_erases_is_as_its_model(steps in prop::collection::vec(step(), 1..80)) {
        run(Erase::Always, 16, steps)?;
    }

    #[test]
    fn n5_a_pool_that_does_not_erase_is_as_its_model(steps in prop::collection::vec(step(), 1..80)) {
        run(Erase::Never, 16, steps)?;
    }

    /// Beyond what the core keeps dirtiness of.
    #[test]
    fn n5_a_pool_of_large_stacks_is_as_its_model(steps in prop::collection::vec(step(), 1..40)) {
        run(Erase::Always, 256, steps)?;
    }

    /// Several coroutines, resumed in any order, each with its own acts; and dropped wherever they
    /// are then.
    #[test]
    fn n5_coroutines_are_as_their_model(
        all in prop::collection::vec(prop::collection::vec(act(), 0..12), 1..6),
        order in prop::collection::vec(any::<usize>(), 0..120),
    ) {
        let alive = Rc::new(RefCell::new(0));
        let mut coroutines: Vec<_> = all
            .into_iter()
            .map(|acts| (expected(&acts), acting(acts, &alive), 0_usize))
            .collect();
        for index in order {
            let index = index % coroutines.len();
            let (expected, coroutine, times) = &mut coroutines[index];
            match (expected.pop_front(), resumed(coroutine, times)) {
                (Some(expected), Ok(seen)) => prop_assert_eq!(expected, seen),
                (None, Err(ResumeError::Ended)) => prop_assert!(coroutine.has_ended()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        drop(coroutines);
        prop_assert_eq!(*alive.borrow(), 0);
    }
}
