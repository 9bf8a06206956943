//! The unwinder over stacks that are arrays: seams, boundaries, and arbitrary memory.

use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::kind::StackKind;
use kstack_core::stacks::{StackId, StackLookup};
use kstack_core::unwind::{Backtrace, End, FrameRules, SavedRegs, Step, Unwinder};

const WORD: usize = size_of::<usize>();

/// Frame rules of a machine invented for these tests: bit 0 marks saved registers of four words: pc, sp, fp, user.
struct Rules;

impl FrameRules for Rules {
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        (fp.get() % WORD == 1).then(|| Addr::new(fp.get() - 1))
    }

    const SAVED_REGS: ByteSize = ByteSize::new(4 * WORD);

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<SavedRegs> {
        let mut word = |i: usize| read(Addr::new(at.get() + i * WORD));
        Some(SavedRegs {
            pc: Addr::new(word(0)?),
            sp: Addr::new(word(1)?),
            fp: Addr::new(word(2)?),
            from_user: word(3)? != 0,
        })
    }
}

/// One stack with its words.
struct Stack {
    id: StackId,
    words: Vec<usize>,
}

struct Machine(Vec<Stack>);

impl StackLookup for Machine {
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        self.0.iter().map(|stack| stack.id).find(|id| id.range.contains(addr))
    }
}

impl Machine {
    fn with(stacks: &[(StackKind, usize)]) -> Self {
        let stack = |&(kind, lowest): &(StackKind, usize)| Stack {
            id: StackId {
                kind,
                cpu: Some(CpuId::new(0)),
                owner: 7,
                range: AddrRange::sized(Addr::new(lowest), ByteSize::new(64 * WORD)),
            },
            words: vec![0; 64],
        };
        Self(stacks.iter().map(stack).collect())
    }

    fn put(&mut self, at: usize, value: usize) {
        let stack = self
            .0
            .iter_mut()
            .find(|stack| stack.id.range.contains(Addr::new(at)))
            .expect("on a stack");
        let index = (at - stack.id.range.lowest.get()) / WORD;
        stack.words[index] = value;
    }

    /// A frame record at `at`.
    fn frame(&mut self, at: usize, fp: usize, pc: usize) {
        self.put(at, fp);
        self.put(at + WORD, pc);
    }

    fn regs(&mut self, at: usize, pc: usize, sp: usize, fp: usize, user: bool) {
        for (i, word) in [pc, sp, fp, usize::from(user)].into_iter().enumerate() {
            self.put(at + i * WORD, word);
        }
    }

    /// Reads like a kernel would; asserts what the unwinder promises of its reads.
    fn read(&self, at: Addr) -> Option<usize> {
        assert_eq!(at.get() % WORD, 0, "aligned reads only");
        let stack = self.0.iter().find(|stack| stack.id.range.contains(at));
        let stack = stack.unwrap_or_else(|| panic!("read {at} outside all stacks"));
        Some(stack.words[(at.get() - stack.id.range.lowest.get()) / WORD])
    }

    fn walk(&self, fp: usize) -> Vec<Step> {
        let mut unwinder = Unwinder::new(self, |at| self.read(at), Addr::new(fp));
        let mut steps = Vec::new();
        loop {
            let step = unwinder.step::<Rules>();
            steps.push(step);
            assert!(steps.len() < 2000, "the walk does not end");
            if let Step::End(_) = step {
                return steps;
            }
        }
    }
}

fn callers(steps: &[Step]) -> Vec<usize> {
    let pc = |step: &Step| match step {
        Step::Caller(pc) => Some(pc.get()),
        Step::Interrupted(regs) => Some(regs.pc.get()),
        _ => None,
    };
    steps.iter().filter_map(pc).collect()
}

fn end(steps: &[Step]) -> End {
    match steps.last() {
        Some(Step::End(end)) => *end,
        other => panic!("no end but {other:?}"),
    }
}

const THREAD: usize = 0x1_0000;
const IRQ: usize = 0x2_0000;
const LOW_IRQ: usize = 0x8000;

