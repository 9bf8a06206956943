//! Overflows: named, survived, and told from all other faults, which are as deadly as before.

mod child;

use child::{Child, in_child};
use kstack_hosted::{ByteSize, Coroutine, Overflow, ResumeError, Resumed, StackPool, Yielder};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;

/// A pool whose coroutines survive.
fn surviving(kib: usize) -> StackPool {
    let builder = StackPool::builder().stack_size(ByteSize::kib(kib)).max_stacks(64);
    // SAFETY: (1) nothing refers to the frames of these tests' coroutines; (2) what they leave half
    // changed is their own: they overflow in recursions of their own, or in functions that format
    // into their own buffers.
    unsafe { builder.survive_overflows() }.build().expect("a pool")
}

/// Recurses by small frames until the stack ends.
#[inline(never)]
fn by_small_frames(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return 0;
    }
    by_small_frames(depth + 1) ^ black_box(depth)
}

/// Recurses with a frame record in each frame of 16 bytes, as code that is built with frame
/// pointers does.
#[unsafe(naked)]
extern "C" fn by_frame_records() {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("push rbp", "mov rbp, rsp", "call {itself}", itself = sym by_frame_records);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-{record}]!",
        "mov x29, sp",
        "bl {itself}",
        record = const size_of::<[usize; 2]>(),
        itself = sym by_frame_records,
    );
}

/// One frame much larger than any stack here.
#[inline(never)]
fn by_a_giant_frame(seed: u8) -> u64 {
    let giant = [black_box(seed); 4 << 20];
    black_box(&giant).iter().map(|&byte| u64::from(byte)).sum()
}

/// Recurses until little is left, and calls the C library then.
#[inline(never)]
fn by_a_callee_of_libc(lowest: usize, text: &mut [u8; 64]) -> i32 {
    let here = [0_u8; 64];
    if (here.as_ptr() as usize).saturating_sub(lowest) > 1024 {
        let written = by_a_callee_of_libc(lowest, text);
        black_box(&here);
        return written;
    }
    // SAFETY: (1) the buffer has that many bytes; (2) the format names what follows.
    unsafe {
        libc::snprintf(text.as_mut_ptr().cast(), 64, c"%.30f %a".as_ptr(), 1.0_f64 / 3.0, 2.5_f64)
    }
}

/// Runs `body` on a stack of the pool; how it overflowed.
fn overflowed<R: 'static>(pool: StackPool, body: impl FnOnce() -> R + 'static) -> Overflow {
    let mut coroutine = Coroutine::<(), (), R>::on(pool, move |_, ()| body()).expect("a stack");
    let (id, stack) = (coroutine.id(), coroutine.stack().expect("it waits"));
    let Err(ResumeError::Overflow(overflow)) = coroutine.resume(()) else {
        panic!("it did not overflow");
    };
    assert!(coroutine.has_ended());
    assert!(matches!(coroutine.resume(()), Err(ResumeError::Ended)));
    assert_eq!((overflow.coroutine(), overflow.stack().range), (id, stack));
    assert!(overflow.distance() > ByteSize::ZERO);
    assert!(overflow.distance() <= pool.geometry().guard_below());
    overflow
}

/// Whether an address lies in a function of these tests: they are small.
fn is_in(function: *const (), address: usize) -> bool {
    (function as usize..function as usize + 1024).contains(&address)
}

