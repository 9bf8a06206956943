//! Both kernels as a table, on the terminal and in the page of figures.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};

use super::both::{Both, times};
use super::chart;
use super::measured::{Machine, Spread};
use crate::arch::Arch;
use crate::proof::baseline::{WANTED, Wanted};
use crate::proof::figures::{Figure, number};
use crate::proof::pages::{self, FIGURES, FIGURES_OF_BOTH};
use crate::workspace;

/// The chart beside the page.
const CHART: &str = "docs/figures.svg";

/// Writes both into the page, the chart, and the table of all architectures.
pub(crate) fn write(both: &Both) -> Result<()> {
    pages::replace(FIGURES, FIGURES_OF_BOTH, |_| markdown(both))?;
    fs::write(workspace::root().join(CHART), chart::svg(both))
        .with_context(|| format!("cannot write {CHART}"))?;
    pages::write_figures(&figures(both), &both.linux)
}

/// This kernel's medians.
fn figures(both: &Both) -> Vec<Figure> {
    let mut figures = Vec::new();
    for &arch in &both.archs {
        for wanted in &WANTED {
            if let Some(spread) = both.ours(arch, wanted.name) {
                let (name, unit) = (wanted.name.to_owned(), unit(wanted.name).to_owned());
                figures.push(Figure::new(name, arch, spread.median, unit, &both.linux));
            }
        }
    }
    figures
}

/// The figures that both have, and what is done in Linux for them.
fn beside() -> impl Iterator<Item = (&'static Wanted, &'static str)> {
    WANTED.iter().filter_map(|wanted| Some((wanted, wanted.of_linux?)))
}

fn unit(name: &str) -> &'static str {
    if name.starts_with("bytes") { "bytes" } else { "instructions" }
}

/// The median, and from where to where the boots' figures are if they differ.
fn cell(spread: Option<Spread>) -> String {
    match spread {
        None => "-".to_owned(),
        Some(Spread { median, lowest, highest }) if lowest == highest => number(median),
        Some(Spread { median, lowest, highest }) => {
            format!("{} ({}–{})", number(median), number(lowest), number(highest))
        }
    }
}

fn cells(both: &Both, arch: Arch, name: &str) -> [String; 3] {
    let ratio = both.ratio(arch, name).map_or_else(|| "-".to_owned(), times);
    [cell(both.ours(arch, name)), cell(both.linux.spread(arch, name)), ratio]
}

fn markdown(both: &Both) -> String {
    let mut head = "| bench |".to_owned();
    let mut rule = "| --- |".to_owned();
    for arch in &both.archs {
        let _ = write!(head, " kstack, {arch} | Linux, {arch} | Linux takes |");
        rule.push_str(" ---: | ---: | ---: |");
    }
    let mut text = format!("{head} what is done in Linux |\n{rule} --- |\n");
    for (wanted, of_linux) in beside() {
        let _ = write!(text, "| `{}` |", wanted.name);
        for &arch in &both.archs {
            let [ours, linux, ratio] = cells(both, arch, wanted.name);
            let _ = write!(text, " {ours} | {linux} | {ratio} |");
        }
        let _ = writeln!(text, " {of_linux} |");
    }
    text.push('\n');
    text.extend(machines(both).lines().map(|line| format!("- {line}\n")));
    text
}

/// A sentence for each machine.
fn machines(both: &Both) -> String {
    let machines = both.archs.iter().filter_map(|&arch| both.linux.machine(arch));
    let sentences = machines.map(|Machine { arch, release, emulator, model, boots }| {
        let boots = if *boots == 1 { "1 boot".to_owned() } else { format!("{boots} boots") };
        format!("{arch}: Linux {release} in {emulator}, `-cpu {model}`, {boots} of each.\n")
    });
    sentences.collect()
}

/// The same for a terminal.
pub(crate) fn table(both: &Both) -> String {
    let mut text = format!("{:<26}", "bench");
    for arch in &both.archs {
        let _ = write!(text, " {:>26} {:>26} {:>6}", arch.name(), "Linux", "ratio");
    }
    text.push('\n');
    for (wanted, _) in beside() {
        let _ = write!(text, "{:<26}", wanted.name);
        for &arch in &both.archs {
            let [ours, linux, ratio] = cells(both, arch, wanted.name);
            let _ = write!(text, " {ours:>26} {linux:>26} {ratio:>6}");
        }
        text.push('\n');
    }
    text.push_str(&machines(both));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::against::both::sample;

    #[test]
    fn the_table_has_medians_spreads_and_ratios() {
        let text = markdown(&sample());
        assert!(
            text.contains(
                "| `thread_life` | 2,000 | 44,000 (43,000–45,000) | 22× | kthread_create"
            ),
            "{text}"
        );
        assert!(text.contains("| `signal_own_stack` | 8,000 | 4,000 | 0.50× |"), "{text}");
        assert!(text.contains("| `page_fault` | - | - | - |"), "{text}");
        assert!(
            text.ends_with(
                "\n- x86_64: Linux 6.12.1 in QEMU 11.1.3, `-cpu max`, 5 boots of each.\n"
            )
        );
        let figures = figures(&sample());
        assert_eq!(figures.len(), 2);
        assert!(table(&sample()).lines().count() > beside().count());
        assert!(!markdown(&sample()).contains("erasing"), "Linux has no figure beside it");
    }
}
