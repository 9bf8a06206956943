//! The folder of a process or thread in /proc: its files, its links, its descriptors.

use super::subject::{Subject, short};
use super::text::{made, names, text};
use super::{first_stack, of_machine, of_process};
use crate::error::Errno;
use crate::files::open::{OpenFile, Target};
use crate::process::Process;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use machine::memory::fallible;

/// Files of both a process and a thread.
const FILES: [&str; 27] = [
    "auxv",
    "cgroup",
    "cmdline",
    "comm",
    "cwd",
    "environ",
    "exe",
    "fd",
    "fdinfo",
    "io",
    "limits",
    "mountinfo",
    "mounts",
    "oom_adj",
    "oom_score",
    "oom_score_adj",
    "personality",
    "root",
    "sched",
    "schedstat",
    "sessionid",
    "stack",
    "stat",
    "statm",
    "status",
    "syscall",
    "wchan",
];

/// What a path in the folder opens as; `others`: files that are made elsewhere.
pub(super) fn open(
    subject: &Subject,
    path: &[&str],
    others: impl FnOnce(&Process, &str) -> Option<Result<Target, Errno>>,
) -> Result<Target, Errno> {
    match path {
        [] => made(|text| {
            FILES.iter().try_for_each(|name| writeln!(text, "{name}"))?;
            super::OTHERS.iter().try_for_each(|name| writeln!(text, "{name}"))?;
            if matches!(subject, Subject::Thread(..)) { Ok(()) } else { writeln!(text, "task") }
        })
        .map(|text| Target::Names(text.into_string())),
        ["task"] => {
            made(|text| subject.write_threads(text)).map(|text| Target::Names(text.into_string()))
        }
        ["fd" | "fdinfo"] => {
            made(|text| write_numbers(subject, text)).map(|text| Target::Names(text.into_string()))
        }
        ["fdinfo", number] => {
            let file = descriptor(subject, number)?;
            let position = file.position.load(Ordering::Relaxed);
            text(|text| writeln!(text, "pos:\t{position}\nflags:\t02\nmnt_id:\t1\nino:\t1"))
        }
        ["net" | "attr" | "ns"] => names(&[]),
        [name] => file(subject, name, others),
        _ => Err(Errno::ENOENT),
    }
}

fn file(
    subject: &Subject,
    name: &str,
    others: impl FnOnce(&Process, &str) -> Option<Result<Target, Errno>>,
) -> Result<Target, Errno> {
    let process = subject.process();
    let attributes = process.map(|process| &process.attributes);
    match name {
        "status" => text(|text| of_process::status(subject, text)),
        "stat" => text(|text| of_process::stat(subject, text)),
        "statm" => text(|text| of_process::statm(subject, text)),
        "stack" => text(|text| of_process::stack(subject, text)),
        "comm" => text(|text| writeln!(text, "{}", short(subject.name().as_str()))),
        "wchan" => text(|text| text.write_str("0")),
        "mounts" => text(of_machine::mounts),
        "mountinfo" => text(of_machine::mountinfo),
        "cgroup" => text(|text| writeln!(text, "0::/")),
        "sessionid" => text(|text| write!(text, "{}", u32::MAX)),
        "oom_score" | "oom_adj" => text(|text| writeln!(text, "0")),
        "oom_score_adj" => text(|text| {
            let adjustment =
                attributes.map_or(0, |all| all.oom_score_adjustment.load(Ordering::Relaxed));
            writeln!(text, "{adjustment}")
        }),
        "personality" => text(|text| {
            let personality = attributes.map_or(0, |all| all.personality.load(Ordering::Relaxed));
            writeln!(text, "{personality:08x}")
        }),
        "io" => text(|text| {
            [
                "rchar",
                "wchar",
                "syscr",
                "syscw",
                "read_bytes",
                "write_bytes",
                "cancelled_write_bytes",
            ]
            .iter()
            .try_for_each(|name| writeln!(text, "{name}: 0"))
        }),
        "sched" => text(|text| {
            writeln!(
                text,
                "{} ({}, #threads: {})",
                subject.name(),
                subject.number(),
                process.map_or(1, |process| process.crew.count())
            )
        }),
        "schedstat" => text(|text| writeln!(text, "0 0 0")),
        "cmdline" => process.map_or(Ok(Target::Text(alloc::vec::Vec::new())), |process| {
            first_stack::command_line(process).map(Target::Text)
        }),
        "limits" => match process {
            Some(process) => text(|text| of_process::limits(process, text)),
            None => Err(Errno::ENOENT),
        },
        "environ" => process.map_or(Ok(Target::Text(alloc::vec::Vec::new())), |process| {
            first_stack::environment(process).map(Target::Text)
        }),
        "auxv" => process.map_or(Ok(Target::Text(alloc::vec::Vec::new())), |process| {
            first_stack::auxiliary(process).map(Target::Text)
        }),
        "syscall" => text(|text| writeln!(text, "running")),
        name => match process {
            Some(process) => others(process, name).unwrap_or(Err(Errno::ENOENT)),
            None if super::OTHERS.contains(&name) => Ok(Target::Text(alloc::vec::Vec::new())),
            None => Err(Errno::ENOENT),
        },
    }
}

/// Numbers that descriptors can have.
fn most(process: &Process) -> u64 {
    process.limits.get(crate::limits::Resource::Files).hard.min(1 << 16)
}

fn write_numbers(subject: &Subject, to: &mut dyn Write) -> fmt::Result {
    let Some(process) = subject.process() else { return Ok(()) };
    let Some(files) = process.files_if_alive() else { return Ok(()) };
    for number in 0..most(process) {
        let found = files.lock().get(number).is_ok();
        if found {
            writeln!(to, "{number}")?;
        }
    }
    Ok(())
}

fn descriptor(subject: &Subject, number: &str) -> Result<Arc<OpenFile>, Errno> {
    let number = number.parse().map_err(|_| Errno::ENOENT)?;
    let files = subject.process().and_then(Process::files_if_alive).ok_or(Errno::ENOENT)?;
    let found = files.lock().get(number).map_err(|_| Errno::ENOENT)?;
    Ok(found.file)
}

/// What a link in the folder leads to; `None`: it is no link.
pub(super) fn link(subject: &Subject, path: &[&str]) -> Option<Result<String, Errno>> {
    let process = subject.process();
    let copy = |text: &str| Ok(fallible::text(text)?);
    Some(match path {
        ["exe"] => match process {
            Some(process) if process.status().is_none() => {
                let executable = process.executable.lock().clone();
                executable.ok_or(Errno::ENOENT).and_then(|running| running.told())
            }
            _ => Err(Errno::ENOENT),
        },
        ["cwd"] => match process {
            Some(process) if process.status().is_none() => copy(&process.place().directory()),
            _ => Err(Errno::ENOENT),
        },
        ["root"] => copy("/"),
        ["fd", number] => descriptor(subject, number).and_then(|file| match &file.target {
            Target::Node(_, path) => copy(path),
            Target::Names(_) | Target::Text(_) => copy("/proc"),
            _ => {
                let number = Arc::as_ptr(&file).addr();
                made(|text| write!(text, "pipe:[{number}]")).map(|text| text.into_string())
            }
        }),
        _ => return None,
    })
}
