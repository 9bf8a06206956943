//! The entry code as a program: one line here for each instruction there that matters, and the ways
//! it could be wrong.
//!
//! Left out: registers other than rax and rbx, which stand for all of them. A step's name is the
//! one of [`Step`].

use super::super::Step;
use super::state::{FRAME, Registers, Stack};
use Label::*;
use std::vec::Vec;

/// Ways in which the protocol could be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    AsItIs,
    NoWindowTest,
    WindowEndsBeforeIretq,
    WindowStartsAfterItsTest,
    WindowStartsAtRestore,
    UserTestAfterWindowTest,
    ActiveClearedBeforeTest,
    LatchedNotCleared,
    LatchedClearedAfterBody,
    ActiveNotSetAgain,
    ActiveSetAgainInRepeat,
    CopyBeforeActiveTest,
    BodyOnNmiStack,
    GsInferredFromCs,
    /// Not the code but what is around it: an instruction that copies the frame causes an
    /// exception.
    ExceptionInMove,
    /// Nothing wrong: the handler ends the NMI and continues elsewhere, for good
    /// (`NmiWords::abandon`).
    Abandons,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Label {
    Kernel,
    Elsewhere,
    User,
    Nmi,
    NotInWindow,
    LatchIt,
    Body,
    GsIsTheKernels,
    GsIsBack,
    Window,
    /// Where the test for the window has it start; the same, if the protocol is right.
    WindowLowest,
    WindowEnd,
    Repeat,
    FromUser,
    Exception,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    Latched,
    Active,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum If {
    Always,
    Equal,
    NotEqual,
    Below,
    NotBelow,
}

/// Instructions. Where they read or write a frame, rax was pushed below it, except for `TestCs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Do {
    /// Where a program or kernel code spends its time.
    Rest,
    Nothing,
    /// Whatever lies behind a piece of code.
    Undefined,
    TestCs,
    Jump(If, Label),
    PushRax,
    PopRax,
    PushRbx,
    PopRbx,
    PushZero,
    Drop,
    LoadAddress(Label),
    CompareRip,
    WriteRip,
    /// rax = the word above the frame.
    LoadWords,
    LoadThreadTop,
    /// A word of the frame, from the top, to below what was pushed.
    PushOfFrame(u8),
    /// To the same word of the stack whose top is in rax.
    PopToFrame(u8),
    /// rax of below the frame, likewise.
    PushSavedRax,
    PopToSavedRax,
    MoveStack,
    CompareByRax(Field),
    SetByRax(Field, bool),
    CompareBySp(Field),
    SetBySp(Field, bool),
    Swapgs,
    TestGs,
    SetRbx(u8),
    TestRbx,
    /// By its address, without a register.
    Set(Field, bool),
    /// SP and all registers become those of someone else; what is on the stack is never gone back
    /// to.
    GoElsewhere,
    /// An `iretq` to the next line.
    LetNmisIn,
    /// The handler itself.
    Begin,
    Work,
    End,
    Iretq,
}

pub struct Program {
    lines: Vec<(Step, Do)>,
    labels: Vec<(Label, u8)>,
}

impl Program {
    fn label(&mut self, label: Label) {
        self.labels.push((label, self.lines.len() as u8));
    }

    fn add(&mut self, step: Step, lines: &[Do]) {
        self.lines.extend(lines.iter().map(|&line| (step, line)));
    }

    pub fn address(&self, label: Label) -> u8 {
        self.labels.iter().find(|l| l.0 == label).expect("a label of the program").1
    }

    /// The same with nothing in place of a line.
    pub fn without(&self, line: u8) -> Self {
        let mut lines = self.lines.clone();
        lines[usize::from(line)].1 = Do::Nothing;
        Self { lines, labels: self.labels.clone() }
    }

    pub fn at(&self, line: u8) -> (Step, Do) {
        self.lines[usize::from(line)]
    }

    /// The instruction a CPU with these registers is at.
    pub fn line(&self, registers: &Registers) -> Do {
        if registers.user { Do::Rest } else { self.lines[usize::from(registers.rip)].1 }
    }

    /// The step it is at. An exception is part of what it interrupted.
    pub fn step(&self, registers: &Registers) -> Step {
        match (self.lines[usize::from(registers.rip)].0, registers.sp.stack) {
            _ if registers.user => Step::User,
            (Step::Kernel, Stack::Body) => Step::Body,
            (Step::Kernel, Stack::Thread) => Step::BodyOnThread,
            (step, _) => step,
        }
    }

