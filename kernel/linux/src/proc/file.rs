//! A path of /proc or /sys as an open file, and what stat tells of it.

use super::content::{FILES, piece};
use super::maps::{self, Asked};
use super::subject::Subject;
use super::text::{Content, made};
use super::{control, folder, mem, pagemap, subject, sys, sysctl, sysvipc, written};
use crate::abi::Stat;
use crate::error::Errno;
use crate::files::attributes::Moment;
use crate::files::made::{Inside, Made, Maker, Seen};
use crate::files::mounts;
use crate::files::open::{OpenFile, Target};
use crate::files::pty::Slave;
use crate::files::spot::Known;
use crate::files::standing::Standing;
use crate::process::walk::{self, Leads, Parts};
use crate::process::{Process, current};
use crate::spaces::pid;
use crate::time::wall;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use machine::memory::fallible::Text;

const DIRECTORY: u32 = 0o040000;
const FILE: u32 = 0o100000;
const LINK: u32 = 0o120000;

/// The number of the file system.
const DEVICE: u64 = 2;

/// Whether a device number is that of /proc.
pub(crate) const fn is_device(number: u64) -> bool {
    number == DEVICE
}

#[derive(Debug)]
struct Path;

impl Maker for Path {
    fn make(&self, path: Inside<'_>, from: u64) -> Result<(Vec<u8>, Option<u64>), Errno> {
        match piece(path, from) {
            Ok((Content::Text(text), next)) => Ok((text, next)),
            Ok((Content::Names(names), next)) => Ok((names.into_bytes(), next)),
            // The file was opened, so it was there: whom it is about has ended.
            Err(Errno::ENOENT) => Err(Errno::ESRCH),
            Err(error) => Err(error),
        }
    }

    fn read_at(
        &self,
        path: Inside<'_>,
        position: u64,
        to: &mut [u8],
    ) -> Option<Result<usize, Errno>> {
        let (parts, view) = (Parts::inside(path)?, path.view);
        let subject = match parts.as_slice() {
            ["proc", whom, "pagemap"] => Subject::of(whom, view),
            ["proc", whom, "task", thread, "pagemap"] => {
                Subject::of(whom, view).and_then(|subject| subject.thread(thread, view))
            }
            _ => return None,
        };
        // Of a thread of the kernel there is nothing.
        Some(match subject {
            Ok(subject) => {
                subject.process().map_or(Ok(0), |process| pagemap::read_at(process, position, to))
            }
            Err(_) => Err(Errno::ESRCH),
        })
    }

    fn write(&self, path: Inside<'_>, from: &[u8]) -> Result<usize, Errno> {
        let parts = Parts::inside(path).ok_or(Errno::EIO)?;
        match parts.as_slice() {
            ["proc", rest @ ..] => written::write((rest, path.view), from),
            ["cgroup", rest @ ..] => control::write(rest, from),
            _ => Err(Errno::EIO),
        }
    }

    fn stat(&self, path: Inside<'_>) -> Result<Stat, Errno> {
        stat_of(&Parts::inside(path).ok_or(Errno::ENOENT)?)
    }
}

/// Kind and permissions of a path below /proc; an error: nothing is there.
fn mode(parts: &[&str], view: &Seen) -> Result<(u32, Option<Subject>), Errno> {
    let of_machine = |mode| Ok((mode, None));
    match parts {
        [] => of_machine(DIRECTORY | 0o555),
        [name, ..] if !subject::is_shown(name, view) => Err(Errno::ENOENT),
        [name @ ("self" | "thread-self")] => {
            Subject::of(name, view)?;
            of_machine(LINK | 0o777)
        }
        ["mounts" | "net"] => of_machine(LINK | 0o777),
        ["kstack"] => of_machine(DIRECTORY | 0o555),
        ["kstack", "provoke"] => of_machine(FILE | 0o222),
        ["kstack", "pages"] => of_machine(FILE | 0o400),
        ["kstack", "calls" | "depths" | "stacks"] => of_machine(FILE | 0o444),
        ["sys", rest @ ..] => Ok((sysctl::mode(rest)?, None)),
        ["sysvipc"] => of_machine(DIRECTORY | 0o555),
        ["sysvipc", name] if sysvipc::FILES.contains(name) => of_machine(FILE | 0o444),
        [name] if FILES.contains(name) => of_machine(FILE | 0o444),
        [whom, "task", thread, rest @ ..] => {
            let subject = Subject::of(whom, view)?.thread(thread, view)?;
            subject.check_inside(view)?;
            Ok((folder::mode(&subject, rest)?, Some(subject)))
        }
        [whom, rest @ ..] => {
            let subject = Subject::of(whom, view)?;
            if !rest.is_empty() {
                subject.check_inside(view)?;
            }
            Ok((folder::mode(&subject, rest)?, Some(subject)))
        }
    }
}

/// The number of a node: the same path has the same one (FNV-1a).
fn number(parts: &[&str]) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = parts.iter().flat_map(|part| b"/".iter().chain(part.as_bytes()));
    bytes.copied().fold(0xcbf2_9ce4_8422_2325, step) >> 1
}

/// What stat tells of an absolute path of /proc or /sys.
pub(crate) fn stat(path: &str) -> Result<Stat, Errno> {
    stat_of(&Parts::of(path).ok_or(Errno::ENOENT)?)
}

