//! What stacks and switches cost, beside what others offer, in one run:
//!
//! ```text
//! cargo bench -p kstack-hosted
//! ```
//!
//! Each measurement checks its result. Last come the switches once more, in short batches that
//! alternate: what other load does to the machine, it does to all of them.
//!
//! ```text
//! cargo bench -p kstack-hosted -- alternating
//! ```

use criterion::{Criterion, criterion_group};
use generator::{Gn, Scope, done};
use kstack_hosted::{ByteSize, Coroutine, Erase, Resumed, StackPool};
use std::hint::black_box;
use std::time::Instant;

/// Of every kind of stack here, so that all have the same to do.
const STACK: usize = 64 * 1024;

fn pool(erase: Erase) -> StackPool {
    StackPool::builder()
        .stack_size(ByteSize::new(STACK))
        .erase(erase)
        .max_stacks(256)
        .build()
        .expect("a pool")
}

/// Writes to the top of a stack, as whatever runs on it does first.
fn touch(top: usize) {
    // SAFETY: (1) the caller has just got the stack below `top`.
    unsafe { ((top - 8) as *mut u64).write_volatile(1) };
}

/// A stack from the system each time: `mmap`, a guard page, `munmap`.
fn plain_mmap() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    let size = STACK + 4096;
    // SAFETY: (1) a new mapping, whose lowest page becomes the guard, and whose top is written.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        assert_eq!(libc::mprotect(at.byte_add(4096), STACK, rights), 0);
        touch(at as usize + size);
        assert_eq!(libc::munmap(at, size), 0);
    }
}

fn stacks(criterion: &mut Criterion) {
    use corosensei::stack::Stack;
    let mut group = criterion.benchmark_group("get, touch and return a stack");
    for (name, erase) in [("kstack-hosted, erased", Erase::Always), ("kstack-hosted", Erase::Never)]
    {
        let pool = pool(erase);
        group.bench_function(name, |bencher| {
            bencher.iter(|| touch(pool.stack().expect("a stack").range().top.get()));
        });
    }
    group.bench_function("corosensei", |bencher| {
        bencher.iter(|| {
            let stack = corosensei::stack::DefaultStack::new(STACK).expect("a stack");
            touch(stack.base().get());
        });
    });
    group.bench_function("plain mmap", |bencher| bencher.iter(plain_mmap));
    group.finish();
}

extern "C" fn of_a_thread(argument: *mut libc::c_void) -> *mut libc::c_void {
    argument.wrapping_byte_add(1)
}

/// glibc keeps the stacks of threads that have ended, too.
fn pthread(input: usize) -> usize {
    // SAFETY: (1) all zeroes are attributes for C to initialise; (2) the thread is waited for.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
        let mut thread: libc::pthread_t = std::mem::zeroed();
        let argument = std::ptr::without_provenance_mut(input);
        assert_eq!(
            libc::pthread_create(&raw mut thread, &raw const attributes, of_a_thread, argument),
            0
        );
        let mut back = std::ptr::null_mut();
        assert_eq!(libc::pthread_join(thread, &raw mut back), 0);
        libc::pthread_attr_destroy(&raw mut attributes);
        back as usize
    }
}

fn lives(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("make, run to its end and drop");
    for (name, erase) in [("kstack-hosted, erased", Erase::Always), ("kstack-hosted", Erase::Never)]
    {
        let pool = pool(erase);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut made =
                    Coroutine::<usize, (), usize>::on(pool, |_, x| x + 1).expect("a stack");
                assert_eq!(made.resume(black_box(1)).expect("sound").returned(), Some(2));
            });
        });
    }
    group.bench_function("corosensei", |bencher| {
        bencher.iter(|| {
            let stack = corosensei::stack::DefaultStack::new(STACK).expect("a stack");
            let mut made =
                corosensei::Coroutine::<usize, (), usize, _>::with_stack(stack, |_, x| x + 1);
            assert_eq!(made.resume(black_box(1)).as_return(), Some(2));
        });
    });
    group.bench_function("generator", |bencher| {
        bencher.iter(|| {
            let mut made =
                Gn::<usize>::new_scoped_opt(STACK / 8, |mut scope: Scope<'_, '_, usize, usize>| {
                    let first = scope.get_yield().unwrap_or(0);
                    scope.yield_(first + 1);
                    done!();
                });
            assert_eq!(made.send(black_box(1)), 2);
            made.resume();
            assert!(made.is_done());
        });
    });
    group.bench_function("pthread", |bencher| {
        bencher.iter(|| assert_eq!(pthread(black_box(1)), 2));
    });
    group.finish();
}

