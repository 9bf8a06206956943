//! /proc and /sys: text made when it is read.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | which path leads to which text |
//! | `file` | such a path as an open file, and what stat tells of it |
//! | `subject`, `folder` | /proc/NUMBER/…: whom it is about, and what is in it |
//! | `of_process`, `first_stack` | the files of one process |
//! | `of_machine`, `kstack`, `sys`, `sysctl` | /proc/meminfo and the like; /proc/kstack; /sys; /proc/sys |
//! | `written` | what programs write there |
//! | `text` | text that can fail, as an open file |
//!
//! May import `process` and what is below it. Links, and where they lead, are `process::walk`'s.

mod file;
pub(crate) mod first_stack;
mod folder;
pub(crate) mod kstack;
mod maps;
mod of_machine;
mod of_process;
mod subject;
mod sys;
mod sysctl;
mod text;
mod written;

pub(crate) use file::{link, open, process_of, stat};
pub(crate) use of_machine::{RELEASE, VERSION};
pub(crate) use text::Content;

use crate::error::Errno;
use crate::process::Process;
use crate::process::walk::Parts;
use core::fmt::Write;
use subject::Subject;
use text::{made, names, text};

/// Files in the folder of a process that are made by others than `folder`, with their modes.
const OTHERS: &[(&str, u32)] =
    &[("map_files", 0o040500), ("maps", 0o100444), ("smaps", 0o100444), ("smaps_rollup", 0o100444)];

/// Those files.
fn of_memory(process: &Process, name: &str) -> Option<Result<Content, Errno>> {
    match name {
        "maps" => Some(text(|text| maps::maps(process, text))),
        "smaps" => Some(text(|text| maps::smaps(process, text))),
        "smaps_rollup" => Some(text(|text| maps::smaps_rollup(process, text))),
        "map_files" => {
            let names = made(|text| maps::map_files(process, text));
            Some(names.map(|names| Content::Names(names.into_string())))
        }
        _ => None,
    }
}

/// Files of /proc itself; what is a folder or a link is among them.
const FILES: [&str; 18] = [
    "cmdline",
    "cpuinfo",
    "devices",
    "filesystems",
    "interrupts",
    "kstack",
    "loadavg",
    "locks",
    "meminfo",
    "mounts",
    "net",
    "self",
    "stat",
    "sys",
    "thread-self",
    "uptime",
    "version",
    "vmstat",
];

/// What is at a path below /proc.
fn of_proc(parts: &[&str]) -> Result<Content, Errno> {
    match parts {
        [] => {
            let text = made(|text| {
                of_machine::numbers(text)?;
                FILES.iter().try_for_each(|name| writeln!(text, "{name}"))
            })?;
            Ok(Content::Names(text.into_string()))
        }
        ["kstack"] => names(&["calls", "provoke", "stacks"]),
        ["kstack", "calls"] => text(kstack::calls),
        ["kstack", "provoke"] => text(|_| Ok(())),
        ["kstack", "stacks"] => text(|text| threads::report::stacks::write_all(text)),
        ["meminfo"] => text(of_machine::meminfo),
        ["uptime"] => text(of_machine::uptime),
        ["loadavg"] => text(of_machine::loadavg),
        ["stat"] => text(of_machine::stat),
        ["version"] => text(of_machine::version),
        ["cpuinfo"] => text(of_machine::cpuinfo),
        ["filesystems"] => text(of_machine::filesystems),
        ["vmstat"] => text(of_machine::vmstat),
        ["cmdline"] => text(|text| writeln!(text)),
        ["devices"] => text(of_machine::devices),
        ["locks"] => text(|text| crate::files::locks::write_all(text)),
        ["interrupts"] => text(of_machine::interrupts),
        ["sys", rest @ ..] => sysctl::content(rest),
        [whom, "task", thread, rest @ ..] => {
            folder::content(&Subject::of(whom)?.thread(thread)?, rest, of_memory)
        }
        [whom, rest @ ..] => folder::content(&Subject::of(whom)?, rest, of_memory),
    }
}

/// What is at an absolute path of /proc or /sys with no link in it.
pub(crate) fn content(path: &str) -> Result<Content, Errno> {
    let parts = Parts::of(path).ok_or(Errno::ENOENT)?;
    match parts.as_slice() {
        ["proc", rest @ ..] => of_proc(rest),
        ["sys", rest @ ..] => sys::open_sys(rest),
        _ => Err(Errno::ENOENT),
    }
}
