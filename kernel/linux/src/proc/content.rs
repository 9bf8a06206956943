//! Which path of /proc and /sys leads to which text.

use super::subject::Subject;
use super::text::{Content, made, names, text};
use super::{
    configuration, control, folder, kstack, maps, of_machine, subject, sys, sysctl, sysvipc,
};
use crate::error::Errno;
use crate::files::made::{Inside, Seen};
use crate::files::text;
use crate::process::Process;
use crate::process::walk::Parts;
use alloc::vec::Vec;
use core::fmt::Write;

/// What `folder` has made here: the files of a process about its memory.
fn of_memory(process: &Process, name: &str) -> Option<Result<Content, Errno>> {
    match name {
        "maps" | "smaps" => {
            let text = made(|text| maps::all(process, name == "smaps", text));
            Some(text.map(|text| Content::Text(text.into_bytes())))
        }
        // Its bytes are read where they are: see `pagemap`.
        "pagemap" => Some(text(|_| Ok(()))),
        "smaps_rollup" => Some(text(|text| maps::smaps_rollup(process, text))),
        "map_files" => {
            let names = made(|text| maps::map_files(process, text));
            Some(names.map(|names| Content::Names(names.into_string())))
        }
        _ => None,
    }
}

/// Files of /proc itself; what is a folder or a link is among them.
pub(super) const FILES: [&str; 20] = [
    "cmdline",
    "config.gz",
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
    "sysvipc",
    "thread-self",
    "uptime",
    "version",
    "vmstat",
];

/// What is at a path below /proc.
fn of_proc(parts: &[&str], view: &Seen) -> Result<Content, Errno> {
    match parts {
        [] => {
            let text = made(|text| {
                of_machine::numbers(view, text)?;
                let files = FILES.iter().filter(|name| subject::is_shown(name, view));
                files.copied().try_for_each(|name| writeln!(text, "{name}"))
            })?;
            Ok(Content::Names(text.into_string()))
        }
        [name, ..] if !subject::is_shown(name, view) => Err(Errno::ENOENT),
        ["kstack"] => names(&["calls", "depths", "pages", "provoke", "stacks"]),
        ["kstack", "calls"] => text(kstack::calls),
        ["kstack", "depths"] => text(|text| threads::report::stacks::write_depths(text)),
        ["kstack", "pages"] => text(|text| threads::report::pages::write(text)),
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
        ["cmdline"] => text(of_machine::command_line),
        ["config.gz"] => configuration::compressed(),
        ["devices"] => text(of_machine::devices),
        ["locks"] => text(|text| crate::files::locks::write_all(text)),
        ["interrupts"] => text(of_machine::interrupts),
        ["sys", rest @ ..] => sysctl::content(rest),
        ["sysvipc", rest @ ..] => sysvipc::content(rest),
        [whom, "task", thread, rest @ ..] => {
            let subject = Subject::of(whom, view)?.thread(thread, view)?;
            folder::content(&subject, (rest, view), of_memory)
        }
        [whom, rest @ ..] => folder::content(&Subject::of(whom, view)?, (rest, view), of_memory),
    }
}

/// The same in pieces, where it can be long: from a place on that was given out with the piece
/// before, 0 at the beginning.
pub(super) fn piece(path: Inside<'_>, from: u64) -> Result<(Content, Option<u64>), Errno> {
    let parts = Parts::inside(path).ok_or(Errno::ENOENT)?;
    let view = path.view;
    let (subject, name) = match parts.as_slice() {
        ["proc", whom, name @ ("maps" | "smaps")] => (Subject::of(whom, view)?, name),
        ["proc", whom, "task", thread, name @ ("maps" | "smaps")] => {
            (Subject::of(whom, view)?.thread(thread, view)?, name)
        }
        _ => return Ok((of_parts(&parts)?, None)),
    };
    let Some(process) = subject.process() else {
        return Ok((Content::Text(Vec::new()), None));
    };
    let mut next = None;
    let text = made(|text| {
        next = maps::piece(process, *name == "smaps", from, text)?;
        Ok(())
    })?;
    // The names in it as programs gave them.
    Ok((Content::Text(text::into_bytes(text.into_string())?), next))
}

/// What is at an absolute path of /proc or /sys with no link in it.
pub(crate) fn content(path: &str) -> Result<Content, Errno> {
    of_parts(&Parts::of(path).ok_or(Errno::ENOENT)?)
}

fn of_parts(parts: &Parts<'_>) -> Result<Content, Errno> {
    match parts.as_slice() {
        ["proc", rest @ ..] => of_proc(rest, &parts.view),
        ["sys", rest @ ..] => sys::open_sys(rest),
        ["cgroup", rest @ ..] => control::content(rest),
        _ => Err(Errno::ENOENT),
    }
}
