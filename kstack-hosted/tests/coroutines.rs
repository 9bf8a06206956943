//! Coroutines: what goes in and out, panics, drops, threads, backtraces.

use kstack_hosted::{ByteSize, Coroutine, Movable, ResumeError, Resumed, StackError, StackPool};
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};

/// A pool of this test's own.
fn pool(kib: usize) -> StackPool {
    StackPool::builder().stack_size(ByteSize::kib(kib)).max_stacks(64).build().expect("a pool")
}

/// Counts its drops.
struct Counted(Arc<()>);

#[test]
fn n5_values_go_in_and_out_until_the_coroutine_returns() {
    let mut coroutine = Coroutine::new(|yielder, first: String| {
        let second = yielder.suspend(first.len());
        let third = yielder.suspend(second.len());
        [first, second, third].concat()
    })
    .expect("a stack");
    assert_eq!(coroutine.resume("a".to_owned()).expect("sound"), Resumed::Yielded(1));
    assert!(!coroutine.has_ended() && coroutine.depth() > ByteSize::ZERO);
    assert_eq!(coroutine.resume("bc".to_owned()).expect("sound"), Resumed::Yielded(2));
    let end = coroutine.resume("def".to_owned()).expect("sound");
    assert_eq!(end, Resumed::Returned("abcdef".to_owned()));
    assert!(coroutine.has_ended() && coroutine.stack().is_none());
    assert!(matches!(coroutine.resume(String::new()), Err(ResumeError::Ended)));
}

#[test]
fn n5_a_coroutine_prints_as_its_number_and_its_stack_and_a_yielder_as_what_it_is() {
    let make = || Coroutine::new(|yielder, ()| format!("{yielder:?}")).expect("a stack");
    let (mut one, other): (Coroutine<(), (), _>, Coroutine<(), (), _>) = (make(), make());
    assert_ne!(one.id(), other.id());
    let stack = one.stack().expect("it waits");
    assert_eq!(format!("{one:?}"), format!("Coroutine({} on {stack:?})", one.id()));
    assert_eq!(one.resume(()).expect("sound").returned().as_deref(), Some("Yielder"));
    assert_eq!(format!("{one:?}"), format!("Coroutine({}, ended)", one.id()));
}

#[test]
fn n5_what_comes_out_is_a_yielded_value_or_the_returned_one() {
    let (yielded, returned) = (Resumed::<_, u8>::Yielded('y'), Resumed::<char, _>::Returned(1));
    assert_eq!((yielded.yielded(), yielded.returned()), (Some('y'), None));
    assert_eq!((returned.yielded(), returned.returned()), (None, Some(1)));
}

#[test]
fn n5_values_of_no_size_and_of_a_page_pass_alike() {
    let mut nothing = Coroutine::new(|yielder, ()| yielder.suspend(())).expect("a stack");
    assert_eq!(nothing.resume(()).expect("sound"), Resumed::Yielded(()));
    assert_eq!(nothing.resume(()).expect("sound"), Resumed::Returned(()));
    let mut much = Coroutine::on(pool(128), |yielder, mut page: [u8; 4096]| {
        let next = page[9] + 1;
        page.fill(next);
        page = yielder.suspend(page);
        let next = page[99] + 2;
        page.fill(next);
        page
    })
    .expect("a stack");
    assert_eq!(much.resume([1; 4096]).expect("sound").yielded(), Some([2; 4096]));
    assert_eq!(much.resume([3; 4096]).expect("sound").returned(), Some([5; 4096]));
}

