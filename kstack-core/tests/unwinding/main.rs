//! The unwinder over stacks that are arrays: seams, boundaries, and arbitrary memory.

mod limits;
mod machine;
mod tabled;

use kstack_core::addr::Addr;
use kstack_core::kind::StackKind;
use kstack_core::unwind::{Backtrace, End, SavedRegs, Step, Unwinder};
use machine::*;

const THREAD: usize = 0x1_0000;
const IRQ: usize = 0x2_0000;
const LOW_IRQ: usize = 0x8000;

/// Where entries from user mode save registers on the thread's stack.
const SAVED: usize = THREAD + 60 * WORD;

#[test]
fn b2_a_plain_chain_ends_reliably_at_the_registers_that_are_kept_for_user_mode() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    machine.frame(THREAD + 0x40, THREAD + 0x80, 0xa1);
    machine.frame(THREAD + 0x80, THREAD + 0x100, 0xa2);
    machine.frame(THREAD + 0x100, SAVED | 1, 0xa3);
    let steps = machine.walk(THREAD + 0x40);
    assert_eq!(callers(&steps), [0xa1, 0xa2, 0xa3]);
    assert_eq!(end(&steps), End::Reliable);
    assert_eq!(steps.len(), 4, "a kernel thread was never in user mode: {steps:x?}");
    // One that was.
    machine.regs(SAVED, 0xd1, 0x7fff_0000, 0, true);
    let steps = machine.walk(THREAD + 0x40);
    assert!(matches!(steps[3], Step::UserBoundary(_)), "{steps:x?}");
    assert_eq!(end(&steps), End::Reliable);
    // A stack pointer of 0 is a program's too, and so is a program counter of 0.
    for (pc, sp) in [(0xd1, 0), (0, 0x7fff_0000)] {
        machine.regs(SAVED, pc, sp, 0, true);
        let steps = machine.walk(THREAD + 0x40);
        assert!(matches!(steps[3], Step::UserBoundary(_)), "{steps:x?}");
    }
}

/// 0 is any value of a register that is no frame pointer. Red if it ends a walk reliably wherever
/// it stands.
#[test]
fn b2_a_frame_pointer_of_0_is_the_outermost_only_at_the_top_of_a_cpus_stack() {
    let unknown = End::UnknownStack(Addr::new(0));
    let ends_at = |kind: StackKind, from_top: usize| {
        let mut machine = Machine::with(&[(kind, THREAD)]);
        let outermost = THREAD + 64 * WORD - from_top * WORD - 2 * WORD;
        machine.frame(THREAD, outermost, 0xa1);
        machine.frame(outermost, 0, 0xa2);
        let steps = machine.walk(THREAD);
        assert_eq!(callers(&steps), [0xa1, 0xa2]);
        end(&steps)
    };
    for kind in StackKind::ALL {
        let has_an_outermost_function = matches!(kind, StackKind::Idle | StackKind::Boot);
        let expected = if has_an_outermost_function { End::Reliable } else { unknown };
        assert_eq!(ends_at(kind, 0), expected, "{kind}");
        assert_eq!(ends_at(kind, 32), expected, "{kind}");
        assert_eq!(ends_at(kind, 33), unknown, "{kind}");
    }
    // Before any frame, on no stack at all.
    let machine = Machine::with(&[(StackKind::Idle, THREAD)]);
    assert_eq!(end(&machine.walk(0)), unknown);
}

/// Red if the walk continues on a stack that may be unmapped between two reads.
#[test]
fn b2_t8_a_stack_that_nobody_keeps_is_not_read() {
    let mut machine = Machine::with(&[(StackKind::Irq, IRQ), (StackKind::Thread, THREAD)]);
    machine.frame(IRQ, THREAD + 0x40, 0xb1);
    machine.frame(THREAD + 0x40, SAVED | 1, 0xa1);
    assert_eq!(end(&machine.walk(IRQ)), End::Reliable);
    machine.0[1].kept = false;
    let steps = machine.walk(IRQ);
    assert_eq!(
        (callers(&steps), end(&steps)),
        (vec![0xb1], End::NotKept(Addr::new(THREAD + 0x40)))
    );
    assert_eq!(end(&machine.walk(THREAD + 0x40)), End::NotKept(Addr::new(THREAD + 0x40)));
    machine.frame(IRQ, THREAD + 0x41, 0xb1);
    assert_eq!(end(&machine.walk(IRQ)), End::NotKept(Addr::new(THREAD + 0x40)));
}

