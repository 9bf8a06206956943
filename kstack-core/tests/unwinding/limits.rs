//! How far a walk goes at most, and what it says where rules or lookup know nothing of the code.

use super::machine::*;
use super::{IRQ, THREAD};
use kstack_core::addr::{Addr, ByteSize, CpuId};
use kstack_core::kind::StackKind;
use kstack_core::stacks::{StackId, StackLookup};
use kstack_core::unwind::{Backtrace, End, FrameRules, MAX_FRAMES, SavedRegs, Step, Unwinder};
use kstack_core::verdict::{
    Cause, Consequence, Context, Delivery, Fault, OverflowReport, REPORT_STEPS, Side, Verdict,
};

/// Words of a stack that holds more frames than a walk sees.
const MANY: usize = 4 * MAX_FRAMES + 64;

/// A frame pointer chain that damage has made very long must end in a bounded time: it is walked in
/// NMIs. Red if frames, or saved registers, are not counted.
#[test]
fn b2_a_walk_sees_at_most_512_frames_of_either_sort() {
    let saved = THREAD + (MANY - 4) * WORD;
    let walk_frames = |count: usize| {
        let mut machine = Machine::of_words(MANY, &[(StackKind::Thread, THREAD)]);
        for i in 0..count {
            let at = |i: usize| THREAD + 2 * i * WORD;
            machine.frame(at(i), if i + 1 == count { saved | 1 } else { at(i + 1) }, 0xa4);
        }
        let steps = machine.walk(THREAD);
        (callers(&steps).len(), end(&steps))
    };
    // The registers at the top count as one.
    assert_eq!(walk_frames(MAX_FRAMES - 1), (MAX_FRAMES - 1, End::Reliable));
    assert_eq!(walk_frames(MAX_FRAMES), (MAX_FRAMES, End::TooLong));
    assert_eq!(walk_frames(MAX_FRAMES + 9), (MAX_FRAMES, End::TooLong));

    let mut machine = Machine::of_words(MANY, &[(StackKind::Thread, THREAD)]);
    let at = |i: usize| THREAD + 4 * i * WORD;
    for i in 0..MAX_FRAMES + 9 {
        machine.regs(at(i), 0xa4, THREAD, at(i + 1) | 1, false);
    }
    let steps = machine.walk(THREAD | 1);
    assert_eq!((callers(&steps).len(), end(&steps)), (MAX_FRAMES, End::TooLong));
}

#[test]
fn b2_a_walk_says_which_stack_it_is_on() {
    let mut machine = Machine::with(&[(StackKind::Irq, IRQ), (StackKind::Thread, THREAD)]);
    machine.frame(IRQ, THREAD, 0xb4);
    machine.frame(THREAD, (THREAD + 60 * WORD) | 1, 0xa4);
    let mut unwinder = Unwinder::new(&machine, |at| machine.read(at), Addr::new(IRQ));
    let kind = |stack: Option<StackId>| stack.map(|stack| stack.kind);
    assert_eq!(kind(unwinder.stack()), None);
    unwinder.step::<Rules>();
    assert_eq!(kind(unwinder.stack()), Some(StackKind::Irq));
    assert!(matches!(unwinder.step::<Rules>(), Step::Seam { .. }));
    assert_eq!(kind(unwinder.stack()), Some(StackKind::Thread));
}

/// Rules of an architecture that reads no code.
struct NoCode;

impl FrameRules for NoCode {
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        Rules::saved_regs_at(fp)
    }

    const SAVED_REGS: ByteSize = Rules::SAVED_REGS;

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<SavedRegs> {
        Rules::read_saved_regs(at, read)
    }
}

/// A lookup that knows no code, and of stacks that all stay.
struct StacksOnly(Machine);

impl StackLookup for StacksOnly {
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        self.0.stack_at(addr)
    }
}

