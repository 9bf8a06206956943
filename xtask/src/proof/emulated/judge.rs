//! What a boot amounts to: the verdicts on its tests, read from the control channel.
//!
//! ```text
//!   @test start a ─▶ running ─▶ @test pass a | @test fail a: ...          one verdict for each test
//!                       └─ @expect a ... ─▶ @report ... ─▶ the machine stops         a death, as announced
//!   @end                                                                 nothing comes after it
//! ```
//!
//! The kernel is what is tested, so its words are checked like any other of its results: each line
//! must come where the protocol has it. One that does not is a failure, of the test that was
//! running then or of the channel.
//!
//! Invariants: a test passes only if it was asked for, began once, had one verdict and broke no
//! rule; a death passes only if it was announced once, with something that can be wrong, before its
//! one report; the tests that are tried in another boot are fewer than before.

use super::verdict::{Tests, Verdict};
use crate::boot::control::{self, Fields, Message};
use crate::boot::qemu::End;
use crate::proof::expectation;

/// What a boot's control channel said.
#[derive(Default)]
pub(super) struct Record {
    /// The test that has begun and has no verdict.
    running: Option<String>,
    /// Every test that has begun.
    started: Vec<String>,
    verdicts: Vec<Verdict>,
    /// What the running test has announced.
    expected: Option<Vec<String>>,
    /// The report that came after the announcement.
    report: Option<Fields>,
    ended: bool,
    /// Tests that broke the protocol, and how: they have failed, whatever else they say.
    faults: Vec<(String, String)>,
    /// Lines that no test accounts for.
    refused: Vec<String>,
}

impl Record {
    /// The test that has begun and has no verdict yet.
    pub(super) fn running(&self) -> Option<&str> {
        self.running.as_deref()
    }

    /// Takes a line into account.
    pub(super) fn hear(&mut self, line: &str) {
        let message = match control::parse(line) {
            Ok(None) => return,
            Ok(Some(message)) => message,
            Err(error) => return self.refused.push(error.to_string()),
        };
        if self.ended {
            return self.refused.push(format!("after the end: {message:?}"));
        }
        match message {
            Message::Start(name) => self.start(name),
            Message::Pass(name) => self.close(Verdict::passed(name)),
            Message::Fail { name, message } => self.close(Verdict::failed(name, message)),
            Message::Alive if self.running.is_some() => {}
            Message::Alive => self.refused.push("a test got on, and none is running".to_owned()),
            Message::Expect { name, fields } => self.expect(&name, fields),
            Message::Report(fields) => self.report(fields),
            Message::End => self.ended = true,
            other @ (Message::List { .. }
            | Message::Bench { .. }
            | Message::Ask { .. }
            | Message::Took(_)
            | Message::Exit(_)) => {
                self.refused.push(format!("out of place: {other:?}"));
            }
        }
    }

    fn start(&mut self, name: String) {
        self.expected = None;
        self.report = None;
        if self.started.contains(&name) {
            self.faults.push((name.clone(), "started twice".to_owned()));
        }
        self.started.push(name.clone());
        // A test that another one follows without a verdict has failed.
        if let Some(open) = self.running.replace(name) {
            self.judge(Verdict::failed(open, "ended without a verdict"));
        }
    }

    /// The running test broke the protocol; the channel did, if none is running.
    fn blame(&mut self, why: String) {
        match &self.running {
            Some(name) => self.faults.push((name.clone(), why)),
            None => self.refused.push(why),
        }
    }

    fn expect(&mut self, name: &str, fields: Vec<String>) {
        if self.running.as_deref() != Some(name) {
            return self.blame(format!("a death was announced for {name}, which is not running"));
        }
        if let Some(why) = expectation::is_no_announcement(&fields) {
            self.blame(format!("announced nothing that could be wrong: {why}"));
        }
        if self.expected.is_some() {
            // The first one holds: another could only take back what did not come true.
            return self.blame("announced a death twice".to_owned());
        }
        self.expected = Some(fields);
    }

