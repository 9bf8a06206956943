//! The mutants that no test can notice, or need not, and why.
//!
//! An entry is a change as cargo-mutants words it, and how the rest of the line begins where the
//! change does: both stay as they are when lines move. An entry that is no survivor any more is
//! told, and fails the command as well as a survivor without an entry.

use std::fmt;

use super::outcome::{Ended, Outcome};

/// Where this list stands, for messages.
pub(super) const WHERE: &str = "xtask/src/commands/mutants/accepted.rs";

/// Mutants of a file that are accepted for one reason.
struct Accepted {
    file: &'static str,
    /// Why no test notices them.
    reason: &'static str,
    /// Change, and how the rest of its line begins.
    mutants: &'static [(&'static str, &'static str)],
}

const ACCEPTED: &[Accepted] = &[
    Accepted {
        file: "kernel/linux/src/abi/stack_image.rs",
        reason: "at the edge both branches give the same limit",
        mutants: &[
            ("replace < with <= in string_limit", "< 6 << 20 {"),
            ("replace < with <= in string_limit", "< 128 << 10 {"),
        ],
    },
    Accepted {
        file: "kernel/linux/src/sorted.rs",
        reason: "no two items in a list have the same key",
        mutants: &[("replace < with <= in Sorted<T>::insert", "< item.key()")],
    },
    Accepted {
        file: "kernel/linux/src/sorted.rs",
        reason: "the gap of items without gaps is 0 already",
        mutants: &[("replace Item::gap -> u64 with 0", "let _unused_without_gaps")],
    },
    Accepted {
        file: "kstack-core/src/life/erase.rs",
        reason: "with exactly as many pages as there can be, both branches are that many",
        mutants: &[("replace > with >= in DirtyPages::topmost", "> Self::MAX")],
    },
    Accepted {
        file: "kstack-core/src/life/lifetime.rs",
        reason: "generation, phase, owner and borrows have no bit in common",
        mutants: &[
            ("replace | with ^ in Word::begun", "| PHASE_USED | OWNER)"),
            ("replace | with ^ in Word::begun", "| OWNER)"),
            ("replace | with ^ in Word::resting", "| phase)"),
            ("replace | with ^ in Word::borrow_released", "| BORROW_MASK)"),
        ],
    },
    Accepted {
        file: "kstack-core/src/life/meter.rs",
        reason: "a sample that is stored again over itself changes nothing",
        mutants: &[("replace < with <= in Watermark::sample", "< self.0.load")],
    },
    Accepted {
        file: "kstack-core/src/fault/prologue.rs",
        reason: "the two halves of an instruction have no bit in common",
        mutants: &[("replace | with ^ in riscv64::instructions", "| u32::from(")],
    },
    Accepted {
        file: "kstack-core/src/life/record.rs",
        reason: "only a life that ends between two looks shows it: two of the models, another build, are red with it",
        mutants: &[(
            "replace && with || in SlotRecord::snapshot",
            "&& self.held() == Some(generation)",
        )],
    },
    Accepted {
        file: "kstack-core/src/entry/shadow.rs",
        reason: "the place of a word has its lowest bits and its highest one clear",
        mutants: &[
            ("replace | with ^ in Form::switch_word", "| RESTORES"),
            ("replace | with ^ in Form::for_signal", "| FROM_KERNEL"),
        ],
    },
    Accepted {
        file: "kstack-core/src/entry/shadow.rs",
        reason: "of the places of words the same are below 10 and below 16",
        mutants: &[("replace * with + in Form::for_signal", "* WORD || pointer")],
    },
    Accepted {
        file: "kstack-core/src/entry/shadow.rs",
        reason: "of two equal numbers either is the smaller",
        mutants: &[("replace < with <= in stack_bytes::smaller", "< b")],
    },
    Accepted {
        file: "kstack-hosted/src/backing.rs",
        reason: "rights and flags of a mapping have no bit in common",
        mutants: &[
            ("replace | with ^ in <impl Pages for Process>::map_page", "| libc::PROT_WRITE"),
            ("replace | with ^ in <impl Pages for Process>::unmap_pages", "| libc::MAP_ANONYMOUS"),
            ("replace | with ^ in <impl Pages for Process>::unmap_pages", "| libc::MAP_NORESERVE"),
            ("replace | with ^ in <impl Pages for Process>::unmap_pages", "| libc::MAP_FIXED"),
        ],
    },
    Accepted {
        file: "kstack-hosted/src/backing.rs",
        reason: "Linux does not look at the file of a mapping that has none",
        mutants: &[("delete - in <impl Pages for Process>::unmap_pages", "-1, 0)")],
    },
    Accepted {
        file: "kstack-hosted/src/pool.rs",
        reason: "flags of a mapping have no bit in common",
        mutants: &[
            ("replace | with ^ in reserve", "| libc::MAP_ANONYMOUS"),
            ("replace | with ^ in reserve", "| libc::MAP_NORESERVE"),
        ],
    },
    Accepted {
        file: "kstack-hosted/src/pool.rs",
        reason: "Linux does not look at the file of a mapping that has none",
        mutants: &[("delete - in reserve", "-1, 0)")],
    },
    Accepted {
        file: "kstack-hosted/src/pool.rs",
        reason: "exactly 128 KiB are whole 128 KiB already",
        mutants: &[("replace > with >= in geometry", "> MAX_COUNTED {")],
    },
    Accepted {
        file: "kstack-hosted/src/pool.rs",
        reason: "no test can have a period end at the very nanosecond at which it is looked at",
        mutants: &[("replace < with <= in StackPool::adapt", "< PERIOD {")],
    },
    Accepted {
        file: "kstack-hosted/src/pool.rs",
        reason: "a shadow stack that is on needs a processor and a C library with it: no machine of ours has both",
        mutants: &[("replace shadow_stack_is_on -> bool with false", "let mut status")],
    },
    Accepted {
        file: "kstack/src/arch/x86_64/tables.rs",
        reason: "the index of a selector and its privilege level have no bit in common",
        mutants: &[("replace | with ^", "| 3;")],
    },
];

