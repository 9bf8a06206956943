//! A CPU with NMIs, which runs the program.
//!
//! What it has of the real one: `iretq` lets NMIs in; one NMI waits while they are held back, more
//! are merged into it; an NMI pushes its frame at the top of the NMI stack, an exception on the
//! current stack; push and pop work on words of memory.
//!
//! Beside the machine, known only to the checks: who was interrupted with what, and where the frame
//! lies that it needs.

use super::super::{NmiState, Step};
use super::program::{Do, Field, If, Label, Program, Protocol};
use super::state::{FRAME, OUTSIDE, Registers, Sp, Stack, Word};
use core::cmp::Ordering;
use std::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// The frame of a context that has not been resumed was written to.
    FrameOverwritten,
    /// A context was resumed with something other than what it was interrupted with.
    ResumedWrong,
    /// A stack was used that SP, or the register that should point at it, does not point at.
    WrongStack,
    /// The body stack, or the thread stack, has two bodies.
    BodyNests,
    /// More bodies ran than NMIs arrived.
    BodyForNothing,
    /// The handler runs, or GS is read, with the user's GS base.
    UsersGs,
    /// At rest, with an NMI that was not handled.
    Lost,
    /// At rest, with words that are not zero, or NMIs held back.
    NotOver,
    /// The end of a piece of code was passed.
    RanOn,
    /// A state leads back to itself.
    Endless,
}

/// Words of each stack: frame, error code, two registers, the frame of an exception and its
/// register; one more on the NMI stack.
const WORDS: usize = 15;

/// A context that was interrupted and not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Context {
    registers: Registers,
    /// Where the frame is that resumes it: SP right after the CPU has pushed one.
    frame: Sp,
    /// It was on the body stack, and the arriving NMI makes it start over. Whether that was right
    /// will show.
    redirected: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cpu {
    pub registers: Registers,
    pub state: NmiState,
    held_back: bool,
    waiting: bool,
    nmi_stack: [Word; WORDS],
    body_stack: [Word; WORDS],
    thread_stack: [Word; WORDS],
    /// What may still happen.
    raises: u8,
    exceptions: u8,
    // From here on, for the checks.
    began_as: Registers,
    interrupted: Vec<Context>,
    bodies_on_body_stack: u8,
    bodies_on_thread_stack: u8,
    arrived_beyond_bodies: u8,
    /// An NMI was raised since the last body began.
    owed: bool,
}

type Result<T = ()> = core::result::Result<T, Violation>;

impl Cpu {
    /// At `rip`, with so many NMIs and exceptions to come.
    pub fn new(rip: u8, user: bool, users_gs: bool, raises: u8, exceptions: u8) -> Self {
        let registers = Registers {
            rip,
            user,
            sp: OUTSIDE,
            flags: Ordering::Less,
            rax: Word::Number(7),
            rbx: Word::Number(8),
            users_gs,
        };
        Self {
            registers,
            state: NmiState::new(),
            held_back: false,
            waiting: false,
            nmi_stack: [Word::Junk; WORDS],
            body_stack: [Word::Junk; WORDS],
            thread_stack: [Word::Junk; WORDS],
            raises,
            exceptions,
            began_as: registers,
            interrupted: Vec::new(),
            bodies_on_body_stack: 0,
            bodies_on_thread_stack: 0,
            arrived_beyond_bodies: 0,
            owed: false,
        }
    }

    /// Handlers that have begun and not ended.
    pub fn bodies(&self) -> u8 {
        self.bodies_on_body_stack + self.bodies_on_thread_stack
    }

    /// Whether an NMI can arrive before the next instruction.
    pub fn takes_nmis(&self) -> bool {
        !self.held_back
    }

    /// Whether SP is on the stack.
    pub fn is_on(&self, stack: Stack) -> bool {
        self.registers.sp.stack == stack
    }

    /// What the innermost arrival or exception interrupted.
    pub fn interrupted(&self) -> Option<&Registers> {
        self.interrupted.last().map(|context| &context.registers)
    }

    /// The next instruction, and nothing else.
    pub fn advance(&mut self, program: &Program) -> Result {
        self.execute(program, program.line(&self.registers))
    }

