//! /proc and /sys: text made when it is read.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | which path leads to which text |
//! | `of_process`, `maps` | /proc/NUMBER/…: one process; its memory |
//! | `of_machine`, `kstack`, `sys` | /proc/meminfo and the like; /proc/kstack; /sys |
//! | `text` | text that can fail, as an open file |
//!
//! May import `process` and what is below it.

pub(crate) mod kstack;
pub(crate) mod maps;
mod of_machine;
mod of_process;
mod sys;
mod text;

pub(crate) use text::decimal;

use crate::error::Errno;
use crate::files::open::Target;
use crate::files::tree;
use crate::memory::layout::RANDOMIZE;
use crate::process::table;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use text::{made, names, text};

/// What a path below /proc or /sys is made of: its parts, as many as any path there has.
struct Parts<'p> {
    parts: [&'p str; 6],
    count: usize,
}

impl<'p> Parts<'p> {
    /// `None`: there are more.
    fn of(path: &'p str) -> Option<Self> {
        let (mut parts, mut count) = ([""; 6], 0);
        for part in tree::parts(path) {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        Some(Self { parts, count })
    }

    fn as_slice(&self) -> &[&'p str] {
        &self.parts[..self.count]
    }
}

/// What a path below /proc opens as.
fn open(parts: &[&str]) -> Result<Target, Errno> {
    match parts {
        [] => {
            let text = made(|text| {
                table::write_numbers(text)?;
                ["self", "meminfo", "uptime", "stat", "loadavg", "kstack"]
                    .iter()
                    .try_for_each(|name| writeln!(text, "{name}"))
            })?;
            Ok(Target::Names(text.into_string()))
        }
        ["kstack"] => names(&["calls", "provoke", "stacks"]),
        ["kstack", "calls"] => text(kstack::calls),
        ["kstack", "provoke"] => Ok(Target::Provoke),
        ["kstack", "stacks"] => text(|text| threads::report::stacks::write_all(text)),
        ["sys", "kernel", "randomize_va_space"] => {
            text(|text| writeln!(text, "{}", RANDOMIZE.load(Ordering::Relaxed)))
        }
        ["meminfo"] => text(of_machine::meminfo),
        ["uptime"] => text(|text| {
            let hundredths = threads::time::nanoseconds() / 10_000_000;
            writeln!(text, "{}.{:02} 0.00", hundredths / 100, hundredths % 100)
        }),
        ["loadavg"] => {
            text(|text| writeln!(text, "0.00 0.00 0.00 1/{} 1", threads::sched::thread_count()))
        }
        ["stat"] => text(|text| writeln!(text, "btime 0\nprocesses {}", table::count())),
        [process] => {
            of_process::find(process)?;
            names(&[
                "cmdline",
                "comm",
                "map_files",
                "maps",
                "smaps",
                "smaps_rollup",
                "stack",
                "stat",
                "status",
            ])
        }
        [process, file] => {
            let process = of_process::find(process)?;
            match *file {
                "cmdline" => {
                    let line = process.command_line.lock().clone();
                    Ok(Target::Text(fallible::bytes(&line)?))
                }
                "comm" => text(|text| writeln!(text, "{}", process.name())),
                "maps" => text(|text| maps::maps(&process, text)),
                "smaps" => text(|text| maps::smaps(&process, text)),
                "smaps_rollup" => text(|text| maps::smaps_rollup(&process, text)),
                "map_files" => {
                    Ok(Target::Names(made(|text| maps::map_files(&process, text))?.into_string()))
                }
                "status" => text(|text| of_process::status(&process, text)),
                "stat" => text(|text| of_process::stat(&process, text)),
                "stack" => text(|text| of_process::stack(&process, text)),
                _ => Err(Errno::ENOENT),
            }
        }
        _ => Err(Errno::ENOENT),
    }
}

/// What a link in map_files leads to; `None`: the path is of no such link.
pub(crate) fn map_file(path: &str) -> Option<Result<alloc::string::String, Errno>> {
    let parts = Parts::of(path)?;
    let ["proc", process, "map_files", name] = parts.as_slice() else { return None };
    Some(of_process::find(process).and_then(|process| maps::map_file(&process, name)))
}

/// What an absolute path of /proc or /sys opens as; `None`: it is of neither. An error: it is, but nothing is there.
pub(crate) fn open_path(path: &str) -> Option<Result<Target, Errno>> {
    let opens: fn(&[&str]) -> Result<Target, Errno> = match tree::parts(path).next()? {
        "proc" => open,
        "sys" => sys::open_sys,
        _ => return None,
    };
    let parts = Parts::of(path).ok_or(Errno::ENOENT);
    Some(parts.and_then(|parts| opens(&parts.as_slice()[1..])))
}
