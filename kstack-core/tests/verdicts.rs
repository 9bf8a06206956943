//! Verdicts on faults: every row of the table in `verdict`, on an arena with three neighbours.

use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::geometry::Geometry;
use kstack_core::kind::StackKind;
use kstack_core::stacks::{StackId, ThreadId};
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{
    Cause, Consequence, Context, Delivery, Fault, OverflowReport, Side, StackTable, Verdict, judge,
};

const HINT: Addr = Addr::new(0xffff_c900_0000_0000);
const CPU: CpuId = CpuId::new(2);

/// Slot 0: the IRQ stack; slot 1: the running thread's; slot 2: a double-fault stack of two pages;
/// slot 3: free.
struct Machine {
    arena: Arena,
}

impl Machine {
    fn new() -> Self {
        let geometry = Geometry::X86_64;
        Self {
            arena: Arena::new(Arena::lowest_from(HINT, geometry).expect("room"), 4, geometry)
                .expect("valid"),
        }
    }

    fn stack(&self, number: u32) -> StackId {
        self.stack_in(SlotIndex::new(number)).expect("a live slot")
    }

    fn judge(
        &self,
        delivery: Delivery,
        address: usize,
        sp: usize,
        context: Context,
    ) -> Option<Verdict> {
        let fault = Fault {
            delivery,
            address: Addr::new(address),
            sp: Addr::new(sp),
            pc: Addr::new(0x1000),
            cpu: CPU,
        };
        judge(&self.arena, self, &fault, &context)
    }
}

impl StackTable for Machine {
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
        let body = self.arena.body(slot);
        let (kind, cpu, owner, range) = match slot.get() {
            0 => (StackKind::Irq, Some(CPU), 0, body),
            1 => (StackKind::Thread, None, 7, body),
            2 => {
                let lowest = body.top.wrapping_sub(ByteSize::pages(2));
                (StackKind::DoubleFault, Some(CPU), 0, AddrRange { lowest, top: body.top })
            }
            _ => return None,
        };
        Some(StackId { kind, cpu, owner: ThreadId::new(owner), range })
    }

    fn running_on(&self, cpu: CpuId) -> Option<StackId> {
        (cpu == CPU).then(|| self.stack(1))
    }
}

const THREAD: Context = Context {
    thread: ThreadId::new(7),
    spinning_locks: 0,
    in_interrupt: false,
    in_softirq: false,
    in_nmi: false,
    bottom_halves_disabled: false,
    interrupts_off: false,
    kernel_lowest: Addr::new(0xffff_8880_0000_0000),
};

/// Red if an entry that ran with a program's SP is a thread's overflow.
#[test]
fn o5_a_stack_pointer_in_the_programs_half_is_no_threads_and_stops_the_system() {
    let machine = Machine::new();
    let lowest = THREAD.kernel_lowest.get();
    let judged = |sp: usize| machine.judge(Delivery::AnotherStack, sp.wrapping_sub(8), sp, THREAD);
    for sp in [8, 0x1000, 0x7fff_ffff_f000, 0x0000_8000_0000_0000, lowest - 8] {
        let verdict = judged(sp).expect("a verdict");
        assert_eq!(verdict.consequence, Consequence::StopSystem, "SP {sp:#x}");
    }
    // The same SP, as far as it is the kernel's.
    let verdict = judged(lowest).expect("a verdict");
    assert_eq!(verdict.consequence, Consequence::EndThread);
}

#[test]
fn o1_a_push_into_the_guard_ends_the_thread_wherever_sp_stands() {
    let machine = Machine::new();
    let thread = machine.stack(1);
    let lowest = thread.range.lowest.get();
    // SP above the edge, exactly on it, and in the guard.
    for (sp, address) in
        [(lowest + 40, lowest - 8), (lowest, lowest - 8), (lowest - 96, lowest - 104)]
    {
        let verdict =
            machine.judge(Delivery::AnotherStack, address, sp, THREAD).expect("an overflow");
        assert_eq!(verdict.stack, thread);
        assert_eq!(verdict.side, Side::Below);
        assert_eq!(verdict.cause, Cause::GuardHit);
        assert_eq!(verdict.consequence, Consequence::EndThread);
    }
}