/// What the list has to say of outcomes.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Compared {
    /// Survivors that are in the list.
    pub(super) accepted: usize,
    /// Survivors that are not.
    pub(super) unexplained: Vec<String>,
    /// Entries that were no survivors.
    pub(super) idle: Vec<String>,
}

/// Whether the list has a mutant.
pub(super) fn has(outcome: &Outcome) -> bool {
    ACCEPTED.iter().any(|accepted| accepted.has(outcome))
}

/// Compares outcomes with the list. `whole`: the files whose mutants are all among them.
pub(super) fn compare(outcomes: &[Outcome], whole: &[String]) -> Compared {
    compare_with(ACCEPTED, outcomes, whole)
}

fn compare_with(list: &[Accepted], outcomes: &[Outcome], whole: &[String]) -> Compared {
    let mut compared = Compared::default();
    for outcome in outcomes.iter().filter(|outcome| outcome.end == Ended::Missed) {
        if list.iter().any(|accepted| accepted.has(outcome)) {
            compared.accepted += 1;
        } else {
            compared.unexplained.push(outcome.to_string());
        }
    }
    for accepted in list {
        for entry in accepted.mutants {
            let mut meant =
                outcomes.iter().filter(|outcome| accepted.means(entry, outcome)).peekable();
            // In a part of the work the mutant may be in another part.
            let is_gone = meant.peek().is_none() && whole.iter().any(|file| file == accepted.file);
            if is_gone || meant.any(|outcome| outcome.end != Ended::Missed) {
                compared.idle.push(format!("{}: {} at {}", accepted.file, entry.0, entry.1));
            }
        }
    }
    compared
}

impl Accepted {
    fn means(&self, (change, at): &(&str, &str), outcome: &Outcome) -> bool {
        outcome.file == self.file && outcome.change == *change && outcome.at.starts_with(at)
    }

    fn has(&self, outcome: &Outcome) -> bool {
        self.mutants.iter().any(|entry| self.means(entry, outcome))
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(change: &str, at: &str, end: Ended) -> Outcome {
        let name = format!("a.rs:1:1: {change}");
        Outcome { name, file: "a.rs".into(), change: change.into(), at: at.into(), end }
    }

    const LIST: &[Accepted] = &[Accepted {
        file: "a.rs",
        reason: "the same",
        mutants: &[("replace < with <= in f", "< b"), ("replace g with ()", "")],
    }];

    #[test]
    fn a_survivor_without_a_reason_and_a_reason_without_a_survivor_are_told() {
        let whole = ["a.rs".to_owned()];
        let known = [
            outcome("replace < with <= in f", "< b && c", Ended::Missed),
            outcome("replace g with ()", "h()", Ended::Missed),
        ];
        assert_eq!(
            compare_with(LIST, &known, &whole),
            Compared { accepted: 2, ..Compared::default() }
        );

        let other = [outcome("replace < with <= in f", "< d", Ended::Missed)];
        let told = compare_with(LIST, &other, &whole);
        assert_eq!((told.accepted, told.unexplained.len(), told.idle.len()), (0, 1, 2));

        let caught = [known[0].clone(), outcome("replace g with ()", "h()", Ended::Caught)];
        let told = compare_with(LIST, &caught, &[]);
        assert_eq!((told.accepted, told.unexplained.len()), (1, 0));
        assert_eq!(told.idle, ["a.rs: replace g with () at "]);
    }

    #[test]
    fn a_part_of_the_work_says_nothing_of_the_rest() {
        assert_eq!(compare_with(LIST, &[], &[]), Compared::default());
        assert_eq!(compare_with(LIST, &[], &["b.rs".to_owned()]), Compared::default());
    }

    #[test]
    fn every_reason_is_one() {
        for accepted in ACCEPTED {
            assert!(
                accepted.reason.split(' ').count() >= 5 && !accepted.mutants.is_empty(),
                "{accepted:?}"
            );
        }
    }
}
