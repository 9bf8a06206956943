//! /proc/sysvipc: a line for each segment, set and queue that has a number (ipcs reads them).

use super::text::{Content, names, text};
use crate::error::Errno;
use crate::ipc::table::Access;
use crate::ipc::{messages, semaphores};
use crate::memory::segments;
use crate::process::identity::users::told;
use crate::process::names::ipc::here;
use crate::process::names::numbers;
use crate::spaces::pid;
use crate::spaces::user::Kind;
use core::fmt::{self, Write};
use machine::memory::fallible::Text;

/// Of a segment's permissions: it goes with its last attachment; it stays in memory.
const REMOVED: u32 = 0o1000;
const LOCKED: u32 = 0o2000;

pub(super) const FILES: [&str; 3] = ["msg", "sem", "shm"];

/// What is at a path below /proc/sysvipc.
pub(super) fn content(parts: &[&str]) -> Result<Content, Errno> {
    match parts {
        [] => names(&FILES),
        ["msg"] => text(queues),
        ["sem"] => text(sets),
        ["shm"] => text(shared),
        _ => Err(Errno::ENOENT),
    }
}

/// A process as the reader knows it.
fn process(number: u64) -> u64 {
    pid::local(numbers::here(), number)
}

/// Key, number and permissions.
fn begin(text: &mut Text, access: &Access, more: u32) -> fmt::Result {
    let mode = access.mode | more;
    write!(text, "{:10} {:10}  {mode:4o}", access.key, access.number)
}

fn owners(text: &mut Text, access: &Access) -> fmt::Result {
    for ids in [access.owner, access.maker] {
        let [user, group] = [told(Kind::Users, ids[0]), told(Kind::Groups, ids[1])];
        write!(text, " {user:5} {group:5}")?;
    }
    Ok(())
}

fn shared(text: &mut Text) -> fmt::Result {
    text.write_str(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  \
         cgid      atime      dtime      ctime                   rss                  swap\n",
    )?;
    let mut place = 0;
    while let Some((at, segment, count)) = segments::from(here(), place) {
        place = at + 1;
        let removed = if segment.is_removed { REMOVED } else { 0 };
        begin(text, &segment.access, removed | if segment.is_locked { LOCKED } else { 0 })?;
        let [maker, last] = segment.processes.map(process);
        write!(text, " {:21} {maker:5} {last:5}  {count:5}", segment.bytes)?;
        owners(text, &segment.access)?;
        let [attached, detached] = segment.times;
        let resident = segment.node.stat().blocks * 512;
        let changed = segment.access.changed;
        writeln!(text, " {attached:10} {detached:10} {changed:10} {resident:21} {:21}", 0)?;
    }
    Ok(())
}

fn sets(text: &mut Text) -> fmt::Result {
    text.write_str(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
    )?;
    let mut place = 0;
    while let Some((at, set)) = semaphores::from(here(), place) {
        place = at + 1;
        let facts =
            set.with(|state| Ok((state.access.clone(), state.semaphores.len(), state.operated)));
        // Removed meanwhile.
        let Ok((access, count, operated)) = facts else { continue };
        begin(text, &access, 0)?;
        write!(text, " {count:10}")?;
        owners(text, &access)?;
        writeln!(text, " {operated:10} {:10}", access.changed)?;
    }
    Ok(())
}

fn queues(text: &mut Text) -> fmt::Result {
    text.write_str(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
         stime      rtime      ctime\n",
    )?;
    let mut place = 0;
    while let Some((at, queue)) = messages::from(here(), place) {
        place = at + 1;
        let facts = queue.with(|state| {
            let counts = (state.bytes, state.count());
            Ok((state.access.clone(), counts, state.processes, state.times))
        });
        // Removed meanwhile.
        let Ok((access, (bytes, messages), processes, [sent, received])) = facts else { continue };
        begin(text, &access, 0)?;
        let [sender, receiver] = processes.map(process);
        write!(text, "  {bytes:10} {messages:10} {sender:5} {receiver:5}")?;
        owners(text, &access)?;
        writeln!(text, " {sent:10} {received:10} {:10}", access.changed)?;
    }
    Ok(())
}