#[test]
fn n5_an_overflow_by_small_frames_is_named_and_survived() {
    let pool = surviving(64);
    let overflow = overflowed(pool, || by_small_frames(0));
    // It grew by calls and pushes: barely beyond the edge.
    assert!(overflow.distance() < ByteSize::new(1024), "{overflow}");
    let text = overflow.to_string();
    assert!(text.starts_with(&format!("stack overflow: coroutine {}, ", overflow.coroutine())));
    assert!(text.contains("its edge") && text.contains("of 64 KiB"), "{text}");
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_the_report_walks_frame_pointers_to_the_resumers_stack() {
    let pool = surviving(4);
    let mut outer = Coroutine::<(), (), (u64, Overflow)>::on(surviving(64), move |_, ()| {
        let overflow = overflowed(pool, || by_frame_records());
        (overflow.coroutine(), overflow)
    })
    .expect("a stack");
    let (inner, overflow) = outer.resume(()).expect("sound").returned().expect("it returns");
    let text = overflow.to_string();
    let addresses: Vec<_> = overflow.code_addresses().map(|address| address.get()).collect();
    let recursion = by_frame_records as *const ();
    assert!(is_in(recursion, addresses[0]) && is_in(recursion, addresses[1]), "{text}");
    let (_, times) = text.split_once(&format!("{:#x}  ", addresses[1])).expect("a repetition");
    let (times, rest) = times.split_once(" times\n").expect("a number");
    // All of the page but what the first functions took of it.
    assert!((150..256).contains(&times.parse::<u32>().expect("a number")), "{text}");
    let (_, rest) = rest
        .split_once(&format!("on the stack of coroutine {}:\n", outer.id()))
        .expect("the inner one's resumer");
    // Further out the compiler may use the frame pointer for something else, and does where it
    // optimises.
    assert!(cfg!(not(debug_assertions)) || rest.contains("on the thread's stack:\n"), "{text}");
    assert_ne!(inner, outer.id());
}

#[test]
fn n5_an_overflow_by_a_giant_frame_is_survived() {
    let overflow = overflowed(surviving(64), || by_a_giant_frame(3));
    assert!(is_in(by_a_giant_frame as *const (), overflow.report().fault.pc.get()), "{overflow}");
}

#[test]
fn n5_an_overflow_in_a_callee_of_libc_is_survived() {
    let pool = surviving(64);
    let mut coroutine = Coroutine::<usize, (), i32>::on(pool, |_, lowest| {
        by_a_callee_of_libc(lowest, &mut [0; 64])
    })
    .expect("a stack");
    let lowest = coroutine.stack().expect("it waits").lowest.get();
    let Err(ResumeError::Overflow(overflow)) = coroutine.resume(lowest) else {
        panic!("it did not overflow");
    };
    let mut found: libc::Dl_info = unsafe_zeroed();
    let pc = overflow.report().fault.pc.get() as *const libc::c_void;
    // SAFETY: (1) asks only, and fills in what is passed.
    assert_ne!(unsafe { libc::dladdr(pc, &raw mut found) }, 0, "{overflow}");
    let mut own: libc::Dl_info = unsafe_zeroed();
    let function = by_a_callee_of_libc as *const libc::c_void;
    // SAFETY: (1) as above.
    assert_ne!(unsafe { libc::dladdr(function, &raw mut own) }, 0);
    assert!(cfg!(target_feature = "crt-static") || found.dli_fbase != own.dli_fbase, "{overflow}");
    // The library is whole: where there is room, it formats.
    let mut again = Coroutine::<(), (), i32>::on(pool, |_, ()| {
        let mut text = [0; 64];
        by_a_callee_of_libc(text.as_ptr() as usize - 1000, &mut text)
    })
    .expect("a stack");
    assert!(again.resume(()).expect("sound").returned().expect("it returns") > 30);
}

fn unsafe_zeroed() -> libc::Dl_info {
    let null = std::ptr::null_mut();
    libc::Dl_info {
        dli_fname: null,
        dli_fbase: null.cast(),
        dli_sname: null,
        dli_saddr: null.cast(),
    }
}

#[test]
fn n5_a_thousand_overflows_leave_the_pool_and_the_signals_as_they_were() {
    let pool = surviving(16);
    for _ in 0..1000 {
        overflowed(pool, || by_small_frames(0));
    }
    assert_eq!((pool.census().live, pool.census().ending), (0, 0));
    assert!(pool.census().parked <= 8);
    // SAFETY: (1) all zeroes is a set; (2) asks only.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut blocked);
        assert_eq!(libc::sigismember(&raw const blocked, libc::SIGSEGV), 0);
    }
    // What comes next on those stacks finds them clean.
    let stack = pool.stack().expect("a stack").range();
    let mut at = stack.lowest.get();
    while at < stack.top.get() {
        // SAFETY: (1) a parked stack's memory stays mapped; (2) this thread's cache alone has it.
        assert_eq!(unsafe { (at as *const u64).read_volatile() }, 0, "{at:#x}");
        at += 8;
    }
}

