//! What the types refuse: each item shows one misuse that must not compile, for its own reason and
//! no other.
//!
//! Compiled for documentation tests only.

/// A coroutine that may hold anything on its stack stays on its thread.
///
/// ```compile_fail,E0277
/// let waiting = kstack_hosted::Coroutine::<(), (), ()>::new(|_, ()| ()).unwrap();
/// std::thread::spawn(move || drop(waiting));
/// ```
pub fn n5_a_local_coroutine_is_not_sent() {}

/// One that moves takes no closure that must not.
///
/// ```compile_fail,E0277
/// let held = std::rc::Rc::new(1);
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let moving = unsafe { kstack_hosted::Coroutine::<(), (), i32, kstack_hosted::Movable>::movable(pool, move |_, ()| *held) };
/// ```
pub fn n5_a_movable_coroutine_has_a_closure_that_may_be_sent() {}

/// Nor is it sent if what goes in must not.
///
/// ```compile_fail,E0277
/// use std::rc::Rc;
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let moving = unsafe {
///     kstack_hosted::Coroutine::<Rc<u8>, (), (), kstack_hosted::Movable>::movable(pool, |_, _: Rc<u8>| ())
/// };
/// std::thread::spawn(move || drop(moving));
/// ```
pub fn n5_a_movable_coroutine_is_sent_only_with_values_that_may_be() {}

/// Making one that moves is a promise.
///
/// ```compile_fail,E0133
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let moving = kstack_hosted::Coroutine::<(), (), (), kstack_hosted::Movable>::movable(pool, |_, ()| ());
/// ```
pub fn n5_a_movable_coroutine_asks_for_a_promise() {}

/// So is surviving.
///
/// ```compile_fail,E0133
/// let pool = kstack_hosted::StackPool::builder().survive_overflows();
/// ```
pub fn n5_surviving_overflows_asks_for_a_promise() {}

/// The body borrows nothing: the coroutine may be forgotten, and a scope's threads live on.
///
/// ```compile_fail,E0597
/// let local = 1;
/// let borrows = kstack_hosted::Coroutine::<(), (), i32>::new(|_, ()| *&local);
/// drop(borrows);
/// let moved: Box<dyn std::any::Any> = Box::new(&local);
/// ```
pub fn n5_a_body_borrows_nothing() {}

/// Nor does what goes in.
///
/// ```compile_fail,E0597
/// let mut takes = kstack_hosted::Coroutine::<&'static u8, (), ()>::new(|yielder, _: &'static u8| ()).unwrap();
/// let local = 1;
/// takes.resume(&local);
/// ```
pub fn n5_an_input_borrows_nothing() {}

/// The yielder stays with its body.
///
/// ```compile_fail,E0521
/// let mut out: Option<&'static kstack_hosted::Yielder<(), ()>> = None;
/// let gets_out = kstack_hosted::Coroutine::<(), (), ()>::new(move |yielder, ()| out = Some(yielder));
/// ```
pub fn n5_a_yielder_does_not_get_out() {}

/// Nor does a thread of the body's own suspend it.
///
/// ```compile_fail,E0277
/// let scoped = kstack_hosted::Coroutine::<(), (), ()>::new(|yielder, ()| {
///     std::thread::scope(|scope| {
///         scope.spawn(|| yielder.suspend(()));
///     });
/// });
/// ```
pub fn n5_another_thread_does_not_suspend_a_body() {}

/// A coroutine is not resumed by two at once.
///
/// ```compile_fail,E0499
/// let mut one = kstack_hosted::Coroutine::<(), (), ()>::new(|_, ()| ()).unwrap();
/// let (first, second) = (&mut one, &mut one);
/// drop((first.resume(()), second.resume(())));
/// ```
pub fn n5_a_coroutine_is_not_resumed_twice_at_once() {}

/// A stack in use is not copied.
///
/// ```compile_fail,E0599
/// let stack = kstack_hosted::StackPool::shared().unwrap().stack().unwrap();
/// let twice = kstack_hosted::Stack::clone(&stack);
/// ```
pub fn n5_a_stack_is_not_copied() {}

/// What a scoped body borrows outlives the scope.
///
/// ```compile_fail,E0597
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let mut kept: Vec<&u8> = Vec::new();
/// kstack_hosted::Coroutine::scope(
///     pool,
///     |_, it: &u8| kept.push(it),
///     |mut lent| {
///         let local = 1;
///         drop(lent.resume(&local));
///     },
/// );
/// ```
pub fn n5_an_input_of_a_scoped_coroutine_outlives_the_scope() {}

/// Nor does a reference to a frame of the body get out, whose stack goes with the scope.
///
/// ```compile_fail,E0597
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let out: Option<&u8> = kstack_hosted::Coroutine::scope(
///     pool,
///     |yielder, ()| {
///         let local = 1;
///         yielder.suspend(&local);
///     },
///     |mut lent| lent.resume(()).unwrap().yielded(),
/// )
/// .unwrap();
/// ```
pub fn n5_a_frame_of_a_scoped_body_is_not_yielded() {}

/// A scoped coroutine stays in its scope.
///
/// ```compile_fail,E0521
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let local = 1;
/// let mut out = None;
/// kstack_hosted::Coroutine::<(), (), u8>::scope(pool, |_, ()| *&local, |lent| out = Some(lent));
/// ```
///
/// While the same that stays is right:
///
/// ```
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let local = 1;
/// let mut out = None;
/// kstack_hosted::Coroutine::<(), (), u8>::scope(pool, |_, ()| *&local, |mut lent| {
///     out = lent.resume(()).unwrap().returned();
/// })
/// .unwrap();
/// assert_eq!(out, Some(1));
/// ```
pub fn n5_a_scoped_coroutine_does_not_get_out() {}

/// Nor to another thread: a scope of threads would let it.
///
/// ```compile_fail,E0277
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let local = 1;
/// kstack_hosted::Coroutine::<(), (), u8>::scope(pool, |_, ()| *&local, |mut lent| {
///     std::thread::scope(|threads| {
///         threads.spawn(|| drop(lent.resume(())));
///     });
/// });
/// ```
pub fn n5_a_scoped_coroutine_stays_on_its_thread() {}

/// What a scoped body changes is its alone until the scope is over.
///
/// ```compile_fail,E0499
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// let mut count = 0;
/// kstack_hosted::Coroutine::<(), (), ()>::scope(pool, |_, ()| count += 1, |mut lent| {
///     count += 1;
///     drop(lent.resume(()));
/// });
/// ```
pub fn n5_what_a_scoped_body_changes_is_its_alone() {}

/// Coroutines of two scopes are not exchanged: each would be over with the other's scope.
///
/// ```compile_fail,E0521
/// let pool = kstack_hosted::StackPool::shared().unwrap();
/// kstack_hosted::Coroutine::<(), (), ()>::scope(pool, |_, ()| (), |mut outer| {
///     kstack_hosted::Coroutine::<(), (), ()>::scope(pool, |_, ()| (), |mut inner| {
///         std::mem::swap(&mut outer, &mut inner);
///     });
/// });
/// ```
pub fn n5_scoped_coroutines_are_not_exchanged() {}