#[test]
fn n5_floats_and_callee_saved_registers_survive_a_switch() {
    // Enough live values on both sides that the compiler must keep some in every register that a
    // callee saves.
    fn mix(seed: u64, mut through: impl FnMut(u64) -> u64) -> (u64, f64) {
        let mut words: [u64; 16] = std::array::from_fn(|i| seed.wrapping_mul(i as u64 + 3));
        let mut floats: [f64; 16] = std::array::from_fn(|i| seed as f64 / (i as f64 + 1.5));
        for round in 0..50 {
            let got = through(words[round % 16]);
            for i in 0..16 {
                words[i] = words[i].rotate_left(5) ^ got;
                floats[i] = floats[i] * 1.25 - words[i] as f64 / 1e9;
            }
        }
        (words.iter().fold(0, |sum, word| sum ^ word), floats.iter().sum())
    }
    let expected = (mix(7, |x| x ^ 1), mix(11, |x| x ^ 1));
    let mut inner =
        Coroutine::new(|yielder, x: u64| mix(7, |word| yielder.suspend(word ^ x) ^ word ^ 1))
            .expect("a stack");
    let mut answer = None;
    inner.resume(0).expect("sound");
    let outer = mix(11, |word| {
        match inner.resume(0) {
            Ok(Resumed::Returned(mixed)) => answer = Some(mixed),
            Ok(Resumed::Yielded(_)) | Err(ResumeError::Ended) => {}
            Err(error) => panic!("{error}"),
        }
        word ^ 1
    });
    assert_eq!((answer.expect("it has ended"), outer), expected);
}

#[test]
fn n5_a_panic_goes_through_to_the_resumer_with_its_payload() {
    let held = Arc::new(());
    let counted = Counted(held.clone());
    let mut coroutine = Coroutine::new(move |yielder, ()| {
        let _held = counted;
        yielder.suspend(1);
        resume_unwind(Box::new("what happened"));
    })
    .expect("a stack");
    let _: Resumed<i32, ()> = coroutine.resume(()).expect("sound");
    let panic = catch_unwind(AssertUnwindSafe(|| coroutine.resume(()))).expect_err("it panics");
    assert_eq!(panic.downcast_ref(), Some(&"what happened"));
    assert!(coroutine.has_ended());
    assert_eq!(Arc::strong_count(&held), 1, "the destructors have run");
    assert!(matches!(coroutine.resume(()), Err(ResumeError::Ended)));
    assert!(!std::thread::panicking());
}

#[test]
fn n5_a_panic_goes_through_a_chain_of_coroutines() {
    let mut outer = Coroutine::<(), (), ()>::new(|_, ()| {
        let mut inner = Coroutine::<(), (), ()>::new(|_, ()| {
            resume_unwind(Box::new(17_u8));
        })
        .expect("a stack");
        inner.resume(()).expect("sound");
    })
    .expect("a stack");
    let panic = catch_unwind(AssertUnwindSafe(|| outer.resume(()))).expect_err("it panics");
    assert_eq!(panic.downcast_ref(), Some(&17_u8));
}

