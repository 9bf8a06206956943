//! Boards, CPU models, memory sizes and numbers of CPUs: each boots and passes the smoke tests, or
//! says what it lacks.
//!
//! ```text
//!   cargo xtask test           the short list: above the old walls of memory, CPUs of several makers, one that is refused
//!   cargo xtask test --boards  all of them; prints the table, and writes it between two marks into CAVEATS.md
//! ```
//!
//! The kernel is told how many CPUs and how much memory there are, and compares
//! (`m1_every_cpu_and_all_memory_...`): a machine of which a part is not used has failed. Each
//! verdict shows the rows M1 and M2.

mod lists;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::{Arch, Board};
use crate::boot::control::{self, Message};
use crate::boot::qemu::{self, Console, End};
use crate::boot::{bochs, first_hart};
use crate::build::initramfs::Prepared;
use crate::jobs::{self, Further, lock};
use crate::progress::Activity;
use crate::proof::emulated::Verdict;
use crate::setup::{self, Ready};
use crate::workspace;
use lists::{
    CONTIGUOUS, FAR_NODES, HARDENED, IRQ_THREADS, NODES, PRIVILEGES_OF_PCS, PRIVILEGES_OF_X86_64,
    SHADOW_STACKS, SMOKE, SMOKE_OF_PCS,
};
use table::{Emulator, Expected, Row, Special, TABLE};

/// Lines of the console shown with a failure.
const SHOWN_LINES: usize = 25;
/// Between these the table stands in CAVEATS.md.
const MARKS: [&str; 2] = ["<!-- boards: begin -->", "<!-- boards: end -->"];

/// The kernel and the archive of an architecture.
pub(crate) struct Built<'a> {
    /// Which one.
    pub(crate) arch: Arch,
    /// Its kernel, of the first board's build options, and archive.
    pub(crate) prepared: Prepared,
    /// What its set-up found.
    pub(crate) ready: &'a Ready,
}

/// Which machines to boot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Which {
    /// Those of every run.
    Short,
    /// All.
    All,
}

/// What a machine did.
struct Outcome {
    row: &'static Row,
    /// The emulator's release, if it is there.
    release: String,
    verdict: Verdict,
}

/// The release of each emulator that is used, or why it is not there.
type Releases = BTreeMap<(Emulator, Arch), Result<String, String>>;

