//! What Linux took in the last run that measured it: a file that such a run writes, and that tables
//! read.
//!
//! ```text
//!   kernel  ARCH  RELEASE  EMULATOR  CPU  BOOTS
//!   figure  ARCH  NAME  MEDIAN  LOWEST  HIGHEST
//! ```
//!
//! The columns are separated by tabs; a line that begins with `#` says something to people.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::workspace;

/// The architectures that both kernels are measured on.
pub(crate) const ARCHS: [Arch; 2] = [Arch::X86_64, Arch::Arm64];

/// Where the file is.
const FILE: &str = "xtask/src/proof/against/linux.tsv";
/// What stands above the lines.
const HEAD: &str = "\
# What Linux takes for the work of each bench: instructions, or bytes where the name says so.
# Written by `cargo xtask bench --against linux`, as medians of several boots.
# kernel\tarchitecture\trelease\temulator\tCPU model\tboots
# figure\tarchitecture\tbench\tmedian\tlowest\thighest
";

/// Several measurements of the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The one in the middle; between the two in the middle of an even number.
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// Of at least one measurement.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (&lowest, &highest) = (values.first()?, values.last()?);
        let (lower, upper) = ((values.len() - 1) / 2, values.len() / 2);
        Some(Spread { median: f64::midpoint(values[lower], values[upper]), lowest, highest })
    }
}

/// The machine in which Linux was measured on one architecture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    pub(crate) arch: Arch,
    /// The kernel's release, as `uname -r` has it.
    pub(crate) release: String,
    /// The emulator's release.
    pub(crate) emulator: String,
    /// The CPU model.
    pub(crate) model: String,
    /// How many boots the figures are of.
    pub(crate) boots: usize,
}

/// What is known of Linux.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    machines: Vec<Machine>,
    figures: Vec<(Arch, String, Spread)>,
}

impl Measured {
    /// As the last run has left it.
    pub(crate) fn read() -> Result<Measured> {
        let path = workspace::root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        Measured::parse(&text).context(FILE)
    }

    /// Leaves it for the commands that follow.
    pub(crate) fn write(&self) -> Result<()> {
        fs::write(workspace::root().join(FILE), self.text())
            .with_context(|| format!("cannot write {FILE}"))
    }

    pub(crate) fn parse(text: &str) -> Result<Measured> {
        let mut measured = Measured::default();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let words: Vec<&str> = line.split('\t').collect();
            measured.line(&words).with_context(|| format!("line {}: {line:?}", number + 1))?;
        }
        Ok(measured)
    }

    fn line(&mut self, words: &[&str]) -> Result<()> {
        let arch = |name| Arch::parse(name).map_err(|why| anyhow::anyhow!("{name}: {why}"));
        match *words {
            ["kernel", name, release, emulator, model, boots] => {
                let arch = arch(name)?;
                ensure!(self.machine(arch).is_none(), "a second kernel for {name}");
                self.machines.push(Machine {
                    arch,
                    release: release.to_owned(),
                    emulator: emulator.to_owned(),
                    model: model.to_owned(),
                    boots: boots.parse()?,
                });
            }
            ["figure", name, bench, median, lowest, highest] => {
                let arch = arch(name)?;
                ensure!(self.spread(arch, bench).is_none(), "a second figure for {bench}");
                let spread = Spread {
                    median: median.parse()?,
                    lowest: lowest.parse()?,
                    highest: highest.parse()?,
                };
                let is_between = (spread.lowest..=spread.highest).contains(&spread.median);
                ensure!(is_between, "the median is not between the lowest and the highest");
                self.figures.push((arch, bench.to_owned(), spread));
            }
            _ => bail!("neither a kernel nor a figure"),
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for Machine { arch, release, emulator, model, boots } in &self.machines {
            text.push_str(&format!("kernel\t{arch}\t{release}\t{emulator}\t{model}\t{boots}\n"));
        }
        for (arch, bench, Spread { median, lowest, highest }) in &self.figures {
            text.push_str(&format!("figure\t{arch}\t{bench}\t{median}\t{lowest}\t{highest}\n"));
        }
        text
    }

    /// Takes what a run has measured on one architecture for what was known of it.
    pub(crate) fn replace(&mut self, machine: Machine, figures: Vec<(String, Spread)>) {
        let arch = machine.arch;
        self.machines.retain(|known| known.arch != arch);
        self.figures.retain(|&(known, ..)| known != arch);
        self.machines.push(machine);
        self.figures.extend(figures.into_iter().map(|(name, spread)| (arch, name, spread)));
        let order = |arch| Arch::supported().iter().position(|&known| known == arch);
        self.machines.sort_by_key(|machine| order(machine.arch));
        // Within an architecture they stay as they are.
        self.figures.sort_by_key(|&(arch, ..)| order(arch));
    }

    /// The machine of an architecture, if Linux was measured there.
    pub(crate) fn machine(&self, arch: Arch) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.arch == arch)
    }

    /// What Linux took for a bench.
    pub(crate) fn spread(&self, arch: Arch, name: &str) -> Option<Spread> {
        let mut found = self.figures.iter().filter(|figure| figure.0 == arch && figure.1 == name);
        found.next().map(|&(.., spread)| spread)
    }

    /// The median of that.
    pub(crate) fn median(&self, arch: Arch, name: &str) -> Option<f64> {
        self.spread(arch, name).map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(Spread { median: 3.0, lowest: 3.0, highest: 3.0 }));
        let three = Spread { median: 2.0, lowest: 1.0, highest: 9.0 };
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(three));
        assert_eq!(of(&[9.0, 1.0, 2.0, 4.0]).map(|spread| spread.median), Some(3.0));
    }

    fn machine(arch: Arch) -> Machine {
        Machine {
            arch,
            release: "6.12.117+deb13-cloud".to_owned(),
            emulator: "11.1.3".to_owned(),
            model: "max".to_owned(),
            boots: 5,
        }
    }

    #[test]
    fn what_is_written_is_read_and_one_architecture_is_replaced_alone() {
        let spread = |median| Spread { median, lowest: median - 1.0, highest: median + 0.5 };
        let mut measured = Measured::default();
        measured.replace(machine(Arch::Arm64), vec![("switch_bare".to_owned(), spread(208.0))]);
        measured.replace(machine(Arch::X86_64), vec![("switch_bare".to_owned(), spread(218.0))]);
        let again = Measured::parse(&measured.text()).unwrap();
        assert_eq!(again, measured);
        assert_eq!(again.machines[0].arch, Arch::X86_64);
        assert_eq!(again.spread(Arch::X86_64, "switch_bare"), Some(spread(218.0)));
        assert_eq!(again.median(Arch::Riscv64, "switch_bare"), None);
        measured.replace(machine(Arch::Arm64), vec![("page_fault".to_owned(), spread(2659.0))]);
        assert_eq!(measured.median(Arch::Arm64, "switch_bare"), None);
        assert_eq!(measured.median(Arch::X86_64, "switch_bare"), Some(218.0));
        assert_eq!(measured.machines.len(), 2);
    }

    #[test]
    fn a_line_that_cannot_be_is_told_with_its_number() {
        let error = |text: &str| format!("{:#}", Measured::parse(text).unwrap_err());
        assert!(error("# x\nfigure\tx86_64\ta\t5\t6\t7\n").contains("line 2"));
        assert!(error("figure\tvax\ta\t5\t5\t5\n").contains("vax"));
        assert!(error("figure\tx86_64\ta\t5\t5\n").contains("neither"));
        let twice = "figure\tx86_64\ta\t5\t5\t5\n".repeat(2);
        assert!(error(&twice).contains("second"));
    }
}