/// Reliable is earned: a lookup that does not know code vouches for no caller.
#[test]
fn b2_what_is_not_said_of_code_makes_a_backtrace_doubtful() {
    fn ends<F: FrameRules>(
        lookup: &impl StackLookup,
        machine: &Machine,
        from: Option<usize>,
    ) -> End {
        let read = |at| machine.read(at);
        let mut unwinder = match from {
            None => Unwinder::new(lookup, read, Addr::new(THREAD)),
            Some(pc) => {
                let (pc, sp, fp) = (Addr::new(pc), Addr::new(THREAD), Addr::new(THREAD + 4 * WORD));
                let regs = SavedRegs { pc, sp, fp, link: None, from_user: false };
                Unwinder::from_regs(lookup, read, regs)
            }
        };
        let mut steps = Backtrace::<8>::empty();
        steps.collect::<F, _, _>(&mut unwinder);
        steps.end().expect("an end")
    }
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    machine.frame(THREAD, THREAD + 4 * WORD, 0xa4);
    machine.frame(THREAD + 4 * WORD, (THREAD + 60 * WORD) | 1, 0xb4);
    let (frame, innermost) =
        (End::FrameMayBeMissing(Addr::new(0xa4)), End::InnermostMayBeMissing(Addr::new(0xa5)));
    assert_eq!(ends::<Rules>(&machine, &machine, None), End::Reliable);
    assert_eq!(ends::<Rules>(&machine, &machine, Some(0xa5)), End::Reliable);
    assert_eq!(ends::<NoCode>(&machine, &machine, None), frame);
    assert_eq!(ends::<NoCode>(&machine, &machine, Some(0xa5)), innermost);
    let lookup = StacksOnly(machine);
    assert_eq!(ends::<Rules>(&lookup, &lookup.0, None), frame);
    assert_eq!(ends::<Rules>(&lookup, &lookup.0, Some(0xa5)), innermost);
}

/// Tools show a walk that reached the outermost frame as complete from there inwards; no other end
/// says that.
#[test]
fn b2_only_three_ends_are_at_the_outermost_frame() {
    let at = Addr::new(0x40);
    for end in [End::Reliable, End::InnermostMayBeMissing(at), End::FrameMayBeMissing(at)] {
        assert!(end.is_outermost(), "{end:?}");
    }
    for end in [
        End::NotKept(at),
        End::NotAnEntry(at),
        End::Misaligned(at),
        End::UnknownStack(at),
        End::NotOutwards(at),
        End::StackTwice(at),
        End::Unreadable(at),
        End::TooLong,
    ] {
        assert!(!end.is_outermost(), "{end:?}");
    }
}

/// At an interrupted instruction whose function has no record yet, the return address is read at
/// SP: only from the stack that was interrupted, or one that stays, and only where a whole word of
/// it is.
#[test]
fn b2_t8_a_return_address_at_sp_is_read_only_where_the_stack_stays() {
    const NMI: usize = 0x3_0000;
    let top = NMI + 64 * WORD;
    let walk = |regs_at: usize, cut: usize| {
        let mut machine = Machine::with(&[(StackKind::Nmi, NMI), (StackKind::Thread, THREAD)]);
        machine.put(THREAD + 0x20, 0xc1);
        machine.frame(THREAD + 0x40, (THREAD + 60 * WORD) | 1, 0xa4);
        machine.frame(NMI, regs_at | 1, 0xb4);
        machine.regs(regs_at, 0xa0, THREAD + 0x20, NMI + 20 * WORD, false);
        machine.frame(NMI + 20 * WORD, 0, 0xb4);
        machine.0[1].kept = false;
        machine.0[1].id.range.top = Addr::new(machine.0[1].id.range.top.get() - cut);
        callers(&machine.walk(NMI))
    };
    // Saved by an entry: this CPU goes back there.
    assert_eq!(walk(top - 4 * WORD, 0)[..3], [0xb4, 0xa0, 0xc1]);
    // By another thread: this one may be gone.
    assert_eq!(walk(NMI + 4 * WORD, 0)[..3], [0xb4, 0xa0, 0xb4]);
    // Half a word is left of a stack with odd bounds.
    let cut = 64 * WORD - 0x20 - WORD / 2;
    assert_eq!(walk(top - 4 * WORD, cut)[..2], [0xb4, 0xa0]);
    assert!(!walk(top - 4 * WORD, cut).contains(&0xc1));
}

