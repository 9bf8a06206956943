//! /sys: the cache that threads come from.

use super::text::{Content, names, text};
use crate::error::Errno;
use core::fmt::Write;
use threads::sched::TASKS;

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
        [] => names(&["kernel"]),
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