#[test]
fn n5_two_threads_overflow_at_the_same_time_and_each_has_its_own_report() {
    let pool = surviving(64);
    let barrier = &*Box::leak(Box::new(Barrier::new(4)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                (0..50)
                    .map(|_| {
                        let overflow = overflowed(pool, move || {
                            barrier.wait();
                            by_small_frames(0)
                        });
                        overflow.coroutine()
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut ids: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().expect("it survives")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    assert_eq!(pool.census().live, 0);
}

#[test]
fn n5_the_innermost_coroutine_is_cut_off_and_its_resumer_continues() {
    let pool = surviving(64);
    let mut outer = Coroutine::<u32, u64, u32>::on(pool, move |yielder, first| {
        let overflow = overflowed(pool, || by_small_frames(0));
        let second = yielder.suspend(overflow.coroutine());
        first + second
    })
    .expect("a stack");
    let inner = outer.resume(1).expect("it survives").yielded().expect("it waits");
    assert_ne!(inner, outer.id());
    assert_eq!(outer.resume(2).expect("sound"), Resumed::Returned(3));
}

#[test]
fn n5_a_coroutine_that_was_resumed_before_overflows_into_its_latest_resumer() {
    #[inline(never)]
    fn resumed_from_elsewhere(coroutine: &mut Coroutine<bool, (), u64>) -> Overflow {
        let padding = black_box([1_u8; 300]);
        let Err(ResumeError::Overflow(overflow)) = coroutine.resume(true) else {
            panic!("it did not overflow");
        };
        assert_eq!(black_box(padding), [1; 300]);
        overflow
    }
    let mut coroutine = Coroutine::on(surviving(64), |yielder: &Yielder<bool, ()>, mut go| {
        while !go {
            go = yielder.suspend(());
        }
        by_small_frames(0)
    })
    .expect("a stack");
    for _ in 0..3 {
        coroutine.resume(false).expect("sound");
    }
    assert_eq!(resumed_from_elsewhere(&mut coroutine).coroutine(), coroutine.id());
}

#[test]
fn n5_tiny_stacks_overflow_as_large_ones_do() {
    let pool = surviving(4);
    for _ in 0..10 {
        overflowed(pool, || by_small_frames(0));
        overflowed(pool, || by_a_giant_frame(1));
    }
}

/// Moves SP down by `size` at once, as code without stack probes does, and writes there.
#[inline(never)]
fn by_a_frame_without_probes(size: usize) {
    // SAFETY: (1) SP is restored, unless the write faults, which is what is tested.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("sub rsp, {0}", "mov byte ptr [rsp], 1", "add rsp, {0}", in(reg) size);
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("sub sp, sp, {0}", "strb wzr, [sp]", "add sp, sp, {0}", in(reg) size);
    }
}

#[test]
fn n5_a_guard_larger_than_a_page_stops_frames_without_probes() {
    let wide = StackPool::builder()
        .stack_size(ByteSize::kib(16))
        .guard_size(ByteSize::kib(1024))
        .max_stacks(4);
    // SAFETY: (1) nothing refers to its frames; (2) it changes nothing.
    let wide = unsafe { wide.survive_overflows() }.build().expect("a pool");
    assert!(wide.geometry().guard_below() >= ByteSize::kib(1024));
    for kib in [16, 100, 700, 1000] {
        let overflow = overflowed(wide, move || by_a_frame_without_probes(kib * 1024));
        assert!(overflow.distance() > ByteSize::kib(kib - 16), "{overflow}");
    }
}

#[test]
fn n5_an_overflow_while_a_coroutine_is_unwound_is_told_and_survived() {
    let child =
        in_child("n5_an_overflow_while_a_coroutine_is_unwound_is_told_and_survived", || {
            struct Deep;
            impl Drop for Deep {
                fn drop(&mut self) {
                    by_small_frames(0);
                }
            }
            let pool = surviving(64);
            let mut coroutine = Coroutine::<(), (), ()>::on(pool, |yielder, ()| {
                let _deep = Deep;
                yielder.suspend(());
            })
            .expect("a stack");
            coroutine.resume(()).expect("sound");
            drop(coroutine);
            assert_eq!(pool.census().live, 0);
            std::process::exit(17);
        });
    child.exits_with(17, "stack overflow: coroutine ");
}

#[test]
fn n5_in_a_pool_that_does_not_survive_the_process_is_told_and_dies_of_the_signal() {
    let name = "n5_in_a_pool_that_does_not_survive_the_process_is_told_and_dies_of_the_signal";
    let child = in_child(name, || {
        let mut coroutine =
            Coroutine::<(), (), u64>::new(|_, ()| by_small_frames(0)).expect("a stack");
        eprintln!("its number is {}", coroutine.id());
        drop(coroutine.resume(()));
    });
    child.dies_of(libc::SIGSEGV, "stack overflow: coroutine ");
    let text = child.text();
    let (_, number) = text.split_once("its number is ").expect("it says so");
    let (number, _) = number.split_once('\n').expect("a line");
    assert!(text.contains(&format!("stack overflow: coroutine {number}, stack [")), "{text}");
    assert!(text.contains("calls, innermost first"), "{text}");
}

#[test]
fn n5_a_null_dereference_in_a_coroutine_is_as_deadly_as_before() {
    let name = "n5_a_null_dereference_in_a_coroutine_is_as_deadly_as_before";
    let child = in_child(name, || {
        let mut coroutine =
            Coroutine::<(), (), u8>::on(surviving(64), |_, ()| child::read(8)).expect("a stack");
        drop(coroutine.resume(()));
    });
    child.dies_of(libc::SIGSEGV, "");
    assert!(!child.text().contains("overflow:"), "{}", child.text());
}

#[test]
fn n5_a_stray_access_to_a_guard_is_told_and_is_no_overflow() {
    let name = "n5_a_stray_access_to_a_guard_is_told_and_is_no_overflow";
    let child = in_child(name, || {
        let mut coroutine =
            Coroutine::<usize, (), u8>::on(surviving(64), |_, lowest| child::read(lowest - 8))
                .expect("a stack");
        let lowest = coroutine.stack().expect("it waits").lowest.get();
        drop(coroutine.resume(lowest));
    });
    child.dies_of(libc::SIGSEGV, "guard of a stack accessed, by no overflow: coroutine ");
}

#[test]
fn n5_a_frame_beyond_the_guard_is_told_and_not_survived() {
    let child = in_child("n5_a_frame_beyond_the_guard_is_told_and_not_survived", || {
        let pool = surviving(64);
        let lower = pool.stack().expect("a stack");
        let mut coroutine = Coroutine::<(), (), ()>::on(pool, move |_, ()| {
            let here = [0_u8; 8];
            // Into the guard of the stack below, past its body.
            by_a_frame_without_probes(here.as_ptr() as usize - lower.range().lowest.get() + 4096);
        })
        .expect("a stack");
        drop(coroutine.resume(()));
    });
    child.dies_of(libc::SIGSEGV, "stack overflow, by one frame larger than the guard: coroutine ");
}

#[test]
fn n5_the_standard_library_still_tells_overflows_of_threads() {
    let child = in_child("n5_the_standard_library_still_tells_overflows_of_threads", || {
        let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| ()).expect("a stack");
        coroutine.resume(()).expect("sound");
        std::thread::Builder::new()
            .name("deep".to_owned())
            .spawn(|| {
                // Replaces the standard library's signal stack, too.
                let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| ()).expect("a stack");
                coroutine.resume(()).expect("sound");
                by_small_frames(0)
            })
            .expect("a thread")
            .join()
            .expect("it does not come here");
    });
    child.dies_of(libc::SIGABRT, "has overflowed its stack");
}

#[test]
fn n5_a_signal_that_was_sent_is_as_deadly_as_before() {
    let child = in_child("n5_a_signal_that_was_sent_is_as_deadly_as_before", || {
        // The standard library's handler takes a signal that was sent for a fault that happens
        // again. SAFETY: (1) the default action.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| {
            // SAFETY: (1) a signal to this process.
            unsafe { libc::raise(libc::SIGSEGV) };
        })
        .expect("a stack");
        drop(coroutine.resume(()));
        std::process::exit(1);
    });
    child.dies_of(libc::SIGSEGV, "");
}

