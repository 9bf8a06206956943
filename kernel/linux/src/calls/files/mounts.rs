//! mount and umount: file systems in memory, and parts of the tree in a second place. What is read
//! only, or not to be run, is refused.

use super::at::{HERE, place_at};
use crate::error::{Errno, SysResult};
use crate::files::made::{Hides, Seen, View};
use crate::files::mount_flags::{Rules, flag};
use crate::files::mounts::{self, Made, New, number};
use crate::files::open::Target;
use crate::files::pty;
use crate::files::room::{Room, scaled};
use crate::files::spot::Spot;
use crate::files::tree::{self, Content, Node, Special};
use crate::proc;
use crate::process::identity::credentials::capability;
use crate::process::identity::users;
use crate::process::names::numbers;
use crate::process::user_memory::{as_text, path, string};
use crate::process::walk::Place;
use crate::process::{Process, current_task, table};
use crate::spaces::pid::Own;
use crate::spaces::user::Kind;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::{fallible, frames};

/// Bytes of a page: what mount reads of its strings.
const MOST: usize = 4096;

fn check_may() -> Result<(), Errno> {
    let mounts = current_task().place().mounts();
    let owner = mounts.and_then(|mounts| mounts.owner().clone());
    let may = current_task().credentials().can_in(&owner, capability::SYS_ADMIN);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

fn text(at: u64) -> Result<String, Errno> {
    if at == 0 { Ok(String::new()) } else { as_text(string(at, MOST)?) }
}

/// A directory with its path; of what is made when it is read, only a whole /proc or /sys.
fn directory(at: u64) -> Result<(Arc<Node>, String), Errno> {
    match place_at(HERE, at, true)? {
        Place::Node(node, lies) if node.is_directory() => {
            let path = lies.path()?;
            Ok((node, path))
        }
        // The walk through the tree ends there.
        Place::Made(path) if is_whole(&path) => Ok((tree::find("/", &path, true)?, path)),
        // What is made there stays what is seen.
        Place::Made(_) => Err(Errno::EBUSY),
        _ => Err(Errno::ENOTDIR),
    }
}

/// The same for what may be no directory, which another file may lie over.
fn anything(at: u64) -> Result<(Arc<Node>, String), Errno> {
    match place_at(HERE, at, true)? {
        Place::Node(node, lies) => {
            let path = lies.path()?;
            Ok((node, path))
        }
        Place::Made(_) => directory(at),
        Place::Open(_) => Err(Errno::EINVAL),
    }
}

/// What of /proc and /sys is below a path: where it always is, and where it was mounted.
fn made_below(path: &str) -> Result<Vec<(String, Made, Seen)>, Errno> {
    let mut all = Vec::new();
    if path == "/" {
        for made in [Made::Proc, Made::Sys] {
            let rest = if made == Made::Proc { "/proc" } else { "/sys" };
            fallible::push(&mut all, (fallible::text(rest)?, made, None))?;
        }
    }
    for one in mounts::made_below(path)? {
        fallible::push(&mut all, one)?;
    }
    Ok(all)
}

/// Has what is made when it is read be seen at a place, too, that its nodes are seen at already.
fn show_below(place: &str, rest: &str, made: Made, view: Seen) -> Result<(), Errno> {
    let path = tree::absolute(place, rest.trim_start_matches('/'))?;
    let node = tree::find("/", &path, true)?;
    let kind = made.kind();
    let rules = Rules::new(0);
    let new = New {
        root: node.clone(),
        source: kind,
        kind,
        made: Some((made, view)),
        rules,
        is_along: true,
    };
    mounts::add(node, &path, new)
}

/// Whether a path is that of a whole /proc or /sys.
fn is_whole(path: &str) -> bool {
    matches!(path, "/proc" | "/sys") || mounts::is_root_of_made(path)
}

/// What lies at a path of a directory, if that is made when it is read.
fn made_at(node: &Node, path: &str) -> Option<(Made, Seen)> {
    if !matches!(node.content, Content::Special(Special::Proc)) {
        return None;
    }
    let is_sys = path == "/sys";
    let usual = || (if is_sys { Made::Sys } else { Made::Proc }, None);
    Some(mounts::made_at(path).map_or_else(usual, |(made, view, _)| (made, view)))
}

/// Whether the caller may mount what shows a PID namespace.
fn check_may_show(space: &Own) -> Result<(), Errno> {
    let owner = space.as_ref().and_then(|space| space.owner.clone());
    let may = current_task().credentials().can_in(&owner, capability::SYS_ADMIN);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

/// A mount of /proc for the caller's namespace, with its options.
fn view(options: &str) -> Result<View, Errno> {
    /// Numbers of file systems that no other has.
    static NEXT: AtomicU64 = AtomicU64::new(0x100);
    let (mut hides, mut group, mut only_processes) = (Hides::Nothing, 0, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("hidepid", "0" | "off") => hides = Hides::Nothing,
            ("hidepid", "1" | "noaccess") => hides = Hides::Content,
            ("hidepid", "2" | "invisible") => hides = Hides::Folders,
            ("hidepid", "4" | "ptraceable") => hides = Hides::Untraceable,
            ("gid", number) => group = number.parse().map_err(|_| Errno::EINVAL)?,
            ("subset", "pid") => only_processes = true,
            _ => return Err(Errno::EINVAL),
        }
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(View { number, space: numbers::here().clone(), hides, group, only_processes })
}

/// Mounts the control groups: over a directory, or over one that is made when it is read
/// (/sys/fs/cgroup).
fn mount_groups(source: u64, target: u64, options: &str, rules: Rules) -> SysResult {
    const KNOWN: [&str; 4] =
        ["nsdelegate", "favordynmods", "memory_localevents", "memory_recursiveprot"];
    if options.split(',').any(|option| !option.is_empty() && !KNOWN.contains(&option)) {
        return Err(Errno::EINVAL);
    }
    let (over, place) = match place_at(HERE, target, true)? {
        Place::Made(path) if proc::stat(&path)?.mode & 0o170000 == 0o040000 => {
            // Found by its path alone: nothing of the tree lies there.
            (Node::directory()?, path)
        }
        Place::Node(node, lies) if node.is_directory() => match lies.path()? {
            path if path == "/" => return Err(Errno::EBUSY),
            path => (node, path),
        },
        _ => return Err(Errno::ENOTDIR),
    };
    let root = Node::new(Content::Special(Special::Proc), 0o755)?;
    let source = text(source)?;
    let source = if source.is_empty() { "none" } else { &source };
    let made = Some((Made::Groups, None));
    let kind = Made::Groups.kind();
    mounts::add(over, &place, New { root, source, kind, made, rules, is_along: false })?;
    Ok(0)
}

pub(crate) fn mount(source: u64, target: u64, kind: u64, flags: u64, data: u64) -> SysResult {
    const REMOUNT: u32 = 0x20;
    const BIND: u32 = 0x1000;
    const RECURSIVE: u32 = 0x4000;
    const SILENT: u32 = 0x8000;
    const REMOUNT_BIND: u32 = REMOUNT | BIND;
    const PRIVATE: u32 = 1 << 18;
    const SLAVE: u32 = 1 << 19;
    const MAGIC: u32 = 0xc0ed_0000;
    // What is in the tree is seen wherever it is: always as if recursive.
    const WITHOUT_EFFECT: u32 = RECURSIVE | SILENT;
    let kind = text(kind)?;
    let options = text(data)?;
    path(target)?;
    check_may()?;
    let mut flags = flags as u32;
    if flags & 0xffff_0000 == MAGIC {
        flags &= 0xffff;
    }
    let rules = Rules::new(flags);
    let asked = flags & !(WITHOUT_EFFECT | flag::KEPT);
    if asked == 0 && kind == "cgroup2" {
        return mount_groups(source, target, &options, rules);
    }
    let (over, place) = if asked == BIND { anything(target)? } else { directory(target)? };
    match asked {
        REMOUNT | REMOUNT_BIND => {
            if asked == REMOUNT
                && let Some(room) = over.room()
            {
                let (nodes, pages) = limits(&options)?;
                room.change(nodes, pages)?;
            }
            mounts::change(&place, flags)?;
            return Ok(0);
        }
        // No change of one mount is seen by another.
        PRIVATE | SLAVE => {
            let is_there = place == "/" || mounts::is_root(&over) || is_whole(&place);
            return if is_there { Ok(0) } else { Err(Errno::EINVAL) };
        }
        BIND => {
            let (root, from) = anything(source)?;
            if root.is_directory() != over.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            let made = made_at(&root, &from);
            let kind = made.as_ref().map_or("tmpfs", |(made, _)| made.kind());
            // Flags are those of where it comes from, until it is mounted again.
            let rules = mounts::rules_at(&from);
            let below = if made.is_some() { Vec::new() } else { made_below(&from)? };
            mounts::add(
                over,
                &place,
                New { root, source: &from, kind, made, rules, is_along: false },
            )?;
            for (rest, made, view) in below {
                show_below(&place, &rest, made, view)?;
            }
            return Ok(0);
        }
        0 => {}
        _ => return Err(Errno::EINVAL),
    }
    let kind = match &*kind {
        "tmpfs" => "tmpfs",
        "ramfs" => "ramfs",
        kind @ ("proc" | "sysfs") => {
            let made = match kind {
                "proc" => {
                    check_may_show(numbers::here())?;
                    (Made::Proc, Some(fallible::shared(view(&options)?)?))
                }
                _ if options.is_empty() => (Made::Sys, None),
                _ => return Err(Errno::EINVAL),
            };
            let kind = if kind == "proc" { "proc" } else { "sysfs" };
            let root = Node::new(Content::Special(Special::Proc), 0o555)?;
            let source = text(source)?;
            let source = if source.is_empty() { "none" } else { &source };
            mounts::add(
                over,
                &place,
                New { root, source, kind, made: Some(made), rules, is_along: false },
            )?;
            return Ok(0);
        }
        "devpts" => {
            let root = terminals(&options)?;
            let source = text(source)?;
            let source = if source.is_empty() { "none" } else { &source };
            let new = New { root, source, kind: "devpts", made: None, rules, is_along: false };
            mounts::add(over, &place, new)?;
            return Ok(0);
        }
        // It is where it always is.
        "devtmpfs" => return Err(Errno::EBUSY),
        "" => return Err(Errno::EINVAL),
        _ => return Err(Errno::ENODEV),
    };
    if place == "/" || is_whole(&place) {
        return Err(Errno::EBUSY);
    }
    let root = Node::directory()?;
    let all = current_task().credentials();
    root.attributes.set_owner(all.user.file, all.group.file);
    root.attributes.set_permissions(if kind == "tmpfs" { 0o1777 } else { 0o755 });
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                root.attributes.set_permissions(mode);
            }
            "uid" => {
                let user = value.parse().map_err(|_| Errno::EINVAL)?;
                root.attributes.set_owner(users::meant(Kind::Users, user)?, u32::MAX);
            }
            "gid" => {
                let group = value.parse().map_err(|_| Errno::EINVAL)?;
                root.attributes.set_owner(u32::MAX, users::meant(Kind::Groups, group)?);
            }
            // One without swap has no more to say, and one of the other kind heeds nothing else.
            "size" | "nr_blocks" | "nr_inodes" | "noswap" | "inode64" => {}
            _ if kind == "ramfs" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if kind == "tmpfs" {
        let (nodes, pages) = limits(&options)?;
        if nodes.is_some() || pages.is_some() {
            let room = Room::new(nodes.unwrap_or(0), pages.unwrap_or(0));
            root.settle(Some(fallible::shared(room)?))?;
        }
    }
    let source = text(source)?;
    let source = if source.is_empty() { "none" } else { &source };
    mounts::add(over, &place, New { root, source, kind, made: None, rules, is_along: false })?;
    Ok(0)
}

/// The limits among the options of a tmpfs: how many nodes, and how many pages.
fn limits(options: &str) -> Result<(Option<u64>, Option<u64>), Errno> {
    let (mut nodes, mut pages) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "nr_inodes" => nodes = Some(scaled(value)?),
            "nr_blocks" => pages = Some(scaled(value)?),
            "size" => {
                pages = Some(match value.strip_suffix('%') {
                    Some(share) => {
                        let share: u64 = share.parse().map_err(|_| Errno::EINVAL)?;
                        let all = frames::total_count() as u64;
                        all.checked_mul(share).ok_or(Errno::EINVAL)? / 100
                    }
                    None => scaled(value)?.div_ceil(frames::FRAME_BYTES),
                });
            }
            _ => {}
        }
    }
    Ok((nodes, pages))
}