    /// Everything that can happen next.
    pub fn successors(&self, program: &Program, protocol: Protocol) -> Vec<Result<Self>> {
        if self.waiting && !self.held_back {
            return std::vec![self.then(|cpu| cpu.deliver(program))];
        }
        let mut next = Vec::new();
        if self.raises > 0 {
            next.push(self.then(|cpu| cpu.raise(program)));
        }
        let line = program.line(&self.registers);
        let may_except = match protocol {
            Protocol::ExceptionInMove => matches!(line, Do::PushOfFrame(_)),
            _ => line == Do::Work,
        };
        if may_except && self.exceptions > 0 {
            next.push(self.then(|cpu| cpu.exception(program)));
        }
        if line == Do::Rest {
            next.extend(self.check_rest().err().map(Err));
        } else {
            next.push(self.then(|cpu| cpu.execute(program, line)));
        }
        next
    }

    fn then(&self, change: impl FnOnce(&mut Self) -> Result) -> Result<Self> {
        let mut cpu = self.clone();
        change(&mut cpu).map(|()| cpu)
    }

    /// What must be true when nothing is going on. One that is still to be raised is raised later.
    fn check_rest(&self) -> Result {
        if !self.interrupted.is_empty() || self.bodies() != 0 {
            return Err(Violation::ResumedWrong);
        }
        let Registers { rip, user, .. } = self.began_as;
        let settled = Registers { rip, user, ..self.registers };
        if settled != self.began_as {
            return Err(Violation::ResumedWrong);
        }
        if self.owed {
            return Err(Violation::Lost);
        }
        if self.state != NmiState::new() || self.held_back {
            return Err(Violation::NotOver);
        }
        Ok(())
    }

    fn raise(&mut self, program: &Program) -> Result {
        self.raises -= 1;
        self.owed = true;
        if self.held_back {
            self.waiting = true;
            return Ok(());
        }
        self.deliver(program)
    }

    fn deliver(&mut self, program: &Program) -> Result {
        self.waiting = false;
        self.held_back = true;
        self.arrived_beyond_bodies += 1;
        self.enter(program, Sp { stack: Stack::Nmi, depth: 1 }, Label::Nmi)
    }

    fn exception(&mut self, program: &Program) -> Result {
        self.exceptions -= 1;
        self.enter(program, self.registers.sp, Label::Exception)
    }

    /// Pushes a frame and goes to the label.
    fn enter(&mut self, program: &Program, from: Sp, to: Label) -> Result {
        let context = self.registers;
        self.registers.sp = from;
        if from.stack == Stack::Nmi && from.depth == 1 {
            self.nmi_stack[0] = Word::Top(Stack::Body);
        }
        self.push(Word::Ss)?;
        self.push(Word::Sp(context.sp))?;
        self.push(Word::Flags(context.flags))?;
        self.push(Word::Cs { user: context.user })?;
        self.push(Word::Rip(context.rip))?;
        let frame = self.registers.sp;
        self.interrupted.push(Context { registers: context, frame, redirected: false });
        self.registers.user = false;
        self.registers.rip = program.address(to);
        Ok(())
    }

    fn stack(&mut self, stack: Stack) -> Result<&mut [Word; WORDS]> {
        match stack {
            Stack::Outside => Err(Violation::WrongStack),
            Stack::Nmi => Ok(&mut self.nmi_stack),
            Stack::Body => Ok(&mut self.body_stack),
            Stack::Thread => Ok(&mut self.thread_stack),
        }
    }

    /// Writes the word that is `at.depth` below the top. The frames of those who are still
    /// interrupted are not to be touched.
    fn write(&mut self, at: Sp, word: Word) -> Result {
        let needed = self.interrupted.iter().any(|context| {
            let end = context.frame.depth;
            context.frame.stack == at.stack && (end + 1 - FRAME..=end).contains(&at.depth)
        });
        if needed {
            return Err(Violation::FrameOverwritten);
        }
        self.write_anywhere(at, word)
    }

    fn write_anywhere(&mut self, at: Sp, word: Word) -> Result {
        let index = usize::from(at.depth).checked_sub(1).ok_or(Violation::WrongStack)?;
        *self.stack(at.stack)?.get_mut(index).ok_or(Violation::WrongStack)? = word;
        Ok(())
    }

