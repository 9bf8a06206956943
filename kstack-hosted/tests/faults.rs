//! What a report says, word by word; and faults that are no overflow of the running coroutine.

#[expect(dead_code, reason = "other tests use the rest of it")]
mod child;

use child::in_child;
use kstack_core::unwind::{End, Step};
use kstack_core::verdict::{Cause, Side};
use kstack_hosted::{ByteSize, Coroutine, Overflow, ResumeError, StackPool};
use std::hint::black_box;

/// A pool whose coroutines survive.
fn surviving(kib: usize) -> StackPool {
    let builder = StackPool::builder().stack_size(ByteSize::kib(kib)).max_stacks(8);
    // SAFETY: (1) nothing refers to the frames of these tests' coroutines; (2) they overflow in
    // functions of their own, which change nothing.
    unsafe { builder.survive_overflows() }.build().expect("a pool")
}

/// Runs `body` with its stack's lowest address; how it overflowed.
fn overflowed(pool: StackPool, body: impl FnOnce(usize) + 'static) -> Overflow {
    let mut coroutine =
        Coroutine::<usize, (), ()>::on(pool, move |_, lowest| body(lowest)).expect("a stack");
    let lowest = coroutine.stack().expect("it waits").lowest.get();
    match coroutine.resume(lowest) {
        Err(ResumeError::Overflow(overflow)) => overflow,
        other => panic!("it did not overflow: {other:?}"),
    }
}

/// Writes a byte so far below SP, which is `sp` for that moment.
#[inline(never)]
fn write_below<const BYTES: usize>(sp: usize) {
    // SAFETY: (1) SP is restored, unless the write faults, which is what is tested.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            "xchg rsp, {sp}",
            "mov byte ptr [rsp - {bytes}], 1",
            "xchg rsp, {sp}",
            sp = inout(reg) sp => _,
            bytes = const BYTES,
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!(
            "mov {saved}, sp",
            "mov sp, {sp}",
            "sturb wzr, [sp, #-{bytes}]",
            "mov sp, {saved}",
            sp = in(reg) sp,
            saved = out(reg) _,
            bytes = const BYTES,
        );
    }
}

/// The lines of a report.
fn lines(overflow: &Overflow) -> Vec<String> {
    overflow.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn n5_a_report_says_whose_stack_how_far_where_and_from_where() {
    let pool = surviving(64);
    for (overflow, bytes) in [
        (overflowed(pool, write_below::<1>), "1 byte"),
        (overflowed(pool, write_below::<8>), "8 bytes"),
        (overflowed(pool, write_below::<255>), "255 bytes"),
    ] {
        let (lines, fault) = (lines(&overflow), overflow.report().fault);
        // SAFETY: (1) asks only.
        let thread = unsafe { libc::gettid() };
        let (id, stack) = (overflow.coroutine(), overflow.stack().range);
        assert_eq!(
            lines[..4],
            [
                format!(
                    "stack overflow: coroutine {id}, stack {stack:?} of 64 KiB, on thread {thread}"
                ),
                format!("  {bytes} below its edge"),
                format!("  address {}  sp {}  pc {}", fault.address, fault.sp, fault.pc),
                "  calls, innermost first:".to_owned(),
            ]
        );
        assert_eq!(lines[4], format!("    {}", fault.pc), "the instruction itself");
        assert!(lines.last().expect("one").starts_with("  end: "), "{lines:?}");
        assert!(!lines.iter().any(|line| line.ends_with(" more")), "{lines:?}");
        assert_eq!(
            (fault.sp, fault.address),
            (stack.lowest, stack.lowest.wrapping_sub(overflow.distance()))
        );
        let verdict = overflow.report().verdict;
        assert_eq!((verdict.cause, verdict.side), (Cause::GuardHit, Side::Below));
    }
}

#[test]
fn n5_an_overflow_prints_alike_wherever_it_is_printed() {
    let overflow = overflowed(surviving(64), write_below::<8>);
    let text = overflow.to_string();
    assert!(text.starts_with("stack overflow: coroutine "));
    assert_eq!(format!("{overflow:?}"), text);
    assert_eq!(ResumeError::Overflow(overflow).to_string(), text);
}

/// Whether an address is one of code of this program or a library.
fn is_code(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the system lists them");
    maps.lines().any(|line| {
        let (range, rights) = line.split_once(' ').expect("a range");
        let (lowest, top) = range.split_once('-').expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        (number(lowest)..number(top)).contains(&address) && rights.as_bytes()[2] == b'x'
    })
}

#[test]
fn n5_every_address_of_a_report_is_one_of_code() {
    let mut outer = Coroutine::<(), (), Overflow>::on(surviving(64), move |_, ()| {
        overflowed(surviving(16), write_below::<8>)
    })
    .expect("a stack");
    let overflow = outer.resume(()).expect("sound").returned().expect("it returns");
    let addresses: Vec<_> = overflow.code_addresses().map(|address| address.get()).collect();
    assert!(addresses.len() >= 2, "{overflow}");
    // The emulator of programs lists no rights to execute that it does not need.
    let is_code = |&address: &usize| is_code(address);
    assert!(addresses.iter().all(is_code), "{overflow}");
}

/// Two functions in turn, each call with a frame record: no two calls in sequence are from the same
/// place.
#[unsafe(naked)]
extern "C" fn in_turn() {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("push rbp", "mov rbp, rsp", "call {other}", other = sym with_the_other);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-{record}]!",
        "mov x29, sp",
        "bl {other}",
        record = const size_of::<[usize; 2]>(),
        other = sym with_the_other,
    );
}

