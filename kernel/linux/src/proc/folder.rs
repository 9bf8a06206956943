//! The folder of a process or thread in /proc: its files, its links, its descriptors.

use super::subject::{Subject, short};
use super::text::{Content, made, text};
use super::{asleep, of_machine, of_process};
use crate::error::Errno;
use crate::files::eventfd::EventCounter;
use crate::files::inotify::Inotify;
use crate::files::made::Seen;
use crate::files::open::{OpenFile, Target};
use crate::process::Process;
use crate::process::first_stack;
use crate::process::identity::users;
use crate::process::names::namespaces;
use crate::process::names::pidfd::Pidfd;
use crate::process::time::times;
use crate::process::walk;
use crate::spaces::pid::{self, Own};
use crate::spaces::user::Kind;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

const DIRECTORY: u32 = 0o040000;
const FILE: u32 = 0o100000;
const LINK: u32 = 0o120000;

/// Files, folders and links of both a process and a thread, with their modes.
const FILES: [(&str, u32); 38] = [
    ("auxv", FILE | 0o400),
    ("cgroup", FILE | 0o444),
    ("cmdline", FILE | 0o444),
    ("comm", FILE | 0o644),
    ("coredump_filter", FILE | 0o644),
    ("cwd", LINK | 0o777),
    ("environ", FILE | 0o400),
    ("exe", LINK | 0o777),
    ("fd", DIRECTORY | 0o500),
    ("fdinfo", DIRECTORY | 0o555),
    ("gid_map", FILE | 0o644),
    ("io", FILE | 0o400),
    ("limits", FILE | 0o644),
    ("loginuid", FILE | 0o444),
    ("mountinfo", FILE | 0o444),
    ("mounts", FILE | 0o444),
    ("mountstats", FILE | 0o400),
    ("net", DIRECTORY | 0o555),
    ("ns", DIRECTORY | 0o511),
    ("oom_adj", FILE | 0o644),
    ("oom_score", FILE | 0o444),
    ("oom_score_adj", FILE | 0o644),
    ("personality", FILE | 0o400),
    ("projid_map", FILE | 0o644),
    ("root", LINK | 0o777),
    ("sched", FILE | 0o444),
    ("schedstat", FILE | 0o444),
    ("sessionid", FILE | 0o444),
    ("setgroups", FILE | 0o644),
    ("stack", FILE | 0o400),
    ("stat", FILE | 0o444),
    ("statm", FILE | 0o444),
    ("status", FILE | 0o444),
    ("syscall", FILE | 0o400),
    ("timens_offsets", FILE | 0o644),
    ("timerslack_ns", FILE | 0o666),
    ("uid_map", FILE | 0o644),
    ("wchan", FILE | 0o444),
];

/// Files in the folder of a process that are made elsewhere, with their modes.
const OTHERS: &[(&str, u32)] = &[
    ("map_files", 0o040500),
    ("maps", 0o100444),
    ("mem", 0o100600),
    ("pagemap", 0o100400),
    ("smaps", 0o100444),
    ("smaps_rollup", 0o100444),
];

/// What makes a file of it elsewhere.
pub(super) type Elsewhere = fn(&Process, &str) -> Option<Result<Content, Errno>>;

fn names(write: impl FnOnce(&mut dyn Write) -> fmt::Result) -> Result<Content, Errno> {
    made(|text| write(text)).map(|text| Content::Names(text.into_string()))
}