    fn report(&mut self, fields: Fields) {
        if self.expected.is_none() {
            self.blame("a report came that was not announced".to_owned());
        } else if self.report.is_some() {
            self.blame("a second report came".to_owned());
        } else {
            self.report = Some(fields);
        }
    }

    fn close(&mut self, mut verdict: Verdict) {
        if self.running.as_ref() == Some(&verdict.name) {
            self.running = None;
            if self.expected.take().is_some() && verdict.failure.is_none() {
                verdict.failure = Some("announced a death and then lived".to_owned());
            }
        } else if verdict.failure.is_none() {
            verdict.failure = Some("passed without having been started".to_owned());
        }
        self.judge(verdict);
    }

    /// A test has one verdict, and a failure stays.
    fn judge(&mut self, verdict: Verdict) {
        match self.verdicts.iter_mut().find(|earlier| earlier.name == verdict.name) {
            Some(earlier) => {
                let failure = verdict.failure.as_deref().unwrap_or("passed");
                let why = format!("has a second verdict: {failure}");
                earlier.failure.get_or_insert(why);
            }
            None => self.verdicts.push(verdict),
        }
    }
}

/// What a boot amounts to.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Judged {
    /// One for each test, and for what no test accounts for.
    pub(super) verdicts: Vec<Verdict>,
    /// Tests to be tried in another boot.
    pub(super) rest: Vec<String>,
    /// Whether a test died as it had announced.
    pub(super) died: bool,
}

/// Judges a boot that has ended.
pub(super) fn judge(mut record: Record, end: &End, job: &Tests) -> Judged {
    let orderly = record.ended && *end == End::Orderly;
    let mut accounted = orderly;
    let mut death = None;
    if let Some(name) = record.running.take() {
        accounted = true;
        let verdict = match record.expected.take() {
            Some(fields) => {
                death = Some(name.clone());
                judge_death(name, &fields, record.report.as_ref(), end)
            }
            None if orderly => Verdict::failed(name, "ended without a verdict"),
            None => Verdict::failed(name, format!("took the machine down: {end}")),
        };
        record.judge(verdict);
    }
    let Record { mut verdicts, faults, refused, .. } = record;
    for (name, why) in faults {
        match verdicts.iter_mut().find(|verdict| verdict.name == name) {
            Some(verdict) => {
                verdict.failure.get_or_insert(why);
            }
            None => verdicts.push(Verdict::failed(name, why)),
        }
    }
    for verdict in &mut verdicts {
        if !job.names.contains(&verdict.name) {
            verdict.failure.get_or_insert_with(|| "ran without having been asked for".to_owned());
        }
    }
    let died = death.is_some_and(|name| {
        verdicts.iter().any(|verdict| verdict.name == name && verdict.failure.is_none())
    });
    let has_verdict = |name: &String| verdicts.iter().any(|verdict| verdict.name == *name);
    let got_somewhere = job.names.iter().any(has_verdict);
    let mut rest: Vec<String> =
        job.names.iter().filter(|name| !has_verdict(name)).cloned().collect();
    // A boot that brought none of its tests to a verdict is not repeated: neither would the next
    // one, without an end.
    if orderly || !got_somewhere {
        let why = if orderly {
            "was asked for and never started".to_owned()
        } else {
            accounted = true;
            format!("never started: {end}")
        };
        verdicts.extend(rest.drain(..).map(|name| Verdict::failed(name, why.clone())));
    }
    if !accounted {
        verdicts.push(Verdict::failed("machine_ends_in_order", format!("between tests: {end}")));
    }
    for line in refused {
        verdicts.push(Verdict::failed("control_channel_is_readable", line));
    }
    Judged { verdicts, rest, died }
}

