//! `cargo xtask bench`: figures of the kernel beside Linux's for the same work.
//!
//! The machine counts instructions instead of time: one CPU, virtual time advancing by one
//! nanosecond per executed instruction, so that the same build gives the same figures, whatever
//! else this machine does meanwhile. What stands beside them is [`Measured`]: what Linux took when
//! `--against linux` measured both kernels last.
//!
//! A missed aim is told and is not an error; a bench that gives no figure is.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::arch::Arch;
use crate::boot::control::{self, Message};
use crate::boot::qemu::{Boot, Console, End};
use crate::build::initramfs::{self, Prepared};
use crate::jobs::{self, Further, lock};
use crate::progress::Activity;
use crate::proof::against::{self, Measured};
use crate::proof::baseline::{self, WANTED};
use crate::proof::figures::{Figure, number, optional};
use crate::proof::pages;
use crate::setup;
use crate::variant::Variant;

/// Lines of the console shown when the machine was lost.
const SHOWN_LINES: usize = 40;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate; all of them without this.
    #[arg(long, value_name = "NAME", value_parser = Arch::parse)]
    arch: Option<Arch>,
    /// Measure this variant of the kernel: what the compiler adds costs so much.
    #[arg(long, value_name = "NAME", value_parser = Variant::parse)]
    #[arg(requires = "arch", conflicts_with_all = ["page", "against", "scale"])]
    variant: Option<Variant>,
    /// Write the figures to this file, as an array of objects (name, arch, value, unit, linux).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures into docs/figures.md, too.
    #[arg(long, conflicts_with = "arch")]
    page: bool,
    /// Measure the same work in the distribution's kernel as well, on x86_64 and arm64 (or one of
    /// them with --arch): every figure of several boots of each, as medians, with ratios. Fetches
    /// that kernel, its headers and a C compiler, once: about 180 MB, into the cache. What Linux
    /// took stands beside the figures of later runs. With --page, docs/figures.md gets the table
    /// and docs/figures.svg the chart.
    #[arg(long, value_name = "KERNEL", conflicts_with = "json")]
    against: Option<Other>,
    /// How many boots of each kernel --against takes.
    #[arg(long, value_name = "N", default_value_t = 5, requires = "against")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
    /// Show how each figure of both kernels grows with this, as a table. Fetches what --against
    /// does.
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["json", "page", "against"])]
    scale: Option<against::Axis>,
    /// End a machine that has been silent for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// A kernel to compare with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Other {
    /// The distribution's, on x86_64 and arm64
    Linux,
}