/// What is at a path in the folder; `others`: files that are made elsewhere.
pub(super) fn content(
    subject: &Subject,
    (path, view): (&[&str], &Seen),
    others: Elsewhere,
) -> Result<Content, Errno> {
    match path {
        [] => names(|text| {
            let all = FILES.iter().chain(OTHERS);
            all.map(|(name, _)| name).try_for_each(|name| writeln!(text, "{name}"))?;
            if matches!(subject, Subject::Thread(..)) { Ok(()) } else { writeln!(text, "task") }
        }),
        ["task"] => names(|text| subject.write_threads(walk::space_of(view), text)),
        ["fd" | "fdinfo"] => names(|text| write_numbers(subject, text)),
        ["fdinfo", number] => {
            let (file, close_on_exec) = descriptor(subject, number)?;
            text(|text| write_open_file(&file, close_on_exec, walk::space_of(view), text))
        }
        ["net"] => names(|_| Ok(())),
        ["ns"] => names(|text| namespaces::NAMES.iter().try_for_each(|n| writeln!(text, "{n}"))),
        [name] => file(subject, name, walk::space_of(view), others),
        _ => Err(Errno::ENOENT),
    }
}

/// Kind and permissions of a path in the folder; an error: nothing is there.
pub(super) fn mode(subject: &Subject, path: &[&str]) -> Result<u32, Errno> {
    match path {
        [] => Ok(DIRECTORY | 0o555),
        ["task"] if !matches!(subject, Subject::Thread(..)) => Ok(DIRECTORY | 0o555),
        ["fd", number] => {
            let (file, _) = descriptor(subject, number)?;
            let read = if file.can_read() { 0o500 } else { 0 };
            let write = if file.can_write() { 0o300 } else { 0 };
            Ok(LINK | read | write)
        }
        ["fdinfo", number] => descriptor(subject, number).map(|_| FILE | 0o444),
        [name] => {
            let is_it = |one: &&(&str, u32)| one.0 == *name;
            let own = FILES.iter().find(is_it).map(|&(_, mode)| mode);
            let others = || OTHERS.iter().find(is_it).map(|&(_, mode)| mode);
            own.or_else(others).ok_or(Errno::ENOENT)
        }
        ["ns", name] if namespaces::NAMES.contains(name) => Ok(LINK | 0o777),
        ["map_files", name] => {
            let process = subject.process().ok_or(Errno::ENOENT)?;
            walk::map_file(process, name).map(|_| LINK | 0o600)
        }
        _ => Err(Errno::ENOENT),
    }
}

/// What a map is of, by its name.
pub(super) fn kind_of_map(name: &str) -> Kind {
    match name {
        "uid_map" => Kind::Users,
        "gid_map" => Kind::Groups,
        _ => Kind::Projects,
    }
}