/// A death test passes if the kernel itself stopped the machine with a report that says what was
/// announced: not if it was lost in some other way.
fn judge_death(name: String, expected: &[String], report: Option<&Fields>, end: &End) -> Verdict {
    if *end != End::Report {
        return Verdict::failed(name, format!("died, but not with a report: {end}"));
    }
    let Some(report) = report else {
        return Verdict::failed(name, "stopped without a report on the control channel");
    };
    let wrong = expectation::mismatches(expected, report);
    if wrong.is_empty() { Verdict::passed(name) } else { Verdict::failed(name, wrong.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str], end: End, tests: &[&str]) -> Judged {
        let mut record = Record::default();
        lines.iter().for_each(|line| record.hear(line));
        let names = tests.iter().map(|&name| name.to_owned()).collect();
        judge(record, &end, &Tests { names, all: false, counted: false })
    }

    fn failures(judged: &Judged) -> Vec<&str> {
        let failed = judged.verdicts.iter().filter(|verdict| verdict.failure.is_some());
        failed.map(|verdict| verdict.name.as_str()).collect()
    }

    const DEATH: [&str; 3] = [
        "@test start o2_irq",
        "@expect o2_irq stack=irq cause=guard-hit",
        "@report stack=irq cause=guard-hit",
    ];

    #[test]
    fn tests_that_pass_in_an_orderly_machine_have_passed() {
        let lines =
            ["@test start a", "log", "@test pass a", "@test start b", "@test pass b", "@end"];
        let judged = judged(&lines, End::Orderly, &["a", "b"]);
        assert!(failures(&judged).is_empty());
        assert_eq!(judged.verdicts.len(), 2);
        assert!(judged.rest.is_empty());
    }

    /// Red if a machine can keep the watchdog away outside its tests.
    #[test]
    fn only_a_running_test_gets_on() {
        let lines = ["@test start a", "@alive", "@test pass a", "@end"];
        assert!(failures(&judged(&lines, End::Orderly, &["a"])).is_empty());
        let lines = ["@alive", "@test start a", "@test pass a", "@end"];
        assert_eq!(failures(&judged(&lines, End::Orderly, &["a"])).len(), 1);
    }

    #[test]
    fn the_test_without_a_verdict_is_the_one_that_is_shown() {
        let mut record = Record::default();
        assert_eq!(record.running(), None);
        record.hear("@test start a");
        assert_eq!(record.running(), Some("a"));
        record.hear("@test pass a");
        assert_eq!(record.running(), None);
    }

    #[test]
    fn the_test_that_takes_the_machine_down_fails_and_the_rest_is_tried_again() {
        for end in
            [End::Reset, End::Timeout, End::Panic, End::Report, End::Signal(9), End::Status(1)]
        {
            let lines = ["@test start a", "@test pass a", "@test start b"];
            let judged = judged(&lines, end, &["a", "b", "c"]);
            assert_eq!(failures(&judged), ["b"]);
            assert_eq!(judged.rest, ["c"]);
        }
    }

    #[test]
    fn a_test_that_never_started_is_not_forgotten() {
        let judged = judged(&["@test start a", "@test pass a", "@end"], End::Orderly, &["a", "b"]);
        assert_eq!(failures(&judged), ["b"]);
        assert!(judged.rest.is_empty());
    }

    #[test]
    fn a_test_that_ends_without_a_verdict_has_not_taken_the_machine_down() {
        let failure = |lines: &[&str], end| {
            judged(lines, end, &["a"]).verdicts.remove(0).failure.expect("it failed")
        };
        let open = ["@test start a", "@end"];
        assert_eq!(failure(&open, End::Orderly), "ended without a verdict");
        assert!(failure(&open[..1], End::Panic).starts_with("took the machine down: "));
    }

    #[test]
    fn a_boot_that_gets_nowhere_is_not_repeated() {
        let judged = judged(&[], End::Reset, &["a", "b"]);
        assert_eq!(failures(&judged), ["a", "b"]);
        assert!(judged.rest.is_empty());
    }

    #[test]
    fn a_machine_lost_between_tests_is_a_failure_of_its_own() {
        let lines = ["@test start a", "@test pass a"];
        assert_eq!(failures(&judged(&lines, End::Panic, &["a"])), ["machine_ends_in_order"]);
        // Passing, then ending with the right status but without saying so, is no orderly end.
        assert_eq!(failures(&judged(&lines, End::Orderly, &["a"])), ["machine_ends_in_order"]);
    }

    #[test]
    fn a_death_passes_only_with_the_announced_report_and_status() {
        let expected = judged(&DEATH, End::Report, &["o2_irq"]);
        assert!(failures(&expected).is_empty() && expected.died);
        for end in [End::Reset, End::Panic, End::Orderly, End::Timeout] {
            assert_eq!(failures(&judged(&DEATH, end, &["o2_irq"])), ["o2_irq"], "{end}");
        }
        assert_eq!(failures(&judged(&DEATH[..2], End::Report, &["o2_irq"])), ["o2_irq"]);
        let other = [DEATH[0], DEATH[1], "@report stack=thread cause=guard-hit"];
        assert_eq!(failures(&judged(&other, End::Report, &["o2_irq"])), ["o2_irq"]);
    }

    #[test]
    fn an_announced_death_that_does_not_come_is_a_failure() {
        let lines = [DEATH[0], DEATH[1], "@test pass o2_irq", "@end"];
        assert_eq!(failures(&judged(&lines, End::Orderly, &["o2_irq"])), ["o2_irq"]);
    }

    #[test]
    fn another_test_s_announcement_does_not_excuse_a_death() {
        let lines = ["@test start a", "@expect b stack=irq", "@report stack=irq"];
        assert_eq!(failures(&judged(&lines, End::Report, &["a"])), ["a"]);
    }

    #[test]
    fn garbage_on_the_control_channel_fails_the_run() {
        let lines = ["@test start a", "@test pas a", "@test pass a", "@end"];
        assert_eq!(
            failures(&judged(&lines, End::Orderly, &["a"])),
            ["control_channel_is_readable"]
        );
    }

    #[test]
    fn verdicts_out_of_place_are_failures() {
        let lines = ["@test pass a", "@test start x", "@test pass x", "@end"];
        assert_eq!(failures(&judged(&lines, End::Orderly, &["a"])), ["a", "x"]);
    }

    #[test]
    fn a_test_that_starts_or_passes_twice_has_failed() {
        let twice = ["@test start a", "@test pass a", "@test start a", "@test pass a", "@end"];
        assert_eq!(failures(&judged(&twice, End::Orderly, &["a"])), ["a"]);
        let passes = ["@test start a", "@test pass a", "@test pass a", "@end"];
        assert_eq!(failures(&judged(&passes, End::Orderly, &["a"])), ["a"]);
        // The first failure is the one that is shown.
        let both = ["@test start a", "@test fail a: no", "@test pass a", "@end"];
        let told = judged(&both, End::Orderly, &["a"]);
        assert_eq!(told.verdicts, [Verdict::failed("a", "no")]);
        let late = ["@test start a", "@test pass a", "@test fail a: no", "@end"];
        let told = judged(&late, End::Orderly, &["a"]);
        assert_eq!(told.verdicts, [Verdict::failed("a", "has a second verdict: no")]);
        // One that starts again and hangs is not tried again.
        let hangs = ["@test start a", "@test pass a", "@test start a"];
        let told = judged(&hangs, End::Timeout, &["a", "b"]);
        assert_eq!(failures(&told), ["a"]);
        assert_eq!(told.rest, ["b"]);
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let first = ["@end", "@test start a", "@test pass a"];
        let told = judged(&first, End::Orderly, &["a"]);
        assert_eq!(failures(&told)[0], "a");
        let after = ["@test start a", "@test pass a", "@end", "@test start b", "@test pass b"];
        let told = judged(&after, End::Orderly, &["a", "b"]);
        assert_eq!(
            failures(&told),
            ["b", "control_channel_is_readable", "control_channel_is_readable"]
        );
        let again = ["@test start a", "@test pass a", "@end", "log", "@end"];
        assert_eq!(
            failures(&judged(&again, End::Orderly, &["a"])),
            ["control_channel_is_readable"]
        );
        // The end in the middle of a test is none of that test's.
        let inside = ["@test start a", "@end", "@test pass a"];
        assert_eq!(failures(&judged(&inside, End::Orderly, &["a"]))[0], "a");
    }

    #[test]
    fn a_death_is_announced_once_for_the_running_test_with_something_that_can_be_wrong() {
        let dies = |lines: &[&str]| {
            let told = judged(lines, End::Report, &["o2_irq"]);
            assert_eq!(told.died, failures(&told).is_empty());
            failures(&told).join(" ")
        };
        assert_eq!(dies(&DEATH), "");
        for weak in [
            "@expect o2_irq",
            "@expect o2_irq frames>=0",
            "@expect o2_irq stack=irq",
            "@expect o2_irq stack=irq cause~=guard",
        ] {
            assert!(dies(&[DEATH[0], weak, DEATH[2]]).starts_with("o2_irq"), "{weak}");
        }
        let other = "@report stack=thread cause=guard-hit";
        let weaker = "@expect o2_irq stack=thread cause=guard-hit";
        assert_eq!(dies(&[DEATH[0], DEATH[1], weaker, other]), "o2_irq");
        assert_eq!(dies(&[DEATH[0], DEATH[1], DEATH[1], DEATH[2]]), "o2_irq");
        assert_eq!(dies(&[DEATH[0], "@expect b stack=irq cause=x", DEATH[1], DEATH[2]]), "o2_irq");
        assert_eq!(dies(&[DEATH[1], DEATH[0], DEATH[2]]), "o2_irq control_channel_is_readable");
    }

    #[test]
    fn a_death_has_one_report_that_comes_after_its_announcement() {
        let dies = |lines: &[&str]| failures(&judged(lines, End::Report, &["o2_irq"])).join(" ");
        assert_eq!(dies(&[DEATH[0], DEATH[2], DEATH[1]]), "o2_irq");
        assert_eq!(dies(&[DEATH[0], DEATH[2], DEATH[1], DEATH[2]]), "o2_irq");
        assert_eq!(dies(&[DEATH[0], DEATH[1], DEATH[2], DEATH[2]]), "o2_irq");
        let other = "@report stack=thread cause=guard-hit";
        assert_eq!(dies(&[DEATH[0], DEATH[1], other, DEATH[2]]), "o2_irq");
        // Two values for a key: either could be read.
        let both = "@report stack=thread stack=irq cause=guard-hit";
        assert_eq!(dies(&[DEATH[0], DEATH[1], both]), "o2_irq control_channel_is_readable");
        // What an earlier test announced or got is not the next one's.
        let lines = ["@test start a", "@expect a stack=irq cause=x", "@report stack=irq cause=x"];
        let next = ["@test start o2_irq"];
        let told = judged(&[&lines[..], &next[..]].concat(), End::Report, &["a", "o2_irq"]);
        assert_eq!(failures(&told), ["a", "o2_irq"]);
    }

    #[test]
    fn a_verdict_in_the_middle_of_a_line_is_told() {
        let lines = ["@test start a", "cpu 3 is@test fail a: no", "@test pass a", "@end"];
        assert_eq!(
            failures(&judged(&lines, End::Orderly, &["a"])),
            ["control_channel_is_readable"]
        );
    }

    #[test]
    fn a_kernel_that_runs_another_test_and_dies_is_not_booted_again() {
        for lines in [
            &["@test start x"][..],
            &["@test start x", "@test pass x"],
            &["@test start x", "@expect x stack=irq cause=y", "@report stack=irq cause=y"],
        ] {
            let told = judged(lines, End::Report, &["a", "b"]);
            assert_eq!(failures(&told), ["x", "a", "b"], "{lines:?}");
            assert!(told.rest.is_empty() && !told.died);
        }
    }
}