/// `cargo xtask bench`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    if let Some(Other::Linux) = options.against {
        return beside_linux(options);
    }
    if let Some(axis) = options.scale {
        against::grown(&of_linux(options.arch)?, axis, options.timeout)?;
        return Ok(ExitCode::SUCCESS);
    }
    let linux = Measured::read()?;
    let archs = Arch::chosen(options.arch);
    let mut booted = Vec::new();
    for (&arch, ready) in archs.iter().zip(&mut setup::ensure_all(&archs)?) {
        let board = match options.variant {
            None => arch.board(),
            Some(variant) => arch.board_of(variant).with_context(|| {
                format!("no machine of {arch} has the variant {}", variant.name())
            })?,
        };
        setup::add_variant(ready, arch, board.variant)?;
        booted.push((arch, initramfs::prepare(arch, board, ready, None, None, "bench")?));
    }
    let figures = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let activity = Activity::start("Counting instructions");
    jobs::run(booted, jobs::workers(), |(arch, prepared)| {
        match measure(arch, &prepared, options.timeout, &linux, &activity) {
            Ok(measured) => lock(&figures).extend(measured),
            Err(error) => lock(&failures).push(format!("{arch}: {error:#}")),
        }
        Further::default()
    });
    activity.done();
    let figures = lock(&figures).clone();
    print!("{}", table(&archs, &figures, &linux));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&figures)?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut failures = lock(&failures).clone();
    let missing = missing(&archs, &figures);
    if !missing.is_empty() {
        failures.push(format!("no figure for {}", missing.join(", ")));
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    if options.page {
        pages::write_figures(&figures, &linux)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The architectures to measure both kernels on.
fn of_linux(chosen: Option<Arch>) -> Result<Vec<Arch>> {
    match chosen {
        None => Ok(against::ARCHS.to_vec()),
        Some(arch) if against::ARCHS.contains(&arch) => Ok(vec![arch]),
        Some(arch) => bail!("Linux is measured on x86_64 and arm64, and not on {arch}"),
    }
}

/// `cargo xtask bench --against linux`
fn beside_linux(options: &Options) -> Result<ExitCode> {
    let archs = of_linux(options.arch)?;
    let both = against::measure(&archs, usize::from(options.repeats), options.timeout)?;
    both.linux.write()?;
    print!("{}", against::table(&both));
    if options.page {
        against::write_page(&both)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(
    arch: Arch,
    prepared: &Prepared,
    timeout: u64,
    linux: &Measured,
    activity: &Activity,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut ended = false;
    let mut wrong = None;
    let finished = Boot {
        arch,
        board: arch.board(),
        kernel: &prepared.kernel,
        initramfs: &prepared.image,
        command_line: "mode=bench".to_owned(),
        cpus: 1,
        memory: "512M",
        counting: Some(0),
        console: Console::Log,
        terminal: None,
        name: "bench".to_owned(),
        timeout: Some(Duration::from_secs(timeout)),
    }
    .run(&mut |line| match control::parse(line) {
        Ok(None) => {}
        Ok(Some(Message::Bench { name, value, unit })) if !ended => {
            activity.at(&format!("{arch} {name}"));
            figures.push(Figure::new(name, arch, value, unit, linux));
        }
        Ok(Some(Message::End)) if !ended => ended = true,
        Ok(Some(other)) => wrong = Some(format!("out of place: {other:?}")),
        Err(error) => wrong = Some(error.to_string()),
    })?;
    if let Some(error) = wrong {
        bail!("measuring: {error}");
    }
    if !ended || finished.end != End::Orderly {
        bail!("the benches did not end: {}\n{}", finished.end, finished.tail(SHOWN_LINES));
    }
    Ok(figures)
}

/// The wanted figures that are not there, or there more than once.
fn missing(archs: &[Arch], figures: &[Figure]) -> Vec<String> {
    let all = archs.iter().flat_map(|&arch| WANTED.iter().map(move |wanted| (arch, wanted.name)));
    all.filter(|&(arch, name)| figures.iter().filter(|it| it.is(arch, name)).count() != 1)
        .map(|(arch, name)| format!("{name} on {arch}"))
        .collect()
}

/// The figures, and what there is to say about the aims.
fn table(archs: &[Arch], figures: &[Figure], linux: &Measured) -> String {
    let mut names: Vec<&str> = WANTED.iter().map(|wanted| wanted.name).collect();
    for figure in figures {
        if !names.contains(&figure.name.as_str()) {
            names.push(&figure.name);
        }
    }
    let mut text = match archs {
        &[arch] => one_column(arch, &names, figures, linux),
        _ => side_by_side(archs, &names, figures, linux),
    };
    let mut wanted = 0;
    let mut missed = Vec::new();
    for (bench, &arch) in WANTED.iter().flat_map(|it| archs.iter().map(move |arch| (it, arch))) {
        let Some(aim) = bench.aim(arch) else { continue };
        wanted += 1;
        for figure in figures.iter().filter(|it| it.is(arch, bench.name) && it.value > aim) {
            let over = number(figure.value - aim);
            missed.push(format!("aim missed: {} on {arch} by {over}\n", bench.name));
        }
    }
    if wanted > 0 && missed.is_empty() {
        text.push_str(&format!("none of the {wanted} aims is missed\n"));
    }
    text.extend(missed);
    text
}

/// One architecture: a line a figure, with everything that is known about it.
fn one_column(arch: Arch, names: &[&str], figures: &[Figure], linux: &Measured) -> String {
    let mut lines = vec![format!(
        "{:<26} {:>10} {:>10} {:>10}  {:<14} {}",
        "bench",
        arch.name(),
        "Linux",
        "aim",
        "unit",
        "in Linux"
    )];
    for name in names {
        let wanted = baseline::wanted(name);
        for figure in figures.iter().filter(|figure| figure.is(arch, name)) {
            lines.push(format!(
                "{name:<26} {:>10} {:>10} {:>10}  {:<14} {}",
                number(figure.value),
                optional(linux.median(arch, name)),
                optional(wanted.and_then(|wanted| wanted.aim(arch))),
                figure.unit,
                linux.median(arch, name).and(wanted).and_then(|it| it.of_linux).unwrap_or("")
            ));
        }
    }
    joined(&lines)
}

/// Several architectures: a column each, and one more for Linux on it if it was measured.
fn side_by_side(archs: &[Arch], names: &[&str], figures: &[Figure], linux: &Measured) -> String {
    let mut head = format!("{:<26}", "bench");
    for &arch in archs {
        head.push_str(&format!(" {:>8}", arch.name()));
        if against::ARCHS.contains(&arch) {
            head.push_str(&format!(" {:>8}", "Linux"));
        }
    }
    let mut lines = vec![head + "  unit"];
    for name in names {
        let mut line = format!("{name:<26}");
        let mut unit = "";
        for &arch in archs {
            let figure = figures.iter().find(|figure| figure.is(arch, name));
            unit = figure.map_or(unit, |figure| &figure.unit);
            line.push_str(&format!(" {:>8}", optional(figure.map(|figure| figure.value))));
            if against::ARCHS.contains(&arch) {
                line.push_str(&format!(" {:>8}", optional(linux.median(arch, name))));
            }
        }
        lines.push(format!("{line}  {unit}"));
    }
    joined(&lines)
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: [Arch; 1] = [Arch::X86_64];

    fn linux() -> Measured {
        let text = "figure\tx86_64\tswitch_bare\t213\t213\t213\n\
                    figure\tarm64\tswitch_bare\t222\t220\t224\n";
        Measured::parse(text).unwrap()
    }

    fn on(arch: Arch, name: &str, value: f64) -> Figure {
        Figure::new(name.to_owned(), arch, value, "instructions".to_owned(), &linux())
    }

    fn figure(name: &str, value: f64) -> Figure {
        on(Arch::X86_64, name, value)
    }

    #[test]
    fn a_missing_or_doubled_figure_is_named() {
        let mut figures: Vec<Figure> = WANTED.iter().map(|one| figure(one.name, 1.0)).collect();
        assert_eq!(missing(&X86_64, &figures), [""; 0]);
        figures.push(figure("switch_bare", 2.0));
        figures.retain(|figure| figure.name != "thread_life");
        let named = missing(&X86_64, &figures);
        assert_eq!(named, ["thread_life on x86_64", "switch_bare on x86_64"]);
        // Another architecture's figures do not count.
        assert_eq!(missing(&[Arch::Arm64], &figures).len(), WANTED.len());
    }

    #[test]
    fn an_aim_is_missed_only_above_it() {
        let within = table(&X86_64, &[figure("switch_bare", 40.0)], &linux());
        assert!(within.contains("none of the 16 aims is missed"), "{within}");
        let over = [figure("switch_bare", 40.5), figure("stack_arena", 900.0)];
        let text = table(&X86_64, &over, &linux());
        assert!(text.contains("aim missed: switch_bare on x86_64 by 0.5"), "{text}");
        assert!(!text.contains("missed: stack_arena"), "{text}");
    }

    #[test]
    fn several_architectures_are_columns_with_linux_beside_those_where_it_was_measured() {
        let archs = [Arch::X86_64, Arch::Riscv64, Arch::Arm64];
        let figures = [
            on(Arch::Riscv64, "switch_bare", 71.0),
            on(Arch::X86_64, "switch_bare", 57.0),
            on(Arch::Arm64, "switch_bare", 61.0),
            on(Arch::Arm64, "extra", 1.0),
        ];
        let text = table(&archs, &figures, &linux());
        let words = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).expect("a line");
            line.split_whitespace().map(str::to_owned).collect()
        };
        let head = words("bench");
        assert_eq!(head, ["bench", "x86_64", "Linux", "riscv64", "arm64", "Linux", "unit"]);
        let switch = words("switch_bare");
        assert_eq!(switch, ["switch_bare", "57", "213", "71", "61", "222", "instructions"]);
        assert_eq!(words("extra"), ["extra", "-", "-", "-", "1", "-", "instructions"]);
        assert!(text.contains("aim missed: switch_bare on arm64 by 1"), "{text}");
    }

    #[test]
    fn nothing_is_said_of_aims_where_there_are_none() {
        let figure = on(Arch::I386, "switch_bare", 1e6);
        assert_eq!(table(&[Arch::I386], &[figure], &linux()).lines().count(), 2);
    }

    #[test]
    fn a_figure_of_no_catalogue_has_no_linux_beside_it() {
        let extra = figure("extra", 3.0);
        assert_eq!(
            serde_json::to_string(&extra).unwrap(),
            r#"{"name":"extra","arch":"x86_64","value":3.0,"unit":"instructions","linux":null}"#
        );
        assert!(table(&X86_64, &[extra], &linux()).contains("extra"));
    }

    #[test]
    fn numbers_have_separated_thousands() {
        assert_eq!(number(31_627.0), "31,627");
        assert_eq!(number(999.0), "999");
        assert_eq!(number(1_000_000.5), "1,000,000.5");
        assert_eq!(number(-1234.0), "-1,234");
    }
}