fn stat_of(parts: &Parts<'_>) -> Result<Stat, Errno> {
    let (mode, subject) = match parts.as_slice() {
        ["proc", rest @ ..] => mode(rest, &parts.view)?,
        ["sys", rest @ ..] => match sys::open_sys(rest)? {
            Content::Names(_) => (DIRECTORY | 0o555, None),
            Content::Text(_) => (FILE | 0o444, None),
        },
        ["cgroup", rest @ ..] => (control::mode(rest)?, None),
        _ => return Err(Errno::ENOENT),
    };
    let process = subject.as_ref().and_then(Subject::process);
    // What may not be looked into is root's, but for what anyone may read
    // (`task_dump_owner`); a process finds its own descriptors all the same.
    let is_descriptor = parts.as_slice().iter().any(|part| part.starts_with("fd"));
    let is_own = |process: &Process| process.id == current().id && is_descriptor;
    let is_given = |process: &Process| {
        mode == DIRECTORY | 0o555
            || process.attributes.is_dumpable.load(Ordering::Relaxed)
            || is_own(process)
    };
    let (user, group) = process.filter(|process| is_given(process)).map_or((0, 0), |process| {
        let all = process.credentials();
        (all.user.effective, all.group.effective)
    });
    let born = process.map_or(0, |process| process.born);
    let time = Moment::of(wall::at_boot().saturating_add(born)).told();
    Ok(Stat {
        inode: number(parts.as_slice()),
        mode,
        links: match (parts.as_slice(), process) {
            // One for each thread.
            (["proc", _, "task"], Some(process)) => 2 + process.crew.count() as u64,
            _ if mode & DIRECTORY == 0 => 1,
            _ => 2,
        },
        bytes: if mode & LINK == LINK { 64 } else { 0 },
        user,
        group,
        file_system: parts.view.as_ref().map_or(DEVICE, |view| view.number),
        times: [time; 3],
        ..Stat::default()
    })
}

/// Opens an absolute path of /proc or /sys with no link in it.
pub(crate) fn open(path: String) -> Result<(Made, u32), Errno> {
    let (place, mode) = {
        let parts = Parts::of(&path).ok_or(Errno::ENOENT)?;
        let mode = stat_of(&parts)?.mode;
        let inside = match mounts::is_elsewhere(&path) {
            false => None,
            true => Some(joined(parts.as_slice())?),
        };
        ((inside, parts.view), mode)
    };
    Ok((Made::new(path, place, &Path, mode & DIRECTORY != 0), mode))
}

fn joined(parts: &[&str]) -> Result<String, Errno> {
    let text = made(|text| parts.iter().try_for_each(|part| write!(text, "/{part}")))?;
    Ok(text.into_string())
}

/// Begins with a file that is opened, and not only found: what it has of its own is made now.
pub(crate) fn begin(made: Made) -> Result<Made, Errno> {
    let subject = {
        let inside = made.inside();
        let view = inside.view;
        let Some(parts) = Parts::inside(inside) else { return Ok(made) };
        match parts.as_slice() {
            ["proc", whom, "mem"] => Subject::of(whom, view)?,
            ["proc", whom, "task", thread, "mem"] => {
                Subject::of(whom, view)?.thread(thread, view)?
            }
            _ => return Ok(made),
        }
    };
    Ok(made.with_bytes(mem::of(&subject)?))
}

/// What a link of /proc reads as; `None`: the path is of no link.
pub(crate) fn link(path: &str) -> Option<Result<String, Errno>> {
    Some(match walk::link(&Parts::of(path)?)? {
        Ok(Leads::Path(path)) => Ok(path),
        Ok(Leads::File(file)) => name_of(&file),
        Ok(Leads::Node(node, known)) => known.told(&node),
        Ok(Leads::Directory(Standing::Tree(spot))) => Known::Here(spot.clone()).told(spot.node()),
        Ok(Leads::Directory(standing)) => standing.path(),
        Err(error) => Err(error),
    })
}

/// What a link to an open file reads as.
fn name_of(file: &OpenFile) -> Result<String, Errno> {
    if let Target::Node(node, known) = &file.target {
        return known.told(node);
    }
    if let Some(slave) = file.object().and_then(|object| object.of_kind::<Slave>()) {
        return slave.path();
    }
    let text = made(|text| match &file.target {
        Target::Node(..) => Ok(()),
        Target::Made(made) => text.write_str(made.path()),
        Target::Object(object) => match object.label() {
            label @ ("pipe" | "socket" | "ipc" | "mnt" | "pid" | "time" | "user" | "uts") => {
                write!(text, "{label}:[{}]", object.stat().inode)
            }
            label => text.write_str(label),
        },
        Target::Capture(_) => text.write_str("pipe:[0]"),
    })?;
    Ok(text.into_string())
}

/// The area that a request of an open /proc/PID/maps is about, and its name; `ENOTTY`: the file is
/// no such one.
pub(crate) fn area_of(file: &OpenFile, at: u64, flags: u64) -> Result<(Asked, Text), Errno> {
    let Target::Made(made) = &file.target else { return Err(Errno::ENOTTY) };
    let parts = Parts::inside(made.inside()).ok_or(Errno::ENOTTY)?;
    let (["proc", whom, "maps"] | ["proc", _, "task", whom, "maps"]) = parts.as_slice() else {
        return Err(Errno::ENOTTY);
    };
    let subject = Subject::of(whom, &parts.view).map_err(|_| Errno::ESRCH)?;
    maps::query(subject.process().ok_or(Errno::ESRCH)?, at, flags)
}

/// The process that a folder of /proc is about; `None`: the file is no such folder.
pub(crate) fn process_of(file: &OpenFile) -> Option<Result<Arc<Process>, Errno>> {
    let Target::Made(made) = &file.target else { return None };
    let parts = Parts::inside(made.inside())?;
    let ["proc", whom] = parts.as_slice() else { return None };
    let number = pid::global(walk::space_of(&parts.view), walk::number(whom)?)?;
    Some(crate::process::table::find(number).ok_or(Errno::ESRCH))
}