/// This CPU goes back to it. Only registers where an entry puts them say so: any others could be
/// anybody's words.
#[test]
fn b2_the_stack_that_an_exception_interrupted_is_kept() {
    const NMI: usize = 0x3_0000;
    let walk = |kind: StackKind, regs_at: usize| {
        let mut machine = Machine::with(&[(kind, NMI), (StackKind::Thread, THREAD)]);
        machine.0[1].kept = false;
        machine.frame(NMI, regs_at | 1, 0xe1);
        machine.regs(regs_at, 0xa4, THREAD + 0x20, THREAD + 0x40, false);
        machine.frame(THREAD + 0x40, SAVED | 1, 0xa1);
        end(&machine.walk(NMI))
    };
    let not_kept = End::NotKept(Addr::new(THREAD + 0x40));
    let top = NMI + 64 * WORD;
    for kind in [StackKind::NmiBody, StackKind::Overflow, StackKind::Debug] {
        for words in [4, 6, 40] {
            assert_eq!(walk(kind, top - words * WORD), End::Reliable, "{kind} {words}");
        }
        assert_eq!(walk(kind, top - 41 * WORD), not_kept, "{kind}");
    }
    for kind in [StackKind::Irq, StackKind::Softirq, StackKind::Idle, StackKind::Boot] {
        assert_eq!(walk(kind, top - 4 * WORD), not_kept, "{kind}");
    }
}

/// Red if any marked words that say "user mode" end a walk reliably.
#[test]
fn b2_registers_of_user_mode_lie_where_entries_put_them() {
    let walk = |kind: StackKind, from_top: usize| {
        let mut machine = Machine::with(&[(kind, THREAD)]);
        let at = THREAD + (64 - from_top) * WORD;
        machine.frame(THREAD, at | 1, 0xa1);
        machine.regs(at, 0xd1, 0x7fff_0000, 0, true);
        (end(&machine.walk(THREAD)), End::NotAnEntry(Addr::new(at)))
    };
    for from_top in [5, 6, 40] {
        let (end, wrong) = walk(StackKind::Thread, from_top);
        assert_eq!(end, wrong);
        let (end, _) = walk(StackKind::Debug, from_top);
        assert_eq!(end, End::Reliable);
    }
    assert_eq!(walk(StackKind::Thread, 4).0, End::Reliable);
    for (kind, from_top) in [(StackKind::Irq, 4), (StackKind::Debug, 41)] {
        let (end, wrong) = walk(kind, from_top);
        assert_eq!(end, wrong);
    }
}