/// See [`in_turn`].
#[unsafe(naked)]
extern "C" fn with_the_other() {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("push rbp", "mov rbp, rsp", "call {other}", other = sym in_turn);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-{record}]!",
        "mov x29, sp",
        "bl {other}",
        record = const size_of::<[usize; 2]>(),
        other = sym in_turn,
    );
}

#[test]
fn n5_a_report_without_room_for_all_calls_says_how_many_are_missing() {
    let overflow = overflowed(surviving(16), |_| in_turn());
    let missing = overflow.report().backtrace.dropped();
    // A frame takes 16 bytes, and a walk takes 512 frames.
    assert!((400..512).contains(&missing), "{overflow}");
    let lines = lines(&overflow);
    let end = lines.len() - 2;
    assert_eq!(lines[end], format!("    and {missing} more"));
    assert_eq!(lines[end + 1], "  end: more frames or stacks than a report has room for");
    assert!(lines[4..end].iter().all(|line| line.starts_with("    0x")), "{lines:?}");
}

/// Calls itself with a frame pointer that is none.
#[unsafe(naked)]
extern "C" fn with_another_frame_pointer() {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!(
        "mov ebp, {other}",
        "call {itself}",
        other = const OTHER,
        itself = sym with_another_frame_pointer,
    );
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-{record}]!",
        "mov x29, {other}",
        "bl {itself}",
        other = const OTHER,
        record = const size_of::<[usize; 2]>(),
        itself = sym with_another_frame_pointer,
    );
}

const OTHER: usize = 0x1235;

#[test]
fn n5_a_walk_ends_at_a_frame_pointer_that_is_none() {
    let overflow = overflowed(surviving(16), |_| with_another_frame_pointer());
    let steps: Vec<_> = overflow.report().backtrace.steps().iter().map(|(step, _)| *step).collect();
    assert!(matches!(steps[..], [Step::Interrupted(_), Step::End(_)]), "{steps:?}");
    let Some(Step::End(End::Misaligned(fp))) = steps.last() else { panic!("{steps:?}") };
    assert_eq!(fp.get(), OTHER);
    let last = lines(&overflow).pop().expect("one");
    assert_eq!(
        last,
        "  end: a function built without frame pointers, or the outermost frame of a C library"
    );
}

fn run_a_coroutine() {
    let mut coroutine = Coroutine::<(), (), ()>::on(surviving(16), |_, ()| ()).expect("a stack");
    coroutine.resume(()).expect("sound");
}

#[test]
fn n5_a_stray_access_to_a_guard_of_another_pool_is_told_and_is_no_overflow() {
    let name = "n5_a_stray_access_to_a_guard_of_another_pool_is_told_and_is_no_overflow";
    let child = in_child(name, || {
        let other = surviving(16).stack().expect("a stack");
        let above = other.range().top.get();
        let mut coroutine = Coroutine::<(), (), u8>::on(surviving(64), move |_, ()| {
            child::read(black_box(above + 9))
        })
        .expect("a stack");
        drop(coroutine.resume(()));
    });
    child.dies_of(libc::SIGSEGV, "guard of a stack accessed, by no overflow: a stack without a");
    assert!(child.text().contains("  9 bytes above its edge"), "{}", child.text());
}

#[test]
fn n5_a_stray_access_to_a_guard_by_a_thread_is_told_and_is_no_overflow() {
    let name = "n5_a_stray_access_to_a_guard_by_a_thread_is_told_and_is_no_overflow";
    let child = in_child(name, || {
        run_a_coroutine();
        let waiting = Coroutine::<(), (), ()>::on(surviving(64), |_, ()| ()).expect("a stack");
        eprintln!("its number is {}.", waiting.id());
        child::read(waiting.stack().expect("it waits").lowest.get() - 16);
    });
    child.dies_of(libc::SIGSEGV, "guard of a stack accessed, by no overflow: coroutine ");
    let text = child.text();
    let (_, number) = text.split_once("its number is ").expect("it says so");
    let (number, _) = number.split_once('.').expect("a number");
    assert!(text.contains(&format!("coroutine {number}, stack [")), "{text}");
    assert!(text.contains("  16 bytes below its edge"), "{text}");
}

