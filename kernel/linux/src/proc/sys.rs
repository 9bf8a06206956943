//! /sys: the processors, memory nodes, and the cache that threads come from.

use super::text::{Content, made, names, text};
use crate::error::Errno;
use crate::process::walk;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use machine::memory::frames;
use machine::{cpus, nodes};
use threads::sched::TASKS;
use threads::stacks;

/// The processors (Documentation/ABI/testing/sysfs-devices-system-cpu).
fn processors(parts: &[&str]) -> Result<Content, Errno> {
    /// The number of the last one that the kernel has room for.
    const LAST: usize = cpus::MAX_CPUS - 1;
    let count = cpus::online_count();
    match parts {
        [] => {
            let made = made(|text| {
                (0..count).try_for_each(|cpu| writeln!(text, "cpu{cpu}"))?;
                writeln!(text, "kernel_max\noffline\nonline\npossible\npresent")
            })?;
            Ok(Content::Names(made.into_string()))
        }
        ["online" | "possible" | "present"] if count == 1 => text(|text| writeln!(text, "0")),
        ["online" | "possible" | "present"] => text(|text| writeln!(text, "0-{}", count - 1)),
        ["offline"] => text(|text| writeln!(text)),
        ["kernel_max"] => text(|text| writeln!(text, "{LAST}")),
        [cpu] => {
            let number = cpu.strip_prefix("cpu").and_then(walk::number_from_0);
            number.filter(|&number| number < count as u64).ok_or(Errno::ENOENT)?;
            // None of them can be taken out.
            names(&[])
        }
        _ => Err(Errno::ENOENT),
    }
}

/// The memory nodes (Documentation/ABI/stable/sysfs-devices-node).
fn nodes(parts: &[&str]) -> Result<Content, Errno> {
    let count = nodes::count();
    let node_of = |name: &str| {
        let number = name.strip_prefix("node").and_then(walk::number_from_0);
        let number = number.filter(|&number| number < count as u64).ok_or(Errno::ENOENT)?;
        Ok::<_, Errno>(number as usize)
    };
    match *parts {
        [] => {
            let made = made(|text| {
                (0..count).try_for_each(|node| writeln!(text, "node{node}"))?;
                writeln!(text, "has_cpu\nhas_memory\nonline\npossible")
            })?;
            Ok(Content::Names(made.into_string()))
        }
        ["online" | "possible"] => text(|text| write_list(text, 0..count)),
        ["has_cpu"] => {
            text(|text| write_list(text, (0..count).filter(|&node| cpus_of(node).next().is_some())))
        }
        ["has_memory"] => text(|text| {
            write_list(text, (0..count).filter(|&node| frames::total_count_on(node) > 0))
        }),
        [node] => node_of(node).and_then(|_| names(&["cpulist", "cpumap", "meminfo", "numastat"])),
        [node, "cpulist"] => {
            node_of(node).and_then(|node| text(|text| write_list(text, cpus_of(node))))
        }
        [node, "cpumap"] => node_of(node).and_then(|node| {
            let map = cpus_of(node).fold(0_u64, |map, cpu| map | 1 << cpu);
            text(|text| writeln!(text, "{:08x},{:08x}", map >> 32, map & 0xffff_ffff))
        }),
        [node, "meminfo"] => node_of(node).and_then(|node| text(|text| node_memory(text, node))),
        [node, "numastat"] => node_of(node).and_then(|node| {
            let missed = frames::fallbacks(node);
            text(|text| writeln!(text, "numa_foreign {missed}"))
        }),
        _ => Err(Errno::ENOENT),
    }
}

fn cpus_of(node: usize) -> impl Iterator<Item = usize> {
    let of_node = move |cpu: &&cpus::Cpu| cpu.node.load(Ordering::Relaxed) == node;
    cpus::online().filter(of_node).map(|cpu| cpu.id().index())
}

/// Ascending numbers, as Linux writes them: `0-3,8`.
fn write_list(text: &mut impl Write, numbers: impl Iterator<Item = usize>) -> core::fmt::Result {
    let mut run: Option<(usize, usize)> = None;
    let mut comma = "";
    let mut numbers = numbers;
    loop {
        let number = numbers.next();
        match (run, number) {
            (Some((first, last)), Some(number)) if number == last + 1 => {
                run = Some((first, number));
                continue;
            }
            (Some((first, last)), _) if first == last => write!(text, "{comma}{first}")?,
            (Some((first, last)), _) => write!(text, "{comma}{first}-{last}")?,
            (None, _) => {}
        }
        if run.is_some() {
            comma = ",";
        }
        run = number.map(|number| (number, number));
        if number.is_none() {
            return writeln!(text);
        }
    }
}

fn node_memory(text: &mut impl Write, node: usize) -> core::fmt::Result {
    const KIB: usize = frames::FRAME_BYTES as usize / 1024;
    let (total, free) = (frames::total_count_on(node) * KIB, frames::free_count_on(node) * KIB);
    let stacks = stacks::used_bytes_on(node) / 1024;
    writeln!(text, "Node {node} MemTotal:       {total:8} kB")?;
    writeln!(text, "Node {node} MemFree:        {free:8} kB")?;
    writeln!(text, "Node {node} MemUsed:        {:8} kB", total.saturating_sub(free))?;
    writeln!(text, "Node {node} KernelStack:    {stacks:8} kB")
}

/// What a path below /sys opens as.
pub(super) fn open_sys(parts: &[&str]) -> Result<Content, Errno> {
    let counts = TASKS.counts();
    let files: [(&str, u64); 6] = [
        ("object_size", counts.object_size as u64),
        ("objs_per_slab", counts.objects_per_slab as u64),
        ("slabs", counts.slabs as u64),
        ("objects", counts.objects as u64),
        ("alloc_calls", counts.allocated),
        ("free_calls", counts.freed),
    ];
    match parts {
        [] => names(&["devices", "fs", "kernel"]),
        ["fs"] => names(&["cgroup"]),
        // Where control groups are mounted.
        ["fs", "cgroup"] => names(&[]),
        ["devices"] => names(&["system"]),
        ["devices", "system"] => names(&["cpu", "node"]),
        ["devices", "system", "node", rest @ ..] => nodes(rest),
        ["devices", "system", "cpu", rest @ ..] => processors(rest),
        ["kernel"] => names(&["slab"]),
        ["kernel", "slab"] => names(&["task_struct"]),
        ["kernel", "slab", "task_struct"] => names(&files.map(|file| file.0)),
        ["kernel", "slab", "task_struct", name] => {
            let file = files.iter().find(|file| file.0 == *name);
            let (_, value) = file.ok_or(Errno::ENOENT)?;
            text(|text| writeln!(text, "{value}"))
        }
        _ => Err(Errno::ENOENT),
    }
}