/// Where the walk begins at an interrupted instruction, or crosses one: the caller is found where
/// the code says, or doubted.
#[test]
fn b2_the_caller_of_an_interrupted_function_is_found_or_doubted() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, IRQ)]);
    machine.put(THREAD + 0x20, 0xc1);
    machine.put(THREAD + 0x20 + WORD, 0xc2);
    machine.frame(THREAD + 0x40, SAVED | 1, 0xa4);
    let doubt = |pc| End::InnermostMayBeMissing(Addr::new(pc));
    let table: [(usize, &[usize], End); 9] = [
        (0xa0, &[0xa0, 0xc1, 0xa4], End::Reliable),
        (0xa1, &[0xa1, 0xc3, 0xa4], End::Reliable),
        (0xa2, &[0xa2, 0xa4], doubt(0xa2)),
        (0xa3, &[0xa3, 0xc2, 0xa4], End::Reliable),
        (0xa4, &[0xa4, 0xa4], End::Reliable),
        // Of a function without frames only the edges are known.
        (0xf0, &[0xf0, 0xc1, 0xa4], End::Reliable),
        (0xf4, &[0xf4, 0xa4], doubt(0xf4)),
        // Hand-written code, and unknown code.
        (0xe0, &[0xe0, 0xa4], doubt(0xe0)),
        (0x100, &[0x100, 0xa4], doubt(0x100)),
    ];
    for (pc, expected, expected_end) in table {
        let regs = SavedRegs {
            pc: Addr::new(pc),
            sp: Addr::new(THREAD + 0x20),
            fp: Addr::new(THREAD + 0x40),
            link: Some(Addr::new(0xc3)),
            from_user: false,
        };
        let mut unwinder = Unwinder::from_regs(&machine, |at| machine.read(at), regs);
        let mut steps = Backtrace::<8>::empty();
        steps.collect::<Rules, _, _>(&mut unwinder);
        let all: Vec<Step> = steps.steps().iter().map(|(step, _)| *step).collect();
        assert_eq!(callers(&all), expected, "{pc:#x}");
        assert_eq!(steps.end(), Some(expected_end), "{pc:#x}");
        assert_eq!(steps.is_reliable(), expected_end == End::Reliable);
        assert!(expected_end.is_outermost());
    }
    // The same in the middle of a walk, from another stack; there is no link register in these
    // registers.
    for (pc, expected, expected_end) in table {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, IRQ)]);
        machine.frame(IRQ, (THREAD + 0x80) | 1, 0xa4);
        machine.regs(THREAD + 0x80, pc, THREAD + 0xa0, THREAD + 0xc0, false);
        machine.put(THREAD + 0xa0, 0xc1);
        machine.put(THREAD + 0xa0 + WORD, 0xc2);
        machine.frame(THREAD + 0xc0, SAVED | 1, 0xa4);
        let steps = machine.walk(IRQ);
        let in_link = pc & 0xf == 1;
        let expected: Vec<usize> =
            [0xa4].iter().chain(expected).copied().filter(|&pc| pc != 0xc3).collect();
        assert_eq!(callers(&steps), expected, "{pc:#x}");
        let expected_end = if in_link { doubt(pc) } else { expected_end };
        assert_eq!(end(&steps), expected_end, "{pc:#x}");
    }
    // SP leads nowhere, to a stack that is not kept, or past the top: nothing is read there.
    for sp in [0x7fff_0000, THREAD + 64 * WORD, THREAD + 64 * WORD - WORD, THREAD + WORD / 2, IRQ] {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, IRQ)]);
        machine.frame(THREAD + 0xc0, SAVED | 1, 0xa4);
        machine.0[1].kept = false;
        machine.frame(THREAD, (THREAD + 0x80) | 1, 0xa4);
        machine.regs(THREAD + 0x80, 0xa0, sp, THREAD + 0xc0, false);
        let steps = machine.walk(THREAD);
        assert_eq!(end(&steps), doubt(0xa0), "{sp:#x}");
    }
}

/// Red if callers are not looked at: the frame of a function that keeps none is missing without a
/// trace.
#[test]
fn b2_a_backtrace_through_code_without_frames_is_not_reliable() {
    let ends = |pcs: [usize; 3]| {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
        machine.frame(THREAD + 0x40, THREAD + 0x80, pcs[0]);
        machine.frame(THREAD + 0x80, THREAD + 0x100, pcs[1]);
        machine.frame(THREAD + 0x100, SAVED | 1, pcs[2]);
        let mut steps = Backtrace::<8>::empty();
        let mut unwinder = Unwinder::new(&machine, |at| machine.read(at), Addr::new(THREAD + 0x40));
        steps.collect::<Rules, _, _>(&mut unwinder);
        assert_eq!(steps.frames(), 3);
        steps.end().expect("an end")
    };
    let missing = |pc| End::FrameMayBeMissing(Addr::new(pc));
    assert_eq!(ends([0xa4, 0xb4, 0xc4]), End::Reliable);
    assert_eq!(ends([0xa4, 0xe4, 0xc4]), End::Reliable);
    assert_eq!(ends([0xf4, 0xb4, 0xc4]), missing(0xf4));
    assert_eq!(ends([0xa4, 0xf4, 0xf8]), missing(0xf4));
    assert_eq!(ends([0xf8, 0xf4, 0xc4]), missing(0xf8));
    assert_eq!(ends([0xa4, 0x104, 0xc4]), missing(0x104));
    // A call may be a function's last instruction: the return address is the next function's.
    assert_eq!(ends([0xa4, 0xf0, 0xc4]), End::Reliable);
    assert_eq!(ends([0xa4, 0x100, 0xc4]), missing(0x100));
    // The outermost function has no caller that could be missing.
    assert_eq!(ends([0xa4, 0xb4, 0xf4]), End::Reliable);
}

