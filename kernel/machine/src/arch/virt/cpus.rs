//! The CPUs that a device tree names, kept for when they are started.

use super::device_tree::Tree;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// CPUs by what the machine calls each; `MAX` of them at most.
#[derive(Debug)]
pub struct KnownCpus<const MAX: usize> {
    names: [AtomicU32; MAX],
    count: AtomicUsize,
}

impl<const MAX: usize> KnownCpus<MAX> {
    /// No CPUs.
    pub const fn new() -> Self {
        Self { names: [const { AtomicU32::new(0) }; MAX], count: AtomicUsize::new(0) }
    }

    /// Keeps the CPUs of a tree.
    pub fn remember(&self, tree: &Tree<'_>) {
        for (place, (name, _)) in self.names.iter().zip(tree.cpus()) {
            place.store(name, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each, in the order of the tree.
    pub fn each(&self) -> impl Iterator<Item = u32> {
        let names = &self.names[..self.count.load(Ordering::Relaxed)];
        names.iter().map(|name| name.load(Ordering::Relaxed))
    }
}