#[test]
fn b2_a_plain_chain_ends_reliably_at_the_outermost_marker() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    machine.frame(THREAD + 0x40, THREAD + 0x80, 0xa1);
    machine.frame(THREAD + 0x80, THREAD + 0x100, 0xa2);
    machine.frame(THREAD + 0x100, 0, 0xa3);
    let steps = machine.walk(THREAD + 0x40);
    assert_eq!(callers(&steps), [0xa1, 0xa2, 0xa3]);
    assert_eq!(end(&steps), End::Reliable);
}

/// The stack that is called may lie above or below the one that calls.
#[test]
fn b2_an_interrupt_in_a_softirq_in_a_system_call_crosses_every_seam_to_user_mode() {
    for irq in [IRQ, LOW_IRQ] {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, irq)]);
        // On the IRQ stack, innermost first: a handler, the registers of the softirq it interrupted, the softirq.
        machine.frame(irq + 0x20, (irq + 0x40) | 1, 0xb1);
        machine.regs(irq + 0x40, 0xb2, irq + 0x60, irq + 0x80, false);
        machine.frame(irq + 0x80, THREAD + 0x40, 0xb3);
        // On the thread stack: call_on_stack, the registers of the system call it interrupted, the system call.
        machine.frame(THREAD + 0x40, (THREAD + 0x60) | 1, 0xc1);
        machine.regs(THREAD + 0x60, 0xc2, THREAD + 0x80, THREAD + 0xa0, false);
        machine.frame(THREAD + 0xa0, (THREAD + 0x1c0) | 1, 0xc3);
        machine.regs(THREAD + 0x1c0, 0xd1, 0x7fff_0000, 0x7fff_0010, true);
        let steps = machine.walk(irq + 0x20);
        assert_eq!(callers(&steps), [0xb1, 0xb2, 0xb3, 0xc1, 0xc2, 0xc3]);
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

/// Any words at all: the walk ends, and `Machine::read` asserts that it stays on stacks. Words are drawn so that many look
/// like frame pointers. Red if `enter` drops any of its checks.
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
    machine.frame(THREAD + 40 * WORD, 0, 0xbb);
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

/// The frame pointer there is a program's: one that looks like a frame of the kernel must not be followed, and 0 is no sign of
/// an outermost frame while SP is a program's too.
#[test]
fn b2_an_interrupted_entry_from_user_mode_ends_without_a_look_at_the_programs_frame_pointer() {
    const TOP: usize = THREAD + 64 * WORD;
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Irq, IRQ)]);
    machine.frame(THREAD + 0x80, 0, 0xa1);
    machine.regs(TOP - 4 * WORD, 0xd1, 0x7fff_0000, 0x7fff_0010, true);
    let ends = |sp: usize, fp: usize| {
        let regs = SavedRegs {
            pc: Addr::new(0xe1),
            sp: Addr::new(sp),
            fp: Addr::new(fp),
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
    assert_eq!(ends(TOP - 5 * WORD, THREAD + 0x80), (2, End::Reliable));
    // SP is the program's.
    assert_eq!(ends(0x7fff_0000, 0), (1, End::UnknownStack(Addr::new(0x7fff_0000))));
}

/// Whoever wrote the frame pointer that stands there: what comes after a boundary to user mode, or after the end, is the end, though
/// a frame lies right where the walk would go on. Red if the rest of the stack is not given up with the decision.
#[test]
fn b2_nothing_follows_a_boundary_or_an_end_even_if_a_frame_lies_on_the_same_stack() {
    const TOP: usize = THREAD + 64 * WORD;
    const FRAME: usize = THREAD + 32 * WORD;
    let after = |regs: Option<(usize, bool)>| {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
        machine.frame(THREAD, THREAD + 4 * WORD + usize::from(regs.is_some()), 0xa1);
        if let Some((sp, user)) = regs {
            machine.regs(THREAD + 4 * WORD, 0xa2, sp, FRAME, user);
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
    // The frame itself is sound: from kernel code further down the walk goes on with it.
    let steps = after(Some((THREAD, false)));
    assert_eq!(steps[2], Step::Caller(Addr::new(0xa3)));
    // A record of zeros ends a chain, with a stack full of words above it.
    let steps = after(None);
    assert_eq!(steps[1..3], [Step::Caller(Addr::new(0)), reliable]);
    assert_eq!(steps[3..], [reliable; 3]);
}
