//! What a thread that runs coroutines has, from its first one to its end.

#[expect(dead_code, reason = "other tests use the rest of it")]
mod child;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod system;

use child::in_child;
use kstack_hosted::{ByteSize, Coroutine, ResumeError, Resumed, StackPool};
use std::ptr::null_mut;
use system::{is_mapped, limited};

const PAGE: usize = 4096;

/// The signal stack that this thread has now.
fn signal_stack() -> libc::stack_t {
    let mut present = libc::stack_t { ss_sp: null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: (1) asks only.
    assert_eq!(unsafe { libc::sigaltstack(std::ptr::null(), &raw mut present) }, 0);
    present
}

/// Makes this memory the thread's signal stack.
fn use_signal_stack(memory: &mut [u8]) {
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: (1) the callers keep the memory as long as the thread.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, null_mut()) }, 0);
}

fn run_a_coroutine() {
    let mut coroutine = Coroutine::<u8, (), u8>::new(|_, add| add + 1).expect("a stack");
    assert_eq!(coroutine.resume(4).expect("sound"), Resumed::Returned(5));
}

/// What a report takes of a signal stack, beside the frame of the signal.
const FOR_A_REPORT: usize = 32 * 1024;

fn frame_of_a_signal() -> usize {
    // SAFETY: (1) asks only.
    (unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize).max(libc::MINSIGSTKSZ)
}

/// Runs `body` on a thread of its own.
fn on_a_thread<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    std::thread::spawn(body).join().expect("it ends well")
}

#[test]
fn n5_a_threads_first_coroutine_gives_it_a_signal_stack_with_room_for_a_report() {
    on_a_thread(|| {
        let before = signal_stack();
        run_a_coroutine();
        let after = signal_stack();
        assert!(before.ss_size < FOR_A_REPORT && before.ss_sp != after.ss_sp);
        assert_eq!(after.ss_flags & libc::SS_DISABLE, 0);
        let needed = FOR_A_REPORT + frame_of_a_signal();
        assert!((needed..needed + PAGE).contains(&after.ss_size), "{}", after.ss_size);
        // And keeps it.
        run_a_coroutine();
        assert_eq!((signal_stack().ss_sp, signal_stack().ss_size), (after.ss_sp, after.ss_size));
    });
}

#[test]
fn n5_a_thread_that_has_a_large_signal_stack_keeps_it() {
    on_a_thread(|| {
        let needed = (FOR_A_REPORT + frame_of_a_signal()).next_multiple_of(PAGE);
        for (size, is_kept) in [(needed, true), (4 * needed, true), (needed - 1, false)] {
            on_a_thread(move || {
                let mut memory = vec![0_u8; size];
                use_signal_stack(&mut memory);
                run_a_coroutine();
                let after = signal_stack();
                let is_its_own = after.ss_sp == memory.as_mut_ptr().cast();
                assert_eq!((is_its_own, is_its_own && after.ss_size == size), (is_kept, is_kept));
            });
        }
    });
}

#[test]
fn n5_a_thread_without_a_signal_stack_gets_one() {
    on_a_thread(|| {
        let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: (1) takes the standard library's out of use, which is where it is.
        assert_eq!(unsafe { libc::sigaltstack(&raw const none, null_mut()) }, 0);
        run_a_coroutine();
        assert!(signal_stack().ss_size > FOR_A_REPORT);
    });
}

/// In a process with no other threads that could map something at the same place meanwhile.
#[test]
fn n5_a_thread_that_ends_gives_its_signal_stack_back() {
    in_child("n5_a_thread_that_ends_gives_its_signal_stack_back", || {
        for _ in 0..3 {
            let (lowest, guard) = on_a_thread(|| {
                run_a_coroutine();
                let lowest = signal_stack().ss_sp as usize;
                assert!(is_mapped(lowest) && is_mapped(lowest - 1));
                (lowest, lowest - 1)
            });
            assert!(!is_mapped(lowest) && !is_mapped(guard));
        }
        std::process::exit(5);
    })
    .exits_with(5, "");
}

/// Such a thread has its signal stack in use until its very end: the standard library's threads
/// take theirs out of use before.
#[test]
fn n5_a_thread_that_another_library_made_gives_its_signal_stack_back() {
    /// Leaves the signal stack's lowest address at `found`.
    extern "C" fn main(found: *mut libc::c_void) -> *mut libc::c_void {
        assert_ne!(signal_stack().ss_flags & libc::SS_DISABLE, 0, "it has none");
        run_a_coroutine();
        // SAFETY: (1) the test's, which waits for this thread.
        unsafe { found.cast::<usize>().write(signal_stack().ss_sp as usize) };
        null_mut()
    }
    in_child("n5_a_thread_that_another_library_made_gives_its_signal_stack_back", || {
        for _ in 0..3 {
            let (mut thread, mut found) = (std::mem::MaybeUninit::uninit(), 0_usize);
            let place = (&raw mut found).cast();
            // SAFETY: (1) the arguments are what the function wants; (2) it is waited for.
            unsafe {
                let made = libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), main, place);
                assert_eq!(made, 0);
                assert_eq!(libc::pthread_join(thread.assume_init(), null_mut()), 0);
            }
            assert!(found != 0 && !is_mapped(found) && !is_mapped(found - 1));
        }
        std::process::exit(3);
    })
    .exits_with(3, "");
}

#[test]
fn n5_without_memory_for_a_signal_stack_a_coroutine_waits_as_it_was() {
    in_child("n5_without_memory_for_a_signal_stack_a_coroutine_waits_as_it_was", || {
        let mut coroutine =
            Coroutine::<u8, u8, u8>::new(|yielder, add| yielder.suspend(add + 1)).expect("a stack");
        let depth = coroutine.depth();
        let mut refused = None;
        if limited(libc::RLIMIT_AS, 0, || refused = Some(coroutine.resume(1))) {
            assert!(matches!(refused, Some(Err(ResumeError::NoSignalStack))), "{refused:?}");
        }
        assert_eq!((coroutine.has_ended(), coroutine.depth()), (false, depth));
        assert_eq!(coroutine.resume(2).expect("sound"), Resumed::Yielded(3));
        assert_eq!(coroutine.resume(9).expect("sound"), Resumed::Returned(9));
        std::process::exit(6);
    })
    .exits_with(6, "");
}

#[test]
fn n5_a_coroutine_that_cannot_be_unwound_for_want_of_memory_is_leaked_and_not_more() {
    let name = "n5_a_coroutine_that_cannot_be_unwound_for_want_of_memory_is_leaked_and_not_more";
    in_child(name, || {
        let pool = StackPool::builder().stack_size(ByteSize::kib(16)).max_stacks(2);
        let pool = pool.build().expect("a pool");
        let never = Coroutine::<(), (), ()>::on(pool, |_, ()| ()).expect("a stack");
        if limited(libc::RLIMIT_AS, 0, || drop(never)) {
            assert_eq!(pool.census().live, 1);
        }
        let mut other = Coroutine::<(), (), ()>::on(pool, |_, ()| ()).expect("a stack");
        assert_eq!(other.resume(()).expect("sound"), Resumed::Returned(()));
        std::process::exit(4);
    })
    .exits_with(4, "");
}
