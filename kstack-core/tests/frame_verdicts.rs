//! Verdicts on frames: a canary that was written over, an access that the sanitizer refuses.

use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::kind::StackKind;
use kstack_core::stacks::{StackId, ThreadId};
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{
    Cause, Consequence, Context, Delivery, Fault, OverflowReport, judge_access, judge_frame,
};

const CPU: CpuId = CpuId::new(2);

/// Thread 7 runs, and may be given up.
const THREAD: Context = Context {
    thread: ThreadId::new(7),
    spinning_locks: 0,
    in_interrupt: false,
    in_softirq: false,
    in_nmi: false,
    bottom_halves_disabled: false,
    interrupts_off: false,
    kernel_lowest: Addr::new(0),
};

/// Its stack.
fn stack() -> StackId {
    let lowest = Addr::new(0xffff_c900_0000_3000);
    let range = AddrRange { lowest, top: Addr::new(0xffff_c900_0000_7000) };
    StackId { kind: StackKind::Thread, cpu: None, owner: ThreadId::new(7), range }
}

/// Red if a thread is ended that cannot be cut out, or the system stops for one that can.
#[test]
fn h1_a_smashed_frame_ends_its_thread_where_nothing_else_is_half_done() {
    let thread = stack();
    let sp = Addr::new(thread.range.top.get() - 200);
    let verdict = judge_frame(thread, sp, &THREAD);
    assert_eq!(verdict.consequence, Consequence::EndThread);
    assert_eq!((verdict.cause, verdict.distance), (Cause::FrameSmashed, ByteSize::new(200)));
    let others = [
        Context { interrupts_off: true, ..THREAD },
        Context { spinning_locks: 1, ..THREAD },
        Context { bottom_halves_disabled: true, ..THREAD },
        Context { in_interrupt: true, ..THREAD },
        Context { in_softirq: true, ..THREAD },
        Context { in_nmi: true, ..THREAD },
        Context { thread: ThreadId::new(8), ..THREAD },
        Context { thread: ThreadId::NONE, ..THREAD },
    ];
    for context in others {
        let verdict = judge_frame(thread, sp, &context);
        assert_eq!(verdict.consequence, Consequence::StopSystem, "{context:?}");
    }
    // SP on another stack than the one that is named.
    let elsewhere = judge_frame(thread, thread.range.top, &THREAD);
    assert_eq!(elsewhere.consequence, Consequence::StopSystem);
    // A stack of a CPU's.
    let irq = StackId { kind: StackKind::Irq, cpu: Some(CPU), owner: ThreadId::NONE, ..thread };
    assert_eq!(judge_frame(irq, sp, &THREAD).consequence, Consequence::StopSystem);
}

#[test]
fn h1_the_report_of_a_smashed_frame_names_the_stack_and_what_follows() {
    let stack = stack();
    let sp = Addr::new(stack.range.top.get() - 96);
    let verdict = judge_frame(stack, sp, &THREAD);
    let fault =
        Fault { delivery: Delivery::OwnStack, address: sp, sp, pc: Addr::new(0x1000), cpu: CPU };
    let report = OverflowReport {
        verdict,
        fault,
        context: THREAD,
        backtrace: Backtrace::empty(),
        frame: Addr::new(0),
    };
    let text = report.head().to_string();
    assert!(text.starts_with("kernel stack frame smashed: thread stack of thread 7 ["), "{text}");
    assert!(text.contains("a frame 96 bytes below its top"), "{text}");
    assert!(text.contains("thread 7 is ended") && !text.contains("its edge"), "{text}");
    assert_eq!(Cause::FrameSmashed.name(), "frame-smashed");
}

/// Red if the thread whose stack was touched is taken for the one that touched it.
#[test]
fn h6_an_access_that_is_refused_ends_the_thread_that_would_have_made_it() {
    let of_another = StackId { owner: ThreadId::new(9), ..stack() };
    let address = Addr::new(of_another.range.top.get() - 64);
    for (stack, cause) in [(stack(), Cause::OutOfFrame), (of_another, Cause::DeadFrame)] {
        let verdict = judge_access(stack, address, cause, &THREAD);
        assert_eq!(verdict.consequence, Consequence::EndThread);
        assert_eq!((verdict.stack, verdict.cause), (stack, cause));
        assert_eq!(verdict.distance, ByteSize::new(64));
        for context in [
            Context { interrupts_off: true, ..THREAD },
            Context { in_interrupt: true, ..THREAD },
            Context { spinning_locks: 1, ..THREAD },
        ] {
            let verdict = judge_access(stack, address, cause, &context);
            assert_eq!(verdict.consequence, Consequence::StopSystem, "{context:?}");
        }
    }
}

#[test]
fn h6_the_report_of_an_access_says_what_was_touched() {
    let stack = stack();
    let address = Addr::new(stack.range.top.get() - 64);
    let delivery = Delivery::OwnStack;
    let fault = Fault { delivery, address, sp: address, pc: Addr::new(0x1000), cpu: CPU };
    let text = |cause| {
        let verdict = judge_access(stack, address, cause, &THREAD);
        let frame = Addr::new(0x2000);
        let backtrace = Backtrace::empty();
        OverflowReport { verdict, fault, context: THREAD, backtrace, frame }.head().to_string()
    };
    let (past, dead) = (text(Cause::OutOfFrame), text(Cause::DeadFrame));
    assert!(past.starts_with("access past a local on a kernel stack: thread stack of"), "{past}");
    assert!(
        dead.starts_with("access to a dead frame of a kernel stack: thread stack of"),
        "{dead}"
    );
    assert!(dead.contains("  64 bytes below its top") && !dead.contains("its edge"), "{dead}");
    assert_eq!(Cause::OutOfFrame.name(), "out-of-frame");
    assert_eq!(Cause::DeadFrame.name(), "dead-frame");
}