#[test]
fn n5_dropped_while_it_waits_it_is_unwound_with_all_it_resumed() {
    let held = Arc::new(());
    let (a, b) = (Counted(held.clone()), Counted(held.clone()));
    let mut outer = Coroutine::new(move |yielder, ()| {
        let _a = a;
        let mut inner = Coroutine::new(move |yielder, ()| {
            let _b = b;
            yielder.suspend(());
        })
        .expect("a stack");
        inner.resume(()).expect("sound");
        yielder.suspend(());
        unreachable!("it is never resumed again");
    })
    .expect("a stack");
    let _: Resumed<(), ()> = outer.resume(()).expect("sound");
    assert_eq!(Arc::strong_count(&held), 3);
    drop(outer);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn n5_dropped_before_it_ran_only_its_closure_is() {
    let pool = pool(16);
    let held = Arc::new(());
    let counted = Counted(held.clone());
    let never = Coroutine::<(), (), ()>::on(pool, move |_, ()| {
        drop(counted.0);
        unreachable!("it never runs");
    })
    .expect("a stack");
    assert_eq!((Arc::strong_count(&held), pool.census().live), (2, 1));
    drop(never);
    assert_eq!((Arc::strong_count(&held), pool.census().live), (1, 0));
}

#[test]
fn n5_dropped_during_a_panic_of_its_owner_it_is_unwound_likewise() {
    let held = Arc::new(());
    let counted = Counted(held.clone());
    let panic = catch_unwind(move || {
        let mut coroutine = Coroutine::new(move |yielder, ()| {
            let _held = counted;
            yielder.suspend(());
        })
        .expect("a stack");
        coroutine.resume(()).expect("sound");
        resume_unwind(Box::new("the owner's"));
    });
    assert_eq!(panic.expect_err("it panics").downcast_ref(), Some(&"the owner's"));
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(!std::thread::panicking());
}

#[test]
fn n5_a_coroutine_that_refuses_to_be_unwound_is_leaked_and_one_that_returns_instead_is_not() {
    let pool = pool(16);
    let mut stubborn = Coroutine::on(pool, |yielder, ()| {
        loop {
            let _ignored = catch_unwind(AssertUnwindSafe(|| yielder.suspend(())));
        }
    })
    .expect("a stack");
    let _: Resumed<(), ()> = stubborn.resume(()).expect("sound");
    drop(stubborn);
    assert_eq!(pool.census().live, 1, "its stack is never used again");
    let mut polite = Coroutine::on(pool, |yielder, ()| {
        let panic = catch_unwind(AssertUnwindSafe(|| yielder.suspend(())));
        panic.is_err()
    })
    .expect("a stack");
    polite.resume(()).expect("sound");
    drop(polite);
    assert_eq!(pool.census().live, 1);
}

#[test]
fn n5_a_forgotten_coroutine_leaks_and_its_stack_is_not_given_out_again() {
    let pool = pool(16);
    let held = Arc::new(());
    let counted = Counted(held.clone());
    let mut forgotten = Coroutine::on(pool, move |yielder, ()| {
        let _held = counted;
        yielder.suspend(());
    })
    .expect("a stack");
    forgotten.resume(()).expect("sound");
    let stack = forgotten.stack().expect("it waits");
    std::mem::forget(forgotten);
    for _ in 0..100 {
        let other = pool.stack().expect("a stack");
        assert_ne!(other.range(), stack);
    }
    assert_eq!((Arc::strong_count(&held), pool.census().live), (2, 1));
}

#[test]
fn n5_swapped_coroutines_keep_their_own_stacks() {
    let make = |name: &'static str| {
        let mut made = Coroutine::new(move |yielder, ()| {
            for count in 0.. {
                yielder.suspend((name, count));
            }
        })
        .expect("a stack");
        let _: Resumed<_, ()> = made.resume(()).expect("sound");
        made
    };
    let (mut a, mut b) = (make("a"), make("b"));
    for count in 1..10 {
        std::mem::swap(&mut a, &mut b);
        let names = if count % 2 == 1 { ("b", "a") } else { ("a", "b") };
        assert_eq!(a.resume(()).expect("sound").yielded(), Some((names.0, count)));
        assert_eq!(b.resume(()).expect("sound").yielded(), Some((names.1, count)));
    }
    // Boxed, moved to the heap and dropped in the other order.
    let boxed = Box::new(a);
    drop(b);
    drop(boxed);
}

#[test]
fn n5_a_yielder_that_got_out_suspends_nothing_but_its_running_coroutine() {
    thread_local! {
        static SMUGGLED: RefCell<Option<&'static kstack_hosted::Yielder<(), ()>>> =
            const { RefCell::new(None) };
    }
    let smuggled = || SMUGGLED.with(|cell| *cell.borrow()).expect("it is there");
    let mut outer = Coroutine::<(), (), ()>::new(move |yielder, ()| {
        // SAFETY: (1) what crates with scoped thread-local values do in safe functions: it is used
        // only while `outer` lives.
        let yielder: &'static kstack_hosted::Yielder<(), ()> =
            unsafe { &*std::ptr::from_ref(yielder) };
        SMUGGLED.with(|cell| *cell.borrow_mut() = Some(yielder));
        let mut inner =
            Coroutine::<(), (), ()>::new(move |_, ()| smuggled().suspend(())).expect("a stack");
        let panic = catch_unwind(AssertUnwindSafe(|| inner.resume(()))).expect_err("it panics");
        assert!(panic.downcast_ref::<&str>().expect("text").contains("only by its own body"));
        yielder.suspend(());
    })
    .expect("a stack");
    outer.resume(()).expect("sound");
    assert!(catch_unwind(|| smuggled().suspend(())).is_err(), "from outside");
    outer.resume(()).expect("sound");
    assert!(outer.has_ended());
}

