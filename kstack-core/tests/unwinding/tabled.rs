//! Walks with a table of frames: what it says of an instruction counts, whatever the code looks
//! like.

use super::{IRQ, SAVED, THREAD};
use crate::machine::*;
use kstack_core::addr::Addr;
use kstack_core::kind::StackKind;
use kstack_core::stacks::{Code, StackId, StackLookup};
use kstack_core::unwind::frames::{Entered, Frame, Pointer};
use kstack_core::unwind::{Backtrace, End, MAX_FRAMES, SavedRegs, Step, Unwinder};

/// The invented machine, with rows of a table.
struct Tabled<'r> {
    machine: Machine,
    rows: &'r [(usize, Frame)],
}

impl StackLookup for Tabled<'_> {
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        self.machine.stack_at(addr)
    }

    fn stays_mapped(&self, stack: &StackId) -> bool {
        self.machine.stays_mapped(stack)
    }

    fn code_at(&self, pc: Addr) -> Code {
        if pc.get() == BEGINNING { Code::Entry } else { self.machine.code_at(pc) }
    }

    fn frame_at(&self, pc: Addr) -> Option<Frame> {
        self.rows.iter().find(|(at, _)| *at == pc.get()).map(|(_, frame)| *frame)
    }
}

fn regs(pc: usize, sp: usize, fp: usize) -> SavedRegs {
    SavedRegs {
        pc: Addr::new(pc),
        sp: Addr::new(sp),
        fp: Addr::new(fp),
        link: Some(Addr::new(0xc9)),
        from_user: false,
    }
}

/// The callers and the end of a walk from these registers.
fn walk(
    machine: &dyn Fn() -> Machine,
    rows: &[(usize, Frame)],
    from: SavedRegs,
) -> (Vec<usize>, End) {
    let tabled = Tabled { machine: machine(), rows };
    let mut unwinder = Unwinder::from_regs(&tabled, |at| tabled.machine.read(at), from);
    let mut steps = Backtrace::<{ MAX_FRAMES + 8 }>::empty();
    steps.collect::<Rules, _, _>(&mut unwinder);
    let kept: Vec<Step> = steps.steps().iter().map(|(step, _)| *step).collect();
    (callers(&kept), end(&kept))
}

/// Entry code; before it is none.
const BEGINNING: usize = 0x1010;
const SP: usize = THREAD + 4 * WORD;
const RECORD: usize = THREAD + 20 * WORD;

/// A thread: whatever was interrupted at `SP`, below a function with a record.
fn thread() -> Machine {
    let mut machine = Machine::with(&[(StackKind::Thread, THREAD), (StackKind::Nmi, IRQ)]);
    machine.put(SP, 0xb0);
    machine.put(SP + WORD, RECORD);
    machine.put(SP + 2 * WORD, SP + 3 * WORD);
    machine.put(SP + 3 * WORD, 0xc5);
    machine.frame(RECORD, SAVED | 1, 0xa4);
    machine
}

/// Red if the code is asked where there is a table, if the frame pointer of a function that saved
/// it comes from the register, or if the link register is not.
#[test]
fn b3_a_table_of_frames_names_the_caller_of_leaves_and_of_assembly() {
    let from = |pc, fp, frame| walk(&thread, &[(pc, frame)], regs(pc, SP, fp));
    let called = |pc, fp| Frame::Called { pc, fp };
    let whole = |callers: &[usize]| (callers.to_vec(), End::Reliable);
    // A leaf without a frame, where the code tells nothing: SP, and the link register.
    assert_eq!(from(0xf5, RECORD, called(3, None)), whole(&[0xf5, 0xc5, 0xa4]));
    assert_eq!(from(0xf5, RECORD, Frame::Link), whole(&[0xf5, 0xc9, 0xa4]));
    assert_eq!(from(0xf5, RECORD, Frame::Record), whole(&[0xf5, 0xa4]));
    // Assembly, with another thread's frame pointer in the register.
    assert_eq!(from(0xe5, 0x7777_0000, called(3, Some(1))), whole(&[0xe5, 0xc5, 0xa4]));
    // A function whose record is not there yet, as its code would say.
    assert_eq!(from(0xa0, RECORD, called(3, None)), whole(&[0xa0, 0xc5, 0xa4]));
    // An entry whose SP and frame pointer are still a program's.
    let of_program = walk(&thread, &[(0xe3, Frame::Program)], regs(0xe3, 0x7fff_0000, 0x7fff_0040));
    assert_eq!(of_program, whole(&[0xe3]));
    // A call that is its function's last instruction: what is behind it is no code.
    let last = || {
        let mut machine = thread();
        machine.put(SP + 3 * WORD, 0x100);
        machine
    };
    let row = [(0xf5, called(3, None)), (0xff, Frame::Record)];
    assert_eq!(walk(&last, &row, regs(0xf5, SP, RECORD)), whole(&[0xf5, 0x100, 0xa4]));
    // What is no code's address is no caller.
    let doubt = |pc| End::InnermostMayBeMissing(Addr::new(pc));
    assert_eq!(from(0xf5, RECORD, called(4, None)), (vec![0xf5, 0xa4], doubt(0xf5)));
    // Nor is what lies outside of the stack.
    assert_eq!(from(0xf5, RECORD, called(0xffff, None)), (vec![0xf5, 0xa4], doubt(0xf5)));
    // Where the table says nothing the code is asked.
    assert_eq!(walk(&thread, &[], regs(0xf5, SP, RECORD)), (vec![0xf5, 0xa4], doubt(0xf5)));
    assert_eq!(walk(&thread, &[], regs(0xa1, SP, RECORD)), whole(&[0xa1, 0xc9, 0xa4]));
}

