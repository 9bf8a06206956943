//! Process groups that nothing would continue any more, if they stop: no member has a parent in the
//! same session and another group (POSIX, "orphaned process group").
//!
//! A group that becomes one while a member is stopped gets SIGHUP and SIGCONT, as otherwise it
//! would stop for good (`kill_orphaned_pgrp`).

use super::Process;
use super::listed::by_number;
use super::sending::shared_signals::Stop;
use crate::abi::signals::Signal;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Whether a group is orphaned, as far as it is the members other than `but` that keep it from
/// being. The caller has the table.
pub(super) fn is_orphaned(table: &[Arc<Process>], group: u64, but: Option<&Process>) -> bool {
    let parent_of = |member: &Process| {
        let number = member.parent.load(Ordering::Relaxed);
        by_number(table, number).filter(|other| other.status().is_none())
    };
    let members = table.iter().filter(|member| {
        let is_out = but.is_some_and(|but| core::ptr::eq(&***member, but));
        member.group.load(Ordering::Relaxed) == group && member.status().is_none() && !is_out
    });
    !members.into_iter().any(|member| {
        parent_of(member).is_some_and(|parent| {
            parent.group.load(Ordering::Relaxed) != group
                && parent.session.load(Ordering::Relaxed) == member.session.load(Ordering::Relaxed)
        })
    })
}

/// A process has ended (`parent`: none), or its parent has: hangs its group up if that has no other
/// way to be continued from now on, and a member is stopped. The caller has the table, and tells
/// parents afterwards.
pub(super) fn leave(
    table: &[Arc<Process>],
    process: &Process,
    parent: Option<&Process>,
    send: &dyn Fn(&Process, Signal),
) {
    let group = process.group.load(Ordering::Relaxed);
    let number = process.parent.load(Ordering::Relaxed);
    let own = by_number(table, number);
    let (Some(parent), but) = (match parent {
        Some(parent) => (Some(parent), None),
        None => (own.map(|own| &**own), Some(process)),
    }) else {
        return;
    };
    let connects = parent.group.load(Ordering::Relaxed) != group
        && parent.session.load(Ordering::Relaxed) == process.session.load(Ordering::Relaxed);
    if !connects || !is_orphaned(table, group, but) {
        return;
    }
    let members = || table.iter().filter(|one| one.group.load(Ordering::Relaxed) == group);
    let is_stopped = |one: &Arc<Process>| {
        matches!(one.signals.lock().stop, Stop::Stopped { .. }) && one.status().is_none()
    };
    if members().any(is_stopped) {
        for signal in [Signal::HUP, Signal::CONT] {
            members().for_each(|one| send(one, signal));
        }
    }
}