fn switches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resume and yield");
    let mut ours = Coroutine::<usize, usize, ()>::new(|yielder, mut x| {
        while x != 0 {
            x = yielder.suspend(x);
        }
    })
    .expect("a stack");
    group.bench_function("kstack-hosted", |bencher| {
        bencher.iter(|| {
            assert_eq!(ours.resume(black_box(7)).expect("sound"), Resumed::Yielded(7));
        });
    });
    let mut theirs = corosensei::Coroutine::<usize, usize, ()>::new(|yielder, mut x| {
        while x != 0 {
            x = yielder.suspend(x);
        }
    });
    group.bench_function("corosensei", |bencher| {
        bencher.iter(|| assert_eq!(theirs.resume(black_box(7)).as_yield(), Some(7)));
    });
    let mut generated = Gn::<usize>::new_scoped(|mut scope: Scope<'_, '_, usize, usize>| {
        let mut x = scope.get_yield().unwrap_or(0);
        while x != 0 {
            x = scope.yield_(x).unwrap_or(0);
        }
        done!();
    });
    group.bench_function("generator", |bencher| {
        bencher.iter(|| assert_eq!(generated.send(black_box(7)), 7));
    });
    group.finish();
    // All three end, so that none is unwound.
    assert_eq!(ours.resume(0).expect("sound").returned(), Some(()));
    assert_eq!(theirs.resume(0).as_return(), Some(()));
    generated.set_para(0);
    generated.resume();
}

/// Batches of each, in turn.
const BATCHES: usize = 2000;
/// Switches there and back in each.
const BATCH: u32 = 5000;

/// Nanoseconds that one of a batch takes.
#[inline(always)]
fn batch(mut once: impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..BATCH).for_each(|_| once());
    began.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
}

/// Out of line, as the next: the compiler knows of a coroutine what it knows of any that a
/// structure holds.
#[inline(never)]
fn batch_of_ours(ours: &mut Coroutine<usize, usize, ()>) -> f64 {
    batch(|| assert_eq!(ours.resume(black_box(7)).expect("sound"), Resumed::Yielded(7)))
}

#[inline(never)]
fn batch_of_corosenseis(theirs: &mut corosensei::Coroutine<usize, usize, ()>) -> f64 {
    batch(|| assert_eq!(theirs.resume(black_box(7)).as_yield(), Some(7)))
}

fn alternating_switches() {
    let mut ours = Coroutine::<usize, usize, ()>::new(|yielder, mut x| {
        while x != 0 {
            x = yielder.suspend(x);
        }
    })
    .expect("a stack");
    let mut theirs = corosensei::Coroutine::<usize, usize, ()>::new(|yielder, mut x| {
        while x != 0 {
            x = yielder.suspend(x);
        }
    });
    let mut taken = [Vec::with_capacity(BATCHES), Vec::with_capacity(BATCHES)];
    for _ in 0..BATCHES {
        taken[0].push(batch_of_ours(&mut ours));
        taken[1].push(batch_of_corosenseis(&mut theirs));
    }
    assert_eq!(ours.resume(0).expect("sound").returned(), Some(()));
    assert_eq!(theirs.resume(0).as_return(), Some(()));
    println!("resume and yield, {BATCHES} batches each, alternating: least, median");
    for (name, mut taken) in ["kstack-hosted", "corosensei"].into_iter().zip(taken) {
        taken.sort_unstable_by(f64::total_cmp);
        println!("  {name:14} {:.2} ns  {:.2} ns", taken[0], taken[BATCHES / 2]);
    }
}

criterion_group!(hosted, stacks, lives, switches);

fn main() {
    if !std::env::args().any(|argument| argument == "alternating") {
        hosted();
        Criterion::default().configure_from_args().final_summary();
    }
    alternating_switches();
}
