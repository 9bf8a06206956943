//! Every interleaving of NMIs, exceptions and the instructions of the protocol, and of protocols that are wrong.

mod cpu;
mod program;

use super::{Arrival, NmiState, Step, arrival};
use cpu::{Cpu, Violation};
use program::{Label, Program, Protocol};
use std::collections::{HashMap, HashSet};
use std::vec::Vec;

/// What can be reached.
struct Explored {
    program: Program,
    /// Every state. False while what it leads to is being explored.
    states: HashMap<Cpu, bool>,
    violations: HashSet<Violation>,
}

impl Explored {
    /// With at most so many NMIs and exceptions, from kernel code with either GS base, and from user mode, where a
    /// program's RIP may be that of the window.
    fn of(protocol: Protocol, nmis: u8, exceptions: u8) -> Self {
        let program = Program::new(protocol);
        let at = |label| program.address(label);
        let starts = [
            Cpu::new(at(Label::Kernel), false, false, nmis, exceptions),
            Cpu::new(at(Label::Kernel), false, true, nmis, exceptions),
            Cpu::new(at(Label::User), true, true, nmis, exceptions),
            Cpu::new(at(Label::Window), true, true, nmis, exceptions),
        ];
        let mut explored = Self { program, states: HashMap::new(), violations: HashSet::new() };
        for start in starts {
            explored.explore(start, protocol);
        }
        explored
    }

    /// Depth first, so that a state that leads back to itself is seen.
    fn explore(&mut self, start: Cpu, protocol: Protocol) {
        let mut path = std::vec![(start.clone(), start.successors(&self.program, protocol))];
        self.states.insert(start, false);
        while let Some((cpu, successors)) = path.last_mut() {
            match successors.pop() {
                None => {
                    self.states.insert(cpu.clone(), true);
                    path.pop();
                }
                Some(Err(violation)) => {
                    self.violations.insert(violation);
                }
                Some(Ok(next)) => match self.states.get(&next) {
                    Some(true) => {}
                    Some(false) => {
                        self.violations.insert(Violation::Endless);
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

    fn step(&self, cpu: &Cpu) -> Step {
        self.program.step(&cpu.registers)
    }
}

/// Red if two lines of the program are swapped or one is left out; see the protocols that are wrong, below.
#[test]
fn i8_whenever_nmis_come_all_are_handled_and_everything_interrupted_goes_on_as_it_was() {
    let explored = Explored::of(Protocol::AsItIs, 4, 2);
    let count = explored.states.len();
    std::eprintln!("{count} states explored");
    assert_eq!(explored.violations, HashSet::new());
    assert!(count > 50_000, "only {count} states explored");
    for step in Step::ALL {
        assert!(
            explored.states.keys().any(|cpu| explored.step(cpu) == step),
            "{step:?} not reached"
        );
    }
    let _ = (Arrival::Latch, NmiState::new(), arrival(true, true, true));
}