/// The stack that is called may lie above or below the one that calls.
#[test]
fn b2_an_interrupt_in_a_softirq_in_a_system_call_crosses_every_seam_to_user_mode() {
    for irq in [IRQ, LOW_IRQ] {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, irq)]);
        // On the IRQ stack, innermost first: a handler, the registers of the softirq it
        // interrupted, the softirq.
        machine.frame(irq + 0x20, (irq + 0x40) | 1, 0xb1);
        machine.regs(irq + 0x40, 0xb4, irq + 0x60, irq + 0x80, false);
        machine.frame(irq + 0x80, THREAD + 0x40, 0xb3);
        // On the thread stack: call_on_stack, the registers of the system call it interrupted, the
        // system call.
        machine.frame(THREAD + 0x40, (THREAD + 0x60) | 1, 0xc1);
        machine.regs(THREAD + 0x60, 0xc4, THREAD + 0x80, THREAD + 0xa0, false);
        machine.frame(THREAD + 0xa0, SAVED | 1, 0xc3);
        machine.regs(SAVED, 0xd1, 0x7fff_0000, 0x7fff_0010, true);
        let steps = machine.walk(irq + 0x20);
        assert_eq!(callers(&steps), [0xb1, 0xb4, 0xb3, 0xc1, 0xc4, 0xc3]);
        let seams: Vec<_> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Seam { from, to } => Some((*from, to.kind)),
                _ => None,
            })
            .collect();
        assert_eq!(seams, [(StackKind::Irq, StackKind::Thread)]);
        assert!(
            matches!(steps[steps.len() - 2], Step::UserBoundary(regs) if regs.pc.get() == 0xd1)
        );
        assert_eq!(end(&steps), End::Reliable);
    }
}

#[test]
fn b2_a_frame_pointer_that_leads_astray_ends_the_walk_by_name() {
    let outside = 0x9_0000;
    let table = [
        (outside, End::UnknownStack(Addr::new(outside))),
        (THREAD + 0x40, End::NotOutwards(Addr::new(THREAD + 0x40))),
        (THREAD + 0x20, End::NotOutwards(Addr::new(THREAD + 0x20))),
        (THREAD + 0x102, End::Misaligned(Addr::new(THREAD + 0x102))),
        // The last word of the stack: the record would reach beyond.
        (THREAD + 63 * WORD, End::NotOutwards(Addr::new(THREAD + 63 * WORD))),
        (usize::MAX - 7, End::UnknownStack(Addr::new(usize::MAX - 7))),
    ];
    for (fp, expected) in table {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
        machine.frame(THREAD + 0x40, fp, 0xa1);
        let steps = machine.walk(THREAD + 0x40);
        assert_eq!(callers(&steps), [0xa1]);
        assert_eq!(end(&steps), expected);
    }
}

#[test]
fn b2_two_stacks_that_point_at_each_other_do_not_loop() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, IRQ)]);
    machine.frame(THREAD + 0x40, IRQ + 0x40, 0xa1);
    machine.frame(IRQ + 0x40, THREAD + 0x80, 0xa2);
    machine.frame(THREAD + 0x80, IRQ + 0x80, 0xa3);
    let steps = machine.walk(THREAD + 0x40);
    assert_eq!(callers(&steps), [0xa1, 0xa2]);
    assert_eq!(end(&steps), End::StackTwice(Addr::new(THREAD + 0x80)));
}

#[test]
fn b2_memory_that_cannot_be_read_ends_the_walk() {
    let machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    let fp = Addr::new(THREAD + 0x40);
    let mut unwinder = Unwinder::new(&machine, |_| None, fp);
    assert_eq!(unwinder.step::<Rules>(), Step::End(End::Unreadable(fp)));
}

