//! The figures of both kernels, beside each other.

use std::collections::BTreeMap;

use super::measured::{Measured, Spread};
use crate::arch::Arch;

/// What a run has measured.
pub(crate) struct Both {
    /// This kernel's figures.
    pub(super) ours: BTreeMap<(&'static str, String), Spread>,
    /// What is known of Linux, this run's included.
    pub(crate) linux: Measured,
    /// The architectures that were measured.
    pub(crate) archs: Vec<Arch>,
}

impl Both {
    /// What this kernel took.
    pub(crate) fn ours(&self, arch: Arch, name: &str) -> Option<Spread> {
        self.ours.get(&(arch.name(), name.to_owned())).copied()
    }

    /// How many times as much Linux takes.
    pub(crate) fn ratio(&self, arch: Arch, name: &str) -> Option<f64> {
        ratio(self.ours(arch, name)?.median, self.linux.median(arch, name)?)
    }
}

/// How many times as much the second is.
pub(super) fn ratio(ours: f64, linux: f64) -> Option<f64> {
    (ours > 0.0).then(|| linux / ours)
}

/// A ratio in as many digits as say something.
pub(super) fn times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0}×"),
        1.0.. => format!("{ratio:.1}×"),
        _ => format!("{ratio:.2}×"),
    }
}

/// Two figures on x86_64, one smaller here, one larger: for the tests of what shows them.
#[cfg(test)]
pub(super) fn sample() -> Both {
    let spread = |median: f64| Spread { median, lowest: median, highest: median };
    let arch = Arch::X86_64;
    let mut linux = Measured::default();
    let machine = super::measured::Machine {
        arch,
        release: "6.12.1".to_owned(),
        emulator: "QEMU 11.1.3".to_owned(),
        model: "max".to_owned(),
        boots: 5,
    };
    let wide = Spread { median: 44_000.0, lowest: 43_000.0, highest: 45_000.0 };
    let of_linux = [("thread_life", wide), ("signal_own_stack", spread(4000.0))];
    linux.replace(machine, of_linux.map(|(name, it)| (name.to_owned(), it)).to_vec());
    let ours = [("thread_life", 2000.0), ("signal_own_stack", 8000.0)];
    let ours: BTreeMap<_, _> = ours
        .into_iter()
        .map(|(name, value)| ((arch.name(), name.to_owned()), spread(value)))
        .collect();
    Both { ours, linux, archs: vec![arch] }
}