#[test]
fn n5_movable_coroutines_pass_from_thread_to_thread() {
    type Walker = Coroutine<u64, u64, u64, Movable>;
    let pool = pool(32);
    let make = |start: u64| -> Walker {
        // SAFETY: (1) numbers are all that is on its stack; (2) no thread-local value is used.
        unsafe {
            Coroutine::movable(pool, move |yielder, mut step: u64| {
                let mut at = start;
                while step != 0 {
                    at += step;
                    step = yielder.suspend(at);
                }
                at
            })
        }
        .expect("a stack")
    };
    const THREADS: usize = 4;
    const ROUNDS: u64 = 200;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::channel::<Option<(Walker, u64)>>()).unzip();
    let (done, results) = mpsc::channel();
    let threads: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(index, receiver)| {
            let next = senders[(index + 1) % THREADS].clone();
            let done = done.clone();
            std::thread::spawn(move || {
                while let Ok(Some((mut walker, round))) = receiver.recv() {
                    if round == ROUNDS {
                        let end = walker.resume(0).expect("sound").returned();
                        done.send(end.expect("it returns")).expect("waited for");
                    } else {
                        walker.resume(1).expect("sound");
                        next.send(Some((walker, round + 1))).expect("it listens");
                    }
                }
            })
        })
        .collect();
    for start in 0..16 {
        senders[start as usize % THREADS].send(Some((make(start * 1000), 0))).expect("they listen");
    }
    let mut ends: Vec<_> = (0..16).map(|_| results.recv().expect("all come")).collect();
    ends.sort_unstable();
    assert_eq!(ends, (0..16).map(|start| start * 1000 + ROUNDS).collect::<Vec<_>>());
    assert_eq!(pool.census().live, 0);
    for (sender, thread) in senders.into_iter().zip(threads) {
        sender.send(None).expect("it listens");
        thread.join().expect("it ends well");
    }
}

#[test]
fn n5_a_coroutine_dropped_on_another_thread_is_unwound_there() {
    let pool = pool(32);
    let held = Arc::new(());
    let counted = Counted(held.clone());
    // SAFETY: (1) a counter is all that is on its stack; (2) no thread-local value is used.
    let mut coroutine: Coroutine<(), (), (), Movable> = unsafe {
        Coroutine::movable(pool, move |yielder, ()| {
            let _held = counted;
            yielder.suspend(());
        })
    }
    .expect("a stack");
    coroutine.resume(()).expect("sound");
    std::thread::spawn(move || drop(coroutine)).join().expect("it ends well");
    assert_eq!((Arc::strong_count(&held), pool.census().live), (1, 0));
}

#[inline(never)]
fn innermost_function_of_the_test() -> String {
    Backtrace::force_capture().to_string()
}

#[inline(never)]
fn resuming_function_of_the_test(coroutine: &mut Coroutine<(), (), String>) -> String {
    let text = coroutine.resume(()).expect("sound").returned().expect("it returns");
    std::hint::black_box(text)
}

#[inline(never)]
fn body_of_the_test() -> String {
    std::hint::black_box(innermost_function_of_the_test())
}