extern "C" fn former_with_info(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: (1) what the system passed, or what passed it on.
    let address = unsafe { (*info).si_addr() } as usize;
    std::process::exit(if (signal, address) == (libc::SIGSEGV, 8) { 40 } else { 41 });
}

extern "C" fn former_plain(signal: libc::c_int) {
    // SAFETY: (1) ends the process, also in a handler.
    unsafe { libc::_exit(if signal == libc::SIGSEGV { 42 } else { 43 }) };
}

/// Installs a handler, lets a coroutine survive an overflow, and faults.
fn with_a_former_handler(function: usize, flags: libc::c_int) {
    // SAFETY: (1) all zeroes is an action; (2) the handlers above may be called with any fault.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = function;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()), 0);
    }
    let pool = surviving(64);
    overflowed(pool, || by_small_frames(0));
    let mut coroutine = Coroutine::<(), (), u8>::on(pool, |_, ()| child::read(8)).expect("a stack");
    drop(coroutine.resume(()));
    std::process::exit(1);
}

#[test]
fn n5_a_handler_that_was_there_before_gets_all_faults_but_overflows() {
    let name = "n5_a_handler_that_was_there_before_gets_all_faults_but_overflows";
    in_child(name, || {
        with_a_former_handler(former_with_info as *const () as usize, libc::SA_SIGINFO);
    })
    .exits_with(40, "");
}

#[test]
fn n5_a_plain_handler_that_was_there_before_gets_them_too() {
    in_child("n5_a_plain_handler_that_was_there_before_gets_them_too", || {
        with_a_former_handler(former_plain as *const () as usize, libc::SA_RESETHAND);
    })
    .exits_with(42, "");
}

#[test]
fn n5_faults_that_were_ignored_are_deadly_as_before() {
    in_child("n5_faults_that_were_ignored_are_deadly_as_before", || {
        with_a_former_handler(libc::SIG_IGN, 0);
    })
    .dies_of(libc::SIGSEGV, "");
}

#[test]
fn n5_death_is_told_by_its_cause_and_not_only_by_its_happening() {
    // The tests above run their children twice each, and would fail on these.
    let dead = Child::of_status(std::process::ExitStatus::from_raw(libc::SIGBUS), "");
    assert!(std::panic::catch_unwind(|| dead.dies_of(libc::SIGSEGV, "")).is_err());
    let silent = Child::of_status(std::process::ExitStatus::from_raw(libc::SIGSEGV), "");
    assert!(std::panic::catch_unwind(|| silent.dies_of(libc::SIGSEGV, "stack overflow")).is_err());
}