/// The handler of double faults, too deep itself: red if the thread is blamed that it judges, and
/// ended while the handler is half done; or if a thread's stray SP is blamed on that stack.
#[test]
fn o4_an_overflow_of_the_double_fault_stack_is_that_stacks_and_stops_the_system() {
    let machine = Machine::new();
    let (thread, own) = (machine.stack(1), machine.stack(2));
    let lowest = own.range.lowest.get();
    let in_handler = Context { interrupts_off: true, ..THREAD };
    for (sp, address) in [(lowest, lowest - 8), (lowest - 96, lowest - 104)] {
        let verdict = machine.judge(Delivery::AnotherStack, address, sp, in_handler);
        let verdict = verdict.expect("an overflow");
        assert_eq!((verdict.stack, verdict.cause), (own, Cause::GuardHit));
        assert_eq!(verdict.consequence, Consequence::StopSystem);
    }
    let stray = machine.judge(Delivery::AnotherStack, lowest - 104, lowest - 96, THREAD);
    assert_eq!(stray.expect("an overflow").stack, thread);
}

/// What an end word that was overwritten says: the stack, its thread, and that the system stops.
#[test]
fn t12_the_report_of_an_end_word_names_the_stack_and_no_distance() {
    let machine = Machine::new();
    let stack = machine.stack(1);
    let fault = Fault {
        delivery: Delivery::OwnStack,
        address: stack.range.lowest,
        sp: stack.range.top,
        pc: Addr::new(0x1000),
        cpu: CPU,
    };
    let verdict = Verdict {
        stack,
        side: Side::Below,
        distance: ByteSize::ZERO,
        cause: Cause::EndOverwritten,
        consequence: Consequence::StopSystem,
    };
    let report = OverflowReport {
        verdict,
        fault,
        context: THREAD,
        backtrace: Backtrace::empty(),
        frame: Addr::new(0),
    };
    let text = report.head().to_string();
    assert!(text.starts_with("kernel stack end overwritten: thread stack of thread 7 ["), "{text}");
    assert!(text.contains("the system stops") && !text.contains("its edge"), "{text}");
    assert_eq!(Cause::EndOverwritten.name(), "end-overwritten");
}

#[test]
fn o1_a_frame_larger_than_the_guard_is_blamed_on_the_thread_that_ran() {
    let machine = Machine::new();
    let thread = machine.stack(1);
    let guard = Geometry::X86_64.guard_below().get();
    // In the guard above of the slot below; in that slot's own guard below; below the arena.
    for beyond in [guard + 100, guard + 0x6000, 0x10_0000] {
        let sp = thread.range.lowest.get() - beyond;
        if machine.arena.range().contains(Addr::new(sp))
            && machine.stack(0).range.contains(Addr::new(sp))
        {
            continue;
        }
        let verdict =
            machine.judge(Delivery::AnotherStack, sp - 8, sp, THREAD).expect("an overflow");
        assert_eq!(verdict.stack, thread, "{beyond:#x} beyond");
        assert_eq!(verdict.consequence, Consequence::EndThread);
    }
}