/// Runs a function on another stack, of which this is the top. It does not come back from there.
#[inline(never)]
fn run_on(stack: usize, function: extern "C" fn()) {
    // SAFETY: (1) the stack is the caller's to use; (2) the function faults.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            "mov rsp, {stack}", "call {function}",
            stack = in(reg) stack, function = in(reg) function, options(noreturn),
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!(
            "mov sp, {stack}", "blr {function}",
            stack = in(reg) stack, function = in(reg) function, options(noreturn),
        );
    }
}

/// Calls itself until its stack ends.
extern "C" fn recurses() {
    deeper(0);
}

extern "C" fn reads_nothing() {
    child::read(8);
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) ^ black_box(depth) }
}

#[test]
fn n5_an_overflow_of_a_stack_that_was_taken_by_hand_is_named() {
    let child = in_child("n5_an_overflow_of_a_stack_that_was_taken_by_hand_is_named", || {
        run_a_coroutine();
        let stack = surviving(16).stack().expect("a stack");
        eprintln!("it is {:?}.", stack.range());
        run_on(stack.range().top.get(), recurses);
    });
    child.dies_of(libc::SIGSEGV, "stack overflow: a stack without a coroutine, stack [");
    let text = child.text();
    let (_, range) = text.split_once("it is ").expect("it says so");
    let (range, _) = range.split_once(".\n").expect("a range");
    assert!(text.contains(&format!("stack {range} of 16 KiB, on thread ")), "{text}");
}

/// A body that changes to a stack of its own, as other crates' coroutines do.
#[test]
fn n5_a_fault_on_a_stack_of_no_pool_is_as_deadly_as_before() {
    let child = in_child("n5_a_fault_on_a_stack_of_no_pool_is_as_deadly_as_before", || {
        let memory = vec![0_u128; 4096].leak().as_mut_ptr_range();
        let top = memory.end as usize;
        let mut coroutine =
            Coroutine::<(), (), ()>::on(surviving(64), move |_, ()| run_on(top, reads_nothing))
                .expect("a stack");
        drop(coroutine.resume(()));
    });
    child.dies_of(libc::SIGSEGV, "");
    let text = child.text();
    assert!(!text.contains("overflow") && !text.contains("guard of a stack"), "{text}");
}

/// A signal that says of itself that it is a fault at this address, and is none.
fn send(code: i32, address: usize) {
    // SAFETY: (1) all zeroes is a value of this type.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = libc::SIGSEGV;
    info.si_code = code;
    // SAFETY: (1) the sender's number and user lie where a fault has its address; (2) the system
    // lets a process send itself what it likes.
    unsafe {
        let fields = (&raw mut info).cast::<u8>().add(std::mem::offset_of!(Sent, address));
        fields.cast::<usize>().write(address);
        let (process, thread) = (libc::getpid(), libc::gettid());
        let signal = libc::SIGSEGV;
        let sent =
            libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal, &raw const info);
        assert_eq!(sent, 0);
    }
}

/// The head of a `siginfo_t`.
#[repr(C)]
struct Sent {
    _numbers: [i32; 3],
    address: usize,
}

fn is_sent_in_a_coroutine(code: i32) {
    // The standard library's handler takes a signal that was sent for a fault that happens again.
    // SAFETY: (1) the default action.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    let mut coroutine =
        Coroutine::<usize, (), ()>::on(surviving(64), move |_, lowest| send(code, lowest - 8))
            .expect("a stack");
    let lowest = coroutine.stack().expect("it waits").lowest.get();
    drop(coroutine.resume(lowest));
}

#[test]
fn n5_a_signal_that_was_sent_is_no_fault_whatever_address_it_has() {
    let name = "n5_a_signal_that_was_sent_is_no_fault_whatever_address_it_has";
    let child = in_child(name, || is_sent_in_a_coroutine(libc::SI_QUEUE));
    child.dies_of(libc::SIGSEGV, "");
    assert!(!child.text().contains("guard of a stack"), "{}", child.text());
}

#[test]
fn n5_a_signal_that_was_sent_by_kill_is_no_fault_whatever_address_it_has() {
    let name = "n5_a_signal_that_was_sent_by_kill_is_no_fault_whatever_address_it_has";
    let child = in_child(name, || is_sent_in_a_coroutine(libc::SI_USER));
    child.dies_of(libc::SIGSEGV, "");
    assert!(!child.text().contains("guard of a stack"), "{}", child.text());
}
