//! Every interleaving of NMIs, exceptions and the instructions of the protocol, and of protocols
//! that are wrong.

mod cpu;
mod program;
mod state;

use super::{Arrival, Step};
use cpu::{Cpu, Violation};
use program::{Do, Label, Program, Protocol};
use state::Stack;
use std::collections::{HashMap, HashSet};
use std::vec::Vec;

/// What can be reached.
struct Explored {
    program: Program,
    /// Every state. False while what it leads to is being explored.
    states: HashMap<Cpu, bool>,
    /// Each with a way there.
    violations: HashMap<Violation, Vec<Step>>,
    /// Explore no further than to the first violation.
    until_first: bool,
}

impl Explored {
    /// With at most so many NMIs and exceptions, from kernel code with either GS base, and from
    /// user mode, where a program's RIP may be that of the window.
    fn of(protocol: Protocol, nmis: u8, exceptions: u8) -> Self {
        let mut explored = Self::nothing_of(Program::new(protocol));
        explored.explore_all(protocol, nmis, exceptions);
        explored
    }

    fn nothing_of(program: Program) -> Self {
        Self { program, states: HashMap::new(), violations: HashMap::new(), until_first: false }
    }

    fn explore_all(&mut self, protocol: Protocol, nmis: u8, exceptions: u8) {
        let at = |label| self.program.address(label);
        let starts = [
            Cpu::new(at(Label::Kernel), false, false, nmis, exceptions),
            Cpu::new(at(Label::Kernel), false, true, nmis, exceptions),
            Cpu::new(at(Label::User), true, true, nmis, exceptions),
            Cpu::new(at(Label::Window), true, true, nmis, exceptions),
        ];
        for start in starts {
            self.explore(start, protocol);
        }
    }

    /// Depth first, so that a state that leads back to itself is seen.
    fn explore(&mut self, start: Cpu, protocol: Protocol) {
        let mut path = std::vec![(start.clone(), start.successors(&self.program, protocol))];
        self.states.insert(start, false);
        while let Some((cpu, successors)) = path.last_mut() {
            if self.until_first && !self.violations.is_empty() {
                break;
            }
            match successors.pop() {
                None => {
                    self.states.insert(cpu.clone(), true);
                    path.pop();
                }
                Some(Err(violation)) => {
                    self.note(violation, &path);
                }
                Some(Ok(next)) => match self.states.get(&next) {
                    Some(true) => {}
                    Some(false) => {
                        self.note(Violation::Endless, &path);
                    }
                    None => {
                        self.states.insert(next.clone(), false);
                        let successors = next.successors(&self.program, protocol);
                        path.push((next, successors));
                    }
                },
            }
        }
    }

    fn note<T>(&mut self, violation: Violation, path: &[(Cpu, T)]) {
        if !self.violations.contains_key(&violation) {
            let mut way: Vec<Step> = path.iter().map(|(cpu, _)| self.step(cpu)).collect();
            way.dedup();
            self.violations.insert(violation, way);
        }
    }

    fn step(&self, cpu: &Cpu) -> Step {
        self.program.step(&cpu.registers)
    }
}

/// Red if a line of the program is left out or wrong: shown by the last tests of this file, which
/// do just that.
#[test]
fn i8_whenever_nmis_come_all_are_handled_and_everything_interrupted_goes_on_as_it_was() {
    let explored = Explored::of(Protocol::AsItIs, 4, 2);
    let count = explored.states.len();
    assert_eq!(explored.violations, HashMap::new());
    assert!(count > 50_000, "only {count} states explored");
    for step in Step::ALL {
        assert!(
            explored.states.keys().any(|cpu| explored.step(cpu) == step),
            "{step:?} not reached"
        );
    }
}

/// Red if the decision, the table of steps and the instructions do not say the same.
#[test]
fn i8_what_an_arriving_nmi_does_is_what_the_decision_and_the_step_it_interrupted_say() {
    let explored = Explored::of(Protocol::AsItIs, 3, 1);
    let program = &explored.program;
    let mut seen = HashSet::new();
    for cpu in explored.states.keys() {
        if cpu.registers.user || cpu.registers.rip != program.address(Label::Nmi) {
            continue;
        }
        let interrupted = cpu.interrupted().expect("an arrival interrupts something");
        let step = program.step(interrupted);
        let mut decided = cpu.state;
        let arrival = decided.on_nmi(interrupted.user, step.in_window());
        assert_eq!(step.arrival(), Some(arrival), "{step:?}: {cpu:?}");

        let mut cpu = cpu.clone();
        let mut did = None;
        while explored.step(&cpu).uses_nmi_stack() && !cpu.is_on(Stack::Body) {
            did = match explored.step(&cpu) {
                Step::MoveToThread => Some(Arrival::FromUser),
                Step::Redirect => Some(Arrival::InWindow),
                Step::Latch => Some(Arrival::Latch),
                Step::Move => Some(Arrival::Handle),
                _ => None,
            };
            cpu.advance(program).expect("nothing is violated");
        }
        assert_eq!(did, Some(arrival), "{step:?}: {cpu:?}");
        assert_eq!(cpu.state, decided, "{step:?}: {cpu:?}");
        if arrival == Arrival::InWindow {
            assert_eq!(explored.step(&cpu), Step::ClearLatched);
        }
        seen.insert(step);
    }
    let possible = Step::ALL.into_iter().filter(|step| step.arrival().is_some());
    assert_eq!(seen, possible.collect(), "every step that says NMIs can arrive, no other");
}