/// Between the bodies of slots 1 and 2 lie the guard above the one and the guard below the other.
/// Red if the thread, on whose side SP stands, or no thread were blamed.
#[test]
fn o2_a_frame_past_the_guard_of_a_cpus_stack_is_blamed_on_that_stack() {
    let machine = Machine::new();
    let (neighbour, stack) = (machine.stack(1), machine.stack(2));
    let context = Context { in_interrupt: true, ..THREAD };
    let sp = neighbour.range.top.get() + 64;
    let verdict = machine.judge(Delivery::AnotherStack, sp, sp, context).expect("an overflow");
    assert_eq!((verdict.stack, verdict.side), (stack, Side::Below));
    assert_eq!(verdict.cause, Cause::FrameBeyondGuard);
    assert_eq!(verdict.distance.get(), stack.range.lowest.get() - sp + 1);
    assert_eq!(verdict.consequence, Consequence::StopSystem);
    // The first slot's neighbour is the end of the arena.
    let first = machine.stack(0);
    let sp = machine.arena.range().lowest.get() - 64;
    let verdict = machine.judge(Delivery::AnotherStack, sp, sp, context).expect("an overflow");
    assert_eq!((verdict.stack, verdict.cause), (first, Cause::FrameBeyondGuard));
    let sp = neighbour.range.top.get() + 64;
    // A thread that is not in an interrupt cannot have been there.
    let verdict = machine.judge(Delivery::AnotherStack, sp, sp, THREAD);
    assert!(verdict.is_none_or(|verdict| verdict.stack != stack));
}

#[test]
fn o1_a_frame_that_jumps_onto_another_cpus_stack_is_blamed_on_the_thread_that_ran() {
    // The thread on top of slot 1; slot 0 belongs to a CPU that has nothing to do with it.
    const OTHER: CpuId = CpuId::new(3);
    struct Neighbours(Machine);
    impl StackTable for Neighbours {
        fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
            let stack = self.0.stack_in(slot)?;
            Some(if slot.get() == 0 { StackId { cpu: Some(OTHER), ..stack } } else { stack })
        }

        fn running_on(&self, cpu: CpuId) -> Option<StackId> {
            self.0.running_on(cpu)
        }
    }
    let table = Neighbours(Machine::new());
    let thread = table.0.stack(1);
    // What failed may have been an access in the thread's own guard, or the entry's next to where
    // SP landed.
    let sp = table.0.stack(0).range.lowest.get() + 64;
    for address in [thread.range.lowest.get() - 4000, sp - 288] {
        let (address, sp, pc) = (Addr::new(address), Addr::new(sp), Addr::new(0x1000));
        let fault = Fault { delivery: Delivery::AnotherStack, address, sp, pc, cpu: CPU };
        let verdict = judge(&table.0.arena, &table, &fault, &THREAD).expect("an overflow");
        assert_eq!(verdict.stack, thread);
        assert_eq!(verdict.cause, Cause::FrameBeyondGuard);
        assert_eq!(verdict.consequence, Consequence::EndThread);
    }
}

#[test]
fn o1_a_stack_pointer_above_all_stacks_is_blamed_on_the_thread_that_ran() {
    let machine = Machine::new();
    let thread = machine.stack(1);
    let sp = machine.arena.range().top.get() + 0x1000;
    let verdict = machine.judge(Delivery::AnotherStack, sp - 288, sp, THREAD).expect("an overflow");
    assert_eq!((verdict.stack, verdict.side), (thread, Side::Above));
    assert_eq!(verdict.distance.get(), sp - thread.range.top.get());
    assert_eq!(verdict.consequence, Consequence::EndThread);
}

#[test]
fn o2_a_frame_beyond_the_guard_of_the_irq_stack_is_blamed_on_that_stack() {
    let machine = Machine::new();
    let irq = machine.stack(0);
    let context = Context { in_interrupt: true, ..THREAD };
    // SP is below the arena; the access that failed was in the IRQ stack's guard.
    let address = irq.range.lowest.get() - 400;
    let sp = irq.range.lowest.get() - 0x10_0000;
    let verdict = machine.judge(Delivery::AnotherStack, address, sp, context).expect("an overflow");
    assert_eq!((verdict.stack, verdict.cause), (irq, Cause::FrameBeyondGuard));
    assert_eq!(verdict.consequence, Consequence::StopSystem);
}

