//! Coroutines that borrow from their caller's stack: over when their scope is, whatever happens.

#[expect(dead_code, reason = "other tests use the rest of it")]
mod child;

use child::in_child;
use kstack_hosted::{ByteSize, Coroutine, Erase, ResumeError, Resumed, StackError, StackPool};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

/// A pool of this test's own.
fn pool() -> StackPool {
    StackPool::builder().stack_size(ByteSize::kib(32)).max_stacks(8).build().expect("a pool")
}

/// Counts its drops where it was borrowed from.
struct Counts<'c>(&'c Cell<u32>);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn n5_a_scoped_coroutine_borrows_what_its_caller_has() {
    let pool = pool();
    let words = vec!["a".to_owned(), "stack".to_owned(), "lent".to_owned()];
    let mut seen = Vec::new();
    let lengths = Coroutine::scope(
        pool,
        |yielder, mut add: &usize| {
            for word in &words {
                seen.push(word.as_str());
                add = yielder.suspend(word.len() + add);
            }
            *add
        },
        |mut lent| {
            assert!(!lent.has_ended() && lent.stack().is_some() && lent.id() > 0);
            let mut lengths = Vec::new();
            let end = loop {
                match lent.resume(&10).expect("sound") {
                    Resumed::Yielded(length) => lengths.push(length),
                    Resumed::Returned(end) => break end,
                }
            };
            assert!(matches!(lent.resume(&1), Err(ResumeError::Ended)));
            assert!(lent.has_ended() && lent.depth() == ByteSize::ZERO);
            (lengths, end)
        },
    );
    assert_eq!(lengths.expect("a stack"), (vec![11, 15, 14], 10));
    assert_eq!(seen, ["a", "stack", "lent"]);
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_a_scoped_coroutine_says_of_itself_what_others_do() {
    let pool = pool();
    // Two, so that neither is known by a number that any has.
    let inner = |_: &_, ()| ();
    let [first, second] = [(); 2].map(|()| {
        let lent = |mut lent: kstack_hosted::Scoped<'_, (), (), ()>| {
            let (id, stack) = (lent.id(), lent.stack().expect("it waits"));
            assert!(pool.range().contains(stack.lowest) && stack.size() == ByteSize::kib(32));
            assert!(lent.depth() > ByteSize::ZERO && lent.depth() < ByteSize::new(1024));
            assert_eq!(format!("{lent:?}"), format!("Coroutine({id} on {stack:?})"));
            lent.resume(()).expect("sound");
            assert!(lent.stack().is_none() && lent.id() == id);
            assert_eq!(format!("{lent:?}"), format!("Coroutine({id}, ended)"));
            id
        };
        Coroutine::<(), (), ()>::scope(pool, inner, lent).expect("a stack")
    });
    assert!(first < second);
}

/// What it had at its stack's top is there still, and is no coroutine any more.
#[test]
fn n5_a_scope_whose_coroutine_has_returned_is_over_also_where_stacks_are_not_erased() {
    let builder = StackPool::builder().max_stacks(2).erase(Erase::Never);
    let pool = builder.build().expect("a pool");
    for _ in 0..3 {
        let end = Coroutine::<u32, u32, u32>::scope(
            pool,
            |yielder, add| yielder.suspend(add + 1) + add,
            |mut lent| {
                assert_eq!(lent.resume(1).expect("sound"), Resumed::Yielded(2));
                lent.resume(3).expect("sound").returned()
            },
        );
        assert_eq!(end, Ok(Some(4)));
    }
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_a_scoped_coroutine_that_waits_is_unwound_with_its_scope() {
    let (pool, dropped) = (pool(), Cell::new(0));
    let captured = Counts(&dropped);
    let yielded = Coroutine::scope(
        pool,
        |yielder, ()| {
            let _captured = captured;
            let _local = Counts(&dropped);
            yielder.suspend(7);
            dropped.set(100);
        },
        |mut lent| lent.resume(()).expect("sound").yielded(),
    );
    assert_eq!((yielded.expect("a stack"), dropped.get()), (Some(7), 2));
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_a_scoped_coroutine_that_never_ran_drops_its_closure() {
    let (pool, dropped) = (pool(), Cell::new(0));
    let captured = Counts(&dropped);
    let body = |_: &_, ()| drop(captured);
    Coroutine::<(), (), ()>::scope(pool, body, |lent| assert!(!lent.has_ended())).expect("a stack");
    assert_eq!((dropped.get(), pool.census().live), (1, 0));
}

#[test]
fn n5_a_scoped_coroutine_is_unwound_by_a_panic_of_what_it_is_lent_to() {
    let (pool, dropped) = (pool(), Cell::new(0));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        Coroutine::scope(
            pool,
            |yielder, ()| {
                let _local = Counts(&dropped);
                yielder.suspend(());
            },
            |mut lent| {
                lent.resume(()).expect("sound");
                resume_unwind(Box::new("the borrower's"));
            },
        )
    }));
    assert_eq!(panic.expect_err("it panics").downcast_ref(), Some(&"the borrower's"));
    assert_eq!((dropped.get(), pool.census().live), (1, 0));
    assert!(!std::thread::panicking());
}