    fn read(&mut self, at: Sp) -> Result<Word> {
        let index = usize::from(at.depth).checked_sub(1).ok_or(Violation::WrongStack)?;
        self.stack(at.stack)?.get(index).copied().ok_or(Violation::WrongStack)
    }

    fn push(&mut self, word: Word) -> Result {
        self.registers.sp.depth += 1;
        self.write(self.registers.sp, word)
    }

    /// What was popped is junk at once: no code may rely on it.
    fn pop(&mut self) -> Result<Word> {
        let at = self.registers.sp;
        let word = self.read(at)?;
        self.write_anywhere(at, Word::Junk)?;
        self.registers.sp.depth -= 1;
        Ok(word)
    }

    /// The word so many words above SP.
    fn above_sp(&self, words: u8) -> Result<Sp> {
        let Sp { stack, depth } = self.registers.sp;
        Ok(Sp { stack, depth: depth.checked_sub(words).ok_or(Violation::WrongStack)? })
    }

    /// The stack whose top is in rax.
    fn stack_of_rax(&self) -> Result<Stack> {
        match self.registers.rax {
            Word::Top(stack) => Ok(stack),
            _ => Err(Violation::WrongStack),
        }
    }

    /// The field, for who has the address of the words.
    fn field_by_rax(&mut self, field: Field) -> Result<&mut bool> {
        match self.stack_of_rax()? {
            Stack::Body => Ok(self.field(field)),
            _ => Err(Violation::WrongStack),
        }
    }

    /// The field, for who has SP at the frame on the body stack.
    fn field_by_sp(&mut self, field: Field) -> Result<&mut bool> {
        match self.registers.sp {
            Sp { stack: Stack::Body, depth: FRAME } => Ok(self.field(field)),
            _ => Err(Violation::WrongStack),
        }
    }

    fn field(&mut self, field: Field) -> &mut bool {
        match field {
            Field::Latched => &mut self.state.latched,
            Field::Active => &mut self.state.active,
        }
    }