/// Boots the machines of the architectures that were built, as far as their names contain the
/// filter.
pub(crate) fn run(
    built: &[Built<'_>],
    which: Which,
    filter: Option<&str>,
    timeout: Duration,
) -> Vec<(Arch, Verdict)> {
    let outcomes = outcomes(built, which, filter, timeout);
    outcomes.into_iter().map(|outcome| (outcome.row.arch, outcome.verdict)).collect()
}

/// The same for all machines, and writes the table where it belongs if no architecture is missing.
pub(crate) fn run_all(
    built: &[Built<'_>],
    filter: Option<&str>,
    timeout: Duration,
) -> Result<Vec<(Arch, Verdict)>> {
    let outcomes = outcomes(built, Which::All, filter, timeout);
    let text = table_of(&outcomes);
    println!("\n{text}");
    if outcomes.len() == TABLE.len() {
        let path = workspace::root().join("CAVEATS.md");
        let old = fs::read_to_string(&path).context("cannot read CAVEATS.md")?;
        fs::write(&path, between_marks(&old, &text)?).context("cannot write CAVEATS.md")?;
    }
    Ok(outcomes.into_iter().map(|outcome| (outcome.row.arch, outcome.verdict)).collect())
}

fn outcomes(
    built: &[Built<'_>],
    which: Which,
    filter: Option<&str>,
    timeout: Duration,
) -> Vec<Outcome> {
    let rows: Vec<(usize, &'static Row)> = TABLE
        .iter()
        .enumerate()
        .filter(|(_, row)| which == Which::All || row.always)
        .filter(|(_, row)| {
            let has = |filter: &str| filter.split(',').any(|part| name_of(row).contains(part));
            filter.is_none_or(has)
        })
        .filter(|(_, row)| built.iter().any(|built| built.arch == row.arch))
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let releases = releases(rows.iter().map(|&(_, row)| row));
    let activity = Activity::start("Machines of other sizes and models");
    let outcomes = Mutex::new(Vec::new());
    jobs::run(rows, jobs::workers(), |(place, row)| {
        let prepared = built.iter().find(|built| built.arch == row.arch);
        activity.at(&name_of(row));
        let release = releases.get(&(row.emulator, row.arch));
        let failure = match (release, prepared) {
            (Some(Ok(_)), Some(built)) => {
                one(place, row, built, timeout).err().map(|error| format!("{error:#}"))
            }
            (Some(Err(error)), _) => Some(error.clone()),
            _ => Some("no kernel".to_owned()),
        };
        let release = release.and_then(|release| release.as_ref().ok()).cloned();
        let verdict = Verdict { name: name_of(row), failure };
        activity.line(&match &verdict.failure {
            None => format!("ok      {:<8} {}", row.arch, verdict.name),
            Some(message) => format!("FAILED  {:<8} {}\n    {message}", row.arch, verdict.name),
        });
        let release = release.unwrap_or_default();
        lock(&outcomes).push((place, Outcome { row, release, verdict }));
        Further::default()
    });
    activity.done();
    let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.sort_by_key(|&(place, _)| place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Fetches what emulators are not there, one after another, and asks each which one it is.
fn releases<'a>(rows: impl Iterator<Item = &'a Row>) -> Releases {
    let mut releases = Releases::new();
    for row in rows {
        releases.entry((row.emulator, row.arch)).or_insert_with(|| {
            release_of(row.emulator, row.arch).map_err(|error| format!("{error:#}"))
        });
    }
    releases
}

fn release_of(emulator: Emulator, arch: Arch) -> Result<String> {
    let usual = || setup::qemu_release(&setup::emulator(arch)?);
    match emulator {
        Emulator::Qemu => usual(),
        Emulator::SecondQemu => {
            let second = setup::qemu_release(&setup::second_emulator(arch)?)?;
            ensure!(second != usual()?, "the second QEMU is of the same release, {second}");
            Ok(second)
        }
        Emulator::Bochs => setup::bochs_release(),
    }
}

/// What a machine that runs shows besides M1 and M2.
const fn runs(row: &Row) -> &'static str {
    match row.special {
        Special::IrqThreads => "i5_i6_runs_with_interrupt_threads",
        Special::Contiguous => "t3_runs_with_threads_on_contiguous_stacks",
        Special::Nodes => "t6_runs_with_two_memory_nodes",
        Special::FarNodes => "t6_runs_with_memory_nodes_that_are_not_equally_far",
        Special::Hardened => "h2_h3_runs_with_erased_stacks_and_offsets",
        Special::Nothing if row.shadow_stacks => "p7_runs_and_programs_have_shadow_stacks",
        Special::Nothing => "runs",
    }
}

/// A verdict's name, with the rows it shows.
fn name_of(row: &Row) -> String {
    let does = match row.expected {
        Expected::Runs => runs(row),
        Expected::Refuses(_) => "says_what_it_lacks",
    };
    let cpus = if row.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", row.cpus) };
    let emulator = match row.emulator {
        Emulator::Qemu => "",
        Emulator::SecondQemu => "second QEMU: ",
        Emulator::Bochs => "Bochs: ",
    };
    let Row { machine, cpu, memory, .. } = row;
    format!("m1_m2_{does} [{emulator}{} {cpu} {memory} {cpus}{}]", machine[0], odd(row))
}

/// What is special to one CPU, for people.
fn odd(row: &Row) -> String {
    row.odd.map(|(how, _)| format!(", {how}")).unwrap_or_default()
}

/// The emulator's arguments: as those of the architecture's first board, with another machine and
/// CPU.
fn board_of(row: &Row) -> Board {
    let usual = row.arch.board();
    let mut arguments = vec!["-M", row.machine[0], "-cpu", row.cpu];
    arguments.extend(&row.machine[1..]);
    let mut rest = usual.arguments.chunks(2);
    // Options with one value each; a test holds it.
    arguments.extend(rest.by_ref().filter(|pair| !["-M", "-cpu"].contains(&pair[0])).flatten());
    if let Some(late) = row.late {
        let held_back = first_hart::hold_back(late).into_iter();
        arguments.extend(held_back.map(|argument| &*argument.leak()));
    }
    // It lives as long as the command: there are a few dozen.
    let arguments = Vec::leak(arguments);
    Board { name: row.cpu, arguments, first_cpu: None, ..*usual }
}

/// What a machine has to show: where the emulator enforces what the other lets pass, the tests of
/// privileges too.
fn tests_of(row: &Row) -> Vec<&'static str> {
    let privileges: &[&[_]] = match (row.emulator, row.arch) {
        (Emulator::Bochs, Arch::X86_64) => &[&PRIVILEGES_OF_PCS, &PRIVILEGES_OF_X86_64],
        (Emulator::Bochs, _) => &[&PRIVILEGES_OF_PCS],
        _ => &[],
    };
    let fit = privileges.iter().copied().flatten().filter(|(_, cpus)| cpus.contains(&row.cpus));
    let of_pcs: &[_] = match row.arch {
        Arch::X86_64 | Arch::I386 => &SMOKE_OF_PCS,
        _ => &[],
    };
    let shadow: &[_] = match (row.shadow_stacks, row.arch) {
        (true, Arch::X86_64) => &SHADOW_STACKS,
        (true, _) => &SHADOW_STACKS[..5],
        (false, _) => &[],
    };
    let (smoke, special): (&[_], &[_]) = match row.special {
        Special::Nothing => (&SMOKE, &[]),
        Special::IrqThreads => (&SMOKE, &IRQ_THREADS),
        Special::Contiguous => (&SMOKE[..SMOKE.len() - 1], &CONTIGUOUS),
        Special::Nodes => (&SMOKE, &NODES),
        Special::FarNodes => (&SMOKE, &FAR_NODES),
        Special::Hardened => (&SMOKE, &HARDENED),
    };
    smoke
        .iter()
        .chain(of_pcs)
        .chain(shadow)
        .chain(special)
        .copied()
        .chain(fit.map(|&(test, _)| test))
        .collect()
}

/// Boots one machine and judges what it did.
fn one(place: usize, row: &Row, built: &Built<'_>, timeout: Duration) -> Result<()> {
    let tests = tests_of(row);
    let mut heard = Heard::default();
    let mut on_line = |line: &str| heard.line(line);
    let Prepared { kernel, image } = &built.prepared;
    let shadow = u8::from(row.shadow_stacks);
    let options = match row.special {
        Special::Nothing => "",
        Special::Nodes => "nodes=2 ",
        Special::FarNodes => "nodes=3 nearest=1 ",
        Special::IrqThreads => "threadirqs ",
        Special::Contiguous => "stacks=contiguous ",
        Special::Hardened => "stack_erasing=on randomize_kstack_offset=on ",
    };
    let tests_to_run = tests.join(",");
    let command_line =
        format!("{options}mode=test has-shadow-stacks={shadow} tests={tests_to_run}");
    let name = format!("board-{place}");
    let finished = if row.emulator == Emulator::Bochs {
        bochs::Boot {
            arch: row.arch,
            model: row.cpu,
            kernel,
            initramfs: image,
            command_line,
            cpus: row.cpus,
            memory: row.memory,
            name,
            timeout,
        }
        .run(built.ready, &mut on_line)?
    } else {
        let emulator = match row.emulator {
            Emulator::SecondQemu => setup::second_emulator(row.arch)?,
            _ => setup::emulator(row.arch)?,
        };
        qemu::Boot {
            arch: row.arch,
            board: Box::leak(Box::new(board_of(row))),
            kernel,
            initramfs: image,
            command_line,
            cpus: row.cpus,
            memory: row.memory,
            counting: None,
            console: Console::Log,
            terminal: None,
            name,
            timeout: Some(timeout),
        }
        .run_in(&emulator, &mut on_line)?
    };
    let said = said(&finished.console, &finished.control)?;
    if let Some((how, sentence)) = row.odd {
        ensure!(said.contains(sentence), "{how}: it did not say \"{sentence}\"");
    }
    judge(row.expected, &tests, &heard, &finished.end, &said)
        .map_err(|error| anyhow::anyhow!("{error}\n{}", finished.tail(SHOWN_LINES)))
}

/// All that a machine wrote.
fn said(console: &Path, control: &Path) -> Result<String> {
    let mut said = String::new();
    for path in [console, control] {
        said.push_str(&String::from_utf8_lossy(&fs::read(path)?));
    }
    Ok(said)
}

/// What the control channel said.
#[derive(Debug, Default)]
struct Heard {
    started: Vec<String>,
    passed: Vec<String>,
    ended: bool,
    wrong: Option<String>,
}

impl Heard {
    fn line(&mut self, line: &str) {
        // Nothing belongs behind the end.
        let late = self.ended && line.starts_with('@');
        match control::parse(line) {
            Ok(Some(_)) if late => self.complain(format!("after the end: {line}")),
            Ok(Some(Message::Start(name))) => self.started.push(name),
            Ok(Some(Message::Pass(name))) => {
                if self.started.last() != Some(&name) {
                    self.complain(format!("{name} passed and had not begun"));
                }
                self.passed.push(name);
            }
            Ok(Some(Message::Fail { name, message })) => {
                self.complain(format!("{name}: {message}"));
            }
            Ok(Some(Message::End)) => self.ended = true,
            Ok(_) => {}
            Err(error) => self.complain(error.to_string()),
        }
    }

    fn complain(&mut self, message: String) {
        self.wrong.get_or_insert(message);
    }
}

fn judge(expected: Expected, tests: &[&str], heard: &Heard, end: &End, said: &str) -> Result<()> {
    if let Some(wrong) = &heard.wrong {
        bail!("{wrong}");
    }
    match expected {
        Expected::Runs => {
            let mut wanted = tests.to_vec();
            let mut passed: Vec<&str> = heard.passed.iter().map(String::as_str).collect();
            wanted.sort_unstable();
            passed.sort_unstable();
            ensure!(passed == wanted, "not all tests passed once ({end})");
            ensure!(heard.started.len() == tests.len(), "a test began twice");
            ensure!(heard.ended && *end == End::Orderly, "it did not end in an orderly way: {end}");
        }
        Expected::Refuses(sentence) => {
            ensure!(heard.started.is_empty(), "it ran, and was to refuse");
            ensure!(said.contains(sentence), "it did not say \"{sentence}\" ({end})");
            ensure!(*end == End::Panic, "it said what it lacks, and then: {end}");
        }
    }
    Ok(())
}

/// The table, as CAVEATS.md has it.
fn table_of(outcomes: &[Outcome]) -> String {
    let mut text =
        "| architecture | emulator | machine | CPU | memory | CPUs | what it does |\n| --- | --- | --- | --- | ---: | ---: | --- |\n"
            .to_owned();
    for Outcome { row, release, verdict } in outcomes {
        let does = match (&verdict.failure, row.expected) {
            (Some(failure), _) => {
                format!("**fails**: {}", failure.lines().next().unwrap_or_default())
            }
            (None, Expected::Runs) => "runs".to_owned(),
            (None, Expected::Refuses(sentence)) => format!("ends with \"… {sentence} …\""),
        };
        let Row { arch, machine, cpu, memory, cpus, .. } = row;
        let emulator = match row.emulator {
            Emulator::Qemu | Emulator::SecondQemu => "QEMU",
            Emulator::Bochs => "Bochs",
        };
        let machine = machine[0];
        let _ = writeln!(
            text,
            "| {arch} | {emulator} {release} | {machine} | {cpu} | {memory} | {cpus}{} | {does} |",
            odd(row)
        );
    }
    text
}

/// The document with the table between its marks.
fn between_marks(document: &str, table: &str) -> Result<String> {
    let [begin, end] = MARKS;
    let split = document.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let (before, after) = split.with_context(|| format!("no {begin} … {end}"))?;
    Ok(format!("{before}{begin}\n{table}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use std::collections::HashSet;

    fn heard(lines: &[String]) -> Heard {
        let mut heard = Heard::default();
        lines.iter().for_each(|line| heard.line(line));
        heard
    }

    fn good() -> Vec<String> {
        let each = SMOKE
            .iter()
            .flat_map(|name| [format!("@test start {name}"), format!("@test pass {name}")]);
        each.chain(["@end".to_owned()]).collect()
    }

    #[test]
    fn m1_a_machine_runs_only_if_each_smoke_test_passed_once_and_it_ended_well() {
        let judged = |lines: &[String], end| judge(Expected::Runs, &SMOKE, &heard(lines), &end, "");
        assert!(judged(&good(), End::Orderly).is_ok());
        assert!(judged(&good(), End::Reset).is_err());
        for left_out in 0..good().len() {
            let mut lines = good();
            lines.remove(left_out);
            assert!(judged(&lines, End::Orderly).is_err(), "without line {left_out}");
        }
        for twice in 0..good().len() {
            let mut lines = good();
            lines.insert(twice, lines[twice].clone());
            assert!(judged(&lines, End::Orderly).is_err(), "line {twice} twice");
        }
        let mut lines = good();
        lines[1] = format!("@test fail {}: no", SMOKE[0]);
        assert!(judged(&lines, End::Orderly).is_err());
    }

    #[test]
    fn m1_a_machine_refuses_only_by_its_sentence_and_the_status_of_a_panic() {
        let sentence = Expected::Refuses("lacks a wheel");
        let judged =
            |lines: &[String], end, said| judge(sentence, &SMOKE, &heard(lines), &end, said);
        assert!(judged(&[], End::Panic, "it lacks a wheel.").is_ok());
        assert!(judged(&[], End::Panic, "it lacks two").is_err());
        assert!(judged(&[], End::Timeout, "it lacks a wheel.").is_err());
        assert!(judged(&good(), End::Panic, "it lacks a wheel.").is_err());
    }

    #[test]
    fn the_table_reaches_from_end_to_end_and_no_machine_is_in_it_twice() {
        let names: HashSet<_> = TABLE.iter().map(|row| (row.arch, name_of(row))).collect();
        assert_eq!(names.len(), TABLE.len());
        for arch in Arch::all() {
            let rows = || TABLE.iter().filter(|row| row.arch == arch);
            assert!(rows().any(|row| row.memory == "64M" && row.cpus == 1), "{arch}");
            let most = if arch == Arch::Arm32 { 8 } else { 64 };
            assert!(rows().any(|row| row.cpus == most), "{arch}");
            assert!(rows().filter(|row| row.always).count() >= 2, "{arch}");
            let seconds = rows().filter(|row| row.emulator == Emulator::SecondQemu);
            assert!(seconds.filter(|row| row.expected == Expected::Runs).count() >= 3, "{arch}");
            let fetched = rows().filter(|row| row.emulator != Emulator::Qemu);
            assert!(
                fetched.into_iter().all(|row| !row.always || row.shadow_stacks),
                "{arch}: what is fetched shows what QEMU cannot"
            );
            let models: HashSet<_> = rows().map(|row| row.cpu).collect();
            assert!(models.len() >= 3, "{arch}");
            for row in rows() {
                let more: &[_] = match (row.shadow_stacks, row.special) {
                    (true, _) => &["P7"],
                    (_, Special::IrqThreads) => &["I5", "I6"],
                    (_, Special::Contiguous) => &["T3"],
                    (_, Special::Nodes | Special::FarNodes) => &["T6"],
                    (_, Special::Hardened) => &["H2", "H3"],
                    _ => &[],
                };
                assert_eq!(catalogue::ids_of(&name_of(row)), [&["M1", "M2"], more].concat());
                let arguments = row.arch.board().arguments;
                assert!(
                    arguments.chunks(2).all(|pair| pair.len() == 2 && pair[0].starts_with('-'))
                );
            }
        }
    }

    #[test]
    fn the_table_is_written_between_its_marks_and_nowhere_else() {
        let document = format!("a\n{}\nold\n{}\nb\n", MARKS[0], MARKS[1]);
        let written = between_marks(&document, "new\n").unwrap();
        assert_eq!(written, format!("a\n{}\nnew\n{}\nb\n", MARKS[0], MARKS[1]));
        assert_eq!(between_marks(&written, "new\n").unwrap(), written);
        assert!(between_marks("a\nb\n", "new\n").is_err());
        let caveats = fs::read_to_string(workspace::root().join("CAVEATS.md")).unwrap();
        assert!(between_marks(&caveats, "").is_ok());
    }
}
