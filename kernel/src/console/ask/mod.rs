//! `ask`: the questions about stacks that documents leave open, each answered by an experiment on
//! this machine, now.
//!
//! | room | what is in it |
//! | --- | --- |
//! | `answer` | an answer as it is given: lines, records for pictures, what did not hold |
//! | `entries` | interrupts, softirqs, exceptions: where they stand |
//! | `threads` | threads, their stacks, the switch between them; devices |
//! | `returns` | what is done last on the way to user mode |
//! | `programs` | stacks of programs: what programs say, and what the kernel sees of them |
//!
//! Invariant: an answer is made of what was observed in this run. What an experiment expects is
//! checked; a contradiction is printed, and fails the test that asks the same question.

mod answer;
mod entries;
mod programs;
mod returns;
mod threads;

use super::println;
use alloc::string::String;
use alloc::vec::Vec;
use answer::{Answer, To};

/// A question: its name, the question itself, the experiment.
struct Question {
    name: &'static str,
    asks: &'static str,
    answer: fn(&mut Answer) -> Result<(), String>,
}

const QUESTIONS: [Question; 19] = [
    Question {
        name: "irq-from-user",
        asks: "Does an interrupt from user mode switch stacks twice?",
        answer: entries::irq_from_user,
    },
    Question {
        name: "irq-stack",
        asks: "How is the IRQ stack found, when the CPU is told of the thread's?",
        answer: entries::irq_stack,
    },
    Question {
        name: "softirqs",
        asks: "On which stack do softirqs run, under light load and under heavy?",
        answer: entries::softirqs,
    },
    Question {
        name: "backtrace",
        asks: "Does a backtrace alone tell whether an interrupt came from user mode?",
        answer: entries::backtrace,
    },
    Question {
        name: "addresses",
        asks: "Where do system call, exception, interrupt and overflow handler stand?",
        answer: entries::addresses,
    },
    Question {
        name: "affinity",
        asks: "Whose IRQ stack does a device's interrupt use when it moves to another CPU?",
        answer: entries::affinity,
    },
    Question {
        name: "task-struct",
        asks: "Is the task structure on the stack?",
        answer: threads::task_struct,
    },
    Question {
        name: "cost",
        asks: "What does a stack cost that comes from the cache, and one that does not?",
        answer: threads::cost,
    },
    Question {
        name: "switching",
        asks: "What happens in the moment when the stack is switched?",
        answer: threads::switching,
    },
    Question {
        name: "dma",
        asks: "Why may a buffer on a mapped stack not be handed to a device?",
        answer: threads::dma,
    },
    Question {
        name: "offset",
        asks: "How well can a program foresee where a call's frames are?",
        answer: returns::offset,
    },
    Question {
        name: "erasing",
        asks: "What does a call find on its stack of the call before?",
        answer: returns::erasing,
    },
    Question {
        name: "argv",
        asks: "Where are argc, argv and the environment?",
        answer: programs::argv,
    },
    Question {
        name: "user-stack",
        asks: "Who makes the stack of a program, and who grows it?",
        answer: programs::user_stack,
    },
    Question {
        name: "user-pages",
        asks: "Are the pages of a program's stack given back after deep recursion?",
        answer: programs::user_pages,
    },
    Question {
        name: "maps",
        asks: "How does /proc/PID/maps know which area is [stack]?",
        answer: programs::maps,
    },
    Question {
        name: "signal-stack",
        asks: "On which stack does a signal handler run?",
        answer: programs::signal_stack,
    },
    Question {
        name: "smash",
        asks: "What does a return address meet that was overwritten?",
        answer: programs::smash,
    },
    Question {
        name: "shadow-stacks",
        asks: "Does this CPU have shadow stacks, and how does one tell?",
        answer: programs::shadow_stacks,
    },
];

/// Asks one question; what did not hold.
fn ask(question: &Question, to: To) -> Vec<String> {
    let mut answer = Answer::new(to);
    if to != To::Nowhere {
        println!("{}: {}", question.name, question.asks);
    }
    answer.record("begin", &[("name", &question.name), ("asks", &question.asks)]);
    if let Err(why) = (question.answer)(&mut answer) {
        answer.must(false, format_args!("the experiment did not come to its end: {why}"));
    }
    ::threads::entry::probes::forget_probes();
    let wrong = answer.end();
    if to != To::Nowhere {
        println!("");
    }
    wrong
}

fn named(name: &str) -> Result<&'static Question, String> {
    let found = QUESTIONS.iter().find(|question| question.name == name);
    found.ok_or_else(|| alloc::format!("no question is called {name}; `ask` lists them"))
}

/// The command: without a name, the list.
pub(super) fn command(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        [] => {
            for question in &QUESTIONS {
                println!("  {:<14} {}", question.name, question.asks);
            }
            println!("  {:<14} every one of these", "all");
        }
        ["all"] => {
            for question in &QUESTIONS {
                ask(question, To::Console);
            }
        }
        [name] => {
            ask(named(name)?, To::Console);
        }
        _ => return Err("one question".into()),
    }
    Ok(())
}

/// For a test: an error if the answer is not what it should be, or if there is no such question.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let wrong = ask(named(name)?, To::Nowhere);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// The names of all questions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    QUESTIONS.iter().map(|question| question.name)
}

/// Asks everything, for a host that makes a page of it.
pub fn tour() {
    for question in &QUESTIONS {
        ask(question, To::Tour);
    }
    control!("end");
}