    pub fn new(protocol: Protocol) -> Self {
        use Do::*;
        use Field::*;
        use Protocol as P;
        let is = |broken: P| protocol == broken;
        let mut p = Self { lines: Vec::new(), labels: Vec::new() };

        p.label(Kernel);
        p.add(Step::Kernel, &[Nothing, Rest]);
        p.label(Elsewhere);
        p.add(Step::Kernel, &[Nothing, LetNmisIn, Rest]);
        p.label(User);
        p.add(Step::User, &[Rest]);

        p.label(Nmi);
        let test_user = [TestCs, Jump(If::NotEqual, FromUser)];
        if !is(P::UserTestAfterWindowTest) {
            p.add(Step::TestUser, &test_user);
        }
        p.add(Step::TestWindow, &[PushRax]);
        if is(P::NoWindowTest) {
            p.add(Step::TestWindow, &[Jump(If::Always, NotInWindow)]);
        }
        p.add(Step::TestWindow, &[LoadAddress(WindowLowest), CompareRip]);
        p.add(Step::TestWindow, &[Jump(If::Below, NotInWindow)]);
        p.add(Step::TestWindow, &[LoadAddress(WindowEnd), CompareRip]);
        p.add(Step::TestWindow, &[Jump(If::NotBelow, NotInWindow)]);
        let again = is(P::ActiveNotSetAgain) || is(P::ActiveSetAgainInRepeat);
        let set_again = if again { Nothing } else { SetByRax(Active, true) };
        p.add(Step::Redirect, &[LoadWords, set_again, LoadAddress(Repeat), WriteRip]);
        p.add(Step::Redirect, &[PopRax, Iretq]);

        p.label(NotInWindow);
        if is(P::UserTestAfterWindowTest) {
            p.add(Step::TestUser, &[PopRax]);
            p.add(Step::TestUser, &test_user);
            p.add(Step::TestUser, &[PushRax]);
        }
        p.add(Step::TestActive, &[LoadWords]);
        if is(P::CopyBeforeActiveTest) {
            p.copy_frame(Step::Move);
        }
        p.add(Step::TestActive, &[CompareByRax(Active), Jump(If::NotEqual, LatchIt)]);
        p.add(Step::Move, &[SetByRax(Active, true)]);
        if !is(P::BodyOnNmiStack) {
            p.copy_frame(Step::Move);
            p.add(Step::Move, &[MoveStack]);
        }
        p.add(Step::Move, &[PopRax, Jump(If::Always, Body)]);
        p.label(LatchIt);
        p.add(Step::Latch, &[SetByRax(Latched, true), PopRax, Iretq]);
        p.add(Step::Kernel, &[Undefined]);

        p.label(Body);
        p.add(Step::Body, &[PushZero, PushRax, PushRbx]);
        if is(P::GsInferredFromCs) {
            p.add(Step::Body, &[SetRbx(0), Jump(If::Always, GsIsTheKernels)]);
        }
        p.add(Step::Body, &[SetRbx(0), TestGs, Jump(If::Equal, GsIsTheKernels)]);
        p.add(Step::Body, &[Swapgs, SetRbx(1)]);
        p.label(GsIsTheKernels);
        p.add(Step::Body, &[Begin, Work]);
        if is(P::Abandons) {
            p.add(Step::Body, &[Set(Latched, false), Set(Active, false), GoElsewhere]);
        }
        p.add(Step::Body, &[Work, End]);
        p.add(Step::Body, &[TestRbx, Jump(If::Equal, GsIsBack), Swapgs]);
        p.label(GsIsBack);
        if is(P::WindowStartsAtRestore) {
            p.label(WindowLowest);
        }
        p.add(Step::Body, &[PopRbx, PopRax, Drop]);
        if is(P::LatchedClearedAfterBody) {
            p.add(Step::Body, &[SetBySp(Latched, false)]);
        }
        p.add(Step::Body, &[Jump(If::Always, Window)]);
        p.add(Step::Kernel, &[Undefined]);

        p.label(Window);
        if !is(P::WindowStartsAtRestore) && !is(P::WindowStartsAfterItsTest) {
            p.label(WindowLowest);
        }
        if is(P::ActiveClearedBeforeTest) {
            p.add(Step::ClearActive, &[SetBySp(Active, false)]);
        }
        p.add(Step::TestLatched, &[CompareBySp(Latched), Jump(If::NotEqual, Repeat)]);
        if is(P::WindowStartsAfterItsTest) {
            p.label(WindowLowest);
        }
        if !is(P::ActiveClearedBeforeTest) {
            p.add(Step::ClearActive, &[SetBySp(Active, false)]);
        }
        if is(P::WindowEndsBeforeIretq) {
            p.label(WindowEnd);
        }
        p.add(Step::Return, &[Iretq]);
        if !is(P::WindowEndsBeforeIretq) {
            p.label(WindowEnd);
        }
        p.add(Step::Kernel, &[Undefined]);

        p.label(Repeat);
        if is(P::ActiveSetAgainInRepeat) {
            p.add(Step::ClearLatched, &[SetBySp(Active, true)]);
        }
        let late = is(P::LatchedNotCleared) || is(P::LatchedClearedAfterBody);
        let clear_latched = if late { Nothing } else { SetBySp(Latched, false) };
        p.add(Step::ClearLatched, &[clear_latched, Jump(If::Always, Body)]);
        p.add(Step::Kernel, &[Undefined]);

        p.label(FromUser);
        p.add(Step::MoveToThread, &[Swapgs, PushRax, LoadThreadTop]);
        p.copy_frame(Step::MoveToThread);
        p.add(Step::MoveToThread, &[MoveStack]);
        p.add(Step::BodyOnThread, &[PopRax, PushZero, PushRax, PushRbx]);
        p.add(Step::BodyOnThread, &[Begin, Work, Work, End, Swapgs, PopRbx, PopRax, Drop, Iretq]);
        p.add(Step::Kernel, &[Undefined]);

        // Whatever the handler runs into. It uses the stack of the handler.
        p.label(Exception);
        p.add(Step::Kernel, &[PushRax, Nothing, PopRax, Iretq]);
        p
    }

    fn copy_frame(&mut self, step: Step) {
        for word in 0..FRAME {
            self.add(step, &[Do::PushOfFrame(word), Do::PopToFrame(word)]);
        }
        self.add(step, &[Do::PushSavedRax, Do::PopToSavedRax]);
    }
}