/// An NMI hits an entry that has saved nothing, or some of it, yet. Red if the walk stays there, or
/// if what the entry interrupted is not looked at: it may be a function's first instruction.
#[test]
fn b3_an_entry_that_has_not_saved_its_registers_leads_to_what_it_interrupted() {
    let entered = |sp, fp| {
        [
            (0xe1, Frame::Entered(Entered { pc: 0, sp, fp, link: None })),
            (0xb0, Frame::Called { pc: 0, fp: None }),
        ]
    };
    let expected = (vec![0xe1, 0xb0, 0xc5, 0xa4], End::Reliable);
    for (sp, fp, register) in [
        (Pointer::Was(3), None, RECORD),
        (Pointer::At(2), None, RECORD),
        (Pointer::Was(3), Some(1), 0x7777_0000),
        (Pointer::At(2), Some(1), 1),
    ] {
        assert_eq!(walk(&thread, &entered(sp, fp), regs(0xe1, SP, register)), expected, "{sp:?}");
    }
    // On a stack of its own.
    let apart = || {
        let mut machine = thread();
        for (number, word) in [0xb0, RECORD, SP + 3 * WORD].into_iter().enumerate() {
            machine.put(IRQ + (20 + number) * WORD, word);
        }
        machine
    };
    let from = regs(0xe1, IRQ + 20 * WORD, RECORD);
    assert_eq!(walk(&apart, &entered(Pointer::At(2), Some(1)), from), expected);
    // The interrupted function's link register, where the entry saved it.
    let rows = [
        (0xe1, Frame::Entered(Entered { pc: 0, sp: Pointer::At(2), fp: Some(1), link: Some(3) })),
        (0xb0, Frame::Link),
    ];
    assert_eq!(walk(&thread, &rows, regs(0xe1, SP, 0)), expected);
    // An entry that was hit by an entry.
    let twice = || {
        let mut machine = thread();
        machine.put(SP, 0xe2);
        machine.put(SP + 3 * WORD, 0xb0);
        machine.put(SP + 4 * WORD, 0xc5);
        machine
    };
    let further = Frame::Entered(Entered { pc: 0, sp: Pointer::Was(1), fp: None, link: None });
    let rows = [entered(Pointer::Was(3), None)[0], (0xe2, further), (0xb0, called_at_sp())];
    let found = walk(&twice, &rows, regs(0xe1, SP, RECORD));
    assert_eq!(found, (vec![0xe1, 0xe2, 0xb0, 0xc5, 0xa4], End::Reliable));
}

fn called_at_sp() -> Frame {
    Frame::Called { pc: 0, fp: None }
}

/// A program's registers are no code of the kernel's; words that lead in circles end.
#[test]
fn b3_what_an_entry_has_not_saved_never_leads_astray_or_in_circles() {
    let row = Frame::Entered(Entered { pc: 0, sp: Pointer::At(2), fp: Some(1), link: None });
    let doubt = End::InnermostMayBeMissing(Addr::new(0xe1));
    let of_program = || {
        let mut machine = thread();
        machine.put(SP, 0x40_0008);
        machine
    };
    let found = walk(&of_program, &[(0xe1, row)], regs(0xe1, SP, RECORD));
    assert_eq!(found, (vec![0xe1, 0xa4], doubt));
    // Its mark leads to where they are saved: red if that is not looked at, and the walk in doubt.
    let marked = || {
        let mut machine = of_program();
        machine.regs(SAVED, 0x40_0008, 0x7fff_0000, 0, true);
        machine
    };
    let found = walk(&marked, &[(0xe1, row)], regs(0xe1, SP, SAVED | 1));
    assert_eq!(found, (vec![0xe1], End::Reliable));
    // They are at the stack's top already, without a mark, and a word is pushed below them.
    let pushed = || {
        let mut machine = of_program();
        machine.regs(SAVED, 0x40_0008, 0x7fff_0000, 0x1007, true);
        machine
    };
    let row_below =
        |pc, sp| (0xe1, Frame::Entered(Entered { pc, sp: Pointer::At(sp), fp: None, link: None }));
    let found = walk(&pushed, &[row_below(1, 2)], regs(0xe1, SAVED - WORD, 0x1007));
    assert_eq!(found, (vec![0xe1], End::Reliable));
    // Further down no entry saves a program's.
    let found = walk(&pushed, &[row_below(0, 2)], regs(0xe1, SAVED - WORD, RECORD));
    assert_eq!(found, (vec![0xe1, 0xa4], doubt));
    let round = || {
        let mut machine = thread();
        machine.put(SP, 0xe1);
        machine.put(SP + 2 * WORD, SP);
        machine
    };
    let (callers, end) = walk(&round, &[(0xe1, row)], regs(0xe1, SP, RECORD));
    assert_eq!(callers.len(), 1, "folded: {callers:x?}");
    assert!(matches!(end, End::TooLong), "{end:?}");
}

/// A caller without a frame: red if the table is not asked where the code keeps one elsewhere.
#[test]
fn b3_a_table_of_frames_vouches_for_callers() {
    let machine = || {
        let mut machine = Machine::with(&[(StackKind::Thread, THREAD)]);
        machine.frame(RECORD, RECORD + 4 * WORD, 0xf9);
        machine.frame(RECORD + 4 * WORD, SAVED | 1, 0xa4);
        machine
    };
    let from = regs(0xa5, SP, RECORD);
    let row = (0xf8, Frame::Record);
    assert_eq!(walk(&machine, &[row], from), (vec![0xa5, 0xf9, 0xa4], End::Reliable));
    let doubt = End::FrameMayBeMissing(Addr::new(0xf9));
    assert_eq!(walk(&machine, &[], from), (vec![0xa5, 0xf9, 0xa4], doubt));
}