#[test]
fn o2_o5_a_stack_that_belongs_to_the_cpu_stops_the_system() {
    let machine = Machine::new();
    for number in [0, 2] {
        let stack = machine.stack(number);
        let lowest = stack.range.lowest.get();
        let context = Context { in_interrupt: true, ..THREAD };
        let verdict = machine
            .judge(Delivery::AnotherStack, lowest - 8, lowest, context)
            .expect("an overflow");
        assert_eq!((verdict.stack, verdict.side), (stack, Side::Below));
        assert_eq!(verdict.cause, Cause::GuardHit);
        assert_eq!(verdict.consequence, Consequence::StopSystem);
    }
}

#[test]
fn o5_a_thread_that_cannot_be_abandoned_stops_the_system() {
    let machine = Machine::new();
    let lowest = machine.stack(1).range.lowest.get();
    let reasons = [
        Context { spinning_locks: 1, ..THREAD },
        Context { in_interrupt: true, ..THREAD },
        Context { in_softirq: true, ..THREAD },
        Context { in_nmi: true, ..THREAD },
        Context { bottom_halves_disabled: true, ..THREAD },
        Context { interrupts_off: true, ..THREAD },
        Context { thread: ThreadId::NONE, ..THREAD },
        // Another thread's stack.
        Context { thread: ThreadId::new(8), ..THREAD },
    ];
    for context in reasons {
        let verdict = machine
            .judge(Delivery::AnotherStack, lowest - 8, lowest, context)
            .expect("an overflow");
        assert_eq!(verdict.consequence, Consequence::StopSystem, "{context:?}");
    }
}

#[test]
fn t2_a_stray_access_to_a_guard_names_stack_and_side() {
    let machine = Machine::new();
    let sp = machine.stack(1).range.top.get() - 0x200;
    for number in [0, 1, 2] {
        let stack = machine.stack(number);
        for (address, side, distance) in [
            (stack.range.lowest.get() - 1, Side::Below, 1),
            (stack.range.top.get(), Side::Above, 0),
            (stack.range.top.get() + 4095, Side::Above, 4095),
        ] {
            let verdict = machine.judge(Delivery::OwnStack, address, sp, THREAD).expect("a guard");
            assert_eq!((verdict.stack, verdict.side), (stack, side));
            assert_eq!(verdict.distance, ByteSize::new(distance));
            assert_eq!(verdict.cause, Cause::GuardAccess);
            assert_eq!(verdict.consequence, Consequence::EndThread);
        }
    }
}

#[test]
fn o1_what_is_not_about_a_stack_is_not_called_an_overflow() {
    let machine = Machine::new();
    let sp = machine.stack(1).range.top.get() - 0x200;
    let free = machine.arena.slot(SlotIndex::new(3)).lowest.get() + 8;
    for address in [0, 0x1234, sp, free, usize::MAX] {
        assert_eq!(machine.judge(Delivery::OwnStack, address, sp, THREAD), None, "{address:#x}");
    }
    // A double fault with a healthy SP has another reason.
    assert_eq!(machine.judge(Delivery::AnotherStack, 0x1234, sp, THREAD), None);
}

#[test]
fn o1_the_report_says_it_all_in_a_few_lines() {
    let machine = Machine::new();
    let lowest = machine.stack(1).range.lowest.get();
    let verdict =
        machine.judge(Delivery::AnotherStack, lowest - 8, lowest, THREAD).expect("an overflow");
    let fault = Fault {
        delivery: Delivery::AnotherStack,
        address: Addr::new(lowest - 8),
        sp: Addr::new(lowest),
        pc: Addr::new(0x1000),
        cpu: CPU,
    };
    let report = OverflowReport {
        verdict,
        fault,
        context: THREAD,
        backtrace: Backtrace::empty(),
        frame: Addr::new(0),
    };
    let expected = "\
kernel stack overflow: thread stack of thread 7 [0xffffc9000000c000..0xffffc90000010000)
  8 bytes below its edge, on CPU 2
  address 0xffffc9000000bff8  sp 0xffffc9000000c000  pc 0x1000
  thread 7 is ended
";
    let text = report.head().to_string();
    assert_eq!(report.to_string(), text, "an empty backtrace is no text");
    // `distance` counts from the edge to the byte that was hit, from below the edge.
    assert_eq!(text.lines().count(), expected.lines().count());
    assert_eq!(text, expected);
}