/// Any words at all: the walk ends, and `Machine::read` asserts that it stays on stacks. Words are
/// drawn so that many look like frame pointers. Red if `enter` drops any of its checks.
#[test]
fn b2_arbitrary_memory_never_leads_outside_or_in_circles() {
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let kinds = [(StackKind::Thread, THREAD), (StackKind::Irq, IRQ), (StackKind::Nmi, LOW_IRQ)];
    let mut longest = 0;
    for _ in 0..20_000 {
        let mut machine = Machine::with(&kinds);
        for stack in &mut machine.0 {
            let lowest = stack.id.range.lowest.get();
            for (i, word) in stack.words.iter_mut().enumerate() {
                let anywhere = kinds[draw() % kinds.len()].1 + draw() % (66 * WORD);
                *word = match draw() % 16 {
                    0 => draw(),
                    1 => anywhere,
                    2 | 3 => (anywhere & !(WORD - 1)) | (draw() % 2),
                    // A little further out, as in a real chain.
                    _ => lowest + (i + 1 + draw() % 6) * WORD,
                };
            }
        }
        let steps = machine.walk(kinds[draw() % kinds.len()].1 + draw() % 64 * WORD);
        longest = longest.max(steps.len());
    }
    assert!(longest > 8, "the memory drawn never looked like a stack; longest walk {longest}");
}

#[test]
fn b2_a_backtrace_keeps_the_outermost_frames_of_a_deep_recursion() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    for i in 0..20 {
        machine.frame(THREAD + i * 2 * WORD, THREAD + (i + 1) * 2 * WORD, 0xaa);
    }
    machine.frame(THREAD + 40 * WORD, SAVED | 1, 0xbb);
    let mut kept = Backtrace::<4>::empty();
    let mut unwinder = Unwinder::new(&machine, |at| machine.read(at), Addr::new(THREAD));
    kept.collect::<Rules, _, _>(&mut unwinder);
    let expected = [
        (Step::Caller(Addr::new(0xaa)), 20),
        (Step::Caller(Addr::new(0xbb)), 1),
        (Step::End(End::Reliable), 1),
    ];
    assert_eq!(kept.steps(), expected);
    assert_eq!(kept.frames(), 21);
    assert!(kept.is_reliable());
}

/// The frame pointer there is a program's: one that looks like a frame of the kernel must not be
/// followed, and 0 is no sign of an outermost frame while SP is a program's too.
#[test]
fn b2_an_interrupted_entry_from_user_mode_ends_without_a_look_at_the_programs_frame_pointer() {
    const TOP: usize = THREAD + 64 * WORD;
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, IRQ)]);
    machine.frame(THREAD + 0x80, (TOP - 4 * WORD) | 1, 0xa1);
    machine.regs(TOP - 4 * WORD, 0xd1, 0x7fff_0000, 0x7fff_0010, true);
    let ends = |sp: usize, fp: usize| {
        let regs = SavedRegs {
            // Hand-written code, as entries are.
            pc: Addr::new(0xe1),
            sp: Addr::new(sp),
            fp: Addr::new(fp),
            link: None,
            from_user: false,
        };
        let mut unwinder = Unwinder::from_regs(&machine, |at| machine.read(at), regs);
        let mut steps = Backtrace::<8>::empty();
        steps.collect::<Rules, _, _>(&mut unwinder);
        (steps.frames(), steps.end().expect("an end"))
    };
    for sp in [TOP - 4 * WORD, TOP - 3 * WORD, TOP - WORD] {
        for fp in [0, 0x1007, THREAD + 0x80, 0x7fff_0000] {
            assert_eq!(ends(sp, fp), (1, End::Reliable), "sp {sp:#x} fp {fp:#x}");
        }
    }
    // Everything saved, and marked: the boundary itself.
    assert_eq!(ends(TOP - 4 * WORD, (TOP - 4 * WORD) | 1), (1, End::Reliable));
    // Deeper, the frame pointer counts.
    let doubt = End::InnermostMayBeMissing(Addr::new(0xe1));
    assert_eq!(ends(TOP - 5 * WORD, THREAD + 0x80), (2, doubt));
    // SP is the program's.
    assert_eq!(ends(0x7fff_0000, 0), (1, End::UnknownStack(Addr::new(0x7fff_0000))));
}

