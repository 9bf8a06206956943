//! /sys: the processors, and the cache that threads come from.

use super::text::{Content, made, names, text};
use crate::error::Errno;
use crate::process::walk;
use core::fmt::Write;
use machine::cpus;
use threads::sched::TASKS;

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
        ["devices", "system"] => names(&["cpu"]),
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