/// The push that fails is the switch's: the next thread is `running` already. Red if it were
/// blamed, or anybody ended.
#[test]
fn o6_an_overflow_of_the_switch_names_the_thread_that_leaves_and_ends_none() {
    // Slot 1 is running; slot 3, which another thread leaves, is live here.
    struct Switching(Machine);
    impl StackTable for Switching {
        fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
            if slot.get() == 3 {
                let range = self.0.arena.body(slot);
                return Some(StackId {
                    kind: StackKind::Thread,
                    cpu: None,
                    owner: ThreadId::new(9),
                    range,
                });
            }
            self.0.stack_in(slot)
        }
        fn running_on(&self, cpu: CpuId) -> Option<StackId> {
            self.0.running_on(cpu)
        }
    }
    let machine = Switching(Machine::new());
    let leaving = machine.stack_in(SlotIndex::new(3)).expect("live");
    let lowest = leaving.range.lowest.get();
    let context = Context { interrupts_off: true, ..THREAD };
    for (sp, address) in
        [(lowest + 24, lowest - 8), (lowest, lowest - 8), (lowest - 64, lowest - 64)]
    {
        let fault = Fault {
            delivery: Delivery::AnotherStack,
            address: Addr::new(address),
            sp: Addr::new(sp),
            pc: Addr::new(0x1000),
            cpu: CPU,
        };
        let verdict = judge(&machine.0.arena, &machine, &fault, &context).expect("an overflow");
        assert_eq!(verdict.stack, leaving, "SP {sp:#x}");
        assert_eq!((verdict.side, verdict.cause), (Side::Below, Cause::GuardHit));
        assert_eq!(verdict.consequence, Consequence::StopSystem);
        // With interrupts on, the same SP is one that the running thread has jumped to.
        let verdict = judge(&machine.0.arena, &machine, &fault, &THREAD);
        assert!(verdict.is_none_or(|verdict| verdict.stack.owner.get() == 7), "SP {sp:#x}");
    }
}

/// Below an SP of 0 lies the highest address. Red if no stack were found.
#[test]
fn o6_a_stack_pointer_of_0_is_below_the_stack_that_ran() {
    let machine = Machine::new();
    // Where the kernel's half begins is what says that such an SP is a program's; without that it
    // is a thread's that went astray.
    let unknown = Context { kernel_lowest: Addr::new(0), ..THREAD };
    for (sp, context) in
        [(0, THREAD), (0, unknown), (8, unknown), (0, Context { spinning_locks: 1, ..unknown })]
    {
        let verdict = machine
            .judge(Delivery::AnotherStack, 0_usize.wrapping_sub(8), sp, context)
            .expect("an overflow");
        assert_eq!(verdict.stack, machine.stack(1));
        assert_eq!((verdict.side, verdict.cause), (Side::Below, Cause::FrameBeyondGuard));
        assert_eq!(verdict.distance.get(), verdict.stack.range.lowest.get() - sp + 1);
        let may_end = context.kernel_lowest.get() == 0 && context.spinning_locks == 0;
        assert_eq!(verdict.consequence == Consequence::EndThread, may_end);
    }
}

