//! The file system of control groups (`mount -t cgroup2`): folders that programs make and remove,
//! with files of Linux's names in them (Documentation/admin-guide/cgroup-v2).

use super::text::{Content, made, text};
use crate::cgroups::{self, Group, MEMORY, PIDS, UNLIMITED, Where};
use crate::error::Errno;
use crate::files::mounts;
use crate::files::room::scaled;
use crate::process::names::numbers;
use crate::process::walk::{self, Parts};
use crate::process::{current_arc, table};
use crate::spaces::pid;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use kstack::addr::PAGE_BYTES;
use kstack::groups;
use machine::memory::fallible::Text;
use threads::stacks::accounts;

const READ: u32 = 0o100444;
const BOTH: u32 = 0o100644;

/// A file: its name, its mode, the controller that it is of (0: none), and whether the root has it.
type File = (&'static str, u32, u8, bool);

const FILES: [File; 17] = [
    ("cgroup.controllers", READ, 0, true),
    ("cgroup.events", READ, 0, false),
    ("cgroup.procs", BOTH, 0, true),
    ("cgroup.stat", READ, 0, true),
    ("cgroup.subtree_control", BOTH, 0, true),
    ("cgroup.threads", BOTH, 0, true),
    ("cgroup.type", READ, 0, false),
    ("memory.current", READ, MEMORY, false),
    ("memory.events", READ, MEMORY, false),
    ("memory.events.local", READ, MEMORY, false),
    ("memory.max", BOTH, MEMORY, false),
    ("memory.stat", READ, MEMORY, true),
    ("pids.current", READ, PIDS, false),
    ("pids.events", READ, PIDS, false),
    ("pids.events.local", READ, PIDS, false),
    ("pids.max", BOTH, PIDS, false),
    ("pids.peak", READ, PIDS, false),
];

/// The highest number that `pids.max` takes (`PIDS_MAX`).
const PIDS_MAX: u64 = 4 << 20;

/// What a path leads to.
enum Found {
    Folder(Where),
    File(Where, &'static File),
}

fn has(group: &Where, file: &File) -> bool {
    let &(_, _, controller, is_roots) = file;
    (group.is_some() || is_roots) && (controller == 0 || cgroups::enabled(group) & controller != 0)
}

fn find(path: &[&str]) -> Result<Found, Errno> {
    if let [above @ .., name] = path
        && let Some(file) = FILES.iter().find(|file| file.0 == *name)
    {
        let group = cgroups::find(above)?;
        return if has(&group, file) { Ok(Found::File(group, file)) } else { Err(Errno::ENOENT) };
    }
    cgroups::find(path).map(Found::Folder)
}

/// What is at a path below the root of the groups.
pub(super) fn content(path: &[&str]) -> Result<Content, Errno> {
    match find(path)? {
        Found::Folder(group) => {
            let names = made(|text| {
                let files = FILES.iter().filter(|file| has(&group, file));
                files.map(|file| file.0).try_for_each(|name| writeln!(text, "{name}"))?;
                cgroups::names_below(&group, text)
            })?;
            Ok(Content::Names(names.into_string()))
        }
        Found::File(group, file) => read(&group, file.0),
    }
}

/// Kind and permissions of what is there.
pub(super) fn mode(path: &[&str]) -> Result<u32, Errno> {
    Ok(match find(path)? {
        Found::Folder(_) => 0o040755,
        Found::File(_, file) => file.1,
    })
}

fn read(group: &Where, name: &str) -> Result<Content, Errno> {
    let inner = group.as_deref();
    match name {
        "cgroup.controllers" => text(|text| write_controllers(cgroups::enabled(group), text)),
        "cgroup.subtree_control" => {
            text(|text| write_controllers(cgroups::enabled_here(group), text))
        }
        "cgroup.events" => {
            let is_populated = inner.is_some_and(Group::is_populated);
            text(|text| writeln!(text, "populated {}\nfrozen 0", u8::from(is_populated)))
        }
        "cgroup.procs" => processes(group, false),
        "cgroup.threads" => processes(group, true),
        "cgroup.stat" => text(|text| {
            let count = cgroups::count_below(group);
            writeln!(text, "nr_descendants {count}\nnr_dying_descendants 0")
        }),
        "cgroup.type" => text(|text| writeln!(text, "domain")),
        "memory.current" => text(|text| writeln!(text, "{}", stack_bytes(group))),
        "memory.max" => text(|text| match accounts::groups().limit(cgroups::account(group)) {
            groups::UNLIMITED => writeln!(text, "max"),
            pages => writeln!(text, "{}", u64::from(pages) * PAGE_BYTES as u64),
        }),
        "memory.stat" => text(|text| {
            let bytes = stack_bytes(group);
            writeln!(text, "kernel {bytes}\nkernel_stack {bytes}")
        }),
        "memory.events" | "memory.events.local" => {
            let (all, own) = accounts::groups().refusals(cgroups::account(group));
            let max = if name == "memory.events" { all } else { own };
            text(|text| {
                writeln!(text, "low 0\nhigh 0\nmax {max}\noom 0\noom_kill 0\noom_group_kill 0")
            })
        }
        _ => {
            let tasks = &inner.ok_or(Errno::ENOENT)?.tasks;
            let ((now, peak), (all, own)) = (tasks.counts(), tasks.refusals());
            text(|text| match name {
                "pids.max" => match tasks.most.load(Ordering::Relaxed) {
                    UNLIMITED => writeln!(text, "max"),
                    most => writeln!(text, "{most}"),
                },
                "pids.peak" => writeln!(text, "{peak}"),
                "pids.events" => writeln!(text, "max {all}"),
                "pids.events.local" => writeln!(text, "max {own}"),
                _ => writeln!(text, "{now}"),
            })
        }
    }
}

fn stack_bytes(group: &Where) -> usize {
    accounts::used_bytes(cgroups::account(group))
}

fn write_controllers(set: u8, text: &mut Text) -> core::fmt::Result {
    let mut between = "";
    for (_, name) in cgroups::CONTROLLERS.iter().filter(|(bit, _)| set & bit != 0) {
        write!(text, "{between}{name}")?;
        between = " ";
    }
    writeln!(text)
}

/// The numbers of its processes, or of their threads, as the caller sees them.
fn processes(group: &Where, threads: bool) -> Result<Content, Errno> {
    let all = table::all()?;
    let space = numbers::here();
    text(|text| {
        all.iter().filter(|process| process.membership.is_in(group)).try_for_each(|process| {
            if !threads {
                return match pid::local(space, process.id) {
                    0 => Ok(()),
                    number => writeln!(text, "{number}"),
                };
            }
            let Ok(threads) = process.crew.threads() else { return Err(core::fmt::Error) };
            threads.iter().try_for_each(|thread| match pid::local(space, thread.number()) {
                0 => Ok(()),
                number => writeln!(text, "{number}"),
            })
        })
    })
}

/// Takes what is written to a file.
pub(super) fn write(path: &[&str], from: &[u8]) -> Result<usize, Errno> {
    let Found::File(group, file) = find(path)? else { return Err(Errno::EINVAL) };
    let words = core::str::from_utf8(from).map_err(|_| Errno::EINVAL)?.trim();
    match file.0 {
        "cgroup.procs" => move_process(&group, words)?,
        // Groups of threads there are none of.
        "cgroup.threads" => return Err(Errno::EOPNOTSUPP),
        "cgroup.subtree_control" => set_controllers(&group, words)?,
        "memory.max" => {
            let pages = match words {
                "max" => groups::UNLIMITED,
                words => {
                    let bytes = scaled(words)?;
                    u32::try_from(bytes / PAGE_BYTES as u64).unwrap_or(groups::UNLIMITED)
                }
            };
            let set = accounts::set_group_limit(cgroups::account(&group), pages);
            set.ok_or(Errno::ENODEV)?;
        }
        "pids.max" => {
            let most = match words {
                "max" => UNLIMITED,
                words => words.parse().ok().filter(|&most| most < PIDS_MAX).ok_or(Errno::EINVAL)?,
            };
            let tasks = &group.as_ref().ok_or(Errno::EINVAL)?.tasks;
            tasks.most.store(most, Ordering::Relaxed);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(from.len())
}

/// 0: the caller's own.
fn move_process(group: &Where, number: &str) -> Result<(), Errno> {
    let number: u64 = number.parse().map_err(|_| Errno::EINVAL)?;
    let process = match number {
        0 => current_arc(),
        number => {
            let number = pid::global(numbers::here(), number).ok_or(Errno::ESRCH)?;
            let of_thread = || table::find_thread(None, number).map(|(process, _)| process);
            table::find(number).or_else(of_thread).ok_or(Errno::ESRCH)?
        }
    };
    process.membership.move_to(group)
}

fn set_controllers(group: &Where, words: &str) -> Result<(), Errno> {
    let (mut more, mut fewer) = (0, 0);
    for word in words.split_whitespace() {
        let name = word.get(1..).ok_or(Errno::EINVAL)?;
        let known = cgroups::CONTROLLERS.iter().find(|known| known.1 == name);
        let bit = known.ok_or(Errno::EINVAL)?.0;
        match word.as_bytes()[0] {
            b'+' => (more, fewer) = (more | bit, fewer & !bit),
            b'-' => (more, fewer) = (more & !bit, fewer | bit),
            _ => return Err(Errno::EINVAL),
        }
    }
    cgroups::set_controllers(group, more, fewer)
}

/// The path below the root of the groups that an absolute path is; `None`: it is none there.
fn inside(path: &str) -> Option<Parts<'_>> {
    if !matches!(mounts::made_at(path), Some((mounts::Made::Groups, ..))) {
        return None;
    }
    Parts::of(path)
}

/// Makes a group where a path leads to; `None`: it does not lead among groups.
pub(crate) fn make_group(path: &str) -> Option<Result<(), Errno>> {
    let parts = inside(path)?;
    let ["cgroup", above @ .., name] = parts.as_slice() else { return Some(Err(Errno::EEXIST)) };
    Some(match find(&parts.as_slice()[1..]) {
        Ok(_) => Err(Errno::EEXIST),
        Err(_) => cgroups::find(above).and_then(|above| cgroups::make(above, name)),
    })
}

/// Removes one.
pub(crate) fn remove_group(path: &str, is_directory: bool) -> Option<Result<(), Errno>> {
    let parts = inside(path)?;
    let remove = |group: Arc<Group>| cgroups::remove(&group);
    Some(match find(&parts.as_slice()[1..]) {
        Err(error) => Err(error),
        Ok(Found::File(..)) if is_directory => Err(Errno::ENOTDIR),
        Ok(Found::File(..)) => Err(Errno::EPERM),
        Ok(Found::Folder(_)) if !is_directory => Err(Errno::EISDIR),
        Ok(Found::Folder(None)) => Err(Errno::EBUSY),
        Ok(Found::Folder(Some(group))) => remove(group),
    })
}

/// Whether a path, which is made when it is read, leads among groups.
pub(crate) fn is_among_groups(path: &str) -> bool {
    walk::is_made(path) && inside(path).is_some()
}
