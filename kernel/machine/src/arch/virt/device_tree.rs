//! The device tree: what firmware tells of a machine that has no other way to ask. For the
//! architectures that boot with one.

use crate::boot_info::{BootInfo, MemoryRegion};
use crate::memory::frames::FRAME_BYTES;
use crate::{entropy, nodes};
use fdt::Fdt;
use fdt::node::FdtNode;

/// A tree where the boot loader left it. To be read before its memory is given out.
pub struct Tree<'t>(
    /// The tree itself, for what only one machine asks.
    pub(in crate::arch) Fdt<'t>,
);

impl<'t> Tree<'t> {
    /// The tree at an address; `None` if there is none.
    ///
    /// # Safety
    ///
    /// 1. The first page there can be read, and if it starts like a tree, all of that tree, as long
    ///    as the result is used.
    pub unsafe fn at(address: *const u8) -> Option<Self> {
        // SAFETY: (1) by the caller's promise.
        unsafe { Fdt::from_ptr(address) }.ok().map(Self)
    }

    /// Reads memory, the initial archive and the command line.
    pub fn read_into(&self, info: &mut BootInfo) {
        // The crate's `reg` cuts numbers to the size of an address, and a 32-bit CPU may have more
        // memory than that.
        let sizes = self.0.root().cell_sizes();
        let root = self.0.find_node("/");
        let nodes = root.into_iter().flat_map(|root| root.children());
        for node in nodes.filter(|node| is_called(node, "memory")) {
            let Some(reg) = node.property("reg") else { continue };
            for (lowest, bytes) in stretches(reg.value, sizes.address_cells, sizes.size_cells) {
                info.add_region(MemoryRegion { lowest, bytes, is_ram: true });
                if let Some(domain) = domain_of(&node) {
                    nodes::add_memory(lowest, bytes, domain);
                }
            }
        }
        self.tell_nodes_of_cpus();
        self.tell_distances();
        self.leave_out_reserved(info);
        if let (Some(lowest), Some(top)) = (
            self.number("/chosen", "linux,initrd-start"),
            self.number("/chosen", "linux,initrd-end"),
        ) {
            info.initrd = Some((lowest, top.saturating_sub(lowest)));
            // Boot loaders list it among what is reserved; the kernel reads it.
            info.claim(lowest & !(FRAME_BYTES - 1), top.next_multiple_of(FRAME_BYTES));
        }
        let chosen = self.node("/chosen");
        if let Some(seed) = chosen.and_then(|chosen| chosen.property("rng-seed")) {
            entropy::keep_seed(seed.value);
        }
        if let Some(line) = self.text("/chosen", "bootargs") {
            info.set_command_line(line.bytes());
        }
    }

    /// Which CPU is on which memory node.
    fn tell_nodes_of_cpus(&self) {
        let all = self.node("/cpus").into_iter().flat_map(|cpus| cpus.children());
        for cpu in all {
            let number = cpu.property("reg").and_then(|reg| reg.value.last_chunk::<4>());
            if let (Some(number), Some(domain)) = (number, domain_of(&cpu)) {
                nodes::add_cpu(u32::from_be_bytes(*number), domain);
            }
        }
    }

    /// How far memory nodes are from each other: a matrix of two domains and their distance each
    /// (binding `numa-distance-map-v1`); what it says of one direction holds for both, unless it
    /// says so of the other.
    fn tell_distances(&self) {
        let map = self.node("/distance-map").and_then(|map| map.property("distance-matrix"));
        let Some(matrix) = map.map(|matrix| matrix.value) else { return };
        let find = |from: u32, to: u32| {
            let mut entries = matrix.chunks_exact(12).filter_map(|entry| {
                let word =
                    |at: usize| entry.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
                Some([word(0)?, word(4)?, word(8)?])
            });
            let entry = entries.find(|&[of, at, _]| (of, at) == (from, to))?;
            u8::try_from(entry[2]).ok()
        };
        nodes::set_distances(|from, to| find(from, to).or_else(|| find(to, from)));
    }