/// Red if a comparison is off by one at either end of a stack: its own first and last bytes are no
/// guard, and the next ones are.
#[test]
fn t2_o1_the_edges_of_a_stack_belong_to_the_stack_and_the_next_bytes_to_its_guards() {
    let machine = Machine::new();
    let inside = machine.stack(1).range.top.get() - 0x200;
    for number in [0, 1, 2] {
        let stack = machine.stack(number);
        let (lowest, top) = (stack.range.lowest.get(), stack.range.top.get());
        for address in [lowest, lowest + 1, top - 1] {
            assert_eq!(machine.judge(Delivery::OwnStack, address, inside, THREAD), None);
        }
        for (address, side, distance) in [(lowest - 1, Side::Below, 1), (top, Side::Above, 0)] {
            let verdict = machine.judge(Delivery::OwnStack, address, inside, THREAD);
            let verdict = verdict.expect("a guard");
            assert_eq!((verdict.stack, verdict.side), (stack, side));
            assert_eq!(verdict.distance.get(), distance);
        }
    }
}

/// The CPU could push nothing although SP stands well inside the thread's stack: what failed was an
/// access elsewhere. Red if the guard of whichever stack the address lies in counts as this one's.
#[test]
fn o1_a_guard_of_another_stack_is_no_overflow_of_the_one_that_sp_is_on() {
    let machine = Machine::new();
    let thread = machine.stack(1);
    for sp in
        [thread.range.top.get() - 0x200, thread.range.top.get(), thread.range.lowest.get() + 1]
    {
        for number in [0, 2] {
            let address = machine.stack(number).range.lowest.get() - 8;
            assert_eq!(machine.judge(Delivery::AnotherStack, address, sp, THREAD), None, "{sp:#x}");
        }
        // Nor is the guard above its own.
        let above = thread.range.top.get() + 8;
        assert_eq!(machine.judge(Delivery::AnotherStack, above, sp, THREAD), None, "{sp:#x}");
    }
}

/// An SP that leads elsewhere, right past each end of the running thread's stack.
#[test]
fn o1_a_stack_pointer_right_past_an_end_is_on_that_side() {
    let machine = Machine::new();
    let thread = machine.stack(1);
    let (lowest, top) = (thread.range.lowest.get(), thread.range.top.get());
    let judged = |sp: usize| machine.judge(Delivery::AnotherStack, 0x1234, sp, THREAD);
    assert_eq!(judged(top), None, "an empty stack");
    let above = judged(top + 1).expect("past the top");
    assert_eq!((above.stack, above.side, above.distance.get()), (thread, Side::Above, 1));
    let below = judged(lowest).map(|verdict| (verdict.side, verdict.distance.get()));
    // SP on the lowest byte: the push to below it may have failed, but what failed was elsewhere.
    assert_eq!(below, None);
    let below = judged(lowest - 1).expect("past the end");
    assert_eq!((below.stack, below.side, below.distance.get()), (thread, Side::Below, 2));
    assert_eq!(below.cause, Cause::GuardHit);
}

