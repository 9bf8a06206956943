//! /proc and /sys: text made when it is read.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | which path leads to which text |
//! | `subject`, `folder` | /proc/NUMBER/…: whom it is about, and what is in it |
//! | `of_process`, `first_stack` | the files of one process |
//! | `of_machine`, `kstack`, `sys` | /proc/meminfo and the like; /proc/kstack; /sys |
//! | `text` | text that can fail, as an open file |
//!
//! May import `process` and what is below it.

pub(crate) mod first_stack;
mod folder;
pub(crate) mod kstack;
mod maps;
mod of_machine;
mod of_process;
mod subject;
mod sys;
mod text;

pub(crate) use of_machine::{RELEASE, VERSION};

use crate::error::Errno;
use crate::files::open::Target;
use crate::files::tree;
use crate::process::Process;
use alloc::string::String;
use core::fmt::Write;
use subject::Subject;
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

/// Files in the folder of a process that are made by others than `folder`.
const OTHERS: &[&str] = &["map_files", "maps", "smaps", "smaps_rollup"];

/// Those files.
fn of_memory(process: &Process, name: &str) -> Option<Result<Target, Errno>> {
    match name {
        "maps" => Some(text(|text| maps::maps(process, text))),
        "smaps" => Some(text(|text| maps::smaps(process, text))),
        "smaps_rollup" => Some(text(|text| maps::smaps_rollup(process, text))),
        "map_files" => {
            let names = made(|text| maps::map_files(process, text));
            Some(names.map(|names| Target::Names(names.into_string())))
        }
        _ => None,
    }
}

/// What a path below /proc opens as.
fn open(parts: &[&str]) -> Result<Target, Errno> {
    const FILES: [&str; 16] = [
        "cpuinfo",
        "filesystems",
        "kstack",
        "loadavg",
        "meminfo",
        "mounts",
        "self",
        "stat",
        "sys",
        "thread-self",
        "uptime",
        "version",
        "vmstat",
        "cmdline",
        "devices",
        "interrupts",
    ];
    match parts {
        [] => {
            let text = made(|text| {
                of_machine::numbers(text)?;
                FILES.iter().try_for_each(|name| writeln!(text, "{name}"))
            })?;
            Ok(Target::Names(text.into_string()))
        }
        ["kstack"] => names(&["calls", "provoke", "stacks"]),
        ["kstack", "calls"] => text(kstack::calls),
        ["kstack", "provoke"] => Ok(Target::Provoke),
        ["kstack", "stacks"] => text(|text| threads::report::stacks::write_all(text)),
        ["meminfo"] => text(of_machine::meminfo),
        ["uptime"] => text(of_machine::uptime),
        ["loadavg"] => text(of_machine::loadavg),
        ["stat"] => text(of_machine::stat),
        ["version"] => text(of_machine::version),
        ["cpuinfo"] => text(of_machine::cpuinfo),
        ["filesystems"] => text(of_machine::filesystems),
        ["mounts"] => text(of_machine::mounts),
        ["vmstat"] => text(of_machine::vmstat),
        ["cmdline" | "devices" | "interrupts"] => text(|text| writeln!(text)),
        ["sys", rest @ ..] => match of_machine::sysctl_names(rest) {
            Some(found) => names(found),
            None => {
                let mut found = false;
                let text = text(|text| match of_machine::sysctl(rest, text) {
                    Some(written) => {
                        found = true;
                        written
                    }
                    None => Ok(()),
                });
                if found { text } else { Err(Errno::ENOENT) }
            }
        },
        [whom, "task", thread, rest @ ..] => {
            folder::open(&Subject::of(whom)?.thread(thread)?, rest, of_memory)
        }
        [whom, rest @ ..] => folder::open(&Subject::of(whom)?, rest, of_memory),
    }
}

/// What a link of /proc leads to; `None`: the path is of no link there.
pub(crate) fn link(path: &str) -> Option<Result<String, Errno>> {
    let parts = Parts::of(path)?;
    let ["proc", parts @ ..] = parts.as_slice() else { return None };
    let own = |thread: bool| {
        let subject = Subject::own_thread()?;
        let (leader, number) = (subject.leader(), subject.number());
        let text = made(|text| {
            if thread { write!(text, "{leader}/task/{number}") } else { write!(text, "{leader}") }
        })?;
        Ok(text.into_string())
    };
    match parts {
        ["self"] => Some(own(false)),
        ["thread-self"] => Some(own(true)),
        ["mounts"] => Some(machine::memory::fallible::text("self/mounts").map_err(Errno::from)),
        [whom, "task", thread, rest @ ..] => {
            let subject = Subject::of(whom).and_then(|subject| subject.thread(thread));
            subject.map_or_else(|error| Some(Err(error)), |subject| folder::link(&subject, rest))
        }
        [whom, "map_files", name] => {
            let found = Subject::of(whom)
                .and_then(|subject| maps::map_file(subject.process().ok_or(Errno::ENOENT)?, name));
            Some(found)
        }
        [whom, rest @ ..] if !rest.is_empty() => folder::link(&Subject::of(whom).ok()?, rest),
        _ => None,
    }
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
