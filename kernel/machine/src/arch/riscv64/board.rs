//! What the device tree says of the board besides memory, kept for when it is asked for; and the
//! hart that started.

use crate::arch::virt::cpus::KnownCpus;
use crate::arch::virt::device_tree::Tree;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use fdt::node::FdtNode;

pub(super) static BOOT_HART: AtomicU64 = AtomicU64::new(0);

/// The hart that the firmware started.
pub fn boot_hart() -> u32 {
    BOOT_HART.load(Ordering::Relaxed) as u32
}

/// Harts that are kept at most: more than the kernel runs on, so that it can say how many stay off.
const MAX_HARTS: usize = 512;

/// What the device tree says besides memory; read once, while it is still there.
#[derive(Debug)]
pub struct Machine {
    harts: KnownCpus<MAX_HARTS>,
    /// Ticks of the time counter per second.
    pub timebase: AtomicU64,
    /// Bytes that a cache instruction works on; 0: there are none.
    pub cache_block: AtomicU64,
    /// The interrupt controller's registers, physical.
    pub plic: AtomicU64,
    /// For each hart of `harts`, the controller's context that interrupts its supervisor mode.
    contexts: [AtomicUsize; MAX_HARTS],
}

/// No context.
const NONE: usize = usize::MAX;

/// The machine.
pub static MACHINE: Machine = Machine {
    harts: KnownCpus::new(),
    timebase: AtomicU64::new(0),
    cache_block: AtomicU64::new(0),
    plic: AtomicU64::new(0),
    contexts: [const { AtomicUsize::new(NONE) }; MAX_HARTS],
};

impl Machine {
    /// The harts there are.
    pub fn harts(&self) -> impl Iterator<Item = u32> {
        self.harts.each()
    }

    /// The interrupt controller's context for a hart's supervisor mode.
    pub fn context_of(&self, hart: u32) -> Option<usize> {
        let index = self.harts().position(|one| one == hart)?;
        Some(self.contexts[index].load(Ordering::Relaxed)).filter(|&context| context != NONE)
    }

    pub(super) fn learn(&self, tree: &Tree<'_>) {
        /// The number by which the interrupt controller names a hart's supervisor mode (external
        /// interrupt).
        const SUPERVISOR_EXTERNAL: u32 = 9;
        const TIMEBASE_OF_VIRT: u64 = 10_000_000;
        let frequency = tree.number("/cpus", "timebase-frequency").unwrap_or(TIMEBASE_OF_VIRT);
        self.timebase.store(frequency, Ordering::Relaxed);
        // Zicbom: of all harts the smallest block, and none if one has none.
        let cpus = tree.node("/cpus").into_iter().flat_map(|cpus| cpus.children());
        let harts = cpus.filter(|cpu| cpu.property("riscv,isa").is_some());
        let block = |cpu: FdtNode<'_, '_>| {
            cpu.property("riscv,cbom-block-size").and_then(|bytes| bytes.as_usize()).unwrap_or(0)
        };
        self.cache_block.store(harts.map(block).min().unwrap_or(0) as u64, Ordering::Relaxed);
        const CONTROLLER: [&str; 2] = ["sifive,plic-1.0.0", "riscv,plic0"];
        if let Some([registers]) = tree.registers(&CONTROLLER) {
            self.plic.store(registers, Ordering::Relaxed);
        }
        let plic = tree.0.find_compatible(&CONTROLLER);
        let lines = plic.and_then(|node| node.property("interrupts-extended"));
        self.harts.remember(tree);
        crate::arch::virt::rtc::remember(tree);
        crate::arch::virt::virtio::remember(tree);
        for (index, (_, own_controller)) in tree.cpus().take(MAX_HARTS).enumerate() {
            // Pairs: a hart's own controller, and what it interrupts there. The place of a pair is
            // the context.
            let words = lines.map_or(&[][..], |lines| lines.value).chunks_exact(4);
            let mut words = words.map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]));
            let mut context = 0;
            while let (Some(controller), Some(what)) = (words.next(), words.next()) {
                if Some(controller) == own_controller && what == SUPERVISOR_EXTERNAL {
                    self.contexts[index].store(context, Ordering::Relaxed);
                }
                context += 1;
            }
        }
    }
}