fn is_below(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A directory for terminals of its own, as a mount's options say (devpts).
fn terminals(options: &str) -> Result<Arc<Node>, Errno> {
    let number = |value: &str| value.parse().map_err(|_| Errno::EINVAL);
    let mut permissions = 0;
    let mut slaves = pty::Rules { permissions: 0o600, ..pty::Rules::USUAL };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "ptmxmode" => permissions = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?,
            "mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                slaves.permissions = mode & 0o777;
            }
            "uid" => slaves.user = Some(users::meant(Kind::Users, number(value)?)?),
            "gid" => slaves.group = Some(users::meant(Kind::Groups, number(value)?)?),
            "max" => slaves.most = number(value)? as usize,
            // Every mount is an instance of its own.
            "newinstance" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    let root = Node::directory()?;
    pty::add_directory(&root, slaves)?;
    let ptmx = Node::new(Content::Special(Special::Ptmx), permissions & 0o777)?;
    tree::add_in(&Spot::root_of_mount(root.clone()), "ptmx", ptmx)?;
    Ok(root)
}

/// Whether a process of the caller's namespace is in what lies at a place, or has a file of it
/// open.
fn is_used_by(process: &Process, place: &str) -> bool {
    let here = number(current_task().place().mounts().as_deref());
    if process.status().is_some() || number(process.place().mounts().as_deref()) != here {
        return false;
    }
    let is_here = |path: Result<String, Errno>| path.is_ok_and(|path| is_below(&path, place));
    if is_here(process.place().directory().last_path()) {
        return true;
    }
    let Some(files) = process.files_if_alive() else { return false };
    let mut at = 0;
    loop {
        let file = {
            let files = files.lock();
            let Some((number, descriptor)) = files.next(at) else { return false };
            at = number + 1;
            descriptor.file.clone()
        };
        if matches!(&file.target, Target::Node(_, known) if is_here(known.path())) {
            return true;
        }
    }
}

pub(crate) fn unmount(target: u64, flags: u64) -> SysResult {
    const FORCE: u32 = 1;
    const DETACH: u32 = 2;
    const NO_FOLLOW: u32 = 8;
    let flags = flags as u32;
    if flags & !(FORCE | DETACH | NO_FOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    check_may()?;
    let (node, place) = match place_at(HERE, target, flags & NO_FOLLOW == 0)? {
        Place::Node(node, lies) => {
            let path = lies.path()?;
            (node, path)
        }
        Place::Made(place) if mounts::is_root_of_made(&place) => {
            let taken = mounts::remove_all(&place)?;
            drop(taken);
            return Ok(0);
        }
        _ => return Err(Errno::EBUSY),
    };
    if !mounts::is_root(&node) {
        return Err(if place == "/" { Errno::EBUSY } else { Errno::EINVAL });
    }
    if flags & DETACH == 0 && table::all()?.iter().any(|process| is_used_by(process, &place)) {
        return Err(Errno::EBUSY);
    }
    if flags & DETACH == 0 && mounts::has_below(&place) {
        return Err(Errno::EBUSY);
    }
    drop(node);
    let taken = mounts::remove_all(&place)?;
    drop(taken);
    Ok(0)
}