    fn execute(&mut self, program: &Program, line: Do) -> Result {
        let step = program.step(&self.registers);
        self.registers.rip += 1;
        match line {
            Do::Undefined => return Err(Violation::RanOn),
            Do::Rest | Do::Nothing | Do::Work => {}
            Do::TestCs => {
                let user = self.read(self.above_sp(1)?)? == Word::Cs { user: true };
                self.registers.flags = user.cmp(&false);
            }
            Do::Jump(condition, label) => {
                let flags = self.registers.flags;
                let taken = match condition {
                    If::Always => true,
                    If::Equal => flags.is_eq(),
                    If::NotEqual => flags.is_ne(),
                    If::Below => flags.is_lt(),
                    If::NotBelow => flags.is_ge(),
                };
                if taken {
                    self.registers.rip = program.address(label);
                }
            }
            Do::PushRax => self.push(self.registers.rax)?,
            Do::PopRax => self.registers.rax = self.pop()?,
            Do::PushRbx => self.push(self.registers.rbx)?,
            Do::PopRbx => self.registers.rbx = self.pop()?,
            Do::PushZero => self.push(Word::Number(0))?,
            Do::Drop => {
                self.pop()?;
            }
            Do::LoadAddress(label) => self.registers.rax = Word::Rip(program.address(label)),
            Do::CompareRip => {
                let (Word::Rip(left), Word::Rip(right)) =
                    (self.read(self.above_sp(1)?)?, self.registers.rax)
                else {
                    return Err(Violation::WrongStack);
                };
                self.registers.flags = left.cmp(&right);
            }
            Do::WriteRip => {
                let context = self.interrupted.last_mut().ok_or(Violation::ResumedWrong)?;
                context.redirected = context.registers.sp.stack == Stack::Body;
                self.write_anywhere(self.above_sp(1)?, self.registers.rax)?;
            }
            Do::LoadWords => self.registers.rax = self.read(self.above_sp(1 + FRAME)?)?,
            Do::LoadThreadTop if self.registers.users_gs => return Err(Violation::UsersGs),
            Do::LoadThreadTop => self.registers.rax = Word::Top(Stack::Thread),
            Do::PushOfFrame(word) => {
                let word = self.read(self.above_sp(FRAME - word)?)?;
                self.push(word)?;
            }
            Do::PopToFrame(word) => {
                let value = self.pop()?;
                self.write(Sp { stack: self.stack_of_rax()?, depth: word + 1 }, value)?;
            }
            Do::PushSavedRax => {
                let word = self.read(self.registers.sp)?;
                self.push(word)?;
            }
            Do::PopToSavedRax => {
                let value = self.pop()?;
                self.write(Sp { stack: self.stack_of_rax()?, depth: FRAME + 1 }, value)?;
            }
            Do::MoveStack => {
                let stack = self.stack_of_rax()?;
                self.nmi_stack = [Word::Junk; WORDS];
                self.registers.sp = Sp { stack, depth: FRAME + 1 };
                let context = self.interrupted.last_mut().ok_or(Violation::ResumedWrong)?;
                context.frame = Sp { stack, depth: FRAME };
            }
            Do::CompareByRax(field) => {
                let value = *self.field_by_rax(field)?;
                self.registers.flags = value.cmp(&false);
            }
            Do::SetByRax(field, value) => *self.field_by_rax(field)? = value,
            Do::CompareBySp(field) => {
                let value = *self.field_by_sp(field)?;
                self.registers.flags = value.cmp(&false);
            }
            Do::SetBySp(field, value) => *self.field_by_sp(field)? = value,
            Do::Swapgs => self.registers.users_gs = !self.registers.users_gs,
            Do::TestGs => {
                self.registers.rax = Word::Junk;
                self.registers.flags = self.registers.users_gs.cmp(&false);
            }
            Do::SetRbx(value) => self.registers.rbx = Word::Number(value),
            Do::TestRbx => {
                self.registers.flags = (self.registers.rbx != Word::Number(0)).cmp(&false);
            }
            Do::Set(field, value) => *self.field(field) = value,
            Do::GoElsewhere => {
                let rip = program.address(Label::Elsewhere);
                self.registers = Registers { rip, user: false, ..self.began_as };
                self.interrupted.clear();
                (self.bodies_on_body_stack, self.bodies_on_thread_stack) = (0, 0);
            }
            Do::LetNmisIn => self.held_back = false,
            Do::Begin => self.begin()?,
            Do::End => {
                let fewer = self.bodies_here().checked_sub(1);
                *self.bodies_here() = fewer.ok_or(Violation::WrongStack)?;
            }
            Do::Iretq => self.iretq(program, step)?,
        }
        Ok(())
    }

    fn bodies_here(&mut self) -> &mut u8 {
        match self.registers.sp.stack {
            Stack::Thread => &mut self.bodies_on_thread_stack,
            _ => &mut self.bodies_on_body_stack,
        }
    }

    fn begin(&mut self) -> Result {
        self.registers.rax = Word::Junk;
        self.registers.flags = Ordering::Greater;
        self.owed = false;
        *self.bodies_here() += 1;
        if *self.bodies_here() > 1 {
            return Err(Violation::BodyNests);
        }
        if self.registers.users_gs {
            return Err(Violation::UsersGs);
        }
        let beyond = self.arrived_beyond_bodies.checked_sub(1);
        self.arrived_beyond_bodies = beyond.ok_or(Violation::BodyForNothing)?;
        Ok(())
    }

    fn iretq(&mut self, program: &Program, step: Step) -> Result {
        let at = self.registers.sp;
        let (rip, cs, flags, sp, ss) =
            (self.pop()?, self.pop()?, self.pop()?, self.pop()?, self.pop()?);
        let (Word::Rip(rip), Word::Cs { user }, Word::Flags(flags), Word::Sp(sp), Word::Ss) =
            (rip, cs, flags, sp, ss)
        else {
            return Err(Violation::ResumedWrong);
        };
        self.registers = Registers { rip, user, flags, sp, ..self.registers };
        self.held_back = false;
        let context = self.interrupted.pop().ok_or(Violation::ResumedWrong)?;
        let mut expected = context.registers;
        if step == Step::Redirect && context.redirected {
            expected.rip = program.address(Label::Repeat);
        }
        if at != context.frame || self.registers != expected {
            return Err(Violation::ResumedWrong);
        }
        Ok(())
    }
}