/// Whatever wrote the frame pointer that stands there: what comes after a boundary to user mode, or
/// after the end, is the end, though a frame lies right where the walk would go on. Red if the rest
/// of the stack is not given up with the decision.
#[test]
fn b2_nothing_follows_a_boundary_or_an_end_even_if_a_frame_lies_on_the_same_stack() {
    const TOP: usize = THREAD + 64 * WORD;
    const FRAME: usize = THREAD + 32 * WORD;
    let after = |regs: Option<(usize, bool)>| {
        let user = regs.is_some_and(|(_, user)| user);
        let at = if user { TOP - 4 * WORD } else { THREAD + 4 * WORD };
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
        machine.frame(THREAD, if regs.is_some() { at | 1 } else { THREAD + 4 * WORD }, 0xa1);
        if let Some((sp, user)) = regs {
            machine.regs(at, 0xe1, sp, FRAME, user);
        }
        machine.frame(FRAME, 0, 0xa3);
        let mut unwinder = Unwinder::new(&machine, |at| machine.read(at), Addr::new(THREAD));
        let mut steps = Vec::new();
        while steps.len() < 6 {
            steps.push(unwinder.step::<Rules>());
        }
        steps
    };
    let reliable = Step::End(End::Reliable);
    let steps = after(Some((0x7fff_0000, true)));
    assert!(matches!(steps[1], Step::UserBoundary(_)), "{steps:?}");
    assert_eq!(steps[2..], [reliable; 4]);
    // An entry that is still saving, or loading already, what it has of user mode.
    let steps = after(Some((TOP - 4 * WORD, false)));
    assert!(matches!(steps[1], Step::Interrupted(_)), "{steps:?}");
    assert_eq!(steps[2..], [reliable; 4]);
    // The frame itself is sound: from kernel code further down the walk continues with it.
    let steps = after(Some((THREAD, false)));
    assert_eq!(steps[2], Step::Caller(Addr::new(0xa3)));
    // A record of zeros ends a chain, with a stack full of words above it, and it is not known what
    // is missing.
    let steps = after(None);
    let unknown = Step::End(End::UnknownStack(Addr::new(0)));
    assert_eq!(steps[1..3], [Step::Caller(Addr::new(0)), unknown]);
    assert_eq!(steps[3..], [unknown; 3]);
}

/// Red if a step is lost or kept in the wrong place when there is no room, or if an old one stays.
#[test]
fn b2_a_backtrace_without_room_keeps_the_inner_steps_and_the_end_and_counts_the_rest() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    for i in 0..6 {
        let next = if i == 5 { SAVED | 1 } else { THREAD + (i + 1) * 2 * WORD };
        machine.frame(THREAD + i * 2 * WORD, next, 0xa4 + (i << 8));
    }
    let walk = |kept: &mut Backtrace<4>, from: usize| {
        let mut unwinder = Unwinder::new(&machine, |at| machine.read(at), Addr::new(from));
        kept.collect::<Rules, _, _>(&mut unwinder);
    };
    let mut kept = Backtrace::<4>::empty();
    assert_eq!((kept.steps(), kept.dropped(), kept.frames(), kept.end()), (&[][..], 0, 0, None));
    walk(&mut kept, THREAD);
    let caller = |i: usize| (Step::Caller(Addr::new(0xa4 + (i << 8))), 1);
    let end = (Step::End(End::Reliable), 1);
    assert_eq!(kept.steps(), [caller(0), caller(1), caller(2), end]);
    assert_eq!((kept.dropped(), kept.frames(), kept.end()), (3, 6, Some(End::Reliable)));
    assert!(!kept.is_reliable(), "three frames are missing");
    kept.clear();
    assert_eq!((kept.steps(), kept.dropped(), kept.frames(), kept.end()), (&[][..], 0, 0, None));
    // What just fits is all there.
    walk(&mut kept, THREAD + 3 * 2 * WORD);
    assert_eq!(kept.steps(), [caller(3), caller(4), caller(5), end]);
    assert_eq!((kept.dropped(), kept.frames()), (0, 3));
    assert!(kept.is_reliable());
}
