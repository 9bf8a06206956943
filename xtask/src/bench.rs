//! `cargo xtask bench`: figures of the kernel beside Linux's for the same work.
//!
//! The machine counts instructions instead of time: one CPU, virtual time advancing by one
//! nanosecond per executed instruction, so that the same build gives the same figures. Linux's are
//! medians of Debian's 6.12.111 measured the same way under the same emulator and CPU model
//! (`-smp 1 -icount shift=0,sleep=off -cpu max,-erms`).
//!
//! A missed aim is told and is not an error; a bench that gives no figure is.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::arch::Arch;
use crate::control::{self, Message};
use crate::qemu::{Boot, Console, End};
use crate::{initramfs, setup};

/// Lines of the console shown when the machine was lost.
const SHOWN_LINES: usize = 40;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture to emulate.
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// Write the figures to this file, as an array of objects (name, arch, value, unit, linux).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// End a machine that has been silent for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// A figure that there must be.
struct Wanted {
    name: &'static str,
    /// What Linux takes on x86_64.
    linux: f64,
    /// How Linux's figure is composed.
    source: &'static str,
    /// What the figure should not exceed.
    aim: Option<f64>,
}

const fn wanted(name: &'static str, linux: f64, aim: Option<f64>, source: &'static str) -> Wanted {
    Wanted { name, linux, source, aim }
}

const WANTED: [Wanted; 11] = [
    wanted(
        "stack_cached_1k",
        2919.0,
        Some(700.0),
        "cache hit in copy_process 2,898 (zeroes 16 KiB whatever was dirtied) + put_task_stack 21",
    ),
    wanted(
        "stack_cached_full",
        2919.0,
        Some(2400.0),
        "cache hit in copy_process 2,898 + put_task_stack 21",
    ),
    wanted(
        "stack_arena",
        9257.0,
        Some(3500.0),
        "cache miss 6,632 + thread_stack_free_rcu 45 + deferred vfree 2,580",
    ),
    wanted("thread_life", 50_900.0, Some(8000.0), "kthread_run + first run + kthread_stop"),
    wanted("switch_bare", 213.0, Some(60.0), "__switch_to_asm 101 + __switch_to 112"),
    wanted("irq_stack_round_trip", 199.0, Some(150.0), "int of an empty vector, no APIC access"),
    wanted("softirq_inline", 289.0, None, "what one tasklet adds at interrupt exit"),
    wanted("softirq_from_thread", 336.0, None, "tasklet_schedule + local_bh_enable"),
    wanted("syscall_null", 322.0, Some(150.0), "getppid, one syscall instruction"),
    wanted("backtrace_per_frame", 471.0, Some(60.0), "stack_trace_save 8,482 for 18 frames"),
    wanted(
        "bytes_per_sleeping_thread",
        31_627.0,
        Some(20_480.0),
        "free memory per kernel thread, 50,000 of them asleep",
    ),
];

/// A figure, as the JSON file has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Figure {
    name: String,
    arch: &'static str,
    value: f64,
    unit: String,
    linux: Option<f64>,
}

/// `cargo xtask bench`
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let figures = measure(options)?;
    print!("{}", table(&figures));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&figures)?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let missing = missing(&figures);
    if !missing.is_empty() {
        bail!("no figure for {}", missing.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options) -> Result<Vec<Figure>> {
    let ready = setup::ensure(options.arch)?;
    let prepared = initramfs::prepare(options.arch, &ready, None, "bench")?;
    let activity = crate::progress::Activity::start("Counting instructions");
    let mut figures = Vec::new();
    let mut ended = false;
    let mut wrong = None;
    let finished = Boot {
        arch: options.arch,
        kernel: &prepared.kernel,
        initramfs: &prepared.image,
        command_line: "mode=bench".to_owned(),
        cpus: 1,
        memory: "512M",
        counting: true,
        console: Console::Log,
        name: "bench".to_owned(),
        timeout: Some(Duration::from_secs(options.timeout)),
    }
    .run(&mut |line| match control::parse(line) {
        Ok(Some(Message::Bench { name, value, unit })) => {
            activity.at(&name);
            let linux = WANTED.iter().find(|wanted| wanted.name == name).map(|wanted| wanted.linux);
            figures.push(Figure { name, arch: options.arch.name(), value, unit, linux });
        }
        Ok(Some(Message::End)) => ended = true,
        Ok(_) => {}
        Err(error) => wrong = Some(error),
    })?;
    activity.done();
    if let Some(error) = wrong {
        return Err(error).context("measuring");
    }
    if !ended || finished.end != End::Orderly {
        bail!("the benches did not end: {}\n{}", finished.end, finished.tail(SHOWN_LINES));
    }
    Ok(figures)
}

/// The wanted figures that are not there, or there more than once.
fn missing(figures: &[Figure]) -> Vec<&'static str> {
    WANTED
        .iter()
        .filter(|wanted| figures.iter().filter(|figure| figure.name == wanted.name).count() != 1)
        .map(|wanted| wanted.name)
        .collect()
}

fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<26} {:>10} {:>10} {:>10}  {:<14} {}\n",
        "bench", "here", "Linux", "aim", "unit", "Linux's figure is"
    );
    let mut missed = Vec::new();
    for figure in figures {
        let wanted = WANTED.iter().find(|wanted| wanted.name == figure.name);
        let aim = wanted.and_then(|wanted| wanted.aim);
        if aim.is_some_and(|aim| figure.value > aim) {
            missed.push(figure);
        }
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        text.push_str(
            format!(
                "{:<26} {:>10} {:>10} {:>10}  {:<14} {}",
                figure.name,
                number(figure.value),
                optional(figure.linux),
                optional(aim),
                figure.unit,
                wanted.map_or("", |wanted| wanted.source)
            )
            .trim_end(),
        );
        text.push('\n');
    }
    let aims = WANTED.iter().filter(|wanted| wanted.aim.is_some()).count();
    if missed.is_empty() {
        text.push_str(&format!("none of the {aims} aims is missed\n"));
    }
    for figure in missed {
        let over = WANTED
            .iter()
            .find(|wanted| wanted.name == figure.name)
            .and_then(|wanted| Some(figure.value - wanted.aim?))
            .unwrap_or_default();
        text.push_str(&format!("aim missed: {} by {}\n", figure.name, number(over)));
    }
    text
}

/// A number with separated thousands, and one decimal only if it has any.
fn number(value: f64) -> String {
    let rounded = format!("{value:.1}");
    let (whole, decimal) = rounded.split_once('.').unwrap_or((&rounded, "0"));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if decimal == "0" { format!("{sign}{text}") } else { format!("{sign}{text}.{decimal}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, value: f64) -> Figure {
        let linux = WANTED.iter().find(|wanted| wanted.name == name).map(|wanted| wanted.linux);
        Figure { name: name.to_owned(), arch: "x86_64", value, unit: "instructions".into(), linux }
    }

    #[test]
    fn a_missing_or_doubled_figure_is_named() {
        let mut figures: Vec<Figure> = WANTED.iter().map(|one| figure(one.name, 1.0)).collect();
        assert!(missing(&figures).is_empty());
        figures.push(figure("switch_bare", 2.0));
        figures.retain(|figure| figure.name != "thread_life");
        assert_eq!(missing(&figures), ["thread_life", "switch_bare"]);
    }

    #[test]
    fn an_aim_is_missed_only_above_it() {
        assert!(table(&[figure("switch_bare", 60.0)]).contains("none of the 9 aims is missed"));
        let text = table(&[figure("switch_bare", 60.5), figure("softirq_inline", 900.0)]);
        assert!(text.contains("aim missed: switch_bare by 0.5"), "{text}");
        assert!(!text.contains("missed: softirq_inline"), "{text}");
    }

    #[test]
    fn a_figure_of_no_catalogue_has_no_linux_beside_it() {
        let extra = figure("extra", 3.0);
        assert_eq!(
            serde_json::to_string(&extra).unwrap(),
            r#"{"name":"extra","arch":"x86_64","value":3.0,"unit":"instructions","linux":null}"#
        );
        assert!(table(&[extra]).contains("extra"));
    }

    #[test]
    fn numbers_have_separated_thousands() {
        assert_eq!(number(31_627.0), "31,627");
        assert_eq!(number(999.0), "999");
        assert_eq!(number(1_000_000.5), "1,000,000.5");
        assert_eq!(number(-1234.0), "-1,234");
    }
}