/// A report is filled in an overflow handler: an index past its end would be a second fault there.
#[test]
fn b2_a_full_backtrace_that_is_filled_again_counts_what_does_not_fit() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    machine.frame(THREAD, (THREAD + 60 * WORD) | 1, 0xa4);
    let mut steps = Backtrace::<2>::empty();
    let mut fill = |fp: usize| {
        steps.collect::<Rules, _, _>(&mut Unwinder::new(
            &machine,
            |at| machine.read(at),
            Addr::new(fp),
        ));
        (steps.steps().len(), steps.dropped(), steps.end())
    };
    assert_eq!(fill(THREAD), (2, 0, Some(End::Reliable)));
    assert_eq!(fill(0x9_0000), (2, 1, Some(End::Reliable)));
}

/// Functions that call each other in turn. Red if a call is taken for a repetition of the last one
/// that was kept, with others between them that were not.
#[test]
fn b2_a_call_that_comes_again_after_some_were_left_out_is_no_repetition() {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
    for i in 0..6 {
        let next = if i == 5 { (THREAD + 60 * WORD) | 1 } else { THREAD + (i + 1) * 2 * WORD };
        machine.frame(THREAD + i * 2 * WORD, next, [0xa4, 0xa8][i % 2]);
    }
    let mut kept = Backtrace::<4>::empty();
    let mut unwinder = Unwinder::new(&machine, |at| machine.read(at), Addr::new(THREAD));
    kept.collect::<Rules, _, _>(&mut unwinder);
    let caller = |pc: usize| (Step::Caller(Addr::new(pc)), 1);
    let end = (Step::End(End::Reliable), 1);
    assert_eq!(kept.steps(), [caller(0xa4), caller(0xa8), caller(0xa4), end]);
    assert_eq!((kept.dropped(), kept.frames()), (3, 6));
}

/// What a report's symbols are looked up for. Red if a frame is left out, or the boundary to user
/// mode is taken for code of the kernel.
#[test]
fn o1_b4_a_report_names_the_code_of_every_frame_from_the_innermost_out() {
    let mut machine = Machine::with(&[(StackKind::Irq, IRQ), (StackKind::Thread, THREAD)]);
    machine.frame(IRQ, (THREAD + 8 * WORD) | 1, 0xb4);
    machine.regs(THREAD + 8 * WORD, 0xa5, THREAD + 14 * WORD, THREAD + 16 * WORD, false);
    machine.frame(THREAD + 16 * WORD, (THREAD + 60 * WORD) | 1, 0xa4);
    machine.regs(THREAD + 60 * WORD, 0xd1, 0x7fff_0000, 0, true);
    let mut backtrace = Backtrace::<REPORT_STEPS>::empty();
    backtrace.collect::<Rules, _, _>(&mut Unwinder::new(
        &machine,
        |at| machine.read(at),
        Addr::new(IRQ),
    ));
    let at = Addr::new(THREAD);
    let report = OverflowReport {
        verdict: Verdict {
            stack: machine.0[1].id,
            side: Side::Below,
            distance: ByteSize::new(8),
            cause: Cause::GuardHit,
            consequence: Consequence::EndThread,
        },
        fault: Fault {
            delivery: Delivery::AnotherStack,
            address: at,
            sp: at,
            pc: at,
            cpu: CpuId::new(0),
        },
        context: Context::default(),
        frame: Addr::new(0),
        backtrace,
    };
    let code: Vec<usize> = report.code_addresses().map(Addr::get).collect();
    assert_eq!(code, [0xb4, 0xa5, 0xa4]);
    // It lies in memory that each CPU has for it: half of it where words are half as large.
    assert_eq!(REPORT_STEPS, if WORD == 8 { 48 } else { 24 });
}
