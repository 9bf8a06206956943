//! Beside Linux: the same work in this kernel and in the distribution's, in the same emulator with
//! the same CPU model, counted in executed instructions.
//!
//! ```text
//!   module.c ──clang──> against.ko ──┐            ┌─ Linux ─ runner.sh: the module, program-bench ──┐
//!   user/src/bin/program-bench.rs ───┴─ one image ┤                                                ├─ figures of each boot
//!                                                 └─ this kernel ─ mode=bench, program-bench ──────┘        │
//!                             linux.tsv, the table and the chart  <── medians, lowest, highest  <───────────┘
//! ```
//!
//! What programs do is measured by the same program in both. What a kernel does within is measured
//! here by `kernel/src/bench`, and there by a module of ours, which calls the kernel's own code.
//!
//! Invariant: a figure stands in a table only if every boot gave it once.

mod boots;
mod both;
mod chart;
mod measured;
mod page;
mod scale;

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::boot::qemu;
use crate::jobs::{self, Further, lock};
use crate::progress::Activity;
use crate::proof::baseline::{WANTED, Wanted};
use crate::setup;
use boots::{Boot, Figures, Kernel, MEMORY, Ready, ready};
pub(crate) use both::Both;
pub(crate) use measured::{ARCHS, Machine, Measured, Spread};
pub(crate) use page::{table, write as write_page};
pub(crate) use scale::{Axis, grown};

/// How many kernel threads sleep in Linux while their memory is counted.
const SLEEPERS: u32 = 10_000;
/// Fetches, builds and boots everything, so many times.
pub(crate) fn measure(archs: &[Arch], repeats: usize, timeout: u64) -> Result<Both> {
    let machines = archs.iter().map(|&arch| ready(arch, 0, Some(SLEEPERS)));
    let machines: Vec<Ready> = machines.collect::<Result<_>>()?;
    let mut boots = Vec::new();
    for repeat in 0..repeats {
        for machine in &machines {
            boots.extend([Kernel::Linux, Kernel::Ours].map(|kernel| Boot {
                ready: machine,
                kernel,
                cpus: 1,
                memory: MEMORY,
                sleepers: 0,
                depths: false,
                name: format!("against-{repeat}"),
                timeout,
            }));
        }
    }
    let total = boots.len();
    let activity = Activity::start(format!("Counting instructions in {total} boots"));
    let (done, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    jobs::run(boots, jobs::workers(), |boot| {
        let (kernel, arch) = (boot.kernel, boot.ready.arch);
        match boot.run().and_then(|figures| complete(figures, kernel)) {
            Ok(figures) => lock(&done).push((kernel, arch, figures)),
            Err(error) => lock(&failures).push(format!("{kernel:?} on {arch}: {error:#}")),
        }
        activity.at(&format!("{} of {total}", lock(&done).len()));
        Further::default()
    });
    activity.done();
    let failures = lock(&failures);
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    let mut values: BTreeMap<(Kernel, &str, String), Vec<f64>> = BTreeMap::new();
    for (kernel, arch, figures) in lock(&done).drain(..) {
        for (name, value) in figures {
            values.entry((kernel, arch.name(), name)).or_default().push(value);
        }
    }
    let mut spread = |kernel, arch: Arch, name: &str| -> Result<Spread> {
        let values = values.remove(&(kernel, arch.name(), name.to_owned())).unwrap_or_default();
        Spread::of(values).with_context(|| format!("no boot gave {name}"))
    };
    let mut both = Both { ours: BTreeMap::new(), linux: Measured::read()?, archs: archs.to_vec() };
    for ready in &machines {
        let arch = &ready.arch;
        let mut of_linux = Vec::new();
        for name in wanted_of(Kernel::Ours) {
            both.ours.insert((arch.name(), name.to_owned()), spread(Kernel::Ours, *arch, name)?);
        }
        for name in wanted_of(Kernel::Linux) {
            of_linux.push((name.to_owned(), spread(Kernel::Linux, *arch, name)?));
        }
        both.linux.replace(machine(ready, repeats)?, of_linux);
    }
    Ok(both)
}

/// What is told of the machine that Linux was measured in.
fn machine(ready: &Ready, boots: usize) -> Result<Machine> {
    let Ready { arch, linux, prepared } = ready;
    let arch = *arch;
    let emulator = setup::emulator(arch)?;
    let arguments = qemu::machine(arch.board(), &emulator, &prepared.image, Some(0))?;
    let at = arguments.iter().position(|argument| argument == "-cpu");
    let model = at.and_then(|at| arguments.get(at + 1)).context("a machine has a CPU model")?;
    Ok(Machine {
        arch,
        release: linux.release.clone(),
        emulator: format!("QEMU {}", setup::qemu_release(&emulator)?),
        model: model.clone(),
        boots,
    })
}

/// The figures that a kernel must give.
fn wanted_of(kernel: Kernel) -> impl Iterator<Item = &'static str> {
    let is_its_own = move |wanted: &&Wanted| kernel == Kernel::Ours || wanted.of_linux.is_some();
    WANTED.iter().filter(is_its_own).map(|wanted| wanted.name)
}

/// The figures, if each that is wanted is there once.
fn complete(figures: Figures, kernel: Kernel) -> Result<Figures> {
    let missing: Vec<&str> = wanted_of(kernel)
        .filter(|&name| figures.iter().filter(|figure| figure.0 == name).count() != 1)
        .collect();
    ensure!(missing.is_empty(), "{kernel:?} gave not one figure for {}", missing.join(", "));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::both::ratio;
    use super::*;

    #[test]
    fn a_boot_counts_only_if_it_gave_every_figure_once() {
        let mut figures: Figures =
            WANTED.iter().map(|wanted| (wanted.name.to_owned(), 1.0)).collect();
        assert!(complete(figures.clone(), Kernel::Linux).is_ok());
        // What Linux has nothing beside is missed of this kernel alone.
        let without: Figures =
            figures.iter().filter(|figure| figure.0 != "erasing_512").cloned().collect();
        assert!(complete(without.clone(), Kernel::Linux).is_ok());
        assert!(complete(without, Kernel::Ours).is_err());
        figures.push(("page_fault".to_owned(), 2.0));
        figures.retain(|figure| figure.0 != "switch_bare");
        let error = complete(figures, Kernel::Linux).unwrap_err().to_string();
        assert!(error.contains("switch_bare, page_fault"), "{error}");
    }

    #[test]
    fn a_ratio_says_how_many_times_as_much_linux_takes() {
        assert_eq!(ratio(50.0, 200.0), Some(4.0));
        assert_eq!(ratio(0.0, 200.0), None);
    }
}