    /// What other software or a device keeps: neither given out nor mapped, since of memory that is
    /// used without caches, or that may not be touched at all, a cached mapping does harm
    /// (Devicetree specification, 3.5). What is reserved in the tree's head is not given out either
    /// (5.3).
    fn leave_out_reserved(&self, info: &mut BootInfo) {
        for reserved in self.0.memory_reservations() {
            let (lowest, bytes) = (reserved.address() as u64, reserved.size() as u64);
            info.add_region(MemoryRegion { lowest, bytes, is_ram: false });
        }
        let Some(parent) = self.node("/reserved-memory") else { return };
        let sizes = parent.cell_sizes();
        for child in parent.children() {
            let status = child.property("status").and_then(|status| status.as_str());
            let is_used = status.is_none_or(|status| status == "okay" || status == "ok");
            // Without a place it is for the kernel to choose one: no code here asks for any.
            if let Some(reg) = child.property("reg").filter(|_| is_used) {
                for (lowest, bytes) in stretches(reg.value, sizes.address_cells, sizes.size_cells) {
                    info.leave_out(lowest, lowest.saturating_add(bytes));
                }
            }
        }
    }

    /// The node at a path. The crate's own look-up goes no further than to the first node that was
    /// overwritten by "nothing" (FDT_NOP), as firmware does that edits a tree, and QEMU with a tree
    /// that it is given; its walk over children continues past it.
    pub(in crate::arch) fn node(&self, path: &str) -> Option<FdtNode<'_, 't>> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(self.0.find_node("/"), |node, name| {
            node?.children().find(|child| is_called(child, name))
        })
    }

    /// A property that is a string.
    pub fn text(&self, path: &str, property: &str) -> Option<&str> {
        self.node(path)?.property(property)?.as_str()
    }

    /// A property that is a number of one or two cells.
    pub fn number(&self, path: &str, property: &str) -> Option<u64> {
        match *self.node(path)?.property(property)?.value {
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }

    /// Where the registers of the first device of one of these kinds are, as many stretches as
    /// asked for.
    pub fn registers<const N: usize>(&self, compatible: &[&str]) -> Option<[u64; N]> {
        let mut found = [0; N];
        let mut stretches = self.0.find_compatible(compatible)?.reg()?;
        for place in &mut found {
            *place = stretches.next()?.starting_address as u64;
        }
        Some(found)
    }

    /// The usable CPUs: what the machine calls each, and the handle of its own interrupt
    /// controller, where each has one.
    pub fn cpus(&self) -> impl Iterator<Item = (u32, Option<u32>)> + '_ {
        let nodes = self.node("/cpus").into_iter().flat_map(|cpus| cpus.children());
        nodes.filter_map(|cpu| {
            let is_cpu = cpu.property("device_type").and_then(|kind| kind.as_str()) == Some("cpu");
            let status = cpu.property("status").and_then(|status| status.as_str());
            if !is_cpu || status.is_some_and(|status| status != "okay") {
                return None;
            }
            // `reg` has as many cells as /cpus says; the number is in the last one.
            let number = cpu.property("reg")?.value.last_chunk::<4>()?;
            let controller =
                cpu.children().find(|child| child.name.starts_with("interrupt-controller"));
            let handle = controller.and_then(|node| node.property("phandle"));
            let handle = handle.and_then(|handle| handle.as_usize()).map(|handle| handle as u32);
            Some((u32::from_be_bytes(*number), handle))
        })
    }
}

/// The memory node that a CPU or memory is of, if the tree says so.
fn domain_of(node: &FdtNode<'_, '_>) -> Option<u32> {
    node.property("numa-node-id")?.as_usize().map(|domain| domain as u32)
}

/// Whether a node has this name, whatever its address.
fn is_called(node: &FdtNode<'_, '_>, name: &str) -> bool {
    node.name.split('@').next() == Some(name)
}

/// Pairs of numbers of so many cells each.
fn stretches(bytes: &[u8], first: usize, second: usize) -> impl Iterator<Item = (u64, u64)> {
    let number = |cells: &[u8]| {
        cells.iter().fold(0_u64, |number, &byte| number.wrapping_shl(8) | u64::from(byte))
    };
    let (first, second) = (4 * first, 4 * second);
    bytes
        .chunks_exact((first + second).max(1))
        .map(move |pair| (number(&pair[..first]), number(&pair[first..])))
}