#[test]
fn i8_while_the_nmi_stack_is_in_use_nmis_are_held_back() {
    let explored = Explored::of(Protocol::AsItIs, 3, 1);
    for cpu in explored.states.keys() {
        let step = explored.step(cpu);
        assert!(!(step.uses_nmi_stack() && cpu.takes_nmis()), "{step:?}: {cpu:?}");
        assert!(step.uses_nmi_stack() || !cpu.is_on(Stack::Nmi), "{step:?}: {cpu:?}");
    }
}

/// The body stack has one at a time (that it nests is a violation everywhere). The words know
/// nothing of the thread stack.
#[test]
fn i8_only_a_handler_on_the_thread_stack_is_interrupted_by_another_and_only_after_an_exception() {
    let most = |exceptions| {
        let explored = Explored::of(Protocol::AsItIs, 3, exceptions);
        explored.states.keys().map(Cpu::bodies).max()
    };
    assert_eq!(most(0), Some(1), "the CPU holds the next one back");
    assert_eq!(most(1), Some(2), "one on the thread stack, one on the body stack");
    assert_eq!(most(2), Some(2), "the one on the body stack holds off all others");
}

/// Red if the exploration would not notice: each of these is one line away from the protocol.
#[test]
fn i8_every_protocol_that_is_one_line_away_is_found_wrong() {
    use Protocol as P;
    use Violation as V;
    for (protocol, expected) in [
        (P::NoWindowTest, &[V::FrameOverwritten, V::Lost][..]),
        (P::WindowEndsBeforeIretq, &[V::FrameOverwritten]),
        (P::WindowStartsAfterItsTest, &[V::Lost]),
        (P::WindowStartsAtRestore, &[V::WrongStack]),
        (P::UserTestAfterWindowTest, &[V::ResumedWrong]),
        (P::ActiveClearedBeforeTest, &[V::FrameOverwritten]),
        (P::LatchedNotCleared, &[V::BodyForNothing]),
        (P::LatchedClearedAfterBody, &[V::Lost]),
        (P::ActiveNotSetAgain, &[V::FrameOverwritten]),
        (P::ActiveSetAgainInRepeat, &[V::FrameOverwritten]),
        (P::CopyBeforeActiveTest, &[V::FrameOverwritten]),
        (P::BodyOnNmiStack, &[V::FrameOverwritten]),
        (P::GsInferredFromCs, &[V::UsersGs]),
        (P::ExceptionInMove, &[V::FrameOverwritten]),
    ] {
        let found = Explored::of(protocol, 3, 1).violations;
        for violation in expected {
            assert!(found.contains_key(violation), "{protocol:?}: {violation:?} not in {found:?}");
        }
    }
}

/// A handler that had an exception may not: between the words and the last use of the body stack
/// the next NMI takes it.
#[test]
fn i8_a_handler_may_go_on_elsewhere_as_long_as_nmis_are_held_back() {
    assert_eq!(Explored::of(Protocol::Abandons, 4, 0).violations, HashMap::new());
    let found = Explored::of(Protocol::Abandons, 4, 1).violations;
    assert!(found.contains_key(&Violation::FrameOverwritten), "{found:?}");
    assert!(found.contains_key(&Violation::Lost), "{found:?}");
}

/// Nor can the exploration overlook one that was.
#[test]
fn i8_no_instruction_of_the_protocol_can_be_left_out() {
    let program = Program::new(Protocol::AsItIs);
    let is_part = |&line: &u8| !matches!(program.at(line).1, Do::Work | Do::Undefined);
    let needless: Vec<_> = (program.address(Label::Nmi)..program.address(Label::Exception))
        .filter(is_part)
        .filter(|&line| {
            let mut explored = Explored::nothing_of(program.without(line));
            explored.until_first = true;
            explored.explore_all(Protocol::AsItIs, 3, 1);
            explored.violations.is_empty()
        })
        .map(|line| program.at(line))
        .collect();
    // Without this one, the pop that follows it takes the word that it would have taken a copy of.
    assert_eq!(needless, [(Step::Move, Do::PushSavedRax), (Step::MoveToThread, Do::PushSavedRax)]);
}