fn file(subject: &Subject, name: &str, space: &Own, others: Elsewhere) -> Result<Content, Errno> {
    let process = subject.process();
    let attributes = process.map(|process| &process.attributes);
    let mounts = process.and_then(|process| process.place().mounts());
    match name {
        "status" => text(|text| of_process::status(subject, space, text)),
        "stat" => text(|text| of_process::stat(subject, space, text)),
        "statm" => text(|text| of_process::statm(subject, text)),
        "stack" => text(|text| of_process::stack(subject, text)),
        "comm" => text(|text| writeln!(text, "{}", short(subject.name().as_str()))),
        "wchan" => text(|text| asleep::wchan(subject, text)),
        "mounts" => text(|text| of_machine::mounts(mounts.as_deref(), text)),
        "mountinfo" => text(|text| of_machine::mountinfo(mounts.as_deref(), text)),
        "cgroup" => match process {
            Some(process) => text(|text| process.membership.write(text)),
            None => text(|text| writeln!(text, "0::/")),
        },
        "sessionid" => text(|text| write!(text, "{}", u32::MAX)),
        "coredump_filter" => text(|text| {
            let filter = attributes.map_or(0, |all| all.core_filter.load(Ordering::Relaxed));
            if process.is_some() { writeln!(text, "{filter:08x}") } else { Ok(()) }
        }),
        "oom_score" => text(|text| writeln!(text, "0")),
        // The older file has another scale.
        "oom_adj" => text(|text| {
            let all = attributes.map_or(0, |all| all.oom_score_adjustment.load(Ordering::Relaxed));
            writeln!(text, "{}", if all == 1000 { 15 } else { all * 17 / 1000 })
        }),
        "oom_score_adj" => text(|text| {
            let adjustment =
                attributes.map_or(0, |all| all.oom_score_adjustment.load(Ordering::Relaxed));
            writeln!(text, "{adjustment}")
        }),
        "personality" => text(|text| {
            let personality = attributes.map_or(0, |all| all.personality.load(Ordering::Relaxed));
            writeln!(text, "{personality:08x}")
        }),
        "io" => {
            asleep::check(subject).map_err(|_| Errno::EACCES)?;
            text(|text| of_process::io(subject, text))
        }
        "sched" => text(|text| {
            writeln!(
                text,
                "{} ({}, #threads: {})",
                subject.name(),
                pid::local(space, subject.number()),
                process.map_or(1, |process| process.crew.count())
            )
        }),
        "schedstat" => text(|text| writeln!(text, "0 0 0")),
        "cmdline" => process.map_or(Ok(Content::Text(Vec::new())), |process| {
            first_stack::command_line(process).map(Content::Text)
        }),
        "limits" => match process {
            Some(process) => text(|text| of_process::limits(process, text)),
            None => Err(Errno::ENOENT),
        },
        "environ" => process.map_or(Ok(Content::Text(Vec::new())), |process| {
            first_stack::environment(process).map(Content::Text)
        }),
        "auxv" => process.map_or(Ok(Content::Text(Vec::new())), |process| {
            first_stack::auxiliary(process).map(Content::Text)
        }),
        "loginuid" => text(|text| write!(text, "{}", u32::MAX)),
        "mountstats" => text(of_machine::mountstats),
        "uid_map" | "gid_map" | "projid_map" => text(|text| {
            let space = process.and_then(users::space_of);
            users::write_map(&space, kind_of_map(name), text)
        }),
        "setgroups" => text(|text| {
            let space = process.and_then(users::space_of);
            let may = space.is_none_or(|space| space.may_set_groups());
            writeln!(text, "{}", if may { "allow" } else { "deny" })
        }),
        "timens_offsets" => match process {
            Some(process) => text(|text| times::write_offsets(process, text)),
            None => Ok(Content::Text(Vec::new())),
        },
        "timerslack_ns" => text(|text| {
            let slack = attributes.map_or(0, |all| all.timer_slack.load(Ordering::Relaxed));
            writeln!(text, "{slack}")
        }),
        "syscall" => {
            asleep::check(subject)?;
            text(|text| asleep::syscall(subject, text))
        }
        name => match process {
            Some(process) => others(process, name).unwrap_or(Err(Errno::ENOENT)),
            None if OTHERS.iter().any(|one| one.0 == name) => Ok(Content::Text(Vec::new())),
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

/// The open file behind a descriptor, and whether execve closes that.
fn descriptor(subject: &Subject, name: &str) -> Result<(Arc<OpenFile>, bool), Errno> {
    let process = subject.process().ok_or(Errno::ENOENT)?;
    walk::descriptor(process, name)
}

/// What /proc/PID/fdinfo says of an open file.
fn write_open_file(
    file: &OpenFile,
    close_on_exec: bool,
    space: &Own,
    to: &mut dyn Write,
) -> fmt::Result {
    const CLOSE_ON_EXEC: u32 = 0o2000000;
    let flags = file.flags() | if close_on_exec { CLOSE_ON_EXEC } else { 0 };
    let position = file.position.load(Ordering::Relaxed);
    let (inode, mount) = match &file.target {
        Target::Node(node, _) => (node.inode, 1),
        _ => (file.stat().inode, 2),
    };
    writeln!(to, "pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{inode}")?;
    if let Some(counter) = file.object().and_then(|object| object.of_kind::<EventCounter>()) {
        counter.write(to)?;
    }
    let inotify = file.object().and_then(|object| object.of_kind::<Inotify>());
    if let Some(inotify) = inotify {
        inotify.write(to)?;
    }
    let pidfd = file.object().and_then(|object| object.of_kind::<Pidfd>());
    if let Some(pidfd) = pidfd {
        pidfd.write(space, to)?;
    }
    Ok(())
}