#[test]
fn n5_panics_of_a_scoped_body_and_of_its_destructors_go_through() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            resume_unwind(Box::new("the destructor's"));
        }
    }
    let pool = pool();
    let panic = catch_unwind(|| {
        Coroutine::<(), (), ()>::scope(
            pool,
            |_, ()| resume_unwind(Box::new("the body's")),
            |mut lent| drop(lent.resume(())),
        )
    });
    assert_eq!(panic.expect_err("it panics").downcast_ref(), Some(&"the body's"));
    // `Panics` unwinds while the body is unwound: two panics at once are the end of a process, so
    // the body catches the first.
    let panic = catch_unwind(|| {
        Coroutine::scope(
            pool,
            |yielder, ()| {
                let unwound = catch_unwind(AssertUnwindSafe(|| yielder.suspend(())));
                let _panics = Panics;
                drop(unwound);
            },
            |mut lent| drop(lent.resume(())),
        )
    });
    assert_eq!(panic.expect_err("it panics").downcast_ref(), Some(&"the destructor's"));
    assert_eq!(pool.census().live, 0);
}

/// The reason for the scope: threads of the body's that borrow through it from the caller.
#[test]
fn n5_threads_of_a_scoped_body_are_waited_for_before_what_they_borrow_goes() {
    let (pool, counter, go) = (pool(), AtomicU32::new(0), AtomicU32::new(0));
    Coroutine::scope(
        pool,
        |yielder, ()| {
            let on_its_stack = AtomicU32::new(1);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    while go.load(Ordering::Acquire) == 0 {
                        std::thread::yield_now();
                    }
                    for _ in 0..1000 {
                        counter.fetch_add(on_its_stack.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                });
                yielder.suspend(());
            });
        },
        |mut lent| {
            lent.resume(()).expect("sound");
            go.store(1, Ordering::Release);
        },
    )
    .expect("a stack");
    assert_eq!(counter.load(Ordering::Relaxed), 1000);
}

#[test]
fn n5_scopes_nest_and_coroutines_in_them_take_turns() {
    let (pool, order) = (pool(), RefCell::new(Vec::new()));
    let note = |what: &str, count: u32| order.borrow_mut().push(format!("{what}{count}"));
    Coroutine::<(), (), ()>::scope(
        pool,
        |yielder, ()| {
            for count in 0..3 {
                note("outer", count);
                yielder.suspend(());
            }
        },
        |mut outer| {
            Coroutine::<(), (), ()>::scope(
                pool,
                |yielder, ()| {
                    for count in 0..3 {
                        note("inner", count);
                        // The other scope's, from this one's stack.
                        outer.resume(()).expect("sound");
                        yielder.suspend(());
                    }
                },
                |mut inner| {
                    for _ in 0..2 {
                        inner.resume(()).expect("sound");
                    }
                },
            )
            .expect("a stack");
            outer.resume(()).expect("sound");
        },
    )
    .expect("a stack");
    assert_eq!(*order.borrow(), ["inner0", "outer0", "inner1", "outer1", "outer2"]);
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_a_scope_in_a_coroutine_is_over_when_that_is_dropped() {
    let pool = pool();
    let held = std::rc::Rc::new(Cell::new(0));
    let count = held.clone();
    let mut outer = Coroutine::<(), (), ()>::on(pool, move |yielder, ()| {
        Coroutine::<(), (), ()>::scope(
            pool,
            |inner, ()| {
                let _local = Counts(&count);
                inner.suspend(());
            },
            |mut lent| {
                lent.resume(()).expect("sound");
                yielder.suspend(());
                unreachable!("it is dropped");
            },
        )
        .expect("a stack");
    })
    .expect("a stack");
    outer.resume(()).expect("sound");
    assert_eq!((held.get(), pool.census().live), (0, 2));
    drop(outer);
    assert_eq!((held.get(), pool.census().live), (1, 0));
}

#[test]
fn n5_a_scope_says_that_there_is_no_stack_and_the_body_goes() {
    let (pool, dropped) = (pool(), Cell::new(0));
    let all: Vec<_> = (0..8).map(|_| pool.stack().expect("a stack")).collect();
    let captured = Counts(&dropped);
    let lent = Coroutine::<(), (), ()>::scope(
        pool,
        move |_, ()| drop(captured),
        |_| unreachable!("there is none"),
    );
    assert_eq!((lent.err(), dropped.get()), (Some(StackError::AllInUse), 1));
    drop(all);
}

#[test]
fn n5_a_scoped_coroutine_that_refuses_to_end_ends_the_process() {
    in_child("n5_a_scoped_coroutine_that_refuses_to_end_ends_the_process", || {
        let done = Coroutine::scope(
            pool(),
            |yielder, ()| {
                loop {
                    let _ignored = catch_unwind(AssertUnwindSafe(|| yielder.suspend(())));
                }
            },
            |mut lent| {
                let _: Resumed<(), ()> = lent.resume(()).expect("sound");
            },
        );
        done.expect("a stack");
        std::process::exit(1);
    })
    .dies_of(libc::SIGABRT, "refuses to end with its scope");
}

/// A value that it yields instead of ending panics when it is dropped: that panic must not leave
/// the scope with the coroutine still waiting.
#[test]
fn n5_no_panic_leaves_a_scope_before_its_coroutine_is_over() {
    struct Panics(bool);
    impl Drop for Panics {
        fn drop(&mut self) {
            if self.0 {
                resume_unwind(Box::new("a value's"));
            }
        }
    }
    in_child("n5_no_panic_leaves_a_scope_before_its_coroutine_is_over", || {
        let caught = catch_unwind(|| {
            Coroutine::scope(
                pool(),
                |yielder, ()| {
                    let first = catch_unwind(AssertUnwindSafe(|| yielder.suspend(Panics(false))));
                    assert!(first.is_err());
                    yielder.suspend(Panics(true));
                },
                |mut lent| drop(lent.resume(())),
            )
        });
        drop(caught);
        std::process::exit(1);
    })
    .dies_of(libc::SIGABRT, "refuses to end with its scope");
}