#[test]
fn o1_reports_use_these_words() {
    assert_eq!([Side::Below, Side::Above].map(Side::name), ["below", "above"]);
    let causes = [Cause::GuardHit, Cause::FrameBeyondGuard, Cause::GuardAccess];
    assert_eq!(causes.map(Cause::name), ["guard-hit", "frame-beyond-guard", "guard-access"]);
    let consequences = [Consequence::EndThread, Consequence::StopSystem];
    assert_eq!(consequences.map(Consequence::name), ["end-thread", "stop-system"]);

    let machine = Machine::new();
    let text = |number, side, distance, cause, consequence, context| {
        let stack = machine.stack(number);
        let distance = ByteSize::new(distance);
        let verdict = Verdict { stack, side, distance, cause, consequence };
        let (address, sp, pc) = (Addr::new(0x10), Addr::new(0x20), Addr::new(0x30));
        let fault = Fault { delivery: Delivery::OwnStack, address, sp, pc, cpu: CPU };
        OverflowReport {
            verdict,
            fault,
            context,
            backtrace: Backtrace::empty(),
            frame: Addr::new(0),
        }
        .head()
        .to_string()
    };
    let beyond = Cause::FrameBeyondGuard;
    let stop = Consequence::StopSystem;
    let text_of = |cause, side| text(1, side, 1, cause, Consequence::EndThread, THREAD);
    assert!(text_of(beyond, Side::Above).starts_with("kernel stack left, by a stack pointer"));
    assert!(text_of(beyond, Side::Below).starts_with("kernel stack overflow, by one frame larger"));
    let access = text_of(Cause::GuardAccess, Side::Above);
    assert!(access.starts_with("guard page accessed: thread stack of thread 7 ["), "{access}");
    assert!(
        access.contains("\n  1 byte above its edge, on CPU 2\n  address 0x10  sp 0x20  pc 0x30\n")
    );
    assert!(access.ends_with("  thread 7 is ended\n"));
    let irq = text(0, Side::Below, 2, Cause::GuardHit, stop, THREAD);
    assert!(irq.starts_with("kernel stack overflow: irq stack of CPU 2 ["), "{irq}");
    assert!(irq.contains("\n  2 bytes below its edge") && irq.ends_with("belongs to the CPU\n"));
    let why = |context| text(1, Side::Below, 2, Cause::GuardHit, stop, context);
    for (context, words) in [
        (THREAD, "(0 spinning locks)"),
        (Context { spinning_locks: 2, ..THREAD }, "(2 spinning locks)"),
        (Context { in_interrupt: true, ..THREAD }, "(0 spinning locks, in an interrupt)"),
        (Context { in_softirq: true, ..THREAD }, "(0 spinning locks, in a softirq)"),
        (Context { in_nmi: true, ..THREAD }, "(0 spinning locks, in an NMI)"),
        (Context { interrupts_off: true, ..THREAD }, "(0 spinning locks, interrupts off)"),
        (
            Context { bottom_halves_disabled: true, ..THREAD },
            "(0 spinning locks, bottom halves disabled)",
        ),
    ] {
        let told = why(context);
        assert!(told.ends_with(&format!("thread 7 cannot be abandoned {words}\n")), "{told}");
    }
}

/// A stack that is none of the arena's, as a boot stack is: the only one a CPU has before the arena
/// is there.
struct Elsewhere(StackId);

impl StackTable for Elsewhere {
    fn stack_in(&self, _: SlotIndex) -> Option<StackId> {
        None
    }

    fn running_on(&self, _: CpuId) -> Option<StackId> {
        Some(self.0)
    }
}

/// Red if an SP at the very top, where a stack is empty, counts as one that has left it.
#[test]
fn o1_n10_a_stack_outside_of_the_arena_is_left_past_its_edges_and_not_at_its_top() {
    let range = AddrRange { lowest: Addr::new(0x10_0000), top: Addr::new(0x10_4000) };
    let stack = StackId { kind: StackKind::Boot, cpu: Some(CPU), owner: ThreadId::NONE, range };
    let judged = |sp: usize| {
        let (address, pc) = (Addr::new(sp - 8), Addr::new(0x1000));
        let fault =
            Fault { delivery: Delivery::AnotherStack, address, sp: Addr::new(sp), pc, cpu: CPU };
        let context = Context { kernel_lowest: Addr::new(0), ..THREAD };
        let verdict = judge(&Machine::new().arena, &Elsewhere(stack), &fault, &context)?;
        Some((verdict.side, verdict.distance.get()))
    };
    for sound in [0x10_0001, 0x10_3fff, 0x10_4000] {
        assert_eq!(judged(sound), None, "{sound:#x}");
    }
    assert_eq!(judged(0x10_4001), Some((Side::Above, 1)));
    assert_eq!(judged(0x10_0000), Some((Side::Below, 1)));
    assert_eq!(judged(0x0f_fff8), Some((Side::Below, 9)));
}