/// Of two stacks of a pool one lies above the other, and both above or below the thread's: walks go
/// up and down.
#[test]
fn n5_backtraces_cross_stacks_that_lie_above_and_below_their_resumers() {
    let pool = pool(128);
    let (first, second) = (pool.stack().expect("a stack"), pool.stack().expect("a stack"));
    let first_is_lower = first.range().top < second.range().top;
    // Last back, first out: in the first round the outer coroutine gets `second`, in the second
    // round the other.
    for round in 0..2 {
        drop([pool.stack().expect("a stack")]);
        let order = if round == 0 { [0, 1] } else { [1, 0] };
        let mut spare: Vec<_> = Vec::new();
        if order[0] == 1 {
            spare.push(pool.stack().expect("a stack"));
        }
        let mut outer = Coroutine::on(pool, move |_, ()| {
            drop(spare);
            let mut inner = Coroutine::on(pool, |_, ()| body_of_the_test()).expect("a stack");
            resuming_function_of_the_test(&mut inner)
        })
        .expect("a stack");
        let text = resuming_function_of_the_test(&mut outer);
        for function in [
            "innermost_function_of_the_test",
            "body_of_the_test",
            "resuming_function_of_the_test",
            "n5_backtraces_cross_stacks_that_lie_above_and_below_their_resumers",
        ] {
            assert!(text.contains(function), "no {function} in\n{text}");
        }
        assert_eq!(text.matches("resuming_function_of_the_test").count(), 2, "{text}");
    }
    assert!(first_is_lower || first.range() != second.range());
}

#[test]
fn n5_tiny_stacks_run_small_bodies_and_refuse_large_closures() {
    let tiny = pool(4);
    assert_eq!(tiny.geometry().body(), ByteSize::PAGE);
    let mut small =
        Coroutine::on(tiny, |yielder, n: u32| yielder.suspend(n + 1) + n).expect("a stack");
    assert_eq!(small.resume(1).expect("sound"), Resumed::Yielded(2));
    assert_eq!(small.resume(5).expect("sound"), Resumed::Returned(6));
    let large = [0_u8; 3072];
    let refused = Coroutine::<(), (), u8>::on(tiny, move |_, ()| large[17]);
    assert_eq!(refused.expect_err("too large"), StackError::ClosureTooLarge);
    assert_eq!(tiny.census().live, 0);
}

#[repr(align(256))]
struct Aligned(u8);

#[test]
fn n5_closures_and_values_keep_their_alignment() {
    let check = |value: &Aligned| {
        assert_eq!(std::ptr::from_ref(value) as usize % 256, 0);
        value.0
    };
    let captured = Aligned(3);
    let mut coroutine = Coroutine::new(move |yielder, input: Aligned| {
        let sum = check(&captured) + check(&input);
        check(&yielder.suspend(Aligned(sum)))
    })
    .expect("a stack");
    assert_eq!(check(&coroutine.resume(Aligned(4)).expect("sound").yielded().expect("yields")), 7);
    assert_eq!(coroutine.resume(Aligned(9)).expect("sound").returned(), Some(9));
}

#[test]
fn n5_coroutines_run_and_go_in_destructors_of_thread_local_values() {
    struct Last(RefCell<Option<Coroutine<(), (), ()>>>, mpsc::Sender<u32>);
    impl Drop for Last {
        fn drop(&mut self) {
            let mut new =
                Coroutine::new(|yielder, x: u32| yielder.suspend(x + 1) + x).expect("a stack");
            let first = new.resume(1).expect("sound").yielded();
            let second = new.resume(40).expect("sound").returned();
            drop(self.0.take());
            self.1.send(first.unwrap_or(0) + second.unwrap_or(0)).expect("waited for");
        }
    }
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let (sender, receiver) = mpsc::channel();
    let held = Rc::new(());
    let thread = std::thread::spawn(move || {
        let held = Arc::new(());
        let counted = Counted(held.clone());
        LAST.with(|last| {
            let mut waiting = Coroutine::new(move |yielder, ()| {
                let _held = counted;
                yielder.suspend(());
            })
            .expect("a stack");
            waiting.resume(()).expect("sound");
            *last.borrow_mut() = Some(Last(RefCell::new(Some(waiting)), sender));
        });
        held
    });
    let theirs = thread.join().expect("it ends well");
    assert_eq!(receiver.recv().expect("sent"), 2 + 41);
    assert_eq!(Arc::strong_count(&theirs), 1);
    assert_eq!(Rc::strong_count(&held), 1);
}
